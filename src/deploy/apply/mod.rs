//! Does what the plan says, step by step, and decides nothing again.
//!
//! For each step: a line in the journal, the work, a flush of what it wrote, a line in the journal. Archives are looked at as a
//! whole right after the blobs are in the store, so that a hostile one stops the deploy before anything outside the store changes.

mod extract;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::archive;
use super::host::linux::containerd::SeedImage;
use super::host::{self, EntryKind, Host, Lock, Permissions};
use super::journal::{self, Touches, Writer};
use super::layout;
use super::plan::{Content, DeployPlan, Place, Space, Work};
use super::receipt::{self, Receipt};
use crate::event::{Event, Observer, Stage};
use crate::store::{self, Store};
use crate::types::{ComponentName, Descriptor, Digest, PackageName};

/// Where blobs come from: a verified bundle.
pub trait Blobs {
    /// Brings blobs into the store, each checked against its digest. Those that are there are passed over.
    ///
    /// # Errors
    /// The bundle cannot be read or does not match, or the store cannot be written.
    fn stage(&self, blobs: &[Descriptor], store: &Store, observer: &dyn Observer) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// Why a deploy stopped. What was done is in the journal; the same command goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// State cannot be written, or the lock is taken.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// Blobs cannot be brought into the store.
    #[error("cannot bring the bundle's content into `{}`", layout::STORE)]
    Stage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A step failed.
    #[error("step `{step}` failed")]
    Step {
        /// Which.
        step: String,
        /// Why.
        source: host::Error,
    },
    /// An archive is not extracted.
    #[error("`{title}` is not extracted")]
    Archive {
        /// Its name.
        title: String,
        /// Why.
        source: archive::Error,
    },
    /// An archive that was listed cannot be read a second time.
    #[error(transparent)]
    Unlisted(#[from] archive::Error),
    /// A member of an archive would go where something else is.
    #[error("`{}` of archive `{title}` goes where {is} is", path.display())]
    InTheWay {
        /// The archive's name.
        title: String,
        /// Where.
        path: PathBuf,
        /// What is there.
        is: &'static str,
    },
    /// Another package holds the path.
    #[error("`{}` of archive `{title}` belongs to package `{holder}`", path.display())]
    Held {
        /// The archive's name.
        title: String,
        /// Where.
        path: PathBuf,
        /// Whose it is.
        holder: PackageName,
    },
    /// Two things of the package go to one path.
    #[error("`{}` of archive `{title}` is in component `{component}` too", path.display())]
    Twice {
        /// The archive's name.
        title: String,
        /// Where.
        path: PathBuf,
        /// The other one.
        component: ComponentName,
    },
    /// What is in the archives does not fit.
    #[error("there is not enough space for what is in the archives")]
    NoSpace {
        /// File systems that are too full.
        space: Vec<Space>,
    },
}

/// Makes the directories of state and takes the lock that keeps other deploys away. Taken before facts are gathered.
///
/// # Errors
/// Another deploy is running, or the directories cannot be made.
pub fn lock(host: &dyn Host, holder: &str) -> Result<Box<dyn Lock>, host::Error> {
    let identity = host.identity()?;
    let directory = |path: &str, mode| {
        // Only the program itself writes below; receipts and what files held before may hold secrets.
        let permissions = Permissions { mode, uid: identity.uid, gid: identity.gid };
        let is_right = host.look(Path::new(path))?.is_some_and(|found| found.mode == mode && found.uid == identity.uid);
        if is_right { Ok(()) } else { host.make_directory(Path::new(path), permissions) }
    };
    make_parents(host, Path::new(layout::STATE), (identity.uid, identity.gid))?;
    directory(layout::STATE, 0o755)?;
    let lock = host.lock(Path::new(layout::LOCK), holder)?;
    directory(layout::STORE, 0o755)?;
    for path in [layout::JOURNAL, layout::RECEIPTS, layout::PREVIOUS] {
        directory(path, 0o700)?;
    }
    Ok(lock)
}

/// Does what the plan says. `at` is the time in seconds since 1970. The caller holds the [`lock`] since before the facts were gathered.
///
/// # Errors
/// A step failed: the same deploy again goes on from there.
pub fn apply(plan: DeployPlan, blobs: &dyn Blobs, host: &dyn Host, at: u64, observer: &dyn Observer) -> Result<Receipt, Error> {
    if plan.is_empty() {
        return Ok(plan.receipt);
    }
    let store = Store::open(host.store(Path::new(layout::STORE))?)?;
    let journal = Writer::begin(host, &plan.package, &plan.version.to_string(), plan.receipt.root, &plan.boot_id, at)?;
    let bytes = plan.steps.iter().map(|step| step.bytes).sum();
    observer.event(Event::StageStarted { stage: Stage::Apply, bytes: Some(bytes) });
    let count = plan.steps.len();
    let mut run =
        Run { host, blobs, store, journal, observer, owner: plan.owner, package: plan.package, receipt: plan.receipt, at, listed: None };
    let mut waiting = plan.steps;
    if let Some(Work::Stage { .. }) = waiting.first().map(|step| &step.work) {
        let step = waiting.remove(0);
        run.step(&step.id, step.work)?;
    }
    run.listed = Some(extract::look_into(&run, &waiting)?);
    for step in waiting {
        run.step(&step.id, step.work)?;
    }
    run.journal.done()?;
    observer.event(Event::StageFinished { stage: Stage::Apply, summary: format!("{count} changes") });
    Ok(run.receipt)
}

struct Run<'r> {
    host: &'r dyn Host,
    blobs: &'r dyn Blobs,
    store: Store,
    journal: Writer<'r>,
    observer: &'r dyn Observer,
    owner: (u32, u32),
    package: PackageName,
    receipt: Receipt,
    at: u64,
    /// What is in each archive, by the step's id.
    listed: Option<BTreeMap<String, extract::Members>>,
}

impl Run<'_> {
    fn step(&mut self, id: &str, work: Work) -> Result<(), Error> {
        self.observer.event(Event::StepStarted { step: id.to_owned() });
        let failed = |source| Error::Step { step: id.to_owned(), source };
        match work {
            Work::Stage { missing, damaged } => {
                let blobs = missing.iter().map(|blob| blob.digest).collect();
                self.journal.step(id, Touches { blobs, ..Touches::default() })?;
                for digest in damaged {
                    self.store.remove(&digest)?;
                }
                self.blobs.stage(&missing, &self.store, self.observer).map_err(Error::Stage)?;
                self.host.flush(Path::new(layout::STORE)).map_err(failed)?;
            }
            Work::Place(place) => {
                let files = BTreeMap::from([(place.path.clone(), Some(place.digest))]);
                let kept = place.keep.iter().map(|digest| (place.path.clone(), *digest)).collect();
                self.journal.step(id, Touches { blobs: Vec::new(), files, kept })?;
                self.place(&place).map_err(failed)?;
            }
            Work::Extract(extract) => self.extract(id, &extract)?,
            Work::Remove { path, keep } => {
                let kept = keep.iter().map(|digest| (path.clone(), *digest)).collect();
                self.journal.step(id, Touches { blobs: Vec::new(), files: BTreeMap::from([(path.clone(), None)]), kept })?;
                self.remove(&path).map_err(failed)?;
            }
            Work::Seed(seed) => {
                self.journal.step(id, Touches::default())?;
                let platform = self.receipt.platform.clone();
                let images: Vec<_> = seed.images.iter().filter_map(|(tree, pin)| SeedImage::of(tree, &platform, *pin)).collect();
                self.host.seed(&images, &seed.snapshotter, &self.store, self.at, self.observer).map_err(failed)?;
                self.host.flush(&seed.snapshot_root).map_err(failed)?;
            }
            Work::Service(action) => {
                self.journal.step(id, Touches::default())?;
                self.host.service(&action).map_err(failed)?;
            }
            Work::Receipt => {
                self.journal.step(id, Touches::default())?;
                self.keep_receipt().map_err(failed)?;
                receipt::write(self.host, &self.receipt, self.owner).map_err(failed)?;
            }
        }
        self.journal.end(id)?;
        self.observer.event(Event::StepFinished { step: id.to_owned() });
        Ok(())
    }

    /// For a rollback: the receipt before, unless an interrupted run had written this one already.
    fn keep_receipt(&self) -> host::Result<()> {
        let path = layout::receipt(&self.package);
        let is_new = Digest::of(self.receipt.to_json().as_bytes());
        if self.host.look(&path)?.is_some() && self.host.digest(&path)? != is_new {
            let kept = layout::previous(&self.package).join("receipt.json");
            make_parents(self.host, &kept, self.owner)?;
            self.host.keep(&path, &kept)?;
        }
        Ok(())
    }

    fn place(&self, place: &Place) -> host::Result<()> {
        make_parents(self.host, &place.path, self.owner)?;
        if place.keep.is_some() {
            self.keep(&place.path)?;
        }
        match &place.content {
            Content::Text(text) => self.host.place(&place.path, place.permissions, &mut text.0.as_bytes()),
            Content::Blob(descriptor) => {
                let mut reader = self.store.reader(descriptor).map_err(into_host)?;
                self.host.place(&place.path, place.permissions, &mut reader)
            }
        }
    }

    /// Keeps what a file holds now, by its digest, where it is not kept already.
    fn keep(&self, path: &Path) -> host::Result<()> {
        if self.host.look(path)?.is_some_and(|found| found.kind == EntryKind::File) {
            let kept = layout::previous_content(&self.package, &self.host.digest(path)?);
            if self.host.look(&kept)?.is_none() {
                make_parents(self.host, &kept, self.owner)?;
                self.host.keep(path, &kept)?;
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> host::Result<()> {
        match self.host.look(path)?.map(|found| found.kind) {
            None => Ok(()),
            // What others put into it stays, and so does the directory.
            Some(EntryKind::Directory) if !self.host.list(path)?.is_empty() => Ok(()),
            Some(EntryKind::File) => {
                self.keep(path)?;
                self.host.remove(path)
            }
            Some(EntryKind::Directory | EntryKind::Link(_) | EntryKind::Other) => self.host.remove(path),
        }
    }
}

/// Makes the directories above a path that are missing, 0755.
fn make_parents(host: &dyn Host, path: &Path, owner: (u32, u32)) -> host::Result<()> {
    let mut missing = Vec::new();
    for above in path.ancestors().skip(1).take_while(|above| above.parent().is_some()) {
        if host.look(above)?.is_some() {
            break;
        }
        missing.push(above);
    }
    let mode = if path.starts_with(layout::PREVIOUS) { 0o700 } else { 0o755 };
    missing.into_iter().rev().try_for_each(|directory| host.make_directory(directory, Permissions { mode, uid: owner.0, gid: owner.1 }))
}

fn into_host(error: store::Error) -> host::Error {
    match error {
        store::Error::File(error) => error.into(),
        other => host::Error::Store(other),
    }
}
