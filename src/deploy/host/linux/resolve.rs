//! Paths inside a root directory, links followed as the node itself would follow them once the directory is its `/`.
//!
//! A link in an image that is being baked (`/var/run -> /run`) points at the image's own `/run`, not at that of the machine that
//! bakes it: `--root` must never write outside its directory.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use super::super::{Error, Result};
use crate::fs;

/// As many as the kernel follows (`path_resolution(7)`).
const LINKS: usize = 40;

/// Resolves all of `path`; what is missing is taken as written.
pub fn inside(root: &Path, path: &Path) -> Result<PathBuf> {
    walk(root, path, &parts(path))
}

/// Resolves the directories of `path`, and leaves its last name as it is.
pub fn parent_inside(root: &Path, path: &Path) -> Result<PathBuf> {
    let mut parts = parts(path);
    let last = parts.pop();
    let parent = walk(root, path, &parts)?;
    Ok(last.map_or(parent.clone(), |name| parent.join(name)))
}

fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn walk(root: &Path, path: &Path, wanted: &[OsString]) -> Result<PathBuf> {
    let mut todo: VecDeque<OsString> = wanted.iter().cloned().collect();
    let mut depth = 0_usize;
    let mut at = root.to_owned();
    let mut links = 0;
    while let Some(name) = todo.pop_front() {
        if name == OsStr::new("..") {
            // Above the root is the root.
            if depth > 0 {
                at.pop();
                depth -= 1;
            }
            continue;
        }
        let next = at.join(&name);
        if !fs::metadata(&next)?.is_some_and(|found| found.is_symlink()) {
            at = next;
            depth += 1;
            continue;
        }
        links += 1;
        if links > LINKS {
            return Err(Error::Links { path: path.to_owned(), limit: LINKS });
        }
        let target = fs::read_link(&next)?;
        if target.is_absolute() {
            root.clone_into(&mut at);
            depth = 0;
        }
        for part in parts(&target).into_iter().rev() {
            todo.push_front(part);
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_the_same_place_inside_the_root_and_never_out_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(&root.join("a/b")).unwrap();
        for (link, target) in [("run", "/a/b"), ("up", "../../../../a"), ("deep", "run/../../.."), ("loop", "loop")] {
            fs::symlink(Path::new(target), &root.join(link)).unwrap();
        }
        for (path, resolved) in [
            ("/a/x", "a/x"),
            ("/run/x", "a/b/x"),
            ("/up/b/x", "a/b/x"),
            ("/deep/etc/x", "etc/x"),
            ("/not/there", "not/there"),
            ("/run", "a/b"),
        ] {
            assert_eq!(inside(root, Path::new(path)).unwrap(), root.join(resolved), "{path}");
        }
        assert_eq!(parent_inside(root, Path::new("/run")).unwrap(), root.join("run"));
        assert!(matches!(inside(root, Path::new("/loop/x")), Err(Error::Links { .. })));
    }
}
