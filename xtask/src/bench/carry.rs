//! A bundle: made, checked and deployed into a directory, beside a layout that skopeo copies and tar and zstd pack.

use std::io::Write as _;
use std::path::Path;

use anyhow::Result;

use super::limit::{self, Limits};
use super::measure::Usage;
use super::table::Row;
use super::{BUNDLE, Bench, clear};
use crate::{child, lab};

/// Names of rows, by which others find them.
pub const COLD: &str = "coracle create, cold";
pub const WARM: &str = "coracle create, warm";
pub const VERIFY: &str = "coracle verify";
const SKOPEO: &str = "skopeo copy --all to a layout";
const TAR: &str = "tar + zstd -3 -T0 of that layout";
const BOTH: &str = "skopeo, then tar + zstd (no files, no signature)";

/// The length of the one large blob: as many chunks as keep every core busy.
const LARGE: usize = 512 << 20;

fn say(arguments: &[&str]) {
    println!("$ coracle {}", arguments.join(" "));
}

/// The bundle, out of nothing and out of the cache.
pub fn create(bench: &Bench) -> Result<Vec<Row>> {
    bench.once(&mut bench.coracle(&["keygen", "bench"]), None)?;
    let registry = bench.served.registry.to_string();
    let files = bench.served.files.address.to_string();
    let create = ["create", "definition", "-o", BUNDLE, "--signing-key", "bench.key", "--cache", "cache"];
    let create: Vec<&str> = create.into_iter().chain(["--plain-http", &registry, "--plain-http", &files]).collect();
    say(&create);
    let run = || bench.once(&mut bench.coracle(&create), None);
    let cold = bench.best(|| ["cache", BUNDLE, "definition/coracle.lock"].iter().try_for_each(|name| clear(&bench.path(name))), run)?;
    let warm = bench.best(|| clear(&bench.path(BUNDLE)), run)?;
    Ok(vec![Row::new(COLD, cold).against(BOTH), Row::new(WARM, warm).against(TAR)])
}

/// What is done with it.
pub fn read(bench: &Bench, limits: &Limits) -> Result<Vec<Row>> {
    let deploy = ["deploy", BUNDLE, "--key", "bench.pub", "--root", "node", "--yes"];
    let mut rows = Vec::new();
    for (name, arguments) in
        [("coracle inspect", &["inspect", BUNDLE, "--key", "bench.pub"][..]), (VERIFY, &["verify", BUNDLE, "--key", "bench.pub"])]
    {
        say(arguments);
        rows.push(Row::new(name, bench.best(|| Ok(()), || bench.once(&mut bench.coracle(arguments), None))?));
    }
    rows.push(one_large_blob(bench)?);
    say(&deploy);
    let run = || bench.once(&mut bench.coracle(&deploy), None);
    let first = bench.best(|| clear(&bench.path("node")), run)?;
    rows.push(Row::new("coracle deploy --root, first", first).within(limits.write));
    rows.push(Row::new("coracle deploy --root, again", bench.best(|| Ok(()), run)?));
    Ok(rows)
}

/// `verify` of a bundle with nothing but one file that cannot be compressed: its chunks are what keeps all cores busy.
fn one_large_blob(bench: &Bench) -> Result<Row> {
    let directory = bench.path("large");
    std::fs::create_dir_all(&directory)?;
    let file = directory.join("noise");
    noise(&file)?;
    let definition = "apiVersion: coracle/v1alpha1\nkind: Package\nmetadata:\n  name: large\n  version: 1.0.0\nplatforms: [linux/amd64]\n\
                      components:\n  - name: large\n    files:\n      - source: ./noise\n        path: /opt/noise\n";
    crate::file::write(&directory.join("coracle.yaml"), definition.as_bytes())?;
    let create = ["create", "large", "-o", "large.tar.zst", "--signing-key", "bench.key", "--cache", "large/cache"];
    say(&create);
    bench.once(&mut bench.coracle(&create), None)?;
    let verify = ["verify", "large.tar.zst", "--key", "bench.pub"];
    say(&verify);
    let usage = bench.best(|| Ok(()), || bench.once(&mut bench.coracle(&verify), None))?;
    let limit = limit::sha256(&[file])?;
    clear(&directory)?;
    clear(&bench.path("large.tar.zst"))?;
    Ok(Row::new("coracle verify, one blob of 537 MB", usage).within(limit))
}

fn noise(file: &Path) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..LARGE / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.write_all(&state.to_le_bytes())?;
    }
    Ok(out.flush()?)
}

/// What others need for the same images, files apart.
pub fn peers(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let Some(program) = lab::find("skopeo")? else { return Ok(rows) };
    println!("$ skopeo copy --all, {} images", bench.served.images.len());
    rows.push(Row::new(SKOPEO, bench.best(|| clear(&bench.path("layout")), || skopeo(bench, &program, "layout", &["--all"]))?));
    if child::on_path("zstd") && child::on_path("tar") {
        println!("$ tar, zstd");
        let script = "tar -cf - layout | zstd -q -3 -T0 -f -o layout.tar.zst && sync layout.tar.zst";
        let run = || bench.once(child::command("sh").current_dir(&bench.place).args(["-c", script]), None);
        let tar = bench.best(|| clear(&bench.path("layout.tar.zst")), run)?;
        let mut both = rows.last().map(|row| row.usage.clone()).unwrap_or_default();
        both.then(&tar);
        rows.extend([Row::new(TAR, tar), Row::new(BOTH, both)]);
        clear(&bench.path("layout.tar.zst"))?;
    }
    clear(&bench.path("layout"))?;
    Ok(rows)
}

/// All images one after another, as one usage.
pub fn skopeo(bench: &Bench, program: &Path, layout: &str, flags: &[&str]) -> Result<Usage> {
    let mut all = Usage::default();
    for image in &bench.served.images {
        let mut copy = child::command(program);
        copy.current_dir(&bench.place).env("TMPDIR", &bench.place);
        copy.args(["copy", "-q", "--preserve-digests", "--src-tls-verify=false"]).args(flags);
        copy.args([format!("docker://{}/{image}", bench.served.registry), format!("oci:{layout}:{}/{image}", bench.served.registry)]);
        all.then(&bench.once(&mut copy, None)?);
    }
    Ok(all)
}
