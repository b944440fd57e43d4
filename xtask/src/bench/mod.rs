//! Ours, the peers' and the machine's limits on the same data in one run (targets.md).
//!
//! ```text
//! files of this machine ─workload→ images in a CNCF registry, files on a server   (kept in the lab)
//! each command ─measure→ Usage ─table→ one line, beside the limit that it has
//! ```
//!
//! Peers that this does not run yet: Zarf and Hauler (neither can be had from here), `ctr images import` and our own seeding.

mod limit;
mod measure;
mod table;
mod workload;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{child, lab};
use measure::{Usage, measure};
use table::Row;
use workload::{Served, Size};

/// Flags of the task.
#[derive(clap::Args)]
pub struct Args {
    /// The large workload: 3.4 GB compressed, instead of 450 MB
    #[arg(long)]
    large: bool,
    /// A coracle that is built already, instead of the release build of this tree
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Measures and prints the table.
pub fn run(args: &Args) -> Result<()> {
    let program = if let Some(program) = &args.program {
        program.canonicalize().with_context(|| format!("cannot find {}", program.display()))?
    } else {
        child::step(child::command("cargo").args(["build", "--quiet", "--release", "--package", "coracle"]))?;
        crate::root().join("target/release/coracle")
    };
    let size = if args.large { Size::Large } else { Size::Small };
    let lab = lab::dir()?;
    let place = tempfile::Builder::new().prefix("bench-").tempdir_in(&lab)?;
    let served = workload::serve(&lab, place.path(), size)?;
    let bench = Bench { program, place: place.path().to_owned(), served };
    let mut rows = bench.ours()?;
    let limit = limit::rows(&bench.content()?, &bench.served.files_of_disk()?, &bench.place, &bench.bundle())?;
    rows.extend(bench.peers()?);
    let bundle = bench.bundle().metadata()?.len();
    println!("\n{}: {}, bundle {} MB, {} cores", size.name(), bench.served.summary, bundle / 1_000_000, cores());
    table::print(&rows, &limit);
    println!("not measured: zarf, hauler, ctr images import, seeding of containerd");
    Ok(())
}

/// How many cores there are.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

struct Bench {
    program: PathBuf,
    place: PathBuf,
    served: Served,
}

impl Bench {
    fn bundle(&self) -> PathBuf {
        self.place.join("bench-1.0.0.tar.zst")
    }

    /// All blobs that create fetched.
    fn content(&self) -> Result<Vec<PathBuf>> {
        let blobs = self.place.join("cache/blobs/sha256");
        let entries = std::fs::read_dir(&blobs).with_context(|| format!("cannot list {}", blobs.display()))?;
        entries.map(|entry| Ok(entry?.path())).collect()
    }

    fn coracle(&self, arguments: &[&str]) -> Command {
        let mut command = child::command(&self.program);
        command.args(arguments).current_dir(&self.place).env("HOME", &self.place).env("TMPDIR", &self.place);
        command.env("CORACLE_KEY_PASSWORD", "bench");
        command
    }

    fn run(&self, command: &mut Command) -> Result<Usage> {
        let (usage, said) = measure(command, &self.place)?;
        ensure!(usage.success, "`{}` failed: {said}", child::shown(command));
        Ok(usage)
    }

    fn ours(&self) -> Result<Vec<Row>> {
        self.run(&mut self.coracle(&["keygen", "bench"]))?;
        let registry = self.served.registry.to_string();
        let files = self.served.files.address.to_string();
        let create = ["create", "definition", "-o", "bench-1.0.0.tar.zst", "--signing-key", "bench.key", "--cache", "cache"];
        let create: Vec<&str> = create.into_iter().chain(["--plain-http", &registry, "--plain-http", &files]).collect();
        let bundle = "bench-1.0.0.tar.zst";
        let deploy = ["deploy", bundle, "--key", "bench.pub", "--root", "node", "--yes"];
        let mut rows = Vec::new();
        for (name, arguments) in [
            ("coracle create, cold", create.as_slice()),
            ("coracle create, warm", &create),
            ("coracle inspect", &["inspect", bundle, "--key", "bench.pub"]),
            ("coracle verify", &["verify", bundle, "--key", "bench.pub"]),
            ("coracle deploy --root, first", &deploy),
            ("coracle deploy --root, again", &deploy),
        ] {
            println!("$ coracle {}", arguments.join(" "));
            rows.push(Row { name, usage: self.run(&mut self.coracle(arguments))? });
        }
        Ok(rows)
    }

    fn peers(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        if let Some(skopeo) = lab::find("skopeo")? {
            rows.push(Row { name: "skopeo copy --all to a layout", usage: self.skopeo(&skopeo)? });
            if child::on_path("zstd") && child::on_path("tar") {
                let mut tar = child::command("sh");
                tar.current_dir(&self.place).args(["-c", "tar -cf - layout | zstd -q -3 -T0 -f -o layout.tar.zst"]);
                rows.push(Row { name: "tar + zstd -3 -T0 of that layout", usage: self.run(&mut tar)? });
            }
        }
        Ok(rows)
    }

    /// All images one after another, as one usage.
    fn skopeo(&self, skopeo: &Path) -> Result<Usage> {
        let mut all = Usage::default();
        for image in &self.served.images {
            let name = image.rsplit('/').next().unwrap_or(image);
            let mut copy = child::command(skopeo);
            copy.current_dir(&self.place).env("TMPDIR", &self.place);
            copy.args(["copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false"]);
            copy.args([format!("docker://{}/{image}", self.served.registry), format!("oci:layout:{name}")]);
            all.then(&self.run(&mut copy)?);
        }
        Ok(all)
    }
}
