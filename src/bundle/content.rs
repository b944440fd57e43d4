//! Which content blobs there are, in what order, and whether all that is named agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::contents::Contents;
use super::image::ImageTree;
use super::limits::Limits;
use super::metadata::{Artifact, plain};
use super::{Error, Result};
use crate::io::CHUNK;
use crate::types::{Descriptor, Digest, Platform};

/// Who needs a blob, for people: `image docker.io/library/nginx:1.27`, `file /etc/x of component y`.
pub(super) type Uses = BTreeMap<Digest, BTreeSet<String>>;

/// One use of a blob on one platform, in the order of a deploy.
struct Use<'a> {
    platform: &'a Platform,
    blob: &'a Descriptor,
    what: String,
}

/// What a deploy wants, in its order: tools, then component by component files and images.
fn uses<'a>(
    contents: &'a Contents,
    images: &'a [ImageTree],
    tools: &'a BTreeMap<Platform, Vec<(String, Descriptor)>>,
) -> impl Iterator<Item = Use<'a>> {
    let tools = tools.iter().flat_map(|(platform, tools)| {
        tools.iter().map(move |(name, blob)| Use { platform, blob, what: format!("tool {name} for {platform}") })
    });
    let components = contents.components.iter().flat_map(move |component| {
        let files = component.files.iter().flat_map(move |file| &file.contents).map(move |(platform, content)| Use {
            platform,
            blob: &content.descriptor,
            what: format!("file {} of component {} for {platform}", content.title, component.name),
        });
        let trees = component.images.iter().filter_map(move |image| images.iter().find(|tree| tree.reference == image.reference));
        let layers = trees.flat_map(|tree| {
            tree.platforms.iter().flat_map(move |image| {
                let what = move || format!("image {} for {}", tree.reference, image.platform);
                image.content().map(move |blob| Use { platform: &image.platform, blob, what: what() })
            })
        });
        files.chain(layers)
    });
    tools.chain(components)
}

/// Content in its order, each digest once and none that is a document: first what several platforms need, then platform by platform
/// what it alone needs; within each the order of a deploy.
pub(super) fn order(
    contents: &Contents,
    images: &[ImageTree],
    tools: &BTreeMap<Platform, Vec<(String, Descriptor)>>,
    documents: &BTreeMap<Digest, Arc<[u8]>>,
) -> Vec<Descriptor> {
    let mut platforms: BTreeMap<Digest, BTreeSet<&Platform>> = BTreeMap::new();
    let mut blobs = Vec::new();
    for Use { platform, blob, .. } in uses(contents, images, tools) {
        if documents.contains_key(&blob.digest) {
            continue;
        }
        let needed_by = platforms.entry(blob.digest).or_default();
        if needed_by.is_empty() {
            blobs.push(plain(blob));
        }
        needed_by.insert(platform);
    }
    // A stable sort: `None` (several platforms) stands before each platform.
    let alone = |blob: &Descriptor| platforms[&blob.digest].iter().next().filter(|_| platforms[&blob.digest].len() == 1).copied();
    blobs.sort_by(|a, b| alone(a).cmp(&alone(b)));
    blobs
}

/// For each blob what needs it.
pub(super) fn who_needs(contents: &Contents, images: &[ImageTree], tools: &BTreeMap<Platform, Vec<(String, Descriptor)>>) -> Uses {
    let mut needs = Uses::new();
    for Use { blob, what, .. } in uses(contents, images, tools) {
        needs.entry(blob.digest).or_default().insert(what);
    }
    for tree in images {
        for document in tree.documents() {
            needs.entry(document.digest).or_default().insert(format!("image {}", tree.reference));
        }
    }
    needs
}

/// Checks that what is named agrees: sizes, chunks, files with their artifacts, and the number of members.
pub(super) fn check(
    contents: &Contents,
    content: &[Descriptor],
    files: &BTreeMap<Platform, Artifact>,
    mut sizes: BTreeMap<Digest, u64>,
    limits: &Limits,
    documents: u64,
) -> Result<()> {
    let members = documents + content.len() as u64;
    if members > limits.members {
        return Err(Error::Limit { what: "the number of members".to_owned(), found: members, limit: limits.members });
    }
    let mut named: BTreeMap<&Platform, BTreeSet<Digest>> = BTreeMap::new();
    for component in &contents.components {
        for (platform, file) in component.files.iter().flat_map(|file| &file.contents) {
            one_size(&mut sizes, &file.descriptor)?;
            named.entry(platform).or_default().insert(file.descriptor.digest);
        }
    }
    let carried = files.iter().map(|(platform, artifact)| (platform, artifact.layers.iter().map(|layer| layer.digest).collect())).collect();
    if named != carried {
        return Err(Error::Closure { what: "the files of the package configuration are not those of the files artifacts".to_owned() });
    }
    for blob in content {
        one_size(&mut sizes, blob)?;
    }
    check_chunks(contents, content)
}

fn check_chunks(contents: &Contents, content: &[Descriptor]) -> Result<()> {
    let large: BTreeMap<Digest, u64> = content.iter().filter(|blob| blob.size > CHUNK).map(|blob| (blob.digest, blob.size)).collect();
    for (digest, size) in &large {
        let found = contents.chunks.get(digest).map_or(0, Vec::len) as u64;
        let expected = size.div_ceil(CHUNK);
        if found != expected {
            return Err(Error::Closure { what: format!("blob `{digest}` has {expected} chunks, the package configuration lists {found}") });
        }
    }
    match contents.chunks.keys().find(|digest| !large.contains_key(digest)) {
        Some(digest) => Err(Error::Closure { what: format!("the package configuration lists chunks of `{digest}`, which has none") }),
        None => Ok(()),
    }
}

/// The same digest is always named with the same size.
pub(super) fn one_size(sizes: &mut BTreeMap<Digest, u64>, descriptor: &Descriptor) -> Result<()> {
    match sizes.insert(descriptor.digest, descriptor.size) {
        Some(other) if other != descriptor.size => Err(two_sizes(&descriptor.digest)),
        _ => Ok(()),
    }
}

pub(super) fn two_sizes(digest: &Digest) -> Error {
    Error::Closure { what: format!("`{digest}` is named with two sizes") }
}
