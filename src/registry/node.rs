//! Content of a node: blobs in its store, names in its names directory.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::catalog::Catalog;
use super::content::{BlobReader, Content, ContentError, PIECE, Selector};
use super::names;
use super::pieces::Pieces;
use crate::fs;
use crate::store::Store;
use crate::types::{Descriptor, Digest};

/// A manifest or index is read up to this size (bundle-format.md, "Order of members").
const DOCUMENT_LIMIT: u64 = 4 << 20;

/// What a node holds. Deploys that write names while it serves are seen at the next request.
pub struct NodeContent {
    state: PathBuf,
    store: Store,
    view: Mutex<View>,
    pieces: Arc<Pieces>,
}

/// The catalog, and the names files that it was made from.
struct View {
    files: Vec<Fingerprint>,
    catalog: Arc<Catalog>,
}

/// Tells a names file from the one that replaces it: a rename brings another inode, also within one tick of the clock.
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint {
    path: PathBuf,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl NodeContent {
    /// The content below a state directory: `store/` and `registry/names/`.
    ///
    /// # Errors
    /// The store or the names cannot be read.
    pub fn open(state: &Path) -> Result<Self, ContentError> {
        let store = Store::open(state.join("store"))?;
        let files = fingerprints(state)?;
        let catalog = Arc::new(load(state, &store)?);
        Ok(Self { state: state.to_owned(), store, view: Mutex::new(View { files, catalog }), pieces: Arc::default() })
    }

    /// The catalog as of now.
    fn catalog(&self) -> Result<Arc<Catalog>, ContentError> {
        let files = fingerprints(&self.state)?;
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if view.files != files {
            view.catalog = Arc::new(load(&self.state, &self.store)?);
            view.files = files;
        }
        Ok(Arc::clone(&view.catalog))
    }
}

fn fingerprints(state: &Path) -> Result<Vec<Fingerprint>, ContentError> {
    let mut fingerprints = Vec::new();
    for path in names::files(state)? {
        if let Some(metadata) = fs::metadata(&path).map_err(names::Error::from)? {
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            fingerprints.push(Fingerprint { path, inode: metadata.ino(), modified, size: metadata.size() });
        }
    }
    Ok(fingerprints)
}

/// Builds the catalog. Where two packages give one tag two meanings, the one to which deploy moved it last has it.
fn load(state: &Path, store: &Store) -> Result<Catalog, ContentError> {
    let mut catalog = Catalog::default();
    let packages = names::read_all(state)?;
    let all = packages.iter().flat_map(|package| &package.repositories);
    let mut all: Vec<_> = all.flat_map(|(repository, list)| list.iter().map(move |name| (repository, name))).collect();
    // A tag that is there keeps its meaning; the sort keeps the order of packages.
    all.sort_by_key(|(_, name)| std::cmp::Reverse(name.moved));
    for (repository, name) in all {
        for unreadable in catalog.add(repository, name.tag.as_deref(), &name.manifest, &mut |wanted| document(store, wanted))? {
            tracing::warn!(repository, digest = %unreadable.digest, error = %unreadable.source, "a manifest cannot be read");
        }
    }
    Ok(catalog)
}

/// The bytes of a document; `None` where it is not in the store or was damaged there: the next deploy brings it again.
fn document(store: &Store, wanted: &Descriptor) -> Result<Option<Vec<u8>>, ContentError> {
    if wanted.size > DOCUMENT_LIMIT || !store.has(wanted)? {
        return Ok(None);
    }
    match store.read(wanted) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(crate::store::Error::Mismatch(mismatch)) => {
            tracing::warn!(digest = %wanted.digest, error = %mismatch, "a manifest in the store is damaged");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

impl Content for NodeContent {
    fn repositories(&self) -> Result<Vec<String>, ContentError> {
        Ok(self.catalog()?.repositories().map(str::to_owned).collect())
    }

    fn tags(&self, repository: &str) -> Result<Option<Vec<String>>, ContentError> {
        Ok(self.catalog()?.repository(repository).map(|repository| repository.tags().map(str::to_owned).collect()))
    }

    fn manifest(&self, repository: &str, selector: &Selector) -> Result<Option<Descriptor>, ContentError> {
        let catalog = self.catalog()?;
        let found = catalog.repository(repository).and_then(|repository| repository.manifest(selector)).cloned();
        match found {
            Some(manifest) if self.store.has(&manifest)? => Ok(Some(manifest)),
            _ => Ok(None),
        }
    }

    fn document(&self, manifest: &Descriptor) -> Result<Bytes, ContentError> {
        Ok(self.store.read(manifest)?.into())
    }

    /// A file of another size than the manifest says is a damaged one and is not served.
    fn blob(&self, repository: &str, digest: &Digest) -> Result<Option<Descriptor>, ContentError> {
        let catalog = self.catalog()?;
        let found = catalog.repository(repository).and_then(|repository| repository.blob(digest)).cloned();
        match found {
            Some(blob) if self.store.has(&blob)? => Ok(Some(blob)),
            _ => Ok(None),
        }
    }

    fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<Box<dyn BlobReader>, ContentError> {
        let file = self.store.file(&blob.digest)?;
        Ok(Box::new(FileReader { store: self.store.clone(), digest: blob.digest, file, range, pieces: Arc::clone(&self.pieces) }))
    }

    fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Descriptor>, ContentError> {
        let catalog = self.catalog()?;
        Ok(catalog.repository(repository).map(|repository| repository.referrers(subject).cloned().collect()).unwrap_or_default())
    }
}

/// Reads a file of the store. Its bytes were checked when they were staged, and clients check them again.
struct FileReader {
    store: Store,
    digest: Digest,
    file: File,
    range: Range<u64>,
    pieces: Arc<Pieces>,
}

impl BlobReader for FileReader {
    fn next(&mut self) -> Result<Bytes, ContentError> {
        let length = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX).min(PIECE);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let start = self.range.start;
        self.range.start += length as u64;
        Ok(self.pieces.filled(length, |buffer| self.store.read_at(&self.digest, &self.file, buffer, start))?)
    }
}
