//! What a deploy was doing: one line before each step and one after it, each flushed before anything follows it.
//!
//! ```text
//! {"v":1,"event":"run","root":"sha256:…","package_version":"1.0.0","boot":"…","at":1764000000}
//! {"v":1,"event":"begin","step":"stage","boot":"…","blobs":["sha256:…"]}
//! {"v":1,"event":"end","step":"stage"}
//! {"v":1,"event":"begin","step":"file:/etc/x","boot":"…","files":{"/etc/x":"sha256:…"}}
//! {"v":1,"event":"done"}
//! ```
//!
//! A kill in the middle of a line leaves a line without an end: it counts as not written, and the next run begins a new line. A step
//! that was begun and not ended is not done. No value of a variable ever stands here.

mod v1;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::host::{self, Host};
use super::layout;
use crate::types::{Digest, PackageName};

/// A journal longer than this is begun anew when its last run is done.
const LIMIT: u64 = 16 << 20;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A run begins.
    Run {
        /// Of which bundle.
        root: Digest,
        /// Its version.
        version: String,
        /// Under which boot of the kernel.
        boot: String,
        /// When, in seconds since 1970.
        at: u64,
    },
    /// A step begins.
    Begin {
        /// Which.
        step: String,
        /// Under which boot of the kernel.
        boot: String,
        /// Blobs that it brings into the store.
        blobs: Vec<Digest>,
        /// Files that it makes or changes, with their new content (`None`: a link, a directory, or nothing any more).
        files: BTreeMap<PathBuf, Option<Digest>>,
        /// What they held before, where that is kept.
        kept: BTreeMap<PathBuf, Digest>,
    },
    /// What the step did is on the disk.
    End {
        /// Which.
        step: String,
    },
    /// The receipt is written.
    Done,
}

/// What the journal says of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Journal {
    /// The last run did not come to its end.
    pub interrupted: bool,
    /// Steps that were begun and not ended, with the boot in which they were begun.
    pub open: BTreeMap<String, String>,
    /// Blobs of a step that was begun and not ended, by the boot in which it was begun.
    pub open_blobs: BTreeMap<String, BTreeSet<Digest>>,
    /// What interrupted runs put into files, or were about to: these contents are ours, whatever the receipt says.
    pub files: BTreeMap<PathBuf, BTreeSet<Option<Digest>>>,
    /// What files held before the first of these runs.
    pub kept: BTreeMap<PathBuf, Digest>,
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node could not be looked at.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// It was written by a newer program.
    #[error("`{}` has version {found}, this program knows {}", path.display(), v1::VERSION)]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// It is not what a journal is.
    #[error("`{}`, line {line}, is no journal: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

/// Reads the journal of a package.
///
/// # Errors
/// It cannot be read, or is of a newer version.
pub fn read(host: &dyn Host, package: &PackageName) -> Result<Journal, Error> {
    read_file(host, &layout::journal(package))
}

/// Blobs that some interrupted run of any package began to bring in another boot: their names may be there without their content.
///
/// # Errors
/// A journal cannot be read.
pub fn unflushed_blobs(host: &dyn Host, boot: &str) -> Result<BTreeSet<Digest>, Error> {
    let mut blobs = BTreeSet::new();
    for path in host.list(Path::new(layout::JOURNAL))? {
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let journal = read_file(host, &path)?;
            blobs.extend(journal.open_blobs.into_iter().filter(|(of, _)| of != boot).flat_map(|(_, blobs)| blobs));
        }
    }
    Ok(blobs)
}

fn read_file(host: &dyn Host, path: &Path) -> Result<Journal, Error> {
    let Some(bytes) = host.read(path, LIMIT * 4)? else { return Ok(Journal::default()) };
    let mut journal = Journal::default();
    for record in v1::read(path, &bytes)? {
        journal.take(record);
    }
    Ok(journal)
}

impl Journal {
    fn take(&mut self, record: Record) {
        match record {
            Record::Run { .. } => self.interrupted = true,
            Record::Begin { step, boot, blobs, files, kept } => {
                for (path, digest) in kept {
                    self.kept.entry(path).or_insert(digest);
                }
                self.open_blobs.entry(boot.clone()).or_default().extend(blobs);
                for (path, digest) in files {
                    self.files.entry(path).or_default().insert(digest);
                }
                self.open.insert(step, boot);
            }
            Record::End { step } => {
                if self.open.remove(&step).is_some() && step == super::plan::STAGE {
                    // The store was flushed as a whole: what earlier attempts began is on the disk as well.
                    self.open_blobs.clear();
                }
            }
            Record::Done => *self = Self::default(),
        }
    }
}

/// What a step is about to touch.
#[derive(Debug, Clone, Default)]
pub struct Touches {
    /// Blobs that it brings into the store.
    pub blobs: Vec<Digest>,
    /// Files, with what they will hold.
    pub files: BTreeMap<PathBuf, Option<Digest>>,
    /// What they hold now, where that is kept.
    pub kept: BTreeMap<PathBuf, Digest>,
}

/// Writes the journal of one run.
pub struct Writer<'h> {
    host: &'h dyn Host,
    path: PathBuf,
    boot: String,
}

impl<'h> Writer<'h> {
    /// Begins a run.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn begin(host: &'h dyn Host, package: &PackageName, version: &str, root: Digest, boot: &str, at: u64) -> host::Result<Self> {
        let path = layout::journal(package);
        let old = host.look(&path)?;
        if old.is_some_and(|old| old.size > LIMIT) && host.read(&path, LIMIT * 4)?.is_some_and(|bytes| v1::is_done(&bytes)) {
            host.remove(&path)?;
        }
        let writer = Self { host, path, boot: boot.to_owned() };
        // A line that a kill cut off is ended by this newline, and skipped by readers.
        let cut = host.read(&writer.path, LIMIT * 4)?.is_some_and(|bytes| !bytes.is_empty() && !bytes.ends_with(b"\n"));
        if cut {
            host.append(&writer.path, b"\n")?;
        }
        writer.write(&Record::Run { root, version: version.to_owned(), boot: boot.to_owned(), at })?;
        Ok(writer)
    }

    /// A step begins.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn step(&self, step: &str, touches: Touches) -> host::Result<()> {
        let Touches { blobs, files, kept } = touches;
        self.write(&Record::Begin { step: step.to_owned(), boot: self.boot.clone(), blobs, files, kept })
    }

    /// A step ended: what it did is on the disk.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn end(&self, step: &str) -> host::Result<()> {
        self.write(&Record::End { step: step.to_owned() })
    }

    /// The receipt is written.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn done(&self) -> host::Result<()> {
        self.write(&Record::Done)
    }

    fn write(&self, record: &Record) -> host::Result<()> {
        self.host.append(&self.path, v1::line(record).as_bytes())
    }
}
