//! The real node, or a directory that will be one.

pub mod containerd;
mod daemon;
mod resolve;
mod service;
mod systemd;

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use self::containerd::{Containerd, SeedImage, SeedOptions};
use super::{
    ContainerdFacts, DaemonProcess, Entry, EntryKind, Error, FileSystem, Host, Identity, Lock, Permissions, RegistryFacts, Result, Scope,
    ServiceAction,
};
use crate::event::Observer;
use crate::fs;
use crate::io::HashingWriter;
use crate::store::Store;
use crate::types::{Digest, Platform};

/// A Linux host, or the directory of one.
#[derive(Debug)]
pub struct LinuxHost {
    root: PathBuf,
    scope: Scope,
    containerd: Option<PathBuf>,
}

impl LinuxHost {
    /// The node that this program runs on. `containerd` is its socket; without it the first of [`containerd::ADDRESSES`].
    #[must_use]
    pub fn node(containerd: Option<PathBuf>) -> Self {
        Self { root: PathBuf::from("/"), scope: Scope::Node, containerd }
    }

    /// A directory that will be a node.
    ///
    /// # Errors
    /// It is not there, or is no directory.
    pub fn directory(root: &Path) -> Result<Self> {
        if fs::metadata_following(root)?.is_none_or(|found| !found.is_dir()) {
            return Err(Error::NoRoot { path: root.to_owned() });
        }
        Self::directory_to_be(root)
    }

    /// The same, which may be missing: nothing is in it then, and nothing is made before the first effect.
    ///
    /// # Errors
    /// What is above it cannot be looked at, or it is there and is no directory.
    pub fn directory_to_be(root: &Path) -> Result<Self> {
        let absolute = std::path::absolute(root).map_err(|error| fs::Error::new("find", root, error))?;
        let there = absolute.ancestors().find_map(|above| match fs::metadata_following(above) {
            Ok(None) => None,
            Ok(Some(found)) => Some(Ok((above, found.is_dir()))),
            Err(error) => Some(Err(error)),
        });
        let (above, is_directory) = there.transpose()?.unwrap_or((Path::new("/"), true));
        if !is_directory {
            return Err(Error::NoRoot { path: above.to_owned() });
        }
        let mut resolved = fs::canonicalize(above)?;
        resolved.extend(absolute.strip_prefix(above).unwrap_or(Path::new("")));
        Ok(Self { root: resolved, scope: Scope::Directory, containerd: None })
    }

    /// Where a node path lies, its directories' links followed inside the root, a last link not.
    fn at(&self, path: &Path) -> Result<PathBuf> {
        resolve::parent_inside(&self.root, path)
    }

    fn containerd_address(&self) -> Result<Option<PathBuf>> {
        match (&self.containerd, self.scope) {
            (_, Scope::Directory) => Ok(None),
            (Some(address), Scope::Node) => Ok(Some(address.clone())),
            (None, Scope::Node) => Ok(Containerd::find()?),
        }
    }

    /// sd_booted(3).
    fn has_systemd(&self) -> Result<bool> {
        Ok(self.scope == Scope::Node && fs::metadata(Path::new("/run/systemd/system"))?.is_some())
    }

    /// Where a node path lies, all links followed inside the root.
    fn through(&self, path: &Path) -> Result<PathBuf> {
        resolve::inside(&self.root, path)
    }
}

/// An flock on an open file: the kernel frees it when the holder dies.
struct FileLock {
    _file: File,
}

impl Lock for FileLock {}

impl Host for LinuxHost {
    fn identity(&self) -> Result<Identity> {
        let line = |path: &str| fs::read_to_string(Path::new(path), 4096).map(|text| text.trim().to_owned());
        let hostname = match self.scope {
            Scope::Node => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            Scope::Directory => self.read(Path::new("/etc/hostname"), 4096)?.map_or_else(
                || rustix::system::uname().nodename().to_string_lossy().into_owned(),
                |bytes| String::from_utf8_lossy(&bytes).trim().to_owned(),
            ),
        };
        Ok(Identity {
            scope: self.scope,
            platform: Platform::of_this_program(),
            hostname,
            boot_id: line("/proc/sys/kernel/random/boot_id")?,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            systemd: self.has_systemd()?,
        })
    }

    fn look(&self, path: &Path) -> Result<Option<Entry>> {
        let at = self.at(path)?;
        let Some(metadata) = fs::metadata(&at)? else { return Ok(None) };
        let kind = if metadata.is_file() {
            EntryKind::File
        } else if metadata.is_dir() {
            EntryKind::Directory
        } else if metadata.is_symlink() {
            EntryKind::Link(fs::read_link(&at)?)
        } else {
            EntryKind::Other
        };
        Ok(Some(Entry { kind, size: metadata.size(), mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid() }))
    }

    fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        match fs::read(&self.through(path)?, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn digest(&self, path: &Path) -> Result<Digest> {
        let at = self.at(path)?;
        let mut file = fs::open(&at)?;
        let mut hasher = HashingWriter::new(io::sink());
        copy(&mut file, &mut hasher).map_err(|error| fs::Error::new("read", &at, error))?;
        Ok(hasher.finish().1)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Read>> {
        Ok(Box::new(fs::open(&self.at(path)?)?))
    }

    fn list(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let names = fs::read_dir(&self.through(path)?)?;
        Ok(names.iter().filter_map(|found| found.file_name()).map(|name| path.join(name)).collect())
    }

    fn free(&self, path: &Path) -> Result<FileSystem> {
        let mut at = self.through(path)?;
        while fs::metadata(&at)?.is_none() && at.pop() {}
        Ok(FileSystem { id: fs::device(&at)?, free: fs::free_bytes(&at)? })
    }

    fn store(&self, path: &Path) -> Result<PathBuf> {
        self.through(path)
    }

    fn registry(&self) -> Result<RegistryFacts> {
        let down = |why| Ok(RegistryFacts::Down { why });
        if self.scope == Scope::Directory {
            return down("nothing runs in a directory".to_owned());
        }
        if self.has_systemd()?
            && let Some(why) = systemd::what_is_wrong_with_the_registry()?
        {
            return down(why);
        }
        match service::answers() {
            Ok(()) => Ok(RegistryFacts::Serves),
            Err(cause) => down(format!("it does not answer on {}: {cause}", super::super::layout::REGISTRY_ADDRESS)),
        }
    }

    fn containerd(&self, images: &[SeedImage<'_>]) -> Result<ContainerdFacts> {
        let Some(address) = self.containerd_address()? else { return Ok(ContainerdFacts::Absent) };
        let containerd = match Containerd::connect(&address) {
            Ok(containerd) => containerd,
            // A socket that was named must be there; one that was found is what is left of a daemon that is not running.
            Err(error) if self.containerd.is_none() => return Ok(ContainerdFacts::Away { why: error.to_string() }),
            Err(error) => return Err(error.into()),
        };
        let facts = containerd.facts()?;
        let states = images.iter().map(|image| containerd.image_state(image, &facts.snapshotter)).collect::<std::result::Result<_, _>>()?;
        // All names of an image that is there as a whole are right.
        let holder = |(image, state): (&SeedImage<'_>, &containerd::ImageState)| match state {
            containerd::ImageState::Present => Ok(Some(image.top.digest)),
            containerd::ImageState::Missing | containerd::ImageState::Partial => containerd.holder_of(image.reference),
        };
        let states: Vec<_> = states;
        let holders = images.iter().zip(&states).map(holder).collect::<std::result::Result<_, _>>()?;
        let containerd::DaemonFacts { version, snapshotter, snapshot_root } = facts;
        let process = match containerd.process()? {
            Some(pid) => daemon::process(pid, self.has_systemd()?)?,
            None => DaemonProcess::default(),
        };
        Ok(ContainerdFacts::Here { version, snapshotter, snapshot_root, process, states, holders })
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn Lock>> {
        let at = self.at(path)?;
        let mut file = fs::open_read_write(&at, 0o644)?;
        let failed = |operation| move |error: io::Error| fs::Error::new(operation, path, error);
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = fs::read_to_string(&at, 4096)?.trim().to_owned();
                return Err(Error::Locked { holder });
            }
            Err(error) => return Err(failed("lock")(error.into()).into()),
        }
        file.set_len(0).map_err(failed("write"))?;
        file.write_all(format!("{holder}\n").as_bytes()).map_err(failed("write"))?;
        Ok(Box::new(FileLock { _file: file }))
    }

    fn make_directory(&self, path: &Path, permissions: Permissions) -> Result<()> {
        let at = self.through(path)?;
        match fs::metadata(&at)? {
            Some(found) if found.is_dir() => fs::set_mode(&at, permissions.mode)?,
            _ => fs::create_dir(&at, permissions.mode)?,
        }
        let found = fs::metadata(&at)?.map(|found| (found.uid(), found.gid()));
        if found != Some((permissions.uid, permissions.gid)) {
            fs::set_owner(&at, permissions.uid, permissions.gid)?;
            // A change of owner takes set-id bits away.
            fs::set_mode(&at, permissions.mode)?;
        }
        Ok(fs::sync_directory(fs::parent(&at))?)
    }

    fn place(&self, path: &Path, permissions: Permissions, content: &mut dyn Read) -> Result<()> {
        let at = self.at(path)?;
        let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let owner = (permissions.uid, permissions.gid);
        let owner = (owner != me).then_some(owner);
        Ok(fs::replace_with(&at, permissions.mode, owner, |file| copy(content, file))?)
    }

    fn link(&self, path: &Path, target: &Path) -> Result<()> {
        let at = self.at(path)?;
        let temporary = fs::temporary_beside(&at);
        fs::remove_file(&temporary)?;
        fs::symlink(target, &temporary)?;
        fs::rename(&temporary, &at)?;
        Ok(fs::sync_directory(fs::parent(&at))?)
    }

    fn keep(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        let mut file = fs::open(&from)?;
        Ok(fs::replace_with(&to, 0o600, None, |copied| copy(&mut file, copied))?)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let at = self.at(path)?;
        match fs::metadata(&at)? {
            None => return Ok(()),
            Some(found) if found.is_dir() => fs::remove_dir(&at)?,
            Some(_) => fs::remove_file(&at)?,
        }
        Ok(fs::sync_directory(fs::parent(&at))?)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let at = self.at(path)?;
        let is_new = fs::metadata(&at)?.is_none();
        let mut file = fs::open_append(&at, 0o600)?;
        file.write_all(bytes).map_err(|error| fs::Error::new("write", &at, error))?;
        file.sync_data().map_err(|error| fs::Error::new("flush", &at, error))?;
        if is_new {
            fs::sync_directory(fs::parent(&at))?;
        }
        Ok(())
    }

    fn flush(&self, path: &Path) -> Result<()> {
        Ok(fs::sync_file_system(&self.through(path)?)?)
    }

    fn service(&self, action: &ServiceAction) -> Result<()> {
        match action {
            ServiceAction::RestartContainerd { unit } => {
                let address = self.containerd_address()?.unwrap_or_else(|| PathBuf::from(containerd::ADDRESSES[0]));
                systemd::restart_containerd(unit, &address)
            }
            ServiceAction::Systemd | ServiceAction::Child { .. } => service::run(action),
        }
    }

    fn seed(&self, images: &[SeedImage<'_>], snapshotter: &str, store: &Store, at: u64, observer: &dyn Observer) -> Result<()> {
        let address = self.containerd_address()?.unwrap_or_else(|| PathBuf::from(containerd::ADDRESSES[0]));
        let now = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_second(at).ok()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let options = SeedOptions::new(snapshotter, now);
        Containerd::connect(&address)?.seed(images, store, &options, observer)?;
        Ok(())
    }
}

fn copy(from: &mut dyn Read, to: &mut impl io::Write) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n])?,
        }
    }
}
