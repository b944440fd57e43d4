//! The node registry beside CNCF distribution: eight clients pull all layers of one platform, several times.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::measure::Usage;
use super::table::Row;
use super::{BUNDLE, Bench, pull};
use crate::child::Background;
use crate::http::{free_port, request};

const DISTRIBUTION: &str = "pull: CNCF distribution";

/// Needs the directory `node` that a deploy filled.
pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    println!("$ coracle registry serve, 8 clients");
    let targets = pull::layers(bench.served.registry, &bench.served.images)?;
    let theirs = bench.best(|| Ok(()), || pull::all(bench.served.registry, bench.served.registry_pid(), &targets))?;
    let state = bench.path("node/var/lib/coracle");
    let (ready, store) = served(bench, &["--store".as_ref(), state.as_path()], &targets)?;
    let (_, bundle) = served(bench, &["--bundle".as_ref(), BUNDLE.as_ref(), "--key".as_ref(), "bench.pub".as_ref()], &targets)?;
    let speed = |usage: &Usage| u128::from(usage.read) / 1000 / Duration::from_secs_f64(usage.wall).as_millis().max(1);
    let row = |name: &'static str, usage: Usage| Row::new(format!("{name} ({} MB/s)", speed(&usage)), usage);
    let theirs = Row { name: DISTRIBUTION.to_owned(), ..row(DISTRIBUTION, theirs) };
    println!("  {DISTRIBUTION}: {} MB/s", speed(&theirs.usage));
    Ok(vec![
        Row::new("registry ready after its start", ready),
        row("pull: node registry, store", store).against(DISTRIBUTION),
        row("pull: node registry, bundle in place", bundle).against(DISTRIBUTION),
        theirs,
    ])
}

/// How long it takes until it answers, and what pulling costs it.
fn served(bench: &Bench, what: &[&Path], targets: &[String]) -> Result<(Usage, Usage)> {
    let address = free_port()?;
    let start = || -> Result<(Background, Usage)> {
        let mut command = bench.coracle(&["registry", "serve", "--listen", &address.to_string()]);
        command.args(what).stderr(std::process::Stdio::null());
        let begun = Instant::now();
        let mut server = Background::start(&mut command)?;
        server.wait_for(address)?;
        answers(address)?;
        let wall = begun.elapsed().as_secs_f64();
        Ok((server, Usage { success: true, wall, ..Usage::default() }))
    };
    let (mut server, mut ready) = start()?;
    for _ in 1..bench.runs {
        drop(server);
        let (next, usage) = start()?;
        (server, ready) = (next, ready.better(usage));
    }
    let pulled = bench.best(|| Ok(()), || pull::all(address, server.id(), targets))?;
    Ok((ready, pulled))
}

fn answers(address: SocketAddr) -> Result<()> {
    let answer = request("GET", address, "/v2/", &[], b"")?;
    ensure!(answer.status == 200, "the registry answered {}", answer.status);
    Ok(())
}
