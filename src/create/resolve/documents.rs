//! Indexes, manifests and configurations: from the store where they are there, else from upstream, checked either way.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::Cause;
use crate::create::fetch::blocking;
use crate::create::source::{self, DOCUMENT_LIMIT, Sources, archive};
use crate::event::Observer;
use crate::store::{self, Store};
use crate::types::{Descriptor, Digest, ImageReference, MediaType};

/// All documents of a resolution together may have this many bytes.
pub const DOCUMENTS_LIMIT: u64 = 64 << 20;

/// The documents of a run, each once.
pub struct Documents<'a> {
    sources: &'a Sources,
    store: &'a Store,
    observer: &'a dyn Observer,
    held: Mutex<BTreeMap<Digest, Vec<u8>>>,
}

/// Where an image's documents are.
#[derive(Clone, Copy)]
pub enum Holder<'a> {
    /// In a repository.
    Registry(&'a ImageReference),
    /// In an archive.
    Archive(&'a archive::Archive),
}

/// What a document is to its image: manifests and other blobs are had in different ways.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An index or manifest.
    Manifest,
    /// A configuration.
    Config,
}

impl<'a> Documents<'a> {
    /// None yet.
    pub fn new(sources: &'a Sources, store: &'a Store, observer: &'a dyn Observer) -> Self {
        Self { sources, store, observer, held: Mutex::default() }
    }

    /// All of them.
    pub fn into_inner(self) -> BTreeMap<Digest, Vec<u8>> {
        self.held.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that was brought already.
    pub fn held(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    /// What a tag means now. Asks the registry; the answer is kept.
    pub async fn tagged(&self, reference: &ImageReference) -> Result<Descriptor, Cause> {
        let bytes = self.sources.manifest(reference, self.observer).await?;
        let top = describe(reference, &bytes)?;
        self.keep(top.digest, bytes, Put::New).await?;
        Ok(top)
    }

    /// An index or manifest by its digest alone, whose size is not known.
    pub async fn pinned(&self, reference: &ImageReference, digest: Digest) -> Result<Descriptor, Cause> {
        let held = self.held(&digest);
        let stored = match held {
            Some(bytes) => Some(bytes),
            None => self.stored(&digest, None).await?,
        };
        if let Some(bytes) = stored {
            let top = describe(reference, &bytes)?;
            self.keep(digest, bytes, Put::There).await?;
            return Ok(top);
        }
        self.tagged(&reference.at(digest)).await
    }

    /// Makes sure that a document is held.
    pub async fn bring(&self, from: Holder<'_>, kind: Kind, wanted: &Descriptor) -> Result<Vec<u8>, Cause> {
        if let Some(bytes) = self.held(&wanted.digest) {
            return Ok(bytes);
        }
        if let Some(bytes) = self.stored(&wanted.digest, Some(wanted.size)).await? {
            self.keep(wanted.digest, bytes.clone(), Put::There).await?;
            return Ok(bytes);
        }
        let bytes = match (from, kind) {
            (Holder::Registry(reference), Kind::Manifest) => {
                let reference = reference.at(wanted.digest);
                let bytes = self.sources.manifest(&reference, self.observer).await?;
                if bytes.len() as u64 != wanted.size {
                    let (what, host) = (reference.to_string(), reference.registry().to_owned());
                    return Err(source::Error::Size { what, host, expected: wanted.size, got: bytes.len() as u64 }.into());
                }
                bytes
            }
            (Holder::Registry(reference), Kind::Config) => self.sources.document(reference, wanted, self.observer).await?,
            (Holder::Archive(archive), _) => archive.document(&wanted.digest).map_err(source::Error::from)?,
        };
        self.keep(wanted.digest, bytes.clone(), Put::New).await?;
        Ok(bytes)
    }

    /// A document of the store; one that turns out to be damaged is taken away, as if it were not there.
    async fn stored(&self, digest: &Digest, size: Option<u64>) -> Result<Option<Vec<u8>>, Cause> {
        let (store, digest) = (self.store.clone(), *digest);
        let read = move || {
            let Some(found) = store.size_of(&digest)? else { return Ok(None) };
            if size.is_some_and(|size| size != found) || found > DOCUMENT_LIMIT {
                return Ok(None);
            }
            match store.read(&Descriptor::new(MediaType::OCTETS, digest, found)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(store::Error::Mismatch(_)) => store.remove(&digest).map(|()| None),
                Err(error) => Err(error),
            }
        };
        Ok(blocking(read).await?)
    }

    async fn keep(&self, digest: Digest, bytes: Vec<u8>, put: Put) -> Result<(), Cause> {
        if put == Put::New {
            let (store, copy) = (self.store.clone(), bytes.clone());
            blocking(move || store.put(&copy)).await?;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(digest, bytes);
        let total: usize = held.values().map(Vec::len).sum();
        if total as u64 > DOCUMENTS_LIMIT { Err(Cause::TooManyDocuments) } else { Ok(()) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    New,
    There,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
}

/// The descriptor of an index or manifest, from its bytes alone: the same bytes are the same kind of document whoever serves them and
/// whatever a header says. Without `mediaType` (OCI allows that) it is OCI's index or manifest by its shape.
fn describe(reference: &ImageReference, bytes: &[u8]) -> Result<Descriptor, Cause> {
    let digest = Digest::of(bytes);
    let invalid = |source| crate::bundle::image::Error::Document { reference: reference.clone(), digest, source };
    let shape: Shape = serde_json::from_slice(bytes).map_err(|error| invalid(error.into()))?;
    if let Some(version) = shape.schema_version.filter(|version| *version != 2) {
        return Err(invalid(crate::types::oci::InvalidDocument::SchemaVersion(version)).into());
    }
    let by_shape = if shape.manifests.is_some() { MediaType::OCI_INDEX } else { MediaType::OCI_MANIFEST };
    Ok(Descriptor::of(shape.media_type.as_deref().unwrap_or(by_shape), bytes))
}
