//! Resolution → [`Parts`]: from what was pinned and fetched to what the bundle says of itself. Pure.

use std::collections::BTreeMap;

use super::definition::package::{Component, FileEntry, FileOrigin, ImageEntry};
use super::resolution::{Resolution, ResolvedFile, ResolvedImage};
use crate::bundle::contents::{self, ArchiveFormat, CarriedFile, CarriedImage, Contents, FileContent, Placement};
use crate::bundle::image::{ImageTree, PlatformImage};
use crate::bundle::parts::Parts;
use crate::types::{Descriptor, Digest, ImageReference, Platform};

/// The programs that travel: per platform a name and a blob.
pub type Tools = BTreeMap<Platform, Vec<(String, Descriptor)>>;

/// Names everything that the bundle carries. `chunks` holds the chunk digests of every content blob over 8 MiB, `lock` the lock file's text.
pub fn assemble(resolution: Resolution, tools: Tools, chunks: BTreeMap<Digest, Vec<Digest>>, lock: String) -> Parts {
    let images = image_trees(&resolution);
    let package = resolution.package;
    let components = package.components.iter().zip(&resolution.images).zip(&resolution.files);
    let components = components.map(|((component, images), files)| carried_component(component, images, files)).collect();
    let contents = Contents {
        name: package.name,
        version: package.version,
        description: package.description,
        platforms: package.platforms,
        target: package.target,
        parameters: package.parameters,
        variables: package.variables,
        components,
        lock,
        chunks,
    };
    Parts { contents, images, tools, documents: resolution.documents }
}

/// Every blob that is content, each once: layers, attestations' statements, files.
pub fn content(resolution: &Resolution) -> Vec<Descriptor> {
    let layers = resolution.images.iter().flatten().flat_map(|image| &image.tree.platforms).flat_map(PlatformImage::content);
    let files = resolution.files.iter().flatten().flat_map(BTreeMap::values).map(|file| &file.descriptor);
    let unique: BTreeMap<Digest, &Descriptor> = layers.chain(files).map(|descriptor| (descriptor.digest, descriptor)).collect();
    unique.into_values().cloned().collect()
}

/// Each image once per reference, with the platforms of all its entries, sorted by reference.
fn image_trees(resolution: &Resolution) -> Vec<ImageTree> {
    let mut trees: BTreeMap<ImageReference, ImageTree> = BTreeMap::new();
    for ResolvedImage { tree, .. } in resolution.images.iter().flatten() {
        let known = trees.entry(tree.reference.clone()).or_insert_with(|| tree.clone());
        for platform in &tree.platforms {
            if !known.platforms.iter().any(|other| other.platform == platform.platform) {
                known.platforms.push(platform.clone());
            }
        }
        known.platforms.sort_by(|a, b| a.platform.cmp(&b.platform));
    }
    trees.into_values().collect()
}

fn carried_component(component: &Component, images: &[ResolvedImage], files: &[BTreeMap<Platform, ResolvedFile>]) -> contents::Component {
    contents::Component {
        name: component.name.clone(),
        only: component.only.clone(),
        optional: component.optional,
        images: component.images.iter().zip(images).map(|(entry, image)| carried_image(entry, image)).collect(),
        files: component.files.iter().zip(files).map(|(entry, resolved)| carried_file(entry, resolved)).collect(),
    }
}

fn carried_image(entry: &ImageEntry, image: &ResolvedImage) -> CarriedImage {
    CarriedImage {
        reference: image.tree.reference.clone(),
        top: image.tree.top.clone(),
        platforms: image.tree.platforms.iter().map(|platform| platform.platform.clone()).collect(),
        pin: entry.pin,
    }
}

fn carried_file(entry: &FileEntry, resolved: &BTreeMap<Platform, ResolvedFile>) -> CarriedFile {
    let extracted = matches!(entry.placement, Placement::Extract { .. });
    let contents = resolved
        .iter()
        .map(|(platform, file)| {
            let origin = match entry.origins.get(platform) {
                Some(FileOrigin::Url { url, .. }) => url.to_string(),
                Some(FileOrigin::Local { written, .. }) => written.clone(),
                Some(FileOrigin::Inline(_)) | None => "inline".to_owned(),
            };
            let archive = if extracted { ArchiveFormat::of_name(&file.title) } else { None };
            (platform.clone(), FileContent { descriptor: file.descriptor.clone(), title: file.title.clone(), origin, archive })
        })
        .collect();
    CarriedFile {
        placement: entry.placement.clone(),
        mode: entry.mode,
        owner: entry.owner.clone(),
        group: entry.group.clone(),
        template: entry.template,
        contents,
    }
}
