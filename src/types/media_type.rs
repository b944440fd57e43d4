//! Media types: what a blob is, as its descriptor says.

use std::fmt;

/// A media type, kept as it was written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MediaType(String);

impl MediaType {
    /// OCI image index.
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    /// OCI image manifest.
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image configuration.
    pub const OCI_CONFIG: &'static str = "application/vnd.oci.image.config.v1+json";
    /// The empty descriptor's content, `{}` (image-spec `manifest.md`, "Guidance for an Empty Descriptor").
    pub const OCI_EMPTY: &'static str = "application/vnd.oci.empty.v1+json";
    /// Docker's manifest list, schema 2.
    pub const DOCKER_LIST: &'static str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's image manifest, schema 2.
    pub const DOCKER_MANIFEST: &'static str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Bytes of a file, nothing more known.
    pub const OCTETS: &'static str = "application/octet-stream";

    /// A media type from its text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An image index or a manifest list: a document that names one manifest per platform.
    #[must_use]
    pub fn is_image_index(&self) -> bool {
        matches!(self.0.as_str(), Self::OCI_INDEX | Self::DOCKER_LIST)
    }

    /// An image manifest: a document that names one configuration and layers.
    #[must_use]
    pub fn is_image_manifest(&self) -> bool {
        matches!(self.0.as_str(), Self::OCI_MANIFEST | Self::DOCKER_MANIFEST)
    }

    /// Content that is compressed already, so that compressing it again costs time and gains under one percent.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        let text = self.0.as_str();
        ["+gzip", ".gzip", "+zstd", ".tar.gz"].iter().any(|suffix| text.ends_with(suffix))
            || matches!(text, "application/gzip" | "application/x-gzip" | "application/zstd" | "application/x-rpm" | "application/x-xz")
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}
