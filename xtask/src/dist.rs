//! The static binaries: `target/dist/coracle-linux-amd64` and `-arm64`, which need nothing of the node that they are carried to.
//!
//! Rust brings musl's libc and the linker; the C in ring and zstd needs a compiler for each architecture, which Debian has.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::{child, file};

/// One binary.
struct Build {
    /// As in `linux/ARCH`.
    arch: &'static str,
    /// Of Rust.
    triple: &'static str,
    /// The C compiler, and the Debian package that has it.
    compiler: (&'static str, &'static str),
    /// Where gcc would call into its own runtime library, which is not linked.
    cflags: &'static str,
    /// Runs it on another architecture.
    emulator: &'static str,
}

const BUILDS: [Build; 2] = [
    Build {
        arch: "amd64",
        triple: "x86_64-unknown-linux-musl",
        compiler: ("musl-gcc", "musl-tools"),
        cflags: "",
        emulator: "qemu-x86_64-static",
    },
    Build {
        arch: "arm64",
        triple: "aarch64-unknown-linux-musl",
        compiler: ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
        // Without fortified wrappers, which only glibc has, its headers say nothing that musl does not.
        cflags: "-mno-outline-atomics -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=0",
        emulator: "qemu-aarch64-static",
    },
];

/// Makes both, and runs what can be run here.
pub fn run() -> Result<()> {
    let missing: Vec<&str> = BUILDS.iter().filter(|build| !child::on_path(build.compiler.0)).map(|build| build.compiler.1).collect();
    if !missing.is_empty() {
        bail!("no C compiler for the static builds; install {} (`cargo xtask lab` does it as root on Debian)", missing.join(" and "));
    }
    child::step(child::command("rustup").args(["target", "add"]).args(BUILDS.iter().map(|build| build.triple)))?;
    let dist = crate::root().join("target/dist");
    std::fs::create_dir_all(&dist)?;
    for build in &BUILDS {
        make(build, &dist.join(format!("coracle-linux-{}", build.arch)))?;
    }
    same_bundle(&dist)
}

/// A static binary for arm64 that the tests run under an emulator; `None`, and one line, where it cannot be made here.
pub fn emulated() -> Result<Option<PathBuf>> {
    let [_, build] = &BUILDS;
    for (program, package) in [build.compiler, (build.emulator, "qemu-user-static")] {
        if !child::on_path(program) {
            println!("no binary for arm64 to test: there is no {program} (Debian's {package})");
            return Ok(None);
        }
    }
    if let Err(error) = child::output(child::command("rustup").args(["target", "add", build.triple])) {
        println!("no binary for arm64 to test: there is no {}: {error:#}", build.triple);
        return Ok(None);
    }
    child::step(&mut cargo(build, "emulated"))?;
    Ok(Some(made(build, "emulated")))
}

/// Both binaries make the same bundle, byte for byte: of an example, and of both binaries, which travel in it.
fn same_bundle(dist: &Path) -> Result<()> {
    let mut made: Vec<(&str, Vec<u8>)> = Vec::new();
    for build in &BUILDS {
        let Some(mut command) = runner(build, &dist.join(format!("coracle-linux-{}", build.arch))) else {
            println!("  bundles not compared: there is no {}", build.emulator);
            return Ok(());
        };
        let place = tempfile::tempdir()?;
        let example = crate::root().join("examples/minimal");
        child::step(child::command("cp").arg("-r").arg(&example).arg(place.path().join("minimal")))?;
        let mut tools = Vec::new();
        for arch in BUILDS.iter().map(|build| build.arch) {
            tools.push(format!("--tool=linux/{arch}={}", dist.join(format!("coracle-linux-{arch}")).display()));
        }
        command.current_dir(place.path()).args(["create", "minimal", "--unsigned", "--cache", "cache", "-o", "bundle"]).args(tools);
        child::output(&mut command)?;
        made.push((build.arch, file::read(&place.path().join("bundle"))?));
    }
    ensure!(made.windows(2).all(|pair| pair[0].1 == pair[1].1), "the binaries make different bundles");
    println!(
        "  all of them make the same bundle, byte for byte: {:.1} MB",
        megabytes(made.first().map_or(0, |(_, bytes)| bytes.len() as u64))
    );
    Ok(())
}

/// The command that builds it.
fn cargo(build: &Build, profile: &str) -> Command {
    let underscored = build.triple.replace('-', "_");
    let mut cargo = child::command("cargo");
    cargo.args(["build", "--quiet", "--locked", "--package", "coracle", "--profile", profile, "--target", build.triple]);
    cargo.args(["--target-dir", "target"]);
    cargo.env(format!("CC_{underscored}"), build.compiler.0).env(format!("CFLAGS_{underscored}"), build.cflags);
    cargo.env(format!("CARGO_TARGET_{}_LINKER", underscored.to_uppercase()), "rust-lld");
    cargo
}

/// Where cargo leaves it.
fn made(build: &Build, profile: &str) -> PathBuf {
    crate::root().join("target").join(build.triple).join(profile).join("coracle")
}

fn make(build: &Build, file: &Path) -> Result<()> {
    child::step(&mut cargo(build, "dist"))?;
    let made = made(build, "dist");
    std::fs::copy(&made, file).with_context(|| format!("cannot copy {} to {}", made.display(), file.display()))?;
    let size = file.metadata()?.len();
    let what = match version(build, file)? {
        Some(version) => version,
        None => format!("not run: there is no {}", build.emulator),
    };
    println!("  {} · {:.1} MB · {what}", file.display(), megabytes(size));
    Ok(())
}

/// What it says about itself, where it can be run.
fn version(build: &Build, file: &Path) -> Result<Option<String>> {
    let Some(mut command) = runner(build, file) else { return Ok(None) };
    let said = child::output(command.arg("--version"))?;
    ensure!(said.starts_with("coracle "), "{} says `{}`", file.display(), said.trim());
    Ok(Some(said.trim().to_owned()))
}

/// What runs it here: itself, or an emulator that is installed.
fn runner(build: &Build, file: &Path) -> Option<Command> {
    let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    if build.arch == own {
        return Some(child::command(file));
    }
    child::on_path(build.emulator).then(|| {
        let mut command = child::command(build.emulator);
        command.arg(file);
        command
    })
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
