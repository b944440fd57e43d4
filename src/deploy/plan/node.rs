//! Blobs, the program, the node registry and images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::facts::{Containerd, NodeFacts};
use super::super::host::Permissions;
use super::super::layout;
use super::super::options::Options;
use super::super::receipt;
use super::select::Selected;
use super::tags::Tags;
use super::{Action, Carried, Content, Place, STAGE, Seed, Space, Step, Text, Work, is_node, writes};
use super::{mirrors, registry};
use crate::bundle::image::ImageTree;
use crate::registry::names::{self, Name, Names};
use crate::types::{Descriptor, Digest, ImageReference};

/// What the node should have.
pub struct Wanted<'b> {
    /// In the store.
    pub blobs: BTreeMap<Digest, Descriptor>,
    /// Named by the node registry.
    pub images: BTreeMap<ImageReference, receipt::Image>,
    /// Registry hosts of all images that the package has here.
    pub hosts: BTreeSet<String>,
    /// `coracle` for this node, where the bundle carries it.
    pub program: Option<&'b Descriptor>,
}

/// All blobs of an image: every carried platform, attestations too.
pub fn image_blobs(image: &ImageTree) -> impl Iterator<Item = &Descriptor> {
    let platforms = image.platforms.iter().flat_map(|platform| {
        let attestations = platform.attestations.iter().flat_map(|attestation| [&attestation.manifest, &attestation.config]);
        [&platform.manifest, &platform.config].into_iter().chain(attestations).chain(platform.content())
    });
    std::iter::once(&image.top).chain(platforms)
}

pub fn wanted<'b>(carried: &Carried<'b>, facts: &NodeFacts, options: &Options, selected: &Selected<'_>) -> Wanted<'b> {
    let mut wanted = Wanted { blobs: BTreeMap::new(), images: BTreeMap::new(), hosts: BTreeSet::new(), program: None };
    for component in &selected.components {
        for image in &component.images {
            let Some(tree) = carried.images.iter().find(|tree| tree.reference == image.reference) else { continue };
            wanted.blobs.extend(image_blobs(tree).map(|descriptor| (descriptor.digest, descriptor.clone())));
            let entry = wanted.images.entry(image.reference.clone()).or_insert_with(|| receipt::Image {
                component: component.name.clone(),
                digest: tree.top.digest,
                seeded: is_seeded(facts, tree),
                pin: false,
            });
            entry.pin |= image.pin;
        }
    }
    let untouched = facts.receipt.iter().filter(|_| !options.only.is_empty()).flat_map(|receipt| receipt.images.keys());
    wanted.hosts = wanted.images.keys().chain(untouched).map(|reference| reference.registry().to_owned()).collect();
    let tools = carried.tools.get(&facts.identity.platform);
    wanted.program = tools.and_then(|tools| tools.iter().find(|(name, _)| name == "coracle")).map(|(_, descriptor)| descriptor);
    wanted.blobs.extend(wanted.program.iter().map(|program| (program.digest, (*program).clone())));
    wanted
}

/// Whether containerd has it after this plan. One that does not answer keeps what the receipt says of it.
fn is_seeded(facts: &NodeFacts, tree: &ImageTree) -> bool {
    match &facts.containerd {
        Containerd::Here { .. } => tree.platforms.iter().any(|image| image.platform == facts.identity.platform),
        Containerd::Absent => false,
        Containerd::Away { .. } => {
            facts.receipt.as_ref().and_then(|receipt| receipt.images.get(&tree.reference)).is_some_and(|image| image.seeded)
        }
    }
}

pub fn stage(blobs: &BTreeMap<Digest, Descriptor>, facts: &NodeFacts) -> Option<Step> {
    let missing: Vec<Descriptor> = blobs.values().filter(|blob| !facts.blobs.contains(&blob.digest)).cloned().collect();
    if missing.is_empty() {
        return None;
    }
    let damaged: Vec<Digest> = missing.iter().map(|blob| blob.digest).filter(|digest| facts.damaged.contains(digest)).collect();
    let mut reason = format!("{} of {} blobs are not in the store", missing.len(), blobs.len());
    if !damaged.is_empty() {
        reason = format!("{reason}, {} of them damaged by a power loss", damaged.len());
    }
    let bytes = missing.iter().map(|blob| blob.size).sum();
    let work = Work::Stage { missing, damaged };
    Some(Step { id: STAGE.to_owned(), component: None, action: Action::Create, reason, bytes, work })
}

pub fn steps(carried: &Carried<'_>, facts: &NodeFacts, options: &Options, wanted: &Wanted<'_>, tags: &Tags) -> Vec<Step> {
    let mut steps: Vec<Step> = program(facts, wanted).into_iter().collect();
    let new_program = !steps.is_empty();
    steps.extend(names(carried, facts, options, wanted, tags));
    steps.extend(registry::steps(facts, options, wanted, new_program));
    steps.extend(mirrors::steps(facts, wanted));
    steps.extend(seed(carried, facts, wanted, tags));
    steps
}

/// The step that seeds images, as plan and journal name it.
const SEED: &str = "images";

/// One step for all images, because layers that they share are sent once and images are unpacked side by side.
fn seed(carried: &Carried<'_>, facts: &NodeFacts, wanted: &Wanted<'_>, tags: &Tags) -> Option<Step> {
    let Containerd::Here { version, snapshotter, snapshot_root, present, .. } = &facts.containerd else { return None };
    let platform = &facts.identity.platform;
    let of_node = |tree: &&ImageTree| tree.platforms.iter().any(|image| image.platform == *platform);
    let images: Vec<&ImageTree> =
        carried.images.iter().filter(|tree| wanted.images.contains_key(&tree.reference)).filter(of_node).collect();
    let images: Vec<&ImageTree> = images.into_iter().filter(|tree| !tags.left.contains(&tree.reference)).collect();
    // A step that was begun and never ended is done again with all images: what is there costs no read, and leases that the killed
    // run left in containerd go with it.
    let interrupted = facts.journal.open.contains_key(SEED);
    let missing: Vec<&ImageTree> = images.iter().copied().filter(|tree| interrupted || !present.contains(&tree.reference)).collect();
    let first = missing.first()?;
    let more = if missing.len() > 1 { format!(" and {} more", missing.len() - 1) } else { String::new() };
    let layers =
        missing.iter().flat_map(|tree| &tree.platforms).filter(|image| image.platform == *platform).flat_map(|image| &image.layers);
    let layers: BTreeMap<Digest, u64> = layers.map(|layer| (layer.digest, layer.size)).collect();
    // Compressed once in the content store, and about three times that unpacked.
    let bytes = layers.values().sum::<u64>().saturating_mul(4);
    let seed = Seed {
        images: missing.iter().map(|tree| ((*tree).clone(), wanted.images.get(&tree.reference).is_some_and(|image| image.pin))).collect(),
        snapshotter: snapshotter.clone(),
        snapshot_root: snapshot_root.clone().unwrap_or_else(|| PathBuf::from("/var/lib/containerd")),
    };
    Some(Step {
        id: SEED.to_owned(),
        component: None,
        action: Action::Create,
        reason: if interrupted {
            "the deploy before was interrupted while it seeded them".to_owned()
        } else {
            format!("{} of {} are not in containerd {version}: {}{more}", missing.len(), images.len(), first.reference)
        },
        bytes,
        work: Work::Seed(Box::new(seed)),
    })
}

fn program(facts: &NodeFacts, wanted: &Wanted<'_>) -> Option<Step> {
    let program = wanted.program?;
    let path = PathBuf::from(layout::PROGRAM);
    let found = facts.paths.get(&path);
    if found.is_some_and(|found| found.digest == Some(program.digest) && found.entry.mode == 0o755) {
        return None;
    }
    let (action, reason) = match found {
        None => (Action::Create, "it is not installed"),
        Some(_) => (Action::Change, "the bundle carries another build"),
    };
    let permissions = Permissions { mode: 0o755, uid: facts.identity.uid, gid: facts.identity.gid };
    let place = Place { path, permissions, content: Content::Blob(program.clone()), digest: program.digest, keep: None };
    Some(Step {
        id: "program".to_owned(),
        component: None,
        action,
        reason: reason.to_owned(),
        bytes: program.size,
        work: Work::Place(Box::new(place)),
    })
}

/// What the node registry calls the package's images. With `--only` what it called the others stays.
fn names(carried: &Carried<'_>, facts: &NodeFacts, options: &Options, wanted: &Wanted<'_>, tags: &Tags) -> Option<Step> {
    let package = &carried.contents.name;
    let path = names::file(Path::new(layout::STATE), package);
    let before = facts.names.as_ref().filter(|_| !options.only.is_empty());
    let mut repositories = before.map(|names| names.repositories.clone()).unwrap_or_default();
    for tree in carried.images.iter().filter(|tree| wanted.images.contains_key(&tree.reference)) {
        let moved = tags.moved.get(&tree.reference).copied().unwrap_or_default();
        let name = Name { moved, ..Name::new(tree.reference.tag(), &tree.top) };
        let all: &mut Vec<Name> = repositories.entry(tree.reference.mirrored_repository()).or_default();
        all.retain(|other| other.tag.is_none() || other.tag != name.tag);
        if !all.contains(&name) {
            all.push(name);
        }
        all.sort();
    }
    let found = facts.paths.get(&path);
    if repositories.is_empty() {
        found?;
        let work = Work::Remove { path, keep: None };
        let reason = "the package has no image any more".to_owned();
        return Some(Step { id: "names".to_owned(), component: None, action: Action::Remove, reason, bytes: 0, work });
    }
    let count: usize = repositories.values().map(Vec::len).sum();
    let text = String::from_utf8(names::encode(&Names { package: package.clone(), repositories })).unwrap_or_default();
    let digest = Digest::of(text.as_bytes());
    if found.is_some_and(|found| found.digest == Some(digest)) {
        return None;
    }
    let permissions = Permissions { mode: 0o644, uid: facts.identity.uid, gid: facts.identity.gid };
    let bytes = text.len() as u64;
    let place = Place { path, permissions, content: Content::Text(Text(text)), digest, keep: None };
    Some(Step {
        id: "names".to_owned(),
        component: None,
        action: if found.is_some() { Action::Change } else { Action::Create },
        reason: format!("{count} image names in the node registry"),
        bytes,
        work: Work::Place(Box::new(place)),
    })
}

pub fn notes(carried: &Carried<'_>, facts: &NodeFacts, options: &Options, wanted: &Wanted<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let target = &carried.contents.target.os;
    if !target.is_empty() && !target.iter().any(|target| facts.os.is(target)) {
        let name = if facts.os.pretty_name.is_empty() { "an unknown system" } else { &facts.os.pretty_name };
        let made_for: Vec<String> =
            target.iter().map(|os| format!("{} {}", os.ids.join("|"), os.version.as_deref().unwrap_or(""))).collect();
        notes.push(format!("this node runs {name}; the package is made for {}", made_for.join(", ").trim_end()));
    }
    if is_node(facts) && !wanted.images.is_empty() && wanted.program.is_none() && !facts.paths.contains_key(Path::new(layout::PROGRAM)) {
        notes.push(match &options.running_program {
            Some(program) => format!(
                "the bundle carries no coracle for {}: the node registry runs `{}`, keep it there",
                facts.identity.platform,
                program.display()
            ),
            None => format!("the bundle carries no coracle for {}: the node registry is not started", facts.identity.platform),
        });
    }
    if is_node(facts) && !wanted.images.is_empty() {
        match &facts.containerd {
            Containerd::Absent => notes.push("there is no containerd here: images are in the node registry alone".to_owned()),
            Containerd::Away { why } => notes.push(format!("{why}: images are not seeded; start containerd and deploy again")),
            Containerd::Here { .. } => {}
        }
    }
    notes.extend(mirrors::notes(facts, wanted));
    notes
}

/// What each file system must take. A file that is replaced needs its whole size beside the old one until the rename.
pub fn space(steps: &[Step], facts: &NodeFacts) -> Vec<Space> {
    let state = Path::new(layout::STATE);
    let mut spaces: BTreeMap<u64, Space> = BTreeMap::new();
    let mut add = |path: &Path, bytes: u64| {
        if let Some(file_system) = facts.file_systems.get(path).or_else(|| facts.file_systems.get(state)) {
            let space =
                spaces.entry(file_system.id).or_insert_with(|| Space { file_system: path.to_owned(), needs: 0, free: file_system.free });
            space.needs += bytes;
        }
    };
    for step in steps {
        for (path, bytes) in writes(step) {
            add(path, bytes);
        }
        // What a file held before is copied to where it is kept.
        let kept = match &step.work {
            Work::Place(place) if place.keep.is_some() => Some(&place.path),
            Work::Remove { path, keep: Some(_) } => Some(path),
            Work::Place(_)
            | Work::Remove { .. }
            | Work::Stage { .. }
            | Work::Extract(_)
            | Work::Seed(_)
            | Work::Service(_)
            | Work::Receipt => None,
        };
        add(state, kept.and_then(|path| facts.paths.get(path)).map_or(0, |found| found.entry.size));
    }
    spaces.into_values().collect()
}
