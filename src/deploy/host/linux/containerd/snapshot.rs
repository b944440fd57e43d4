//! Unpacking: one snapshot per layer, each on the one below, named by its chain ID.
//!
//! Images that share their lower layers share the snapshots: whoever comes first unpacks, the others wait for that one layer.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use tokio::sync::Mutex;
use tonic::Code;

use super::api::diff::ApplyRequest;
use super::api::snapshots::{CommitSnapshotRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest};
use super::api::types;
use super::error::{found, made};
use super::session::Session;
use super::{Error, content, lease};
use crate::fs;
use crate::types::{Descriptor, Digest, ImageReference};

/// What one run unpacks with.
pub(super) struct Unpacker<'a> {
    pub(super) session: &'a Session,
    pub(super) lease: &'a str,
    pub(super) snapshotter: &'a str,
    /// Where the snapshotter's files are, as this process sees them.
    pub(super) root: Option<&'a Path>,
    /// Tells the unfinished snapshots of this attempt from those of an earlier one.
    pub(super) attempt: u32,
    /// One lock for each chain ID of the run.
    pub(super) locks: BTreeMap<Digest, Mutex<()>>,
}

/// A layer on its way: what is carried, its digest when it is uncompressed, and the name of its snapshot.
pub(super) struct Layer {
    pub(super) blob: Descriptor,
    pub(super) diff: Digest,
    pub(super) chain: Digest,
}

/// Whether the snapshot is there.
pub(super) async fn is_there(session: &Session, snapshotter: &str, chain: &str) -> Result<bool, Error> {
    let message = StatSnapshotRequest { snapshotter: snapshotter.to_owned(), key: chain.to_owned() };
    let answer = session.snapshots().stat(session.quick(message)).await;
    Ok(found(answer).map_err(Error::call("look at the snapshot", chain))?.is_some())
}

impl Unpacker<'_> {
    /// Whether the snapshot is there; from then on the lease holds it.
    pub(super) async fn is_held(&self, chain: &Digest) -> Result<bool, Error> {
        let name = chain.to_string();
        if !is_there(self.session, self.snapshotter, &name).await? {
            return Ok(false);
        }
        lease::hold(self.session, self.lease, &format!("snapshots/{}", self.snapshotter), &name).await?;
        is_there(self.session, self.snapshotter, &name).await
    }

    /// Makes the snapshot of one layer, whose blob and whose parent are there; `false` where it was there.
    pub(super) async fn unpack(&self, reference: &ImageReference, layer: &Layer, parent: Option<&Digest>) -> Result<bool, Error> {
        let lock = self.locks.get(&layer.chain);
        let _turn = match lock {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        if self.is_held(&layer.chain).await? {
            return Ok(false);
        }
        let key = format!("{}-{}-{}", self.lease, self.attempt, layer.chain);
        let mounts = self.prepare(&key, parent).await?;
        match self.fill(reference, layer, &key, mounts).await {
            Ok(()) => Ok(true),
            Err(error) => {
                // Without this the lease would hold it until it ends; the first error is the one to report.
                let _removed: Result<(), Error> = self.remove(&key).await;
                Err(error)
            }
        }
    }

    async fn prepare(&self, key: &str, parent: Option<&Digest>) -> Result<Vec<types::Mount>, Error> {
        let message = PrepareSnapshotRequest {
            snapshotter: self.snapshotter.to_owned(),
            key: key.to_owned(),
            parent: parent.map(ToString::to_string).unwrap_or_default(),
            labels: BTreeMap::new(),
        };
        let mut answer = self.session.snapshots().prepare(self.session.unbounded(message.clone())).await;
        if matches!(&answer, Err(status) if status.code() == Code::Unknown && status.message().contains("file exists")) {
            // After a power loss a directory may have reached the disk and the number that it stands for not, which is then given
            // again. A collection takes away directories that the snapshotter's database does not know.
            lease::collect(self.session, self.lease).await?;
            answer = self.session.snapshots().prepare(self.session.unbounded(message)).await;
        } else if matches!(&answer, Err(status) if status.code() == Code::AlreadyExists) {
            // A run with the same number was killed within the same tick of the clock and left this, perhaps half filled.
            self.remove(key).await?;
            answer = self.session.snapshots().prepare(self.session.unbounded(message)).await;
        }
        Ok(answer.map_err(Error::call("prepare the snapshot", key))?.into_inner().mounts)
    }

    async fn fill(&self, reference: &ImageReference, layer: &Layer, key: &str, mounts: Vec<types::Mount>) -> Result<(), Error> {
        let diff = Some(wire(&layer.blob));
        let answer = self.session.diff().apply(self.session.unbounded(ApplyRequest { diff, mounts })).await;
        let applied = answer.map_err(Error::call("unpack the layer", layer.blob.digest))?.into_inner().applied;
        let got = applied.map(|applied| applied.digest).unwrap_or_default();
        if got != layer.diff.to_string() {
            return Err(Error::Unpacked { reference: reference.clone(), layer: layer.blob.digest, got, expected: layer.diff });
        }
        self.flush().await?;
        let message = CommitSnapshotRequest {
            snapshotter: self.snapshotter.to_owned(),
            name: layer.chain.to_string(),
            key: key.to_owned(),
            labels: BTreeMap::new(),
        };
        let answer = self.session.snapshots().commit(self.session.unbounded(message)).await;
        if !made(answer).map_err(Error::call("commit the snapshot", layer.chain))? {
            // Somebody else unpacked the same layer meanwhile.
            self.remove(key).await?;
        }
        let uncompressed = BTreeMap::from([("containerd.io/uncompressed".to_owned(), layer.diff.to_string())]);
        content::add_labels(self.session, &layer.blob.digest, uncompressed).await
    }

    /// Brings the files of the layer to the disk. containerd flushes its database with each call and the files never: after a power
    /// loss a snapshot would be there by name, with empty files in it.
    async fn flush(&self) -> Result<(), Error> {
        let Some(root) = self.root.map(Path::to_owned) else { return Ok(()) };
        let flushed = tokio::task::spawn_blocking(move || fs::sync_file_system(&root)).await;
        flushed.map_err(|error| Error::Runtime(io::Error::other(error)))?.map_err(Error::Flush)
    }

    async fn remove(&self, key: &str) -> Result<(), Error> {
        let message = RemoveSnapshotRequest { snapshotter: self.snapshotter.to_owned(), key: key.to_owned() };
        found(self.session.snapshots().remove(self.session.quick(message)).await).map_err(Error::call("remove the snapshot", key))?;
        Ok(())
    }
}

/// A descriptor as containerd's API writes it.
pub(super) fn wire(descriptor: &Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: descriptor.media_type.to_string(),
        digest: descriptor.digest.to_string(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        annotations: BTreeMap::new(),
    }
}
