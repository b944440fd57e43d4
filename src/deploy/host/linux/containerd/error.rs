//! What can go wrong between a node and its containerd.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::{Code, Status};

use crate::types::{Digest, ImageReference};

/// Why containerd could not be asked or filled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no socket.
    #[error("there is no containerd at `{}`", address.display())]
    Absent {
        /// The socket's path.
        address: PathBuf,
    },
    /// The socket is there and nobody listens.
    #[error("nothing listens at `{}`", address.display())]
    NotListening {
        /// The socket's path.
        address: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket may not be used.
    #[error("`{}` may not be used by this user", address.display())]
    Denied {
        /// The socket's path.
        address: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket cannot be connected to for another reason.
    #[error("cannot connect to `{}`", address.display())]
    Connect {
        /// The socket's path.
        address: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something listens that does not speak as containerd does.
    #[error("what listens at `{}` does not answer as containerd does", address.display())]
    NotContainerd {
        /// The socket's path.
        address: PathBuf,
        /// What came instead of an answer.
        source: Answer,
    },
    /// Threads or timers are not to be had.
    #[error("cannot start the threads that talk to containerd")]
    Runtime(#[source] io::Error),
    /// No snapshotter works.
    #[error("containerd has neither `overlayfs` nor `native` as a working snapshotter")]
    NoSnapshotter {
        /// Those that it has, each with why it does not work.
        found: Vec<String>,
    },
    /// containerd answered with an error.
    #[error("containerd did not {operation} `{subject}`")]
    Call {
        /// What was asked, in the infinitive.
        operation: &'static str,
        /// On what: a digest, a name.
        subject: String,
        /// What it answered.
        source: Answer,
    },
    /// containerd went away and did not come back in time.
    #[error("containerd at `{}` went away and did not come back within {} s", address.display(), waited.as_secs())]
    Lost {
        /// The socket's path.
        address: PathBuf,
        /// How long it was waited for.
        waited: Duration,
        /// What ended the last attempt.
        source: Box<Error>,
    },
    /// A blob cannot be read on our side.
    #[error("cannot read blob `{digest}`")]
    Blob {
        /// Which blob.
        digest: Digest,
        /// What the system or the check said.
        source: io::Error,
    },
    /// What was sent is not the blob: containerd computed another digest.
    #[error("containerd refused blob `{digest}`: what was sent has other content")]
    Content {
        /// Which blob.
        digest: Digest,
        /// What it answered.
        source: Answer,
    },
    /// An image configuration cannot be used.
    #[error("`{reference}`: configuration `{digest}` cannot be used: {why}")]
    Configuration {
        /// Which image.
        reference: ImageReference,
        /// Which document.
        digest: Digest,
        /// What is wrong with it.
        why: String,
    },
    /// Unpacked files cannot be brought to the disk.
    #[error("cannot bring unpacked layers to the disk")]
    Flush(#[source] crate::fs::Error),
    /// A layer unpacked to something else than the configuration says.
    #[error("`{reference}`: layer `{layer}` unpacks to `{got}`, the configuration says `{expected}`")]
    Unpacked {
        /// Which image.
        reference: ImageReference,
        /// Which layer, as it is carried.
        layer: Digest,
        /// The digest of the uncompressed layer.
        got: String,
        /// What it should be.
        expected: Digest,
    },
}

/// What containerd answered, without the envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code:?})")]
pub struct Answer {
    /// The kind of error.
    pub code: Code,
    /// Its words.
    pub message: String,
    /// The connection broke, as opposed to an answer that came over it.
    pub broken: bool,
}

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        let broken = std::error::Error::source(&status).is_some();
        Self { code: status.code(), message: status.message().to_owned(), broken }
    }
}

impl Error {
    pub(super) fn connect(address: &Path, source: io::Error) -> Self {
        let address = address.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Absent { address },
            io::ErrorKind::ConnectionRefused => Self::NotListening { address, source },
            io::ErrorKind::PermissionDenied => Self::Denied { address, source },
            _ => Self::Connect { address, source },
        }
    }

    pub(super) fn call(operation: &'static str, subject: impl ToString) -> impl FnOnce(Status) -> Self {
        move |status| Self::Call { operation, subject: subject.to_string(), source: status.into() }
    }

    /// The same call may succeed later: containerd is away, going away, or holds what was asked for locked.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Call { source, .. } => source.broken || matches!(source.code, Code::Unavailable | Code::Cancelled | Code::Aborted),
            _ => false,
        }
    }
}

/// The answer, with "it is not there" as `None`.
pub(super) fn found<T>(result: Result<T, Status>) -> Result<Option<T>, Status> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// Whether it was made now; "it is there already" is success.
pub(super) fn made<T>(result: Result<T, Status>) -> Result<bool, Status> {
    match result {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::AlreadyExists => Ok(false),
        Err(status) => Err(status),
    }
}
