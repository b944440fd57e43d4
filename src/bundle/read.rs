//! Content out of a verified bundle: no byte before its chunk was found right.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::archive::Archive;
use super::frame::{Checksum, Decoder, Plain};
use super::layout::Member;
use super::open::{Carried, VerifiedBundle};
use super::{Error, Result};
use crate::io::CHUNK;
use crate::types::{Descriptor, Digest};

/// Reads chunks of members, one at a time, with buffers that are used again: two times 8 MiB.
pub(super) struct ChunkReader {
    frame: Vec<u8>,
    decoder: Decoder,
}

/// Readers that wait for the next range, with the buffers that they have: two for whoever reads many ranges on many threads.
#[derive(Default)]
pub(super) struct IdleReaders(Mutex<Vec<ChunkReader>>);

impl IdleReaders {
    /// How many are kept.
    const KEPT: usize = 2;

    fn take(&self, archive: &Archive) -> Result<ChunkReader> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| reader_for(archive), Ok)
    }

    fn give_back(&self, reader: ChunkReader) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < Self::KEPT {
            idle.push(reader);
        }
    }
}

impl std::fmt::Debug for IdleReaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdleReaders").finish_non_exhaustive()
    }
}

/// What the content of a chunk must be.
#[derive(Clone, Copy)]
pub(super) enum Expected<'a> {
    /// Bytes with this SHA-256.
    Digest(&'a Digest),
    /// These bytes.
    Bytes(&'a [u8]),
}

/// Content of one chunk that was found right.
#[derive(Clone)]
pub(super) struct Chunk<'a> {
    plain: Plain<'a>,
    content: Range<usize>,
}

impl<'a> Chunk<'a> {
    /// Its bytes in order.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Range { start, end } = self.content;
        let mut at = 0;
        self.plain.pieces().map(move |piece| {
            let from = start.saturating_sub(at).min(piece.len());
            let to = end.saturating_sub(at).min(piece.len());
            at += piece.len();
            &piece[from..to]
        })
    }

    /// What stands before (`true`) and behind the content.
    fn around(&self, before: bool) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Range { start, end } = self.content;
        let mut at = 0;
        self.plain.pieces().map(move |piece| {
            let range =
                if before { 0..start.saturating_sub(at).min(piece.len()) } else { end.saturating_sub(at).min(piece.len())..piece.len() };
            at += piece.len();
            &piece[range]
        })
    }

    fn matches(&self, expected: Expected<'_>) -> bool {
        match expected {
            Expected::Digest(digest) => {
                let mut hasher = Sha256::new();
                self.pieces().for_each(|piece| hasher.update(piece));
                *digest == Digest::from_bytes(hasher.finalize().into())
            }
            Expected::Bytes(bytes) => same(self.pieces(), bytes),
        }
    }
}

fn same<'a>(pieces: impl Iterator<Item = &'a [u8]>, mut bytes: &[u8]) -> bool {
    for piece in pieces {
        let Some(rest) = bytes.strip_prefix(piece) else { return false };
        bytes = rest;
    }
    bytes.is_empty()
}

impl ChunkReader {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { frame: Vec::new(), decoder: Decoder::new()? })
    }

    /// Reads chunk `index` of a member whose first frame is `first`: structure, header, padding and content are as they must be, or
    /// it is an error.
    pub(super) fn read<'a>(
        &'a mut self,
        archive: &Archive,
        (member, first): &(Member, usize),
        index: u64,
        expected: Expected<'_>,
        checksum: Checksum,
    ) -> Result<Chunk<'a>> {
        let damaged = |reason: &str| archive.damaged(&member.name, reason);
        let number = usize::try_from(index).unwrap_or(usize::MAX).saturating_add(*first);
        let entry = archive.read_frame(number, &mut self.frame)?;
        let plain = self.decoder.decode(&self.frame, entry, checksum, archive.limits()).map_err(damaged)?;
        let header = if index == 0 { member.header() } else { Vec::new() };
        let len = usize::try_from(member.content_of_frame(index)).unwrap_or(usize::MAX);
        let padding = if index + 1 == member.frames() { member.padding() } else { 0 };
        let chunk = Chunk { plain, content: header.len()..header.len() + len };
        if !same(chunk.around(true), &header) {
            return Err(damaged("its header is not as it must be"));
        }
        if chunk.around(false).map(<[u8]>::len).sum::<usize>() as u64 != padding {
            return Err(damaged("it has another length than it must have"));
        }
        if chunk.around(false).flatten().any(|byte| *byte != 0) {
            return Err(damaged("what follows it is not its padding"));
        }
        if !chunk.matches(expected) {
            return Err(damaged("its content is not what its digest says"));
        }
        Ok(chunk)
    }
}

impl ChunkReader {
    /// Reads the last frame, which must hold exactly `end`.
    pub(super) fn read_end(&mut self, archive: &Archive, frame: usize, end: &[u8]) -> Result<()> {
        let damaged = |reason: &str| archive.damaged("end of archive", reason);
        let entry = archive.read_frame(frame, &mut self.frame)?;
        let plain = self.decoder.decode(&self.frame, entry, Checksum::Compare, archive.limits()).map_err(damaged)?;
        if same(plain.pieces(), end) { Ok(()) } else { Err(damaged("it is not as it must be")) }
    }
}

impl Carried {
    /// The place of a content blob and the digests of its chunks.
    pub(super) fn blob<'a>(&'a self, descriptor: &'a Descriptor) -> Result<(&'a (Member, usize), &'a [Digest])> {
        let missing = || Error::NotInside { digest: descriptor.digest };
        let place = self.places.of(&descriptor.digest).ok_or_else(missing)?;
        if place.0.size != descriptor.size {
            let Descriptor { digest, size, .. } = *descriptor;
            return Err(self.archive.damaged(&place.0.name, format!("`{digest}` has {} bytes, {size} were asked for", place.0.size)));
        }
        let chunks = self.metadata.contents().chunks.get(&descriptor.digest);
        Ok((place, chunks.map_or(std::slice::from_ref(&descriptor.digest), Vec::as_slice)))
    }
}

/// Reads one blob from front to back, checked chunk by chunk. Owns its share of the bundle, so it may outlive the value it came from.
pub struct BlobReader {
    carried: Arc<Carried>,
    blob: Descriptor,
    reader: Option<ChunkReader>,
    next: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl BlobReader {
    fn fill(&mut self) -> Result<()> {
        self.at = 0;
        self.buffer.clear();
        if let Some(document) = self.carried.metadata.document(&self.blob.digest) {
            self.next = self.blob.size;
            self.buffer.extend_from_slice(document);
            return Ok(());
        }
        let (place, chunks) = self.carried.blob(&self.blob)?;
        let index = self.next / CHUNK;
        let expected = Expected::Digest(chunk_of(chunks, index, &self.blob)?);
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(reader_for(&self.carried.archive)?),
        };
        let chunk = reader.read(&self.carried.archive, place, index, expected, Checksum::Skip)?;
        chunk.pieces().for_each(|piece| self.buffer.extend_from_slice(piece));
        self.next += self.buffer.len() as u64;
        Ok(())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.len() {
            if self.next >= self.blob.size || buffer.is_empty() {
                return Ok(0);
            }
            self.fill().map_err(|error| match error {
                Error::Read { source, .. } => source,
                other => io::Error::new(io::ErrorKind::InvalidData, other),
            })?;
        }
        let n = buffer.len().min(self.buffer.len() - self.at);
        buffer[..n].copy_from_slice(&self.buffer[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

pub(super) fn reader_for(archive: &Archive) -> Result<ChunkReader> {
    ChunkReader::new().map_err(|source| Error::Read { path: archive.path().to_owned(), source })
}

pub(super) fn chunk_of<'a>(chunks: &'a [Digest], index: u64, blob: &Descriptor) -> Result<&'a Digest> {
    let chunk = usize::try_from(index).ok().and_then(|index| chunks.get(index));
    chunk.ok_or(Error::NotInside { digest: blob.digest })
}

impl VerifiedBundle {
    /// A reader for a document or content blob of this bundle.
    ///
    /// # Errors
    /// The bundle has no such blob.
    pub fn reader(&self, descriptor: &Descriptor) -> Result<BlobReader> {
        self.check_inside(descriptor)?;
        let (carried, blob) = (self.carried.clone(), descriptor.clone());
        Ok(BlobReader { carried, blob, reader: None, next: 0, buffer: Vec::new(), at: 0 })
    }

    /// Fills `buffer` from byte `offset` of a blob, and says how many bytes there were (fewer at its end).
    ///
    /// Every chunk that is touched (8 MiB, aligned) is read and checked whole: ask for aligned 8 MiB where you read on.
    ///
    /// # Errors
    /// The bundle has no such blob, or the chunk is damaged.
    pub fn read_range(&self, descriptor: &Descriptor, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.check_inside(descriptor)?;
        let left = descriptor.size.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if let Some(document) = self.document(&descriptor.digest) {
            let start = document.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
            buffer[..wanted].copy_from_slice(&document[start..start + wanted]);
            return Ok(wanted);
        }
        let archive = &self.carried.archive;
        let (place, chunks) = self.carried.blob(descriptor)?;
        let mut reader = self.carried.idle.take(archive)?;
        let mut done = 0;
        while done < wanted {
            let index = (offset + done as u64) / CHUNK;
            let mut skip = usize::try_from((offset + done as u64) % CHUNK).unwrap_or(usize::MAX);
            let chunk = reader.read(archive, place, index, Expected::Digest(chunk_of(chunks, index, descriptor)?), Checksum::Skip)?;
            for piece in chunk.pieces() {
                let (skipped, piece) = piece.split_at(skip.min(piece.len()));
                skip -= skipped.len();
                let n = piece.len().min(wanted - done);
                buffer[done..done + n].copy_from_slice(&piece[..n]);
                done += n;
            }
        }
        self.carried.idle.give_back(reader);
        Ok(done)
    }

    pub(super) fn check_inside(&self, descriptor: &Descriptor) -> Result<()> {
        match self.document(&descriptor.digest) {
            Some(document) if document.len() as u64 == descriptor.size => Ok(()),
            Some(_) => Err(super::content::two_sizes(&descriptor.digest)),
            None => self.carried.blob(descriptor).map(|_| ()),
        }
    }
}
