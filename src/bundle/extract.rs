//! One item out of a verified bundle, in a form that other tools read.
//!
//! ```text
//! VerifiedBundle ─find_image / find_file→ Item ─write_layout → DIR       a single-platform OCI image layout
//!                                              ─write_archive→ FILE.tar  the same as an archive, byte for byte the same for the same bundle
//!                                              ─write_file   → FILE
//! ```
//!
//! Nothing appears under the final name before every byte was found right.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::contents::{CarriedFile, FileContent, Placement};
use super::image::{ImageTree, PlatformImage};
use super::layout::{self, Member};
use super::{VerifiedBundle, media};
use crate::fs;
use crate::types::oci::{ImageIndex, write};
use crate::types::{Descriptor, ImageReference, NodePath, Platform};

/// Where containerd looks for an image's whole name in a layout.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Bytes that are copied at once.
const BUFFER: usize = 1 << 20;

/// Why an item cannot be taken out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle has no such image.
    #[error("the bundle carries no image `{reference}`")]
    NoImage {
        /// What was asked for.
        reference: ImageReference,
        /// What it carries.
        carried: Vec<ImageReference>,
    },
    /// The bundle puts no such file on a node.
    #[error("the bundle carries no file `{path}`")]
    NoFile {
        /// What was asked for.
        path: NodePath,
    },
    /// The item is not made for this platform, or for several and none was named.
    #[error("`{item}` is carried for {}, not for {wanted}", list(carried))]
    Platform {
        /// Which item.
        item: String,
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        carried: Vec<Platform>,
    },
    /// Several components put different files on one path.
    #[error("several components put different files on `{path}`: {}", components.join(", "))]
    Ambiguous {
        /// Which path.
        path: NodePath,
        /// The components.
        components: Vec<String>,
    },
    /// Something has that name already.
    #[error("`{}` is there already", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The bundle's content is not what its root says.
    #[error("cannot take `{item}` out of the bundle")]
    Content {
        /// Which item.
        item: String,
        /// What was found.
        source: io::Error,
    },
    /// A blob could not be opened.
    #[error(transparent)]
    Bundle(#[from] super::Error),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] fs::Error),
}

fn list(platforms: &[Platform]) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An image for one platform that is to be taken out.
#[derive(Debug, Clone, Copy)]
pub struct ExtractedImage<'a> {
    bundle: &'a VerifiedBundle,
    tree: &'a ImageTree,
    image: &'a PlatformImage,
}

/// A file for one platform that is to be taken out.
#[derive(Debug, Clone, Copy)]
pub struct ExtractedFile<'a> {
    bundle: &'a VerifiedBundle,
    file: &'a CarriedFile,
    content: &'a FileContent,
}

impl VerifiedBundle {
    /// Finds an image. Without a platform: the only one, or that of this program.
    pub fn find_image(&self, reference: &ImageReference, platform: Option<&Platform>) -> Result<ExtractedImage<'_>, Error> {
        let tree = self.images().iter().find(|tree| tree.reference == *reference).ok_or_else(|| Error::NoImage {
            reference: reference.clone(),
            carried: self.images().iter().map(|tree| tree.reference.clone()).collect(),
        })?;
        let carried: Vec<&Platform> = tree.platforms.iter().map(|image| &image.platform).collect();
        let chosen = choose(&carried, platform, &reference.to_string())?;
        Ok(ExtractedImage { bundle: self, tree, image: &tree.platforms[chosen] })
    }

    /// Finds a file by its path on a node, or an archive by the directory that it is extracted into.
    pub fn find_file(&self, path: &NodePath, platform: Option<&Platform>) -> Result<ExtractedFile<'_>, Error> {
        let at_path = |file: &CarriedFile| match &file.placement {
            Placement::File(to) | Placement::Extract { into: to, .. } => to == path,
        };
        let found: Vec<(&str, &CarriedFile)> = (self.contents().components.iter())
            .flat_map(|component| component.files.iter().map(move |file| (component.name.as_str(), file)))
            .filter(|(_, file)| at_path(file))
            .collect();
        let mut contents: Vec<(&Platform, &CarriedFile, &FileContent)> =
            found.iter().flat_map(|(_, file)| file.contents.iter().map(move |(platform, content)| (platform, *file, content))).collect();
        let Some(first) = contents.first().copied() else {
            return Err(Error::NoFile { path: path.clone() });
        };
        if platform.is_none() && contents.iter().all(|(.., content)| content.descriptor.digest == first.2.descriptor.digest) {
            return Ok(ExtractedFile { bundle: self, file: first.1, content: first.2 });
        }
        let carried: Vec<&Platform> = contents.iter().map(|(platform, ..)| *platform).collect();
        let chosen = carried[choose(&carried, platform, &path.to_string())?].clone();
        contents.retain(|(platform, ..)| **platform == chosen);
        let (_, file, content) = contents[0];
        if contents.iter().any(|(.., other)| other.descriptor.digest != content.descriptor.digest) {
            let components = found.iter().map(|(component, _)| (*component).to_owned()).collect::<BTreeSet<_>>();
            return Err(Error::Ambiguous { path: path.clone(), components: components.into_iter().collect() });
        }
        Ok(ExtractedFile { bundle: self, file, content })
    }
}

/// Which of the platforms is meant.
fn choose(carried: &[&Platform], wanted: Option<&Platform>, item: &str) -> Result<usize, Error> {
    let only = carried.len() == 1 && wanted.is_none();
    let wanted = wanted.cloned().unwrap_or_else(Platform::of_this_program);
    if only {
        return Ok(0);
    }
    carried.iter().position(|platform| **platform == wanted).ok_or_else(|| {
        let carried: BTreeSet<Platform> = carried.iter().map(|platform| (*platform).clone()).collect();
        Error::Platform { item: item.to_owned(), wanted, carried: carried.into_iter().collect() }
    })
}

impl ExtractedImage<'_> {
    /// For which platform.
    pub fn platform(&self) -> &Platform {
        &self.image.platform
    }

    /// The manifest.
    pub fn manifest(&self) -> &Descriptor {
        &self.image.manifest
    }

    /// Its tag, by which `umoci` names it in the layout; `latest` where the reference has none.
    pub fn tag(&self) -> &str {
        self.tree.reference.tag().unwrap_or("latest")
    }

    /// Manifest, configuration and layers, each once.
    fn blobs(&self) -> Vec<&Descriptor> {
        let mut seen = BTreeSet::new();
        let all = [&self.image.manifest, &self.image.config].into_iter().chain(&self.image.layers);
        all.filter(|blob| seen.insert(blob.digest)).collect()
    }

    fn index_json(&self) -> Vec<u8> {
        let manifest = self.image.manifest.clone().for_platform(self.image.platform.clone());
        let manifest = manifest.annotated(media::REF_NAME, self.tag()).annotated(CONTAINERD_NAME, self.tree.reference.to_string());
        write::index(&ImageIndex { artifact_type: None, manifests: vec![manifest], subject: None, annotations: [].into() })
    }

    /// Writes an OCI image layout directory. `path` must not exist; it appears when all is in it.
    pub fn write_layout(&self, path: &Path) -> Result<(), Error> {
        if fs::metadata(path)?.is_some() {
            return Err(Error::Exists { path: path.to_owned() });
        }
        let directory = fs::temporary_directory_in(fs::parent(path))?;
        let blobs = directory.path().join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        fs::write_atomic(&directory.path().join("oci-layout"), layout::OCI_LAYOUT, 0o644)?;
        fs::write_atomic(&directory.path().join("index.json"), &self.index_json(), 0o644)?;
        for blob in self.blobs() {
            fs::write_atomic_with(&blobs.join(blob.digest.hex()), 0o644, |file| {
                copy(self.bundle, blob, &self.tree.reference.to_string(), file)
            })?;
        }
        fs::set_mode(directory.path(), 0o755)?;
        fs::rename(directory.path(), path)?;
        // It has its final name now and is not temporary any more.
        let _renamed = directory.keep();
        Ok(fs::sync_directory(fs::parent(path))?)
    }

    /// Writes the same as a tar archive with mode 0644 and without times and owners. What was under `path` is replaced.
    pub fn write_archive(&self, path: &Path) -> Result<(), Error> {
        let item = self.tree.reference.to_string();
        let failed = |source| Error::Content { item: item.clone(), source };
        let index = self.index_json();
        fs::write_atomic_with(path, 0o644, |file| {
            for (name, bytes) in [("oci-layout", layout::OCI_LAYOUT), ("index.json", index.as_slice())] {
                let member = Member::named(name, bytes.len() as u64);
                file.write_all(&member.header()).and_then(|()| file.write_all(bytes)).map_err(failed)?;
                write_padding(file, &member).map_err(failed)?;
            }
            for blob in self.blobs() {
                let member = Member::blob(blob);
                file.write_all(&member.header()).map_err(failed)?;
                copy(self.bundle, blob, &item, file)?;
                write_padding(file, &member).map_err(failed)?;
            }
            file.write_all(&layout::END).map_err(failed)
        })
    }
}

impl ExtractedFile<'_> {
    /// Its content.
    pub fn descriptor(&self) -> &Descriptor {
        &self.content.descriptor
    }

    /// Writes the file with its permission bits, but never those that change who it runs as. What was under `path` is replaced.
    pub fn write_file(&self, path: &Path) -> Result<(), Error> {
        let mode = self.file.mode.map_or(0o644, |mode| mode.bits() & 0o777);
        fs::write_atomic_with(path, mode, |file| copy(self.bundle, &self.content.descriptor, &self.content.title, file))
    }
}

fn write_padding(file: &mut &File, member: &Member) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(member.padding()), file).map(drop)
}

fn copy(bundle: &VerifiedBundle, blob: &Descriptor, item: &str, to: &mut &File) -> Result<(), Error> {
    let mut reader = BufReader::with_capacity(BUFFER, bundle.reader(blob)?);
    io::copy(&mut reader, to).map(drop).map_err(|source| Error::Content { item: item.to_owned(), source })
}
