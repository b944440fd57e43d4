//! CONNECTED SIDE
pub mod definition;
pub mod resolution;
