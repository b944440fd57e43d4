//! Tags that stand for something else: for another package's image, or for one that somebody pulled. None is moved unless it was named.
//!
//! A tag's name in the node registry carries how often the tag had been moved when it came to its package: the highest number holds
//! it. So a moved tag stays where it went, its former holder deploys again without taking it back, and removing the package that
//! took it gives it back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::super::facts::{Containerd, NodeFacts};
use super::super::options::Options;
use super::node::Wanted;
use super::{Carried, Error};
use crate::registry::names::{Name, Names};
use crate::types::{Digest, ImageReference, PackageName};

/// What becomes of the package's tags.
#[derive(Debug, Default)]
pub struct Tags {
    /// How often a tag had been moved when it came here; absent: never.
    pub moved: BTreeMap<ImageReference, u64>,
    /// Tags that another package took, and keeps.
    pub left: BTreeSet<ImageReference>,
    /// For people.
    pub notes: Vec<String>,
}

/// A tag that stands for something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldTag {
    /// Which.
    pub reference: ImageReference,
    /// What it stands for now.
    pub digest: Digest,
    /// Whose it is.
    pub holder: TagHolder,
}

/// Whose a tag is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagHolder {
    /// Another package's.
    Package(PackageName),
    /// No package's: somebody pulled or imported it into containerd.
    Containerd,
}

impl fmt::Display for TagHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package(package) => write!(f, "package `{package}`"),
            Self::Containerd => f.write_str("containerd, where it was pulled or imported"),
        }
    }
}

impl fmt::Display for HeldTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {} of {}", self.reference, self.digest, self.holder)
    }
}

/// Decides about every tag that the package has here.
///
/// # Errors
/// Tags stand for something else and are not named by `--move-tag`, or one that is named is none of the package.
pub fn decide(carried: &Carried<'_>, facts: &NodeFacts, options: &Options, wanted: &Wanted<'_>) -> Result<Tags, Error> {
    let known = || carried.images.iter().map(|tree| &tree.reference);
    if let Some(unknown) = options.move_tags.iter().find(|reference| !known().any(|known| known == *reference)) {
        return Err(Error::NoImage { reference: unknown.clone(), known: known().cloned().collect() });
    }
    let mut tags = Tags::default();
    let mut held = Vec::new();
    for (reference, image) in wanted.images.iter().filter(|(reference, _)| reference.tag().is_some()) {
        let tag = Tag { reference, digest: image.digest, may_move: options.move_tags.contains(reference) };
        held.extend(tag.decide(facts, &mut tags));
    }
    if held.is_empty() { Ok(tags) } else { Err(Error::TagsHeld { held }) }
}

struct Tag<'a> {
    reference: &'a ImageReference,
    digest: Digest,
    may_move: bool,
}

impl Tag<'_> {
    fn decide(&self, facts: &NodeFacts, tags: &mut Tags) -> Option<HeldTag> {
        let before = facts.names.as_ref().and_then(|names| self.named_in(names));
        let mut moved = before.map_or(0, |name| name.moved);
        // Of equals the first package by name holds it, as the node registry has it.
        let others = facts.other_names.iter().filter_map(|names| Some((&names.package, self.named_in(names)?)));
        let others = others.filter(|(_, name)| name.manifest.digest != self.digest);
        let rival = others.min_by_key(|(package, name)| (std::cmp::Reverse(name.moved), *package));
        if let Some((package, name)) = rival
            && moved <= name.moved
        {
            let holder =
                HeldTag { reference: self.reference.clone(), digest: name.manifest.digest, holder: TagHolder::Package(package.clone()) };
            if self.may_move {
                tags.notes.push(format!("{holder}; it moves to this package"));
                moved = name.moved + 1;
            } else if before.is_some_and(|before| before.manifest.digest == self.digest) {
                tags.notes.push(format!("{holder}, which took it; it stays there"));
                tags.left.insert(self.reference.clone());
                tags.moved.extend((moved > 0).then(|| (self.reference.clone(), moved)));
                return None;
            } else {
                return Some(holder);
            }
        }
        tags.moved.extend((moved > 0).then(|| (self.reference.clone(), moved)));
        let Containerd::Here { holders, .. } = &facts.containerd else { return None };
        let digest = *holders.get(self.reference)?;
        let known = |names: &Names| self.named_in(names).is_some_and(|name| name.manifest.digest == digest);
        // What a package brought was decided above.
        if facts.names.iter().chain(&facts.other_names).any(known) {
            return None;
        }
        let holder = HeldTag { reference: self.reference.clone(), digest, holder: TagHolder::Containerd };
        if self.may_move {
            tags.notes.push(format!("{holder}; it moves to this package"));
            return None;
        }
        Some(holder)
    }

    fn named_in<'n>(&self, names: &'n Names) -> Option<&'n Name> {
        let all = names.repositories.get(&self.reference.mirrored_repository())?;
        all.iter().find(|name| name.tag.as_deref() == self.reference.tag())
    }
}
