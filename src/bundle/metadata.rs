//! What hangs on a root: read in the order in which it stands in the file.
//!
//! [`Metadata::read`] asks for each document once, in one order that the root alone determines. A reader answers from the archive,
//! front to back; the writer answers from memory and takes the order from the answers. So both agree by construction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::contents::Contents;
use super::image::{self, ImageTree};
use super::limits::Limits;
use super::{Error, Result, config_v1, content, media};
use crate::types::oci::{ImageIndex, ImageManifest};
use crate::types::{Descriptor, Digest, ImageReference, Platform};

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
    /// Reads what hangs on `root`. `fetch` is asked for each document once, in the order of the archive, and what it gives is checked.
    ///
    /// # Errors
    /// What `fetch` says; a document that is malformed, beyond the limits, or does not agree with the others; a blob that is named
    /// in two ways; formats and features that are not known.
    pub fn read(root: &[u8], limits: &Limits, fetch: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>>) -> Result<Self> {
        let index = parse_root(root)?;
        let mut walk =
            Walk { limits, fetch, order: Vec::new(), documents: BTreeMap::new(), sizes: BTreeMap::new(), bytes: root.len() as u64 };
        walk.documents.insert(Digest::of(root), root.into());
        let kinds = kinds(&index)?;
        let (package, config) = walk.package(&kinds.package)?;
        let contents = config_v1::parse(&walk.documents[&config.digest]).map_err(|source| Error::Config { source })?;
        agrees_with_root(&index, &contents)?;
        let images = walk.images(&kinds.images, &contents)?;
        let files = walk.artifacts(&kinds.files, media::FILES)?;
        let tool_artifacts = walk.artifacts(&kinds.tools, media::TOOLS)?;
        let tools = tool_artifacts.iter().map(|(platform, artifact)| (platform.clone(), named_layers(artifact))).collect();
        let Walk { order, documents, sizes, .. } = walk;
        let content = content::order(&contents, &images, &tools, &documents);
        content::check(&contents, &content, &files, sizes, limits, order.len() as u64)?;
        let root = root.into();
        Ok(Self { root, index, contents, package, images, files, tool_artifacts, tools, order, documents, content })
    }

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

    /// The SHA-256 of each 8 MiB chunk of a content blob; for one of up to 8 MiB its own digest.
    pub fn chunks<'a>(&'a self, blob: &'a Descriptor) -> &'a [Digest] {
        self.contents.chunks.get(&blob.digest).map_or(std::slice::from_ref(&blob.digest), Vec::as_slice)
    }

    /// Every content blob in the order of the archive, each once; a blob that is a document as well is not among them.
    pub fn content(&self) -> &[Descriptor] {
        &self.content
    }
}

/// The root as an index, if it is one that this program understands.
fn parse_root(root: &[u8]) -> Result<ImageIndex> {
    let index = ImageIndex::parse(root).map_err(|source| Error::Document { digest: Digest::of(root), source })?;
    let mut unknown = Vec::new();
    if index.artifact_type.as_deref() != Some(media::ROOT) {
        unknown.push(format!("artifact type `{}`", index.artifact_type.as_deref().unwrap_or("none")));
    }
    match index.annotations.get(media::FORMAT).map_or("none", String::as_str) {
        media::FORMAT_VERSION => {}
        other => unknown.push(format!("format `{other}`")),
    }
    let requires = index.annotations.get(media::REQUIRES).into_iter().flat_map(|words| words.split(',')).map(str::trim);
    unknown.extend(requires.filter(|word| !word.is_empty()).map(|word| format!("feature `{word}`")));
    let known = |child: &Descriptor| match child.artifact_type.as_deref() {
        Some(kind) => [media::PACKAGE, media::FILES, media::TOOLS].contains(&kind),
        None => child.annotations.contains_key(media::IMAGE_REFERENCE),
    };
    for child in index.manifests.iter().filter(|child| !known(child)) {
        unknown.push(format!("artifact type `{}`", child.artifact_type.as_deref().unwrap_or("none")));
    }
    if unknown.is_empty() { Ok(index) } else { Err(Error::NotUnderstood { items: unknown }) }
}

/// The root's children by what they are.
struct Kinds {
    package: Descriptor,
    images: BTreeMap<ImageReference, Descriptor>,
    files: BTreeMap<Platform, Descriptor>,
    tools: BTreeMap<Platform, Descriptor>,
}

fn kinds(index: &ImageIndex) -> Result<Kinds> {
    let twice = |what: String| Error::Closure { what: format!("the root names {what} twice") };
    let mut package = None;
    let (mut images, mut files, mut tools) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for child in &index.manifests {
        if child.artifact_type.as_deref() == Some(media::PACKAGE) {
            if package.replace(child.clone()).is_some() {
                return Err(twice("the package".to_owned()));
            }
        } else if let Some(kind) = &child.artifact_type {
            let artifacts = if kind == media::FILES { &mut files } else { &mut tools };
            let platform =
                child.platform.clone().ok_or_else(|| Error::Closure { what: format!("the root names a `{kind}` of no platform") })?;
            if artifacts.insert(platform.clone(), child.clone()).is_some() {
                return Err(twice(format!("`{kind}` for {platform}")));
            }
        } else if let Some(name) = child.annotations.get(media::IMAGE_REFERENCE) {
            let reference = name.parse::<ImageReference>().ok().filter(|reference| reference.to_string() == *name);
            let reference =
                reference.ok_or_else(|| Error::Closure { what: format!("the root names an image by `{name}`, which is not canonical") })?;
            if images.insert(reference, child.clone()).is_some() {
                return Err(twice(format!("the image `{name}`")));
            }
        }
    }
    let package = package.ok_or_else(|| Error::Closure { what: "the root names no package".to_owned() })?;
    Ok(Kinds { package, images, files, tools })
}

/// Name and version stand in the root, for readers that do not know the configuration: they must not lie.
fn agrees_with_root(index: &ImageIndex, contents: &Contents) -> Result<()> {
    for (key, expected) in [(media::TITLE, contents.name.to_string()), (media::VERSION, contents.version.to_string())] {
        let found = index.annotations.get(key);
        if found != Some(&expected) {
            let found = found.map_or("none", String::as_str);
            return Err(Error::Closure { what: format!("`{key}` of the root is `{found}`, the package configuration says `{expected}`") });
        }
    }
    Ok(())
}

fn named_layers(artifact: &Artifact) -> Vec<(String, Descriptor)> {
    let name = |layer: &Descriptor| layer.annotations.get(media::TITLE).cloned().unwrap_or_default();
    artifact.layers.iter().map(|layer| (name(layer), plain(layer))).collect()
}

/// A descriptor without what the place where it stands says of it.
pub(super) fn plain(descriptor: &Descriptor) -> Descriptor {
    Descriptor::new(descriptor.media_type.clone(), descriptor.digest, descriptor.size)
}

/// The way through the documents, front to back.
struct Walk<'a> {
    limits: &'a Limits,
    fetch: &'a mut dyn FnMut(&Descriptor) -> Result<Vec<u8>>,
    order: Vec<Descriptor>,
    documents: BTreeMap<Digest, Arc<[u8]>>,
    sizes: BTreeMap<Digest, u64>,
    bytes: u64,
}

impl Walk<'_> {
    fn document(&mut self, descriptor: &Descriptor, limit: u64) -> Result<Arc<[u8]>> {
        let Descriptor { digest, size, .. } = *descriptor;
        if let Some(bytes) = self.documents.get(&digest) {
            return if bytes.len() as u64 == size { Ok(bytes.clone()) } else { Err(content::two_sizes(&digest)) };
        }
        let over = |what: String, found, limit| if found > limit { Err(Error::Limit { what, found, limit }) } else { Ok(()) };
        over(format!("document `{digest}` in bytes"), size, limit)?;
        self.bytes = self.bytes.saturating_add(size);
        over("metadata in bytes".to_owned(), self.bytes, self.limits.metadata_bytes)?;
        let bytes = (self.fetch)(descriptor)?;
        if bytes.len() as u64 != size || Digest::of(&bytes) != digest {
            return Err(Error::Closure { what: format!("document `{digest}` has other content") });
        }
        self.order.push(plain(descriptor));
        let bytes: Arc<[u8]> = bytes.into();
        self.documents.insert(digest, bytes.clone());
        Ok(bytes)
    }

    fn manifest(&mut self, descriptor: &Descriptor) -> Result<ImageManifest> {
        let bytes = self.document(descriptor, self.limits.document_bytes)?;
        let manifest = ImageManifest::parse(&bytes).map_err(|source| Error::Document { digest: descriptor.digest, source })?;
        for layer in &manifest.layers {
            content::one_size(&mut self.sizes, layer)?;
        }
        Ok(manifest)
    }

    fn package(&mut self, child: &Descriptor) -> Result<(Artifact, Descriptor)> {
        let manifest = self.manifest(child)?;
        if manifest.artifact_type.as_deref() != Some(media::PACKAGE) || manifest.config.media_type.as_str() != media::PACKAGE_CONFIG {
            return Err(Error::NotUnderstood { items: vec![format!("package configuration `{}`", manifest.config.media_type)] });
        }
        self.document(&manifest.config, self.limits.metadata_bytes)?;
        Ok((Artifact { manifest: plain(child), layers: manifest.layers }, manifest.config))
    }

    fn artifacts(&mut self, children: &BTreeMap<Platform, Descriptor>, kind: &str) -> Result<BTreeMap<Platform, Artifact>> {
        let mut artifacts = BTreeMap::new();
        for (platform, child) in children {
            let manifest = self.manifest(child)?;
            if manifest.artifact_type.as_deref() != Some(kind) {
                return Err(Error::Closure { what: format!("the root names `{}` as `{kind}`, which it is not", child.digest) });
            }
            self.document(&manifest.config, self.limits.document_bytes)?;
            artifacts.insert(platform.clone(), Artifact { manifest: plain(child), layers: manifest.layers });
        }
        Ok(artifacts)
    }

    fn images(&mut self, children: &BTreeMap<ImageReference, Descriptor>, contents: &Contents) -> Result<Vec<ImageTree>> {
        let mut wanted: BTreeMap<&ImageReference, BTreeSet<&Platform>> = BTreeMap::new();
        for image in contents.components.iter().flat_map(|component| &component.images) {
            let named = children.get(&image.reference).map(plain);
            if named.as_ref() != Some(&plain(&image.top)) {
                let found = named.map_or_else(|| "names no such image".to_owned(), |top| format!("says `{}`", top.digest));
                return Err(Error::Closure {
                    what: format!("a component wants `{}` as `{}`, the root {found}", image.reference, image.top.digest),
                });
            }
            wanted.entry(&image.reference).or_default().extend(&image.platforms);
        }
        let mut images = Vec::new();
        for (reference, child) in children {
            let wanted =
                wanted.get(reference).ok_or_else(|| Error::Closure { what: format!("no component wants the image `{reference}`") })?;
            let wanted: Vec<Platform> = wanted.iter().map(|platform| (*platform).clone()).collect();
            images.push(self.image(reference, &plain(child), &wanted)?);
        }
        Ok(images)
    }

    /// Documents of an image in the order of [`ImageTree::documents`].
    fn image(&mut self, reference: &ImageReference, top: &Descriptor, wanted: &[Platform]) -> Result<ImageTree> {
        let limit = self.limits.document_bytes;
        let bytes = self.document(top, limit)?;
        if top.media_type.is_image_index() {
            let invalid = |source| image::Error::Document { reference: reference.clone(), digest: top.digest, source };
            let index = ImageIndex::parse(&bytes).map_err(invalid)?;
            for (_, manifest, attestations) in image::select(reference, &index, wanted)? {
                for manifest in std::iter::once(&manifest).chain(&attestations) {
                    let config = self.manifest(manifest)?.config;
                    self.document(&config, limit)?;
                }
            }
        } else {
            let config = self.manifest(top)?.config;
            self.document(&config, limit)?;
        }
        Ok(image::tree(reference, top, wanted, &|digest| self.documents.get(digest).map(|bytes| bytes.to_vec()))?)
    }
}
