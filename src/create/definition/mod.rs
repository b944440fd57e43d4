//! `coracle.yaml`: what an author writes, read strictly into a [`Package`].
//!
//! ```text
//! text ─tree→ Node (every value with its place) ─collect→ v1 (wire types) ─convert→ Package
//!          └── what is wrong at any of the arrows: Problem ──→ Error::Invalid, all of them, in the order of the file
//! ```
//!
//! A problem stops only what depends on it: an unknown key, a bad digest and a missing file are reported together.
//! The JSON schema is generated from the same wire types.

mod collect;
mod component;
mod convert;
mod field;
mod file;
mod image;
pub mod package;
mod parameter;
mod problem;
mod schema;
pub mod template;
mod tree;
mod v1;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use problem::{Problem, Problems};
pub use schema::schema;

use crate::fs;
use crate::types::Platform;
use package::{Package, SourceFile};

/// The name of a definition file.
pub const FILE_NAME: &str = "coracle.yaml";

/// A definition file is at most this long, in bytes.
const LIMIT: u64 = 4 << 20;
/// A template or a list of images that is looked into is at most this long, in bytes.
const BESIDE_LIMIT: u64 = 16 << 20;

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The definition is wrong. Its `Display` has every problem with place, snippet, cause and hint.
    #[error("{0}")]
    Invalid(Problems),
    /// There is no definition.
    #[error("there is no {FILE_NAME} in `{}`", directory.display())]
    Missing {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// Reads a definition: `path` is the file, or the directory that holds `coracle.yaml`.
///
/// `parameters` are `--param NAME=VALUE`, which win over what the file says. `platforms` narrows the package to some of its
/// platforms; empty, it is as written.
pub fn load(path: &Path, parameters: &[(String, String)], platforms: &[Platform]) -> Result<Package, Error> {
    let is_directory = fs::metadata_following(path)?.is_some_and(|metadata| metadata.is_dir());
    let file = if is_directory { if path == Path::new(".") { FILE_NAME.into() } else { path.join(FILE_NAME) } } else { path.to_owned() };
    let text = match fs::read_to_string(&file, LIMIT) {
        Err(error) if error.is_not_found() && is_directory => return Err(Error::Missing { directory: path.to_owned() }),
        text => text?,
    };
    let directory = fs::parent(&file).to_owned();
    parse(SourceFile { path: file, directory, text }, &Choices { parameters, platforms }, &OnDisk)
}

/// What was chosen on the command line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choices<'a> {
    /// Values that win over the definition's.
    pub parameters: &'a [(String, String)],
    /// Some of the package's platforms; empty: all of them.
    pub platforms: &'a [Platform],
}

/// The files beside the definition, as far as parsing asks for them.
pub trait Beside {
    /// What is at a path, following links; `None` where nothing is.
    fn look(&self, path: &Path) -> Result<Option<Entry>, fs::Error>;
    /// The text of a template or of a list.
    fn read(&self, path: &Path) -> Result<String, fs::Error>;
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File,
    /// A directory.
    Directory,
}

struct OnDisk;

impl Beside for OnDisk {
    fn look(&self, path: &Path) -> Result<Option<Entry>, fs::Error> {
        let metadata = fs::metadata_following(path)?;
        Ok(metadata.map(|metadata| if metadata.is_dir() { Entry::Directory } else { Entry::File }))
    }

    fn read(&self, path: &Path) -> Result<String, fs::Error> {
        fs::read_to_string(path, BESIDE_LIMIT)
    }
}

/// Parses a definition. Nothing is looked at but what `beside` shows.
pub fn parse(file: SourceFile, choices: &Choices<'_>, beside: &dyn Beside) -> Result<Package, Error> {
    let file = Arc::new(file);
    let invalid = |list| Error::Invalid(Problems::new(Arc::clone(&file), list));
    let node = tree::read(&file.text).map_err(|problem| invalid(vec![problem]))?;
    if node.value == tree::Value::Nothing {
        let problem = Problem::new(None, "the definition is empty").hint("`coracle init DIR` writes one to begin with");
        return Err(invalid(vec![problem]));
    }
    let (definition, mut problems) = collect::collect(&node);
    let package = definition.map(|definition| convert::convert(&file, &definition, choices, beside, &mut problems));
    match package {
        Some(Some(package)) if problems.is_empty() => Ok(package),
        _ => {
            convert::name_components(&node, &mut problems);
            Err(invalid(problems))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Files beside a definition that is not on a disk.
    struct InMemory(BTreeMap<PathBuf, &'static str>);

    impl Beside for InMemory {
        fn look(&self, path: &Path) -> Result<Option<Entry>, fs::Error> {
            Ok(self.0.contains_key(path).then_some(Entry::File))
        }

        fn read(&self, path: &Path) -> Result<String, fs::Error> {
            self.0.get(path).map(|text| (*text).to_owned()).ok_or_else(|| fs::Error::new("open", path, std::io::ErrorKind::NotFound.into()))
        }
    }

    const EXAMPLE: &str = include_str!("../../../examples/podinfo/coracle.yaml");

    fn read(text: String) -> Result<Package, Error> {
        let beside =
            InMemory(BTreeMap::from([("x/files/podinfo.env".into(), "${{ port }}"), ("x/files/load-images.txt".into(), "busybox")]));
        parse(SourceFile { path: "x/coracle.yaml".into(), directory: "x".into(), text }, &Choices::default(), &beside)
    }

    #[test]
    fn parses_without_a_disk() {
        let package = read(EXAMPLE.to_owned()).unwrap();
        assert_eq!(
            package.components.iter().map(|component| component.name.as_str()).collect::<Vec<_>>(),
            ["sandbox", "podinfo", "podcli", "load"]
        );
    }

    #[test]
    fn an_image_named_per_architecture_is_one_entry_for_each_and_so_is_a_path() {
        let text = "\
apiVersion: coracle/v1alpha1
kind: Package
metadata: { name: demo, version: 1.0.0 }
platforms: [linux/arm64, linux/amd64]
components:
  - name: one
    images: [\"acme/{arch}:1\"]
    files: [{ content: x, path: \"/opt/{rpm_arch}/x\" }]
";
        let package = read(text.to_owned()).unwrap();
        let component = &package.components[0];
        let images: Vec<String> = component.images.iter().map(|image| format!("{:?} {:?}", image.origin, image.platforms)).collect();
        assert_eq!(images.len(), 2, "{images:?}");
        assert!(component.images.iter().all(|image| image.platforms.len() == 1));
        let paths: Vec<_> = component
            .files
            .iter()
            .map(|file| (format!("{:?}", file.placement), file.origins.keys().map(ToString::to_string).collect::<Vec<_>>()))
            .collect();
        assert_eq!(
            paths,
            [
                ("File(NodePath(\"/opt/x86_64/x\"))".to_owned(), vec!["linux/amd64".to_owned()]),
                ("File(NodePath(\"/opt/aarch64/x\"))".to_owned(), vec!["linux/arm64".to_owned()]),
            ]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whatever an author types, he gets an answer with at least one problem, and each can be shown.
        #[test]
        fn a_definition_with_something_changed_parses_or_says_why(
            at in 0..EXAMPLE.len(), cut in 0usize..12, put in "[ -~\n\t é]{0,6}",
        ) {
            prop_assume!(EXAMPLE.is_char_boundary(at));
            let end = (at + cut).min(EXAMPLE.len());
            prop_assume!(EXAMPLE.is_char_boundary(end));
            let text = format!("{}{put}{}", &EXAMPLE[..at], &EXAMPLE[end..]);
            if let Err(Error::Invalid(problems)) = read(text) {
                prop_assert!(!problems.list.is_empty());
                prop_assert!(!problems.to_string().is_empty());
            }
        }

        #[test]
        fn any_text_at_all_gets_an_answer(text in "[-:{}\\[\\]&*!|>'\"a-c0-9 ,#\n\t?%@`]{0,60}") {
            prop_assert!(read(text).is_err());
        }
    }
}
