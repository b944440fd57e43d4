//! `coracle lock`: resolve and pin without fetching content.

use clap::Args as ClapArgs;

use super::sources::SourceArgs;
use crate::cli::{Exit, Format, Ui};
use crate::create::lock::{Lock, Stale};
use crate::create::{self, LockUse, lock_path, tools};
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
    /// How the lock is printed: as a sentence, or as the document itself
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
        return report(stale.as_deref(), &package.file.path.display().to_string(), &path.display().to_string(), ui);
    }
    let kept = locked.as_ref().map(|lock| forget(lock, &args.update)).transpose()?.flatten();
    let store = args.sources.store()?;
    let sources = args.sources.sources()?;
    let program = std::env::current_exe()?;
    let tools = tools::store(&store, &tools::find(&package.platforms, &std::collections::BTreeMap::new(), program.parent())?)?;
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

fn report(stale: Option<&[Stale]>, definition: &str, path: &str, ui: &Ui) -> anyhow::Result<Exit> {
    let Some(stale) = stale else {
        ui.print(&format!("{path} is missing: `coracle lock` writes it"))?;
        return Ok(Exit::Differs);
    };
    for entry in stale {
        ui.print(&format!("{definition}:{}:{}: {entry}", entry.at.line, entry.at.column))?;
    }
    if stale.is_empty() {
        ui.print(&format!("{path} is up to date"))?;
        return Ok(Exit::Done);
    }
    Ok(Exit::Differs)
}
