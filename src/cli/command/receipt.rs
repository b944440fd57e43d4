//! `coracle receipt`: the node's own statement of what it holds.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::{Exit, Ui};
use crate::deploy::host::Host;
use crate::deploy::host::linux::LinuxHost;
use crate::deploy::receipt;
use crate::fs;

/// Write the statement of what this node holds
///
/// One JSON document with the receipt of each package: blobs, files, images, selection and variables that are not sensitive.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to; `-` is stdout
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Look into this directory instead of the node
    #[arg(long, value_name = "DIR", env = "CORACLE_ROOT")]
    root: Option<PathBuf>,
}

/// Writes it.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let host: Box<dyn Host> = match args.root {
        Some(root) => Box::new(LinuxHost::directory(&root)?),
        None => Box::new(LinuxHost::node(None)),
    };
    let receipts = receipt::read_all(host.as_ref())?;
    let receipts = receipts.iter().map(|receipt| serde_json::from_str(&receipt.to_json())).collect::<Result<Vec<Value>, _>>()?;
    let document = format!("{:#}", json!({"version": 1, "receipts": receipts}));
    if args.output == Path::new("-") {
        ui.print(&document)?;
    } else {
        fs::write_atomic(&args.output, format!("{document}\n").as_bytes(), 0o600)?;
        ui.say(&format!("  wrote     {}   {} packages", args.output.display(), receipts.len()));
    }
    Ok(Exit::Done)
}
