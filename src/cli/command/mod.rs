//! One file per command: `Args` (clap), `run` (request, call, render).

pub mod completions;
pub mod create;
pub mod keygen;
pub mod lock;
mod sources;

/// Wrong usage that clap cannot see: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);
