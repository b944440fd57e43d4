//! Images made here: deterministic layers, manifests for several platforms under one index, and an attestation as BuildKit writes it.

use std::io::Write as _;

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Where an image goes: a registry over HTTP, or the memory of one of our own.
pub trait Target {
    /// A blob of a repository.
    fn blob(&mut self, repository: &str, digest: &str, bytes: &[u8]) -> Result<()>;
    /// A manifest or index under a tag or digest.
    fn manifest(&mut self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) -> Result<()>;
}

/// A layer that is in its target already.
#[derive(Clone)]
pub struct Layer {
    digest: String,
    size: usize,
    /// Digest of the tar inside.
    diff_id: String,
}

/// A file in a layer.
pub struct Entry<'a> {
    /// Without a leading `/`.
    pub path: &'a str,
    /// Permission bits.
    pub mode: u32,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// One platform of an image.
pub struct Variant<'a> {
    /// `amd64` or `arm64`.
    pub arch: &'a str,
    /// In order.
    pub layers: Vec<Layer>,
    /// What it runs.
    pub entrypoint: &'a [&'a str],
}

/// `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Makes a layer of files and gives it to a target.
pub fn layer(target: &mut dyn Target, repository: &str, entries: &[Entry]) -> Result<Layer> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(entry.bytes.len() as u64);
        header.set_mode(entry.mode);
        header.set_mtime(0);
        tar.append_data(&mut header, entry.path, entry.bytes)?;
    }
    let tar = tar.into_inner()?;
    let mut gzip = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::new(6));
    gzip.write_all(&tar)?;
    let bytes = gzip.finish()?;
    let layer = Layer { digest: digest(&bytes), size: bytes.len(), diff_id: digest(&tar) };
    target.blob(repository, &layer.digest, &bytes)?;
    Ok(layer)
}

/// Makes an image of platforms and gives it to a target under a tag; gives the digest of its index.
pub fn image(target: &mut dyn Target, repository: &str, tag: &str, variants: &[Variant]) -> Result<String> {
    let mut manifests = Vec::new();
    let mut attestations = Vec::new();
    for variant in variants {
        let config = json!({
            "architecture": variant.arch,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": { "Entrypoint": variant.entrypoint, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] },
            "rootfs": { "type": "layers", "diff_ids": variant.layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>() },
        });
        let layers: Vec<Value> =
            variant.layers.iter().map(|layer| json!({ "mediaType": LAYER, "digest": layer.digest, "size": layer.size })).collect();
        let mut descriptor = manifest(target, repository, &config, &layers)?;
        attestations.push(attestation(target, repository, &descriptor)?);
        descriptor["platform"] = json!({ "architecture": variant.arch, "os": "linux" });
        manifests.push(descriptor);
    }
    manifests.append(&mut attestations);
    let index = serde_json::to_vec(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }))?;
    target.manifest(repository, tag, INDEX, &index)?;
    Ok(digest(&index))
}

/// Stores a manifest with its configuration and gives its descriptor.
fn manifest(target: &mut dyn Target, repository: &str, config: &Value, layers: &[Value]) -> Result<Value> {
    let config = serde_json::to_vec(config)?;
    target.blob(repository, &digest(&config), &config)?;
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": CONFIG, "digest": digest(&config), "size": config.len() },
        "layers": layers,
    });
    let bytes = serde_json::to_vec(&document)?;
    target.manifest(repository, &digest(&bytes), MANIFEST, &bytes)?;
    Ok(json!({ "mediaType": MANIFEST, "digest": digest(&bytes), "size": bytes.len() }))
}

/// An in-toto statement about a manifest, listed in the index as BuildKit lists it.
fn attestation(target: &mut dyn Target, repository: &str, subject: &Value) -> Result<Value> {
    let of = subject["digest"].as_str().unwrap_or_default();
    let predicate = "https://slsa.dev/provenance/v0.2";
    let statement = serde_json::to_vec(&json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": predicate,
        "subject": [{ "name": repository, "digest": { "sha256": of.trim_start_matches("sha256:") } }],
        "predicate": { "builder": { "id": "" }, "buildType": "https://mobyproject.org/buildkit@v1" },
    }))?;
    let own = digest(&statement);
    target.blob(repository, &own, &statement)?;
    let config = json!({ "architecture": "unknown", "os": "unknown", "config": {}, "rootfs": { "type": "layers", "diff_ids": [own] } });
    let layer = json!({
        "mediaType": "application/vnd.in-toto+json",
        "digest": own,
        "size": statement.len(),
        "annotations": { "in-toto.io/predicate-type": predicate },
    });
    let mut descriptor = manifest(target, repository, &config, &[layer])?;
    descriptor["annotations"] = json!({ "vnd.docker.reference.digest": of, "vnd.docker.reference.type": "attestation-manifest" });
    descriptor["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
    Ok(descriptor)
}
