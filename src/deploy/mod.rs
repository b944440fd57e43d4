//! deploy
pub mod mirror;
