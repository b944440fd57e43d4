//! The OCI registry that an isolated node runs: the pull side of distribution-spec 1.1 over a node's store or over bundle files.
//!
//! ```text
//! TcpListener ──server──→ connection ──answer──→ Route ──→ dyn Content ──→ Descriptor ──stream──→ pieces of 256 KiB
//!               limits      HTTP/1.1    path,     route      │
//!                                       headers              ├── node::NodeContent:  store/ and registry/names/*.json → Catalog
//!                                                            └── bundle::BundleContent: bundle files, read in place
//! ```
//!
//! An image is known as `HOST/PATH` (a port as `HOST__PORT`) and, for a request with `?ns=HOST` as containerd sends to a mirror, as
//! `PATH`. Sparse indexes are served as they are; a child that is not held is 404 with the specification's error document. Blobs are
//! served through the manifests of their repository alone, and only where the file has the size that the manifest says.
//! Nothing can be written.

pub mod activation;
mod answer;
pub mod bundle;
mod catalog;
pub mod content;
pub mod names;
mod names_v1;
pub mod node;
mod pieces;
mod range;
mod refusal;
mod route;
mod server;
mod stream;
#[cfg(test)]
mod tests;

pub use answer::router;
pub use bundle::BundleContent;
pub use content::{Content, ContentError};
pub use names_v1::Invalid as InvalidNames;
pub use node::NodeContent;
pub use server::{Limits, ServeError, serve, serve_within};
