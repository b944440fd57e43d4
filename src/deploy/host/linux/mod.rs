//! The real node.

pub mod containerd;
