//! What a reader takes before it refuses.

use crate::io::CHUNK;

/// Limits of a reader. What a bundle needs that is ordinary stays far below each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of `index.json`, root, signatures and documents together, uncompressed.
    pub metadata_bytes: u64,
    /// Bytes of one document; the package configuration alone may be as large as all metadata.
    pub document_bytes: u64,
    /// Bytes of one signature member.
    pub signature_bytes: u64,
    /// Signers of one bundle.
    pub signers: usize,
    /// Members of the archive.
    pub members: u64,
    /// Frames of the file: what its seek table may list.
    pub frames: u64,
    /// Bytes of one frame, uncompressed: a chunk with its header and padding.
    pub frame_bytes: u64,
    /// Bytes of a frame's window.
    pub window_bytes: u64,
    /// How many times larger than its compressed form a frame with metadata may be.
    pub metadata_ratio: u64,
}

impl Limits {
    /// The limits of the format (`schemas/README.md`, "Limits").
    pub const FORMAT: Self = Self {
        metadata_bytes: 64 << 20,
        document_bytes: 4 << 20,
        signature_bytes: 64 << 10,
        signers: 64,
        members: 1_000_000,
        frames: 4_000_000,
        frame_bytes: CHUNK + 4 * 512,
        window_bytes: CHUNK + 4 * 512,
        metadata_ratio: 1000,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::FORMAT
    }
}
