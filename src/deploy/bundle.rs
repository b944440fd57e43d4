//! How a deploy sees a verified bundle: its pure parts for the plan, its bytes for the store.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::num::NonZeroUsize;

use super::apply::Blobs;
use super::facts::{self, NodeFacts};
use super::host::Host;
use super::options::Options;
use super::plan::{self, Carried, DeployPlan};
use crate::bundle::{self, VerifiedBundle};
use crate::event::Observer;
use crate::store::Store;
use crate::types::{Descriptor, Digest};

/// A template is at most this long.
const TEMPLATE: u64 = 4 << 20;

/// Why there is no plan for a bundle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node cannot be looked at.
    #[error(transparent)]
    Facts(#[from] facts::Error),
    /// What was asked for does not fit.
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// A template cannot be read.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// A template's bytes are damaged, or no text.
    #[error("template `{digest}` cannot be read")]
    Template {
        /// Which blob.
        digest: Digest,
        /// What is wrong.
        source: std::io::Error,
    },
}

impl<'b> Carried<'b> {
    /// The pure parts of a bundle.
    #[must_use]
    pub fn of(bundle: &'b VerifiedBundle) -> Self {
        let trusted = bundle.signatures().iter().filter(|status| status.trusted);
        Self {
            contents: bundle.contents(),
            images: bundle.images(),
            tools: bundle.tools(),
            root: bundle.root_digest(),
            signed_by: trusted.filter_map(|status| status.key_id).map(|key| key.to_string()).collect(),
        }
    }
}

/// Looks at the node and decides what is to be done. Reads, of the bundle's content, only templates that are to be rendered.
///
/// # Errors
/// The node or the bundle cannot be read, or what was asked for does not fit.
pub fn plan_bundle(bundle: &VerifiedBundle, host: &dyn Host, options: &Options) -> Result<(DeployPlan, NodeFacts), Error> {
    let carried = Carried::of(bundle);
    let facts = facts::gather(host, &carried)?;
    let mut texts = BTreeMap::new();
    for descriptor in plan::templates(&carried, &facts, options)? {
        texts.insert(descriptor.digest, read_text(bundle, &descriptor)?);
    }
    Ok((plan::plan(&carried, &facts, options, &texts)?, facts))
}

fn read_text(bundle: &VerifiedBundle, descriptor: &Descriptor) -> Result<String, Error> {
    let damaged = |source| Error::Template { digest: descriptor.digest, source };
    if descriptor.size > TEMPLATE {
        return Err(damaged(std::io::Error::new(std::io::ErrorKind::FileTooLarge, format!("it is larger than {TEMPLATE} bytes"))));
    }
    let mut text = String::new();
    bundle.reader(descriptor)?.read_to_string(&mut text).map_err(damaged)?;
    Ok(text)
}

/// A bundle's bytes, read on so many threads.
pub struct BundleBlobs<'b> {
    /// The bundle.
    pub bundle: &'b VerifiedBundle,
    /// How many threads decompress, hash and write.
    pub threads: NonZeroUsize,
}

impl Blobs for BundleBlobs<'_> {
    fn stage(&self, blobs: &[Descriptor], store: &Store, observer: &dyn Observer) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.bundle.stage(blobs, store, self.threads, observer)?;
        Ok(())
    }
}
