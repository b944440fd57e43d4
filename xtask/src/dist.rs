//! The static binaries: `target/dist/coracle-linux-amd64` and `-arm64`, which need nothing of the node that they are carried to.
//!
//! Rust brings musl's libc and the linker; the C in ring and zstd needs a compiler for each architecture, which Debian has.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::child;

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
    Ok(())
}

fn make(build: &Build, file: &Path) -> Result<()> {
    let underscored = build.triple.replace('-', "_");
    let mut cargo = child::command("cargo");
    cargo.args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        "coracle",
        "--profile",
        "dist",
        "--target",
        build.triple,
        "--target-dir",
        "target",
    ]);
    cargo.env(format!("CC_{underscored}"), build.compiler.0).env(format!("CFLAGS_{underscored}"), build.cflags);
    cargo.env(format!("CARGO_TARGET_{}_LINKER", underscored.to_uppercase()), "rust-lld");
    child::step(&mut cargo)?;
    let made = crate::root().join("target").join(build.triple).join("dist/coracle");
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
    let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let mut command = if build.arch == own {
        child::command(file)
    } else if child::on_path(build.emulator) {
        let mut command = child::command(build.emulator);
        command.arg(file);
        command
    } else {
        return Ok(None);
    };
    let said = child::output(command.arg("--version"))?;
    ensure!(said.starts_with("coracle "), "{} says `{}`", file.display(), said.trim());
    Ok(Some(said.trim().to_owned()))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
