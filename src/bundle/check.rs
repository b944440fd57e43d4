//! Checking every byte of a bundle on all cores.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::content::{Uses, who_needs};
use super::frame::Checksum;
use super::layout::{END, Member, OCI_LAYOUT};
use super::open::{Carried, VerifiedBundle};
use super::read::{ChunkReader, Expected, reader_for};
use super::{Error, Result};
use crate::event::{Event, Observer, Stage};
use crate::io::CHUNK;
use crate::types::Digest;

/// Something that is wrong with a bundle's file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The member or part of the file: `blobs/sha256/…`, `index.json`, `end of archive`.
    pub member: String,
    /// For a blob, its digest.
    pub digest: Option<Digest>,
    /// What needs it: images, files and tools, with their platforms; sorted.
    pub belongs_to: Vec<String>,
    /// What is wrong.
    pub cause: String,
}

impl VerifiedBundle {
    /// Reads the whole file on `threads` threads and compares every byte with what the root says; also one large blob is read on all.
    /// An empty list: all is well. In the order of the file, one problem for each member that has any.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn check_content(&self, threads: NonZeroUsize, observer: &dyn Observer) -> Result<Vec<Problem>> {
        let carried = &*self.carried;
        observer.event(Event::StageStarted { stage: Stage::Verify, bytes: Some(self.content().iter().map(|blob| blob.size).sum()) });
        let check = Check {
            frames: frames(carried),
            carried,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            problems: Mutex::new(Vec::new()),
        };
        let ends: Vec<Result<()>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.get()).map(|_| scope.spawn(|| check.run(observer))).collect();
            let panicked = |_| Err(carried.archive.not_whole("a thread that checked it ended early"));
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(panicked)).collect()
        });
        ends.into_iter().collect::<Result<()>>()?;
        let mut problems = check.problems.into_inner().unwrap_or_else(PoisonError::into_inner);
        problems.sort();
        problems.dedup_by_key(|(member, _, _)| *member);
        let uses = if problems.is_empty() { Uses::new() } else { who_needs(self.contents(), self.images(), self.tools()) };
        let summary = format!("{} blobs", self.content().len());
        observer.event(Event::StageFinished { stage: Stage::Verify, summary });
        Ok(problems.into_iter().map(|(member, _, cause)| carried.problem(member, cause, &uses)).collect())
    }
}

struct Check<'a> {
    carried: &'a Carried,
    /// Every frame: its member's number and its own within the member.
    frames: Vec<(usize, u64)>,
    next: AtomicUsize,
    stop: AtomicBool,
    problems: Mutex<Vec<(usize, u64, String)>>,
}

fn frames(carried: &Carried) -> Vec<(usize, u64)> {
    let members = carried.places.members();
    let ends = std::iter::once((members.len(), 0));
    members
        .iter()
        .enumerate()
        .flat_map(|(number, (member, _))| (0..member.frames()).map(move |frame| (number, frame)))
        .chain(ends)
        .collect()
}

impl Check<'_> {
    fn run(&self, observer: &dyn Observer) -> Result<()> {
        let mut reader = reader_for(&self.carried.archive)?;
        while !self.stop.load(Ordering::Relaxed) {
            let Some((member, frame)) = self.frames.get(self.next.fetch_add(1, Ordering::Relaxed)).copied() else { break };
            match self.carried.check_frame(&mut reader, member, frame) {
                Ok(0) => {}
                Ok(bytes) => observer.event(Event::StageProgress { stage: Stage::Verify, bytes }),
                Err(Error::Damaged { reason, .. }) => {
                    self.problems.lock().unwrap_or_else(PoisonError::into_inner).push((member, frame, reason));
                }
                Err(error) => {
                    self.stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Carried {
    /// Checks one frame and says how many bytes of content it holds.
    fn check_frame(&self, reader: &mut ChunkReader, number: usize, frame: u64) -> Result<u64> {
        let members = self.places.members();
        let Some(place) = members.get(number) else { return self.check_end(reader) };
        let (member, _) = place;
        let memory = match number {
            0 => Some(OCI_LAYOUT),
            1 => Some(self.index.as_slice()),
            2 => Some(self.metadata.root()),
            _ => self.signature(number - 3).or_else(|| self.metadata.document(&member.blob.as_ref()?.digest)),
        };
        if let Some(bytes) = memory {
            let start = usize::try_from(frame * CHUNK).unwrap_or(usize::MAX).min(bytes.len());
            let end = start + usize::try_from(member.content_of_frame(frame)).unwrap_or(usize::MAX).min(bytes.len() - start);
            reader.read(&self.archive, place, frame, Expected::Bytes(&bytes[start..end]), Checksum::Compare)?;
            return Ok(0);
        }
        let blob = member.blob.as_ref().ok_or_else(|| self.archive.damaged(&member.name, "it is no blob"))?;
        let expected = super::read::chunk_of(self.metadata.chunks(blob), frame, blob)?;
        reader.read(&self.archive, place, frame, Expected::Digest(expected), Checksum::Compare)?;
        Ok(member.content_of_frame(frame))
    }

    fn signature(&self, index: usize) -> Option<&[u8]> {
        let signer = self.signatures.get(index / 2)?;
        Some(if index.is_multiple_of(2) { &signer.sigstore_json } else { &signer.der_base64_sig })
    }

    fn check_end(&self, reader: &mut ChunkReader) -> Result<u64> {
        let first = self.archive.frames().len() - 1;
        reader.read_end(&self.archive, first, &END)?;
        Ok(0)
    }

    fn problem(&self, number: usize, cause: String, uses: &Uses) -> Problem {
        let member = self.places.members().get(number).map(|(member, _): &(Member, usize)| member);
        let digest = member.and_then(|member| member.blob.as_ref()).map(|blob| blob.digest);
        let belongs_to = digest.and_then(|digest| uses.get(&digest)).into_iter().flatten().cloned().collect();
        Problem { member: member.map_or_else(|| "end of archive".to_owned(), |member| member.name.clone()), digest, belongs_to, cause }
    }
}
