//! deploy
pub mod host;
