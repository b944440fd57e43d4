//! Writing blobs: in order with a running digest ([`BlobWriter`]), or chunk by chunk ([`ChunkWriter`]).

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use rustix::fs::FlockOperation;
use sha2::{Digest as _, Sha256};

use super::{Error, Result, Store};
use crate::fs;
use crate::io::{CHUNK, Mismatch};
use crate::types::{Descriptor, Digest};

/// What [`Store::begin`] found.
pub enum Begun {
    /// The blob is there.
    Present,
    /// It is to be written, from [`BlobWriter::offset`] on.
    Writer(Box<BlobWriter>),
}

/// Writes one blob from its beginning to its end and checks it. Dropping it keeps what was written for the next run.
pub struct BlobWriter {
    store: Store,
    digest: Digest,
    size: u64,
    file: File,
    hashes: Hashes,
}

pub(super) fn begin(store: &Store, digest: Digest, size: u64) -> Result<Begun> {
    let Some(file) = lock_partial(store, digest, size)? else { return Ok(Begun::Present) };
    let mut writer = BlobWriter { store: store.clone(), digest, size, file, hashes: Hashes::for_size(size) };
    writer.hash_what_is_there()?;
    Ok(Begun::Writer(Box::new(writer)))
}

/// The partial file, locked for this writer; `None` where the blob is there.
fn lock_partial(store: &Store, digest: Digest, size: u64) -> Result<Option<File>> {
    let path = store.partial_path(&digest);
    loop {
        if store.size_of(&digest)? == Some(size) {
            return Ok(None);
        }
        let file = fs::open_read_write(&path, 0o600)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|error| fs::Error::new("lock", &path, error.into()))?;
        // Whoever held the lock may have renamed or removed the file meanwhile: then this is a lock on something without a name.
        let named = fs::metadata(&path)?.map(|metadata| (metadata.dev(), metadata.ino()));
        let locked =
            file.metadata().map(|metadata| (metadata.dev(), metadata.ino())).map_err(|error| fs::Error::new("look at", &path, error))?;
        if named == Some(locked) {
            return Ok(Some(file));
        }
    }
}

impl BlobWriter {
    /// How many bytes are written: where the source should go on.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.hashes.bytes
    }

    /// Starts over at byte 0, for a source that cannot go on in the middle.
    ///
    /// # Errors
    /// The file cannot be truncated.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|source| self.error(source))?;
        std::io::Seek::rewind(&mut self.file).map_err(|source| self.error(source))?;
        self.hashes = Hashes::for_size(self.size);
        Ok(())
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// They cannot be written, or are more than the blob has.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.hashes.bytes + bytes.len() as u64 > self.size {
            return Err(Mismatch::Long { digest: self.digest, expected: self.size }.into());
        }
        self.file.write_all(bytes).map_err(|source| self.error(source))?;
        self.hashes.update(bytes);
        Ok(())
    }

    /// Checks length and digest and gives the blob its name. Bytes that are wrong are thrown away; bytes that are missing are not.
    ///
    /// # Errors
    /// A [`Mismatch`], or the file cannot be renamed.
    pub fn commit(mut self) -> Result<()> {
        if self.hashes.bytes < self.size {
            return Err(Mismatch::Short { digest: self.digest, got: self.hashes.bytes, expected: self.size }.into());
        }
        let (got, chunks) = std::mem::replace(&mut self.hashes, Hashes::for_size(self.size)).finish();
        if got != self.digest {
            self.restart()?;
            fs::remove_file(&self.store.partial_path(&self.digest))?;
            return Err(Mismatch::Digest { got, expected: self.digest }.into());
        }
        if self.size > CHUNK {
            write_chunks(&self.store, &self.digest, &chunks)?;
        }
        publish(&self.store, &self.digest)
    }

    fn hash_what_is_there(&mut self) -> Result<()> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let n = self.file.read(&mut buffer).map_err(|source| self.error(source))?;
            if n == 0 {
                return Ok(());
            }
            self.hashes.update(&buffer[..n]);
            if self.hashes.bytes > self.size {
                return self.restart();
            }
        }
    }

    fn error(&self, source: std::io::Error) -> Error {
        Error::Write { digest: self.digest, path: self.store.partial_path(&self.digest), source }
    }
}

/// Writes one blob whose chunks come in any order and from several threads. The caller has checked each chunk against a digest that
/// a signature covers; the blob gets its name when all are there.
pub struct ChunkWriter {
    store: Store,
    digest: Digest,
    size: u64,
    file: File,
}

pub(super) fn begin_chunks(store: &Store, digest: Digest, size: u64) -> Result<Option<ChunkWriter>> {
    let Some(file) = lock_partial(store, digest, size)? else { return Ok(None) };
    let writer = ChunkWriter { store: store.clone(), digest, size, file };
    writer.file.set_len(size).map_err(|source| writer.error(source))?;
    Ok(Some(writer))
}

impl ChunkWriter {
    /// Writes a checked chunk at its place.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|source| self.error(source))
    }

    /// Gives the blob its name. `chunks` are the digests that the caller checked against, in order.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn commit(self, chunks: &[Digest]) -> Result<()> {
        if self.size > CHUNK {
            write_chunks(&self.store, &self.digest, chunks)?;
        }
        publish(&self.store, &self.digest)
    }

    fn error(&self, source: std::io::Error) -> Error {
        Error::Write { digest: self.digest, path: self.store.partial_path(&self.digest), source }
    }
}

fn publish(store: &Store, digest: &Digest) -> Result<()> {
    let partial = store.partial_path(digest);
    fs::set_mode(&partial, 0o444)?;
    Ok(fs::rename(&partial, &store.blob_path(digest))?)
}

fn write_chunks(store: &Store, digest: &Digest, chunks: &[Digest]) -> Result<()> {
    let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| *chunk.as_bytes()).collect();
    Ok(fs::write_atomic(&store.chunks_path(digest), &bytes, 0o444)?)
}

/// Reads a whole blob, checks it, and writes its chunk digests again.
pub(super) fn hash_chunks(store: &Store, descriptor: &Descriptor) -> Result<Vec<Digest>> {
    let mut reader = store.reader(descriptor)?;
    let mut hashes = Hashes::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = reader.read(&mut buffer).map_err(|source| store.read_error(&descriptor.digest, source))?;
        if n == 0 {
            break;
        }
        hashes.update(&buffer[..n]);
    }
    let (_, chunks) = hashes.finish();
    // A cache on a read-only medium still serves: the digests are then computed each time.
    match write_chunks(store, &descriptor.digest, &chunks) {
        Err(Error::File(error)) if error.source.kind() == std::io::ErrorKind::ReadOnlyFilesystem => Ok(chunks),
        other => other.map(|()| chunks),
    }
}

/// Writes one blob whose digest is not known before it is whole: a file by URL that was never seen. See [`Store::begin_unnamed`].
pub struct UnnamedWriter {
    store: Store,
    partial: Digest,
    file: File,
    hashes: Hashes,
}

pub(super) fn begin_unnamed(store: &Store, key: &str) -> Result<UnnamedWriter> {
    let partial = Digest::of(key.as_bytes());
    // No blob has this size, so that what is locked is always a partial file.
    let Some(file) = lock_partial(store, partial, u64::MAX)? else {
        return Err(Error::Missing { digest: partial, root: store.root.clone() });
    };
    let mut writer = UnnamedWriter { store: store.clone(), partial, file, hashes: Hashes::new() };
    writer.restart()?;
    Ok(writer)
}

impl UnnamedWriter {
    /// Starts over at byte 0.
    ///
    /// # Errors
    /// The file cannot be truncated.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|source| self.error(source))?;
        std::io::Seek::rewind(&mut self.file).map_err(|source| self.error(source))?;
        self.hashes = Hashes::new();
        Ok(())
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|source| self.error(source))?;
        self.hashes.update(bytes);
        Ok(())
    }

    /// Gives the blob the name that its bytes have.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn commit(mut self) -> Result<(Digest, u64)> {
        let size = self.hashes.bytes;
        let (digest, chunks) = std::mem::replace(&mut self.hashes, Hashes::new()).finish();
        let partial = self.store.partial_path(&self.partial);
        if self.store.size_of(&digest)? == Some(size) {
            fs::remove_file(&partial)?;
            return Ok((digest, size));
        }
        if size > CHUNK {
            write_chunks(&self.store, &digest, &chunks)?;
        }
        fs::set_mode(&partial, 0o444)?;
        fs::rename(&partial, &self.store.blob_path(&digest))?;
        Ok((digest, size))
    }

    fn error(&self, source: std::io::Error) -> Error {
        Error::Write { digest: self.partial, path: self.store.partial_path(&self.partial), source }
    }
}

/// The digest of all bytes and, for a blob that has more than one, of each chunk; all running.
struct Hashes {
    all: Sha256,
    chunk: Option<Sha256>,
    chunks: Vec<Digest>,
    bytes: u64,
}

impl Hashes {
    fn new() -> Self {
        Self { all: Sha256::new(), chunk: Some(Sha256::new()), chunks: Vec::new(), bytes: 0 }
    }

    /// The one chunk of a small blob has the digest of the whole: it is not hashed twice.
    fn for_size(size: u64) -> Self {
        let chunk = (size > CHUNK).then(Sha256::new);
        Self { all: Sha256::new(), chunk, chunks: Vec::new(), bytes: 0 }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        self.all.update(bytes);
        let Some(chunk) = &mut self.chunk else {
            self.bytes += bytes.len() as u64;
            return;
        };
        while !bytes.is_empty() {
            let room = usize::try_from(CHUNK - self.bytes % CHUNK).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            chunk.update(now);
            self.bytes += now.len() as u64;
            if self.bytes.is_multiple_of(CHUNK) {
                self.chunks.push(Digest::from_bytes(chunk.finalize_reset().into()));
            }
            bytes = rest;
        }
    }

    fn finish(mut self) -> (Digest, Vec<Digest>) {
        if let Some(chunk) = self.chunk
            && !self.bytes.is_multiple_of(CHUNK)
        {
            self.chunks.push(Digest::from_bytes(chunk.finalize().into()));
        }
        (Digest::from_bytes(self.all.finalize().into()), self.chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        (directory, store)
    }

    fn writer(store: &Store, digest: Digest, size: u64) -> Box<BlobWriter> {
        match store.begin(digest, size).unwrap() {
            Begun::Writer(writer) => writer,
            Begun::Present => panic!("the blob is there"),
        }
    }

    #[test]
    fn goes_on_where_a_dropped_writer_stopped() {
        let (_directory, store) = store();
        let descriptor = Descriptor::of("x", b"hello world");
        writer(&store, descriptor.digest, 11).write(b"hello ").unwrap();
        assert_eq!(store.bytes_present(&descriptor).unwrap(), 6);
        let mut second = writer(&store, descriptor.digest, 11);
        assert_eq!(second.offset(), 6);
        second.write(b"world").unwrap();
        second.commit().unwrap();
        assert_eq!(store.read(&descriptor).unwrap(), b"hello world");
        assert!(matches!(store.begin(descriptor.digest, 11).unwrap(), Begun::Present));
    }

    #[test]
    fn throws_wrong_bytes_away_and_keeps_missing_ones_open() {
        let (_directory, store) = store();
        let descriptor = Descriptor::of("x", b"hello");
        let mut wrong = writer(&store, descriptor.digest, 5);
        wrong.write(b"hellO").unwrap();
        assert!(matches!(wrong.commit(), Err(Error::Mismatch(Mismatch::Digest { .. }))));
        assert_eq!(store.bytes_present(&descriptor).unwrap(), 0);
        let mut short = writer(&store, descriptor.digest, 5);
        short.write(b"hel").unwrap();
        assert!(matches!(short.commit(), Err(Error::Mismatch(Mismatch::Short { .. }))));
        assert_eq!(writer(&store, descriptor.digest, 5).offset(), 3);
        assert!(!store.has(&descriptor).unwrap());
    }

    #[test]
    fn two_writers_of_one_blob_take_turns() {
        let (_directory, store) = store();
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let descriptor = Descriptor::of("x", &bytes);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| store.put(&bytes).unwrap());
            }
        });
        assert_eq!(store.read(&descriptor).unwrap(), bytes);
    }

    #[test]
    fn knows_the_digest_of_each_chunk_also_when_the_file_that_held_them_is_lost() {
        let (_directory, store) = store();
        let chunk = usize::try_from(CHUNK).unwrap();
        let bytes: Vec<u8> = (0..chunk * 2 + 5).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let descriptor = Descriptor::of("x", &bytes);
        store.put(&bytes).unwrap();
        let expected: Vec<Digest> = bytes.chunks(chunk).map(Digest::of).collect();
        assert_eq!(store.chunk_digests(&descriptor).unwrap(), expected);
        fs::remove_file(&store.chunks_path(&descriptor.digest)).unwrap();
        assert_eq!(store.chunk_digests(&descriptor).unwrap(), expected);
    }

    #[test]
    fn a_blob_gets_the_name_that_its_bytes_have() {
        let (_directory, store) = store();
        let chunk = usize::try_from(CHUNK).unwrap();
        for bytes in [b"small".to_vec(), vec![7; chunk + 5]] {
            for _ in 0..2 {
                let mut writer = store.begin_unnamed("https://files.example/a").unwrap();
                writer.write(b"thrown away").unwrap();
                writer.restart().unwrap();
                writer.write(&bytes).unwrap();
                let (digest, size) = writer.commit().unwrap();
                let descriptor = Descriptor::of("x", &bytes);
                assert_eq!((digest, size), (descriptor.digest, descriptor.size));
                assert_eq!(store.read(&descriptor).unwrap(), bytes);
                assert_eq!(fs::read_dir(&store.root().join("partial")).unwrap(), Vec::<std::path::PathBuf>::new());
            }
        }
    }

    #[test]
    fn chunks_may_come_in_any_order() {
        let (_directory, store) = store();
        let chunk = usize::try_from(CHUNK).unwrap();
        let bytes: Vec<u8> = (0..chunk + 5).map(|n| u8::try_from(n % 13).unwrap()).collect();
        let descriptor = Descriptor::of("x", &bytes);
        let writer = store.begin_chunks(descriptor.digest, descriptor.size).unwrap().unwrap();
        writer.write_at(&bytes[chunk..], CHUNK).unwrap();
        writer.write_at(&bytes[..chunk], 0).unwrap();
        writer.commit(&bytes.chunks(chunk).map(Digest::of).collect::<Vec<_>>()).unwrap();
        assert_eq!(store.read(&descriptor).unwrap(), bytes);
    }

    #[test]
    fn refuses_the_layout_of_a_newer_program() {
        let (directory, store) = store();
        fs::write_atomic(&store.root().join("version"), b"2\n", 0o644).unwrap();
        assert!(matches!(Store::open(directory.path().join("store")), Err(Error::Newer { .. })));
    }
}
