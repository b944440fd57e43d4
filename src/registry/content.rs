//! The door between the HTTP side and where content lies.

use std::ops::Range;

use bytes::Bytes;

use crate::types::{Descriptor, Digest};

/// What a registry serves. Calls may read files: the server makes them on threads that may block.
///
/// A repository is named as clients name it: `ghcr.io/stefanprodan/podinfo`. What is not there is `None`, never an error.
pub trait Content: Send + Sync + 'static {
    /// All repositories, sorted.
    fn repositories(&self) -> Result<Vec<String>, ContentError>;

    /// The tags of a repository, sorted by their bytes; `None` where there is no such repository.
    fn tags(&self, repository: &str) -> Result<Option<Vec<String>>, ContentError>;

    /// What a tag or digest names in a repository, without its bytes.
    fn manifest(&self, repository: &str, selector: &Selector) -> Result<Option<Descriptor>, ContentError>;

    /// The bytes of a manifest that [`Content::manifest`] gave, checked against its digest.
    fn document(&self, manifest: &Descriptor) -> Result<Bytes, ContentError>;

    /// A blob of a repository; `None` also where the blob is named but not held, as the layers of a platform that is not carried.
    fn blob(&self, repository: &str, digest: &Digest) -> Result<Option<Descriptor>, ContentError>;

    /// A reader for a part of a blob that [`Content::blob`] gave; `range` lies within its size and is not empty.
    fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<Box<dyn BlobReader>, ContentError>;

    /// Manifests of a repository whose `subject` is this digest, sorted by digest, as the referrers list describes them.
    fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Descriptor>, ContentError>;
}

/// Gives the bytes of one range of one blob in order.
pub trait BlobReader: Send {
    /// The next bytes, at most [`PIECE`] of them; empty at the end of the range and not before. Blocks while it reads.
    fn next(&mut self) -> Result<Bytes, ContentError>;
}

/// Bytes that a reader gives at once. Two of them per connection are in memory: one being sent, one being read.
pub const PIECE: usize = 256 << 10;

/// What a client names a manifest by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// A tag.
    Tag(String),
    /// A digest.
    Digest(Digest),
}

/// Content that should be there and cannot be read, or is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The names directory cannot be read.
    #[error(transparent)]
    Names(#[from] super::names::Error),
    /// A bundle's content cannot be read, or is not what its signed index says.
    #[error("cannot read blob `{digest}` from the bundle")]
    Bundle {
        /// Which blob.
        digest: Digest,
        /// What the reader said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server is shutting down.
    #[error("the read was given up")]
    GivenUp,
}
