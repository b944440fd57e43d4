//! What `verify` and `inspect` print for machines (cli.md, "For machines"): fields are added, never renamed.

use std::path::Path;

use serde::Serialize;

use crate::bundle::contents::{CarriedFile, Component, Contents, Placement};
use crate::bundle::image::{ImageTree, PlatformImage};
use crate::bundle::trust::SignatureStatus;
use crate::bundle::{Metadata, Problem, VerifiedBundle};

/// A document with line breaks.
pub fn json(document: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(document)
}

/// A signer, for people.
pub fn signer(status: &SignatureStatus) -> String {
    let key = status.key_id.map_or_else(|| "a key that is not named".to_owned(), |key| key.to_string());
    if status.trusted { format!("{key} (trusted)") } else { format!("{key} (claimed; no trusted key, NOT verified)") }
}

/// The result of `verify`.
#[derive(Debug, Serialize)]
pub struct Verification {
    result: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    signatures: Vec<Signature>,
    blobs: Blobs,
    problems: Vec<Found>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Refused,
}

/// One signer.
#[derive(Debug, Serialize)]
pub struct Signature {
    key_id: Option<String>,
    trusted: bool,
}

impl From<&SignatureStatus> for Signature {
    fn from(status: &SignatureStatus) -> Self {
        Self { key_id: status.key_id.map(|key| key.to_string()), trusted: status.trusted }
    }
}

/// How much a bundle holds, or was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Blobs {
    /// Blobs: the root, documents and content.
    pub count: u64,
    /// Their bytes, uncompressed.
    pub bytes: u64,
}

impl Blobs {
    /// Of a whole bundle.
    pub fn of(metadata: &Metadata) -> Self {
        let blobs = || metadata.documents().iter().chain(metadata.content());
        Self { count: 1 + blobs().count() as u64, bytes: metadata.root().len() as u64 + blobs().map(|blob| blob.size).sum::<u64>() }
    }
}

#[derive(Debug, Serialize)]
struct Found {
    what: String,
    on: Vec<String>,
    cause: String,
}

impl Verification {
    /// Of a bundle whose content was checked.
    pub fn of(bundle: &VerifiedBundle, problems: &[Problem]) -> Self {
        let found = |problem: &Problem| Found {
            what: problem.digest.map_or_else(|| problem.member.clone(), |digest| digest.to_string()),
            on: problem.belongs_to.clone(),
            cause: problem.cause.clone(),
        };
        let contents = bundle.contents();
        Self {
            result: if problems.is_empty() { Verdict::Ok } else { Verdict::Refused },
            name: Some(contents.name.to_string()),
            version: Some(contents.version.to_string()),
            digest: Some(bundle.root_digest().to_string()),
            signatures: bundle.signatures().iter().map(Signature::from).collect(),
            blobs: Blobs::of(bundle),
            problems: problems.iter().map(found).collect(),
        }
    }

    /// Of a bundle that was refused before its content was read.
    pub fn refused(signatures: &[SignatureStatus], path: &Path, error: &anyhow::Error) -> Self {
        let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
        let cause = if causes.is_empty() { error.to_string() } else { causes.join(": ") };
        Self {
            result: Verdict::Refused,
            name: None,
            version: None,
            digest: None,
            signatures: signatures.iter().map(Signature::from).collect(),
            blobs: Blobs::default(),
            problems: vec![Found { what: error.to_string(), on: vec![path.display().to_string()], cause }],
        }
    }
}

/// What `inspect` prints.
#[derive(Debug, Serialize)]
pub struct Inspection {
    name: String,
    version: String,
    description: String,
    digest: String,
    platforms: Vec<String>,
    signatures: Vec<Signature>,
    /// A trusted key signed the bundle. Where not, nothing in this document is known to be true.
    verified: bool,
    /// Every image.
    pub images: Vec<Image>,
    /// Every file.
    pub files: Vec<File>,
    rpms: [(); 0],
    charts: [(); 0],
    size: u64,
}

/// One image.
#[derive(Debug, Serialize)]
pub struct Image {
    /// Its name.
    pub reference: String,
    /// Of the upstream index or manifest.
    pub digest: String,
    /// Carried ones.
    pub platforms: Vec<ImagePlatform>,
    /// Components that name it.
    pub components: Vec<String>,
}

/// An image for one platform.
#[derive(Debug, Serialize)]
pub struct ImagePlatform {
    /// Which.
    pub platform: String,
    /// Of its manifest.
    pub digest: String,
    /// Bytes of manifest, configuration and layers.
    pub size: u64,
    /// Number of layers.
    pub layers: usize,
}

/// One file, or archive that is extracted.
#[derive(Debug, Serialize)]
pub struct File {
    /// The component that puts it there.
    pub component: String,
    /// Where to on the node.
    pub path: String,
    /// It is an archive whose content goes into `path`.
    pub extract: bool,
    /// Permission bits, `0644`.
    pub mode: Option<String>,
    /// Owner.
    pub owner: Option<String>,
    /// Group.
    pub group: Option<String>,
    /// Variables in it are substituted at deploy.
    pub template: bool,
    /// Per platform.
    pub contents: Vec<FileContent>,
}

/// A file for one platform.
#[derive(Debug, Serialize)]
pub struct FileContent {
    /// Which.
    pub platform: String,
    /// Of its bytes.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Where it came from.
    pub origin: String,
}

impl Inspection {
    /// Of a bundle's metadata and what its signatures are worth. `size` is that of the file, in bytes.
    pub fn of(metadata: &Metadata, signatures: &[SignatureStatus], size: u64) -> Self {
        let contents = metadata.contents();
        let files = |component: &Component| component.files.iter().map(|file| File::of(component, file)).collect::<Vec<_>>();
        Self {
            name: contents.name.to_string(),
            version: contents.version.to_string(),
            description: contents.description.clone(),
            digest: metadata.root_digest().to_string(),
            platforms: contents.platforms.iter().map(ToString::to_string).collect(),
            signatures: signatures.iter().map(Signature::from).collect(),
            verified: signatures.iter().any(|status| status.trusted),
            images: metadata.images().iter().map(|tree| Image::of(tree, contents)).collect(),
            files: contents.components.iter().flat_map(files).collect(),
            rpms: [],
            charts: [],
            size,
        }
    }
}

impl Image {
    fn of(tree: &ImageTree, contents: &Contents) -> Self {
        let names_it = |component: &&Component| component.images.iter().any(|image| image.reference == tree.reference);
        let platform = |image: &PlatformImage| ImagePlatform {
            platform: image.platform.to_string(),
            digest: image.manifest.digest.to_string(),
            size: image.manifest.size + image.config.size + image.layers.iter().map(|layer| layer.size).sum::<u64>(),
            layers: image.layers.len(),
        };
        Self {
            reference: tree.reference.to_string(),
            digest: tree.top.digest.to_string(),
            platforms: tree.platforms.iter().map(platform).collect(),
            components: contents.components.iter().filter(names_it).map(|component| component.name.to_string()).collect(),
        }
    }
}

impl File {
    fn of(component: &Component, file: &CarriedFile) -> Self {
        let (path, extract) = match &file.placement {
            Placement::File(path) => (path, false),
            Placement::Extract { into, .. } => (into, true),
        };
        let contents = file.contents.iter().map(|(platform, content)| FileContent {
            platform: platform.to_string(),
            sha256: content.descriptor.digest.hex(),
            size: content.descriptor.size,
            origin: content.origin.clone(),
        });
        Self {
            component: component.name.to_string(),
            path: path.to_string(),
            extract,
            mode: file.mode.map(|mode| mode.to_string()),
            owner: file.owner.clone(),
            group: file.group.clone(),
            template: file.template,
            contents: contents.collect(),
        }
    }
}
