//! What hangs on a root: read in the order in which it stands in the file.
//!
//! [`Metadata::read`] asks for each document once, in one order that the root alone determines. A reader answers from the archive,
//! front to back; the writer answers from memory and takes the order from the answers. So both agree by construction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::contents::{Contents, Placement};
use super::image::{self, ImageTree};
use super::limits::Limits;
use super::{Error, Result, config_v1, layout, media};
use crate::io::CHUNK;
use crate::types::oci::{ImageIndex, ImageManifest};
use crate::types::{Descriptor, Digest, ImageReference, MediaType, Platform};

/// An artifact manifest that Coracle made: what it is for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The manifest.
    pub manifest: Descriptor,
    /// Its layers, each with its title.
    pub layers: Vec<Descriptor>,
}

/// Root and documents of a bundle, parsed and checked against each other. Has no content, and says nothing of who signed.
#[derive(Debug, Clone)]
pub struct Metadata {
    root: Arc<[u8]>,
    index: ImageIndex,
    contents: Contents,
    package: Artifact,
    images: Vec<ImageTree>,
    files: BTreeMap<Platform, Artifact>,
    tool_artifacts: BTreeMap<Platform, Artifact>,
    tools: BTreeMap<Platform, Vec<(String, Descriptor)>>,
    order: Vec<Descriptor>,
    documents: BTreeMap<Digest, Arc<[u8]>>,
    content: Vec<Descriptor>,
}

impl Metadata {
    /// The bytes of the root.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// The root's digest: the identity of the bundle.
    pub fn root_digest(&self) -> Digest {
        Digest::of(&self.root)
    }

    /// The root as it was parsed.
    pub fn index(&self) -> &ImageIndex {
        &self.index
    }

    /// The resolved definition.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The package manifest.
    pub fn package(&self) -> &Artifact {
        &self.package
    }

    /// Each image that is carried, once per reference, sorted by reference.
    pub fn images(&self) -> &[ImageTree] {
        &self.images
    }

    /// The artifact with the files of each platform; none for a platform without files.
    pub fn files(&self) -> &BTreeMap<Platform, Artifact> {
        &self.files
    }

    /// The artifact with the tools of each platform.
    pub fn tool_artifacts(&self) -> &BTreeMap<Platform, Artifact> {
        &self.tool_artifacts
    }

    /// Per platform the programs that open the rest: name and blob.
    pub fn tools(&self) -> &BTreeMap<Platform, Vec<(String, Descriptor)>> {
        &self.tools
    }

    /// The bytes of a document: the root, package manifest and configuration, artifact manifests, and upstream indexes, manifests and
    /// image configurations as they came.
    pub fn document(&self, digest: &Digest) -> Option<&[u8]> {
        self.documents.get(digest).map(AsRef::as_ref)
    }

    /// Every document but the root, in the order of the archive.
    pub fn documents(&self) -> &[Descriptor] {
        &self.order
    }

    /// Every content blob in the order of the archive, each once; a blob that is a document as well is not among them.
    pub fn content(&self) -> &[Descriptor] {
        &self.content
    }
}
