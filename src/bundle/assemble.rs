//! From parts to a bundle that has names and an order. Pure: no byte of content is read.

use std::collections::{BTreeMap, BTreeSet};

use super::contents::Contents;
use super::image::ImageTree;
use super::limits::Limits;
use super::metadata::{Metadata, plain};
use super::parts::Parts;
use super::trust::SignatureMember;
use super::{Error, Result, config_v1, content, media};
use crate::io::CHUNK;
use crate::types::oci::{ImageIndex, ImageManifest, write};
use crate::types::{Descriptor, Digest, MediaType, PackageName, Platform};

/// A bundle that is decided and not signed yet. Its identity is the root's digest.
#[derive(Debug, Clone)]
pub struct UnsignedBundle {
    metadata: Metadata,
}

/// A bundle that can be written: with signatures over its root, or knowingly without.
#[derive(Debug, Clone)]
pub struct SignedBundle {
    metadata: Metadata,
    signatures: Vec<SignatureMember>,
}

impl Parts {
    /// Decides every document, the root and the order. Pure.
    ///
    /// # Errors
    /// Parts that do not fit together, or documents that cannot be read.
    pub fn assemble(mut self) -> Result<UnsignedBundle> {
        self.images.sort_by(|a, b| a.reference.cmp(&b.reference));
        self.keep_chunks_of_content();
        let mut documents = Documents { bytes: self.documents, children: Vec::new() };
        documents.package(&self.contents);
        documents.images(&self.images);
        for (platform, layers) in files(&self.contents) {
            documents.artifact(media::FILES, &platform, layers);
        }
        for (platform, tools) in &self.tools {
            let layers = tools.iter().map(|(name, blob)| plain(blob).annotated(media::TITLE, name)).collect();
            documents.artifact(media::TOOLS, platform, layers);
        }
        let annotations = [
            (media::FORMAT, media::FORMAT_VERSION.to_owned()),
            (media::TITLE, self.contents.name.to_string()),
            (media::VERSION, self.contents.version.to_string()),
        ];
        let root = write::index(&ImageIndex {
            artifact_type: Some(media::ROOT.to_owned()),
            manifests: documents.children,
            subject: None,
            annotations: annotations.map(|(key, value)| (key.to_owned(), value)).into(),
        });
        let missing = |digest| Error::Parts(format!("document `{digest}` is missing"));
        let mut fetch = |wanted: &Descriptor| documents.bytes.get(&wanted.digest).cloned().ok_or_else(|| missing(wanted.digest));
        let metadata = Metadata::read(&root, &Limits::FORMAT, &mut fetch)?;
        if metadata.images().iter().zip(&self.images).any(|(read, given)| read.platforms != given.platforms) {
            return Err(Error::Parts("an image tree has other platforms than the components ask for".to_owned()));
        }
        Ok(UnsignedBundle { metadata })
    }

    /// Chunks of blobs that are small, or that turn out not to be carried, would only be noise in the configuration.
    fn keep_chunks_of_content(&mut self) {
        let documents = self.documents.iter().map(|(digest, bytes)| (*digest, bytes.as_slice().into())).collect();
        let content = content::order(&self.contents, &self.images, &self.tools, &documents);
        let large: BTreeSet<Digest> = content.iter().filter(|blob| blob.size > CHUNK).map(|blob| blob.digest).collect();
        self.contents.chunks.retain(|digest, _| large.contains(digest));
    }
}

/// Documents so far, and the root's children in their order.
struct Documents {
    bytes: BTreeMap<Digest, Vec<u8>>,
    children: Vec<Descriptor>,
}

impl Documents {
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor::of(media_type, &bytes);
        self.bytes.insert(descriptor.digest, bytes);
        descriptor
    }

    fn manifest(&mut self, kind: &str, config: Descriptor, layers: Vec<Descriptor>) -> Descriptor {
        let manifest = ImageManifest { artifact_type: Some(kind.to_owned()), config, layers, subject: None, annotations: BTreeMap::new() };
        let mut descriptor = self.add(MediaType::OCI_MANIFEST, write::manifest(&manifest));
        descriptor.artifact_type = Some(kind.to_owned());
        descriptor
    }

    fn package(&mut self, contents: &Contents) {
        let config = self.add(media::PACKAGE_CONFIG, config_v1::write(contents));
        let package = self.manifest(media::PACKAGE, config, Vec::new());
        self.children.push(package);
    }

    fn images(&mut self, images: &[ImageTree]) {
        for tree in images {
            let mut child = plain(&tree.top).annotated(media::IMAGE_REFERENCE, tree.reference.to_string());
            if let [only] = tree.platforms.as_slice()
                && only.manifest.digest == tree.top.digest
            {
                child.platform = Some(only.platform.clone());
            }
            self.children.push(child);
        }
    }

    fn artifact(&mut self, kind: &str, platform: &Platform, layers: Vec<Descriptor>) {
        let config = self.add(MediaType::OCI_EMPTY, media::EMPTY.to_vec());
        let artifact = self.manifest(kind, config, layers);
        self.children.push(artifact.for_platform(platform.clone()));
    }
}

/// The layers of the files artifact of each platform. Titles are file names to those who pull the artifact: a second blob of the same
/// title gets the first digits of its digest before it.
fn files(contents: &Contents) -> BTreeMap<Platform, Vec<Descriptor>> {
    let mut layers: BTreeMap<Platform, Vec<Descriptor>> = BTreeMap::new();
    let mut titles: BTreeMap<(Platform, String), Digest> = BTreeMap::new();
    for (platform, file) in contents.components.iter().flat_map(|component| &component.files).flat_map(|file| &file.contents) {
        let digest = file.descriptor.digest;
        let holder = *titles.entry((platform.clone(), file.title.clone())).or_insert(digest);
        let title = if holder == digest { file.title.clone() } else { format!("{}-{}", &digest.hex()[..12], file.title) };
        let layer = plain(&file.descriptor).annotated(media::TITLE, title);
        let layers = layers.entry(platform.clone()).or_default();
        if !layers.contains(&layer) {
            layers.push(layer);
        }
    }
    layers
}

impl UnsignedBundle {
    /// The bytes that a signature covers.
    pub fn root(&self) -> &[u8] {
        self.metadata.root()
    }

    /// Their digest: the bundle's identity.
    pub fn root_digest(&self) -> Digest {
        self.metadata.root_digest()
    }

    /// The package's name.
    pub fn name(&self) -> &PackageName {
        &self.metadata.contents().name
    }

    /// The package's version.
    pub fn version(&self) -> &semver::Version {
        &self.metadata.contents().version
    }

    /// What hangs on the root.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same with signatures over [`UnsignedBundle::root`]; sorted by key id, one per key.
    pub fn signed(self, mut signatures: Vec<SignatureMember>) -> SignedBundle {
        signatures.sort_by_key(|signature| *signature.key_id.as_bytes());
        signatures.dedup_by(|a, b| a.key_id == b.key_id);
        SignedBundle { metadata: self.metadata, signatures }
    }

    /// The same without any signature.
    pub fn unsigned(self) -> SignedBundle {
        SignedBundle { metadata: self.metadata, signatures: Vec::new() }
    }
}

impl SignedBundle {
    /// What hangs on the root.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The signatures, sorted by key id.
    pub fn signatures(&self) -> &[SignatureMember] {
        &self.signatures
    }
}
