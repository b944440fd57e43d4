//! Small bundles for the tests of this crate.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::contents::{CarriedFile, CarriedImage, Component, Contents, FileContent, Only, Placement, Target};
use super::image::{ImageTree, tree};
use super::limits::Limits;
use super::open::{VerifiedBundle, open};
use super::parts::Parts;
use super::trust::{TrustPolicy, Unsigned};
use crate::event::Silent;
use crate::io::CHUNK;
use crate::store::Store;
use crate::types::oci::{ImageIndex, ImageManifest, write};
use crate::types::{Descriptor, Digest, MediaType, Platform};

/// A layer as most images have it: its media type says that it is compressed.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Takes a bundle that nobody signed.
pub fn accepting() -> TrustPolicy {
    TrustPolicy { keys: Vec::new(), required: 0, unsigned: Unsigned::Accept }
}

/// Threads as the writer and the reader take them.
pub fn threads(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

/// Parts that grow, with their content in a store.
pub struct Builder {
    /// Holds the content.
    pub store: Store,
    /// What is there so far.
    pub parts: Parts,
}

impl Builder {
    /// An empty package in a store under `directory`.
    pub fn new(directory: &Path) -> Self {
        let contents = Contents {
            name: "demo".parse().unwrap(),
            version: "1.2.3".parse().unwrap(),
            description: String::new(),
            platforms: Platform::supported().to_vec(),
            target: Target::default(),
            parameters: BTreeMap::new(),
            variables: BTreeMap::new(),
            components: Vec::new(),
            lock: "{}".to_owned(),
            chunks: BTreeMap::new(),
        };
        let store = Store::open(directory.join("store")).unwrap();
        Self { store, parts: Parts { contents, images: Vec::new(), tools: BTreeMap::new(), documents: BTreeMap::new() } }
    }

    /// Puts content into the store, and its chunks into the configuration.
    pub fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let blob = Descriptor::of(media_type, bytes);
        self.store.put(bytes).unwrap();
        if blob.size > CHUNK {
            self.parts.contents.chunks.insert(blob.digest, self.store.chunk_digests(&blob).unwrap());
        }
        blob
    }

    fn document(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let document = Descriptor::of(media_type, &bytes);
        self.parts.documents.insert(document.digest, bytes);
        document
    }

    fn component(&mut self) -> &mut Component {
        if self.parts.contents.components.is_empty() {
            self.parts.contents.components.push(Component {
                name: "main".parse().unwrap(),
                only: Only::default(),
                optional: false,
                images: Vec::new(),
                files: Vec::new(),
            });
        }
        self.parts.contents.components.last_mut().unwrap()
    }

    /// An image for both platforms whose index also lists one that is not carried.
    pub fn image(&mut self, reference: &str, shared: &[u8], own: [&[u8]; 2]) -> ImageTree {
        let reference = reference.parse().unwrap();
        let shared = self.blob(LAYER, shared);
        let mut manifests = Vec::new();
        for (platform, own) in Platform::supported().into_iter().zip(own) {
            let config = format!(r#"{{"os":"linux","architecture":"{}"}}"#, platform.architecture());
            let config = self.document(MediaType::OCI_CONFIG, config.into_bytes());
            let layers = vec![shared.clone(), self.blob(LAYER, own)];
            let manifest = ImageManifest { artifact_type: None, config, layers, subject: None, annotations: BTreeMap::new() };
            manifests.push(self.document(MediaType::OCI_MANIFEST, write::manifest(&manifest)).for_platform(platform));
        }
        let absent = Descriptor::of(MediaType::OCI_MANIFEST, b"not carried").for_platform(Platform::new("linux", "s390x", None));
        manifests.push(absent);
        let index = ImageIndex { artifact_type: None, manifests, subject: None, annotations: BTreeMap::new() };
        let top = self.document(MediaType::OCI_INDEX, write::index(&index));
        let platforms = Platform::supported();
        let tree = tree(&reference, &top, &platforms, &|digest: &Digest| self.parts.documents.get(digest).cloned()).unwrap();
        self.parts.images.push(tree.clone());
        self.component().images.push(CarriedImage { reference, top, platforms: platforms.to_vec(), pin: false });
        tree
    }

    /// A file that is the same on both platforms.
    pub fn file(&mut self, path: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = self.blob(MediaType::OCTETS, bytes);
        let title = path.rsplit('/').next().unwrap_or_default().to_owned();
        let content = FileContent { descriptor: descriptor.clone(), title, origin: "inline".to_owned(), archive: None };
        let contents = Platform::supported().map(|platform| (platform, content.clone())).into();
        self.component().files.push(CarriedFile {
            placement: Placement::File(path.parse().unwrap()),
            mode: None,
            owner: None,
            group: None,
            template: false,
            contents,
        });
        descriptor
    }

    /// A program for both platforms.
    pub fn tool(&mut self, name: &str, bytes: &[u8]) {
        let blob = self.blob(MediaType::OCTETS, bytes);
        for platform in Platform::supported() {
            self.parts.tools.entry(platform).or_default().push((name.to_owned(), blob.clone()));
        }
    }

    /// Writes the bundle without a signature.
    pub fn write_unsigned(&self, path: &Path) -> PathBuf {
        let bundle = self.parts.clone().assemble().unwrap().unsigned();
        bundle.write_file(&self.store, path, threads(2), &Silent).unwrap();
        path.to_owned()
    }

    /// Writes it, and opens it as one that is accepted without a signature.
    pub fn verified(&self, path: &Path) -> VerifiedBundle {
        self.write_unsigned(path);
        open(path, &Limits::FORMAT).unwrap().verify(&accepting(), &[]).unwrap()
    }
}

/// Bytes that do not compress.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| next().to_le_bytes()).take(len.div_ceil(8)).flatten().collect();
    bytes.truncate(len);
    bytes
}

/// An image, a file and a tool: everything that a bundle can have, in a few kilobytes.
pub fn small(directory: &Path) -> Builder {
    let mut builder = Builder::new(directory);
    builder.image("quay.io/acme/api:1", &noise(300, 1), [&noise(200, 2), &noise(700, 3)]);
    builder.file("/etc/demo.conf", &b"key = value\n".repeat(50));
    builder.tool("coracle", b"a program");
    builder
}
