//! Descriptors: what a blob is, how long it is, and its digest (OCI image-spec, `descriptor.md`).

use std::collections::BTreeMap;

use super::{Digest, MediaType, Platform};

/// Names one blob exactly. Bytes come out of a store or a bundle only for one of these.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: MediaType,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// For an image manifest inside an index: the platform that it runs on.
    pub platform: Option<Platform>,
    /// For an artifact inside an index: what kind.
    pub artifact_type: Option<String>,
    /// Annotations, sorted by key.
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// A descriptor without platform and annotations.
    #[must_use]
    pub fn new(media_type: impl Into<MediaType>, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.into(), digest, size, platform: None, artifact_type: None, annotations: BTreeMap::new() }
    }

    /// The descriptor of bytes that are in memory.
    #[must_use]
    pub fn of(media_type: impl Into<MediaType>, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// The same with one more annotation.
    #[must_use]
    pub fn annotated(mut self, key: &str, value: impl Into<String>) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    /// The same for a platform.
    #[must_use]
    pub fn for_platform(mut self, platform: Platform) -> Self {
        self.platform = Some(platform);
        self
    }
}
