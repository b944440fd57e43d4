//! One file per command: `Args` (clap), `run` (request, call, render).
pub mod registry;
