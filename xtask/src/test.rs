//! Everything that decides whether a change lands, cheapest first.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::{child, codegen, lab, tidy};

/// Runs it all, and stops at the first thing that fails.
pub fn run() -> Result<()> {
    let begun = Instant::now();
    child::step(child::command("cargo").args(["fmt", "--all", "--check"]))?;
    println!("$ cargo xtask tidy");
    tidy::run()?;
    println!("$ cargo xtask codegen --check");
    codegen::run(true)?;
    println!("$ cargo xtask lab");
    lab::run()?;
    let root = rustix::process::geteuid().is_root();
    match (root, child::on_path("apt-get")) {
        (true, true) => {}
        (false, _) => println!("not root: tests that need a containerd, network namespaces or loop devices are skipped, and say so"),
        (_, false) => println!("no Debian: tests of programs that are listed as missing above are skipped, and say so"),
    }
    child::step(with_lab(&mut child::command("cargo"))?.args(["deny", "check", "bans", "licenses", "sources"]))?;
    advisories()?;
    child::step(child::command("cargo").args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    child::step(with_lab(&mut child::command("cargo"))?.args(["test", "--workspace"]))?;
    // The same nodes with the other containerd; how fast either is, and a real systemd, do not depend on it.
    let second = lab::dir()?.join("bin/containerd2");
    if second.join("containerd").is_file() {
        let mut nodes = child::command("cargo");
        nodes.args(["test", "--test", "node", "--", "--skip", "systemd", "--skip", "seeding_speed"]);
        child::step(with_lab(&mut nodes)?.env("CORACLE_TEST_CONTAINERD", second))?;
    }
    println!("all passed, {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

fn with_lab(command: &mut Command) -> Result<&mut Command> {
    Ok(command.env("CORACLE_LAB", lab::dir()?).env("PATH", lab::path()?))
}

/// The database of advisories lies on the network: without it nothing is known, and that is said. With it, an advisory is an error.
fn advisories() -> Result<()> {
    let mut fetch = child::command("cargo");
    if child::output(with_lab(&mut fetch)?.args(["deny", "fetch", "db"])).is_err() {
        println!("advisories: not checked, their database cannot be reached from here");
        return Ok(());
    }
    child::step(with_lab(&mut child::command("cargo"))?.args(["deny", "check", "--disable-fetch", "advisories"]))
}
