//! The package configuration, version 1: [`Contents`] as canonical JSON.
//!
//! Canonical: keys in alphabetical order, no white space, lists and maps that are empty and values that are not given are left out.
//! A reader refuses keys that it does not know, and bytes that it would write differently: the same contents have one digest.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::contents::{
    ArchiveFormat, CarriedFile, CarriedImage, Component, Contents, FileContent, Only, OperatingSystem, Placement, Target, Variable,
};
use crate::types::{Descriptor, Digest, MediaType, Platform};

/// The number in `format`.
const FORMAT: u32 = 1;

/// Why a package configuration cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// Not JSON, or JSON of another shape.
    #[error("it has another shape")]
    Json(#[from] serde_json::Error),
    /// Written by a newer program.
    #[error("its format is {0}, this program knows {FORMAT}")]
    Format(u32),
    /// A value that breaks a rule.
    #[error("`{place}`: {reason}")]
    Value {
        /// The key.
        place: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The same contents would be written in other bytes.
    #[error("it is not in canonical form")]
    NotCanonical,
}

/// The bytes of a package configuration.
#[must_use]
pub fn write(contents: &Contents) -> Vec<u8> {
    serde_json::to_vec(&Config::from(contents)).expect("strings, numbers and maps with string keys always serialise")
}

/// Reads a package configuration.
///
/// # Errors
/// Anything that [`write`] would not have written.
pub fn parse(bytes: &[u8]) -> Result<Contents, InvalidConfig> {
    let probe: Probe = serde_json::from_slice(bytes)?;
    if probe.format != FORMAT {
        return Err(InvalidConfig::Format(probe.format));
    }
    let contents = serde_json::from_slice::<Config>(bytes)?.into_contents()?;
    if write(&contents) != bytes {
        return Err(InvalidConfig::NotCanonical);
    }
    Ok(contents)
}

/// Read first, so that a newer format is told from a malformed one.
#[derive(Deserialize)]
struct Probe {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    chunks: BTreeMap<String, Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    components: Vec<WireComponent>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    format: u32,
    lock: String,
    name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<String, BTreeMap<String, String>>,
    platforms: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    target: WireTarget,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    variables: BTreeMap<String, WireVariable>,
    version: String,
}

#[derive(Serialize, Deserialize, Default, PartialEq)]
#[serde(deny_unknown_fields)]
struct WireTarget {
    #[serde(skip_serializing_if = "Option::is_none")]
    kubernetes: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    os: Vec<WireOperatingSystem>,
}

#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct WireOperatingSystem {
    ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireVariable {
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    required: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    sensitive: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireComponent {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<WireFile>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    images: Vec<WireImage>,
    name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    only: WireOnly,
    #[serde(default, skip_serializing_if = "is_default")]
    optional: bool,
}

#[derive(Serialize, Deserialize, Default, PartialEq)]
#[serde(deny_unknown_fields)]
struct WireOnly {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    os: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireImage {
    #[serde(default, skip_serializing_if = "is_default")]
    pin: bool,
    platforms: Vec<String>,
    reference: String,
    top: WireDescriptor,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFile {
    contents: BTreeMap<String, WireContent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extract: Option<WireExtract>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    template: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireExtract {
    into: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    members: BTreeMap<String, Vec<String>>,
    #[serde(default, skip_serializing_if = "is_default")]
    strip: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireContent {
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<WireArchive>,
    blob: WireDescriptor,
    origin: String,
    title: String,
}

#[derive(Serialize, Deserialize)]
enum WireArchive {
    #[serde(rename = "tar")]
    Tar,
    #[serde(rename = "tar+gzip")]
    TarGzip,
    #[serde(rename = "tar+zstd")]
    TarZstd,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireDescriptor {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    digest: String,
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    size: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn texts<T: Display>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn value<T: FromStr<Err: Display>>(place: &'static str, text: &str) -> Result<T, InvalidConfig> {
    text.parse().map_err(|error: T::Err| InvalidConfig::Value { place, reason: error.to_string() })
}

fn values<T: FromStr<Err: Display>>(place: &'static str, texts: &[String]) -> Result<Vec<T>, InvalidConfig> {
    texts.iter().map(|text| value(place, text)).collect()
}

/// A map whose keys are parsed; two keys that mean the same are refused with the rest of what is not canonical.
fn keyed<K, V, W>(
    place: &'static str,
    map: BTreeMap<String, W>,
    convert: impl Fn(W) -> Result<V, InvalidConfig>,
) -> Result<BTreeMap<K, V>, InvalidConfig>
where
    K: FromStr<Err: Display> + Ord,
{
    map.into_iter().map(|(key, wire)| Ok((value(place, &key)?, convert(wire)?))).collect()
}

impl From<&Contents> for Config {
    fn from(contents: &Contents) -> Self {
        Self {
            chunks: contents.chunks.iter().map(|(blob, chunks)| (blob.to_string(), chunks.iter().map(Digest::hex).collect())).collect(),
            components: contents.components.iter().map(WireComponent::from).collect(),
            description: contents.description.clone(),
            format: FORMAT,
            lock: contents.lock.clone(),
            name: contents.name.to_string(),
            parameters: contents.parameters.iter().map(|(name, values)| (name.to_string(), parameter(values))).collect(),
            platforms: texts(&contents.platforms),
            target: WireTarget {
                kubernetes: contents.target.kubernetes.as_ref().map(ToString::to_string),
                os: contents.target.os.iter().map(|os| WireOperatingSystem { ids: os.ids.clone(), version: os.version.clone() }).collect(),
            },
            variables: contents.variables.iter().map(|(name, variable)| (name.to_string(), variable.into())).collect(),
            version: contents.version.to_string(),
        }
    }
}

impl Config {
    fn into_contents(self) -> Result<Contents, InvalidConfig> {
        let hex =
            |text: &String| Digest::from_hex(text).map_err(|error| InvalidConfig::Value { place: "chunks", reason: error.to_string() });
        let os = self.target.os.into_iter().map(|os| OperatingSystem { ids: os.ids, version: os.version }).collect();
        Ok(Contents {
            name: value("name", &self.name)?,
            version: value("version", &self.version)?,
            description: self.description,
            platforms: values("platforms", &self.platforms)?,
            target: Target { kubernetes: self.target.kubernetes.map(|text| value("target.kubernetes", &text)).transpose()?, os },
            parameters: keyed("parameters", self.parameters, |values| keyed("parameters", values, Ok))?,
            variables: keyed("variables", self.variables, |variable| Ok(variable.into()))?,
            components: self.components.into_iter().map(WireComponent::into_component).collect::<Result<_, _>>()?,
            lock: self.lock,
            chunks: keyed("chunks", self.chunks, |chunks| chunks.iter().map(hex).collect())?,
        })
    }
}

fn parameter(values: &BTreeMap<Platform, String>) -> BTreeMap<String, String> {
    values.iter().map(|(platform, value)| (platform.to_string(), value.clone())).collect()
}

impl From<&Variable> for WireVariable {
    fn from(variable: &Variable) -> Self {
        let Variable { description, default, required, pattern, sensitive, example } = variable.clone();
        Self { default, description, example, pattern, required, sensitive }
    }
}

impl From<WireVariable> for Variable {
    fn from(wire: WireVariable) -> Self {
        let WireVariable { default, description, example, pattern, required, sensitive } = wire;
        Self { description, default, required, pattern, sensitive, example }
    }
}

impl From<&Component> for WireComponent {
    fn from(component: &Component) -> Self {
        Self {
            files: component.files.iter().map(WireFile::from).collect(),
            images: component.images.iter().map(WireImage::from).collect(),
            name: component.name.to_string(),
            only: WireOnly {
                os: component.only.os.clone(),
                platforms: texts(&component.only.platforms),
                roles: component.only.roles.clone(),
            },
            optional: component.optional,
        }
    }
}

impl WireComponent {
    fn into_component(self) -> Result<Component, InvalidConfig> {
        Ok(Component {
            name: value("components.name", &self.name)?,
            only: Only { roles: self.only.roles, platforms: values("components.only.platforms", &self.only.platforms)?, os: self.only.os },
            optional: self.optional,
            images: self.images.into_iter().map(WireImage::into_image).collect::<Result<_, _>>()?,
            files: self.files.into_iter().map(WireFile::into_file).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&CarriedImage> for WireImage {
    fn from(image: &CarriedImage) -> Self {
        Self { pin: image.pin, platforms: texts(&image.platforms), reference: image.reference.to_string(), top: (&image.top).into() }
    }
}

impl WireImage {
    fn into_image(self) -> Result<CarriedImage, InvalidConfig> {
        Ok(CarriedImage {
            reference: value("components.images.reference", &self.reference)?,
            top: self.top.into_descriptor()?,
            platforms: values("components.images.platforms", &self.platforms)?,
            pin: self.pin,
        })
    }
}

impl From<&CarriedFile> for WireFile {
    fn from(file: &CarriedFile) -> Self {
        let (path, extract) = match &file.placement {
            Placement::File(path) => (Some(path.to_string()), None),
            Placement::Extract { into, members, strip } => {
                let members = members.iter().map(|(platform, names)| (platform.to_string(), names.clone())).collect();
                (None, Some(WireExtract { into: into.to_string(), members, strip: *strip }))
            }
        };
        Self {
            contents: file.contents.iter().map(|(platform, content)| (platform.to_string(), content.into())).collect(),
            extract,
            group: file.group.clone(),
            mode: file.mode.map(|mode| mode.to_string()),
            owner: file.owner.clone(),
            path,
            template: file.template,
        }
    }
}

impl WireFile {
    fn into_file(self) -> Result<CarriedFile, InvalidConfig> {
        let placement = match (self.path, self.extract) {
            (Some(path), None) => Placement::File(value("components.files.path", &path)?),
            (None, Some(extract)) => Placement::Extract {
                into: value("components.files.extract.into", &extract.into)?,
                members: keyed("components.files.extract.members", extract.members, Ok)?,
                strip: extract.strip,
            },
            _ => return Err(InvalidConfig::Value { place: "components.files", reason: "exactly one of path and extract".to_owned() }),
        };
        Ok(CarriedFile {
            placement,
            mode: self.mode.map(|text| value("components.files.mode", &text)).transpose()?,
            owner: self.owner,
            group: self.group,
            template: self.template,
            contents: keyed("components.files.contents", self.contents, WireContent::into_content)?,
        })
    }
}

impl From<&FileContent> for WireContent {
    fn from(content: &FileContent) -> Self {
        let archive = content.archive.map(|format| match format {
            ArchiveFormat::Tar => WireArchive::Tar,
            ArchiveFormat::TarGzip => WireArchive::TarGzip,
            ArchiveFormat::TarZstd => WireArchive::TarZstd,
        });
        Self { archive, blob: (&content.descriptor).into(), origin: content.origin.clone(), title: content.title.clone() }
    }
}

impl WireContent {
    fn into_content(self) -> Result<FileContent, InvalidConfig> {
        let archive = self.archive.map(|format| match format {
            WireArchive::Tar => ArchiveFormat::Tar,
            WireArchive::TarGzip => ArchiveFormat::TarGzip,
            WireArchive::TarZstd => ArchiveFormat::TarZstd,
        });
        Ok(FileContent { descriptor: self.blob.into_descriptor()?, title: self.title, origin: self.origin, archive })
    }
}

impl From<&Descriptor> for WireDescriptor {
    fn from(descriptor: &Descriptor) -> Self {
        Self {
            annotations: descriptor.annotations.clone(),
            artifact_type: descriptor.artifact_type.clone(),
            digest: descriptor.digest.to_string(),
            media_type: descriptor.media_type.to_string(),
            platform: descriptor.platform.as_ref().map(Platform::to_string),
            size: descriptor.size,
        }
    }
}

impl WireDescriptor {
    fn into_descriptor(self) -> Result<Descriptor, InvalidConfig> {
        Ok(Descriptor {
            media_type: MediaType::new(self.media_type),
            digest: value("digest", &self.digest)?,
            size: self.size,
            platform: self.platform.map(|text| value("platform", &text)).transpose()?,
            artifact_type: self.artifact_type,
            annotations: self.annotations,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        "[ -~äß\n]{0,12}"
    }

    fn optional() -> impl Strategy<Value = Option<String>> {
        proptest::option::of(text())
    }

    fn platforms() -> impl Strategy<Value = Vec<Platform>> {
        proptest::sample::subsequence(Platform::supported().to_vec(), 0..=2)
    }

    fn descriptor() -> impl Strategy<Value = Descriptor> {
        (text(), 0..u64::MAX, proptest::option::of(Just(Platform::linux_arm64())), optional(), text()).prop_map(
            |(media_type, size, platform, artifact_type, value)| {
                let blob = Descriptor::new(media_type.as_str(), Digest::of(media_type.as_bytes()), size).annotated("key", value);
                Descriptor { platform, artifact_type, ..blob }
            },
        )
    }

    fn content() -> impl Strategy<Value = FileContent> {
        let archive =
            proptest::sample::select(vec![None, Some(ArchiveFormat::Tar), Some(ArchiveFormat::TarGzip), Some(ArchiveFormat::TarZstd)]);
        (descriptor(), text(), text(), archive).prop_map(|(descriptor, title, origin, archive)| FileContent {
            descriptor,
            title,
            origin,
            archive,
        })
    }

    fn placement() -> impl Strategy<Value = Placement> {
        let path = || "(/[a-z]{1,5}){1,3}".prop_map(|path: String| path.parse().expect("a path"));
        let members = (platforms(), proptest::collection::vec(text(), 0..3))
            .prop_map(|(platforms, names)| platforms.into_iter().map(|platform| (platform, names.clone())).collect());
        prop_oneof![
            path().prop_map(Placement::File),
            (path(), members, 0u32..3).prop_map(|(into, members, strip)| Placement::Extract { into, members, strip }),
        ]
    }

    fn file() -> impl Strategy<Value = CarriedFile> {
        let mode = proptest::option::of((0u32..0o10000).prop_map(crate::types::FileMode::from_bits));
        (placement(), mode, optional(), optional(), any::<bool>(), content(), platforms()).prop_map(
            |(placement, mode, owner, group, template, content, platforms)| {
                let contents = platforms.into_iter().map(|platform| (platform, content.clone())).collect();
                CarriedFile { placement, mode, owner, group, template, contents }
            },
        )
    }

    fn image() -> impl Strategy<Value = CarriedImage> {
        ("[a-z]{1,6}:[0-9]{1,3}", descriptor(), platforms(), any::<bool>()).prop_map(|(reference, top, platforms, pin)| CarriedImage {
            reference: reference.parse().expect("a reference"),
            top,
            platforms,
            pin,
        })
    }

    fn component() -> impl Strategy<Value = Component> {
        let list = || proptest::collection::vec(text(), 0..3);
        let only = (list(), platforms(), list()).prop_map(|(roles, platforms, os)| Only { roles, platforms, os });
        let images = proptest::collection::vec(image(), 0..3);
        ("[a-z]{1,8}", only, any::<bool>(), images, proptest::collection::vec(file(), 0..3)).prop_map(
            |(name, only, optional, images, files)| Component { name: name.parse().expect("a name"), only, optional, images, files },
        )
    }

    fn variable() -> impl Strategy<Value = Variable> {
        (text(), optional(), any::<bool>(), optional(), any::<bool>(), optional()).prop_map(
            |(description, default, required, pattern, sensitive, example)| Variable {
                description,
                default,
                required,
                pattern,
                sensitive,
                example,
            },
        )
    }

    fn contents() -> impl Strategy<Value = Contents> {
        let version = || "[1-9]\\.[0-9]\\.[1-9](-rc\\.[1-9])?".prop_map(|text: String| text.parse().expect("a version"));
        let os = (proptest::collection::vec(text(), 0..3), optional()).prop_map(|(ids, version)| OperatingSystem { ids, version });
        let target =
            (proptest::option::of(version()), proptest::collection::vec(os, 0..3)).prop_map(|(kubernetes, os)| Target { kubernetes, os });
        let name = || "[A-Za-z_][a-z]{0,5}".prop_map(|text: String| text.parse().expect("a name"));
        let values = (text(), text())
            .prop_map(|(amd64, arm64)| BTreeMap::from([(Platform::linux_amd64(), amd64), (Platform::linux_arm64(), arm64)]));
        let parameters = proptest::collection::btree_map(name(), values, 0..3);
        let variables = proptest::collection::btree_map(name(), variable(), 0..3);
        let digest = || any::<[u8; 32]>().prop_map(Digest::from_bytes);
        let chunks = proptest::collection::btree_map(digest(), proptest::collection::vec(digest(), 0..4), 0..3);
        let components = proptest::collection::vec(component(), 0..3);
        (version(), text(), platforms(), target, (parameters, variables), components, text(), chunks).prop_map(
            |(version, description, platforms, target, (parameters, variables), components, lock, chunks)| Contents {
                name: "demo".parse().expect("a name"),
                version,
                description,
                platforms,
                target,
                parameters,
                variables,
                components,
                lock,
                chunks,
            },
        )
    }

    proptest! {
        #[test]
        fn reads_what_it_writes_with_keys_in_alphabetical_order(contents in contents()) {
            let bytes = write(&contents);
            prop_assert_eq!(&parse(&bytes).unwrap(), &contents);
            // A map of the JSON library sorts its keys: only what is sorted already stays as it is.
            let sorted: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(serde_json::to_vec(&sorted).unwrap(), bytes);
        }
    }

    #[test]
    fn refuses_what_it_would_not_write() {
        let good = r#"{"format":1,"lock":"{}","name":"demo","platforms":["linux/amd64"],"version":"1.0.0"}"#;
        let says = |text: &str| parse(text.as_bytes()).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(says(good), Ok(()));
        for (from, to, expected) in [
            ("\"format\":1", "\"format\":2", "its format is 2, this program knows 1"),
            (",\"name\"", ", \"name\"", "it is not in canonical form"),
            ("\"lock\"", "\"description\":\"\",\"lock\"", "it is not in canonical form"),
            ("\"lock\"", "\"later\":1,\"lock\"", "it has another shape"),
            ("linux/amd64", "linux/x86_64", "it is not in canonical form"),
        ] {
            assert_eq!(says(&good.replace(from, to)), Err(expected.to_owned()), "{to}");
        }
        assert!(says(&good.replace("\"demo\"", "\"../demo\"")).unwrap_err().starts_with("`name`: "));
    }
}
