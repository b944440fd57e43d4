//! The lock file as JSON, version 1 (`cli.md`, "For machines"). Fields are added, never renamed; unknown ones are ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Archived, Error, Lock, LockedFile, LockedImage};
use crate::types::{Digest, MediaType};

/// The version that this module writes, and the newest that it reads.
pub(super) const VERSION: u64 = 1;

/// Enough of any version to know which it is.
#[derive(Deserialize)]
pub(super) struct Versioned {
    pub version: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Document {
    version: u64,
    images: Vec<Image>,
    files: Vec<File>,
    #[serde(default)]
    tools: Vec<Tool>,
}

#[derive(Serialize, Deserialize)]
struct Image {
    reference: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    archive: Option<String>,
    digest: String,
    media_type: String,
    size: u64,
    platforms: Vec<ImagePlatform>,
}

#[derive(Serialize, Deserialize)]
struct ImagePlatform {
    platform: String,
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct File {
    url: String,
    platform: String,
    size: u64,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Tool {
    name: String,
    platform: String,
    /// `null`: the tool does not travel for this platform.
    sha256: Option<String>,
    size: Option<u64>,
}

/// The only tool of this version.
const CORACLE: &str = "coracle";

impl From<&Lock> for Document {
    fn from(lock: &Lock) -> Self {
        let image = |archive: Option<&String>, image: &LockedImage| Image {
            reference: image.reference.to_string(),
            archive: archive.cloned(),
            digest: image.digest.to_string(),
            media_type: image.media_type.to_string(),
            size: image.size,
            platforms: image
                .platforms
                .iter()
                .map(|(platform, digest)| ImagePlatform { platform: platform.to_string(), digest: digest.to_string() })
                .collect(),
        };
        let registry = lock.images.values().map(|locked| image(None, locked));
        let archived = lock.archives.iter().map(|archived| image(Some(&archived.archive), &archived.image));
        let mut images: Vec<Image> = registry.chain(archived).collect();
        images.sort_by(|a, b| (&a.reference, &a.archive, &a.digest).cmp(&(&b.reference, &b.archive, &b.digest)));
        let files = lock.files.iter().map(|((url, platform), file)| File {
            url: url.clone(),
            platform: platform.to_string(),
            size: file.size,
            sha256: file.sha256.hex(),
        });
        let tools = lock.tools.iter().map(|(platform, tool)| Tool {
            name: CORACLE.to_owned(),
            platform: platform.to_string(),
            sha256: tool.map(|tool| tool.sha256.hex()),
            size: tool.map(|tool| tool.size),
        });
        Self { version: VERSION, images, files: files.collect(), tools: tools.collect() }
    }
}

impl TryFrom<Document> for Lock {
    type Error = Error;

    fn try_from(document: Document) -> Result<Self, Error> {
        let mut lock = Self::default();
        for wire in document.images {
            let archive = wire.archive.clone();
            let image = image(wire)?;
            match archive {
                Some(archive) => {
                    let archived = Archived { archive, image };
                    if lock.archives.contains(&archived) {
                        return Err(Error::Twice { entry: format!("the image `{}`", archived.image.reference) });
                    }
                    lock.archives.insert(archived);
                }
                None => once(lock.images.insert(image.reference.clone(), image.clone()).as_ref(), || {
                    format!("the image `{}`", image.reference)
                })?,
            }
        }
        for wire in document.files {
            let entry = || format!("the file `{}` for {}", wire.url, wire.platform);
            let sha256 = Digest::from_hex(&wire.sha256).map_err(|error| value(&entry(), error))?;
            let platform = wire.platform.parse().map_err(|error| value(&entry(), error))?;
            once(lock.files.insert((wire.url.clone(), platform), LockedFile { sha256, size: wire.size }).as_ref(), entry)?;
        }
        for wire in document.tools.into_iter().filter(|tool| tool.name == CORACLE) {
            let entry = || format!("the tool `{}` for {}", wire.name, wire.platform);
            let platform = wire.platform.parse().map_err(|error| value(&entry(), error))?;
            let tool = match (&wire.sha256, wire.size) {
                (Some(sha256), Some(size)) => {
                    Some(LockedFile { sha256: Digest::from_hex(sha256).map_err(|error| value(&entry(), error))?, size })
                }
                (None, _) => None,
                (Some(_), None) => return Err(Error::Value { entry: entry(), source: "it has a `sha256` and no `size`".into() }),
            };
            once(lock.tools.insert(platform, tool).as_ref(), entry)?;
        }
        Ok(lock)
    }
}

fn image(wire: Image) -> Result<LockedImage, Error> {
    let entry = format!("the image `{}`", wire.reference);
    let mut platforms = BTreeMap::new();
    for child in &wire.platforms {
        let platform = child.platform.parse().map_err(|error| value(&entry, error))?;
        let digest = child.digest.parse().map_err(|error| value(&entry, error))?;
        once(platforms.insert(platform, digest).as_ref(), || format!("{entry} for {}", child.platform))?;
    }
    Ok(LockedImage {
        reference: wire.reference.parse().map_err(|error| value(&entry, error))?,
        digest: wire.digest.parse().map_err(|error| value(&entry, error))?,
        media_type: MediaType::new(wire.media_type),
        size: wire.size,
        platforms,
    })
}

fn value(entry: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Value { entry: entry.to_owned(), source: error.into() }
}

fn once<T>(before: Option<&T>, entry: impl FnOnce() -> String) -> Result<(), Error> {
    if before.is_some() { Err(Error::Twice { entry: entry() }) } else { Ok(()) }
}
