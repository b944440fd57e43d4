//! The file `oci-layout` that marks a directory or archive as an OCI layout (image-spec `image-layout.md`, "oci-layout file").

use serde::Deserialize;

/// The file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutFile {
    /// `1.0.0` to this day.
    pub image_layout_version: String,
}
