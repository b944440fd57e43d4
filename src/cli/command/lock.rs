//! `coracle lock`: resolve and pin without fetching content.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use super::sources::SourceArgs;
use crate::cli::{Exit, Format, Ui};
use crate::create::lock::{Lock, Stale};
use crate::create::{self, LockUse, lock_path};
use crate::fs;

/// Resolve every reference and pin it in coracle.lock, without fetching content
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    sources: SourceArgs,
    /// Asks upstream again what this image or URL means today; can be repeated. `all` means every one
    #[arg(long, value_name = "NAME", conflicts_with = "check")]
    update: Vec<String>,
    /// Writes nothing; ends with status 4 when the definition is ahead of the lock file
    #[arg(long)]
    check: bool,
    /// How the lock, or what --check finds, is printed: as sentences, or as a document
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Runs it.
pub fn run(args: &Args, ui: &Ui) -> anyhow::Result<Exit> {
    let package = args.sources.package().map_err(create::Error::from)?;
    let path = lock_path(&package);
    let locked = create::read_lock(&path)?;
    if args.check {
        let stale = locked.as_ref().map(|lock| lock.check(&package));
        let (definition, lock) = (package.file.path.display().to_string(), path.display().to_string());
        ui.print(&match args.format {
            Format::Text => text(stale.as_deref(), &definition, &lock),
            Format::Json => json(stale.as_deref(), &definition, &lock),
        })?;
        return Ok(if stale.is_some_and(|stale| stale.is_empty()) { Exit::Done } else { Exit::Differs });
    }
    let kept = locked.as_ref().map(|lock| forget(lock, &args.update)).transpose()?.flatten();
    let store = args.sources.store()?;
    let sources = args.sources.sources()?;
    let tools = args.sources.tools(&package, &store, ui)?;
    let runtime = tokio::runtime::Handle::current();
    let pinned = runtime.block_on(create::pin(package, kept, LockUse::Follow, tools, &sources, &store, ui))?;
    let text = pinned.lock.to_json();
    if locked.as_ref() == Some(&pinned.lock) {
        ui.say(&format!("  unchanged  {}", path.display()));
    } else {
        fs::write_atomic(&path, text.as_bytes(), 0o644)?;
        ui.say(&format!("  locked     {}", path.display()));
    }
    if args.format == Format::Json {
        ui.print(text.trim_end())?;
    }
    Ok(Exit::Done)
}

fn forget(lock: &Lock, names: &[String]) -> anyhow::Result<Option<Lock>> {
    if names.iter().any(|name| name == "all") {
        return Ok(None);
    }
    let kept = lock.without(names);
    if !names.is_empty() && kept == *lock {
        anyhow::bail!(super::Usage(format!("--update {}: the lock file pins nothing of that name", names.join(" "))));
    }
    Ok(Some(kept))
}

/// What a definition asks for beyond its lock file, which may be missing.
fn text(stale: Option<&[Stale]>, definition: &str, lock: &str) -> String {
    match stale {
        None => format!("{lock} is missing: `coracle lock` writes it"),
        Some([]) => format!("{lock} is up to date"),
        Some(stale) => {
            let lines = stale.iter().map(|entry| format!("{definition}:{}:{}: {entry}", entry.at.line, entry.at.column));
            lines.collect::<Vec<String>>().join("\n")
        }
    }
}

fn json(stale: Option<&[Stale]>, definition: &str, lock: &str) -> String {
    let state = match stale {
        None => "missing",
        Some([]) => "fresh",
        Some(_) => "stale",
    };
    let entry = |entry: &Stale| json!({"line": entry.at.line, "column": entry.at.column, "what": entry.to_string()});
    let stale: Vec<Value> = stale.unwrap_or_default().iter().map(entry).collect();
    format!("{:#}", json!({"lock": lock, "definition": definition, "state": state, "stale": stale}))
}
