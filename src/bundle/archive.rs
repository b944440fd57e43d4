//! The file as frames.

use std::path::{Path, PathBuf};

/// An open bundle file with its seek table.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    size: u64,
}

impl Archive {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }
}
