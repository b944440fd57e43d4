//! Against real components on a node without a way out: containerd with its CRI plugin and runc, in a network namespace of its own.
//!
//! Needs root and Debian's containerd, runc, iproute2 and busybox-static. Where they are missing the tests say so in one line and
//! pass, except where `CI` is set: there nothing is skipped. `CORACLE_TEST_CONTAINERD` names a directory with another containerd, its
//! shim and ctr.

#![expect(clippy::unwrap_used, reason = "a test ends where what it took for granted is not so")]
#![expect(clippy::print_stdout, reason = "what is skipped is said")]

mod cri;
mod daemon;
mod deploy;
mod deploy_interrupted;
mod deploy_power_loss;
mod disk;
mod machine;
mod sample;
mod seeding;
mod seeding_interrupted;
mod seeding_power_loss;
mod seeding_speed;
mod systemd;
#[path = "../it/upstream.rs"]
#[expect(dead_code, reason = "its files and its count of requests are for `it`")]
mod upstream;
#[path = "../it/web.rs"]
#[expect(dead_code, reason = "its faults are for `it`")]
mod web;
