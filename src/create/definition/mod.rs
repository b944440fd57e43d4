//! coracle.yaml
pub mod package;
