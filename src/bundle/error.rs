//! What can go wrong with a bundle.

use std::io;
use std::path::PathBuf;

use super::{config_v1, image, trust};
use crate::types::oci::InvalidDocument;
use crate::types::{ByteSize, Digest};
use crate::{fs, store};

/// Why a bundle could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The bundle's file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The bundle.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bundle cannot be written.
    #[error("cannot write the bundle")]
    Write {
        /// What the system said.
        source: io::Error,
    },
    /// The bundle does not fit where it was to be written. What had its name is as it was.
    #[error("there is no space for `{}`: it takes up to {needs}, its file system had {free} free", path.display())]
    NoSpace {
        /// The bundle.
        path: PathBuf,
        /// What it takes where nothing of it can be compressed.
        needs: ByteSize,
        /// What was free before.
        free: ByteSize,
        /// What the system said.
        source: io::Error,
    },
    /// A blob in the store is not what its name says. It was taken away, so that the next run fetches it again.
    #[error("blob `{digest}` in the cache is damaged")]
    DamagedInStore {
        /// Which.
        digest: Digest,
    },
    /// The file is no bundle, or a truncated one: what is looked for first is not there.
    #[error("`{}` is not a whole bundle: {reason}", path.display())]
    NotABundle {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// A member is not what the root says.
    #[error("refused bundle `{}`: {member}: {reason}", path.display())]
    Damaged {
        /// The bundle.
        path: PathBuf,
        /// Which member of the archive, or which part of the file.
        member: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// Its signatures do not suffice.
    #[error("refused bundle `{}`", path.display())]
    Untrusted {
        /// The bundle.
        path: PathBuf,
        /// Why.
        source: trust::Error,
    },
    /// A limit of the reader is exceeded.
    #[error("refused bundle: {what} is {found}, the limit is {limit}")]
    Limit {
        /// What was measured, with its unit.
        what: String,
        /// Its measure.
        found: u64,
        /// What is taken at most.
        limit: u64,
    },
    /// The bundle was made by a newer program.
    #[error("this bundle needs a newer coracle: {}", items.join(", "))]
    NotUnderstood {
        /// Formats, features and artifact types that are not known.
        items: Vec<String>,
    },
    /// Something is named and is not inside, or is named in two ways.
    #[error("refused bundle: it is not closed: {what}")]
    Closure {
        /// What names what.
        what: String,
    },
    /// A document under the root cannot be read.
    #[error("document `{digest}` cannot be read")]
    Document {
        /// Which.
        digest: Digest,
        /// What is wrong with it.
        source: InvalidDocument,
    },
    /// The package configuration cannot be read.
    #[error("the package's configuration cannot be read")]
    Config {
        /// What is wrong with it.
        source: config_v1::InvalidConfig,
    },
    /// An image under the root cannot be read.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// A blob was asked for that is not in the bundle.
    #[error("blob `{digest}` is not in the bundle")]
    NotInside {
        /// Which.
        digest: Digest,
    },
    /// What `create` hands over does not fit together: a fault of this program, not of its input.
    #[error("the parts of the bundle do not fit together: {0}")]
    Parts(String),
}

/// The result of an operation on a bundle.
pub type Result<T> = std::result::Result<T, Error>;
