//! One file per command: `Args` (clap), `run` (request, call, render).

pub mod completions;
pub mod deploy;
mod deploy_plan;
pub mod keygen;
pub mod receipt;
pub mod registry;
pub mod status;
