//! CONNECTED SIDE
pub mod definition;
pub mod fetch;
pub mod lock;
pub mod resolution;
pub mod resolve;
pub mod source;
