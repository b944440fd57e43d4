//! The receipt as it is written: `/var/lib/coracle/receipts/NAME.json`, version 1. Fields are added, never renamed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Error, Image, Placed, Receipt, Selection, Source, Thing};
use crate::types::FileMode;

/// The version that this program writes.
pub const VERSION: u64 = 1;

#[derive(Serialize, Deserialize)]
struct Wire {
    version: u64,
    name: String,
    package_version: String,
    root: String,
    keys: BTreeSet<String>,
    platform: String,
    role: Option<String>,
    components: Vec<String>,
    with: Vec<String>,
    without: Vec<String>,
    variables: BTreeMap<String, String>,
    blobs: Vec<Blob>,
    files: Vec<File>,
    images: Vec<WireImage>,
}

#[derive(Serialize, Deserialize)]
struct Blob {
    digest: String,
    size: u64,
}

#[derive(Serialize, Deserialize)]
struct File {
    path: PathBuf,
    component: String,
    #[serde(flatten)]
    what: What,
    mode: String,
    uid: u32,
    gid: u32,
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extract: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum What {
    File { digest: String, size: u64 },
    Directory,
    Link { target: PathBuf },
}

#[derive(Serialize, Deserialize)]
struct WireImage {
    reference: String,
    component: String,
    digest: String,
    seeded: bool,
    pin: bool,
}

/// The part that every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

pub fn write(receipt: &Receipt) -> String {
    let names = |names: &BTreeSet<_>| names.iter().map(ToString::to_string).collect();
    let wire = Wire {
        version: VERSION,
        name: receipt.package.to_string(),
        package_version: receipt.version.to_string(),
        root: receipt.root.to_string(),
        keys: receipt.keys.clone(),
        platform: receipt.platform.to_string(),
        role: receipt.role.clone(),
        components: receipt.components.iter().map(ToString::to_string).collect(),
        with: names(&receipt.selection.with),
        without: names(&receipt.selection.without),
        variables: receipt.variables.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        blobs: receipt.blobs.iter().map(|(digest, size)| Blob { digest: digest.to_string(), size: *size }).collect(),
        files: receipt.files.iter().map(|(path, placed)| file(path, placed)).collect(),
        images: receipt
            .images
            .iter()
            .map(|(reference, image)| WireImage {
                reference: reference.to_string(),
                component: image.component.to_string(),
                digest: image.digest.to_string(),
                seeded: image.seeded,
                pin: image.pin,
            })
            .collect(),
    };
    // Strings, numbers and lists alone: there is nothing in it that JSON could refuse.
    serde_json::to_string_pretty(&wire).unwrap_or_default() + "\n"
}

fn file(path: &Path, placed: &Placed) -> File {
    File {
        path: path.to_owned(),
        component: placed.component.to_string(),
        what: match &placed.what {
            Thing::File { digest, size } => What::File { digest: digest.to_string(), size: *size },
            Thing::Directory => What::Directory,
            Thing::Link { target } => What::Link { target: target.clone() },
        },
        mode: FileMode::from_bits(placed.mode).to_string(),
        uid: placed.uid,
        gid: placed.gid,
        source: placed.source.blob.to_string(),
        extract: placed.source.extract.clone(),
        template: placed.source.template.map(|digest| digest.to_string()),
        previous: placed.previous.map(|digest| digest.to_string()),
    }
}

pub fn read(path: &Path, bytes: &[u8]) -> Result<Receipt, Error> {
    let json = |error: serde_json::Error| Error::Malformed { path: path.to_owned(), why: error.to_string() };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(json)?;
    if version > VERSION {
        return Err(Error::Newer { path: path.to_owned(), found: version });
    }
    let wire: Wire = serde_json::from_slice(bytes).map_err(json)?;
    convert(wire).map_err(|why| Error::Malformed { path: path.to_owned(), why })
}

fn parse<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn convert(wire: Wire) -> Result<Receipt, String> {
    let names = |names: Vec<String>| names.iter().map(|name| parse(name)).collect::<Result<BTreeSet<_>, _>>();
    Ok(Receipt {
        package: parse(&wire.name)?,
        version: parse(&wire.package_version)?,
        root: parse(&wire.root)?,
        keys: wire.keys,
        platform: parse(&wire.platform)?,
        role: wire.role,
        components: wire.components.iter().map(|name| parse(name)).collect::<Result<_, _>>()?,
        selection: Selection { with: names(wire.with)?, without: names(wire.without)? },
        variables: wire.variables.into_iter().map(|(name, value)| Ok((parse(&name)?, value))).collect::<Result<_, String>>()?,
        blobs: wire.blobs.iter().map(|blob| Ok((parse(&blob.digest)?, blob.size))).collect::<Result<_, String>>()?,
        files: wire.files.into_iter().map(|file| Ok((file.path.clone(), placed(file)?))).collect::<Result<_, String>>()?,
        images: wire
            .images
            .iter()
            .map(|image| {
                let (component, digest) = (parse(&image.component)?, parse(&image.digest)?);
                Ok((parse(&image.reference)?, Image { component, digest, seeded: image.seeded, pin: image.pin }))
            })
            .collect::<Result<_, String>>()?,
    })
}

fn placed(file: File) -> Result<Placed, String> {
    Ok(Placed {
        component: parse(&file.component)?,
        what: match file.what {
            What::File { digest, size } => Thing::File { digest: parse(&digest)?, size },
            What::Directory => Thing::Directory,
            What::Link { target } => Thing::Link { target },
        },
        mode: parse::<FileMode>(&file.mode)?.bits(),
        uid: file.uid,
        gid: file.gid,
        source: Source { blob: parse(&file.source)?, extract: file.extract, template: file.template.as_deref().map(parse).transpose()? },
        previous: file.previous.as_deref().map(parse).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Digest;

    fn example() -> Receipt {
        let placed = |what| Placed {
            component: "node".parse().unwrap(),
            what,
            mode: 0o4755,
            uid: 1,
            gid: 2,
            source: Source { blob: Digest::of(b"s"), extract: Some("strip 1".into()), template: Some(Digest::of(b"v")) },
            previous: Some(Digest::of(b"p")),
        };
        Receipt {
            package: "p".parse().unwrap(),
            version: semver::Version::new(1, 2, 3),
            root: Digest::of(b"root"),
            keys: BTreeSet::from(["ab".to_owned()]),
            platform: "linux/amd64".parse().unwrap(),
            role: Some("worker".into()),
            components: vec!["node".parse().unwrap()],
            selection: Selection { with: BTreeSet::from(["x".parse().unwrap()]), without: BTreeSet::new() },
            variables: BTreeMap::from([("a".parse().unwrap(), "b".to_owned())]),
            blobs: BTreeMap::from([(Digest::of(b"blob"), 4)]),
            files: BTreeMap::from([
                ("/a".into(), placed(Thing::File { digest: Digest::of(b"f"), size: 1 })),
                ("/d".into(), placed(Thing::Directory)),
                ("/l".into(), placed(Thing::Link { target: "a".into() })),
            ]),
            images: BTreeMap::from([(
                "docker.io/library/a:1".parse().unwrap(),
                Image { component: "node".parse().unwrap(), digest: Digest::of(b"i"), seeded: true, pin: false },
            )]),
        }
    }

    #[test]
    fn reads_back_what_it_wrote() {
        assert_eq!(read(Path::new("r"), write(&example()).as_bytes()).unwrap(), example());
    }

    #[test]
    fn a_newer_version_is_refused_by_its_number_alone() {
        let error = read(Path::new("/r"), br#"{"version":2,"other":true}"#).unwrap_err();
        assert_eq!(error.to_string(), "`/r` has version 2, this program knows 1");
    }
}
