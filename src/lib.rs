//! Coracle carries software across an air gap.

pub mod bundle;
pub mod cli;
pub mod command;
pub mod create;
pub mod deploy;
pub mod event;
pub mod fs;
pub mod io;
pub mod registry;
pub mod store;
pub mod types;
