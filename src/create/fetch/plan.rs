//! What is to be fetched: each digest once, whoever names it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::bundle::image::PlatformImage;
use crate::create::definition::package::{FileOrigin, ImageOrigin};
use crate::create::resolution::Resolution;
use crate::create::source::Place;
use crate::store::{self, Store};
use crate::types::{Descriptor, Digest};

/// What would be fetched, and what is there. In the order in which it is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPlan {
    /// One for each blob that is not there whole.
    pub blobs: Vec<PlannedBlob>,
    /// Bytes of all blobs of the resolution, each counted once.
    pub bytes_total: u64,
    /// Bytes that are to come.
    pub bytes_missing: u64,
}

/// A blob that is not there whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedBlob {
    /// Which.
    pub descriptor: Descriptor,
    /// For people: `registry.k8s.io/pause:3.10.1 (sha256:9f2c4a1b…)`, or a URL.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Bytes of it that an earlier run left, unchecked.
    pub bytes_present: u64,
}

/// Where a blob comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Any of these, the first that has it.
    Upstream(Vec<Place>),
    /// An archive or layout on this machine.
    Archive(PathBuf),
    /// A file beside the definition, or text in it: stored when it was resolved.
    Resolved,
}

/// Compares a resolution with the store: sizes and names alone, no content is read and nobody is asked.
///
/// The largest blobs come first: begun last, one of them would run alone at the end. Equal ones are in the order of their digests.
pub fn plan_fetch(resolution: &Resolution, store: &Store) -> store::Result<FetchPlan> {
    let mut wanted: BTreeMap<Digest, PlannedBlob> = BTreeMap::new();
    for image in resolution.images.iter().flatten() {
        for content in image.tree.platforms.iter().flat_map(PlatformImage::content) {
            let origin = match &image.origin {
                ImageOrigin::Registry(reference) => {
                    Origin::Upstream(vec![Place::Registry { reference: reference.clone(), digest: content.digest }])
                }
                ImageOrigin::Archive { path, .. } => Origin::Archive(path.clone()),
            };
            let short: String = content.digest.to_string().chars().take(15).collect();
            add(&mut wanted, content, format!("{} ({short}…)", image.tree.reference), origin);
        }
    }
    for (component, files) in resolution.package.components.iter().zip(&resolution.files) {
        for (entry, per_platform) in component.files.iter().zip(files) {
            for (platform, file) in per_platform {
                let (name, origin) = match entry.origins.get(platform) {
                    Some(FileOrigin::Url { url, .. }) => (url.to_string(), Origin::Upstream(vec![Place::Url(url.clone())])),
                    Some(FileOrigin::Local { .. } | FileOrigin::Inline(_)) | None => (file.title.clone(), Origin::Resolved),
                };
                add(&mut wanted, &file.descriptor, name, origin);
            }
        }
    }
    let bytes_total = wanted.values().map(|blob| blob.descriptor.size).sum();
    let mut blobs = Vec::new();
    for mut blob in wanted.into_values() {
        if !store.has(&blob.descriptor)? {
            blob.bytes_present = store.bytes_present(&blob.descriptor)?;
            blobs.push(blob);
        }
    }
    blobs.sort_by(|a, b| b.descriptor.size.cmp(&a.descriptor.size).then(a.descriptor.digest.cmp(&b.descriptor.digest)));
    let bytes_missing = blobs.iter().map(|blob| blob.descriptor.size - blob.bytes_present).sum();
    Ok(FetchPlan { blobs, bytes_total, bytes_missing })
}

fn add(wanted: &mut BTreeMap<Digest, PlannedBlob>, descriptor: &Descriptor, name: String, origin: Origin) {
    let Some(known) = wanted.get_mut(&descriptor.digest) else {
        let blob = PlannedBlob { descriptor: descriptor.clone(), name, origin, bytes_present: 0 };
        wanted.insert(descriptor.digest, blob);
        return;
    };
    match (&mut known.origin, origin) {
        // What is on this machine need not come over a network.
        (known @ Origin::Upstream(_), local @ (Origin::Archive(_) | Origin::Resolved)) => *known = local,
        (Origin::Upstream(places), Origin::Upstream(more)) => {
            places.extend(more);
            places.sort();
            places.dedup();
        }
        _ => {}
    }
}
