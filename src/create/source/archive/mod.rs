//! Images on this machine: OCI layouts as directories, OCI archives and docker archives, gzipped or not.
//!
//! ```text
//! directory ─┐
//! .tar ──────┼─► members (name → span of a file) ─► oci-layout + index.json: as they are
//! .tar.gz ───┘   (unpacked once, nameless)          manifest.json: docker.rs makes an OCI manifest for each image
//! ```
//!
//! Only regular members are read, by their place in the file: links are not followed, nothing is extracted, and a name with `..` is
//! refused. Memory holds the table of members and documents under [`super::DOCUMENT_LIMIT`].

mod docker;
mod docker_save_v1_2;
mod members;
mod oci_layout_v1;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use self::members::{Members, Span};
use self::oci_layout_v1::LayoutFile;
use super::DOCUMENT_LIMIT;
use crate::fs;
use crate::types::oci::{ImageIndex, InvalidDocument};
use crate::types::{Descriptor, Digest, ImageReference};

/// Annotation of an entry of `index.json`: its tag or name (image-spec `annotations.md`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation of containerd and BuildKit: its full name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Why an archive gives no image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// It cannot be read as tar or gzip.
    #[error("cannot read the archive `{}`", path.display())]
    Read {
        /// The archive.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It has neither an OCI layout nor a docker `manifest.json`.
    #[error("`{}` is no OCI layout, OCI archive or docker archive", path.display())]
    Kind {
        /// The archive.
        path: PathBuf,
    },
    /// A member that nothing may be read from.
    #[error("`{}` has the member `{member}`: {why}", path.display())]
    Member {
        /// The archive.
        path: PathBuf,
        /// The member's name.
        member: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A document in it cannot be read.
    #[error("`{member}` in `{}` cannot be read", path.display())]
    Document {
        /// The archive.
        path: PathBuf,
        /// The member or digest.
        member: String,
        /// What is wrong with it.
        source: InvalidDocument,
    },
    /// A blob or member that its documents name is missing.
    #[error("`{}` has no `{member}`", path.display())]
    Missing {
        /// The archive.
        path: PathBuf,
        /// The member or digest.
        member: String,
    },
    /// A document in it has other bytes than its name says.
    #[error("`{}` has other content for `{digest}`", path.display())]
    Wrong {
        /// The archive.
        path: PathBuf,
        /// What it should be.
        digest: Digest,
    },
    /// It has not exactly one image, or not the one that is wanted.
    #[error("`{}` has {} images, which one is meant is not clear", path.display(), names.len())]
    Ambiguous {
        /// The archive.
        path: PathBuf,
        /// What it says that its images are called; an empty name for one without.
        names: Vec<String>,
    },
    /// It does not say what its image is called.
    #[error("`{}` does not name its image", path.display())]
    Nameless {
        /// The archive.
        path: PathBuf,
        /// What it says instead; may be empty.
        said: String,
    },
}

/// An archive or layout that is open.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    members: Members,
    /// Documents that were made here, and blobs of docker archives, by digest.
    made: BTreeMap<Digest, Vec<u8>>,
    spans: BTreeMap<Digest, Span>,
    images: Vec<Named>,
}

/// An image of an archive with the names that the archive gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    names: Vec<String>,
    top: Descriptor,
}

impl Archive {
    /// Reads the table of members and the index. Blocks.
    pub fn open(path: &Path, scratch: &Path) -> Result<Self, Error> {
        let members = Members::open(path, scratch)?;
        let mut archive = Self { path: path.to_owned(), members, made: BTreeMap::new(), spans: BTreeMap::new(), images: Vec::new() };
        if let Some(layout) = archive.small("oci-layout")? {
            archive.read_layout(&layout)?;
        } else if let Some(manifest) = archive.small("manifest.json")? {
            docker::read(&mut archive, &manifest)?;
        } else {
            return Err(Error::Kind { path: archive.path });
        }
        Ok(archive)
    }

    fn read_layout(&mut self, layout: &[u8]) -> Result<(), Error> {
        let layout: LayoutFile = serde_json::from_slice(layout).map_err(|error| self.invalid("oci-layout", error))?;
        if !layout.image_layout_version.starts_with("1.") {
            let why = "only version 1 of the OCI image layout is known";
            return Err(Error::Member { path: self.path.clone(), member: "oci-layout".to_owned(), why });
        }
        let bytes = self.small("index.json")?.ok_or_else(|| self.missing("index.json"))?;
        let index = ImageIndex::parse(&bytes).map_err(|error| self.invalid("index.json", error))?;
        self.images = index
            .manifests
            .into_iter()
            .map(|mut top| {
                // The name is what index.json calls the image, no property of the image.
                let names = [CONTAINERD_NAME, REF_NAME].iter().filter_map(|key| top.annotations.get(*key).cloned()).collect();
                top.annotations.clear();
                Named { names, top }
            })
            .collect();
        Ok(())
    }

    /// The image that is meant, and its name: the one that is wanted, or the only full name that the archive states.
    pub fn image(&self, wanted: Option<&ImageReference>) -> Result<(ImageReference, Descriptor), Error> {
        let ambiguous = || {
            let names = self.images.iter().map(|image| image.names.first().cloned().unwrap_or_default()).collect();
            Error::Ambiguous { path: self.path.clone(), names }
        };
        if let Some(wanted) = wanted {
            // A digest says which image is meant, whatever it is called.
            let meant = |image: &&Named| wanted.digest().is_none_or(|digest| *digest == image.top.digest);
            let images: Vec<&Named> = self.images.iter().filter(meant).collect();
            let of = |holds: &dyn Fn(&Named) -> bool| images.iter().copied().filter(|image| holds(image)).collect::<Vec<&Named>>();
            let full = of(&|image| image.references().contains(wanted));
            let tagged = of(&|image| image.names.iter().any(|name| Some(name.as_str()) == wanted.tag()));
            let found = match (full.as_slice(), tagged.as_slice(), images.as_slice()) {
                ([one], ..) | ([], [one], _) | ([], [], [one]) => *one,
                ([], [], []) if wanted.digest().is_some() => return Err(self.missing(&wanted.to_string())),
                _ => return Err(ambiguous()),
            };
            return Ok((wanted.clone(), found.top.clone()));
        }
        let [image] = self.images.as_slice() else { return Err(ambiguous()) };
        match image.references().as_slice() {
            [reference] => Ok((reference.clone(), image.top.clone())),
            _ => Err(Error::Nameless { path: self.path.clone(), said: image.names.join(", ") }),
        }
    }

    /// A document in memory, checked.
    pub fn document(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        if let Some(bytes) = self.made.get(digest) {
            return Ok(bytes.clone());
        }
        let span = self.span(digest)?;
        if span.size > DOCUMENT_LIMIT {
            let why = "it is too large for a document";
            return Err(Error::Member { path: self.path.clone(), member: digest.to_string(), why });
        }
        let mut bytes = Vec::new();
        self.members.reader(&span, 0)?.read_to_end(&mut bytes).map_err(|source| self.read_error(source))?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(Error::Wrong { path: self.path.clone(), digest: *digest }) }
    }

    /// The bytes of a blob from `offset` on, unchecked.
    pub fn reader(&self, digest: &Digest, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        self.members.reader(&self.span(digest)?, offset)
    }

    fn span(&self, digest: &Digest) -> Result<Span, Error> {
        match self.spans.get(digest) {
            Some(span) => Ok(span.clone()),
            None => self.members.find(&format!("blobs/sha256/{}", digest.hex()))?.ok_or_else(|| self.missing(&digest.to_string())),
        }
    }

    /// A member under the limit of documents.
    fn small(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(span) = self.members.find(name)? else { return Ok(None) };
        if span.size > DOCUMENT_LIMIT {
            let why = "it is too large for a document";
            return Err(Error::Member { path: self.path.clone(), member: name.to_owned(), why });
        }
        let mut bytes = Vec::new();
        self.members.reader(&span, 0)?.read_to_end(&mut bytes).map_err(|source| self.read_error(source))?;
        Ok(Some(bytes))
    }

    fn missing(&self, member: &str) -> Error {
        Error::Missing { path: self.path.clone(), member: member.to_owned() }
    }

    fn invalid(&self, member: &str, source: impl Into<InvalidDocument>) -> Error {
        Error::Document { path: self.path.clone(), member: member.to_owned(), source: source.into() }
    }

    fn read_error(&self, source: io::Error) -> Error {
        Error::Read { path: self.path.clone(), source }
    }
}

impl Named {
    /// The names that are full references, each once. A bare tag (`1.27`) names nothing by itself.
    fn references(&self) -> Vec<ImageReference> {
        let full = |name: &&String| name.contains('/') || name.contains(':');
        let mut references: Vec<ImageReference> = self.names.iter().filter(full).filter_map(|name| name.parse().ok()).collect();
        references.sort();
        references.dedup();
        references
    }
}

#[cfg(test)]
mod tests;
