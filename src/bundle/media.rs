//! Media types, artifact types and annotations of the documents that a bundle is made of.

/// Artifact type of the root, an OCI image index.
pub const ROOT: &str = "application/vnd.coracle.bundle.v1+json";
/// Artifact type of the package manifest.
pub const PACKAGE: &str = "application/vnd.coracle.package.v1+json";
/// Media type of the package manifest's configuration.
pub const PACKAGE_CONFIG: &str = "application/vnd.coracle.package.config.v1+json";
/// Artifact type of the files of one platform.
pub const FILES: &str = "application/vnd.coracle.files.v1+json";
/// Artifact type of the tools of one platform.
pub const TOOLS: &str = "application/vnd.coracle.tools.v1+json";

/// Annotation of the root: the format's number.
pub const FORMAT: &str = "dev.coracle.format";
/// The format that this program writes and the newest that it reads.
pub const FORMAT_VERSION: &str = "1";
/// Annotation of the root: words for what a reader must know, separated by commas. Format 1 defines none.
pub const REQUIRES: &str = "dev.coracle.requires";
/// Annotation of the root's children that are images: the canonical reference.
pub const IMAGE_REFERENCE: &str = "dev.coracle.image.reference";

/// The name of a file, tool or package (image-spec `annotations.md`).
pub const TITLE: &str = "org.opencontainers.image.title";
/// The version of a package (image-spec `annotations.md`).
pub const VERSION: &str = "org.opencontainers.image.version";
/// The name by which an OCI layout's reader asks for an image (image-spec `annotations.md`).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The content of the empty descriptor (image-spec `manifest.md`).
pub const EMPTY: &[u8] = b"{}";
