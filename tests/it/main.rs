//! Integration tests: one binary, one module per subject.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test takes what it made itself for granted, and looks at files as a stranger would"
)]

mod archives;
mod arm64;
mod bundle_commands;
mod containerd;
mod create;
mod definition;
mod deploy_asks;
#[path = "../node/disk.rs"]
#[expect(dead_code, reason = "copies are for power loss, which the node tests are about")]
mod disk;
mod examples;
mod full_disk;
mod hostile_upstream;
mod lab;
mod node_registry;
mod proxies;
mod real_logins;
mod real_registry;
mod registry_bundle;
mod registry_clients;
mod schemas;
mod small_bundle;
mod templates;
mod trust_tools;
mod upstream;
mod web;
mod workplace;
