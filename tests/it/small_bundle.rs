//! A small bundle: one image for two platforms, and one file.

use std::collections::BTreeMap;

use coracle::bundle::contents::{CarriedFile, CarriedImage, Component, Contents, FileContent, Only, Placement, Target};
use coracle::bundle::image;
use coracle::bundle::parts::Parts;
use coracle::store::Store;
use coracle::types::oci::{ImageIndex, ImageManifest, write};
use coracle::types::{Descriptor, Digest, MediaType, Platform};
use serde_json::json;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The image's name.
pub const REFERENCE: &str = "registry.example/app:1.0";

fn layer(platform: &Platform) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let content = format!("for {platform}\n");
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o755);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, "bin/app", content.as_bytes()).unwrap();
    tar.into_inner().unwrap()
}

/// What the bundle carries; its content goes into the store.
pub fn parts(store: &Store) -> Parts {
    let platforms = [Platform::linux_amd64(), Platform::linux_arm64()];
    let mut documents = BTreeMap::new();
    let mut document = |media_type: &str, bytes: Vec<u8>| {
        let descriptor = Descriptor::of(media_type, &bytes);
        documents.insert(descriptor.digest, bytes);
        descriptor
    };
    let manifests = platforms.iter().map(|platform| {
        let layer = layer(platform);
        store.put(&layer).unwrap();
        let config = json!({
            "architecture": platform.architecture(), "os": "linux", "config": {"Entrypoint": ["/bin/app"]},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]},
        });
        let config = document(MediaType::OCI_CONFIG, config.to_string().into_bytes());
        let layers = vec![Descriptor::of(LAYER, &layer)];
        let manifest = ImageManifest { artifact_type: None, config, layers, subject: None, annotations: BTreeMap::new() };
        document(MediaType::OCI_MANIFEST, write::manifest(&manifest)).for_platform(platform.clone())
    });
    let index = ImageIndex { artifact_type: None, manifests: manifests.collect(), subject: None, annotations: BTreeMap::new() };
    let top = document(MediaType::OCI_INDEX, write::index(&index));
    let tree = image::tree(&REFERENCE.parse().unwrap(), &top, &platforms, &|digest| documents.get(digest).cloned()).unwrap();
    let contents = Contents {
        name: "app".parse().unwrap(),
        version: semver::Version::new(1, 4, 0),
        description: "an example".to_owned(),
        platforms: platforms.to_vec(),
        target: Target::default(),
        parameters: BTreeMap::new(),
        variables: BTreeMap::new(),
        components: vec![Component {
            name: "main".parse().unwrap(),
            only: Only::default(),
            optional: false,
            images: vec![CarriedImage { reference: REFERENCE.parse().unwrap(), top, platforms: platforms.to_vec(), pin: false }],
            files: vec![file(store, &platforms)],
        }],
        lock: r#"{"images":[],"files":[]}"#.to_owned(),
        chunks: BTreeMap::new(),
    };
    Parts { contents, images: vec![tree], tools: BTreeMap::new(), documents }
}

fn file(store: &Store, platforms: &[Platform]) -> CarriedFile {
    let content = |platform: &Platform| {
        let bytes = format!("config of {platform}\n").into_bytes();
        store.put(&bytes).unwrap();
        let descriptor = Descriptor::of(MediaType::OCTETS, &bytes);
        FileContent { descriptor, title: "app.conf".to_owned(), origin: "inline".to_owned(), archive: None }
    };
    CarriedFile {
        placement: Placement::File("/etc/app.conf".parse().unwrap()),
        mode: Some("0640".parse().unwrap()),
        owner: None,
        group: None,
        template: false,
        contents: platforms.iter().map(|platform| (platform.clone(), content(platform))).collect(),
    }
}
