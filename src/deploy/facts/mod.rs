//! What is here: everything that a plan wants to know of a node, looked at once. Changes nothing.

mod accounts;
mod os;
pub mod runtimes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use accounts::Accounts;
pub use os::OsRelease;
pub use runtimes::Runtimes;

use super::host::linux::containerd::{ImageState, SeedImage};
use super::host::{self, ContainerdFacts, DaemonProcess, Entry, EntryKind, FileSystem, Host, Identity, RegistryFacts};
use super::journal::{self, Journal};
use super::layout;
use super::plan::{Carried, REGISTRY_UNITS};
use super::receipt::{self, Placed, Receipt, Thing};
use crate::bundle::contents::Placement;
use crate::bundle::image::ImageTree;
use crate::registry::names::{self, Names};
use crate::store::{self, Store};
use crate::types::{Descriptor, Digest, ImageReference, Platform};

/// Configuration files of the node are at most this long.
const SMALL: u64 = 1 << 20;
/// A file that was changed by hand is shown line by line up to this many bytes.
const SHOWN: u64 = 64 << 10;

/// What is here.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// Who and what the node is.
    pub identity: Identity,
    /// Its distribution.
    pub os: OsRelease,
    /// Its users and groups.
    pub accounts: Accounts,
    /// What it holds of this package.
    pub receipt: Option<Receipt>,
    /// What it holds of others.
    pub others: Vec<Receipt>,
    /// What the last deploy of this package was doing.
    pub journal: Journal,
    /// Blobs of this package that are in the store, by name and size.
    pub blobs: BTreeSet<Digest>,
    /// Blobs that have a name and other content, left by a power loss: found where an interrupted run did not flush.
    pub damaged: BTreeSet<Digest>,
    /// What is at each path that the package or its receipt names; absent: nothing.
    pub paths: BTreeMap<PathBuf, Found>,
    /// The file systems of the store and of each path.
    pub file_systems: BTreeMap<PathBuf, FileSystem>,
    /// The node registry.
    pub registry: RegistryFacts,
    /// containerd.
    pub containerd: Containerd,
    /// What this package brought into the node registry.
    pub names: Option<Names>,
    /// What others brought into it, by package.
    pub other_names: Vec<Names>,
    /// Configuration of container runtimes.
    pub runtimes: Runtimes,
}

/// The node's containerd and the images of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Containerd {
    /// There is none, or none is asked (`--root`).
    Absent,
    /// It does not answer.
    Away {
        /// What was seen.
        why: String,
    },
    /// It answers.
    Here {
        /// Its version.
        version: String,
        /// What is unpacked into.
        snapshotter: String,
        /// Where that keeps its data.
        snapshot_root: Option<PathBuf>,
        /// The process.
        process: DaemonProcess,
        /// Images of the package that are there as a whole.
        present: BTreeSet<ImageReference>,
        /// What tags of the package's images stand for, where that is something else.
        holders: BTreeMap<ImageReference, Digest>,
    },
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub entry: Entry,
    /// The content of a regular file.
    pub digest: Option<Digest>,
    /// Where it is no longer what the receipt says: the text that it should have and the text that it has, if both are short texts.
    pub texts: Option<(String, String)>,
}

/// Why a node could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or program failed.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// A receipt cannot be read.
    #[error(transparent)]
    Receipt(#[from] receipt::Error),
    /// A journal cannot be read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The names of the node registry cannot be read.
    #[error(transparent)]
    Names(#[from] names::Error),
}

/// Looks at the node, for a plan of this bundle. Reads no blob, unless an interrupted run left some that may not be on the disk.
///
/// # Errors
/// Something cannot be looked at, or was written by a newer program.
pub fn gather(host: &dyn Host, carried: &Carried<'_>) -> Result<NodeFacts, Error> {
    let identity = host.identity()?;
    let receipts = receipt::read_all(host)?;
    let (mine, others): (Vec<_>, Vec<_>) = receipts.into_iter().partition(|receipt| receipt.package == carried.contents.name);
    let receipt = mine.into_iter().next();
    let journal = journal::read(host, &carried.contents.name)?;
    let text = |path: &str| Ok::<_, Error>(host.read(Path::new(path), SMALL)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    let (blobs, damaged) = look_at_blobs(host, carried, &identity.boot_id, receipt.iter().chain(&others))?;
    let mut paths = BTreeMap::new();
    let mut file_systems = BTreeMap::from([(PathBuf::from(layout::STATE), host.free(Path::new(layout::STATE))?)]);
    let names_file = names::file(Path::new(layout::STATE), &carried.contents.name);
    let containerd = look_at_containerd(host, carried, &identity.platform)?;
    if let Containerd::Here { snapshot_root: Some(root), .. } = &containerd {
        file_systems.insert(root.clone(), host.free(root)?);
    }
    for path in interesting_paths(carried, receipt.as_ref(), &identity) {
        if let Some(found) = look_at(host, &path, receipt.as_ref().and_then(|receipt| receipt.files.get(&path)))? {
            paths.insert(path.clone(), found);
        }
        let file_system = host.free(&path)?;
        file_systems.insert(path, file_system);
    }
    Ok(NodeFacts {
        os: OsRelease::parse(&text("/etc/os-release")?.or(text("/usr/lib/os-release")?).unwrap_or_default()),
        accounts: Accounts::parse(&text("/etc/passwd")?.unwrap_or_default(), &text("/etc/group")?.unwrap_or_default()),
        registry: host.registry()?,
        names: read_names(host, &names_file)?,
        other_names: {
            let files = host.list(&names::directory(Path::new(layout::STATE)))?.into_iter();
            let others = files.filter(|path| *path != names_file && path.extension().is_some_and(|end| end == "json"));
            others.filter_map(|path| read_names(host, &path).transpose()).collect::<Result<_, _>>()?
        },
        runtimes: runtimes::look(host, carried, receipt.as_ref(), &identity)?,
        containerd,
        receipt,
        others,
        journal,
        blobs,
        damaged,
        paths,
        file_systems,
        identity,
    })
}

fn read_names(host: &dyn Host, path: &Path) -> Result<Option<Names>, Error> {
    Ok(host.read(path, 64 << 20)?.map(|bytes| names::decode(&bytes, path)).transpose()?)
}

fn look_at_containerd(host: &dyn Host, carried: &Carried<'_>, platform: &Platform) -> Result<Containerd, Error> {
    let pinned = |tree: &ImageTree| {
        carried
            .contents
            .components
            .iter()
            .flat_map(|component| &component.images)
            .any(|image| image.pin && image.reference == tree.reference)
    };
    let images: Vec<SeedImage<'_>> = carried.images.iter().filter_map(|tree| SeedImage::of(tree, platform, pinned(tree))).collect();
    Ok(match host.containerd(&images)? {
        ContainerdFacts::Absent => Containerd::Absent,
        ContainerdFacts::Away { why } => Containerd::Away { why },
        ContainerdFacts::Here { version, snapshotter, snapshot_root, process, states, holders } => {
            let present = images.iter().zip(states).filter(|(_, state)| *state == ImageState::Present);
            let present = present.map(|(image, _)| image.reference.clone()).collect();
            let other = images.iter().zip(holders).filter_map(|(image, holder)| Some((image, holder.filter(|d| *d != image.top.digest)?)));
            let holders = other.map(|(image, holder)| (image.reference.clone(), holder)).collect();
            Containerd::Here { version, snapshotter, snapshot_root, process, present, holders }
        }
    })
}

fn interesting_paths(carried: &Carried<'_>, receipt: Option<&Receipt>, identity: &Identity) -> BTreeSet<PathBuf> {
    let placements = carried.contents.components.iter().flat_map(|component| &component.files).map(|file| match &file.placement {
        Placement::File(path) | Placement::Extract { into: path, .. } => path.as_path().to_owned(),
    });
    let mut paths: BTreeSet<PathBuf> = placements.collect();
    paths.extend(receipt.iter().flat_map(|receipt| receipt.files.keys().cloned()));
    paths.insert(PathBuf::from(layout::PROGRAM));
    paths.insert(names::file(Path::new(layout::STATE), &carried.contents.name));
    if identity.systemd {
        paths.extend(REGISTRY_UNITS.iter().map(|(name, _)| Path::new(layout::UNITS).join(name)));
    }
    paths
}

/// Looks at one path; where it is not what `expected` says, keeps the texts that show the difference.
///
/// # Errors
/// It cannot be looked at.
pub fn look_at(host: &dyn Host, path: &Path, expected: Option<&Placed>) -> Result<Option<Found>, Error> {
    let Some(entry) = host.look(path)? else { return Ok(None) };
    let digest = if entry.kind == EntryKind::File { Some(host.digest(path)?) } else { None };
    let mut found = Found { entry, digest, texts: None };
    if let (Some(placed), Some(digest)) = (expected, digest)
        && let Thing::File { digest: wanted, size } = &placed.what
        && digest != *wanted
        && *size <= SHOWN
        && found.entry.size <= SHOWN
        && placed.source.template.is_none()
        && placed.source.extract.is_none()
    {
        let store = Store::open(host.store(Path::new(layout::STORE))?)?;
        let descriptor = Descriptor::new("", *wanted, *size);
        if store.has(&descriptor)?
            && let (Ok(wanted), Some(Ok(has))) =
                (String::from_utf8(store.read(&descriptor)?), host.read(path, SHOWN)?.map(String::from_utf8))
        {
            found.texts = Some((wanted, has));
        }
    }
    Ok(Some(found))
}

fn look_at_blobs<'r>(
    host: &dyn Host,
    carried: &Carried<'_>,
    boot: &str,
    receipts: impl Iterator<Item = &'r Receipt>,
) -> Result<(BTreeSet<Digest>, BTreeSet<Digest>), Error> {
    // What a receipt lists was flushed before the receipt was written.
    let mut suspects = journal::unflushed_blobs(host, boot)?;
    for receipt in receipts {
        suspects.retain(|digest| !receipt.blobs.contains_key(digest));
    }
    let (mut blobs, mut damaged) = (BTreeSet::new(), BTreeSet::new());
    if host.look(&Path::new(layout::STORE).join("version"))?.is_none() {
        return Ok((blobs, damaged));
    }
    let store = Store::open(host.store(Path::new(layout::STORE))?)?;
    for descriptor in carried.all_blobs() {
        match store.size_of(&descriptor.digest)? {
            None => continue,
            Some(size) if size != descriptor.size => damaged.insert(descriptor.digest),
            Some(_) if suspects.contains(&descriptor.digest) && !is_whole(&store, descriptor)? => damaged.insert(descriptor.digest),
            Some(_) => blobs.insert(descriptor.digest),
        };
    }
    Ok((blobs, damaged))
}

fn is_whole(store: &Store, descriptor: &Descriptor) -> Result<bool, Error> {
    match std::io::copy(&mut store.reader(descriptor)?, &mut std::io::sink()) {
        Ok(_) => Ok(true),
        Err(error) if crate::io::mismatch(&error).is_some() => Ok(false),
        Err(error) => {
            Err(store::Error::Read { digest: descriptor.digest, path: store.blob_path(&descriptor.digest), source: error }.into())
        }
    }
}
