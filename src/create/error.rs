//! What can go wrong on the connected side, as one type.

use std::path::PathBuf;

use super::lock::Stale;
use super::{definition, fetch, lock, resolve, source};
use crate::types::Platform;
use crate::{bundle, fs, store};

/// Why no bundle was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The definition is wrong.
    #[error(transparent)]
    Definition(#[from] definition::Error),
    /// The lock file cannot be read as one.
    #[error("cannot use the lock file `{}`", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: lock::Error,
    },
    /// `--locked`, and there is no lock file.
    #[error("there is no lock file `{}`", path.display())]
    NoLock {
        /// Where it should be.
        path: PathBuf,
    },
    /// `--locked`, and the definition is ahead of the lock file.
    #[error("`{}` is ahead of `{}`", definition.display(), path.display())]
    StaleLock {
        /// The lock file.
        path: PathBuf,
        /// The definition.
        definition: PathBuf,
        /// Each place that the lock does not know.
        stale: Vec<Stale>,
    },
    /// `--locked`, and something that is pinned by its content (a local file, a tool) is not what the lock file says.
    #[error("what is here is not what `{}` pins", path.display())]
    LockDiffers {
        /// The lock file.
        path: PathBuf,
    },
    /// The sources cannot be set up.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// References that cannot be resolved.
    #[error(transparent)]
    Resolve(#[from] resolve::Error),
    /// Content that cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    /// A file named as tool is no program for its platform.
    #[error("`{}` is no program for {platform}", path.display())]
    WrongTool {
        /// The file.
        path: PathBuf,
        /// The platform that it should be for.
        platform: Platform,
    },
    /// The bundle cannot be put together.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// The cache failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] fs::Error),
}
