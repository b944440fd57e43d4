//! Copying blobs into a store, checked, on all cores.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Result;
use super::frame::Checksum;
use super::layout::Member;
use super::open::VerifiedBundle;
use super::read::{Expected, chunk_of, reader_for};
use crate::event::{Event, Observer, Stage};
use crate::io::CHUNK;
use crate::store::{ChunkWriter, Store};
use crate::types::{Descriptor, Digest};

/// What [`VerifiedBundle::stage`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StagedBytes {
    /// Blobs that were written.
    pub written_blobs: u64,
    /// Their bytes.
    pub written: u64,
    /// Blobs that the store had already; they cost no read.
    pub present_blobs: u64,
    /// Their bytes.
    pub present: u64,
}

impl VerifiedBundle {
    /// Copies blobs (documents or content) into a store; one that is named twice is copied once. The store is not synced: see
    /// [`Store::sync`].
    ///
    /// # Errors
    /// A blob that is not inside or is damaged, or the store cannot be written. What was whole by then stays.
    pub fn stage(&self, blobs: &[Descriptor], store: &Store, threads: NonZeroUsize, observer: &dyn Observer) -> Result<StagedBytes> {
        let mut seen = BTreeSet::new();
        let blobs: Vec<&Descriptor> = blobs.iter().filter(|blob| seen.insert(blob.digest)).collect();
        observer.event(Event::StageStarted { stage: Stage::Stage, bytes: Some(blobs.iter().map(|blob| blob.size).sum()) });
        let staging = Staging { bundle: self, store, queue: Mutex::new(Queue { blobs: blobs.into_iter(), current: None }), observer };
        let ends: Vec<Result<StagedBytes>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.get()).map(|_| scope.spawn(|| staging.run())).collect();
            let panicked = |_| Err(self.carried.archive.not_whole("a thread that read it ended early"));
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(panicked)).collect()
        });
        let mut staged = StagedBytes::default();
        for end in ends {
            let part = end?;
            staged.written_blobs += part.written_blobs;
            staged.written += part.written;
            staged.present_blobs += part.present_blobs;
            staged.present += part.present;
        }
        let summary = format!("{} blobs, {} were there", staged.written_blobs, staged.present_blobs);
        observer.event(Event::StageFinished { stage: Stage::Stage, summary });
        Ok(staged)
    }
}

struct Staging<'a> {
    bundle: &'a VerifiedBundle,
    store: &'a Store,
    queue: Mutex<Queue<'a>>,
    observer: &'a dyn Observer,
}

/// What is still to be handed out. Emptied when a worker fails.
struct Queue<'a> {
    blobs: std::vec::IntoIter<&'a Descriptor>,
    current: Option<(Arc<Open<'a>>, u64)>,
}

/// A blob that is being written. Whoever lets go of it last gives it its name.
struct Open<'a> {
    blob: &'a Descriptor,
    place: &'a (Member, usize),
    chunks: &'a [Digest],
    writer: ChunkWriter,
    written: AtomicU64,
}

impl<'a> Staging<'a> {
    fn run(&self) -> Result<StagedBytes> {
        let mut staged = StagedBytes::default();
        let outcome = self.copy_chunks(&mut staged);
        if outcome.is_err() {
            let mut queue = self.queue();
            queue.blobs = Vec::new().into_iter();
            queue.current = None;
        }
        outcome.map(|()| staged)
    }

    fn queue(&self) -> MutexGuard<'_, Queue<'a>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copy_chunks(&self, staged: &mut StagedBytes) -> Result<()> {
        let archive = &self.bundle.carried.archive;
        let mut reader = reader_for(archive)?;
        while let Some((open, index)) = self.take(staged)? {
            let expected = Expected::Digest(chunk_of(open.chunks, index, open.blob)?);
            let chunk = reader.read(archive, open.place, index, expected, Checksum::Skip)?;
            let mut offset = index * CHUNK;
            for piece in chunk.pieces() {
                open.writer.write_at(piece, offset)?;
                offset += piece.len() as u64;
            }
            open.written.fetch_add(1, Ordering::AcqRel);
            self.observer.event(Event::StageProgress { stage: Stage::Stage, bytes: offset - index * CHUNK });
            if let Some(Open { blob, chunks, writer, written, .. }) = Arc::into_inner(open)
                && written.into_inner() == chunks.len() as u64
            {
                writer.commit(chunks)?;
                staged.written_blobs += 1;
                staged.written += blob.size;
            }
        }
        Ok(())
    }

    /// The next chunk. Documents, and blobs that are there, are done on the way.
    fn take(&self, staged: &mut StagedBytes) -> Result<Option<(Arc<Open<'a>>, u64)>> {
        let mut queue = self.queue();
        loop {
            if let Some((open, index)) = queue.current.take() {
                // With the last chunk the queue gives its own share away, so that a worker is the last to let go.
                if index + 1 < open.chunks.len() as u64 {
                    queue.current = Some((open.clone(), index + 1));
                }
                return Ok(Some((open, index)));
            }
            let Some(blob) = queue.blobs.next() else { return Ok(None) };
            self.bundle.check_inside(blob)?;
            if self.store.has(blob)? {
                staged.present_blobs += 1;
                staged.present += blob.size;
                self.observer.event(Event::StageProgress { stage: Stage::Stage, bytes: blob.size });
            } else if let Some(document) = self.bundle.document(&blob.digest) {
                self.store.put(document)?;
                staged.written_blobs += 1;
                staged.written += blob.size;
                self.observer.event(Event::StageProgress { stage: Stage::Stage, bytes: blob.size });
            } else if let Some(writer) = self.store.begin_chunks(blob.digest, blob.size)? {
                let (place, chunks) = self.bundle.carried.blob(blob)?;
                queue.current = Some((Arc::new(Open { blob, place, chunks, writer, written: AtomicU64::new(0) }), 0));
            }
        }
    }
}
