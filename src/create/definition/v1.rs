//! `coracle/v1alpha1` as it is written: serde and JSON schema, nothing else. What the words mean is decided in the modules beside.
//!
//! A field is optional here even where the schema requires it, so that what is missing is reported together with what is wrong.

use schemars::JsonSchema;
use serde::Deserialize;

use super::field::{Entries, Field};

/// A package for an isolated site: what is carried across, and where it goes
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Coracle package definition", extend("required" = ["apiVersion", "kind", "metadata", "platforms", "components"]))]
pub struct Definition {
    /// The version of this format
    #[serde(rename = "apiVersion")]
    pub api_version: Field<ApiVersion>,
    /// What the file defines
    pub kind: Field<Kind>,
    /// Name, version, description
    pub metadata: Field<Metadata>,
    /// The platforms that the bundle carries: linux/amd64, linux/arm64
    #[schemars(extend("minItems" = 1))]
    pub platforms: Field<Vec<Field<PlatformName>>>,
    /// What the isolated side is
    pub target: Field<Target>,
    /// Create time: `{name}` in any URL, reference, version or path; built in are {arch}, {rpm_arch}, {os} and {version}
    pub parameters: Field<Entries<PerPlatform>>,
    /// Deploy time: `${{ name }}` in files with `template: true`
    pub variables: Field<Entries<Variable>>,
    /// What is carried, in the order in which it is deployed
    #[schemars(extend("minItems" = 1))]
    pub components: Field<Vec<Field<Component>>>,
}

/// The version of this format
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ApiVersion {
    /// This one.
    #[serde(rename = "coracle/v1alpha1")]
    V1Alpha1,
}

/// What the file defines
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Kind {
    /// One package.
    Package,
}

/// A platform that a package can be made for
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum PlatformName {
    /// `x86_64`
    #[serde(rename = "linux/amd64")]
    Amd64,
    /// `aarch64`
    #[serde(rename = "linux/arm64")]
    Arm64,
}

/// Name, version, description
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "version"]))]
pub struct Metadata {
    /// A DNS label: 1 to 63 of a-z, 0-9 and -
    #[schemars(extend("pattern" = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub name: Field<String>,
    /// SemVer without build metadata
    pub version: Field<String>,
    /// What it is, for people
    pub description: Field<String>,
}

/// What the isolated side is
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Target {
    /// The exact Kubernetes version, such as "1.34.4"
    pub kubernetes: Field<String>,
    /// Operating systems that the package is made for
    pub os: Field<Vec<Field<OperatingSystem>>>,
}

/// An operating system, as /etc/os-release names it
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["id"]))]
pub struct OperatingSystem {
    /// Any of these `ID`s
    pub id: Field<OneOrMore>,
    /// `VERSION_ID` or its first parts: "9" means any 9.x
    pub version: Field<String>,
}

/// One string, or a list of strings
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(untagged)]
pub enum OneOrMore {
    /// One.
    #[serde(rename = "string")]
    One(String),
    /// More.
    #[serde(rename = "list")]
    More(Vec<Field<String>>),
}

/// One value, or one for each architecture
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(untagged)]
pub enum PerPlatform {
    /// The same everywhere.
    #[serde(rename = "string")]
    One(String),
    /// One for each.
    #[serde(rename = "mapping")]
    Each(PerArchitecture),
}

/// A value for each architecture
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PerArchitecture {
    /// For linux/amd64
    pub amd64: Field<String>,
    /// For linux/arm64
    pub arm64: Field<String>,
}

/// A value that is known at deploy alone: --set NAME=VALUE, --vars FILE, or a prompt
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Variable {
    /// What it is, for the prompt
    pub description: Field<String>,
    /// Used when none is given
    pub default: Field<String>,
    /// A deploy without it is refused
    pub required: Field<bool>,
    /// A regular expression that the whole value must match
    pub pattern: Field<String>,
    /// Never logged, nor written to plan, journal or receipt
    pub sensitive: Field<bool>,
    /// A value that could stand here
    pub example: Field<String>,
}

/// A unit that is selected and deployed together
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub struct Component {
    /// A DNS label, unique in the package
    #[schemars(extend("pattern" = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub name: Field<String>,
    /// Where it applies
    pub only: Field<Only>,
    /// Deployed only when asked for: --with NAME
    pub optional: Field<bool>,
    /// Images
    pub images: Field<Vec<Field<Image>>>,
    /// Files
    pub files: Field<Vec<Field<FileEntry>>>,
}

/// Filters: what is left out lets everything through
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Only {
    /// Any of these roles
    pub role: Field<OneOrMore>,
    /// Any of these platforms
    pub platform: Field<Platforms>,
    /// Any of these `ID`s of /etc/os-release
    pub os: Field<OneOrMore>,
}

/// One platform, or a list of them
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(untagged)]
pub enum Platforms {
    /// One.
    #[serde(rename = "string")]
    One(PlatformName),
    /// More.
    #[serde(rename = "list")]
    More(Vec<Field<PlatformName>>),
}

/// An image reference, or a mapping
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(untagged)]
pub enum Image {
    /// A reference.
    #[serde(rename = "string")]
    Reference(String),
    /// With more said about it.
    #[serde(rename = "mapping")]
    Entry(ImageEntry),
}

/// An image, an archive of one, or a file that lists images
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["image"] }, { "required": ["archive"] }, { "required": ["list"] }]))]
pub struct ImageEntry {
    /// Its reference; beside `archive`: the name that it gets
    pub image: Field<String>,
    /// An OCI or docker archive, or an OCI layout directory, beside coracle.yaml
    pub archive: Field<String>,
    /// A file beside coracle.yaml with one reference a line
    pub list: Field<String>,
    /// Of the package's platforms, those that are wanted
    #[schemars(extend("minItems" = 1))]
    pub platforms: Field<Vec<Field<PlatformName>>>,
    /// Kept from the node's garbage collection
    pub pin: Field<bool>,
}

/// A file, or an archive to extract
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("allOf" = [
    { "oneOf": [{ "required": ["source"] }, { "required": ["content"] }] },
    { "oneOf": [{ "required": ["path"] }, { "required": ["extract"] }] }
]))]
pub struct FileEntry {
    /// A URL (http, https), or a path beside coracle.yaml
    pub source: Field<String>,
    /// What is in it, written here
    pub content: Field<String>,
    /// SHA-256 in 64 hex digits, one or one for each architecture
    pub sha256: Field<PerPlatform>,
    /// Where it goes
    pub path: Field<String>,
    /// It is an archive: what is taken out of it, and where that goes
    pub extract: Field<Extract>,
    /// A quoted octal string, such as "0755"
    #[schemars(extend("pattern" = "^[0-7]{3,4}$"))]
    pub mode: Field<String>,
    /// Owner by name or number
    pub owner: Field<String>,
    /// Group by name or number
    pub group: Field<String>,
    /// `${{ name }}` in it is substituted at deploy
    pub template: Field<bool>,
}

/// What is taken out of an archive
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["into"]))]
pub struct Extract {
    /// The directory that its members go into
    pub into: Field<String>,
    /// These members alone, by their names in the archive
    #[schemars(extend("minItems" = 1))]
    pub members: Field<Vec<Field<String>>>,
    /// Leading parts that are dropped from each member's name
    pub strip: Field<u32>,
}
