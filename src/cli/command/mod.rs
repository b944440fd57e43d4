//! One file per command: `Args` (clap), `run` (request, call, render).

pub mod completions;
pub mod keygen;
