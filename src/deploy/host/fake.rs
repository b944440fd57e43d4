//! A node in memory, and a wrapper that ends a run at its n-th effect. For tests.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    ContainerdFacts, DaemonProcess, Entry, EntryKind, Error, FileSystem, Host, Identity, ImageState, Lock, Observer, Permissions,
    RegistryFacts, Result, Scope, SeedImage, ServiceAction,
};
use crate::fs;
use crate::store::Store;
use crate::types::{Digest, Platform};

/// A node in memory. Its blobs lie in a store in a temporary directory.
pub struct FakeHost {
    /// Who it says that it is; tests may change it.
    pub identity: Identity,
    /// Free bytes on its one file system.
    pub free: u64,
    /// Whether it has containerd.
    pub containerd: bool,
    store: tempfile::TempDir,
    state: Mutex<State>,
}

/// What has happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Files, directories and links with their bytes.
    pub tree: BTreeMap<PathBuf, (Entry, Vec<u8>)>,
    /// Images in containerd.
    pub seeded: BTreeSet<String>,
    /// What tags stand for in containerd.
    pub tags: BTreeMap<String, Digest>,
    /// The registry runs.
    pub registry: bool,
    /// containerd's process; its configuration is an older one once `/etc/containerd/config.toml` is placed.
    pub containerd: DaemonProcess,
}

struct NoLock;

impl Lock for NoLock {}

impl Default for FakeHost {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeHost {
    /// A node with `/etc` and an os-release, and nothing else.
    pub fn new() -> Self {
        let identity = Identity {
            scope: Scope::Node,
            platform: Platform::linux_amd64(),
            hostname: "node-1".to_owned(),
            boot_id: "boot-1".to_owned(),
            uid: 0,
            gid: 0,
            systemd: false,
        };
        let host =
            Self { identity, free: 1 << 40, containerd: true, store: tempfile::tempdir().unwrap(), state: Mutex::new(State::default()) };
        let permissions = Permissions { mode: 0o755, uid: 0, gid: 0 };
        for directory in ["/etc", "/usr", "/usr/local", "/usr/local/bin", "/var", "/var/lib"] {
            host.make_directory(Path::new(directory), permissions).unwrap();
        }
        host.put("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian 12\"\n");
        host.put("/usr/local/bin/coracle", "the program");
        host.put("/etc/passwd", "root:x:0:0:::\netcd:x:52:52:::\n");
        host
    }

    /// What has happened to it, to look at and to meddle with.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Someone writes a file by hand.
    pub fn put(&self, path: &str, text: &str) {
        self.place(Path::new(path), Permissions { mode: 0o644, uid: 0, gid: 0 }, &mut text.as_bytes()).unwrap();
    }

    /// The text of a file.
    pub fn text(&self, path: &str) -> Option<String> {
        self.state().tree.get(Path::new(path)).map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
    }

    fn set(&self, path: &Path, kind: EntryKind, permissions: Permissions, bytes: Vec<u8>) -> Result<()> {
        let mut state = self.state();
        let parent = path.parent().unwrap_or(Path::new("/"));
        if parent != Path::new("/") && !state.tree.contains_key(parent) {
            return Err(fs::Error::new("create", path, io::ErrorKind::NotFound.into()).into());
        }
        let Permissions { mode, uid, gid } = permissions;
        state.tree.insert(path.to_owned(), (Entry { kind, size: bytes.len() as u64, mode, uid, gid }, bytes));
        Ok(())
    }

    fn bytes(&self, path: &Path) -> Result<Vec<u8>> {
        let found = self.state().tree.get(path).filter(|(entry, _)| entry.kind == EntryKind::File).map(|(_, bytes)| bytes.clone());
        found.ok_or_else(|| fs::Error::new("open", path, io::ErrorKind::NotFound.into()).into())
    }
}

impl Host for FakeHost {
    fn identity(&self) -> Result<Identity> {
        Ok(self.identity.clone())
    }
    fn look(&self, path: &Path) -> Result<Option<Entry>> {
        if path.starts_with(super::super::layout::STORE) && path != Path::new(super::super::layout::STORE) {
            let inside = path.strip_prefix(super::super::layout::STORE).unwrap_or(path);
            let there = fs::metadata(&self.store.path().join(inside))?;
            return Ok(there.map(|found| Entry { kind: EntryKind::File, size: found.len(), mode: 0o444, uid: 0, gid: 0 }));
        }
        Ok(self.state().tree.get(path).map(|(entry, _)| entry.clone()))
    }
    fn read(&self, path: &Path, _: u64) -> Result<Option<Vec<u8>>> {
        match self.bytes(path) {
            Err(Error::File(error)) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }
    fn digest(&self, path: &Path) -> Result<Digest> {
        Ok(Digest::of(&self.bytes(path)?))
    }
    fn open(&self, path: &Path) -> Result<Box<dyn Read>> {
        Ok(Box::new(Cursor::new(self.bytes(path)?)))
    }
    fn list(&self, path: &Path) -> Result<Vec<PathBuf>> {
        Ok(self.state().tree.keys().filter(|other| other.parent() == Some(path)).cloned().collect())
    }
    fn free(&self, _: &Path) -> Result<FileSystem> {
        Ok(FileSystem { id: 1, free: self.free })
    }
    fn store(&self, _: &Path) -> Result<PathBuf> {
        Ok(self.store.path().to_owned())
    }
    fn registry(&self) -> Result<RegistryFacts> {
        let why = || RegistryFacts::Down { why: "it does not answer on 127.0.0.1:5000".to_owned() };
        Ok(if self.state().registry { RegistryFacts::Serves } else { why() })
    }
    fn containerd(&self, images: &[SeedImage<'_>]) -> Result<ContainerdFacts> {
        if !self.containerd {
            return Ok(ContainerdFacts::Absent);
        }
        let state = |image: &SeedImage<'_>| {
            let state = self.state();
            let tagged = image.reference.tag().is_none() || state.tags.get(&image.reference.to_string()) == Some(&image.top.digest);
            if !state.seeded.contains(&seeded_name(image)) {
                ImageState::Missing
            } else if tagged {
                ImageState::Present
            } else {
                ImageState::Partial
            }
        };
        let holders = images.iter().map(|image| self.state().tags.get(&image.reference.to_string()).copied()).collect();
        let states = images.iter().map(state).collect();
        let process = self.state().containerd.clone();
        Ok(ContainerdFacts::Here {
            version: "2.0.0".into(),
            snapshotter: "overlayfs".into(),
            snapshot_root: Some("/ctr".into()),
            process,
            states,
            holders,
        })
    }
    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn Lock>> {
        self.place(path, Permissions { mode: 0o644, uid: 0, gid: 0 }, &mut holder.as_bytes())?;
        Ok(Box::new(NoLock))
    }
    fn make_directory(&self, path: &Path, permissions: Permissions) -> Result<()> {
        self.set(path, EntryKind::Directory, permissions, Vec::new())
    }
    fn place(&self, path: &Path, permissions: Permissions, content: &mut dyn Read) -> Result<()> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(|error| fs::Error::new("write", path, error))?;
        self.state().containerd.runs_with_older_configuration |= path == Path::new("/etc/containerd/config.toml");
        self.set(path, EntryKind::File, permissions, bytes)
    }
    fn link(&self, path: &Path, target: &Path) -> Result<()> {
        self.set(path, EntryKind::Link(target.to_owned()), Permissions { mode: 0o777, uid: 0, gid: 0 }, Vec::new())
    }
    fn keep(&self, from: &Path, to: &Path) -> Result<()> {
        self.set(to, EntryKind::File, Permissions { mode: 0o600, uid: 0, gid: 0 }, self.bytes(from)?)
    }
    fn remove(&self, path: &Path) -> Result<()> {
        self.state().tree.remove(path);
        Ok(())
    }
    fn append(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut all = self.read(path, 0)?.unwrap_or_default();
        all.extend_from_slice(bytes);
        self.set(path, EntryKind::File, Permissions { mode: 0o600, uid: 0, gid: 0 }, all)
    }
    fn flush(&self, _: &Path) -> Result<()> {
        Ok(())
    }
    fn service(&self, action: &ServiceAction) -> Result<()> {
        match action {
            ServiceAction::Systemd | ServiceAction::Child { .. } => self.state().registry = true,
            ServiceAction::RestartContainerd { .. } => self.state().containerd.runs_with_older_configuration = false,
        }
        Ok(())
    }
    fn seed(&self, images: &[SeedImage<'_>], _: &str, store: &Store, _: u64, _: &dyn Observer) -> Result<()> {
        for image in images {
            for blob in image.image.layers.iter().chain([&image.image.config, &image.image.manifest]) {
                store.read(blob)?;
            }
            self.state().seeded.insert(seeded_name(image));
            self.state().tags.insert(image.reference.to_string(), image.top.digest);
        }
        Ok(())
    }
}

fn seeded_name(image: &SeedImage<'_>) -> String {
    image.reference.at(image.top.digest).to_string()
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By a kill: nothing happens any more.
    Killed,
    /// The disk is full for this one effect; what the program then does by itself is done.
    DiskFull,
}

/// A host that lets so many effects happen and then ends.
pub struct Ending<'h> {
    inner: &'h dyn Host,
    end: End,
    at: usize,
    effects: AtomicUsize,
}

impl<'h> Ending<'h> {
    /// Ends `inner` at effect `at`, counted from 0.
    pub fn new(inner: &'h dyn Host, end: End, at: usize) -> Self {
        Self { inner, end, at, effects: AtomicUsize::new(0) }
    }

    /// How many effects were tried.
    pub fn effects(&self) -> usize {
        self.effects.load(Ordering::SeqCst)
    }

    /// Counts one effect.
    pub fn effect(&self) -> Result<()> {
        let effect = self.effects.fetch_add(1, Ordering::SeqCst);
        match self.end {
            End::Killed if effect >= self.at => Err(Error::Killed { effect }),
            End::DiskFull if effect == self.at => Err(fs::Error::new("write", "/full", io::ErrorKind::StorageFull.into()).into()),
            End::Killed | End::DiskFull => Ok(()),
        }
    }
}

impl Host for Ending<'_> {
    fn identity(&self) -> Result<Identity> {
        self.inner.identity()
    }
    fn look(&self, path: &Path) -> Result<Option<Entry>> {
        self.inner.look(path)
    }
    fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        self.inner.read(path, limit)
    }
    fn digest(&self, path: &Path) -> Result<Digest> {
        self.inner.digest(path)
    }
    fn open(&self, path: &Path) -> Result<Box<dyn Read>> {
        self.inner.open(path)
    }
    fn list(&self, path: &Path) -> Result<Vec<PathBuf>> {
        self.inner.list(path)
    }
    fn free(&self, path: &Path) -> Result<FileSystem> {
        self.inner.free(path)
    }
    fn store(&self, path: &Path) -> Result<PathBuf> {
        self.inner.store(path)
    }
    fn registry(&self) -> Result<RegistryFacts> {
        self.inner.registry()
    }
    fn containerd(&self, images: &[SeedImage<'_>]) -> Result<ContainerdFacts> {
        self.inner.containerd(images)
    }
    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn Lock>> {
        self.effect()?;
        self.inner.lock(path, holder)
    }
    fn make_directory(&self, path: &Path, permissions: Permissions) -> Result<()> {
        self.effect()?;
        self.inner.make_directory(path, permissions)
    }
    fn place(&self, path: &Path, permissions: Permissions, content: &mut dyn Read) -> Result<()> {
        self.effect()?;
        self.inner.place(path, permissions, content)
    }
    fn link(&self, path: &Path, target: &Path) -> Result<()> {
        self.effect()?;
        self.inner.link(path, target)
    }
    fn keep(&self, from: &Path, to: &Path) -> Result<()> {
        self.effect()?;
        self.inner.keep(from, to)
    }
    fn remove(&self, path: &Path) -> Result<()> {
        self.effect()?;
        self.inner.remove(path)
    }
    fn append(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.effect()?;
        // A kill may cut a line: the effect before the last one that happens writes half of it.
        if self.end == End::Killed && self.effects() == self.at {
            self.inner.append(path, &bytes[..bytes.len() / 2])?;
            return Err(Error::Killed { effect: self.at });
        }
        self.inner.append(path, bytes)
    }
    fn flush(&self, path: &Path) -> Result<()> {
        self.effect()?;
        self.inner.flush(path)
    }
    fn service(&self, action: &ServiceAction) -> Result<()> {
        self.effect()?;
        self.inner.service(action)
    }
    fn seed(&self, images: &[SeedImage<'_>], snapshotter: &str, store: &Store, at: u64, observer: &dyn Observer) -> Result<()> {
        self.effect()?;
        self.inner.seed(images, snapshotter, store, at, observer)
    }
}
