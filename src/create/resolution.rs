//! Everything pinned: what a definition means today, or meant when it was locked.

use std::collections::BTreeMap;

use super::definition::package::{ImageOrigin, Package};
use crate::bundle::image::ImageTree;
use crate::types::{Descriptor, Digest, Platform};

/// What is to be fetched and carried. Everything in it is named by digest; documents are here, content is not.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// The definition.
    pub package: Package,
    /// One for each image entry: `images[component][entry]`.
    pub images: Vec<Vec<ResolvedImage>>,
    /// One for each file entry: `files[component][entry]`, per platform.
    pub files: Vec<Vec<BTreeMap<Platform, ResolvedFile>>>,
    /// The bytes of every index, manifest and image configuration, as they came from upstream. At most 64 MiB in all.
    pub documents: BTreeMap<Digest, Vec<u8>>,
}

/// An image entry, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The tree, by the name that it has on the isolated side.
    pub tree: ImageTree,
    /// Where its blobs come from.
    pub origin: ImageOrigin,
}

/// A file for one platform, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedFile {
    /// Its blob. Media type by its name: gzip, zstd, or octets.
    pub descriptor: Descriptor,
    /// For people: the last part of the URL or path.
    pub title: String,
}
