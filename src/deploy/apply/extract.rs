//! Archives: everything in them is known and checked before the first member is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::archive::{self, Member, Wanted};
use super::super::host::{self, Entry, EntryKind, Permissions};
use super::super::journal::Touches;
use super::super::plan::{Extract, Space, Step, Work};
use super::super::receipt::{Placed, Thing};
use super::{Error, Run, make_parents};
use crate::io::VerifyingReader;
use crate::types::{Descriptor, Digest, FileMode};

/// What is in an archive, by path on the node.
pub type Members = BTreeMap<PathBuf, Member>;

fn wanted(extract: &Extract) -> Wanted<'_> {
    Wanted { format: extract.format, into: extract.into.as_path(), members: &extract.members, strip: extract.strip }
}

/// Looks into every archive of the plan, and counts the space that the members take.
pub fn look_into(run: &Run<'_>, steps: &[Step]) -> Result<BTreeMap<String, Members>, Error> {
    let mut listed = BTreeMap::new();
    let mut spaces: BTreeMap<u64, Space> = BTreeMap::new();
    for step in steps {
        let Work::Extract(extract) = &step.work else { continue };
        let failed = |source| Error::Archive { title: extract.title.clone(), source };
        let members = archive::list(run.store.reader(&extract.archive)?, wanted(extract)).map_err(failed)?;
        let members: Members = members.into_iter().map(|(path, member)| (extract.into.as_path().join(path), member)).collect();
        for path in members.keys() {
            if let Some(holder) = extract.held.get(path) {
                return Err(Error::Held { title: extract.title.clone(), path: path.clone(), holder: holder.clone() });
            }
            if let Some(other) = run.receipt.files.get(path) {
                return Err(Error::Twice { title: extract.title.clone(), path: path.clone(), component: other.component.clone() });
            }
        }
        let file_system = run.host.free(extract.into.as_path())?;
        let into = extract.into.as_path().to_owned();
        let space = spaces.entry(file_system.id).or_insert(Space { file_system: into, needs: 0, free: file_system.free });
        space.needs += members.values().map(|member| if let Member::File { size, .. } = member { *size } else { 0 }).sum::<u64>();
        listed.insert(step.id.clone(), members);
    }
    let full: Vec<Space> = spaces.into_values().filter(|space| space.needs > space.free).collect();
    if full.is_empty() { Ok(listed) } else { Err(Error::NoSpace { space: full }) }
}

/// What happens to each member, and what it becomes in the receipt.
type Compared = (BTreeMap<PathBuf, Todo>, BTreeMap<PathBuf, Placed>);

/// What happens to one member.
enum Todo {
    /// It is as it should be, or someone else's directory: nothing.
    Nothing,
    /// It is written; what a file there held is kept.
    Write(Option<Digest>),
}

impl Run<'_> {
    pub(super) fn extract(&mut self, id: &str, extract: &Extract) -> Result<(), Error> {
        let failed = |source| Error::Step { step: id.to_owned(), source };
        let members = self.listed.as_mut().and_then(|listed| listed.remove(id)).unwrap_or_default();
        let (todo, placed) = self.compare(extract, &members)?;
        let leaving: Vec<&PathBuf> = extract
            .earlier
            .keys()
            .rev()
            .filter(|path| !members.contains_key(*path) && !extract.untouched.contains(*path) && !self.receipt.files.contains_key(*path))
            .collect();
        let mut touches = Touches::default();
        for (path, placed) in &placed {
            let digest = if let Thing::File { digest, .. } = placed.what { Some(digest) } else { None };
            touches.files.insert(path.clone(), digest);
        }
        touches.files.extend(leaving.iter().map(|path| ((*path).clone(), None)));
        touches.kept = todo
            .iter()
            .filter_map(|(path, todo)| if let Todo::Write(Some(digest)) = todo { Some((path.clone(), *digest)) } else { None })
            .collect();
        self.journal.step(id, touches)?;

        make_parents(self.host, &extract.into.as_path().join("x"), self.owner).map_err(failed)?;
        for (path, placed) in placed.iter().filter(|(path, _)| matches!(todo.get(*path), Some(Todo::Write(_)))) {
            match &placed.what {
                Thing::Directory => self.host.make_directory(path, permissions(placed)).map_err(failed)?,
                Thing::Link { target } => {
                    self.keep(path).map_err(failed)?;
                    self.host.link(path, target).map_err(failed)?;
                }
                Thing::File { .. } => {}
            }
        }
        self.write_files(id, extract, &placed, &todo)?;
        for (path, member) in &members {
            if let (Member::File { same_as: Some(first), .. }, Some(Todo::Write(_)), Some(placed)) =
                (member, todo.get(path), placed.get(path))
            {
                self.keep(path).map_err(failed)?;
                let mut bytes = self.host.open(&extract.into.as_path().join(first)).map_err(failed)?;
                self.put(path, placed, &mut bytes).map_err(failed)?;
            }
        }
        for path in leaving {
            self.remove(path).map_err(failed)?;
        }
        let untouched = extract.earlier.iter().filter(|(path, _)| extract.untouched.contains(*path));
        self.receipt.files.extend(untouched.map(|(path, placed)| (path.clone(), placed.clone())));
        self.receipt.files.extend(placed);
        Ok(())
    }

    fn write_files(
        &self,
        id: &str,
        extract: &Extract,
        placed: &BTreeMap<PathBuf, Placed>,
        todo: &BTreeMap<PathBuf, Todo>,
    ) -> Result<(), Error> {
        let archive = self.store.reader(&extract.archive)?;
        archive::each(archive, wanted(extract), |path, bytes| {
            let path = extract.into.as_path().join(path);
            if let (Some(Todo::Write(_)), Some(placed)) = (todo.get(&path), placed.get(&path)) {
                let failed = |source| Error::Step { step: id.to_owned(), source };
                self.keep(&path).map_err(failed)?;
                self.put(&path, placed, bytes).map_err(failed)?;
            }
            Ok(())
        })
        .map_err(|error| match error {
            Error::Unlisted(source) => Error::Archive { title: extract.title.clone(), source },
            other => other,
        })
    }

    fn put(&self, path: &Path, placed: &Placed, bytes: &mut dyn std::io::Read) -> host::Result<()> {
        let Thing::File { digest, size } = placed.what else { return Ok(()) };
        // What is read now is what was looked at before.
        self.host.place(path, permissions(placed), &mut VerifyingReader::new(bytes, &Descriptor::new("", digest, size)))
    }

    /// What each member is to become, and whether it is that already.
    fn compare(&self, extract: &Extract, members: &Members) -> Result<Compared, Error> {
        let (mut todo, mut placed) = (BTreeMap::new(), BTreeMap::new());
        for (path, member) in members.iter().filter(|(path, _)| !extract.untouched.contains(*path)) {
            let mut wanted = self.wanted(extract, path, member);
            let found = self.host.look(path)?;
            let in_the_way = |is| Error::InTheWay { title: extract.title.clone(), path: path.clone(), is };
            let ours = extract.earlier.contains_key(path) || extract.begun.contains(path);
            let is = match (&wanted.what, found) {
                // A directory that was there before is not ours: it keeps its mode, and stays when the package goes.
                (Thing::Directory, Some(Entry { kind: EntryKind::Directory | EntryKind::Link(_), .. })) if !ours => continue,
                (Thing::Directory, Some(found)) if found.kind == EntryKind::Directory => {
                    if is_same(&wanted, &found) {
                        Todo::Nothing
                    } else {
                        Todo::Write(None)
                    }
                }
                (_, Some(found)) if matches!(found.kind, EntryKind::Directory | EntryKind::Other) || wanted.what == Thing::Directory => {
                    return Err(in_the_way(found.kind.word()));
                }
                (Thing::File { digest, .. }, Some(found)) if found.kind == EntryKind::File => {
                    let has = self.host.digest(path)?;
                    let same = has == *digest;
                    if same && is_same(&wanted, &found) { Todo::Nothing } else { Todo::Write(Some(has).filter(|_| !same)) }
                }
                (Thing::Link { target }, Some(found)) if found.kind == EntryKind::Link(target.clone()) => Todo::Nothing,
                (_, Some(found)) if found.kind == EntryKind::File => Todo::Write(Some(self.host.digest(path)?)),
                (_, Some(_) | None) => Todo::Write(None),
            };
            let kept = if let Todo::Write(kept) = &is { *kept } else { None };
            let earlier = extract.earlier.get(path).and_then(|earlier| earlier.previous);
            wanted.previous = extract.kept.get(path).copied().or(kept).or(earlier);
            todo.insert(path.clone(), is);
            placed.insert(path.clone(), wanted);
        }
        Ok((todo, placed))
    }

    fn wanted(&self, extract: &Extract, path: &Path, member: &Member) -> Placed {
        let (what, mode) = match member {
            Member::File { digest, size, mode, .. } => {
                (Thing::File { digest: *digest, size: *size }, extract.mode.map_or(*mode, FileMode::bits))
            }
            Member::Directory { mode } => (Thing::Directory, *mode),
            Member::Link { target } => (Thing::Link { target: target.clone() }, 0o777),
        };
        let previous = self.receipt.files.get(path).and_then(|placed| placed.previous);
        let (uid, gid) = extract.owner;
        Placed { component: extract.component.clone(), what, mode, uid, gid, source: extract.source.clone(), previous }
    }
}

fn permissions(placed: &Placed) -> Permissions {
    Permissions { mode: placed.mode, uid: placed.uid, gid: placed.gid }
}

fn is_same(placed: &Placed, found: &Entry) -> bool {
    (placed.mode, placed.uid, placed.gid) == (found.mode, found.uid, found.gid)
}
