//! Content of bundle files, read in place: nothing is written, and no byte is sent before its chunk was checked against the signed root.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::catalog::Catalog;
use super::content::{BlobReader, Content, ContentError, PIECE, Selector};
use super::pieces::Pieces;
use crate::bundle::VerifiedBundle;
use crate::io::CHUNK;
use crate::types::{Descriptor, Digest};

/// Checked chunks that are kept for the next piece, all connections together: 64 MiB.
const CHUNKS: usize = 8;

/// The images of one or more verified bundles. Where two of them give one tag two meanings, the first one wins.
pub struct BundleContent {
    shared: Arc<Shared>,
    catalog: Catalog,
}

struct Shared {
    bundles: Vec<VerifiedBundle>,
    /// Which bundle holds a content blob.
    holders: BTreeMap<Digest, usize>,
    /// Checked chunks by blob and number, the one used last at the back.
    chunks: Mutex<VecDeque<((Digest, u64), Bytes)>>,
    pieces: Arc<Pieces>,
}

impl BundleContent {
    /// The content of these bundles. Reads nothing but what verifying them has read already.
    pub fn new(bundles: Vec<VerifiedBundle>) -> Self {
        let mut catalog = Catalog::default();
        let mut holders = BTreeMap::new();
        for (n, bundle) in bundles.iter().enumerate() {
            for blob in bundle.content() {
                holders.entry(blob.digest).or_insert(n);
            }
            let mut document = |wanted: &Descriptor| Ok::<_, std::convert::Infallible>(bundle.document(&wanted.digest).map(<[u8]>::to_vec));
            for image in bundle.images() {
                let repository = image.reference.mirrored_repository();
                let Ok(unreadable) = catalog.add(&repository, image.reference.tag(), &image.top, &mut document);
                for unreadable in unreadable {
                    tracing::warn!(repository, digest = %unreadable.digest, error = %unreadable.source, "a manifest cannot be read");
                }
            }
        }
        Self { shared: Arc::new(Shared { bundles, holders, chunks: Mutex::default(), pieces: Arc::default() }), catalog }
    }
}

impl Shared {
    fn document(&self, digest: &Digest) -> Option<Bytes> {
        self.bundles.iter().find_map(|bundle| bundle.document(digest)).map(Bytes::copy_from_slice)
    }

    fn holds(&self, digest: &Digest) -> bool {
        self.holders.contains_key(digest) || self.bundles.iter().any(|bundle| bundle.document(digest).is_some())
    }

    /// A checked chunk of a content blob. Two connections that miss it at once both read it; the lock is not held meanwhile.
    fn chunk(&self, blob: &Descriptor, number: u64) -> Result<Bytes, ContentError> {
        let key = (blob.digest, number);
        let lock = || self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, chunk)) = lock().iter().find(|(held, _)| *held == key) {
            return Ok(chunk.clone());
        }
        let start = number * CHUNK;
        let length = usize::try_from((blob.size - start).min(CHUNK)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; length];
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ContentError::Bundle { digest: blob.digest, source };
        let bundle = self.holders.get(&blob.digest).and_then(|n| self.bundles.get(*n)).ok_or_else(|| failed("it is not carried".into()))?;
        let read = bundle.read_range(blob, start, &mut buffer).map_err(|error| failed(Box::new(error)))?;
        if read != length {
            return Err(failed("it ends early".into()));
        }
        let chunk = Bytes::from(buffer);
        let mut chunks = lock();
        if chunks.len() == CHUNKS {
            chunks.pop_front();
        }
        chunks.push_back((key, chunk.clone()));
        Ok(chunk)
    }
}

impl Content for BundleContent {
    fn repositories(&self) -> Result<Vec<String>, ContentError> {
        Ok(self.catalog.repositories().map(str::to_owned).collect())
    }

    fn tags(&self, repository: &str) -> Result<Option<Vec<String>>, ContentError> {
        Ok(self.catalog.repository(repository).map(|repository| repository.tags().map(str::to_owned).collect()))
    }

    fn manifest(&self, repository: &str, selector: &Selector) -> Result<Option<Descriptor>, ContentError> {
        Ok(self.catalog.repository(repository).and_then(|repository| repository.manifest(selector)).cloned())
    }

    fn document(&self, manifest: &Descriptor) -> Result<Bytes, ContentError> {
        let missing = || ContentError::Bundle { digest: manifest.digest, source: "it is not carried".into() };
        self.shared.document(&manifest.digest).ok_or_else(missing)
    }

    fn blob(&self, repository: &str, digest: &Digest) -> Result<Option<Descriptor>, ContentError> {
        let found = self.catalog.repository(repository).and_then(|repository| repository.blob(digest));
        Ok(found.filter(|blob| self.shared.holds(&blob.digest)).cloned())
    }

    fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<Box<dyn BlobReader>, ContentError> {
        Ok(Box::new(PieceReader { shared: Arc::clone(&self.shared), blob: blob.clone(), range }))
    }

    fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Descriptor>, ContentError> {
        Ok(self.catalog.repository(repository).map(|repository| repository.referrers(subject).cloned().collect()).unwrap_or_default())
    }
}

/// Gives pieces of checked chunks. A piece is a copy, so that a slow client keeps a piece in memory and not its chunk.
struct PieceReader {
    shared: Arc<Shared>,
    blob: Descriptor,
    range: Range<u64>,
}

impl BlobReader for PieceReader {
    fn next(&mut self) -> Result<Bytes, ContentError> {
        if self.range.is_empty() {
            return Ok(Bytes::new());
        }
        let (source, offset) = match self.shared.document(&self.blob.digest) {
            Some(document) => (document, self.range.start),
            None => (self.shared.chunk(&self.blob, self.range.start / CHUNK)?, self.range.start % CHUNK),
        };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let wanted = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX).min(PIECE);
        let end = offset.saturating_add(wanted).min(source.len());
        let part = source.get(offset..end).unwrap_or_default();
        self.range.start += part.len() as u64;
        let Ok(piece) = self.shared.pieces.filled(part.len(), |buffer| {
            buffer.copy_from_slice(part);
            Ok::<_, std::convert::Infallible>(())
        });
        Ok(piece)
    }
}
