//! Which blobs a set of images needs in containerd, each once, with the labels that it should have. Pure.

use std::collections::BTreeMap;

use super::image::SeedImage;
use super::labels::Labels;
use crate::types::{Descriptor, Digest};

/// One blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WantedBlob {
    pub(super) descriptor: Descriptor,
    pub(super) labels: Labels,
}

/// The blobs of one image in the order in which they are sent: documents, then layers from the bottom.
///
/// An upstream index stays as it is, and refers to the child that is carried alone: the others were never here. `top_chain` is the
/// name of the image's uppermost snapshot; the configuration keeps it.
pub(super) fn of_image(image: &SeedImage<'_>, snapshotter: &str, top_chain: Option<&Digest>) -> Vec<WantedBlob> {
    let SeedImage { reference, top, image, .. } = image;
    let blob = |descriptor: &Descriptor| {
        let mut labels = Labels::default();
        labels.source(reference.registry(), reference.repository());
        WantedBlob { descriptor: descriptor.clone(), labels }
    };
    let mut blobs = Vec::new();
    if top.digest != image.manifest.digest {
        let mut index = blob(top);
        index.labels.refer("m.", image.manifest.digest);
        blobs.push(index);
    }
    let mut manifest = blob(&image.manifest);
    manifest.labels.refer("config", image.config.digest);
    for layer in &image.layers {
        manifest.labels.refer("l.", layer.digest);
    }
    let mut config = blob(&image.config);
    if let Some(chain) = top_chain {
        config.labels.set(snapshot_label(snapshotter), chain.to_string());
    }
    blobs.extend([manifest, config]);
    blobs.extend(image.layers.iter().map(blob));
    blobs
}

/// The label of a configuration that keeps the unpacked image.
pub(super) fn snapshot_label(snapshotter: &str) -> String {
    format!("containerd.io/gc.ref.snapshot.{snapshotter}")
}

/// The blobs of all images, each once with everybody's labels, in the order in which they are first needed.
pub(super) fn of_all(images: impl IntoIterator<Item = Vec<WantedBlob>>) -> Vec<WantedBlob> {
    let mut all: Vec<WantedBlob> = Vec::new();
    let mut places: BTreeMap<Digest, usize> = BTreeMap::new();
    for blob in images.into_iter().flatten() {
        if let Some(place) = places.get(&blob.descriptor.digest) {
            all[*place].labels.merge(blob.labels);
        } else {
            places.insert(blob.descriptor.digest, all.len());
            all.push(blob);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::image::PlatformImage;
    use crate::types::{ImageReference, MediaType, Platform};

    #[test]
    fn a_layer_of_two_images_is_sent_once_and_comes_from_both() {
        let layer = Descriptor::of("application/vnd.oci.image.layer.v1.tar+gzip", b"layer");
        let make = |name: &str| {
            let config = Descriptor::of(MediaType::OCI_CONFIG, name.as_bytes());
            let manifest = Descriptor::of(MediaType::OCI_MANIFEST, format!("manifest {name}").as_bytes());
            PlatformImage { platform: Platform::linux_amd64(), manifest, config, layers: vec![layer.clone()], attestations: Vec::new() }
        };
        let (a, b) = (make("a"), make("b"));
        let names: [ImageReference; 2] = ["ghcr.io/x/a:1".parse().unwrap(), "ghcr.io/x/b:1".parse().unwrap()];
        let index = Descriptor::of(MediaType::OCI_INDEX, b"index");
        let first = SeedImage { reference: &names[0], top: &index, image: &a, pin: false };
        let second = SeedImage { reference: &names[1], top: &b.manifest, image: &b, pin: false };
        let chain = Digest::of(b"chain");
        let all = of_all([of_image(&first, "overlayfs", Some(&chain)), of_image(&second, "overlayfs", None)]);
        let digests: Vec<Digest> = all.iter().map(|blob| blob.descriptor.digest).collect();
        assert_eq!(digests, [&index, &a.manifest, &a.config, &layer, &b.manifest, &b.config].map(|blob| blob.digest));
        let labels = |n: usize| all[n].labels.missing(&BTreeMap::new()).into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
        assert_eq!(labels(3), ["containerd.io/distribution.source.ghcr.io=x/a,x/b"]);
        let source = "containerd.io/distribution.source.ghcr.io=x/a".to_owned();
        assert_eq!(labels(0), [source.clone(), format!("containerd.io/gc.ref.content.m.0={}", a.manifest.digest)]);
        assert_eq!(labels(2), [source, format!("containerd.io/gc.ref.snapshot.overlayfs={chain}")]);
    }
}
