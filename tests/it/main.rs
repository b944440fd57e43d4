//! Integration tests: one binary, one module per subject.

mod create;
mod definition;
mod trust_tools;
mod upstream;
