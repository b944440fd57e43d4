//! Readers and writers that verify, limit and count.
//!
//! [`VerifyingReader`] is how content is read everywhere: it fails on a byte too many, a byte too few, and a digest that differs,
//! and it fails before it reports the end, so that nobody takes a truncated blob for a whole one.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use crate::types::{Descriptor, Digest};

/// Content is cut into chunks of this many bytes: one zstd frame, one digest in the package's configuration, one unit of parallel work.
pub const CHUNK: u64 = 8 << 20;

/// What is wrong with content that does not match its descriptor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It ended early.
    #[error("blob `{digest}` ends after {got} bytes, it should have {expected}")]
    Short {
        /// Which blob.
        digest: Digest,
        /// Bytes that came.
        got: u64,
        /// Bytes that its descriptor names.
        expected: u64,
    },
    /// It goes on after its end.
    #[error("blob `{digest}` has more than the {expected} bytes that it should have")]
    Long {
        /// Which blob.
        digest: Digest,
        /// Bytes that its descriptor names.
        expected: u64,
    },
    /// It has the right length and other bytes.
    #[error("blob `{expected}` has other content: its digest is `{got}`")]
    Digest {
        /// What was read.
        got: Digest,
        /// What its descriptor names.
        expected: Digest,
    },
}

impl From<Mismatch> for io::Error {
    fn from(mismatch: Mismatch) -> Self {
        Self::new(io::ErrorKind::InvalidData, mismatch)
    }
}

/// The [`Mismatch`] inside an I/O error, where that is what it is.
#[must_use]
pub fn mismatch(error: &io::Error) -> Option<&Mismatch> {
    error.get_ref()?.downcast_ref()
}

/// Reads exactly the blob that a descriptor names.
///
/// Bytes are handed out as they come: whoever acts on them before the end must be able to take it back. The end (`Ok(0)`) is only
/// reported after length and digest were found right.
pub struct VerifyingReader<R> {
    inner: R,
    digest: Digest,
    size: u64,
    read: u64,
    hasher: Option<Sha256>,
}

impl<R: Read> VerifyingReader<R> {
    /// A reader for the blob of `descriptor` out of `inner`.
    pub fn new(inner: R, descriptor: &Descriptor) -> Self {
        Self { inner, digest: descriptor.digest, size: descriptor.size, read: 0, hasher: Some(Sha256::new()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.read < self.size {
            return Err(Mismatch::Short { digest: self.digest, got: self.read, expected: self.size }.into());
        }
        if let Some(hasher) = self.hasher.take() {
            let got = Digest::from_bytes(hasher.finalize().into());
            if got != self.digest {
                self.hasher = Some(Sha256::new());
                return Err(Mismatch::Digest { got, expected: self.digest }.into());
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let n = self.inner.read(buffer)?;
        if n == 0 {
            self.finish()?;
            return Ok(0);
        }
        self.read += n as u64;
        if self.read > self.size {
            return Err(Mismatch::Long { digest: self.digest, expected: self.size }.into());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..n]);
        }
        Ok(n)
    }
}

/// Reads a whole blob into memory, for metadata whose size is under a limit that the caller has checked.
///
/// # Errors
/// What the reader says, and a [`Mismatch`].
pub fn read_verified(reader: impl Read, descriptor: &Descriptor) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(descriptor.size.min(CHUNK)).unwrap_or(0));
    VerifyingReader::new(reader, descriptor).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Hashes what is written through it.
pub struct HashingWriter<W> {
    inner: W,
    hasher: Sha256,
    written: u64,
}

impl<W: Write> HashingWriter<W> {
    /// Wraps a writer.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), written: 0 }
    }

    /// The writer, the digest and the number of bytes.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest::from_bytes(self.hasher.finalize().into()), self.written)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_blob_that_was_named() {
        let descriptor = Descriptor::of("x", b"hello");
        assert_eq!(read_verified(&b"hello"[..], &descriptor).unwrap(), b"hello");
    }

    #[test]
    fn fails_on_short_long_and_other_content() {
        let descriptor = Descriptor::of("x", b"hello");
        let error = |bytes: &'static [u8]| mismatch(&read_verified(bytes, &descriptor).unwrap_err()).unwrap().clone();
        assert_eq!(error(b"hell"), Mismatch::Short { digest: descriptor.digest, got: 4, expected: 5 });
        assert_eq!(error(b"hello!"), Mismatch::Long { digest: descriptor.digest, expected: 5 });
        assert_eq!(error(b"hellO"), Mismatch::Digest { got: Digest::of(b"hellO"), expected: descriptor.digest });
    }

    #[test]
    fn fails_again_when_asked_again() {
        let descriptor = Descriptor::of("x", b"hello");
        let mut reader = VerifyingReader::new(&b"hellO"[..], &descriptor);
        let mut bytes = Vec::new();
        assert!(reader.read_to_end(&mut bytes).is_err());
        assert!(reader.read_to_end(&mut bytes).is_err());
    }
}
