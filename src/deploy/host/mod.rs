//! The closed list of effects that a deploy may have.

pub mod linux;
