//! Whether a node still holds what its receipts say. Changes nothing.

use std::path::Path;

use super::drift::{self, Difference, Drift};
use super::facts::{self, look_at};
use super::host::{Host, RegistryFacts, Scope};
use super::{journal, layout, receipt};
use crate::store::Store;
use crate::types::{Digest, PackageName};

/// One package on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which.
    pub package: PackageName,
    /// Its version; `None` where its first deploy was interrupted.
    pub version: Option<semver::Version>,
    /// The digest of its bundle's root.
    pub root: Option<Digest>,
    /// How it is.
    pub state: State,
    /// Files that differ from the receipt.
    pub drift: Vec<Drift>,
    /// Blobs that the receipt lists and the store lacks, or holds with another size.
    pub missing_blobs: Vec<Digest>,
}

/// How a package is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As its receipt says.
    Deployed,
    /// Its last deploy did not come to its end.
    Interrupted,
    /// Something was changed by hand.
    Drifted,
}

impl State {
    /// As it is printed.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Deployed => "deployed",
            Self::Interrupted => "interrupted",
            Self::Drifted => "drifted",
        }
    }
}

/// All packages of the node, by name.
///
/// # Errors
/// The node cannot be looked at.
pub fn status(host: &dyn Host) -> Result<Vec<Status>, facts::Error> {
    let mut all = Vec::new();
    for receipt in receipt::read_all(host)? {
        let mut drift = Vec::new();
        for (path, placed) in &receipt.files {
            let differences = drift::differences(placed, look_at(host, path, Some(placed))?.as_ref());
            if !differences.is_empty() {
                drift.push(Drift { path: path.clone(), differences });
            }
        }
        let store = Store::open(host.store(Path::new(layout::STORE))?)?;
        let mut missing_blobs = Vec::new();
        for (digest, size) in &receipt.blobs {
            if store.size_of(digest)? != Some(*size) {
                missing_blobs.push(*digest);
            }
        }
        let state = if journal::read(host, &receipt.package)?.interrupted {
            State::Interrupted
        } else if drift.is_empty() && missing_blobs.is_empty() {
            State::Deployed
        } else {
            State::Drifted
        };
        all.push(Status {
            package: receipt.package,
            version: Some(receipt.version),
            root: Some(receipt.root),
            state,
            drift,
            missing_blobs,
        });
    }
    // A first deploy that was interrupted has a journal and no receipt.
    for path in host.list(Path::new(layout::JOURNAL))? {
        let name = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse::<PackageName>().ok());
        let Some(package) = name.filter(|name| all.iter().all(|status| status.package != *name)) else { continue };
        if journal::read(host, &package)?.interrupted {
            let status =
                Status { package, version: None, root: None, state: State::Interrupted, drift: Vec::new(), missing_blobs: Vec::new() };
            all.push(status);
        }
    }
    all.sort_by(|a, b| a.package.cmp(&b.package));
    Ok(all)
}

/// What keeps the node registry from serving the images of these packages; `None` where nothing does, or nobody needs it.
///
/// # Errors
/// The node cannot be looked at.
pub fn registry(host: &dyn Host) -> Result<Option<String>, facts::Error> {
    let needed = receipt::read_all(host)?.iter().any(|receipt| !receipt.images.is_empty());
    if !needed || host.identity()?.scope == Scope::Directory {
        return Ok(None);
    }
    Ok(match host.registry()? {
        RegistryFacts::Serves => None,
        RegistryFacts::Down { why } => Some(why),
    })
}

/// What `status` prints for a drifted file, one line a difference.
#[must_use]
pub fn lines(drift: &Drift) -> Vec<String> {
    drift.differences.iter().map(Difference::to_string).collect()
}
