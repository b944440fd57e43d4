//! A package definition that is valid by construction: parameters expanded, names checked, each entry with its place in the file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::bundle::contents::{Only, Placement, Target, Variable};
use crate::types::{ComponentName, Digest, FileMode, ImageReference, PackageName, Platform, VariableName};

/// One `coracle.yaml`, parsed and checked.
#[derive(Debug, Clone)]
pub struct Package {
    /// The file that it was read from, and its text: problems found later point into it.
    pub file: Arc<SourceFile>,
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: semver::Version,
    /// What it is, for people; may be empty.
    pub description: String,
    /// The platforms that the bundle is to carry, sorted, at least one.
    pub platforms: Vec<Platform>,
    /// What the isolated side is.
    pub target: Target,
    /// What templates name of the parameters, with the value for each platform.
    pub parameters: BTreeMap<VariableName, BTreeMap<Platform, String>>,
    /// What is asked for at deploy.
    pub variables: BTreeMap<VariableName, Variable>,
    /// Components in the order in which they are deployed.
    pub components: Vec<Component>,
}

/// A definition file.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As a person would name it.
    pub path: PathBuf,
    /// The directory that local files are beside of.
    pub directory: PathBuf,
    /// What is in it.
    pub text: String,
}

/// A place in the definition; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// One component as written.
#[derive(Debug, Clone)]
pub struct Component {
    /// Where it is written.
    pub at: Location,
    /// Its name.
    pub name: ComponentName,
    /// Where it applies; what `only.platforms` leaves out is not carried.
    pub only: Only,
    /// Deployed only when asked for.
    pub optional: bool,
    /// Images; an entry whose reference differs per architecture (`{arch}`) is one entry per platform here.
    pub images: Vec<ImageEntry>,
    /// Files.
    pub files: Vec<FileEntry>,
}

/// One image as written, parameters expanded.
#[derive(Debug, Clone)]
pub struct ImageEntry {
    /// Where it is written.
    pub at: Location,
    /// Where it comes from.
    pub origin: ImageOrigin,
    /// Platforms that are wanted of it: sorted, at least one, all of them in `Package::platforms` and let through by `only`.
    pub platforms: Vec<Platform>,
    /// Kept from the node's garbage collection.
    pub pin: bool,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageOrigin {
    /// From the registry that its reference names.
    Registry(ImageReference),
    /// From a local OCI or docker archive (a `.tar`, perhaps gzipped), or an OCI layout directory.
    Archive {
        /// Beside the definition.
        path: PathBuf,
        /// Its name on the isolated side; `None`: the one that the archive states, which must then be exactly one.
        reference: Option<ImageReference>,
    },
}

/// One file as written, parameters expanded.
#[derive(Debug, Clone)]
pub struct FileEntry {
    /// Where it is written.
    pub at: Location,
    /// Where it goes.
    pub placement: Placement,
    /// Permission bits.
    pub mode: Option<FileMode>,
    /// Owner by name or number.
    pub owner: Option<String>,
    /// Group by name or number.
    pub group: Option<String>,
    /// `${{ name }}` in it is substituted at deploy.
    pub template: bool,
    /// Where its bytes come from, for each platform where it applies.
    pub origins: BTreeMap<Platform, FileOrigin>,
}

/// Where a file's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileOrigin {
    /// Downloaded; without a digest the lock pins what was seen first.
    Url {
        /// http or https, without user information.
        url: url::Url,
        /// What its author says it is.
        sha256: Option<Digest>,
    },
    /// Read from beside the definition.
    Local {
        /// Absolute, or relative to the current directory.
        path: PathBuf,
        /// As it is written in the definition: what receipts and listings show.
        written: String,
        /// What its author says it is.
        sha256: Option<Digest>,
    },
    /// Written in the definition itself.
    Inline(String),
}
