//! Ours, the peers' and the machine's limits on the same data in one run (targets.md).
//!
//! ```text
//! files of this machine ─workload→ images in a CNCF registry, files on a server   (kept in the lab)
//! each command ─measure→ Usage ─table→ one line, beside the limit that it has and the peer that does the same
//! ```
//!
//! `carry` makes, checks and deploys a bundle beside skopeo and tar; `seed` fills a real containerd beside ctr; `serve` pulls from the
//! node registry beside CNCF distribution. Zarf and Hauler are not run: neither can be had as a Go module with a checksum.

mod carry;
mod limit;
mod measure;
mod node;
mod pull;
mod seed;
mod serve;
mod table;
mod workload;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{child, lab};
use limit::Limits;
use measure::{Usage, measure};
use workload::{Served, Size};

/// The bundle's name.
const BUNDLE: &str = "bench-1.0.0.tar.zst";

/// Flags of the task.
#[derive(clap::Args)]
pub struct Args {
    /// What is carried: s is 450 MB compressed, l is 3.4 GB; made once and kept in the lab
    #[arg(long, value_enum, ignore_case = true, default_value_t = Size::S)]
    workload: Size,
    /// A coracle that is built already, instead of the release build of this tree
    #[arg(long)]
    program: Option<PathBuf>,
    /// How often each command is run; the fastest counts
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// Measures and prints the table.
pub fn run(args: &Args) -> Result<()> {
    let program = if let Some(program) = &args.program {
        program.canonicalize().with_context(|| format!("cannot find {}", program.display()))?
    } else {
        child::step(child::command("cargo").args(["build", "--quiet", "--release", "--package", "coracle"]))?;
        crate::root().join("target/release/coracle")
    };
    let lab = lab::dir()?;
    let place = tempfile::Builder::new().prefix("bench-").tempdir_in(&lab)?;
    let served = workload::serve(&lab, place.path(), args.workload)?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let bench = Bench { program, place: place.path().to_owned(), served, runs: args.runs.max(1) };
    let mut rows = carry::create(&bench)?;
    let limits = limit::rows(&bench.content()?, &bench.served.files_of_disk()?, &bench.place, &bench.path(BUNDLE))?;
    rows.extend(carry::read(&bench, &limits)?);
    rows.extend(serve::rows(&bench)?);
    std::fs::remove_dir_all(bench.path("node"))?;
    rows.extend(carry::peers(&bench)?);
    let mut left_out = vec!["Zarf and Hauler (no Go module with a checksum is to be had)".to_owned()];
    match node::obstacle() {
        None => rows.extend(seed::rows(&bench)?),
        Some(obstacle) => left_out.push(format!("containerd ({obstacle})")),
    }
    for row in &mut rows {
        row.limit = row.limit.or_else(|| limit_of(&row.name, &limits));
    }
    let bundle = bench.path(BUNDLE).metadata()?.len();
    println!(
        "\n{}: {}, bundle {} MB, {} cores, best of {} runs, load when it began {}",
        args.workload.name(),
        bench.served.summary,
        bundle / 1_000_000,
        cores(),
        bench.runs,
        load.split(' ').next().unwrap_or_default()
    );
    table::print(&rows, &limits);
    println!("not measured: {}", left_out.join(" · "));
    Ok(())
}

/// What is known when everything was measured.
fn limit_of(name: &str, limits: &Limits) -> Option<f64> {
    match name {
        carry::COLD | carry::WARM => Some(limits.create()),
        carry::VERIFY => Some(limits.sha256),
        _ => None,
    }
}

/// How many cores there are.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

struct Bench {
    program: PathBuf,
    place: PathBuf,
    served: Served,
    runs: u32,
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    /// All blobs that create fetched.
    fn content(&self) -> Result<Vec<PathBuf>> {
        let blobs = self.place.join("cache/blobs/sha256");
        let entries = std::fs::read_dir(&blobs).with_context(|| format!("cannot list {}", blobs.display()))?;
        entries.map(|entry| Ok(entry?.path())).collect()
    }

    fn coracle(&self, arguments: &[&str]) -> Command {
        let mut command = child::command(&self.program);
        command.args(arguments).current_dir(&self.place);
        self.prepare(&mut command);
        command
    }

    /// The environment of a command of ours.
    fn prepare(&self, command: &mut Command) {
        command.env("HOME", &self.place).env("TMPDIR", &self.place).env("CORACLE_KEY_PASSWORD", "bench");
    }

    /// Runs a command that must succeed.
    fn once(&self, command: &mut Command, daemon: Option<u32>) -> Result<Usage> {
        let (usage, said) = measure(command, &self.place, daemon)?;
        ensure!(usage.success, "`{}` failed: {said}", child::shown(command));
        Ok(usage)
    }

    /// Runs it several times, each after `before`; the fastest counts.
    fn best(&self, before: impl Fn() -> Result<()>, run: impl Fn() -> Result<Usage>) -> Result<Usage> {
        before()?;
        let mut best = run()?;
        for _ in 1..self.runs {
            before()?;
            best = best.better(run()?);
        }
        Ok(best)
    }
}

/// Takes a file or directory away, if it is there.
fn clear(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| path.display().to_string()),
        _ => Ok(()),
    }
}
