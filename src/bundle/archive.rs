//! The file as frames, and the way through its first members.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::frame::{Checksum, Decoder};
use super::layout::{Member, describe_header};
use super::limits::Limits;
use super::seek_table::{self, Entry, FOOTER};
use super::{Error, Result};
use crate::fs;
use crate::types::Digest;

/// An open bundle file with its seek table.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    file: File,
    size: u64,
    frames: Vec<Entry>,
    limits: Limits,
}

impl Archive {
    /// Opens a file and reads its seek table.
    pub(super) fn open(path: &Path, limits: &Limits) -> Result<Self> {
        Self::of(fs::open(path)?, path, limits)
    }

    /// The same for a file that is open; `path` is what it is called.
    pub(super) fn of(file: File, path: &Path, limits: &Limits) -> Result<Self> {
        let no_bundle = |reason: &str| Error::NotABundle { path: path.to_owned(), reason: reason.to_owned() };
        let unreadable = |source| Error::Read { path: path.to_owned(), source };
        let size = file.metadata().map_err(unreadable)?.len();
        let footer_at = size.checked_sub(FOOTER as u64).ok_or_else(|| no_bundle("it is too short"))?;
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, footer_at).map_err(unreadable)?;
        let count = seek_table::frames_in_footer(footer).ok_or_else(|| no_bundle("there is no seek table at its end"))?;
        if u64::from(count) > limits.frames {
            return Err(Error::Limit { what: "the number of frames".to_owned(), found: count.into(), limit: limits.frames });
        }
        let len = seek_table::len(count as usize);
        let start = size.checked_sub(len as u64).ok_or_else(|| no_bundle("its seek table is longer than the file"))?;
        let mut tail = vec![0; len];
        file.read_exact_at(&mut tail, start).map_err(unreadable)?;
        let frames = seek_table::parse(&tail, start).ok_or_else(|| no_bundle("its seek table does not describe the file"))?;
        drop(tail);
        // Compressed or raw, a frame is hardly longer than what is in it.
        let limit = limits.frame_bytes;
        for frame in &frames {
            let found = u64::from(frame.plain.max(frame.compressed.saturating_sub(frame.plain / 1024 + 64)));
            if found > limit {
                return Err(Error::Limit { what: "a frame in bytes".to_owned(), found, limit });
            }
        }
        Ok(Self { path: path.to_owned(), file, size, frames, limits: *limits })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn frames(&self) -> &[Entry] {
        &self.frames
    }

    /// Reads a frame as it stands in the file.
    pub(super) fn read_frame(&self, index: usize, frame: &mut Vec<u8>) -> Result<Entry> {
        let entry = *self.frames.get(index).ok_or_else(|| self.not_whole("it ends before its last member"))?;
        frame.resize(entry.compressed as usize, 0);
        self.file.read_exact_at(frame, entry.offset).map_err(|source| Error::Read { path: self.path.clone(), source })?;
        Ok(entry)
    }

    pub(super) fn damaged(&self, member: &str, reason: impl Into<String>) -> Error {
        Error::Damaged { path: self.path.clone(), member: member.to_owned(), reason: reason.into() }
    }

    pub(super) fn not_whole(&self, reason: &str) -> Error {
        Error::NotABundle { path: self.path.clone(), reason: reason.to_owned() }
    }
}

/// Reads members front to back: metadata, whose size is limited.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    frame: usize,
    bytes: u64,
    peeked: Option<Vec<u8>>,
}

impl Cursor {
    /// The content of the next member, which must be exactly `member`: header, length and padding.
    pub(super) fn member(&mut self, archive: &Archive, member: &Member) -> Result<Vec<u8>> {
        let mut bytes = self.first_frame(archive, Some(&member.name))?;
        self.peeked = None;
        let header = member.header();
        if !bytes.starts_with(&header) {
            return Err(archive.damaged(&member.name, "it is not the next member of the archive, or its header is not as it must be"));
        }
        for _ in 1..member.frames() {
            bytes.extend(self.next_frame(archive, Some(&member.name))?);
        }
        bytes.drain(..header.len());
        let (content, padding) = bytes
            .split_at_checked(usize::try_from(member.size).unwrap_or(usize::MAX))
            .ok_or_else(|| archive.damaged(&member.name, "it ends early"))?;
        if padding.len() as u64 != member.padding() || padding.iter().any(|byte| *byte != 0) {
            return Err(archive.damaged(&member.name, "what follows it is not its padding"));
        }
        let len = content.len();
        bytes.truncate(len);
        Ok(bytes)
    }

    /// What the header of the next member says; nothing of it is checked before [`Cursor::member`] is called with it. `name`: what is
    /// expected there, where that is known.
    pub(super) fn describe_next(&mut self, archive: &Archive, name: Option<&str>) -> Result<Member> {
        let bytes = self.first_frame(archive, name)?;
        let described = describe_header(&bytes).ok_or_else(|| archive.not_whole("there is no member where one is expected"));
        self.peeked = Some(bytes);
        described
    }

    fn first_frame(&mut self, archive: &Archive, name: Option<&str>) -> Result<Vec<u8>> {
        match self.peeked.take() {
            Some(bytes) => Ok(bytes),
            None => self.next_frame(archive, name),
        }
    }

    fn next_frame(&mut self, archive: &Archive, name: Option<&str>) -> Result<Vec<u8>> {
        let limits = archive.limits();
        let mut frame = Vec::new();
        let entry @ Entry { compressed, plain, .. } = archive.read_frame(self.frame, &mut frame)?;
        self.bytes += u64::from(plain);
        let over =
            |what: &str, found, limit| if found > limit { Err(Error::Limit { what: what.to_owned(), found, limit }) } else { Ok(()) };
        // Headers and padding of a document are at most as long again as two blocks.
        over("metadata in bytes", self.bytes, limits.metadata_bytes.saturating_add(self.frame as u64 * 1024 + limits.frame_bytes))?;
        over("the ratio of a frame", u64::from(plain) / u64::from(compressed).max(1), limits.metadata_ratio)?;
        let number = self.frame;
        self.frame += 1;
        let damaged = |reason: &str| archive.damaged(name.unwrap_or(&format!("frame {number}")), reason);
        let mut decoder = Decoder::new().map_err(|source| Error::Read { path: archive.path.clone(), source })?;
        let bytes = decoder.decode(&frame, entry, Checksum::Compare, limits).map_err(damaged)?;
        Ok(bytes.pieces().flatten().copied().collect())
    }
}

/// Which frames belong to which member.
#[derive(Debug)]
pub(super) struct Places {
    members: Vec<(Member, usize)>,
    by_digest: HashMap<Digest, usize>,
}

impl Places {
    /// Lays the members over the frames of the archive, which must fit exactly and end with the end of the archive.
    pub(super) fn new(archive: &Archive, members: Vec<Member>) -> Result<Self> {
        let mut first = 0;
        let mut by_digest = HashMap::new();
        let mut placed = Vec::with_capacity(members.len());
        for member in members {
            for index in 0..member.frames() {
                let plain = archive.frames().get(first + usize::try_from(index).unwrap_or(usize::MAX)).map(|entry| u64::from(entry.plain));
                if plain != Some(member.frame_size(index)) {
                    return Err(archive.damaged("seek table", format!("it does not fit `{}`", member.name)));
                }
            }
            if let Some(blob) = &member.blob {
                by_digest.insert(blob.digest, placed.len());
            }
            let frames = usize::try_from(member.frames()).unwrap_or(usize::MAX);
            placed.push((member, first));
            first += frames;
        }
        match archive.frames().get(first..) {
            Some([end]) if end.plain as usize == super::layout::END.len() => Ok(Self { members: placed, by_digest }),
            _ => Err(archive.damaged("seek table", "something stands behind the last member")),
        }
    }

    /// Every member with its first frame, in order.
    pub(super) fn members(&self) -> &[(Member, usize)] {
        &self.members
    }

    /// The member of a blob, with its first frame.
    pub(super) fn of(&self, digest: &Digest) -> Option<&(Member, usize)> {
        self.by_digest.get(digest).map(|index| &self.members[*index])
    }
}
