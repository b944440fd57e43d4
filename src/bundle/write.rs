//! Writing a bundle: frames on all cores, bytes in order.
//!
//! ```text
//! store ─pread→ worker: SHA-256 of the chunk, frame ─┐
//! store ─pread→ worker: SHA-256 of the chunk, frame ─┼─→ writer: frames in order, seek table ─→ out
//!                  ↑ empty buffers ──────────────────┘
//! ```
//!
//! The unit of work is one frame. A worker takes an empty buffer before it takes the next frame's number, so the frame that the writer
//! waits for always has one, and the memory is the buffers' sum. The form of a member is decided by its first frame; whoever works on
//! a later one waits for that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use sha2::{Digest as _, Sha256};

use super::assemble::SignedBundle;
use super::frame::{Encoder, Form, check_value, raw_begin, raw_blocks, raw_len, raw_seal};
use super::layout::{self, Member};
use super::{Error, Result, seek_table};
use crate::event::{Event, Observer, Stage};
use crate::fs;
use crate::io::CHUNK;
use crate::store::{self, Store};
use crate::types::{ByteSize, Descriptor, Digest};

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of content blobs before compression.
    pub content: u64,
    /// The root's digest.
    pub root_digest: Digest,
}

impl SignedBundle {
    /// Writes the bundle to `out`. The bytes do not depend on `threads`; memory is about 35 MiB per thread, whatever the size.
    ///
    /// # Errors
    /// A blob that is missing or damaged in the store (it is then removed there), or `out` fails.
    pub fn write(&self, store: &Store, mut out: impl Write, threads: NonZeroUsize, observer: &dyn Observer) -> Result<Written> {
        let content = self.metadata().content().iter().map(|blob| blob.size).sum();
        observer.event(Event::StageStarted { stage: Stage::Write, bytes: Some(content) });
        let entries = self.entries();
        let work = Work { entries: &entries, store, next: Mutex::new((0, 0, 0)) };
        let threads = threads.get();
        let buffers = threads * 2 + 2;
        let (full_sender, full) = crossbeam_channel::bounded(buffers);
        let (empty_sender, empty) = crossbeam_channel::bounded(buffers);
        for _ in 0..buffers {
            empty_sender.send(Vec::new()).map_err(|_| gone())?;
        }
        let frames = std::thread::scope(|scope| {
            for _ in 0..threads {
                let (empty, full_sender) = (empty.clone(), full_sender.clone());
                scope.spawn(|| work.run(empty, full_sender));
            }
            drop((empty, full_sender));
            in_order(full, empty_sender, entries.iter().map(|entry| entry.frames).sum(), &mut out, observer)
        })?;
        let table = seek_table::encode(&frames);
        out.write_all(&table).and_then(|()| out.flush()).map_err(|source| Error::Write { source })?;
        let size = frames.iter().map(|frame| u64::from(frame.compressed)).sum::<u64>() + table.len() as u64;
        let summary = format!("{} blobs", self.metadata().content().len());
        observer.event(Event::StageFinished { stage: Stage::Write, summary });
        Ok(Written { size, content, root_digest: self.metadata().root_digest() })
    }

    /// Writes the bundle past the page cache to a temporary file beside `path`, flushes it and renames it. On failure, and when the
    /// program is killed, `path` is what it was.
    ///
    /// # Errors
    /// As [`SignedBundle::write`], and file operations.
    pub fn write_file(&self, store: &Store, path: &Path, threads: NonZeroUsize, observer: &dyn Observer) -> Result<Written> {
        let free = fs::free_bytes(fs::parent(path))?;
        self.write_anew(store, path, threads, observer).map_err(|error| match error {
            Error::File(fs::Error { source, .. }) if fs::is_full(&source) => {
                Error::NoSpace { path: path.to_owned(), needs: ByteSize(self.size_at_most()), free: ByteSize(free), source }
            }
            other => other,
        })
    }

    fn write_anew(&self, store: &Store, path: &Path, threads: NonZeroUsize, observer: &dyn Observer) -> Result<Written> {
        let pending = fs::AtomicFile::create(path)?;
        let written = self.write(store, fs::DirectWriter::new(pending.file()), threads, observer).map_err(|error| match error {
            Error::Write { source } => fs::Error::new("write", path, source).into(),
            other => other,
        })?;
        pending.commit(0o644)?;
        Ok(written)
    }

    /// Bytes of the file if every frame were raw.
    fn size_at_most(&self) -> u64 {
        let entries = self.entries();
        let frames = entries.iter().flat_map(|entry| (0..entry.frames).map(|frame| raw_len(entry.plain_len(frame)) as u64));
        let (count, bytes) = frames.fold((0, 0), |(count, bytes), frame| (count + 1, bytes + frame));
        bytes + seek_table::len(count) as u64
    }

    fn entries(&self) -> Vec<Entry> {
        let metadata = self.metadata();
        let root = layout::root_descriptor(metadata.root());
        let mut memory = vec![layout::OCI_LAYOUT.to_vec(), layout::index_json(&root, metadata.index()), metadata.root().to_vec()];
        memory.extend(self.signatures().iter().flat_map(|signer| [signer.sigstore_json.clone(), signer.der_base64_sig.clone()]));
        memory.extend(metadata.documents().iter().map(|document| metadata.document(&document.digest).unwrap_or_default().to_vec()));
        let members = layout::members(metadata.root(), metadata.index(), self.signatures(), metadata.documents(), metadata.content());
        let mut memory = memory.into_iter();
        let mut entries: Vec<Entry> = members
            .into_iter()
            .map(|member| {
                let source = match (memory.next(), &member.blob) {
                    (None, Some(blob)) => Source::Blob(blob.clone(), metadata.chunks(blob).to_vec()),
                    (bytes, _) => Source::Memory(bytes.unwrap_or_default()),
                };
                Entry { header: member.header(), frames: member.frames(), source, form: OnceLock::new(), member: Some(member) }
            })
            .collect();
        let end = Source::Memory(layout::END.to_vec());
        entries.push(Entry { header: Vec::new(), frames: 1, source: end, form: OnceLock::new(), member: None });
        entries
    }
}

/// One member, or the end of the archive.
struct Entry {
    member: Option<Member>,
    header: Vec<u8>,
    frames: u64,
    source: Source,
    /// Set by whoever makes the first frame, also when that failed.
    form: OnceLock<Form>,
}

enum Source {
    Memory(Vec<u8>),
    Blob(Descriptor, Vec<Digest>),
}

impl Entry {
    /// A form that is known before any byte is seen.
    fn form_by_media_type(&self) -> Option<Form> {
        let blob = self.member.as_ref()?.blob.as_ref()?;
        blob.media_type.is_compressed().then_some(Form::Raw)
    }

    fn plain_len(&self, frame: u64) -> usize {
        let len = self.member.as_ref().map_or(layout::END.len() as u64, |member| member.frame_size(frame));
        usize::try_from(len).unwrap_or(usize::MAX)
    }

    /// Content bytes of a frame.
    fn content_len(&self, frame: u64) -> usize {
        let len = self.member.as_ref().map_or(layout::END.len() as u64, |member| member.content_of_frame(frame));
        usize::try_from(len).unwrap_or(usize::MAX)
    }
}

/// A frame that is ready.
struct Made {
    frame: Vec<u8>,
    plain: u32,
    check: u64,
    content: u64,
}

struct Work<'a> {
    entries: &'a [Entry],
    store: &'a Store,
    /// Entry, frame of it, number of the frame in the file: what is to be done next.
    next: Mutex<(usize, u64, u64)>,
}

/// What one worker keeps between frames.
struct Worker<'a> {
    encoder: Encoder,
    plain: Vec<u8>,
    open: Option<(&'a Digest, File)>,
}

impl Work<'_> {
    #[expect(clippy::needless_pass_by_value, reason = "the channels must close when the worker ends")]
    fn run(&self, empty: Receiver<Vec<u8>>, full: Sender<(u64, Result<Made>)>) {
        let mut worker = None;
        while let Ok(mut frame) = empty.recv() {
            let Some((entry, index, number)) = self.take() else { return };
            let made = self.make(&mut worker, entry, index, &mut frame);
            if made.is_err() {
                entry.form.get_or_init(|| Form::Raw);
            }
            let plain = u32::try_from(entry.plain_len(index)).unwrap_or(u32::MAX);
            let check = check_value(&frame, plain as usize);
            let made = made.map(|content| Made { frame, plain, check, content });
            if full.send((number, made)).is_err() {
                return;
            }
        }
    }

    fn take(&self) -> Option<(&Entry, u64, u64)> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let (entry, frame, number) = *next;
        let taken = self.entries.get(entry)?;
        *next = if frame + 1 < taken.frames { (entry, frame + 1, number + 1) } else { (entry + 1, 0, number + 1) };
        Some((taken, frame, number))
    }

    /// Makes a frame, and says how many bytes of a content blob are in it.
    fn make<'a>(&'a self, worker: &mut Option<Worker<'a>>, entry: &'a Entry, index: u64, frame: &mut Vec<u8>) -> Result<u64> {
        let worker = if let Some(worker) = worker {
            worker
        } else {
            let encoder = Encoder::new().map_err(|source| Error::Write { source })?;
            worker.insert(Worker { encoder, plain: Vec::new(), open: None })
        };
        let len = entry.plain_len(index);
        let known = entry.form_by_media_type().or_else(|| (index > 0).then(|| *entry.form.wait()));
        if known == Some(Form::Raw) {
            raw_begin(frame, len);
            self.fill(worker, entry, index, frame, raw_blocks(len))?;
            raw_seal(frame, len);
        } else {
            let mut plain = std::mem::take(&mut worker.plain);
            plain.resize(len, 0);
            self.fill(worker, entry, index, &mut plain, std::iter::once(0..len))?;
            worker.encoder.encode(&plain, frame).map_err(|source| Error::Write { source })?;
            if index == 0 && *entry.form.get_or_init(|| Form::of(len, frame.len())) == Form::Raw {
                raw_begin(frame, len);
                let mut at = 0;
                for block in raw_blocks(len) {
                    let next = at + block.len();
                    frame[block].copy_from_slice(&plain[at..next]);
                    at = next;
                }
                raw_seal(frame, len);
            }
            worker.plain = plain;
        }
        Ok(if matches!(entry.source, Source::Blob(..)) { entry.content_len(index) as u64 } else { 0 })
    }

    /// Fills `ranges` of `buffer` with header, content and padding of a frame, and checks the content.
    fn fill<'a>(
        &'a self,
        worker: &mut Worker<'a>,
        entry: &'a Entry,
        index: u64,
        buffer: &mut [u8],
        ranges: impl Iterator<Item = std::ops::Range<usize>>,
    ) -> Result<()> {
        let mut header = if index == 0 { entry.header.as_slice() } else { &[] };
        let mut left = entry.content_len(index);
        let mut offset = index * CHUNK;
        let mut hasher = Sha256::new();
        for range in ranges {
            let (head, piece) = buffer[range.clone()].split_at_mut(header.len().min(range.len()));
            head.copy_from_slice(&header[..head.len()]);
            header = &header[head.len()..];
            let (content, padding) = piece.split_at_mut(left.min(piece.len()));
            self.read(worker, entry, content, offset)?;
            if matches!(entry.source, Source::Blob(..)) {
                hasher.update(&*content);
            }
            left -= content.len();
            offset += content.len() as u64;
            padding.fill(0);
        }
        if let Source::Blob(blob, chunks) = &entry.source {
            let expected = usize::try_from(index).ok().and_then(|index| chunks.get(index));
            if expected != Some(&Digest::from_bytes(hasher.finalize().into())) {
                return Err(self.damaged(blob));
            }
        }
        Ok(())
    }

    fn read<'a>(&'a self, worker: &mut Worker<'a>, entry: &'a Entry, content: &mut [u8], offset: u64) -> Result<()> {
        let blob = match &entry.source {
            Source::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                content.copy_from_slice(&bytes[start..start + content.len()]);
                return Ok(());
            }
            Source::Blob(blob, _) => blob,
        };
        let file = match &mut worker.open {
            Some((digest, file)) if **digest == blob.digest => file,
            open => {
                let file = self.store.file(&blob.digest)?;
                if self.store.size_of(&blob.digest)? != Some(blob.size) {
                    return Err(self.damaged(blob));
                }
                &mut open.insert((&blob.digest, file)).1
            }
        };
        file.read_exact_at(content, offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged(blob),
            _ => store::Error::Read { digest: blob.digest, path: self.store.blob_path(&blob.digest), source }.into(),
        })
    }

    /// Takes a damaged blob away, so that the next run fetches it again.
    fn damaged(&self, blob: &Descriptor) -> Error {
        match self.store.remove(&blob.digest) {
            Ok(()) => Error::DamagedInStore { digest: blob.digest },
            Err(error) => error.into(),
        }
    }
}

/// Writes frames in order and gives their buffers back; the first error in that order is the one that counts.
#[expect(clippy::needless_pass_by_value, reason = "the channels must close when the writer ends")]
fn in_order(
    full: Receiver<(u64, Result<Made>)>,
    empty: Sender<Vec<u8>>,
    total: u64,
    out: &mut impl Write,
    observer: &dyn Observer,
) -> Result<Vec<seek_table::Entry>> {
    let mut waiting = BTreeMap::new();
    let mut frames = Vec::new();
    let mut offset = 0;
    for (number, made) in &full {
        waiting.insert(number, made);
        while let Some(made) = waiting.remove(&(frames.len() as u64)) {
            let Made { frame, plain, check, content } = made?;
            out.write_all(&frame).map_err(|source| Error::Write { source })?;
            let compressed = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            frames.push(seek_table::Entry { offset, compressed, plain, check });
            offset += u64::from(compressed);
            if content > 0 {
                observer.event(Event::StageProgress { stage: Stage::Write, bytes: content });
            }
            // Workers that found nothing more to do are gone: then nobody needs the buffer.
            drop(empty.send(frame));
        }
    }
    if frames.len() as u64 == total { Ok(frames) } else { Err(gone()) }
}

fn gone() -> Error {
    Error::Write { source: io::Error::other("a worker ended early") }
}
