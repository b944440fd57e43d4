//! An upstream on loopback that lives in the test: a registry with images for two platforms, and files. It counts what it is asked.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use coracle::types::oci::{ImageIndex, ImageManifest, write};
use coracle::types::{Descriptor, MediaType, Platform};

use crate::web::{Reply, Request, Web};

/// The server; it ends when the value is dropped.
pub struct Upstream {
    web: Web,
    content: Arc<Content>,
}

/// Media type and bytes by path.
type Content = Mutex<BTreeMap<String, (String, Vec<u8>)>>;

impl Upstream {
    /// Starts it with nothing in it.
    pub fn start() -> Self {
        Self::faulty(|_| None)
    }

    /// Starts one that answers what it has, except where `fault` answers something else.
    pub fn faulty(fault: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let content = Arc::new(Content::default());
        let held = Arc::clone(&content);
        let web = Web::start(move |request| fault(request).unwrap_or_else(|| answer(request, &held)));
        Self { web, content }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        self.web.address()
    }

    /// Serves bytes at a path.
    pub fn file(&self, path: &str, bytes: &[u8]) {
        self.put(path, MediaType::OCTETS, bytes);
    }

    /// Serves an image for amd64 and arm64: one layer that both share, one of each. Gives its reference.
    pub fn image(&self, repository: &str, tag: &str, seed: u8, layer_bytes: usize) -> String {
        let shared = gzip(&noise(seed, layer_bytes));
        self.image_of(repository, tag, |n, platform| {
            let own = gzip(&noise(seed.wrapping_add(100 + n), layer_bytes / 2));
            let config =
                format!(r#"{{"architecture":"{}","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}}}}"#, platform.architecture());
            (config, vec![shared.clone(), own])
        })
    }

    /// Serves an image out of a configuration and gzipped layers for each platform. Gives its reference.
    pub fn image_of(&self, repository: &str, tag: &str, parts: impl Fn(u8, &Platform) -> (String, Vec<Vec<u8>>)) -> String {
        let mut children = Vec::new();
        for (n, platform) in (0..).zip(Platform::supported()) {
            let (config, layers) = parts(n, &platform);
            let layer = |bytes: &Vec<u8>| Descriptor::of("application/vnd.oci.image.layer.v1.tar+gzip", bytes);
            let manifest = write::manifest(&ImageManifest {
                artifact_type: None,
                config: Descriptor::of(MediaType::OCI_CONFIG, config.as_bytes()),
                layers: layers.iter().map(layer).collect(),
                subject: None,
                annotations: BTreeMap::new(),
            });
            for blob in layers.iter().map(Vec::as_slice).chain([config.as_bytes()]) {
                let digest = Descriptor::of("", blob).digest;
                self.put(&format!("/v2/{repository}/blobs/{digest}"), MediaType::OCTETS, blob);
            }
            children.push(self.manifest(repository, None, MediaType::OCI_MANIFEST, &manifest).for_platform(platform));
        }
        let index = write::index(&ImageIndex { artifact_type: None, manifests: children, subject: None, annotations: BTreeMap::new() });
        self.manifest(repository, Some(tag), MediaType::OCI_INDEX, &index);
        format!("{}/{repository}:{tag}", self.address())
    }

    /// Serves an index whose platforms are but names.
    pub fn index_of(&self, repository: &str, tag: &str, platforms: &[&str]) {
        let child = |name: &&str| Descriptor::of(MediaType::OCI_MANIFEST, name.as_bytes()).for_platform(name.parse().unwrap());
        let manifests = platforms.iter().map(child).collect();
        let index = write::index(&ImageIndex { artifact_type: None, manifests, subject: None, annotations: BTreeMap::new() });
        self.manifest(repository, Some(tag), MediaType::OCI_INDEX, &index);
    }

    fn manifest(&self, repository: &str, tag: Option<&str>, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        let digest = descriptor.digest.to_string();
        for selector in [Some(digest.as_str()), tag].into_iter().flatten() {
            self.put(&format!("/v2/{repository}/manifests/{selector}"), media_type, bytes);
        }
        descriptor
    }

    fn put(&self, path: &str, media_type: &str, bytes: &[u8]) {
        self.content.lock().unwrap().insert(path.to_owned(), (media_type.to_owned(), bytes.to_vec()));
    }

    /// `METHOD PATH` of every request since the last call.
    pub fn asked(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    /// Every request since the last call.
    pub fn requests(&self) -> Vec<Request> {
        self.web.requests()
    }
}

fn answer(request: &Request, content: &Content) -> Reply {
    // A client that takes this for a mirror adds `?ns=HOST`.
    let path = request.path.split('?').next().unwrap_or_default();
    match content.lock().unwrap().get(path) {
        _ if path == "/v2/" => Reply::ok("{}"),
        Some((media_type, bytes)) => Reply::ranged(request, bytes).header("Content-Type", media_type),
        None => Reply::error(404, "MANIFEST_UNKNOWN", "not here"),
    }
}

/// Bytes that do not compress and are the same each time.
pub fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Compressed, the same each time.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
