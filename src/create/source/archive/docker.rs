//! Docker archives (`docker save`, image-spec's `spec/v1.2.md` of moby): an OCI manifest is made for each image, always the same one.
//!
//! Layers lie in them uncompressed, and the configuration's `rootfs.diff_ids` are then their digests: nothing has to be hashed to name
//! them, and a wrong one is found when it is fetched. A gzipped layer (as some tools write) is hashed.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;

use super::members::{GZIP, Span};
use super::{Archive, Error, Named};
use crate::io::HashingWriter;
use crate::types::oci::{ImageManifest, write};
use crate::types::{Descriptor, Digest, InvalidDigest, MediaType};

/// Media type of a layer as it lies in a docker archive (image-spec `layer.md`).
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The same, gzipped.
const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

/// Reads `manifest.json` and fills the archive's images, documents and blobs.
pub fn read(archive: &mut Archive, manifest: &[u8]) -> Result<(), Error> {
    let entries: Vec<Entry> = serde_json::from_slice(manifest).map_err(|error| archive.invalid("manifest.json", error))?;
    let mut configs = Vec::new();
    let mut layers: BTreeMap<Digest, Descriptor> = BTreeMap::new();
    for entry in &entries {
        let bytes = archive.small(&clean(&entry.config))?.ok_or_else(|| archive.missing(&entry.config))?;
        let config: Config = serde_json::from_slice(&bytes).map_err(|error| archive.invalid(&entry.config, error))?;
        let diff_ids: Vec<Digest> = config
            .rootfs
            .diff_ids
            .iter()
            .map(|id| id.parse())
            .collect::<Result<_, InvalidDigest>>()
            .map_err(|error| archive.invalid(&entry.config, error))?;
        if diff_ids.len() != entry.layers.len() {
            let why = "it lists another number of layers than its configuration";
            return Err(Error::Member { path: archive.path.clone(), member: "manifest.json".to_owned(), why });
        }
        for (id, name) in diff_ids.iter().zip(&entry.layers) {
            // A layer that several images share is a link everywhere but in one place: found by its diff_id, not by the link.
            if !layers.contains_key(id)
                && let Some(span) = archive.members.find(&clean(name))?
            {
                let descriptor = describe(archive, *id, &span)?;
                archive.spans.insert(descriptor.digest, span);
                layers.insert(*id, descriptor);
            }
        }
        configs.push((bytes, diff_ids));
    }
    for (entry, (config, diff_ids)) in entries.iter().zip(configs) {
        let named = diff_ids.iter().zip(&entry.layers).map(|(id, name)| layers.get(id).cloned().ok_or_else(|| archive.missing(name)));
        let layers = named.collect::<Result<Vec<_>, Error>>()?;
        let config_descriptor = Descriptor::of(MediaType::OCI_CONFIG, &config);
        let manifest = write::manifest(&ImageManifest {
            artifact_type: None,
            config: config_descriptor.clone(),
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        });
        let top = Descriptor::of(MediaType::OCI_MANIFEST, &manifest);
        archive.made.insert(config_descriptor.digest, config);
        archive.made.insert(top.digest, manifest);
        archive.images.push(Named { names: entry.repo_tags.clone().unwrap_or_default(), top });
    }
    Ok(())
}

fn describe(archive: &Archive, diff_id: Digest, span: &Span) -> Result<Descriptor, Error> {
    let mut reader = archive.members.reader(span, 0)?;
    let mut magic = Vec::new();
    reader.by_ref().take(2).read_to_end(&mut magic).map_err(|source| archive.read_error(source))?;
    if magic != GZIP {
        return Ok(Descriptor::new(LAYER, diff_id, span.size));
    }
    let mut hasher = HashingWriter::new(std::io::sink());
    let mut whole = std::io::BufReader::with_capacity(1 << 20, archive.members.reader(span, 0)?);
    std::io::copy(&mut whole, &mut hasher).map_err(|source| archive.read_error(source))?;
    let (_, digest, size) = hasher.finish();
    Ok(Descriptor::new(LAYER_GZIP, digest, size))
}

/// Some tools write `./name`.
fn clean(name: &str) -> String {
    name.trim_start_matches("./").to_owned()
}
