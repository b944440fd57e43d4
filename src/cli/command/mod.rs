//! One file per command: `Args` (clap), `run` (request, call, render).

pub mod completions;
pub mod extract;
pub mod inspect;
pub mod keygen;
pub mod sign;
pub mod verify;
