//! What this node holds of a package: written at the end of a deploy, read by the next one, by `status` and by whoever makes a delta.

mod v1;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::host::{self, Host, Permissions};
use super::layout;
use crate::types::{ComponentName, Digest, ImageReference, PackageName, Platform, VariableName};

/// A receipt is at most this long.
const LIMIT: u64 = 64 << 20;

/// What a node holds of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Which package.
    pub package: PackageName,
    /// Its version.
    pub version: semver::Version,
    /// The digest of the bundle's root: the bundle's identity.
    pub root: Digest,
    /// The key ids that the package is bound to on this node: those that signed the first bundle of this name. Empty: it was unsigned.
    pub keys: BTreeSet<String>,
    /// What the node is.
    pub platform: Platform,
    /// The role that it was given.
    pub role: Option<String>,
    /// The components that are deployed, in the order of the package.
    pub components: Vec<ComponentName>,
    /// What was asked for: remembered, so that giving nothing means the same again.
    pub selection: Selection,
    /// Values that were given and are not sensitive.
    pub variables: BTreeMap<VariableName, String>,
    /// Blobs in the store.
    pub blobs: BTreeMap<Digest, u64>,
    /// What was put on the node, by path.
    pub files: BTreeMap<PathBuf, Placed>,
    /// Images, by name.
    pub images: BTreeMap<ImageReference, Image>,
}

/// Components that were asked for beyond or against what the package says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Optional ones that are wanted.
    pub with: BTreeSet<ComponentName>,
    /// Ones that are not.
    pub without: BTreeSet<ComponentName>,
}

/// Something that was put at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Of which component.
    pub component: ComponentName,
    /// What it is.
    pub what: Thing,
    /// Permission bits (of a link: 0777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The blob that it was made from: the file itself, the template, or the archive with how it was taken out.
    pub source: Source,
    /// What was there before, where that was something else.
    pub previous: Option<Digest>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    /// A regular file.
    File {
        /// Its content.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// A directory, from an archive.
    Directory,
    /// A symbolic link, from an archive.
    Link {
        /// Where it points.
        target: PathBuf,
    },
}

/// What something was made from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The blob.
    pub blob: Digest,
    /// For a member of an archive: how the archive was taken out, so that another way of it is seen as a change.
    pub extract: Option<String>,
    /// It was a template: the digest of the values that are not sensitive, by which the next run knows that nothing changed.
    pub template: Option<Digest>,
}

/// An image that the node registry names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Of which component first.
    pub component: ComponentName,
    /// Its index or manifest.
    pub digest: Digest,
    /// It was seeded into containerd.
    pub seeded: bool,
    /// Kept from garbage collection.
    pub pin: bool,
}

/// Why a receipt cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node could not be looked at.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// It was written by a newer program.
    #[error("`{}` has version {found}, this program knows {}", path.display(), v1::VERSION)]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// It is not what a receipt is.
    #[error("`{}` is no receipt: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Receipt {
    /// The receipt as JSON text, one entry a line.
    #[must_use]
    pub fn to_json(&self) -> String {
        v1::write(self)
    }
}

/// Reads what [`Receipt::to_json`] wrote; `from` is for the error.
///
/// # Errors
/// It is malformed, or of a newer version.
pub fn parse(from: &Path, bytes: &[u8]) -> Result<Receipt, Error> {
    v1::read(from, bytes)
}

/// The receipt of a package; `None` where it is not deployed.
///
/// # Errors
/// It cannot be read, or is of a newer version.
pub fn read(host: &dyn Host, package: &PackageName) -> Result<Option<Receipt>, Error> {
    let path = layout::receipt(package);
    host.read(&path, LIMIT)?.map(|bytes| v1::read(&path, &bytes)).transpose()
}

/// All receipts of the node, by package name.
///
/// # Errors
/// One cannot be read, or is of a newer version.
pub fn read_all(host: &dyn Host) -> Result<Vec<Receipt>, Error> {
    let mut receipts = Vec::new();
    for path in host.list(Path::new(layout::RECEIPTS))? {
        if path.extension().is_some_and(|extension| extension == "json")
            && let Some(bytes) = host.read(&path, LIMIT)?
        {
            receipts.push(v1::read(&path, &bytes)?);
        }
    }
    Ok(receipts)
}

/// Writes a receipt, whole or not at all, readable by its owner alone.
///
/// # Errors
/// It cannot be written.
pub fn write(host: &dyn Host, receipt: &Receipt, owner: (u32, u32)) -> host::Result<()> {
    let permissions = Permissions { mode: 0o600, uid: owner.0, gid: owner.1 };
    host.place(&layout::receipt(&receipt.package), permissions, &mut receipt.to_json().as_bytes())
}
