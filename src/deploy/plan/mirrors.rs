//! containerd, podman and CRI-O are told to pull from the node registry, under the names that images always had.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::facts::{NodeFacts, runtimes};
use super::super::host::Permissions;
use super::super::layout;
use super::super::mirror::{self, containerd, containers};
use super::node::Wanted;
use super::{Action, Content, Place, Step, Text, Work};
use crate::types::Digest;

/// A file that is to say something else than it does.
struct Change {
    path: PathBuf,
    text: String,
    reason: String,
}

pub fn steps(facts: &NodeFacts, wanted: &Wanted<'_>) -> Vec<Step> {
    let changes = changes(facts, wanted).unwrap_or_default();
    changes.into_iter().map(|change| step(facts, change)).collect()
}

pub fn notes(facts: &NodeFacts, wanted: &Wanted<'_>) -> Vec<String> {
    match changes(facts, wanted) {
        Ok(changes) if changes.iter().any(|change| change.path == Path::new(runtimes::CONTAINERD)) => {
            vec!["containerd reads its changed configuration at its next start: systemctl restart containerd".to_owned()]
        }
        Ok(_) => Vec::new(),
        Err((path, error)) => vec![format!("`{}` is not changed, images are not pulled through it: {error}", path.display())],
    }
}

fn changes(facts: &NodeFacts, wanted: &Wanted<'_>) -> Result<Vec<Change>, (PathBuf, mirror::Error)> {
    let mut changes = Vec::new();
    let hosts = &wanted.hosts;
    let Ok(registry) = layout::REGISTRY_ADDRESS.parse() else { return Ok(changes) };
    if hosts.is_empty() {
        return Ok(changes);
    }
    let text = |path: &Path| facts.runtimes.texts.get(path).map(String::as_str);
    if facts.runtimes.containerd {
        let path = PathBuf::from(runtimes::CONTAINERD);
        let config = containerd::config(text(&path), Path::new(runtimes::CERTS_D)).map_err(|error| (path.clone(), error))?;
        for host in hosts {
            let names = containerd::host_directories(host);
            let directories: Vec<PathBuf> = names.iter().map(|name| config.certs_d.join(name)).collect();
            let there = directories.iter().find(|directory| facts.runtimes.directories.contains(*directory));
            let Some(directory) = there.or(directories.last()) else { continue };
            let path = directory.join("hosts.toml");
            if let Some(text) = containerd::hosts_toml(text(&path), registry).map_err(|error| (path.clone(), error))? {
                changes.push(Change { path, text, reason: format!("containerd pulls {host} from the node registry") });
            }
        }
        if let Some(text) = config.text {
            let reason = format!("config_path = \"{}\"; containerd must be restarted", config.certs_d.display());
            changes.push(Change { path, text, reason });
        }
    }
    if facts.runtimes.containers {
        let others = facts.others.iter().flat_map(|receipt| receipt.images.keys().map(|reference| reference.registry().to_owned()));
        let hosts: BTreeSet<String> = hosts.iter().cloned().chain(others).collect();
        let path = Path::new(runtimes::REGISTRIES).join(containers::FILE_NAME);
        let wanted = containers::registries_conf(&hosts, registry);
        if text(&path) != Some(&wanted) {
            changes.push(Change { path, text: wanted, reason: "podman and CRI-O pull from the node registry".to_owned() });
        }
    }
    Ok(changes)
}

fn step(facts: &NodeFacts, change: Change) -> Step {
    let Change { path, text, reason } = change;
    let before = facts.runtimes.texts.get(&path);
    let permissions = Permissions { mode: 0o644, uid: facts.identity.uid, gid: facts.identity.gid };
    let (digest, bytes) = (Digest::of(text.as_bytes()), text.len() as u64);
    let keep = before.map(|text| Digest::of(text.as_bytes()));
    let id = format!("mirror:{}", path.display());
    let place = Place { path, permissions, content: Content::Text(Text(text)), digest, keep };
    let action = if before.is_some() { Action::Change } else { Action::Create };
    Step { id, component: None, action, reason, bytes, work: Work::Place(Box::new(place)) }
}
