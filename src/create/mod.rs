//! CONNECTED SIDE
pub mod assemble;
pub mod definition;
pub mod media;
pub mod resolution;
