//! The names file, version 1.
//!
//! ```json
//! {"version":1,"package":"podinfo","repositories":{"ghcr.io/stefanprodan/podinfo":[
//!   {"tag":"6.4.0","mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:…","size":1234}]}}
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::{Name, Names};
use crate::types::{Descriptor, InvalidDigest, InvalidName};

const VERSION: u32 = 1;

/// Why a file is no names file of this version.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// Not JSON, or JSON of another shape.
    #[error("it is no JSON document of this kind")]
    Json(#[from] serde_json::Error),
    /// Written by a newer program.
    #[error("it has version {0}, this program knows {VERSION}")]
    Newer(u32),
    /// The package's name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

#[derive(Deserialize)]
struct WireVersion {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct WireNames {
    version: u32,
    package: String,
    repositories: BTreeMap<String, Vec<WireName>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireName {
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    moved: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The bytes of the file.
pub(super) fn encode(names: &Names) -> Vec<u8> {
    let wire = WireNames {
        version: VERSION,
        package: names.package.to_string(),
        repositories: names.repositories.iter().map(|(name, list)| (name.clone(), list.iter().map(WireName::from).collect())).collect(),
    };
    let mut bytes = serde_json::to_vec_pretty(&wire).expect("strings, numbers and maps with string keys always serialise");
    bytes.push(b'\n');
    bytes
}

/// The names in the bytes of a file.
pub(super) fn decode(bytes: &[u8]) -> Result<Names, Invalid> {
    let WireVersion { version } = serde_json::from_slice(bytes)?;
    if version != VERSION {
        return Err(Invalid::Newer(version));
    }
    let wire: WireNames = serde_json::from_slice(bytes)?;
    let mut repositories = BTreeMap::new();
    for (repository, list) in wire.repositories {
        repositories.insert(repository, list.into_iter().map(WireName::parse).collect::<Result<_, _>>()?);
    }
    Ok(Names { package: wire.package.parse()?, repositories })
}

impl From<&Name> for WireName {
    fn from(name: &Name) -> Self {
        let Descriptor { media_type, digest, size, .. } = &name.manifest;
        Self { tag: name.tag.clone(), media_type: media_type.to_string(), digest: digest.to_string(), size: *size, moved: name.moved }
    }
}

impl WireName {
    fn parse(self) -> Result<Name, Invalid> {
        let manifest = Descriptor::new(self.media_type.as_str(), self.digest.parse()?, self.size);
        Ok(Name { tag: self.tag, manifest, moved: self.moved })
    }
}
