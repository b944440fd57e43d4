//! What the machine can do at most with the same bytes.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::measure::measure;
use crate::child;

/// Seconds of wall time, each on all cores.
pub struct Limits {
    /// SHA-256 of everything that is carried.
    pub sha256: f64,
    /// `zstd -3` of what is not compressed yet.
    pub zstd: f64,
    /// Reading everything, from the page cache.
    pub read: f64,
    /// Writing as many bytes as the bundle has, with fsync: through the page cache or past it, whichever is faster.
    pub write: f64,
}

impl Limits {
    /// What no create can be faster than (targets.md).
    pub fn create(&self) -> f64 {
        (self.sha256 + self.zstd).max(self.read).max(self.write)
    }
}

/// Measures them.
pub fn rows(content: &[PathBuf], compressible: &[PathBuf], place: &Path, bundle: &Path) -> Result<Limits> {
    let read = timed(|| on_all_cores(content, |_| {}))?;
    let sha256 = sha256(content)?;
    let mut zstd = child::command("zstd");
    zstd.args(["-q", "-3", "-T0", "-c"]).args(compressible);
    let (usage, said) = measure(&mut zstd, place, None)?;
    anyhow::ensure!(usage.success, "zstd failed: {said}");
    let length = bundle.metadata()?.len();
    let write = timed(|| write(place, length, false))?.min(timed(|| write(place, length, true))?);
    Ok(Limits { sha256, zstd: usage.wall, read, write })
}

/// Seconds that all cores take for SHA-256 of files that were read before.
pub fn sha256(files: &[PathBuf]) -> Result<f64> {
    let hash = || {
        on_all_cores(files, |bytes| {
            std::hint::black_box(Sha256::digest(bytes));
        })
    };
    // The faster of two: a limit that is too high would flatter us.
    Ok(timed(hash)?.min(timed(hash)?))
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Gives every file's bytes, in pieces of 8 MiB, to one of as many threads as there are cores.
fn on_all_cores(files: &[PathBuf], with: impl Fn(&[u8]) + Sync) -> Result<()> {
    let mut pieces = Vec::new();
    for path in files {
        let length = path.metadata().with_context(|| path.display().to_string())?.len();
        pieces.extend((0..length.div_ceil(PIECE)).map(|number| (path, number * PIECE)));
    }
    let next = AtomicUsize::new(0);
    let worker = || -> Result<()> {
        let mut buffer = Vec::new();
        while let Some((path, offset)) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut file = std::fs::File::open(path)?;
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(*offset))?;
            buffer.clear();
            file.take(PIECE).read_to_end(&mut buffer)?;
            with(&buffer);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..super::cores()).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread ended early"))))
    })
}

const PIECE: u64 = 8 << 20;

fn write(place: &Path, length: u64, direct: bool) -> Result<()> {
    let mut file = tempfile::tempfile_in(place)?;
    if direct {
        let flags = rustix::fs::fcntl_getfl(&file)? | rustix::fs::OFlags::DIRECT;
        rustix::fs::fcntl_setfl(&file, flags).context("no direct writes here")?;
    }
    // Direct writes want whole pages, in memory and in the file.
    let buffer = vec![0x5a; (PIECE + PAGE).try_into()?];
    let start = buffer.as_ptr().align_offset(PAGE.try_into()?);
    let mut left = length.next_multiple_of(PAGE);
    while left > 0 {
        let part = left.min(PIECE);
        file.write_all(&buffer[start..start + usize::try_from(part)?])?;
        left -= part;
    }
    Ok(file.sync_all()?)
}

const PAGE: u64 = 4096;
