//! What `docker save` writes (moby's `image/spec/v1.2.md`): `manifest.json`, and of an image's configuration what names its layers.

use serde::Deserialize;

/// An entry of `manifest.json`: an image ("Combined Image JSON + Filesystem Changeset Format").
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Entry {
    /// Member that is its configuration.
    pub config: String,
    /// Its full names; `null` for an image without.
    pub repo_tags: Option<Vec<String>>,
    /// Members that are its layers, lowest first.
    #[serde(default)]
    pub layers: Vec<String>,
}

/// An image's configuration ("Image JSON Description").
#[derive(Deserialize)]
pub struct Config {
    /// Its layers.
    pub rootfs: RootFs,
}

/// The layers of a configuration.
#[derive(Deserialize)]
pub struct RootFs {
    /// Digests of the uncompressed layers, lowest first.
    #[serde(default)]
    pub diff_ids: Vec<String>,
}
