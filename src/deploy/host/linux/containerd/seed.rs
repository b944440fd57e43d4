//! The whole run: what is missing goes in, under one lease, and is tried again when containerd was restarted meanwhile.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use tokio::sync::{Mutex, watch};

use super::chain::{chain_ids, diff_ids};
use super::content::{ReadJob, Sender, serve_reads};
use super::image::{self, ImageState, SeedImage};
use super::session::Session;
use super::snapshot::{Layer, Unpacker};
use super::wanted::{WantedBlob, of_all, of_image};
use super::{BlobProvider, Containerd, Error, lease};
use crate::event::{Event, Observer};
use crate::fs;
use crate::io::read_verified;
use crate::types::Digest;

/// An image configuration is read into memory up to this many bytes.
const CONFIGURATION_LIMIT: u64 = 8 << 20;
/// How long between two looks whether containerd is back.
const PAUSE: Duration = Duration::from_millis(200);
/// How many times a run is begun again before its error is given up on.
const ATTEMPTS: u32 = 5;

/// How to seed.
#[derive(Debug, Clone)]
pub struct SeedOptions {
    /// What to unpack into, from [`super::DaemonFacts::snapshotter`].
    pub snapshotter: String,
    /// Blobs that are sent at once; each costs up to 6 MiB of memory: messages that are read, queued and written.
    pub blobs_at_once: usize,
    /// Images that are unpacked at once.
    pub images_at_once: usize,
    /// How long to wait for a containerd that went away.
    pub patience: Duration,
    /// The time now, for the lease.
    pub now: Timestamp,
}

impl SeedOptions {
    /// Four blobs and four images at once, and a minute of patience.
    #[must_use]
    pub fn new(snapshotter: impl Into<String>, now: Timestamp) -> Self {
        Self { snapshotter: snapshotter.into(), blobs_at_once: 4, images_at_once: 4, patience: Duration::from_mins(1), now }
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seeded {
    /// Images that were there already.
    pub present: usize,
    /// Images that were brought in or completed.
    pub seeded: usize,
    /// Blobs that were sent, wholly or from where an earlier run stopped.
    pub blobs: usize,
    /// Their bytes, by their descriptors.
    pub bytes: u64,
    /// Layers that were unpacked.
    pub layers: usize,
}

/// An image that is not there, with the names of its snapshots.
struct Missing<'a> {
    image: SeedImage<'a>,
    layers: Vec<Layer>,
}

#[derive(Default)]
struct Counts {
    blobs: AtomicUsize,
    bytes: AtomicU64,
    layers: AtomicUsize,
}

impl Containerd {
    /// Brings images into containerd, unpacked and named as CRI expects. An image that is there costs no read of its blobs.
    ///
    /// A name that stands for something else is moved: the plan has decided that before. After an error everything that went in is
    /// held by a lease for a day, and the same call goes on from there. A layer is on the disk before containerd knows its snapshot, so
    /// that also after a power loss what is there by name is there whole.
    ///
    /// # Errors
    /// A blob cannot be read or is not what its descriptor says, containerd refuses something, or it stays away.
    pub fn seed(
        &self,
        images: &[SeedImage<'_>],
        blobs: &dyn BlobProvider,
        options: &SeedOptions,
        observer: &dyn Observer,
    ) -> Result<Seeded, Error> {
        let lease = lease::id(options.now, std::process::id());
        let (jobs, queue) = crossbeam_channel::unbounded();
        std::thread::scope(|scope| {
            for _ in 0..options.blobs_at_once.max(1) {
                let queue = queue.clone();
                scope.spawn(move || serve_reads(&queue, blobs));
            }
            // Owned here, so that the readers end when the run does.
            let jobs = jobs;
            let counts = Counts::default();
            let run = Run { containerd: self, images, blobs, options, observer, lease: &lease, jobs: &jobs, counts: &counts };
            self.runtime.block_on(run.until_done())
        })
    }
}

struct Run<'a> {
    containerd: &'a Containerd,
    images: &'a [SeedImage<'a>],
    blobs: &'a dyn BlobProvider,
    options: &'a SeedOptions,
    observer: &'a dyn Observer,
    lease: &'a str,
    jobs: &'a crossbeam_channel::Sender<ReadJob>,
    counts: &'a Counts,
}

impl<'a> Run<'a> {
    async fn until_done(&self) -> Result<Seeded, Error> {
        let mut missing_at_first = 0;
        let mut attempt = 1;
        loop {
            match self.attempt(attempt, &mut missing_at_first).await {
                Err(error) if error.is_passing() && attempt < ATTEMPTS => self.wait(error).await?,
                other => return other,
            }
            attempt += 1;
        }
    }

    async fn attempt(&self, attempt: u32, missing_at_first: &mut usize) -> Result<Seeded, Error> {
        let session = self.containerd.session(Some(self.lease));
        let states = self.images.iter().map(|image| image::state(&session, image, &self.options.snapshotter));
        let states: Vec<ImageState> = stream::iter(states).buffered(8).try_collect().await?;
        let missing: Vec<&SeedImage<'a>> =
            self.images.iter().zip(&states).filter(|(_, state)| **state != ImageState::Present).map(|(image, _)| image).collect();
        *missing_at_first = missing.len().max(*missing_at_first);
        if !missing.is_empty() || attempt > 1 {
            let missing = missing.into_iter().map(|image| self.prepare(*image)).collect::<Result<Vec<_>, _>>()?;
            lease::create(&session, self.lease, self.options.now).await?;
            self.bring(&session, attempt, &missing).await?;
        }
        // Also where nothing was missing: a run that was killed after it had named its images left its lease.
        lease::delete_all(&session, self.lease).await?;
        Ok(Seeded {
            present: self.images.len() - *missing_at_first,
            seeded: *missing_at_first,
            blobs: self.counts.blobs.load(Ordering::Relaxed),
            bytes: self.counts.bytes.load(Ordering::Relaxed),
            layers: self.counts.layers.load(Ordering::Relaxed),
        })
    }

    /// Reads the configuration, which names the snapshots.
    fn prepare(&self, image: SeedImage<'a>) -> Result<Missing<'a>, Error> {
        let config = &image.image.config;
        let unusable = |why: String| Error::Configuration { reference: image.reference.clone(), digest: config.digest, why };
        if config.size > CONFIGURATION_LIMIT {
            return Err(unusable(format!("it has {} bytes, {CONFIGURATION_LIMIT} are allowed", config.size)));
        }
        let bytes = self.blobs.open(config, 0).and_then(|reader| read_verified(reader, config));
        let bytes = bytes.map_err(|source| Error::Blob { digest: config.digest, source })?;
        let diffs = diff_ids(&bytes).map_err(unusable)?;
        if diffs.len() != image.image.layers.len() {
            return Err(unusable(format!("it has {} diff_ids for {} layers", diffs.len(), image.image.layers.len())));
        }
        let chains = chain_ids(&diffs);
        let layers = image.image.layers.iter().zip(diffs).zip(chains);
        Ok(Missing { image, layers: layers.map(|((blob, diff), chain)| Layer { blob: blob.clone(), diff, chain }).collect() })
    }

    /// Sends all blobs and, as they arrive, unpacks and names the images.
    async fn bring(&self, session: &Session, attempt: u32, missing: &[Missing<'a>]) -> Result<(), Error> {
        let snapshotter = self.options.snapshotter.as_str();
        let top = |missing: &Missing<'_>| missing.layers.last().map(|layer| layer.chain);
        let wanted = of_all(missing.iter().map(|missing| of_image(&missing.image, snapshotter, top(missing).as_ref())));
        let arrivals: Arrivals = wanted.iter().map(|blob| (blob.descriptor.digest, watch::Sender::new(false))).collect();
        let locks = missing.iter().flat_map(|missing| &missing.layers).map(|layer| (layer.chain, Mutex::new(()))).collect();
        let root = self.snapshot_root(session).await?;
        let unpacker = Unpacker { session, lease: self.lease, snapshotter, root: root.as_deref(), attempt, locks };
        let sender = Sender { session, lease: self.lease, jobs: self.jobs, observer: self.observer };
        let send = stream::iter(&wanted)
            .map(Ok)
            .try_for_each_concurrent(self.options.blobs_at_once.max(1), |blob| self.send(&sender, blob, &arrivals));
        let unpack = stream::iter(missing)
            .map(Ok)
            .try_for_each_concurrent(self.options.images_at_once.max(1), |missing| self.unpack(&unpacker, missing, &arrivals));
        try_join(send, unpack).await.map(|_| ())
    }

    /// Where the unpacked files can be flushed; without that a power loss may take them, and a person should know.
    async fn snapshot_root(&self, session: &Session) -> Result<Option<PathBuf>, Error> {
        let plugins = session.snapshotters().await?;
        let plugin = plugins.iter().find(|plugin| plugin.id == self.options.snapshotter);
        let root = plugin.and_then(|plugin| plugin.exports.get("root")).map(PathBuf::from);
        if let Some(root) = root
            && fs::metadata_following(&root).map_err(Error::Flush)?.is_some()
        {
            return Ok(Some(root));
        }
        let message = format!(
            "the files of snapshotter `{}` are not seen from here: what is unpacked is not flushed to the disk, run `sync` before the power goes",
            self.options.snapshotter
        );
        self.observer.event(Event::Warning { message });
        Ok(None)
    }

    async fn send(&self, sender: &Sender<'_>, blob: &WantedBlob, arrivals: &Arrivals) -> Result<(), Error> {
        if sender.put(blob).await? {
            self.counts.blobs.fetch_add(1, Ordering::Relaxed);
            self.counts.bytes.fetch_add(blob.descriptor.size, Ordering::Relaxed);
        }
        if let Some(arrived) = arrivals.get(&blob.descriptor.digest) {
            arrived.send_replace(true);
        }
        Ok(())
    }

    async fn unpack(&self, unpacker: &Unpacker<'_>, missing: &Missing<'_>, arrivals: &Arrivals) -> Result<(), Error> {
        let is_unpacked = match missing.layers.last() {
            Some(layer) => unpacker.is_held(&layer.chain).await?,
            None => true,
        };
        let mut parent: Option<&Digest> = None;
        for layer in missing.layers.iter().filter(|_| !is_unpacked) {
            arrived(arrivals, &layer.blob.digest).await;
            if unpacker.unpack(missing.image.reference, layer, parent).await? {
                self.counts.layers.fetch_add(1, Ordering::Relaxed);
            }
            parent = Some(&layer.chain);
        }
        let image = missing.image;
        let blobs = [image.top, &image.image.manifest, &image.image.config].into_iter().chain(&image.image.layers);
        for blob in blobs {
            arrived(arrivals, &blob.digest).await;
        }
        image::name(unpacker.session, &image).await
    }

    /// Waits until containerd answers again.
    async fn wait(&self, cause: Error) -> Result<(), Error> {
        let what = format!("containerd at `{}`", self.containerd.address.display());
        self.observer.event(Event::Retrying { what, cause: innermost(&cause), after: PAUSE });
        let begun = Instant::now();
        loop {
            tokio::time::sleep(PAUSE).await;
            match self.containerd.session(None).version().await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_passing() && begun.elapsed() < self.options.patience => {}
                Err(error) if error.is_passing() => {
                    let address = self.containerd.address.clone();
                    return Err(Error::Lost { address, waited: self.options.patience, source: Box::new(cause) });
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// For each blob whether it has arrived.
type Arrivals = BTreeMap<Digest, watch::Sender<bool>>;

/// Waits for a blob. Where it never arrives, the sending side has failed and ends the run.
async fn arrived(arrivals: &Arrivals, digest: &Digest) {
    if let Some(arrival) = arrivals.get(digest) {
        // The sender lives as long as the map: waiting ends with `true` alone.
        drop(arrival.subscribe().wait_for(|arrived| *arrived).await);
    }
}

fn innermost(error: &Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
