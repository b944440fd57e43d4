//! Images of real programs for amd64 and arm64, in the storage of a CNCF distribution registry: a test starts one over a copy of it.
//!
//! `podinfo:6` and `tools/busybox:1` are what their makers built; `pause:3` is our own, as the smallest thing that a pod needs.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::Outcome;
use crate::child::{self, Background};
use crate::file::{read, write};
use crate::http::{self, Registry};
use crate::image::{Entry, Variant, image, layer};

/// Sleeps until it is told to end.
const PAUSE: &str = "#include <signal.h>\n#include <unistd.h>\nstatic void end(int n) { (void)n; _exit(0); }\n\
                     int main(void) { signal(SIGTERM, end); signal(SIGINT, end); for (;;) pause(); }\n";

/// Pushes all of them, unless they are there.
pub fn make(lab: &Path) -> Result<Outcome> {
    let done = lab.join("images");
    if done.is_dir() {
        return Ok(Outcome::Present);
    }
    let Some(program) = super::find("registry")? else { return Ok(Outcome::Missing("there is no registry to push to".to_owned())) };
    let begun = Instant::now();
    let place = tempfile::tempdir_in(lab)?;
    let storage = place.path().join("storage");
    let (_registry, server) = start_registry(&program, &storage, place.path())?;
    let mut target = Registry { server };
    for (repository, tag, binaries, arguments) in programs(lab, place.path())? {
        let mut variants = Vec::new();
        let path = format!("bin/{}", repository.rsplit('/').next().unwrap_or(repository));
        let entrypoint = format!("/{path}");
        let entrypoint: Vec<&str> = std::iter::once(entrypoint.as_str()).chain(arguments.iter().copied()).collect();
        for (arch, bytes) in &binaries {
            let release = format!("NAME={repository}\nARCH={arch}\n");
            let base = layer(&mut target, repository, &[Entry { path: "etc/os-release", mode: 0o644, bytes: release.as_bytes() }])?;
            let top = layer(&mut target, repository, &[Entry { path: &path, mode: 0o755, bytes }])?;
            variants.push(Variant { arch, layers: vec![base, top], entrypoint: &entrypoint });
        }
        image(&mut target, repository, tag, &variants)?;
    }
    std::fs::rename(&storage, &done)?;
    Ok(Outcome::Installed(begun.elapsed().as_secs_f64()))
}

/// A registry over a storage directory, on a free port.
pub fn start_registry(program: &Path, storage: &Path, place: &Path) -> Result<(Background, std::net::SocketAddr)> {
    let server = http::free_port()?;
    let configuration = place.join("registry.yml");
    let text = format!(
        "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
         storage: {{ filesystem: {{ rootdirectory: {} }}, delete: {{ enabled: true }} }}\nhttp: {{ addr: \"{server}\" }}\n",
        storage.display()
    );
    std::fs::create_dir_all(storage)?;
    write(&configuration, text.as_bytes())?;
    let log = std::fs::File::create(place.join("registry.log"))?;
    let mut command = child::command(program);
    let mut registry = Background::start(
        command.arg("serve").arg(&configuration).env("OTEL_TRACES_EXPORTER", "none").stdout(log.try_clone()?).stderr(log),
    )?;
    registry.wait_for(server)?;
    Ok((registry, server))
}

type Program = (&'static str, &'static str, Vec<(&'static str, Vec<u8>)>, &'static [&'static str]);

fn programs(lab: &Path, place: &Path) -> Result<Vec<Program>> {
    let podinfo = vec![("amd64", read(&lab.join("bin/podinfo"))?), ("arm64", read(&lab.join("bin/podinfo-arm64"))?)];
    let busybox = vec![("amd64", read(Path::new("/bin/busybox"))?), ("arm64", busybox_arm64(place)?)];
    let mut pause = Vec::new();
    let source = place.join("pause.c");
    write(&source, PAUSE.as_bytes())?;
    for (arch, compiler) in [("amd64", "gcc"), ("arm64", "aarch64-linux-gnu-gcc")] {
        let binary = place.join(arch);
        child::output(child::command(compiler).args(["-Os", "-static", "-s", "-o"]).arg(&binary).arg(&source))?;
        pause.push((arch, read(&binary)?));
    }
    Ok(vec![("podinfo", "6", podinfo, &["--port=9898"]), ("tools/busybox", "1", busybox, &["sh"]), ("pause", "3", pause, &[])])
}

/// Debian's own busybox for arm64; apt keeps lists of its own for it here, so that the machine's architectures stay what they are.
fn busybox_arm64(place: &Path) -> Result<Vec<u8>> {
    let apt = place.join("apt");
    for directory in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(apt.join(directory))?;
    }
    let get = |arguments: &[&str]| {
        let mut command = child::command("apt-get");
        command.args(["-qq", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64", "-o", "Dir::State::status=/dev/null"]);
        command.args(["-o", "APT::Sandbox::User=root"]);
        command.arg("-o").arg(format!("Dir::State::lists={}", apt.join("lists").display()));
        command.arg("-o").arg(format!("Dir::Cache={}", apt.join("cache").display()));
        child::output(command.args(arguments).current_dir(place))
    };
    get(&["update"])?;
    get(&["download", "busybox-static"])?;
    let package = std::fs::read_dir(place)?.filter_map(Result::ok).map(|entry| entry.path());
    let package =
        package.into_iter().find(|path| path.extension().is_some_and(|e| e == "deb")).context("apt-get left no package of busybox")?;
    let tree = place.join("busybox");
    child::output(child::command("dpkg-deb").arg("-x").arg(&package).arg(&tree))?;
    let inside = ["bin/busybox", "usr/bin/busybox"].map(|path| tree.join(path));
    read(inside.iter().find(|path| path.is_file()).context("the package has no busybox")?)
}
