//! Resolution → store: every blob of every image and every file, each digest once, in one scheduler.
//!
//! ```text
//! Resolution ─ plan_fetch ─► FetchPlan ─► one task per blob, largest first ─ permit ─► Sources
//!                                            │ pieces, bounded queue
//!                                            └────► writer thread: hash, write, check, rename ─► Store
//! ```
//!
//! The first failure ends the others; what was written stays, whole blobs under their names and the rest as partial files that the
//! next run goes on with. The order in which blobs arrive shows in events alone.

mod archive;
mod plan;
mod progress;
mod transfer;
mod writer;

use std::fmt;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use self::plan::{FetchPlan, Origin, PlannedBlob, plan_fetch};
pub(super) use self::progress::Progress;
pub(super) use self::transfer::first_seen;
pub(super) use self::writer::blocking;
use super::resolution::Resolution;
use super::source::{self, Sources};
use crate::event::{Event, Observer, Stage};
use crate::fs;
use crate::store::{self, Store};
use crate::types::{ByteSize, Digest};

/// Why content is not all there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system of the cache is too small; found before anything was fetched.
    #[error("`{}` has {free} bytes free, {needed} are still to be fetched", root.display())]
    Space {
        /// The cache.
        root: std::path::PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes to come.
        needed: u64,
    },
    /// A blob did not come.
    #[error("cannot fetch `{name}`")]
    Blob {
        /// What for, as in [`PlannedBlob::name`].
        name: String,
        /// Which blob.
        digest: Digest,
        /// Why.
        source: source::Error,
    },
    /// The cache cannot be looked at.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Its file system cannot be looked at.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes of all blobs, each counted once.
    pub bytes_total: u64,
    /// Bytes that came in this run.
    pub bytes_fetched: u64,
}

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, fetched) = (ByteSize(self.bytes_total), ByteSize(self.bytes_fetched));
        match self.bytes_fetched {
            0 => write!(f, "nothing: all {total} were in the cache"),
            // What is missing to all of it may be too little to show.
            _ if fetched.to_string() == total.to_string() => write!(f, "{total}"),
            _ => write!(f, "{fetched} of {total}, the rest was in the cache"),
        }
    }
}

/// Fetches what is not in the store.
pub async fn fetch(resolution: &Resolution, sources: &Sources, store: &Store, observer: &dyn Observer) -> Result<Fetched, Error> {
    let plan = plan_fetch(resolution, store)?;
    observer.event(Event::StageStarted { stage: Stage::Fetch, bytes: Some(plan.bytes_missing) });
    if plan.bytes_missing > 0 {
        let free = fs::free_bytes(store.root())?;
        if free < plan.bytes_missing {
            return Err(Error::Space { root: store.root().to_owned(), free, needed: plan.bytes_missing });
        }
    }
    let fetched = Fetched { bytes_total: plan.bytes_total, bytes_fetched: plan.bytes_missing };
    run(plan, sources, store, observer).await?;
    observer.event(Event::StageFinished { stage: Stage::Fetch, summary: fetched.to_string() });
    Ok(fetched)
}

/// Tasks report through a channel because they outlive no observer that they could borrow. It is emptied all the time and progress comes
/// in steps, so that it stays short.
struct Forward(mpsc::UnboundedSender<Event>);

impl Observer for Forward {
    fn event(&self, event: Event) {
        // Nobody listens any more once the run has failed.
        drop(self.0.send(event));
    }
}

async fn run(plan: FetchPlan, sources: &Sources, store: &Store, observer: &dyn Observer) -> Result<(), Error> {
    let (sender, mut events) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for blob in plan.blobs {
        let (sources, store, observer) = (sources.clone(), store.clone(), Forward(sender.clone()));
        tasks.spawn(async move {
            let result = one(&blob, &sources, &store, &observer).await;
            result.map_err(|source| Error::Blob { name: blob.name, digest: blob.descriptor.digest, source })
        });
    }
    drop(sender);
    loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => observer.event(event),
            ended = tasks.join_next() => match ended {
                None => return Ok(()),
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    // Ends the others and waits for them; their writer threads write what they were given and end by themselves.
                    tasks.shutdown().await;
                    return Err(error);
                }
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            },
        }
    }
}

async fn one(blob: &PlannedBlob, sources: &Sources, store: &Store, observer: &dyn Observer) -> Result<(), source::Error> {
    let begin = || {
        let left = blob.descriptor.size - blob.bytes_present;
        Progress::start(observer, Stage::Fetch, sources.transfer_id(), blob.name.clone(), Some(left), blob.bytes_present)
    };
    let turn = match &blob.origin {
        Origin::Upstream(places) => places.first().map(|place| sources.host(place)).unwrap_or_default(),
        Origin::Archive(path) => path.display().to_string(),
        Origin::Resolved => String::new(),
    };
    let _permit = sources.permit(&turn).await;
    match &blob.origin {
        Origin::Upstream(places) => transfer::blob(sources, places, &blob.descriptor, store, &mut begin()).await,
        Origin::Archive(path) => archive::blob(sources, path, &blob.descriptor, store, &mut begin()).await,
        // It was there a moment ago: somebody empties the cache while it is used.
        Origin::Resolved => {
            let (digest, root) = (blob.descriptor.digest, store.root().to_owned());
            Err(store::Error::Missing { digest, root }.into())
        }
    }
}

#[cfg(test)]
mod tests;
