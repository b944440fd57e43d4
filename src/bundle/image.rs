//! An image as a tree of blobs: index → manifest per platform → configuration and layers. Pure: the documents come from the caller.

use crate::types::oci::{ImageIndex, ImageManifest, InvalidDocument, platform_of_config};
use crate::types::{Descriptor, Digest, ImageReference, MediaType, Platform};

/// Annotation of `BuildKit`'s attestation manifests: the digest of the manifest that they speak of.
const ATTESTS: &str = "vnd.docker.reference.digest";
/// Annotation of `BuildKit`'s attestation manifests: what they are.
const ATTESTATION: (&str, &str) = ("vnd.docker.reference.type", "attestation-manifest");

/// An image that is carried: what its reference names, and what of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTree {
    /// Its name.
    pub reference: ImageReference,
    /// The upstream index or manifest.
    pub top: Descriptor,
    /// One for each wanted platform, sorted by platform.
    pub platforms: Vec<PlatformImage>,
}

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformImage {
    /// Which.
    pub platform: Platform,
    /// The manifest; the same as `top` where that is no index.
    pub manifest: Descriptor,
    /// The configuration.
    pub config: Descriptor,
    /// Layers in order.
    pub layers: Vec<Descriptor>,
    /// `BuildKit` attestations of this manifest: they come along, and are neither seeded nor run.
    pub attestations: Vec<Attestation>,
}

/// An attestation manifest with its blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// The manifest.
    pub manifest: Descriptor,
    /// Its configuration.
    pub config: Descriptor,
    /// Its statements.
    pub layers: Vec<Descriptor>,
}

/// Why an image cannot be carried as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The index lacks a platform.
    #[error("`{reference}` has no image for {wanted}")]
    NoPlatform {
        /// Which image.
        reference: ImageReference,
        /// What was asked for.
        wanted: Platform,
        /// What its index lists (or, without an index, what it is).
        listed: Vec<Platform>,
    },
    /// A document is malformed.
    #[error("`{reference}`: `{digest}` cannot be read")]
    Document {
        /// Which image.
        reference: ImageReference,
        /// Which document.
        digest: Digest,
        /// What is wrong with it.
        source: InvalidDocument,
    },
    /// A document is of a kind that is no image.
    #[error("`{reference}`: `{digest}` is a `{media_type}`, no image index or manifest")]
    Kind {
        /// Which image.
        reference: ImageReference,
        /// Which document.
        digest: Digest,
        /// What it says it is.
        media_type: MediaType,
    },
    /// A document is not there.
    #[error("`{reference}`: `{digest}` is missing")]
    Missing {
        /// Which image.
        reference: ImageReference,
        /// Which document.
        digest: Digest,
    },
}

/// What of an index is wanted: the manifest of each platform and its attestations. The first match in the index counts, as containerd does.
///
/// # Errors
/// A platform that the index does not list.
pub fn select(
    reference: &ImageReference,
    index: &ImageIndex,
    wanted: &[Platform],
) -> Result<Vec<(Platform, Descriptor, Vec<Descriptor>)>, Error> {
    let images: Vec<&Descriptor> =
        index.manifests.iter().filter(|child| !is_attestation(child) && child.media_type.is_image_manifest()).collect();
    wanted
        .iter()
        .map(|platform| {
            let manifest = images.iter().find(|child| child.platform.as_ref() == Some(platform)).ok_or_else(|| Error::NoPlatform {
                reference: reference.clone(),
                wanted: platform.clone(),
                listed: images.iter().filter_map(|child| child.platform.clone()).collect(),
            })?;
            let digest = manifest.digest.to_string();
            let attestations =
                index.manifests.iter().filter(|child| is_attestation(child) && child.annotations.get(ATTESTS) == Some(&digest));
            Ok((platform.clone(), (*manifest).clone(), attestations.cloned().collect()))
        })
        .collect()
}

fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor.annotations.get(ATTESTATION.0).is_some_and(|kind| kind == ATTESTATION.1)
}

/// Builds the tree of an image from its documents.
///
/// `document` gives the verified bytes of a manifest, index or configuration. Only what the wanted platforms need is asked for.
///
/// # Errors
/// A document that is missing or malformed, or a platform that the image is not made for.
pub fn tree(
    reference: &ImageReference,
    top: &Descriptor,
    wanted: &[Platform],
    document: &dyn Fn(&Digest) -> Option<Vec<u8>>,
) -> Result<ImageTree, Error> {
    let get = |digest: &Digest| document(digest).ok_or_else(|| Error::Missing { reference: reference.clone(), digest: *digest });
    let invalid = |digest: Digest| move |source| Error::Document { reference: reference.clone(), digest, source };
    let manifest_of = |digest: &Digest| ImageManifest::parse(&get(digest)?).map_err(invalid(*digest));
    let mut platforms = Vec::new();
    if top.media_type.is_image_index() {
        let index = ImageIndex::parse(&get(&top.digest)?).map_err(invalid(top.digest))?;
        for (platform, manifest, attesting) in select(reference, &index, wanted)? {
            let parsed = manifest_of(&manifest.digest)?;
            let mut attestations = Vec::new();
            for descriptor in attesting {
                let parsed = manifest_of(&descriptor.digest)?;
                attestations.push(Attestation { manifest: descriptor, config: parsed.config, layers: parsed.layers });
            }
            platforms.push(PlatformImage { platform, manifest, config: parsed.config, layers: parsed.layers, attestations });
        }
    } else if top.media_type.is_image_manifest() {
        let parsed = manifest_of(&top.digest)?;
        let platform = platform_of_config(&get(&parsed.config.digest)?).map_err(invalid(parsed.config.digest))?;
        if let Some(other) = wanted.iter().find(|wanted| **wanted != platform) {
            return Err(Error::NoPlatform { reference: reference.clone(), wanted: other.clone(), listed: vec![platform] });
        }
        platforms.push(PlatformImage {
            platform,
            manifest: top.clone(),
            config: parsed.config,
            layers: parsed.layers,
            attestations: Vec::new(),
        });
    } else {
        return Err(Error::Kind { reference: reference.clone(), digest: top.digest, media_type: top.media_type.clone() });
    }
    platforms.sort_by(|a, b| a.platform.cmp(&b.platform));
    Ok(ImageTree { reference: reference.clone(), top: top.clone(), platforms })
}

impl ImageTree {
    /// Documents: index, manifests and configurations, each once, in the order of the tree. They travel before all content.
    #[must_use]
    pub fn documents(&self) -> Vec<Descriptor> {
        let mut documents = vec![self.top.clone()];
        for image in &self.platforms {
            documents.extend([image.manifest.clone(), image.config.clone()]);
            documents.extend(image.attestations.iter().flat_map(|attestation| [attestation.manifest.clone(), attestation.config.clone()]));
        }
        let mut seen = std::collections::BTreeSet::new();
        documents.retain(|document| seen.insert(document.digest));
        documents
    }
}

impl PlatformImage {
    /// Everything that is not a document: layers, and the attestations' statements.
    pub fn content(&self) -> impl Iterator<Item = &Descriptor> {
        self.layers.iter().chain(self.attestations.iter().flat_map(|attestation| &attestation.layers))
    }
}
