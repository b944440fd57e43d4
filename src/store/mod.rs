//! A directory of blobs by digest: the cache of the connected side and the store of a node.
//!
//! ```text
//! ROOT/version                  "1\n"; a newer number is refused
//! ROOT/blobs/sha256/HEX         a whole blob whose digest was right when it got this name; mode 0444
//! ROOT/chunks/sha256/HEX        for a blob over 8 MiB: the 32-byte SHA-256 of each 8 MiB chunk, one after another
//! ROOT/partial/HEX              a blob that is being written, locked by its writer; what is in it is used again
//! ```
//!
//! A name in `blobs` is made by a rename after the digest was checked, so what a kill leaves is a partial file. A power loss may
//! leave a name whose content did not reach the disk, unless the writer asked for [`Store::sync`] before it relied on the blob:
//! sizes are compared whenever a blob is looked up, and every reader checks the digest again.

mod writer;

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

pub use writer::{Begun, BlobWriter, ChunkWriter, UnnamedWriter};

use crate::fs;
use crate::io::{CHUNK, VerifyingReader, read_verified};
use crate::types::{Descriptor, Digest};

/// The version of the layout that this program writes.
const VERSION: u32 = 1;

/// Why a store could not give or take a blob.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// Bytes did not come or did not go, or did not match (see [`crate::io::mismatch`]).
    #[error("cannot read blob `{digest}` from `{}`", path.display())]
    Read {
        /// Which blob.
        digest: Digest,
        /// The file.
        path: PathBuf,
        /// What the system or the check said.
        source: io::Error,
    },
    /// A partial blob cannot be written.
    #[error("cannot write blob `{digest}` to `{}`", path.display())]
    Write {
        /// Which blob.
        digest: Digest,
        /// The file.
        path: PathBuf,
        /// What the system or the check said.
        source: io::Error,
    },
    /// The bytes that came are not the blob.
    #[error(transparent)]
    Mismatch(#[from] crate::io::Mismatch),
    /// A blob that should be there is not.
    #[error("blob `{digest}` is not in `{}`", root.display())]
    Missing {
        /// Which blob.
        digest: Digest,
        /// The store.
        root: PathBuf,
    },
    /// The directory was written by a newer program.
    #[error("`{}` has layout version {found}, this program knows {VERSION}", root.display())]
    Newer {
        /// The store.
        root: PathBuf,
        /// Its version.
        found: String,
    },
}

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A directory of blobs.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens a store, and makes its directories where they are missing and can be made.
    ///
    /// A store on a read-only medium opens: its blobs can be read, and beginning one fails with the system's answer.
    ///
    /// # Errors
    /// The directory cannot be made, or is of a newer version.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let store = Self { root: root.into() };
        let version = store.root.join("version");
        match fs::read_to_string(&version, 64) {
            Ok(text) if text.trim() == VERSION.to_string() => Ok(store),
            Ok(text) => Err(Error::Newer { root: store.root, found: text.trim().to_owned() }),
            Err(error) if error.is_not_found() => {
                for directory in ["blobs/sha256", "chunks/sha256", "partial"] {
                    fs::create_dir_all(&store.root.join(directory))?;
                }
                fs::write_atomic(&version, format!("{VERSION}\n").as_bytes(), 0o644)?;
                Ok(store)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a whole blob lies. Who opens this by himself gets bytes that nobody checked.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    fn chunks_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("chunks/sha256").join(digest.hex())
    }

    fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("partial").join(digest.hex())
    }

    /// The size of a whole blob, `None` where it is not there. Reads no content.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn size_of(&self, digest: &Digest) -> Result<Option<u64>> {
        Ok(fs::metadata(&self.blob_path(digest))?.filter(std::fs::Metadata::is_file).map(|metadata| metadata.size()))
    }

    /// Whether the whole blob is there, by its name and size. Reads no content.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(self.size_of(&descriptor.digest)? == Some(descriptor.size))
    }

    /// Bytes of a blob that are there already, whole or partial: what need not be fetched again.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn bytes_present(&self, descriptor: &Descriptor) -> Result<u64> {
        if self.has(descriptor)? {
            return Ok(descriptor.size);
        }
        Ok(fs::metadata(&self.partial_path(&descriptor.digest))?.map_or(0, |metadata| metadata.size().min(descriptor.size)))
    }

    /// A reader that checks the blob while it is read.
    ///
    /// # Errors
    /// The blob is not there.
    pub fn reader(&self, descriptor: &Descriptor) -> Result<VerifyingReader<File>> {
        Ok(VerifyingReader::new(self.file(&descriptor.digest)?, descriptor))
    }

    /// A blob that was checked, in memory. For metadata, whose size the caller has limited.
    ///
    /// # Errors
    /// The blob is not there, or not what its name says.
    pub fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let file = self.file(&descriptor.digest)?;
        read_verified(file, descriptor).map_err(|source| self.read_error(&descriptor.digest, source))
    }

    /// The open file of a blob. Its bytes are unchecked: for readers that check chunk by chunk, or hand them to someone who checks.
    ///
    /// # Errors
    /// The blob is not there.
    pub fn file(&self, digest: &Digest) -> Result<File> {
        fs::open(&self.blob_path(digest))
            .map_err(|error| if error.is_not_found() { Error::Missing { digest: *digest, root: self.root.clone() } } else { error.into() })
    }

    /// The SHA-256 of each 8 MiB chunk of a blob, the last one shorter; for a blob of up to 8 MiB its own digest.
    ///
    /// They were computed from the bytes whose digest was right. Where the file that holds them is lost, the blob is read and they
    /// are written again.
    ///
    /// # Errors
    /// The blob is not there, or not what its name says.
    pub fn chunk_digests(&self, descriptor: &Descriptor) -> Result<Vec<Digest>> {
        if descriptor.size <= CHUNK {
            return Ok(vec![descriptor.digest]);
        }
        let count = usize::try_from(descriptor.size.div_ceil(CHUNK)).unwrap_or(usize::MAX);
        if let Ok(bytes) = fs::read(&self.chunks_path(&descriptor.digest), 64 << 20)
            && bytes.len() == count.saturating_mul(32)
        {
            return Ok(bytes.as_chunks::<32>().0.iter().map(|chunk| Digest::from_bytes(*chunk)).collect());
        }
        writer::hash_chunks(self, descriptor)
    }

    /// Reads `buffer.len()` bytes at `offset` of an open blob file.
    ///
    /// # Errors
    /// The file is shorter, or cannot be read.
    pub fn read_at(&self, digest: &Digest, file: &File, buffer: &mut [u8], offset: u64) -> Result<()> {
        file.read_exact_at(buffer, offset).map_err(|source| self.read_error(digest, source))
    }

    /// Begins to write a blob, or goes on where an earlier run stopped.
    ///
    /// Waits for another writer of the same blob, in this process or in another, and then most often finds it there.
    ///
    /// # Errors
    /// The partial file cannot be opened, read or locked.
    pub fn begin(&self, digest: Digest, size: u64) -> Result<Begun> {
        writer::begin(self, digest, size)
    }

    /// Begins to write a blob whose chunks come in any order, each checked by whoever brings it; `None` where the blob is there.
    ///
    /// # Errors
    /// The partial file cannot be opened or locked.
    pub fn begin_chunks(&self, digest: Digest, size: u64) -> Result<Option<ChunkWriter>> {
        writer::begin_chunks(self, digest, size)
    }

    /// Begins to write a blob whose digest is not known yet. Its partial file is named after `key`, so that a killed run leaves one file
    /// that the next run uses, and two runs take turns.
    ///
    /// # Errors
    /// The partial file cannot be opened or locked.
    pub fn begin_unnamed(&self, key: &str) -> Result<UnnamedWriter> {
        writer::begin_unnamed(self, key)
    }

    /// Stores bytes that are in memory, and gives their digest.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if let Begun::Writer(mut writer) = self.begin(digest, bytes.len() as u64)? {
            writer.restart()?;
            writer.write(bytes)?;
            writer.commit()?;
        }
        Ok(digest)
    }

    /// Takes a blob away, as one that turned out to be damaged; that it is not there is no error.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        fs::remove_file(&self.blob_path(digest))?;
        fs::remove_file(&self.chunks_path(digest))?;
        fs::remove_file(&self.partial_path(digest))?;
        Ok(())
    }

    /// All whole blobs with their sizes, sorted by digest.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>> {
        let mut blobs = Vec::new();
        for path in fs::read_dir(&self.root.join("blobs/sha256"))? {
            let digest = path.file_name().and_then(|name| name.to_str()).and_then(|name| Digest::from_hex(name).ok());
            if let Some(digest) = digest
                && let Some(size) = self.size_of(&digest)?
            {
                blobs.push((digest, size));
            }
        }
        Ok(blobs)
    }

    /// Flushes everything that was written to this store (and to its file system) to the disk.
    ///
    /// # Errors
    /// The system could not.
    pub fn sync(&self) -> Result<()> {
        Ok(fs::sync_file_system(&self.root)?)
    }

    fn read_error(&self, digest: &Digest, source: io::Error) -> Error {
        match crate::io::mismatch(&source) {
            Some(mismatch) => Error::Mismatch(mismatch.clone()),
            None => Error::Read { digest: *digest, path: self.blob_path(digest), source },
        }
    }
}
