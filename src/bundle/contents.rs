//! What a bundle says of itself: the resolved definition, as the signed package configuration carries it.
//!
//! `create` fills these types from the definition and the resolution, [`super::config_v1`] writes and reads them, and `deploy` plans from them.

use std::collections::BTreeMap;

use crate::types::{ComponentName, Descriptor, Digest, FileMode, ImageReference, NodePath, PackageName, Platform, VariableName};

/// The resolved definition of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The package's name.
    pub name: PackageName,
    /// Its version: `SemVer` without build metadata.
    pub version: semver::Version,
    /// What it is, for people; may be empty.
    pub description: String,
    /// The platforms that the bundle carries, sorted.
    pub platforms: Vec<Platform>,
    /// What the isolated side is said to be.
    pub target: Target,
    /// What templates name of the parameters of create, with the value for each platform.
    pub parameters: BTreeMap<VariableName, BTreeMap<Platform, String>>,
    /// What is asked for at deploy.
    pub variables: BTreeMap<VariableName, Variable>,
    /// Components in the order in which they are deployed.
    pub components: Vec<Component>,
    /// The lock file as JSON text in the shape of `cli.md`, for reviewers.
    pub lock: String,
    /// For each content blob over 8 MiB the SHA-256 of each 8 MiB chunk, so that any part of it can be checked on its own.
    pub chunks: BTreeMap<Digest, Vec<Digest>>,
}

/// What the isolated side is, as the author declares it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// The exact Kubernetes version, `1.34.4`.
    pub kubernetes: Option<semver::Version>,
    /// Operating systems that the package is made for; empty: any.
    pub os: Vec<OperatingSystem>,
}

/// One line of `target.os`: ids and a version as /etc/os-release has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatingSystem {
    /// Any of these `ID`s.
    pub ids: Vec<String>,
    /// `VERSION_ID`, or its first parts: `9` means any 9.x. `None`: any.
    pub version: Option<String>,
}

/// A value that is known at deploy alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variable {
    /// What it is, for the prompt.
    pub description: String,
    /// Used when none is given.
    pub default: Option<String>,
    /// A deploy without it is refused.
    pub required: bool,
    /// A regular expression that the whole value must match.
    pub pattern: Option<String>,
    /// Never logged, nor written to plan, journal or receipt.
    pub sensitive: bool,
    /// A value that could stand here, for the prompt and for what create renders.
    pub example: Option<String>,
}

/// One component: a unit that is selected and deployed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Its name, unique in the package.
    pub name: ComponentName,
    /// Where it applies.
    pub only: Only,
    /// Deployed only when asked for (`--with`).
    pub optional: bool,
    /// Images, in the order of the definition.
    pub images: Vec<CarriedImage>,
    /// Files, in the order of the definition.
    pub files: Vec<CarriedFile>,
}

/// Filters of a component; an empty list lets everything through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Only {
    /// Any of these roles.
    pub roles: Vec<String>,
    /// Any of these platforms.
    pub platforms: Vec<Platform>,
    /// Any of these operating systems' `ID`s.
    pub os: Vec<String>,
}

/// An image that a component names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedImage {
    /// Its name on the isolated side: the same as upstream.
    pub reference: ImageReference,
    /// The upstream index or manifest.
    pub top: Descriptor,
    /// Platforms of it that are carried, sorted.
    pub platforms: Vec<Platform>,
    /// The node needs it to start: kept from containerd's garbage collection (`io.cri-containerd.pinned`).
    pub pin: bool,
}

/// A file, or an archive to extract, that a component puts on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedFile {
    /// Where it goes.
    pub placement: Placement,
    /// Permission bits; without them 0644 for a file, the archive's own for what is extracted.
    pub mode: Option<FileMode>,
    /// Owner by name or number; without it root (or, under `--root`, whoever runs the program).
    pub owner: Option<String>,
    /// Group by name or number.
    pub group: Option<String>,
    /// `${{ name }}` in it is substituted at deploy.
    pub template: bool,
    /// Its content for each platform where it applies.
    pub contents: BTreeMap<Platform, FileContent>,
}

/// Where a file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// To this path.
    File(NodePath),
    /// It is an archive, and this is taken out of it.
    Extract {
        /// The directory that its members go into.
        into: NodePath,
        /// These members alone, by their names in the archive (`{arch}` expanded per platform); empty: all.
        members: BTreeMap<Platform, Vec<String>>,
        /// Leading parts that are dropped from each member's name.
        strip: u32,
    },
}

/// The bytes of a file for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// What blob.
    pub descriptor: Descriptor,
    /// A name for people and for `org.opencontainers.image.title`: the last part of the URL or path.
    pub title: String,
    /// Where it came from: a URL without user information, a path beside the definition, or `inline`.
    pub origin: String,
    /// For [`Placement::Extract`]: how the archive is packed, from its name.
    pub archive: Option<ArchiveFormat>,
}

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArchiveFormat {
    /// `.tar`
    Tar,
    /// `.tar.gz`, `.tgz`
    TarGzip,
    /// `.tar.zst`
    TarZstd,
}

impl ArchiveFormat {
    /// How a file of this name is packed; `None` where the name does not say.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        [(".tar.gz", Self::TarGzip), (".tgz", Self::TarGzip), (".tar.zst", Self::TarZstd), (".tzst", Self::TarZstd), (".tar", Self::Tar)]
            .into_iter()
            .find_map(|(suffix, format)| name.ends_with(suffix).then_some(format))
    }
}
