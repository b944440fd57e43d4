//! What is to be done: decided once, printable, without I/O. `apply` does exactly this and decides nothing again.
//!
//! Order: blobs into the store; the program; names and the node registry; mirrors; images; files in the order of the components;
//! what left the package; the receipt. Only what is not as it should be becomes a step.

mod error;
mod files;
mod mirrors;
mod node;
mod print;
mod registry;
mod select;
mod tags;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

pub use error::Error;
pub use registry::REGISTRY_UNITS;
pub use tags::{HeldTag, TagHolder};
pub use variables::NODE_FACTS;

use super::facts::NodeFacts;
use super::host::{Permissions, Scope, ServiceAction};
use super::layout;
use super::options::{Downgrade, Options};
use super::receipt::{Placed, Receipt, Source};
use crate::bundle::contents::{ArchiveFormat, Contents};
use crate::bundle::image::ImageTree;
use crate::types::{ComponentName, Descriptor, Digest, FileMode, NodePath, PackageName, Platform};

/// The id of the step that brings blobs into the store.
pub const STAGE: &str = "stage";

/// What a verified bundle says, without its bytes.
#[derive(Debug, Clone)]
pub struct Carried<'b> {
    /// The resolved definition.
    pub contents: &'b Contents,
    /// Each image once per reference.
    pub images: &'b [ImageTree],
    /// Per platform the programs that open the rest.
    pub tools: &'b BTreeMap<Platform, Vec<(String, Descriptor)>>,
    /// The digest of the root.
    pub root: Digest,
    /// Key ids of the trusted keys that signed it; empty: it is unsigned, and that was accepted.
    pub signed_by: BTreeSet<String>,
}

/// What is to be done.
#[derive(Debug)]
pub struct DeployPlan {
    /// Which package.
    pub package: PackageName,
    /// Its version.
    pub version: semver::Version,
    /// The version that is here.
    pub from: Option<semver::Version>,
    /// The node's name.
    pub hostname: String,
    /// What the node is.
    pub platform: Platform,
    /// Under which boot of the kernel the plan was made.
    pub boot_id: String,
    /// Whom state files belong to.
    pub owner: (u32, u32),
    /// In order. Empty: nothing to do.
    pub steps: Vec<Step>,
    /// What each file system must take.
    pub space: Vec<Space>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// The receipt that is written in the end; `apply` adds what comes out of archives.
    pub receipt: Receipt,
}

/// One thing to be done.
#[derive(Debug)]
pub struct Step {
    /// Unique in the plan, and the same in each plan for the same thing: `file:/etc/hosts`.
    pub id: String,
    /// For which component; `None`: for the node or the package as a whole.
    pub component: Option<ComponentName>,
    /// What happens to it.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// Bytes that are written.
    pub bytes: u64,
    /// How.
    pub work: Work,
}

/// What happens to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is not there.
    Create,
    /// It is there, and other.
    Change,
    /// It is taken away.
    Remove,
    /// It is started.
    Start,
    /// It is started anew.
    Restart,
}

/// How a step is done.
#[derive(Debug)]
pub enum Work {
    /// Blobs are verified into the store.
    Stage {
        /// These.
        missing: Vec<Descriptor>,
        /// Of these, names that are there with other content are removed first.
        damaged: Vec<Digest>,
    },
    /// A file is put there.
    Place(Box<Place>),
    /// Files are taken out of an archive.
    Extract(Box<Extract>),
    /// A path is taken away; a directory only when it is empty.
    Remove {
        /// Which.
        path: PathBuf,
        /// What a file there holds: kept for a rollback.
        keep: Option<Digest>,
    },
    /// Images are seeded into containerd.
    Seed(Box<Seed>),
    /// The node registry is started.
    Service(ServiceAction),
    /// The receipt is written.
    Receipt,
}

/// Images that are seeded into containerd.
#[derive(Debug)]
pub struct Seed {
    /// Each with whether it is kept from garbage collection.
    pub images: Vec<(ImageTree, bool)>,
    /// What they are unpacked into.
    pub snapshotter: String,
    /// Where that keeps its data: flushed afterwards, and where the space is counted.
    pub snapshot_root: PathBuf,
}

/// A file that is put somewhere.
#[derive(Debug)]
pub struct Place {
    /// Where.
    pub path: PathBuf,
    /// Mode and owner.
    pub permissions: Permissions,
    /// Its bytes.
    pub content: Content,
    /// Their digest.
    pub digest: Digest,
    /// What is there now and is kept for a rollback.
    pub keep: Option<Digest>,
}

/// The bytes of a file.
#[derive(Debug)]
pub enum Content {
    /// A blob of the store.
    Blob(Descriptor),
    /// Text in memory: a rendered template, a unit, a configuration.
    Text(Text),
}

/// Text that may hold a secret: it does not show in `Debug`.
pub struct Text(pub String);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

/// Files that are taken out of an archive.
#[derive(Debug)]
pub struct Extract {
    /// For which component.
    pub component: ComponentName,
    /// The archive's name, for people.
    pub title: String,
    /// The archive.
    pub archive: Descriptor,
    /// How it is packed.
    pub format: ArchiveFormat,
    /// Where its members go.
    pub into: NodePath,
    /// These alone; empty: all.
    pub members: Vec<String>,
    /// Leading parts that are dropped from each name.
    pub strip: u32,
    /// Instead of the archive's own permission bits of files.
    pub mode: Option<FileMode>,
    /// Owner and group.
    pub owner: (u32, u32),
    /// For the receipt.
    pub source: Source,
    /// What came from this archive's earlier version: what the new one lacks is taken away.
    pub earlier: BTreeMap<PathBuf, Placed>,
    /// Changed by hand, and to stay so.
    pub untouched: BTreeSet<PathBuf>,
    /// What an interrupted run made here, or was about to.
    pub begun: BTreeSet<PathBuf>,
    /// What files held before an interrupted run changed them.
    pub kept: BTreeMap<PathBuf, Digest>,
    /// What other packages hold here.
    pub held: BTreeMap<PathBuf, PackageName>,
}

/// What a file system must take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// The first path of the plan that is on it.
    pub file_system: PathBuf,
    /// Bytes that will be written to it.
    pub needs: u64,
    /// Bytes that it has.
    pub free: u64,
}

impl Carried<'_> {
    /// Every blob that any node could want of this bundle, each once.
    pub fn all_blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let images = self.images.iter().flat_map(node::image_blobs);
        let files = self.contents.components.iter().flat_map(|component| &component.files);
        let files = files.flat_map(|file| file.contents.values().map(|content| &content.descriptor));
        let tools = self.tools.values().flatten().map(|(_, descriptor)| descriptor);
        let mut seen = BTreeSet::new();
        images.chain(files).chain(tools).filter(move |descriptor| seen.insert(descriptor.digest))
    }
}

impl DeployPlan {
    /// Nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The same steps for the same reasons come out in the same receipt: who agreed to the one agrees to the other. Space may differ.
    #[must_use]
    pub fn is_the_same_work(&self, other: &Self) -> bool {
        let step = |step: &Step| (step.id.clone(), step.action, step.reason.clone());
        self.steps.iter().map(step).eq(other.steps.iter().map(step)) && self.receipt == other.receipt && self.notes == other.notes
    }
}

/// The templates whose text [`plan`] needs: those whose values or bytes changed since the receipt. On a node that matches there is none.
///
/// # Errors
/// What was asked for does not fit the package.
pub fn templates(carried: &Carried<'_>, facts: &NodeFacts, options: &Options) -> Result<Vec<Descriptor>, Error> {
    let selected = select::select(carried, facts, options)?;
    let values = variables::values(carried, facts, options, selected.role.as_deref())?;
    Ok(files::templates(&selected, &values, facts))
}

/// Decides what is to be done. `texts` holds what [`templates`] asked for.
///
/// # Errors
/// What was asked for does not fit the package or the node; see [`Error`].
pub fn plan(carried: &Carried<'_>, facts: &NodeFacts, options: &Options, texts: &BTreeMap<Digest, String>) -> Result<DeployPlan, Error> {
    check_identity(carried, facts, options)?;
    let selected = select::select(carried, facts, options)?;
    let values = variables::values(carried, facts, options, selected.role.as_deref())?;
    let contents = carried.contents;
    let old = facts.receipt.as_ref();
    let only = !options.only.is_empty();
    let keep_old = |of: &ComponentName| only && !options.only.contains(of);

    let node = node::wanted(carried, facts, options, &selected);
    let tags = tags::decide(carried, facts, options, &node)?;
    let files = files::plan(carried, facts, options, &selected, &values, texts)?;
    let mut blobs = node.blobs.clone();
    blobs.extend(files.blobs.iter().map(|descriptor| (descriptor.digest, descriptor.clone())));
    let mut receipt = Receipt {
        package: contents.name.clone(),
        version: contents.version.clone(),
        root: carried.root,
        keys: old.map(|old| old.keys.clone()).filter(|keys| !keys.is_empty()).unwrap_or_else(|| carried.signed_by.clone()),
        platform: facts.identity.platform.clone(),
        role: selected.role.clone(),
        components: selected.names.clone(),
        selection: selected.selection.clone(),
        variables: values.remembered.clone(),
        blobs: blobs.values().map(|descriptor| (descriptor.digest, descriptor.size)).collect(),
        files: files.placed,
        images: node.images.clone(),
    };
    if let Some(old) = old.filter(|_| only) {
        receipt.blobs.extend(&old.blobs);
        receipt
            .images
            .extend(old.images.iter().filter(|(_, image)| keep_old(&image.component)).map(|(name, image)| (name.clone(), image.clone())));
    }

    let mut steps = Vec::new();
    steps.extend(node::stage(&blobs, facts));
    steps.extend(node::steps(carried, facts, options, &node, &tags));
    steps.extend(files.steps);
    if !steps.is_empty() || old != Some(&receipt) || facts.journal.interrupted {
        let reason = match old {
            _ if facts.journal.interrupted => "the deploy before was interrupted".to_owned(),
            None => format!("{} {} is new on this node", contents.name, contents.version),
            Some(old) if old.version != contents.version => format!("from {} to {}", old.version, contents.version),
            Some(_) => "what this node holds changes".to_owned(),
        };
        let action = if old.is_none() { Action::Create } else { Action::Change };
        let bytes = receipt.to_json().len() as u64;
        steps.push(Step { id: "receipt".to_owned(), component: None, action, reason, bytes, work: Work::Receipt });
    }
    let space = node::space(&steps, facts);
    let full: Vec<Space> = space.iter().filter(|space| space.needs > space.free).cloned().collect();
    if !full.is_empty() {
        return Err(Error::NoSpace { space: full });
    }
    let mut notes = selected.notes;
    notes.extend(values.notes);
    notes.extend(files.notes);
    notes.extend(tags.notes);
    notes.extend(node::notes(carried, facts, options, &node));
    Ok(DeployPlan {
        package: contents.name.clone(),
        version: contents.version.clone(),
        from: old.map(|old| old.version.clone()),
        hostname: facts.identity.hostname.clone(),
        platform: facts.identity.platform.clone(),
        boot_id: facts.identity.boot_id.clone(),
        owner: (facts.identity.uid, facts.identity.gid),
        steps,
        space,
        notes,
        receipt,
    })
}

fn check_identity(carried: &Carried<'_>, facts: &NodeFacts, options: &Options) -> Result<(), Error> {
    let contents = carried.contents;
    let platform = &facts.identity.platform;
    if !contents.platforms.contains(platform) {
        return Err(Error::Platform { package: contents.name.clone(), platform: platform.clone(), carried: contents.platforms.clone() });
    }
    let Some(receipt) = &facts.receipt else { return Ok(()) };
    if !receipt.keys.is_empty() && receipt.keys.is_disjoint(&carried.signed_by) {
        return Err(Error::OtherKeys { package: contents.name.clone(), bound: receipt.keys.clone(), signed_by: carried.signed_by.clone() });
    }
    if contents.version < receipt.version && options.downgrade == Downgrade::Refuse {
        return Err(Error::Downgrade { package: contents.name.clone(), offered: contents.version.clone(), here: receipt.version.clone() });
    }
    Ok(())
}

/// Where a step writes, and how much: for the count of space.
fn writes(step: &Step) -> Vec<(&Path, u64)> {
    let state = Path::new(layout::STATE);
    match &step.work {
        Work::Place(place) => vec![(place.path.as_path(), step.bytes)],
        Work::Extract(extract) => vec![(extract.into.as_path(), step.bytes)],
        Work::Seed(seed) => vec![(seed.snapshot_root.as_path(), step.bytes)],
        Work::Stage { .. } | Work::Receipt => vec![(state, step.bytes)],
        Work::Remove { .. } | Work::Service(_) => Vec::new(),
    }
}

/// Whether services are started and containerd is asked.
fn is_node(facts: &NodeFacts) -> bool {
    facts.identity.scope == Scope::Node
}
