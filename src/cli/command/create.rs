//! `coracle create`: from a definition to one signed bundle.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Args as ClapArgs;

use super::sources::{SourceArgs, pair};
use crate::bundle::trust::SigningKey;
use crate::bundle::{SignedBundle, UnsignedBundle};
use crate::cli::ui::size;
use crate::cli::{Exit, Ui, keys};
use crate::create::media::Medium;
use crate::create::{self, LockUse, Pinned, fetch, lock_path, tools};
use crate::fs;
use crate::store::Store;
use crate::types::Platform;

/// Make the bundle that a definition describes
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    sources: SourceArgs,
    /// The bundle [default: NAME-VERSION.tar.zst in the current directory]
    #[arg(short, long, value_name = "FILE", env = "CORACLE_OUTPUT", conflicts_with = "media")]
    output: Option<PathBuf>,
    /// Signs with this private key (PEM); can be repeated. The password comes from the terminal or CORACLE_KEY_PASSWORD
    #[arg(long, value_name = "KEY", env = "CORACLE_SIGNING_KEY", value_delimiter = ',')]
    signing_key: Vec<PathBuf>,
    /// Makes a bundle that nobody signed: every deploy of it must accept that
    #[arg(long, conflicts_with = "signing_key")]
    unsigned: bool,
    /// Refuses when coracle.lock is missing or the definition is ahead of it
    #[arg(long, env = "CORACLE_LOCKED")]
    locked: bool,
    /// Writes all that a bare node needs into this directory: bundle, tools, signatures, sums and a README
    #[arg(long, value_name = "DIR", env = "CORACLE_MEDIA")]
    media: Option<PathBuf>,
    /// The static `coracle` that travels for a platform [default: coracle-linux-ARCH beside this program]; can be repeated
    #[arg(long, value_name = "PLATFORM=PATH", value_parser = pair)]
    tool: Vec<(String, String)>,
    /// Says what would be fetched, with sizes, and stops
    #[arg(long)]
    dry_run: bool,
    /// Threads that hash and compress [default: one per core]
    #[arg(long, value_name = "N", env = "CORACLE_THREADS")]
    threads: Option<NonZeroUsize>,
}

/// Runs it.
pub fn run(args: &Args, ui: &Ui) -> anyhow::Result<Exit> {
    if args.signing_key.is_empty() && !args.unsigned && !args.dry_run {
        bail!(super::Usage("a bundle is signed: name a key with --signing-key (`coracle keygen` makes one), or say --unsigned".to_owned()));
    }
    // The password is asked for before the work, not after an hour of it.
    let signing_keys = args.signing_key.iter().map(|path| keys::load_signing_key(path, ui)).collect::<Result<Vec<_>, _>>()?;
    let package = args.sources.package().map_err(create::Error::from)?;
    let store = args.sources.store()?;
    let sources = args.sources.sources()?;
    let lock_path = lock_path(&package);
    let locked = create::read_lock(&lock_path)?;
    let lock_text = locked.as_ref().map(create::lock::Lock::to_json);
    let tools = tools::store(&store, &find_tools(args, &package.platforms, ui)?)?;
    let lock_use = if args.locked { LockUse::Require } else { LockUse::Follow };
    let runtime = tokio::runtime::Handle::current();
    let pinned = runtime.block_on(create::pin(package, locked, lock_use, tools, &sources, &store, ui))?;
    if args.dry_run {
        return dry_run(&pinned, &store, ui);
    }
    let text = pinned.lock.to_json();
    if lock_text.as_ref() != Some(&text) {
        fs::write_atomic(&lock_path, text.as_bytes(), 0o644)?;
        ui.say(&format!("  locked     {}", lock_path.display()));
    }
    let bundle = runtime.block_on(create::gather(pinned, &sources, &store, ui))?;
    write(args, bundle, &signing_keys, &store, ui)
}

fn find_tools(args: &Args, platforms: &[Platform], ui: &Ui) -> anyhow::Result<BTreeMap<Platform, Option<PathBuf>>> {
    let named = args.tool.iter().map(|(platform, path)| Ok((platform.parse::<Platform>()?, PathBuf::from(path))));
    let named = named.collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    if let Some(other) = named.keys().find(|platform| !platforms.contains(platform)) {
        bail!(super::Usage(format!("--tool names {other}, which the definition does not")));
    }
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let found = tools::find(platforms, &named, program.parent())?;
    for (platform, _) in found.iter().filter(|(_, path)| path.is_none()) {
        ui.say(&format!(
            "  note       no coracle for {platform} travels: nodes of that platform must have it already (--tool {platform}=PATH)"
        ));
    }
    Ok(found)
}

fn dry_run(pinned: &Pinned, store: &Store, ui: &Ui) -> anyhow::Result<Exit> {
    let plan = fetch::plan_fetch(&pinned.resolution, store)?;
    for blob in &plan.blobs {
        ui.print(&format!("{:>10}  {}", size(blob.descriptor.size - blob.bytes_present), blob.name))?;
    }
    ui.print(&format!("would fetch {} of {}, the rest is in the cache", size(plan.bytes_missing), size(plan.bytes_total)))?;
    Ok(Exit::Done)
}

fn write(args: &Args, bundle: UnsignedBundle, keys: &[SigningKey], store: &Store, ui: &Ui) -> anyhow::Result<Exit> {
    let name = format!("{}-{}.tar.zst", bundle.name(), bundle.version());
    let root_digest = bundle.root_digest();
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let path = match (&args.media, &args.output) {
        (Some(directory), _) => directory.join(&name),
        (None, Some(path)) => path.clone(),
        (None, None) => PathBuf::from(&name),
    };
    if let Some(directory) = &args.media {
        fs::create_dir_all(directory)?;
    }
    let medium = Medium::of(&bundle, keys);
    let signed = if keys.is_empty() { bundle.unsigned() } else { sign(bundle, keys) };
    let begun = Instant::now();
    let written = signed.write_file(store, &path, threads, ui)?;
    let seconds = begun.elapsed().as_secs_f32();
    ui.say(&format!("  wrote      {}   {}   {root_digest}   {seconds:.1} s", path.display(), size(written.size)));
    if let Some(directory) = &args.media {
        let files = medium.write(directory, &path, store)?;
        ui.say(&format!("  laid out   {} in {}", files.join(", "), directory.display()));
    }
    for (path, key) in args.signing_key.iter().zip(keys) {
        ui.say(&format!("  signed by  {} ({})", path.display(), key.public().key_id()));
    }
    ui.say(&next(args, &path));
    Ok(Exit::Done)
}

fn sign(bundle: UnsignedBundle, keys: &[SigningKey]) -> SignedBundle {
    let members = keys.iter().map(|key| key.sign(bundle.root()).to_member(bundle.root(), key.public().key_id())).collect();
    bundle.signed(members)
}

fn next(args: &Args, path: &Path) -> String {
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    if let Some(directory) = &args.media {
        return format!("next: carry {} across and follow its README.txt", directory.display());
    }
    if args.unsigned {
        return format!("next: `coracle sign {}` before it is carried; nothing accepts it as it is", path.display());
    }
    format!(
        "next: carry {name} across, then  coracle deploy {name}   (the public key must already be trusted there: coracle deploy --help)"
    )
}
