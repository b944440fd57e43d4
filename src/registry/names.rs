//! Which repositories a node's registry has: one file per deployed package, `<state>/registry/names/<package>.json`.
//!
//! ```text
//! deploy ──write──→ names/payments.json ─┐
//! deploy ──write──→ names/podinfo.json  ─┴─read_all──→ Vec<Names> ──→ node::NodeContent
//! ```
//!
//! A file is replaced whole, after the blobs that it names are in the store and flushed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::names_v1;
use crate::fs;
use crate::types::{Descriptor, MediaType, PackageName};

/// A names file is read up to this many bytes: room for about 100,000 names.
const LIMIT: u64 = 32 << 20;

/// What one package brought into the node registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The package.
    pub package: PackageName,
    /// Repository, as [`crate::types::ImageReference::mirrored_repository`] writes it, to what is in it.
    pub repositories: BTreeMap<String, Vec<Name>>,
}

/// A manifest or index of a repository, with the tag that names it where there is one.
///
/// Children of an index need no entry: they are served where the store holds them. An entry without a tag is served by digest, as
/// an attestation or signature that refers to another manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The tag.
    pub tag: Option<String>,
    /// What it names: media type, digest and size; nothing else is kept.
    pub manifest: Descriptor,
    /// How often the tag had been moved from one package to another when it came to this one. Of packages that give one tag two
    /// meanings the highest holds it, and of equals the first by name.
    pub moved: u64,
}

impl Name {
    /// A name for a manifest; platform and annotations of the descriptor are left out.
    #[must_use]
    pub fn new(tag: Option<&str>, manifest: &Descriptor) -> Self {
        let manifest = Descriptor::new(manifest.media_type.clone(), manifest.digest, manifest.size);
        Self { tag: tag.map(str::to_owned), manifest, moved: 0 }
    }
}

/// Why the names of a node cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// A file is not what deploy writes.
    #[error("`{}` is no list of registry names", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: names_v1::Invalid,
    },
}

/// The names directory below the state directory `state` (`/var/lib/coracle`).
#[must_use]
pub fn directory(state: &Path) -> PathBuf {
    state.join("registry/names")
}

/// The file of a package below the state directory, for who writes it with its own hands: deploy, through its door.
#[must_use]
pub fn file(state: &Path, package: &PackageName) -> PathBuf {
    path(&directory(state), package)
}

/// What is in the file of a package.
#[must_use]
pub fn encode(names: &Names) -> Vec<u8> {
    names_v1::encode(names)
}

/// Reads what [`encode`] wrote; `from` is for the error.
///
/// # Errors
/// It is malformed, or of a newer version.
pub fn decode(bytes: &[u8], from: &Path) -> Result<Names, Error> {
    names_v1::decode(bytes).map_err(|source| Error::Malformed { path: from.to_owned(), source })
}

/// Replaces what `names.package` brought. Makes the directory where it is missing.
///
/// The file is there whole or not at all, also after a power loss. A running registry notices it at the next request.
///
/// # Errors
/// The file cannot be written.
pub fn write(state: &Path, names: &Names) -> Result<(), Error> {
    let directory = directory(state);
    fs::create_dir_all(&directory)?;
    Ok(fs::write_atomic(&path(&directory, &names.package), &names_v1::encode(names), 0o644)?)
}

/// Takes away what a package brought; that there is nothing is no error.
///
/// # Errors
/// The file cannot be removed.
pub fn remove(state: &Path, package: &PackageName) -> Result<(), Error> {
    let directory = directory(state);
    fs::remove_file(&path(&directory, package))?;
    if fs::metadata(&directory)?.is_some() {
        fs::sync_directory(&directory)?;
    }
    Ok(())
}

/// The names of all packages, sorted by package; none where the directory is missing.
///
/// # Errors
/// A file cannot be read, or is malformed or of a newer version.
pub fn read_all(state: &Path) -> Result<Vec<Names>, Error> {
    files(state)?
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path, LIMIT)?;
            names_v1::decode(&bytes).map_err(|source| Error::Malformed { path, source })
        })
        .collect()
}

/// The files of the directory, sorted. Temporary files of a writer begin with a dot.
pub(super) fn files(state: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = fs::read_dir(&directory(state))?;
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && path.extension().is_some_and(|extension| extension == "json")
    });
    Ok(files)
}

fn path(directory: &Path, package: &PackageName) -> PathBuf {
    directory.join(format!("{package}.json"))
}

/// Whether a media type is one that the manifests endpoint serves.
pub(super) fn is_manifest(media_type: &MediaType) -> bool {
    media_type.is_image_index() || media_type.is_image_manifest()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(package: &str, tag: &str) -> Names {
        let manifest = Descriptor::of(MediaType::OCI_INDEX, tag.as_bytes());
        Names {
            package: package.parse().unwrap(),
            repositories: BTreeMap::from([("ghcr.io/a/b".to_owned(), vec![Name::new(Some(tag), &manifest), Name::new(None, &manifest)])]),
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_package_replaces_its_own() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(read_all(state.path()).unwrap(), []);
        write(state.path(), &names("b", "1")).unwrap();
        write(state.path(), &names("a", "1")).unwrap();
        let mut moved = names("b", "2");
        moved.repositories.get_mut("ghcr.io/a/b").unwrap()[0].moved = 3;
        write(state.path(), &moved).unwrap();
        assert_eq!(read_all(state.path()).unwrap(), [names("a", "1"), moved]);
        remove(state.path(), &"b".parse().unwrap()).unwrap();
        remove(state.path(), &"b".parse().unwrap()).unwrap();
        assert_eq!(read_all(state.path()).unwrap(), [names("a", "1")]);
    }

    #[test]
    fn a_newer_or_broken_file_is_named() {
        let state = tempfile::tempdir().unwrap();
        write(state.path(), &names("a", "1")).unwrap();
        let path = directory(state.path()).join("a.json");
        for (text, cause) in [
            ("{\"version\":2}", "it has version 2, this program knows 1"),
            ("{", "it is no JSON document of this kind"),
            (r#"{"version":1,"package":"A","repositories":{}}"#, "`A` is not a package name"),
        ] {
            fs::write_atomic(&path, text.as_bytes(), 0o644).unwrap();
            let error = read_all(state.path()).unwrap_err();
            assert_eq!(error.to_string(), format!("`{}` is no list of registry names", path.display()));
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.starts_with(cause), "{source}");
        }
    }
}
