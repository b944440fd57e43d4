//! What container runtimes are told so that they pull from the node registry: text to text, nothing is read or written here.
//!
//! ```text
//! registry host + what the file says now ──containerd::hosts_toml──────→ certs.d/HOST/hosts.toml
//! config.toml as it is                   ──containerd::config──────────→ config.toml with config_path
//! registry hosts                         ──containers::registries_conf─→ registries.conf.d/50-coracle.conf (CRI-O, podman)
//! registry hosts                         ──rancher::registries_yaml────→ registries.yaml (k3s, RKE2)
//! ```
//!
//! Image names stay what they were, and nothing falls through to a name outside.

pub mod containerd;
pub mod containers;
pub mod rancher;

/// A configuration file that cannot be changed as it must be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no TOML.
    #[error("the file is no TOML")]
    Toml(#[from] toml_edit::TomlError),
    /// It has a key of another kind than the program that reads it wants.
    #[error("`{key}` is not {wanted}")]
    Shape {
        /// The key with those above it.
        key: String,
        /// What it should be, with its article.
        wanted: &'static str,
    },
    /// The deprecated way to name mirrors, which containerd refuses beside `config_path`.
    #[error("it has `{key}`, which containerd refuses beside `config_path`")]
    Deprecated {
        /// The key with those above it.
        key: String,
    },
    /// A version of containerd's configuration that is not known.
    #[error("its version is {0}, known are 1 to 3")]
    Version(i64),
}
