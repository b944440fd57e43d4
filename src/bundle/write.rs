//! Writing a bundle: frames on all cores, bytes in order.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;

use super::Result;
use super::assemble::SignedBundle;
use crate::event::Observer;
use crate::store::Store;
use crate::types::Digest;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of content blobs before compression.
    pub content: u64,
    /// The root's digest.
    pub root_digest: Digest,
}

impl SignedBundle {
    /// Writes the bundle to `out`. The bytes do not depend on `threads`; memory is about 35 MiB per thread, whatever the size.
    ///
    /// # Errors
    /// A blob that is missing or damaged in the store (it is then removed there), or `out` fails.
    pub fn write(&self, store: &Store, out: impl Write, threads: NonZeroUsize, observer: &dyn Observer) -> Result<Written> {
        unimplemented!()
    }

    /// Writes the bundle to a temporary file beside `path`, flushes it and renames it. On failure `path` is what it was.
    ///
    /// # Errors
    /// As [`SignedBundle::write`], and file operations.
    pub fn write_file(&self, store: &Store, path: &Path, threads: NonZeroUsize, observer: &dyn Observer) -> Result<Written> {
        unimplemented!()
    }
}
