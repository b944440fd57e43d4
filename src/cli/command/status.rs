//! `coracle status`: what this node holds, and whether it still does.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::{Exit, Format, Ui};
use crate::deploy::host::Host;
use crate::deploy::host::linux::LinuxHost;
use crate::deploy::status::{self, Status};

/// Show what this node holds and whether it still does
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look into this directory instead of the node
    #[arg(long, value_name = "DIR", env = "CORACLE_ROOT")]
    root: Option<PathBuf>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Text, env = "CORACLE_FORMAT")]
    format: Format,
}

/// Compares the node with its receipts.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let host: Box<dyn Host> = match args.root {
        Some(root) => Box::new(LinuxHost::directory(&root)?),
        None => Box::new(LinuxHost::node(None)),
    };
    let all = status::status(host.as_ref())?;
    let registry = status::registry(host.as_ref())?;
    ui.print(&match args.format {
        Format::Text => text(&all, registry.as_deref()),
        Format::Json => json(&all, registry.as_deref()),
    })?;
    Ok(Exit::Done)
}

fn text(all: &[Status], registry: Option<&str>) -> String {
    if all.is_empty() {
        return "nothing is deployed here".to_owned();
    }
    let mut lines = Vec::new();
    for status in all {
        let version = status.version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let root = status.root.map(|root| root.to_string()).unwrap_or_default();
        lines.push(format!("{} {version}  {}  {root}", status.package, status.state.word()).trim_end().to_owned());
        lines.extend(status.drift.iter().map(|drift| format!("  {}", drift.to_string().replace('\n', "\n  "))));
        lines.extend(status.missing_blobs.iter().map(|digest| format!("  blob `{digest}` is not in the store")));
    }
    lines.extend(registry.map(|why| format!("registry  {why}\n  run the last `coracle deploy` again: it starts it")));
    lines.join("\n")
}

/// `registry` says why the node registry does not serve, and is null where it does or nobody needs it.
fn json(all: &[Status], registry: Option<&str>) -> String {
    let packages = all.iter().map(|status| {
        let files = status.drift.iter().map(|drift| json!({"path": drift.path, "differences": status::lines(drift)}));
        let blobs = status.missing_blobs.iter().map(|digest| json!({"blob": digest.to_string(), "differences": ["is missing"]}));
        json!({
            "name": status.package.to_string(),
            "version": status.version.as_ref().map(ToString::to_string),
            "digest": status.root.map(|root| root.to_string()),
            "state": status.state.word(),
            "drift": files.chain(blobs).collect::<Vec<_>>(),
        })
    });
    format!("{:#}", json!({"packages": packages.collect::<Vec<_>>(), "registry": registry}))
}
