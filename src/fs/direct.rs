//! Writing a large file past the page cache.
//!
//! A bundle is written once and carried away. Through the page cache each byte would be copied into memory that is taken from the
//! cached blobs that are still to be read, and all of it would wait for the flush at the end; written directly (`O_DIRECT`, open(2)),
//! the disk works while the next frames are made. A file system that knows no direct writes gets ordinary ones.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::OFlags;

/// Bytes that are written at once. The disk sees few large requests, and a short tail goes the ordinary way.
const BLOCK: usize = 4 << 20;
/// What address, offset and length of a direct write are multiples of: the page, which no block device's sector exceeds.
const ALIGNMENT: usize = 4096;

/// Collects bytes into large aligned blocks and writes those directly. What is left is written by [`Write::flush`].
pub struct DirectWriter<'a> {
    file: &'a File,
    buffer: Vec<u8>,
    /// Where the aligned block begins in the buffer.
    start: usize,
    /// Where the bytes that are not written yet end.
    end: usize,
    direct: bool,
}

impl<'a> DirectWriter<'a> {
    /// Writes to a file that nobody else writes to, from its present position on, which is its beginning.
    #[must_use]
    pub fn new(file: &'a File) -> Self {
        let buffer = vec![0; BLOCK + ALIGNMENT];
        let start = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { file, buffer, start, end: start, direct: set_direct(file, true).is_ok() }
    }

    fn write_out(&mut self) -> io::Result<()> {
        let mut at = self.start;
        while at < self.end {
            match self.file.write(&self.buffer[at..self.end]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => at += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The device wants another alignment, or a part of the last block was written: an ordinary write takes anything.
                Err(error) if self.direct && error.kind() == io::ErrorKind::InvalidInput => self.end_direct()?,
                Err(error) => return Err(error),
            }
        }
        self.end = self.start;
        Ok(())
    }

    fn end_direct(&mut self) -> io::Result<()> {
        self.direct = false;
        set_direct(self.file, false)
    }
}

impl Write for DirectWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.start + BLOCK - self.end;
        let n = bytes.len().min(room);
        self.buffer[self.end..self.end + n].copy_from_slice(&bytes[..n]);
        self.end += n;
        if n == room {
            self.write_out()?;
        }
        Ok(n)
    }

    /// Writes what is left, the ordinary way.
    fn flush(&mut self) -> io::Result<()> {
        if self.direct {
            self.end_direct()?;
        }
        self.write_out()
    }
}

fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    let mut flags = rustix::fs::fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(rustix::fs::fcntl_setfl(file, flags)?)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn written(directory: &std::path::Path, pieces: &[usize]) {
        let mut file = tempfile::NamedTempFile::new_in(directory).unwrap();
        let mut expected = Vec::new();
        let mut writer = DirectWriter::new(file.as_file());
        for (number, len) in pieces.iter().enumerate() {
            let piece: Vec<u8> = (0..*len).map(|at| u8::try_from((at * 7 + number) % 251).unwrap()).collect();
            writer.write_all(&piece).unwrap();
            expected.extend(piece);
        }
        writer.flush().unwrap();
        drop(writer);
        let mut got = Vec::new();
        file.reopen().unwrap().read_to_end(&mut got).unwrap();
        assert!(got == expected, "{} bytes of {} in {pieces:?}", got.len(), expected.len());
        // What is written later through the same file is as ordinary as before.
        file.write_all(b"x").unwrap();
    }

    #[test]
    fn writes_what_it_was_given_whatever_the_lengths() {
        // A disk on most machines; and memory, which older kernels do not write to directly.
        let directories = [std::env::temp_dir(), "/dev/shm".into()];
        for directory in directories.iter().filter(|directory| directory.is_dir()) {
            for pieces in [&[][..], &[1], &[BLOCK], &[BLOCK - 1, 1], &[3, BLOCK, BLOCK * 2 + 5], &[BLOCK * 3, 4095]] {
                written(directory, pieces);
            }
        }
    }

    #[test]
    fn a_file_that_takes_no_direct_write_gets_an_ordinary_one() {
        // At an offset that is no multiple of the alignment every direct write is refused with EINVAL.
        let directory = tempfile::tempdir().unwrap();
        let file = tempfile::tempfile_in(directory.path()).unwrap();
        (&file).write_all(b"abc").unwrap();
        let mut writer = DirectWriter::new(&file);
        writer.write_all(&vec![7; BLOCK + 1]).unwrap();
        writer.flush().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3 + BLOCK as u64 + 1);
    }
}
