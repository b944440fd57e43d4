//! The door to the node: the closed list of what a deploy may look at, and of what it may do.
//!
//! | observation | effect |
//! |---|---|
//! | [`Host::identity`] who and what the node is | [`Host::lock`] one deploy at a time |
//! | [`Host::look`], [`Host::read`], [`Host::digest`], [`Host::list`] files | [`Host::make_directory`], [`Host::place`], [`Host::link`], [`Host::keep`], [`Host::remove`] files |
//! | [`Host::free`] space | [`Host::append`], [`Host::flush`] the journal and the disk |
//! | [`Host::registry`] the node registry | [`Host::service`] the node registry's service, containerd's |
//! | [`Host::containerd`] images in containerd | [`Host::seed`] images into containerd |
//!
//! Each effect is one: it has happened or it has not, and doing it again does no harm. All paths are the node's own (`/etc/hosts`),
//! also where the node is a directory (`--root`): [`linux::LinuxHost`] resolves them, links included, inside that directory.
//! [`fake::FakeHost`] is the same in memory. Blobs lie in a [`crate::store::Store`] at [`Host::store`].

#[cfg(test)]
pub mod fake;
pub mod linux;

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::command;
use crate::event::Observer;
use crate::fs;
use crate::store::{self, Store};
use crate::types::{Digest, Platform};
use linux::containerd::{self, ImageState, SeedImage};

/// Why the node could not be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// A program of the node failed.
    #[error(transparent)]
    Command(#[from] command::Error),
    /// A blob of the store cannot be read, or is damaged.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// containerd could not be asked or filled.
    #[error(transparent)]
    Containerd(#[from] containerd::Error),
    /// Another deploy is running.
    #[error("another deploy is changing this node: {holder}")]
    Locked {
        /// What the other one wrote about itself.
        holder: String,
    },
    /// What `--root` names is not there, or is no directory.
    #[error("`{}` is no directory", path.display())]
    NoRoot {
        /// What was given, or what stands above it.
        path: PathBuf,
    },
    /// A name in a path leads through too many links.
    #[error("`{}` leads through more than {limit} symbolic links", path.display())]
    Links {
        /// The path.
        path: PathBuf,
        /// How many are followed.
        limit: usize,
    },
    /// The node registry did not come up.
    #[error("the node registry does not answer on {address}: {cause}")]
    Registry {
        /// Where it should listen.
        address: String,
        /// What was seen last.
        cause: String,
    },
    /// The run was ended at this effect (tests).
    #[error("killed before effect {effect}")]
    Killed {
        /// Which, from 0.
        effect: usize,
    },
}

/// The result of an observation or an effect.
pub type Result<T> = std::result::Result<T, Error>;

/// Whether the node itself is deployed to, or a directory that will be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The running node: services are started, containerd is seeded.
    Node,
    /// A directory (`--root`): files alone.
    Directory,
}

/// Who and what the node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node or a directory.
    pub scope: Scope,
    /// Operating system and architecture. Under `--root` that of this program.
    pub platform: Platform,
    /// Its host name.
    pub hostname: String,
    /// Changes with each boot of the kernel.
    pub boot_id: String,
    /// Whoever runs this program.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// systemd is process 1 here.
    pub systemd: bool,
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Its length in bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Kinds of what a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, and where it points.
    Link(PathBuf),
    /// A device, a socket, a pipe.
    Other,
}

/// A file system: two paths with one `id` share their space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Tells file systems apart.
    pub id: u64,
    /// Bytes that can still be written.
    pub free: u64,
}

/// Permissions of what is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// Permission bits, set whatever the umask.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The node registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryFacts {
    /// It answers, and will again after the node's next start where systemd runs.
    Serves,
    /// It does not.
    Down {
        /// What was seen: `it does not answer on 127.0.0.1:5000`.
        why: String,
    },
}

/// What can be asked of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceAction {
    /// systemd reads its units again, enables those of the node registry and starts them; a running registry is restarted.
    Systemd,
    /// systemd restarts the unit of containerd, which then answers on its socket again.
    RestartContainerd {
        /// Its unit.
        unit: String,
    },
    /// A child process that stays: where systemd does not run. An older one that holds the address is ended first.
    Child {
        /// The program to run.
        program: PathBuf,
        /// The directory of state whose store and names it serves.
        state: PathBuf,
    },
}

/// The node's containerd, and how much of some images it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerdFacts {
    /// There is none.
    Absent,
    /// Its socket is there, and it does not answer.
    Away {
        /// What was seen.
        why: String,
    },
    /// It answers.
    Here {
        /// As it writes it.
        version: String,
        /// What is unpacked into.
        snapshotter: String,
        /// Where that keeps its data.
        snapshot_root: Option<PathBuf>,
        /// The process.
        process: DaemonProcess,
        /// How much of each image is there, in the order in which they were asked for.
        states: Vec<ImageState>,
        /// What the tag of each stands for now, likewise.
        holders: Vec<Option<Digest>>,
    },
}

/// The process of a containerd that answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DaemonProcess {
    /// The systemd unit that it runs in; `None` where it runs in none, or systemd does not run here.
    pub unit: Option<String>,
    /// It runs since before its configuration file was changed, and has not read it since.
    pub runs_with_older_configuration: bool,
}

/// Kept for as long as this deploy runs; dropped, or left behind by a kill, it is free again.
pub trait Lock: Send {}

/// The node. See the module for the list.
pub trait Host: Send + Sync {
    /// Who and what the node is.
    fn identity(&self) -> Result<Identity>;
    /// What a path names, not following a last link; `None` where there is nothing.
    fn look(&self, path: &Path) -> Result<Option<Entry>>;
    /// The bytes of a file that is expected to be small; `None` where there is none.
    fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>>;
    /// The digest of a file, read in pieces.
    fn digest(&self, path: &Path) -> Result<Digest>;
    /// The bytes of a file, to be read in pieces.
    fn open(&self, path: &Path) -> Result<Box<dyn Read>>;
    /// The paths in a directory, sorted; none where it is missing.
    fn list(&self, path: &Path) -> Result<Vec<PathBuf>>;
    /// The file system that `path` is on, or would be.
    fn free(&self, path: &Path) -> Result<FileSystem>;
    /// Where the store of a node path lies for this program.
    fn store(&self, path: &Path) -> Result<PathBuf>;
    /// Whether the node registry runs and answers `GET /v2/`. Does not start it: a socket that systemd holds is not connected to
    /// while the service behind it is stopped.
    fn registry(&self) -> Result<RegistryFacts>;
    /// The node's containerd, and how much of these images it has.
    fn containerd(&self, images: &[SeedImage<'_>]) -> Result<ContainerdFacts>;

    /// Takes the lock, or says who has it. Waits for nobody.
    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn Lock>>;
    /// Makes a directory whose parent is there, or sets the permissions of the one that is there.
    fn make_directory(&self, path: &Path, permissions: Permissions) -> Result<()>;
    /// Puts a file there, whole or not at all, flushed. What was there is replaced.
    fn place(&self, path: &Path, permissions: Permissions, content: &mut dyn Read) -> Result<()>;
    /// Puts a symbolic link there, replacing a file or link.
    fn link(&self, path: &Path, target: &Path) -> Result<()>;
    /// Copies a file to where it is kept, readable by its owner alone, flushed.
    fn keep(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a file, a link or an empty directory; that it is not there is no error.
    fn remove(&self, path: &Path) -> Result<()>;
    /// Appends to a file (made with mode 0600 where it is missing) and flushes it.
    fn append(&self, path: &Path, bytes: &[u8]) -> Result<()>;
    /// Flushes the whole file system of `path` to the disk.
    fn flush(&self, path: &Path) -> Result<()>;
    /// Starts the node registry or restarts containerd, and waits until it answers.
    fn service(&self, action: &ServiceAction) -> Result<()>;
    /// Seeds images into containerd out of the store. `at` is the time in seconds since 1970.
    fn seed(&self, images: &[SeedImage<'_>], snapshotter: &str, store: &Store, at: u64, observer: &dyn Observer) -> Result<()>;
}
