//! CONNECTED SIDE
pub mod definition;
pub mod fetch;
pub mod resolution;
pub mod resolve;
pub mod source;
