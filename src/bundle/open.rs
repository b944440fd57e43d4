//! From a file to verified metadata: seek table → `index.json` → root → signatures, **verified** → documents by digest.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use super::archive::Archive;
use super::limits::Limits;
use super::metadata::Metadata;
use super::trust::{SignatureMember, SignatureStatus, TrustPolicy};
use super::{Error, Result};
use crate::types::Digest;

/// A bundle whose root and signatures were read, and believed in nothing.
#[derive(Debug)]
pub struct OpenedBundle {
    archive: Archive,
    root: Arc<[u8]>,
    signatures: Vec<SignatureMember>,
}

/// A bundle that a trusted key signed (or that is knowingly accepted without): all metadata checked, content checked as it is read.
/// Derefs to [`Metadata`]. Clones share the open file.
#[derive(Debug, Clone)]
pub struct VerifiedBundle {
    pub(super) carried: Arc<Carried>,
    statuses: Arc<[SignatureStatus]>,
}

/// What a bundle says of itself, for a reviewer who has no key: the digests agree with a root that nobody vouches for. Derefs to
/// [`Metadata`]; it cannot be deployed.
#[derive(Debug, Clone)]
pub struct Listing {
    carried: Arc<Carried>,
}

#[derive(Debug)]
pub(super) struct Carried {
    pub(super) archive: Archive,
    pub(super) metadata: Metadata,
    pub(super) signatures: Vec<SignatureMember>,
}

/// Opens a bundle: reads the seek table (located, not trusted), `index.json`, the root and the signatures.
///
/// # Errors
/// A file that is no bundle, truncated, or beyond the limits.
pub fn open(path: &Path, limits: &Limits) -> Result<OpenedBundle> {
    unimplemented!()
}

impl OpenedBundle {
    /// The bytes that signatures cover.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// Their digest.
    pub fn root_digest(&self) -> Digest {
        Digest::of(&self.root)
    }

    /// The embedded signatures, sorted by key id, unchecked.
    pub fn signatures(&self) -> &[SignatureMember] {
        &self.signatures
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.archive.path()
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.archive.size()
    }

    /// Judges the signatures, embedded and detached, and only then reads all metadata under the root.
    ///
    /// # Errors
    /// [`Error::Untrusted`], or anything that does not agree with the root.
    pub fn verify(self, policy: &TrustPolicy, detached: &[Vec<u8>]) -> Result<VerifiedBundle> {
        unimplemented!()
    }

    /// Reads all metadata under a root that nobody vouches for.
    ///
    /// # Errors
    /// Anything that does not agree with the root.
    pub fn read_listing(self) -> Result<Listing> {
        unimplemented!()
    }
}

impl VerifiedBundle {
    /// What each signature is worth, trusted ones first.
    pub fn signatures(&self) -> &[SignatureStatus] {
        &self.statuses
    }

    /// The embedded signatures as they stand in the file.
    pub fn signature_members(&self) -> &[SignatureMember] {
        &self.carried.signatures
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.carried.archive.path()
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.carried.archive.size()
    }
}

impl Listing {
    /// The embedded signatures, unchecked.
    pub fn signatures(&self) -> &[SignatureMember] {
        &self.carried.signatures
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.carried.archive.path()
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.carried.archive.size()
    }
}

impl Deref for VerifiedBundle {
    type Target = Metadata;

    fn deref(&self) -> &Metadata {
        &self.carried.metadata
    }
}

impl Deref for Listing {
    type Target = Metadata;

    fn deref(&self) -> &Metadata {
        &self.carried.metadata
    }
}
