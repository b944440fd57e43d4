//! One file per command: `Args` (clap), `run` (request, call, render).

pub mod completions;
pub mod create;
pub mod deploy;
mod deploy_plan;
pub mod extract;
pub mod init;
pub mod inspect;
pub mod keygen;
pub mod lock;
pub mod receipt;
pub mod registry;
pub mod schema;
pub mod sign;
mod sources;
pub mod status;
pub mod verify;

/// Wrong usage that clap cannot see: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);
