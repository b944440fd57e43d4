//! The members of an archive by name: where each lies in the file, nothing extracted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::Error;
use crate::fs;

/// An archive with more members is refused: their table would not fit a small memory.
const MEMBERS: usize = 200_000;
/// How gzip begins (RFC 1952, 2.3.1).
pub const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Where the bytes of a member are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    file: Place,
    /// Its length in bytes.
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// At an offset of the archive.
    Inside(u64),
    /// A file of a layout directory.
    Beside(PathBuf),
}

/// A directory, or a tar file that is open.
#[derive(Debug)]
pub struct Members {
    path: PathBuf,
    tar: Option<Arc<File>>,
    table: BTreeMap<String, Option<Span>>,
}

impl Members {
    /// Reads the table of a tar file, unpacking gzip into a nameless file in `scratch`; of a directory, nothing is read yet.
    pub fn open(path: &Path, scratch: &Path) -> Result<Self, Error> {
        if fs::metadata(path)?.is_some_and(|metadata| metadata.is_dir()) {
            return Ok(Self { path: path.to_owned(), tar: None, table: BTreeMap::new() });
        }
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let mut file = fs::open(path)?;
        let mut magic = [0; 2];
        if file.read(&mut magic).map_err(failed)? == 2 && magic == GZIP {
            file.rewind().map_err(failed)?;
            let mut unpacked = fs::anonymous_file_in(scratch)?;
            let mut gzip = flate2::read::MultiGzDecoder::new(io::BufReader::with_capacity(1 << 20, file));
            io::copy(&mut gzip, &mut unpacked).map_err(failed)?;
            file = unpacked;
        }
        file.rewind().map_err(failed)?;
        let table = read_table(path, &file)?;
        Ok(Self { path: path.to_owned(), tar: Some(Arc::new(file)), table })
    }

    /// A regular member; `None` where there is no such name, or it is a link.
    pub fn find(&self, name: &str) -> Result<Option<Span>, Error> {
        if self.tar.is_some() {
            return Ok(self.table.get(name).cloned().flatten());
        }
        let path = self.path.join(name);
        let regular = fs::metadata(&path)?.filter(std::fs::Metadata::is_file);
        Ok(regular.map(|metadata| Span { size: metadata.len(), file: Place::Beside(path) }))
    }

    /// The bytes of a member from `offset` on.
    pub fn reader(&self, span: &Span, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        match (&span.file, &self.tar) {
            (Place::Inside(start), Some(tar)) => {
                let (position, end) = (start + offset.min(span.size), start + span.size);
                Ok(Box::new(SpanReader { file: Arc::clone(tar), position, end }))
            }
            (Place::Beside(path), _) => {
                let mut file = fs::open(path)?;
                file.seek(SeekFrom::Start(offset)).map_err(|source| Error::Read { path: path.clone(), source })?;
                Ok(Box::new(file))
            }
            (Place::Inside(_), None) => Err(Error::Kind { path: self.path.clone() }),
        }
    }
}

/// Several may read one file at once: each knows its own place.
struct SpanReader {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Read for SpanReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.file.read_at(&mut buffer[..room], self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}

fn read_table(path: &Path, file: &File) -> Result<BTreeMap<String, Option<Span>>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let length = file.metadata().map_err(failed)?.len();
    let mut archive = tar::Archive::new(file);
    let mut table = BTreeMap::new();
    for entry in archive.entries_with_seek().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        let name = name_of(path, &entry.path_bytes())?;
        let refused = |why| Error::Member { path: path.to_owned(), member: name.clone(), why };
        if kind.is_gnu_sparse() {
            return Err(refused("it is sparse"));
        }
        let (start, size) = (entry.raw_file_position(), entry.size());
        if start.checked_add(size).is_none_or(|end| end > length) {
            return Err(refused("it goes on after the end of the archive"));
        }
        // Links keep their name, so that it is known that they were there, and have no content.
        let span = (kind.is_file() || kind.is_contiguous()).then_some(Span { file: Place::Inside(start), size });
        table.insert(name, span);
        if table.len() > MEMBERS {
            return Err(Error::Read { path: path.to_owned(), source: io::Error::other("it has too many members") });
        }
    }
    Ok(table)
}

fn name_of(archive: &Path, bytes: &[u8]) -> Result<String, Error> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let refused = |why| Error::Member { path: archive.to_owned(), member: text.clone(), why };
    let mut parts = Vec::new();
    for part in Path::new(&text).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::ParentDir => return Err(refused("its name leads out of the archive")),
            Component::RootDir | Component::Prefix(_) => return Err(refused("its name is absolute")),
        }
    }
    Ok(parts.join("/"))
}
