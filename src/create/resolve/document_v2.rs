//! What tells an index from a manifest: fields that the documents of schema version 2 share (image-spec `image-index.md` and `manifest.md`;
//! docker's, distribution `manifest-v2-2.md`).

use serde::Deserialize;
use serde::de::IgnoredAny;

/// An index or a manifest, whichever it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    /// 2.
    pub schema_version: Option<u32>,
    /// What it says that it is; OCI's may leave it out.
    pub media_type: Option<String>,
    /// Only an index has them.
    pub manifests: Option<IgnoredAny>,
}
