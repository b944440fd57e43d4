//! Whole files, with their names in errors.

use std::path::Path;

use anyhow::{Context as _, Result};

/// All bytes.
#[expect(clippy::disallowed_methods, reason = "xtask does not link the library")]
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// All bytes, in place.
#[expect(clippy::disallowed_methods, reason = "xtask does not link the library")]
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
