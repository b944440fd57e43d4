//! Integration tests: one binary, one module per subject.

mod bundle_commands;
mod trust_tools;
