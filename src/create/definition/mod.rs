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
