//! Images into containerd, over its gRPC API on the node's own socket.
//!
//! ```text
//! ImageTree × platform ─SeedImage→ image_state ─→ Present: nothing is read
//!                                     │ Missing, Partial
//!                                     ▼
//!            wanted: each blob once, with the labels that keep it   (pure)
//!                                     │
//!   lease ──▶ content: blobs in parallel, present ones skipped, partial ones continued
//!                 │ as each layer arrives
//!                 ▼
//!             snapshot: Prepare → Apply → Commit up the chain of each image, images in parallel
//!                 │
//!                 ▼
//!             image: `repo:tag`, `repo@digest` and the configuration's digest, as CRI looks them up
//!                 │
//!             lease deleted, which collects what nothing names
//! ```
//!
//! Everything is done in the namespace `k8s.io` with the services that 1.6, 1.7 and 2.x have in common (the transfer service came
//! with 1.7). Each step is idempotent and a name is made last, so that a run that was killed anywhere is continued by the same call.
//! The calls block: they are made from plain threads, never from inside an asynchronous runtime.

mod api;
mod chain;
mod content;
mod error;
mod image;
mod labels;
mod lease;
mod seed;
mod session;
mod snapshot;
mod wanted;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

pub use content::BlobProvider;
pub use error::{Answer, Error};
pub use image::{ImageState, SeedImage};
pub use seed::{SeedOptions, Seeded};

use session::Session;

/// Where containerd listens: its own package, k3s and RKE2, k0s, MicroK8s. The first that is there is the node's.
pub const ADDRESSES: [&str; 4] = [
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
];

/// How long a call that changes little may take.
const QUICK: Duration = Duration::from_secs(30);

/// A containerd that answers.
pub struct Containerd {
    address: PathBuf,
    runtime: Runtime,
    channel: Channel,
}

/// What a containerd says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonFacts {
    /// Its version, as it writes it: `1.6.20~ds1`, `v2.4.2`.
    pub version: String,
    /// The snapshotter to unpack into: `overlayfs` where it works, else `native`.
    pub snapshotter: String,
    /// Where the snapshotter keeps its data, for space and for flushing its file system; `None` where it does not say.
    pub snapshot_root: Option<PathBuf>,
}

impl Containerd {
    /// Connects to the socket at `address` and asks for the version, so that what is returned is known to answer.
    ///
    /// # Errors
    /// There is no socket, nobody listens, it may not be used, or what answers is not containerd.
    pub fn connect(address: &Path) -> Result<Self, Error> {
        let stream = std::os::unix::net::UnixStream::connect(address).map_err(|source| Error::connect(address, source))?;
        drop(stream);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("containerd")
            .enable_all()
            .build()
            .map_err(Error::Runtime)?;
        let channel = {
            let _inside = runtime.enter();
            let path = address.to_owned();
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(tower::service_fn(move |_: tonic::transport::Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }))
        };
        let containerd = Self { address: address.to_owned(), runtime, channel };
        match containerd.version() {
            Ok(_) => Ok(containerd),
            Err(Error::Call { source, .. }) => Err(Error::NotContainerd { address: address.to_owned(), source }),
            Err(error) => Err(error),
        }
    }

    /// The socket of this node's containerd, by [`ADDRESSES`]; `None` where there is none of them.
    ///
    /// # Errors
    /// A directory on the way cannot be read.
    pub fn find() -> Result<Option<PathBuf>, crate::fs::Error> {
        for address in ADDRESSES {
            if crate::fs::metadata_following(Path::new(address))?.is_some() {
                return Ok(Some(PathBuf::from(address)));
            }
        }
        Ok(None)
    }

    /// The socket.
    #[must_use]
    pub fn address(&self) -> &Path {
        &self.address
    }

    /// The number of the process that listens on the socket; `None` where it is outside of this one's process namespace.
    ///
    /// # Errors
    /// Nobody listens any more.
    pub fn process(&self) -> Result<Option<i32>, Error> {
        let failed = |source| Error::connect(&self.address, source);
        let stream = self.runtime.block_on(UnixStream::connect(&self.address)).map_err(failed)?;
        Ok(stream.peer_cred().map_err(failed)?.pid().filter(|pid| *pid > 0))
    }

    /// The version, as containerd writes it.
    ///
    /// # Errors
    /// It does not answer, or is not containerd.
    pub fn version(&self) -> Result<String, Error> {
        self.runtime.block_on(self.session(None).version())
    }

    /// Version and snapshotter.
    ///
    /// # Errors
    /// It does not answer, or neither `overlayfs` nor `native` works.
    pub fn facts(&self) -> Result<DaemonFacts, Error> {
        self.runtime.block_on(async {
            let session = self.session(None);
            let version = session.version().await?;
            let snapshotters = session.snapshotters().await?;
            let usable = |name: &str| snapshotters.iter().find(|plugin| plugin.id == name && plugin.init_err.is_none());
            let Some(plugin) = usable("overlayfs").or_else(|| usable("native")) else {
                let why = |plugin: &api::introspection::Plugin| {
                    format!("{}: {}", plugin.id, plugin.init_err.as_ref().map_or("unknown", |error| error.message.as_str()))
                };
                return Err(Error::NoSnapshotter { found: snapshotters.iter().map(why).collect() });
            };
            Ok(DaemonFacts { version, snapshotter: plugin.id.clone(), snapshot_root: plugin.exports.get("root").map(PathBuf::from) })
        })
    }

    fn session(&self, lease: Option<&str>) -> Session {
        Session::new(self.channel.clone(), lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_whether_nothing_is_there_nobody_listens_or_something_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let address = directory.path().join("c.sock");
        let error = || Containerd::connect(&address).err().unwrap();
        assert!(matches!(error(), Error::Absent { .. }));
        let listener = std::os::unix::net::UnixListener::bind(&address).unwrap();
        let other = std::thread::spawn(move || {
            // Whoever connects is hung up on: to look, and to ask.
            for _ in 0..2 {
                drop(listener.accept());
            }
        });
        assert!(matches!(error(), Error::NotContainerd { .. }));
        other.join().unwrap();
        assert!(matches!(error(), Error::NotListening { .. }));
    }
}
