//! Checking every byte of a bundle on all cores.

use std::num::NonZeroUsize;

use super::Result;
use super::open::VerifiedBundle;
use crate::event::Observer;
use crate::types::Digest;

/// Something that is wrong with a bundle's file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The member or part of the file: `blobs/sha256/…`, `index.json`, `seek table`.
    pub member: String,
    /// For a blob, its digest.
    pub digest: Option<Digest>,
    /// What needs it: references of images, files with their component; sorted.
    pub belongs_to: Vec<String>,
    /// What is wrong.
    pub cause: String,
}

impl VerifiedBundle {
    /// Reads the whole file on `threads` threads and compares every byte with what the root says; also one large blob is read on all.
    /// An empty list: all is well. Sorted by place in the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn check_content(&self, threads: NonZeroUsize, observer: &dyn Observer) -> Result<Vec<Problem>> {
        unimplemented!()
    }
}
