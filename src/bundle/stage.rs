//! Copying blobs into a store, checked, on all cores.

use std::num::NonZeroUsize;

use super::Result;
use super::open::VerifiedBundle;
use crate::event::Observer;
use crate::store::Store;
use crate::types::Descriptor;

/// What [`VerifiedBundle::stage`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StagedBytes {
    /// Blobs that were written.
    pub written_blobs: u64,
    /// Their bytes.
    pub written: u64,
    /// Blobs that the store had already; they cost no read.
    pub present_blobs: u64,
    /// Their bytes.
    pub present: u64,
}

impl VerifiedBundle {
    /// Copies blobs (documents or content) into a store. The store is not synced: see [`Store::sync`].
    ///
    /// # Errors
    /// A blob that is not inside or is damaged, or the store cannot be written. What was whole by then stays.
    pub fn stage(&self, blobs: &[Descriptor], store: &Store, threads: NonZeroUsize, observer: &dyn Observer) -> Result<StagedBytes> {
        unimplemented!()
    }
}
