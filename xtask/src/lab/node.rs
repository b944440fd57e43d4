//! What nodes are made of: a second containerd, and Debian's tree with systemd.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::{Outcome, parts};
use crate::child;

/// containerd, its shim and ctr, in a directory of their own: on PATH is Debian's.
pub fn containerd(lab: &Path) -> Result<Outcome> {
    let bin = lab.join("bin/containerd2");
    if bin.join("ctr").is_file() {
        return Ok(Outcome::Present);
    }
    if !child::on_path("go") {
        return Ok(Outcome::Missing("there is no Go".to_owned()));
    }
    let begun = Instant::now();
    let modules = child::output(child::command("go").args(["env", "GOMODCACHE"]))?;
    let place = tempfile::tempdir_in(lab)?;
    let mut install = child::command("go");
    install.args(["install", "-trimpath", "-tags", "no_btrfs,no_zfs,no_devmapper,no_aufs", "-ldflags"]);
    // What is built from a module does not know its version otherwise.
    install.arg(format!("-s -w -X github.com/containerd/containerd/v2/version.Version={}", parts::CONTAINERD));
    let command = |name: &str| format!("github.com/containerd/containerd/v2/cmd/{name}@{}", parts::CONTAINERD);
    install.args(["containerd", "containerd-shim-runc-v2", "ctr"].map(command)).current_dir(place.path());
    install
        .env("GOPATH", place.path())
        .env("GOMODCACHE", modules.trim())
        .env_remove("GOBIN")
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-p=2");
    child::output(&mut install)?;
    std::fs::rename(place.path().join("bin"), &bin)?;
    Ok(Outcome::Installed(begun.elapsed().as_secs_f64()))
}

/// The tree of a node that systemd-nspawn boots. A test copies it.
pub fn tree(lab: &Path) -> Result<Outcome> {
    let tree = lab.join("node");
    if tree.is_dir() {
        return Ok(Outcome::Present);
    }
    if !child::on_path("mmdebstrap") || !rustix::process::geteuid().is_root() {
        return Ok(Outcome::Missing("it needs root and mmdebstrap; tests with a real systemd are skipped".to_owned()));
    }
    let begun = Instant::now();
    let place = tempfile::tempdir_in(lab)?;
    let new = place.path().join("node");
    let mut make = child::command("mmdebstrap");
    make.args(["--quiet", "--variant=minbase"]).arg(format!("--include={}", parts::NODE)).arg("bookworm").arg(&new);
    child::output(&mut make)?;
    std::fs::rename(&new, &tree).context("cannot keep the tree")?;
    Ok(Outcome::Installed(begun.elapsed().as_secs_f64()))
}
