//! Files: what should be at each path, what is there, and what that means.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::drift::{self, Drift};
use super::super::facts::NodeFacts;
use super::super::host::{EntryKind, Permissions};
use super::super::options::{OnDrift, Options};
use super::super::receipt::{Placed, Source, Thing};
use super::super::template;
use super::select::Selected;
use super::variables::Values;
use super::{Action, Carried, Content, Error, Extract, Place, Step, Text, Work};
use crate::bundle::contents::{CarriedFile, Component, FileContent, Placement};
use crate::types::{ComponentName, Descriptor, Digest, NodePath};

/// What is planned for files.
pub struct Files {
    /// In the order of the components; removals last.
    pub steps: Vec<Step>,
    /// For the receipt, as far as it is known before archives are opened.
    pub placed: BTreeMap<PathBuf, Placed>,
    /// Blobs that they are made from.
    pub blobs: Vec<Descriptor>,
    /// For people.
    pub notes: Vec<String>,
}

/// A file of a component with its bytes for this node.
#[derive(Clone, Copy)]
struct Item<'b> {
    component: &'b Component,
    file: &'b CarriedFile,
    content: &'b FileContent,
}

fn items<'b>(selected: &Selected<'b>, facts: &NodeFacts) -> Vec<Item<'b>> {
    let platform = &facts.identity.platform;
    let files = selected.components.iter().copied().flat_map(|component| component.files.iter().map(move |file| (component, file)));
    files.filter_map(|(component, file)| Some(Item { component, file, content: file.contents.get(platform)? })).collect()
}

/// A template whose bytes and values are those of the receipt needs no text.
fn rendered_before<'f>(item: Item<'_>, path: &NodePath, values: &Values, facts: &'f NodeFacts) -> Option<&'f Placed> {
    let old = facts.receipt.as_ref()?.files.get(path.as_path())?;
    let same = old.source.blob == item.content.descriptor.digest && old.source.template == Some(values.fingerprint);
    (same && !values.secret_given).then_some(old)
}

pub fn templates(selected: &Selected<'_>, values: &Values, facts: &NodeFacts) -> Vec<Descriptor> {
    let mut wanted = Vec::new();
    for item in items(selected, facts).into_iter().filter(|item| item.file.template) {
        let Placement::File(path) = &item.file.placement else { continue };
        let matches = rendered_before(item, path, values, facts)
            .is_some_and(|old| drift::differences(old, facts.paths.get(path.as_path())).is_empty());
        if !matches {
            wanted.push(item.content.descriptor.clone());
        }
    }
    wanted
}

/// What a path is to this plan.
enum State {
    /// As it should be.
    Right,
    /// To be done, for this reason.
    Todo(Action, &'static str),
    /// Changed by hand.
    Drift(Drift),
}

struct Planner<'p> {
    facts: &'p NodeFacts,
    options: &'p Options,
    values: &'p Values,
    texts: &'p BTreeMap<Digest, String>,
    out: Files,
    drift: Vec<Drift>,
    /// Values that a pending template needs and nobody gave.
    missing: BTreeSet<crate::types::VariableName>,
    /// Old entries whose fate is decided.
    settled: BTreeSet<PathBuf>,
}

pub fn plan(
    carried: &Carried<'_>,
    facts: &NodeFacts,
    options: &Options,
    selected: &Selected<'_>,
    values: &Values,
    texts: &BTreeMap<Digest, String>,
) -> Result<Files, Error> {
    let out = Files { steps: Vec::new(), placed: BTreeMap::new(), blobs: Vec::new(), notes: Vec::new() };
    let sensitive = |name: &crate::types::VariableName| carried.contents.variables.get(name).is_some_and(|variable| variable.sensitive);
    // A secret is asked for only when a pending step needs it; the rest is the package's configuration, and must be complete.
    let missing = values.missing.iter().filter(|name| !sensitive(name)).cloned().collect();
    let mut planner = Planner { facts, options, values, texts, out, drift: Vec::new(), missing, settled: BTreeSet::new() };
    let items = items(selected, facts);
    for item in &items {
        planner.out.blobs.push(item.content.descriptor.clone());
        match &item.file.placement {
            Placement::File(path) => planner.file(*item, path)?,
            Placement::Extract { into, members, strip } => {
                let members = members.get(&facts.identity.platform).cloned().unwrap_or_default();
                planner.extract(*item, into, members, *strip)?;
            }
        }
    }
    planner.leftovers(options);
    if !planner.missing.is_empty() {
        return Err(Error::VariablesNeeded { names: planner.missing.into_iter().collect() });
    }
    if !planner.drift.is_empty() {
        return Err(Error::Drift { drift: planner.drift });
    }
    Ok(planner.out)
}

impl Planner<'_> {
    fn file(&mut self, item: Item<'_>, path: &NodePath) -> Result<(), Error> {
        let (component, at) = (&item.component.name, path.as_path());
        self.check_free(at, component)?;
        self.settled.insert(at.to_owned());
        let (uid, gid) = self.owner(item.file, at)?;
        let mode = item.file.mode.map_or(0o644, crate::types::FileMode::bits);
        let descriptor = &item.content.descriptor;
        let Some((what, content)) = self.content(item, path)? else { return Ok(()) };
        let template = item.file.template.then_some(self.values.fingerprint);
        let source = Source { blob: descriptor.digest, extract: None, template };
        let old = self.facts.receipt.as_ref().and_then(|receipt| receipt.files.get(at));
        let previous = self.facts.journal.kept.get(at).copied().or_else(|| old.and_then(|old| old.previous));
        let mut placed = Placed { component: component.clone(), what, mode, uid, gid, source, previous };
        let (action, reason) = match self.state(at, &placed, old) {
            State::Right => {
                self.out.placed.insert(at.to_owned(), placed);
                return Ok(());
            }
            State::Todo(action, reason) => (action, reason),
            State::Drift(drift) => match self.options.on_drift {
                OnDrift::Overwrite => (Action::Change, "it was changed by hand, and is overwritten"),
                OnDrift::Keep | OnDrift::Refuse => {
                    self.keep(drift, old);
                    return Ok(());
                }
            },
        };
        let Thing::File { digest, size } = placed.what.clone() else { return Ok(()) };
        let keep = self.in_the_way(at)?.filter(|there| *there != digest);
        placed.previous = self.facts.journal.kept.get(at).copied().or(keep).or(previous);
        self.out.placed.insert(at.to_owned(), placed);
        let place = Place { path: at.to_owned(), permissions: Permissions { mode, uid, gid }, content, digest, keep };
        self.out.steps.push(Step {
            id: format!("file:{path}"),
            component: Some(component.clone()),
            action,
            reason: reason.to_owned(),
            bytes: size,
            work: Work::Place(Box::new(place)),
        });
        Ok(())
    }

    /// What the file will hold; `None` where a value is missing that its template needs.
    fn content(&mut self, item: Item<'_>, path: &NodePath) -> Result<Option<(Thing, Content)>, Error> {
        let descriptor = &item.content.descriptor;
        if !item.file.template {
            let what = Thing::File { digest: descriptor.digest, size: descriptor.size };
            return Ok(Some((what, Content::Blob(descriptor.clone()))));
        }
        let Some(text) = self.texts.get(&descriptor.digest) else {
            // Not asked for, so the receipt knows what comes out of it, and that is there.
            let old = rendered_before(item, path, self.values, self.facts);
            return Ok(old.map(|old| (old.what.clone(), Content::Text(Text(String::new())))));
        };
        let failed = |source| Error::Template { path: path.as_path().to_owned(), source };
        let names = template::names(text).map_err(failed)?;
        let missing: Vec<_> = self.values.missing.iter().filter(|name| names.contains(name.as_str())).cloned().collect();
        if !missing.is_empty() {
            self.missing.extend(missing);
            return Ok(None);
        }
        let rendered = template::render(text, &self.values.all).map_err(failed)?;
        let what = Thing::File { digest: Digest::of(rendered.as_bytes()), size: rendered.len() as u64 };
        Ok(Some((what, Content::Text(Text(rendered)))))
    }

    fn extract(&mut self, item: Item<'_>, into: &NodePath, members: Vec<String>, strip: u32) -> Result<(), Error> {
        let (component, title) = (&item.component.name, &item.content.title);
        let format = item.content.archive.ok_or_else(|| Error::Unpacked { title: title.clone() })?;
        let owner = self.owner(item.file, into.as_path())?;
        let how = format!(
            "into {into} strip {strip} mode {} owner {}:{} members {}",
            item.file.mode.map_or_else(|| "-".to_owned(), |mode| mode.to_string()),
            owner.0,
            owner.1,
            members.join(" ")
        );
        let source = Source { blob: item.content.descriptor.digest, extract: Some(how), template: None };
        let all = self.facts.receipt.iter().flat_map(|receipt| &receipt.files);
        let earlier: BTreeMap<PathBuf, Placed> = all
            .filter(|(path, old)| {
                old.component == *component
                    && old.source.extract.is_some()
                    && path.starts_with(into.as_path())
                    && !self.settled.contains(*path)
                    && (old.source == source || !self.is_from_another_archive(item, old))
            })
            .map(|(path, old)| (path.clone(), old.clone()))
            .collect();
        self.settled.extend(earlier.keys().cloned());
        let (unchanged, mut todo) = (earlier.values().any(|old| old.source == source), None);
        let mut untouched = BTreeSet::new();
        for (path, old) in &earlier {
            match self.state(path, old, Some(old)) {
                State::Right => {}
                State::Todo(_, reason) => todo = Some(reason),
                State::Drift(drift) => match self.options.on_drift {
                    OnDrift::Overwrite => todo = Some("a file of it was changed by hand, and is overwritten"),
                    OnDrift::Keep => drop(untouched.insert(path.clone())),
                    OnDrift::Refuse => self.drift.push(drift),
                },
            }
        }
        let (action, reason) = match (unchanged, todo) {
            (true, None) => {
                self.out.placed.extend(earlier);
                return Ok(());
            }
            (true, Some(reason)) => (Action::Change, reason),
            (false, _) if earlier.is_empty() => (Action::Create, "new"),
            (false, _) => (Action::Change, "the archive changes"),
        };
        let (archive, title) = (item.content.descriptor.clone(), title.clone());
        let bytes = unpacked(&archive, format);
        let others = self.facts.others.iter().flat_map(|other| other.files.keys().map(|path| (path, &other.package)));
        let others = others.filter(|(path, _)| path.starts_with(into.as_path()));
        let extract = Extract {
            component: component.clone(),
            title: title.clone(),
            archive,
            format,
            into: into.clone(),
            members,
            strip,
            mode: item.file.mode,
            owner,
            source,
            earlier,
            untouched,
            begun: self.facts.journal.files.keys().filter(|path| path.starts_with(into.as_path())).cloned().collect(),
            kept: self.facts.journal.kept.clone(),
            held: others.map(|(path, holder)| (path.clone(), holder.clone())).collect(),
        };
        self.out.steps.push(Step {
            id: format!("extract:{into}:{title}"),
            component: Some(component.clone()),
            action,
            reason: format!("{title}: {reason}"),
            bytes,
            work: Work::Extract(Box::new(extract)),
        });
        Ok(())
    }

    /// Whether an entry came from another archive that the component still has.
    fn is_from_another_archive(&self, item: Item<'_>, old: &Placed) -> bool {
        let platform = &self.facts.identity.platform;
        let others = item.component.files.iter().filter(|other| !std::ptr::eq(*other, item.file));
        others.filter_map(|other| other.contents.get(platform)).any(|content| content.descriptor.digest == old.source.blob)
    }

    /// What the old receipt has and nothing above wanted.
    fn leftovers(&mut self, options: &Options) {
        let Some(receipt) = &self.facts.receipt else { return };
        // A directory after what is in it.
        for (path, old) in receipt.files.iter().rev().filter(|(path, _)| !self.settled.contains(*path)).collect::<Vec<_>>() {
            if !options.only.is_empty() {
                self.out.placed.insert(path.clone(), old.clone());
                continue;
            }
            let reason = match self.state(path, old, Some(old)) {
                State::Right | State::Todo(..) => "it left the package",
                State::Drift(drift) if drift.differences == [drift::Difference::Missing] => continue,
                State::Drift(drift) => match options.on_drift {
                    OnDrift::Overwrite => "it left the package (and was changed by hand)",
                    OnDrift::Keep => {
                        self.out.notes.push(format!("{drift}; it left the package and stays, as yours"));
                        continue;
                    }
                    OnDrift::Refuse => {
                        self.drift.push(drift);
                        continue;
                    }
                },
            };
            let Some(found) = self.facts.paths.get(path) else { continue };
            if found.entry.kind == EntryKind::Directory && old.what != Thing::Directory {
                self.out.notes.push(format!("`{}` left the package and is a directory now: it stays", path.display()));
                continue;
            }
            self.out.steps.push(Step {
                id: format!("remove:{}", path.display()),
                component: Some(old.component.clone()),
                action: Action::Remove,
                reason: reason.to_owned(),
                bytes: 0,
                work: Work::Remove { path: path.clone(), keep: found.digest },
            });
        }
    }

    fn state(&self, path: &Path, wanted: &Placed, old: Option<&Placed>) -> State {
        let found = self.facts.paths.get(path);
        let differences = drift::differences(wanted, found);
        if differences.is_empty() {
            return State::Right;
        }
        let is = found.map(|found| found.digest);
        // What an interrupted deploy of this package did, or was about to, is no drift.
        if self.facts.journal.files.get(path).is_some_and(|ours| ours.contains(&is.flatten())) {
            return State::Todo(if found.is_some() { Action::Change } else { Action::Create }, "left by the interrupted deploy");
        }
        match (old, found) {
            (None, None) => State::Todo(Action::Create, "new"),
            (None, Some(_)) => State::Todo(Action::Change, "replaces what is there"),
            (Some(old), found) => {
                let differences = drift::differences(old, found);
                if differences.is_empty() {
                    State::Todo(Action::Change, "it changes in the package")
                } else {
                    State::Drift(Drift { path: path.to_owned(), differences })
                }
            }
        }
    }

    fn keep(&mut self, drift: Drift, old: Option<&Placed>) {
        if self.options.on_drift == OnDrift::Keep {
            self.out.notes.push(format!("{drift}; it stays as it is"));
            self.out.placed.extend(old.map(|old| (drift.path, old.clone())));
        } else {
            self.drift.push(drift);
        }
    }

    /// The content of a file that will be replaced; an error where it is no file or link.
    fn in_the_way(&self, path: &Path) -> Result<Option<Digest>, Error> {
        let Some(found) = self.facts.paths.get(path) else { return Ok(None) };
        match &found.entry.kind {
            EntryKind::File | EntryKind::Link(_) => Ok(found.digest),
            kind @ (EntryKind::Directory | EntryKind::Other) => Err(Error::InTheWay { path: path.to_owned(), is: kind.word() }),
        }
    }

    fn check_free(&self, path: &Path, component: &ComponentName) -> Result<(), Error> {
        if let Some(first) = self.out.placed.get(path) {
            return Err(Error::Twice { path: path.to_owned(), first: first.component.clone(), second: component.clone() });
        }
        match self.facts.others.iter().find(|other| other.files.contains_key(path)) {
            Some(other) => Err(Error::Held { path: path.to_owned(), holder: other.package.clone() }),
            None => Ok(()),
        }
    }

    fn owner(&self, file: &CarriedFile, path: &Path) -> Result<(u32, u32), Error> {
        let identity = &self.facts.identity;
        let number = |name: &Option<String>, find: fn(&NodeFacts, &str) -> Option<u32>, kind, default| match name {
            None => Ok(default),
            Some(name) => find(self.facts, name).ok_or_else(|| Error::NoAccount { path: path.to_owned(), kind, name: name.clone() }),
        };
        let uid = number(&file.owner, |facts, name| facts.accounts.user(name), "user", identity.uid)?;
        let gid = number(&file.group, |facts, name| facts.accounts.group(name), "group", identity.gid)?;
        if identity.uid != 0 && (uid, gid) != (identity.uid, identity.gid) {
            return Err(Error::NeedsRoot { path: path.to_owned(), uid, gid });
        }
        Ok((uid, gid))
    }
}

/// How much an archive may take when it is unpacked: known only when it is opened, so compressed ones are counted four times. The
/// exact number is checked before the first member is written.
fn unpacked(archive: &Descriptor, format: crate::bundle::contents::ArchiveFormat) -> u64 {
    match format {
        crate::bundle::contents::ArchiveFormat::Tar => archive.size,
        crate::bundle::contents::ArchiveFormat::TarGzip | crate::bundle::contents::ArchiveFormat::TarZstd => archive.size.saturating_mul(4),
    }
}
