//! OCI and Docker image documents, as far as Coracle reads them.
//!
//! Wire types for reading alone: upstream bytes are stored as they came and never written again from these (unknown fields would
//! be lost, and with them the digest). What Coracle writes itself goes through [`write`]. Follows image-spec 1.1 `image-index.md`,
//! `manifest.md`, `config.md`, and Docker's schema 2, which has the same shape.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Descriptor, Digest, MediaType, Platform};

/// Why a document is not what its descriptor says.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDocument {
    /// Not JSON, or JSON of another shape.
    #[error("it is no OCI document")]
    Json(#[from] serde_json::Error),
    /// A digest of another algorithm, or malformed.
    #[error(transparent)]
    Digest(#[from] super::InvalidDigest),
    /// Schema 1, or something later than is known.
    #[error("its schemaVersion is {0}, only 2 is known")]
    SchemaVersion(u32),
    /// A digest or size that a document states twice, differently, or not at all.
    #[error("{0}")]
    Invalid(String),
}

/// An image index or Docker manifest list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageIndex {
    /// What kind of artifact, where it is one.
    pub artifact_type: Option<String>,
    /// Its children in the order of the document.
    pub manifests: Vec<Descriptor>,
    /// The document this one speaks of (referrers).
    pub subject: Option<Descriptor>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// An image or artifact manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageManifest {
    /// What kind of artifact, where it is one.
    pub artifact_type: Option<String>,
    /// Configuration.
    pub config: Descriptor,
    /// Layers in order.
    pub layers: Vec<Descriptor>,
    /// The document this one speaks of (referrers).
    pub subject: Option<Descriptor>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

impl ImageIndex {
    /// Reads an index from the bytes of the document.
    ///
    /// # Errors
    /// Anything that is not an index of schema 2 with SHA-256 digests.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidDocument> {
        let wire: WireIndex = serde_json::from_slice(bytes)?;
        check_schema(wire.schema_version)?;
        Ok(Self {
            artifact_type: wire.artifact_type,
            manifests: wire.manifests.into_iter().map(WireDescriptor::parse).collect::<Result<_, _>>()?,
            subject: wire.subject.map(WireDescriptor::parse).transpose()?,
            annotations: wire.annotations.unwrap_or_default(),
        })
    }
}

impl ImageManifest {
    /// Reads a manifest from the bytes of the document.
    ///
    /// # Errors
    /// Anything that is not a manifest of schema 2 with SHA-256 digests.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidDocument> {
        let wire: WireManifest = serde_json::from_slice(bytes)?;
        check_schema(wire.schema_version)?;
        Ok(Self {
            artifact_type: wire.artifact_type,
            config: wire.config.parse()?,
            layers: wire.layers.into_iter().map(WireDescriptor::parse).collect::<Result<_, _>>()?,
            subject: wire.subject.map(WireDescriptor::parse).transpose()?,
            annotations: wire.annotations.unwrap_or_default(),
        })
    }
}

/// The platform that an image configuration says it is for.
///
/// # Errors
/// A document without `os` and `architecture`.
pub fn platform_of_config(bytes: &[u8]) -> Result<Platform, InvalidDocument> {
    let wire: WirePlatform = serde_json::from_slice(bytes)?;
    let platform = wire.parse();
    if platform.os().is_empty() || platform.architecture().is_empty() {
        return Err(InvalidDocument::Invalid("it does not say which platform it is for".to_owned()));
    }
    Ok(platform)
}

fn check_schema(version: u32) -> Result<(), InvalidDocument> {
    if version == 2 { Ok(()) } else { Err(InvalidDocument::SchemaVersion(version)) }
}

/// Documents that Coracle makes itself, as canonical JSON: keys in the order of the specification, no white space, so that the same
/// content has the same digest everywhere.
pub mod write {
    use super::{BTreeMap, Descriptor, ImageIndex, ImageManifest, MediaType, WireDescriptor, WireIndex, WireManifest};

    /// The bytes of an index with media type [`MediaType::OCI_INDEX`].
    #[must_use]
    pub fn index(index: &ImageIndex) -> Vec<u8> {
        json(&WireIndex {
            schema_version: 2,
            media_type: Some(MediaType::OCI_INDEX.to_owned()),
            artifact_type: index.artifact_type.clone(),
            manifests: index.manifests.iter().map(WireDescriptor::from).collect(),
            subject: index.subject.as_ref().map(WireDescriptor::from),
            annotations: some(&index.annotations),
        })
    }

    /// The bytes of a manifest with media type [`MediaType::OCI_MANIFEST`].
    #[must_use]
    pub fn manifest(manifest: &ImageManifest) -> Vec<u8> {
        json(&WireManifest {
            schema_version: 2,
            media_type: Some(MediaType::OCI_MANIFEST.to_owned()),
            artifact_type: manifest.artifact_type.clone(),
            config: (&manifest.config).into(),
            layers: manifest.layers.iter().map(WireDescriptor::from).collect(),
            subject: manifest.subject.as_ref().map(WireDescriptor::from),
            annotations: some(&manifest.annotations),
        })
    }

    pub(super) fn some(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
        (!map.is_empty()).then(|| map.clone())
    }

    fn json(value: &impl serde::Serialize) -> Vec<u8> {
        serde_json::to_vec(value).expect("strings, numbers and maps with string keys always serialise")
    }

    impl From<&Descriptor> for WireDescriptor {
        fn from(descriptor: &Descriptor) -> Self {
            Self {
                media_type: descriptor.media_type.to_string(),
                digest: descriptor.digest.to_string(),
                size: descriptor.size,
                platform: descriptor.platform.as_ref().map(|platform| super::WirePlatform {
                    architecture: platform.architecture().to_owned(),
                    os: platform.os().to_owned(),
                    variant: platform.variant().map(str::to_owned),
                }),
                artifact_type: descriptor.artifact_type.clone(),
                annotations: some(&descriptor.annotations),
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireIndex {
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    manifests: Vec<WireDescriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<WireDescriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireManifest {
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: WireDescriptor,
    layers: Vec<WireDescriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<WireDescriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<WirePlatform>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
struct WirePlatform {
    architecture: String,
    os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

impl WirePlatform {
    fn parse(self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }
}

impl WireDescriptor {
    fn parse(self) -> Result<Descriptor, InvalidDocument> {
        Ok(Descriptor {
            media_type: MediaType::new(self.media_type),
            digest: self.digest.parse::<Digest>()?,
            size: self.size,
            platform: self.platform.map(WirePlatform::parse),
            artifact_type: self.artifact_type,
            annotations: self.annotations.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let layer = Descriptor::of("application/vnd.oci.image.layer.v1.tar+gzip", b"layer").annotated("k", "v");
        let manifest = ImageManifest {
            artifact_type: Some("application/x".to_owned()),
            config: Descriptor::of(MediaType::OCI_EMPTY, b"{}"),
            layers: vec![layer],
            subject: None,
            annotations: BTreeMap::new(),
        };
        let bytes = write::manifest(&manifest);
        assert_eq!(ImageManifest::parse(&bytes).unwrap(), manifest);
        let index = ImageIndex {
            artifact_type: None,
            manifests: vec![Descriptor::of(MediaType::OCI_MANIFEST, &bytes).for_platform(Platform::linux_arm64())],
            subject: None,
            annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        };
        assert_eq!(ImageIndex::parse(&write::index(&index)).unwrap(), index);
    }

    #[test]
    fn refuses_schema_1_and_other_digests() {
        assert!(matches!(ImageIndex::parse(br#"{"schemaVersion":1,"manifests":[]}"#), Err(InvalidDocument::SchemaVersion(1))));
        let other = br#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha512:00","size":1}]}"#;
        assert!(matches!(ImageIndex::parse(other), Err(InvalidDocument::Digest(_))));
    }
}
