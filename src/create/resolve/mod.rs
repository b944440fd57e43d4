//! Package → Resolution: what every reference means, for every platform, before any content is fetched.
//!
//! ```text
//! Package ─┬─ images ─ lock or tag ─► top ─► index, manifests, configurations ─► ImageTree ─┐
//!          │                        (store, else registry or archive)                      ├─► Resolution
//!          └─ files ── sha256, lock, or the bytes themselves ─► digest and size ────────────┘
//! ```
//!
//! All entries are resolved at once and all failures are reported together: a typo in the last image costs a second, not an hour.
//! With a lock nobody is asked what a tag means, and with all documents in the store nobody is asked anything.

mod documents;
mod files;
mod images;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use futures_util::future::join_all;

pub use self::documents::DOCUMENTS_LIMIT;
use self::documents::Documents;
use super::definition::package::{FileOrigin, ImageOrigin, Location, Package};
use super::lock::Lock;
use super::resolution::{Resolution, ResolvedFile, ResolvedImage};
use super::source::{self, Sources};
use crate::bundle::image;
use crate::event::{Event, Observer, Stage};
use crate::fs;
use crate::store::{self, Store};
use crate::types::{ComponentName, Digest, ImageReference, MediaType, Platform};

/// Everything that could not be resolved.
#[derive(Debug)]
pub struct Error {
    /// The definition.
    pub file: PathBuf,
    /// At least one, in the order of the definition.
    pub failures: Vec<Failure>,
}

/// An entry that could not be resolved.
#[derive(Debug)]
pub struct Failure {
    /// Where it is written.
    pub at: Location,
    /// In which component.
    pub component: ComponentName,
    /// Why.
    pub cause: Cause,
}

/// Why an entry could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The upstream or archive did not give it.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The image is not what is wanted.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// A layer that may not be passed on.
    #[error("`{reference}` has the layer `{digest}` of type `{media_type}`, which may not be passed on")]
    Foreign {
        /// The image.
        reference: ImageReference,
        /// The layer.
        digest: Digest,
        /// What it says it is.
        media_type: MediaType,
    },
    /// A file has other bytes than its author says.
    #[error("`{what}` has the digest `{got}`, the definition says `{expected}`")]
    Differs {
        /// URL or path.
        what: String,
        /// What the definition says.
        expected: Digest,
        /// What it has.
        got: Digest,
    },
    /// A directory or device where a file should be.
    #[error("`{}` is no file", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// Indexes, manifests and configurations do not fit the memory that they may have.
    #[error("the indexes, manifests and configurations of all images have more than {DOCUMENTS_LIMIT} bytes")]
    TooManyDocuments,
    /// A local file cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The cache cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failures.as_slice() {
            [failure] => fmt::Display::fmt(&failure.cause, f),
            failures => write!(f, "{} entries of `{}` cannot be resolved", failures.len(), self.file.display()),
        }
    }
}

impl std::error::Error for Error {
    /// Of a single failure; several are told one by one.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.failures.as_slice() {
            [failure] => std::error::Error::source(&failure.cause),
            _ => None,
        }
    }
}

/// Resolves every entry of a package.
pub async fn resolve(
    package: &Package,
    lock: Option<&Lock>,
    sources: &Sources,
    store: &Store,
    observer: &dyn Observer,
) -> Result<Resolution, Error> {
    observer.event(Event::StageStarted { stage: Stage::Resolve, bytes: None });
    let documents = Documents::new(sources, store, observer);
    let (images, files) =
        tokio::join!(resolve_images(package, lock, &documents, sources, store), resolve_files(package, lock, sources, store, observer));
    let mut failures = Vec::new();
    let images = sort_out(package, images, &mut failures);
    let files = sort_out(package, files, &mut failures);
    if !failures.is_empty() {
        failures.sort_by_key(|failure: &Failure| failure.at);
        return Err(Error { file: package.file.path.clone(), failures });
    }
    let summary = summary(&images, &files);
    observer.event(Event::StageFinished { stage: Stage::Resolve, summary });
    Ok(Resolution { package: package.clone(), images, files, documents: documents.into_inner() })
}

type Outcome<T> = Vec<Vec<(Location, Result<T, Cause>)>>;

async fn resolve_images(
    package: &Package,
    lock: Option<&Lock>,
    documents: &Documents<'_>,
    sources: &Sources,
    store: &Store,
) -> Outcome<ResolvedImage> {
    let entries = || package.components.iter().flat_map(|component| &component.images);
    let tops: images::Tops = entries()
        .filter_map(|entry| match &entry.origin {
            ImageOrigin::Registry(reference) => Some((reference.clone(), std::sync::Arc::default())),
            ImageOrigin::Archive { .. } => None,
        })
        .collect();
    let tops = &tops;
    join_all(package.components.iter().map(|component| {
        join_all(component.images.iter().map(async |entry| (entry.at, images::resolve(entry, lock, tops, documents, sources, store).await)))
    }))
    .await
}

async fn resolve_files(
    package: &Package,
    lock: Option<&Lock>,
    sources: &Sources,
    store: &Store,
    observer: &dyn Observer,
) -> Outcome<BTreeMap<Platform, ResolvedFile>> {
    let origins = || package.components.iter().flat_map(|component| &component.files).flat_map(|entry| entry.origins.values());
    let seen: files::FirstSeen = origins()
        .filter_map(|origin| match origin {
            FileOrigin::Url { url, .. } => Some((url.clone(), std::sync::Arc::default())),
            FileOrigin::Local { .. } | FileOrigin::Inline(_) => None,
        })
        .collect();
    let context = &files::Context { lock, seen: &seen, sources, store, observer };
    join_all(package.components.iter().map(|component| {
        join_all(component.files.iter().map(async |entry| {
            let resolved = join_all(
                entry
                    .origins
                    .iter()
                    .map(async |(platform, origin)| files::resolve(origin, platform, context).await.map(|file| (platform.clone(), file))),
            );
            (entry.at, resolved.await.into_iter().collect())
        }))
    }))
    .await
}

/// Parts what was resolved from what was not.
fn sort_out<T>(package: &Package, outcome: Outcome<T>, failures: &mut Vec<Failure>) -> Vec<Vec<T>> {
    let components = package.components.iter().zip(outcome);
    components
        .map(|(component, entries)| {
            let mut resolved = Vec::new();
            for (at, result) in entries {
                match result {
                    Ok(value) => resolved.push(value),
                    Err(cause) => failures.push(Failure { at, component: component.name.clone(), cause }),
                }
            }
            resolved
        })
        .collect()
}

/// `5 images × 2 platforms, 3 files`.
fn summary(images: &[Vec<ResolvedImage>], files: &[Vec<BTreeMap<Platform, ResolvedFile>>]) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let image_count = images.iter().map(Vec::len).sum();
    let platforms: std::collections::BTreeSet<&Platform> =
        images.iter().flatten().flat_map(|image| &image.tree.platforms).map(|image| &image.platform).collect();
    let file_count = files.iter().map(Vec::len).sum();
    let parts = [
        (image_count, format!("{} × {}", count(image_count, "image"), count(platforms.len(), "platform"))),
        (file_count, count(file_count, "file")),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|(n, _)| *n > 0).map(|(_, text)| text).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests;
