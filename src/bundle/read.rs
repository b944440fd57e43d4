//! Content out of a verified bundle: no byte before its chunk was found right.

use std::io::{self, Read};

use super::Result;
use super::open::VerifiedBundle;
use crate::types::Descriptor;

/// Reads one blob from front to back, checked chunk by chunk. Owns its share of the bundle, so it may outlive the value it came from.
pub struct BlobReader {
    bundle: VerifiedBundle,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        unimplemented!()
    }
}

impl VerifiedBundle {
    /// A reader for a document or content blob of this bundle.
    ///
    /// # Errors
    /// The bundle has no such blob.
    pub fn reader(&self, descriptor: &Descriptor) -> Result<BlobReader> {
        unimplemented!()
    }

    /// Fills `buffer` from byte `offset` of a blob, and says how many bytes there were (fewer at its end).
    ///
    /// Every chunk that is touched (8 MiB, aligned) is read and checked whole: ask for aligned 8 MiB where you read on.
    ///
    /// # Errors
    /// The bundle has no such blob, or the chunk is damaged.
    pub fn read_range(&self, descriptor: &Descriptor, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        unimplemented!()
    }
}
