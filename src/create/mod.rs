//! CONNECTED SIDE: from words to a signed file.
//!
//! ```text
//! coracle.yaml ─definition::load→ Package ┐
//! coracle.lock ─lock::Lock::parse→ Lock ──┴─resolve→ Resolution ─fetch→ (blobs in the Store) ─assemble→ UnsignedBundle
//! ```
//!
//! [`pin`] goes as far as the resolution and the lock that belongs to it, without content; [`gather`] fetches and assembles. Signing and
//! writing are the bundle's own business. Nothing here knows the isolated side.

pub mod assemble;
pub mod definition;
mod error;
pub mod fetch;
pub mod lock;
pub mod media;
pub mod resolution;
pub mod resolve;
pub mod source;
pub mod tools;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::definition::package::Package;
pub use self::error::Error;
use self::lock::Lock;
use self::resolution::Resolution;
use self::source::Sources;
use crate::bundle::UnsignedBundle;
use crate::event::Observer;
use crate::fs;
use crate::io::CHUNK;
use crate::store::Store;
use crate::types::{Descriptor, Digest, Platform};

/// A lock file may be this large.
const LOCK_LIMIT: u64 = 64 << 20;

/// What to do with a lock file that the definition is ahead of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockUse {
    /// Keep what it pins, resolve what it lacks.
    Follow,
    /// Refuse.
    Require,
}

/// Everything pinned, and the lock file that says so.
#[derive(Debug)]
pub struct Pinned {
    /// What is to be fetched.
    pub resolution: Resolution,
    /// The lock that belongs to it.
    pub lock: Lock,
    /// The tools that travel; `None` for a platform that goes without.
    pub tools: BTreeMap<Platform, Option<Descriptor>>,
}

/// Where the lock file of a package lies.
pub fn lock_path(package: &Package) -> PathBuf {
    package.file.directory.join("coracle.lock")
}

/// Reads the lock file; `None` where there is none.
pub fn read_lock(path: &Path) -> Result<Option<Lock>, Error> {
    match fs::read_to_string(path, LOCK_LIMIT) {
        Ok(text) => Lock::parse(&text).map(Some).map_err(|source| Error::Lock { path: path.to_owned(), source }),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Resolves every reference for every platform, by the lock where it pins one, and makes the lock that belongs to the answer.
pub async fn pin(
    package: Package,
    locked: Option<Lock>,
    lock_use: LockUse,
    tools: BTreeMap<Platform, Option<Descriptor>>,
    sources: &Sources,
    store: &Store,
    observer: &dyn Observer,
) -> Result<Pinned, Error> {
    if lock_use == LockUse::Require {
        require_fresh(&package, locked.as_ref())?;
    }
    let resolution = resolve::resolve(&package, locked.as_ref(), sources, store, observer).await?;
    let lock = Lock::from_resolution(&resolution, &tools);
    if lock_use == LockUse::Require && locked.is_some_and(|locked| locked != lock) {
        return Err(Error::LockDiffers { path: lock_path(&resolution.package) });
    }
    Ok(Pinned { resolution, lock, tools })
}

fn require_fresh(package: &Package, locked: Option<&Lock>) -> Result<(), Error> {
    let path = lock_path(package);
    let Some(lock) = locked else { return Err(Error::NoLock { path }) };
    let stale = lock.check(package);
    if stale.is_empty() { Ok(()) } else { Err(Error::StaleLock { path, definition: package.file.path.clone(), stale }) }
}

/// Fetches what is missing and names everything that the bundle carries.
pub async fn gather(pinned: Pinned, sources: &Sources, store: &Store, observer: &dyn Observer) -> Result<UnsignedBundle, Error> {
    let Pinned { resolution, lock, tools } = pinned;
    fetch::fetch(&resolution, sources, store, observer).await?;
    let tools: assemble::Tools = tools
        .into_iter()
        .filter_map(|(platform, tool)| tool.map(|descriptor| (platform, vec![("coracle".to_owned(), descriptor)])))
        .collect();
    let mut content = assemble::content(&resolution);
    content.extend(tools.values().flatten().map(|(_, descriptor)| descriptor.clone()));
    let chunks = chunk_digests(store, &content)?;
    Ok(assemble::assemble(resolution, tools, chunks, lock.to_json()).assemble()?)
}

fn chunk_digests(store: &Store, content: &[Descriptor]) -> Result<BTreeMap<Digest, Vec<Digest>>, Error> {
    let large = content.iter().filter(|descriptor| descriptor.size > CHUNK);
    large.map(|descriptor| Ok((descriptor.digest, store.chunk_digests(descriptor)?))).collect()
}
