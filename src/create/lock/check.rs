//! What a definition says and its lock does not.

use std::collections::BTreeSet;
use std::fmt;

use super::{Lock, beside};
use crate::create::definition::package::{Component, FileEntry, FileOrigin, ImageEntry, ImageOrigin, Location, Package};
use crate::types::{ComponentName, Digest, ImageReference, Platform};

/// One place where the definition is ahead of the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// Where in the definition.
    pub at: Location,
    /// In which component.
    pub component: ComponentName,
    /// What is ahead.
    pub reason: StaleReason,
}

/// How the definition is ahead of the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StaleReason {
    /// The lock does not know this image.
    Image(ImageReference),
    /// The lock knows the image, not for this platform.
    ImagePlatform(ImageReference, Platform),
    /// The lock does not know this archive.
    Archive(String),
    /// The lock knows the archive, and no image of this name in it.
    ArchiveImage(String, ImageReference),
    /// The lock knows the archive, not for this platform.
    ArchivePlatform(String, Platform),
    /// The lock does not know this URL for this platform.
    Url(url::Url, Platform),
    /// The definition has another digest than the lock.
    Sha256 {
        /// Of what.
        url: url::Url,
        /// For which platform.
        platform: Platform,
        /// What the definition says.
        defined: Digest,
        /// What the lock says.
        locked: Digest,
    },
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            StaleReason::Image(reference) => write!(f, "the lock does not have `{reference}`"),
            StaleReason::ImagePlatform(reference, platform) => write!(f, "the lock does not have `{reference}` for {platform}"),
            StaleReason::Archive(archive) => write!(f, "the lock does not have the archive `{archive}`"),
            StaleReason::ArchiveImage(archive, reference) => write!(f, "the lock does not have `{reference}` of the archive `{archive}`"),
            StaleReason::ArchivePlatform(archive, platform) => write!(f, "the lock does not have the archive `{archive}` for {platform}"),
            StaleReason::Url(url, platform) => write!(f, "the lock does not have `{url}` for {platform}"),
            StaleReason::Sha256 { url, platform, defined, locked } => {
                write!(f, "the definition says that `{url}` is {defined} for {platform}, the lock says {locked}")
            }
        }
    }
}

impl Lock {
    /// Where the definition is ahead of this lock, in the order of the definition; empty: the lock is up to date.
    ///
    /// What the lock has and the definition does not name makes it no staler: see [`Lock::unused`].
    #[must_use]
    pub fn check(&self, package: &Package) -> Vec<Stale> {
        let mut stale = Vec::new();
        for component in &package.components {
            let mut note = |at, reason| stale.push(Stale { at, component: component.name.clone(), reason });
            for image in &component.images {
                self.check_image(image, package, &mut note);
            }
            for file in &component.files {
                self.check_file(file, &mut note);
            }
        }
        stale
    }

    fn check_image(&self, entry: &ImageEntry, package: &Package, note: &mut dyn FnMut(Location, StaleReason)) {
        match &entry.origin {
            ImageOrigin::Registry(reference) => {
                let Some(locked) = self.image(reference) else { return note(entry.at, StaleReason::Image(reference.clone())) };
                for platform in entry.platforms.iter().filter(|platform| !locked.platforms.contains_key(platform)) {
                    note(entry.at, StaleReason::ImagePlatform(reference.clone(), platform.clone()));
                }
            }
            ImageOrigin::Archive { path, reference } => {
                let archive = beside(path, &package.file.directory);
                let locked: Vec<_> = self.archive(&archive).collect();
                if locked.is_empty() {
                    return note(entry.at, StaleReason::Archive(archive));
                }
                let named: Vec<_> = locked.into_iter().filter(|image| reference.as_ref().is_none_or(|r| *r == image.reference)).collect();
                match reference {
                    Some(reference) if named.is_empty() => note(entry.at, StaleReason::ArchiveImage(archive, reference.clone())),
                    _ => {
                        let missing = |platform: &&Platform| !named.iter().any(|image| image.platforms.contains_key(platform));
                        for platform in entry.platforms.iter().filter(missing) {
                            note(entry.at, StaleReason::ArchivePlatform(archive.clone(), platform.clone()));
                        }
                    }
                }
            }
        }
    }

    fn check_file(&self, entry: &FileEntry, note: &mut dyn FnMut(Location, StaleReason)) {
        for (platform, origin) in &entry.origins {
            let FileOrigin::Url { url, sha256 } = origin else { continue };
            match (self.file(url, platform), sha256) {
                (None, _) => note(entry.at, StaleReason::Url(url.clone(), platform.clone())),
                (Some(locked), Some(defined)) if locked.sha256 != *defined => {
                    let (url, platform, defined) = (url.clone(), platform.clone(), *defined);
                    note(entry.at, StaleReason::Sha256 { url, platform, defined, locked: locked.sha256 });
                }
                (Some(_), _) => {}
            }
        }
    }

    /// What the lock has and nothing in the definition names, for people. It does no harm, and goes when the lock is written next.
    ///
    /// Meaningful for a package with all its platforms; one that was narrowed leaves the others' entries unnamed.
    #[must_use]
    pub fn unused(&self, package: &Package) -> Vec<String> {
        let images = || package.components.iter().flat_map(|component: &Component| &component.images);
        let mut references = BTreeSet::new();
        let mut archives = BTreeSet::new();
        for image in images() {
            match &image.origin {
                ImageOrigin::Registry(reference) => drop(references.insert(reference)),
                ImageOrigin::Archive { path, .. } => drop(archives.insert(beside(path, &package.file.directory))),
            }
        }
        let mut urls = BTreeSet::new();
        for (platform, origin) in package.components.iter().flat_map(|component| &component.files).flat_map(|file| &file.origins) {
            if let FileOrigin::Url { url, .. } = origin {
                urls.insert((url.to_string(), platform.clone()));
            }
        }
        let images = self.images.keys().filter(|reference| !references.contains(reference)).map(ToString::to_string);
        let out_of_archives = self.archives.iter().map(|archived| archived.archive.clone()).filter(|archive| !archives.contains(archive));
        let files = self.files.keys().filter(|key| !urls.contains(*key)).map(|(url, platform)| format!("{url} for {platform}"));
        images.chain(out_of_archives).chain(files).collect()
    }
}
