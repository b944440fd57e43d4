//! Images of the node's platform into a real containerd: a whole deploy, seeding alone, and `ctr images import` of the same images into
//! an equal, empty one.

use anyhow::{Context as _, Result};

use super::carry::skopeo;
use super::node::Node;
use super::table::Row;
use super::{BUNDLE, Bench, clear};
use crate::{child, lab};

const IMPORT: &str = "ctr images import, with unpacking";

pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = ours(bench)?;
    if let Some(program) = lab::find("skopeo")? {
        skopeo(bench, &program, "layout", &["--override-arch", "amd64"])?;
        child::output(child::command("tar").current_dir(&bench.place).args(["-cf", "images.tar", "-C", "layout", "."]))?;
        clear(&bench.path("layout"))?;
        rows.push(import(bench)?);
        clear(&bench.path("images.tar"))?;
    }
    Ok(rows)
}

fn ours(bench: &Bench) -> Result<Vec<Row>> {
    let node = Node::start(&bench.path("ours"))?;
    let containerd = Some(node.pid());
    let run = || {
        let mut command = node.inside(&bench.program);
        command.arg("deploy").arg(bench.path(BUNDLE)).arg("--key").arg(bench.path("bench.pub")).arg("--yes");
        command.arg("--containerd-address").arg(node.address());
        bench.prepare(&mut command);
        bench.once(&mut command, containerd)
    };
    println!("$ coracle deploy, on a node with containerd");
    let first = run()?;
    let again = bench.best(|| Ok(()), run)?;
    let seed = bench.best(|| node.forget_images(), run)?;
    let images = child::output(&mut node.ctr(&["images", "check", "-q"]))?;
    anyhow::ensure!(images.lines().count() >= bench.served.images.len(), "not all images are whole in containerd: {images}");
    drop(node);
    clear(&bench.path("ours"))?;
    Ok(vec![
        Row::new("coracle deploy, node with containerd, first", first).against(IMPORT),
        Row::new("the same, all present", again),
        Row::new("the same, only images missing: seeding", seed).against(IMPORT),
    ])
}

fn import(bench: &Bench) -> Result<Row> {
    println!("$ ctr images import");
    let node = Node::start(&bench.path("theirs"))?;
    let archive = bench.path("images.tar");
    let archive = archive.to_str().context("a path that is not UTF-8")?;
    // The first run finds nothing to take away.
    let import = || bench.once(&mut node.ctr(&["images", "import", "--platform", "linux/amd64", archive]), Some(node.pid()));
    let first = import()?;
    let mut best = first;
    for _ in 1..bench.runs {
        node.forget_images()?;
        best = best.better(import()?);
    }
    drop(node);
    clear(&bench.path("theirs"))?;
    Ok(Row::new(IMPORT, best))
}
