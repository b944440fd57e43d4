//! CONNECTED SIDE
pub mod definition;
pub mod lock;
pub mod resolution;
