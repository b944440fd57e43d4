//! `coracle.lock`: what every reference of a definition meant when it was resolved, so that it means the same again.
//!
//! ```text
//! Resolution ─from_resolution→ Lock ─to_json→ coracle.lock (committed to git) ─parse→ Lock
//! Lock × Package ─check→ what the definition says and the lock does not: Stale, with its line
//! ```
//!
//! Registry images are pinned by reference, files by URL and platform. Images out of local archives are listed too, by the
//! archive's path beside the definition; a local file is in git beside the lock and needs no entry. No credential, path of a
//! machine or time gets in: a URL has no user information by construction, and an archive is named as the definition names it.

mod check;
mod v1;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use check::{Stale, StaleReason};

use super::definition::package::{FileOrigin, ImageOrigin};
use super::resolution::{Resolution, ResolvedImage};
use crate::types::{Descriptor, Digest, ImageReference, MediaType, Platform};

/// The name of the lock file, beside `coracle.yaml`.
pub const FILE_NAME: &str = "coracle.lock";

/// A lock file is at most this long, in bytes.
pub const LIMIT: u64 = 16 << 20;

/// Everything pinned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    images: BTreeMap<ImageReference, LockedImage>,
    archives: BTreeSet<Archived>,
    files: BTreeMap<(String, Platform), LockedFile>,
    tools: BTreeMap<Platform, Option<LockedFile>>,
}

/// An image, pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockedImage {
    /// Its name.
    pub reference: ImageReference,
    /// The index or manifest that the name meant.
    pub digest: Digest,
    /// Which of the two.
    pub media_type: MediaType,
    /// Its length in bytes.
    pub size: u64,
    /// The manifest for each platform that is carried.
    pub platforms: BTreeMap<Platform, Digest>,
}

impl LockedImage {
    /// The index or manifest as a descriptor.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.size)
    }
}

/// An image out of a local archive, pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Archived {
    archive: String,
    image: LockedImage,
}

/// A file, pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockedFile {
    /// What it is.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Why a lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not JSON, or not of the shape of a lock.
    #[error("the lock file cannot be read")]
    Document(#[source] serde_json::Error),
    /// A later version of the program wrote it.
    #[error("the lock file has version {version}, and this program knows up to {}", v1::VERSION)]
    Newer {
        /// What it says.
        version: u64,
    },
    /// A value in it is not what it should be.
    #[error("the lock file is damaged in {entry}")]
    Value {
        /// Where.
        entry: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something stands in it twice, as after a merge that went wrong.
    #[error("the lock file has {entry} twice")]
    Twice {
        /// What.
        entry: String,
    },
}

impl Lock {
    /// Reads a lock file's text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let versioned: v1::Versioned = serde_json::from_str(text).map_err(Error::Document)?;
        if versioned.version > v1::VERSION {
            return Err(Error::Newer { version: versioned.version });
        }
        serde_json::from_str::<v1::Document>(text).map_err(Error::Document)?.try_into()
    }

    /// The lock file's text: sorted, one value a line, with a newline at the end; the same for equal locks.
    #[must_use]
    pub fn to_json(&self) -> String {
        let value = serde_json::to_string_pretty(&v1::Document::from(self));
        // The document is made of strings, numbers and lists: none of them can fail to be JSON.
        let mut text = value.unwrap_or_else(|error| unreachable!("a lock is always JSON: {error}"));
        text.push('\n');
        text
    }

    /// What a resolution found. `tools` are the programs that travel, for each platform; one that does not is recorded as absent.
    #[must_use]
    pub fn from_resolution(resolution: &Resolution, tools: &BTreeMap<Platform, Option<Descriptor>>) -> Self {
        let mut lock = Self::default();
        let directory = &resolution.package.file.directory;
        for image in resolution.images.iter().flatten() {
            lock.add_image(image, directory);
        }
        for (component, resolved) in resolution.package.components.iter().zip(&resolution.files) {
            for (entry, resolved) in component.files.iter().zip(resolved) {
                for (platform, file) in resolved {
                    if let Some(FileOrigin::Url { url, .. }) = entry.origins.get(platform) {
                        let locked = LockedFile { sha256: file.descriptor.digest, size: file.descriptor.size };
                        lock.files.insert((url.to_string(), platform.clone()), locked);
                    }
                }
            }
        }
        let tool = |tool: &Descriptor| LockedFile { sha256: tool.digest, size: tool.size };
        lock.tools = tools.iter().map(|(platform, descriptor)| (platform.clone(), descriptor.as_ref().map(tool))).collect();
        lock
    }

    fn add_image(&mut self, image: &ResolvedImage, directory: &Path) {
        let tree = &image.tree;
        let locked = LockedImage {
            reference: tree.reference.clone(),
            digest: tree.top.digest,
            media_type: tree.top.media_type.clone(),
            size: tree.top.size,
            platforms: tree.platforms.iter().map(|image| (image.platform.clone(), image.manifest.digest)).collect(),
        };
        match &image.origin {
            ImageOrigin::Registry(_) => {
                // Two entries may want different platforms of one image.
                let entry = self.images.entry(tree.reference.clone()).or_insert_with(|| locked.clone());
                entry.platforms.extend(locked.platforms);
            }
            ImageOrigin::Archive { path, .. } => {
                self.archives.insert(Archived { archive: beside(path, directory), image: locked });
            }
        }
    }

    /// What a reference means.
    #[must_use]
    pub fn image(&self, reference: &ImageReference) -> Option<&LockedImage> {
        self.images.get(reference)
    }

    /// The images that were taken out of an archive, which is named as in the definition.
    pub fn archive<'a>(&'a self, archive: &'a str) -> impl Iterator<Item = &'a LockedImage> {
        self.archives.iter().filter(move |archived| archived.archive == archive).map(|archived| &archived.image)
    }

    /// What is at a URL, for a platform.
    #[must_use]
    pub fn file(&self, url: &url::Url, platform: &Platform) -> Option<LockedFile> {
        self.files.get(&(url.to_string(), platform.clone())).copied()
    }

    /// The program for a platform: `Some(None)` where it was absent when the lock was made, `None` where nothing is recorded.
    #[must_use]
    pub fn tool(&self, platform: &Platform) -> Option<Option<LockedFile>> {
        self.tools.get(platform).copied()
    }

    /// The same without what is pinned for these names (references as written or canonical, URLs): they are resolved anew.
    #[must_use]
    pub fn without(&self, names: &[String]) -> Self {
        let mut lock = self.clone();
        let is_meant = |reference: &ImageReference| {
            names.iter().any(|name| *name == reference.name() || name.parse::<ImageReference>().is_ok_and(|meant| meant == *reference))
        };
        lock.images.retain(|reference, _| !is_meant(reference));
        lock.archives.retain(|archived| !is_meant(&archived.image.reference) && !names.contains(&archived.archive));
        lock.files.retain(|(url, _), _| !names.contains(url));
        lock
    }
}

/// An archive's path as it stands in the definition.
fn beside(path: &Path, directory: &Path) -> String {
    let directory: std::path::PathBuf = directory.components().filter(|part| *part != std::path::Component::CurDir).collect();
    path.strip_prefix(&directory).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests;
