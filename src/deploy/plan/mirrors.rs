//! containerd, podman, CRI-O, k3s and RKE2 are told to pull from the node registry, under the names that images always had.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::super::facts::{Containerd, NodeFacts, runtimes};
use super::super::host::{Permissions, ServiceAction};
use super::super::layout;
use super::super::mirror::{self, containerd, containers, rancher};
use super::node::Wanted;
use super::{Action, Content, Place, Step, Text, Work};
use crate::types::Digest;

/// A file that is to say something else than it does; `None`: that is to go.
struct Change {
    path: PathBuf,
    text: Option<String>,
    reason: String,
}

/// The changes, and what a person should know.
#[derive(Default)]
struct Changes {
    files: Vec<Change>,
    notes: Vec<String>,
}

pub fn steps(facts: &NodeFacts, wanted: &Wanted<'_>) -> Vec<Step> {
    let changes = changes(facts, wanted);
    let restart = restart(facts, wanted, &changes);
    changes.files.into_iter().flat_map(|change| step(facts, change)).chain(restart).collect()
}

pub fn notes(facts: &NodeFacts, wanted: &Wanted<'_>) -> Vec<String> {
    let mut changes = changes(facts, wanted);
    if must_restart(facts, wanted, &changes) && restart(facts, wanted, &changes).is_none() && !is_away(facts) {
        changes.notes.push(
            "containerd reads its changed configuration at its next start, and pulls from the node registry then: restart it".to_owned(),
        );
    }
    changes.notes
}

/// Registry hosts of this package and of all others.
fn all_hosts(facts: &NodeFacts, wanted: &Wanted<'_>) -> BTreeSet<String> {
    let others = facts.others.iter().flat_map(|receipt| receipt.images.keys().map(|reference| reference.registry().to_owned()));
    wanted.hosts.iter().cloned().chain(others).collect()
}

fn changes(facts: &NodeFacts, wanted: &Wanted<'_>) -> Changes {
    let mut changes = Changes::default();
    let Ok(registry) = layout::REGISTRY_ADDRESS.parse() else { return changes };
    if facts.runtimes.containerd {
        of_containerd(facts, wanted, registry, &mut changes);
    }
    let hosts = all_hosts(facts, wanted);
    let text = |path: &Path| facts.runtimes.texts.get(path).map(String::as_str);
    if facts.runtimes.containers {
        let path = Path::new(runtimes::REGISTRIES).join(containers::FILE_NAME);
        let wanted = containers::registries_conf(&hosts, registry);
        if hosts.is_empty() && text(&path).is_some() {
            changes.files.push(Change { path, text: None, reason: "no package needs it any more".to_owned() });
        } else if !hosts.is_empty() && text(&path) != Some(&wanted) {
            let reason = "podman and CRI-O pull from the node registry".to_owned();
            changes.files.push(Change { path, text: Some(wanted), reason });
        }
    }
    for (program, path) in &facts.runtimes.rancher {
        of_rancher(program, path, rancher::registries_yaml(text(path), &hosts, registry), &mut changes);
    }
    changes
}

fn of_rancher(program: &str, path: &Path, file: rancher::File, changes: &mut Changes) {
    let service = program.to_lowercase();
    let restart = format!("{program} reads it at its next start: systemctl restart {service}, or {service}-agent on an agent");
    let mut change = |text, reason| changes.files.push(Change { path: path.to_owned(), text, reason });
    match file {
        rancher::File::Right => {}
        rancher::File::Text(text) => {
            change(Some(text), format!("{program} pulls from the node registry"));
            changes.notes.push(format!("`{}` changes; {restart}", path.display()));
        }
        rancher::File::Gone => change(None, "no package needs it any more".to_owned()),
        rancher::File::Theirs { lacks } => changes.notes.push(format!(
            "`{}` was written by somebody else and is left as it is: under `mirrors` give {} the endpoint \"http://{}\"; {restart}",
            path.display(),
            lacks.join(", "),
            layout::REGISTRY_ADDRESS
        )),
    }
}

fn of_containerd(facts: &NodeFacts, wanted: &Wanted<'_>, registry: SocketAddr, changes: &mut Changes) {
    let text = |path: &Path| facts.runtimes.texts.get(path).map(String::as_str);
    let unchanged =
        |path: &Path, error: &mirror::Error| format!("`{}` is not changed, images are not pulled through it: {error}", path.display());
    let path = PathBuf::from(runtimes::CONTAINERD);
    let config = match containerd::config(text(&path), Path::new(runtimes::CERTS_D)) {
        Ok(config) => config,
        Err(error) => {
            changes.notes.push(unchanged(&path, &error));
            return;
        }
    };
    for host in &wanted.hosts {
        let directories: Vec<PathBuf> = containerd::host_directories(host).iter().map(|name| config.certs_d.join(name)).collect();
        let there = directories.iter().find(|directory| facts.runtimes.directories.contains(*directory));
        let Some(directory) = there.or(directories.last()) else { continue };
        let path = directory.join("hosts.toml");
        match containerd::hosts_toml(text(&path), registry) {
            Ok(None) => {}
            Ok(Some(text)) => {
                changes.files.push(Change { path, text: Some(text), reason: format!("containerd pulls {host} from the node registry") });
            }
            Err(error) => changes.notes.push(unchanged(&path, &error)),
        }
    }
    let needed: BTreeSet<String> = all_hosts(facts, wanted).iter().flat_map(|host| containerd::host_directories(host)).collect();
    for directory in &facts.runtimes.directories {
        let path = directory.join("hosts.toml");
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(text) = text(&path).filter(|_| !needed.contains(&name)) else { continue };
        let reason = || format!("no package has images of {name} any more");
        match containerd::without_us(text, registry) {
            // What cannot be read is not ours.
            Ok(containerd::Without::Unchanged) | Err(_) => {}
            Ok(containerd::Without::Nothing) => changes.files.push(Change { path, text: None, reason: reason() }),
            Ok(containerd::Without::Text(text)) => changes.files.push(Change { path, text: Some(text), reason: reason() }),
        }
    }
    if let Some(text) = config.text.filter(|_| !wanted.hosts.is_empty()) {
        let reason = format!("config_path = \"{}\"", config.certs_d.display());
        changes.files.push(Change { path, text: Some(text), reason });
    }
}

fn is_away(facts: &NodeFacts) -> bool {
    !matches!(facts.containerd, Containerd::Here { .. })
}

/// Whether a containerd that runs has not read the `config_path` that it should.
fn must_restart(facts: &NodeFacts, wanted: &Wanted<'_>, changes: &Changes) -> bool {
    let Containerd::Here { process, .. } = &facts.containerd else { return false };
    let changes_now = changes.files.iter().any(|change| change.path == Path::new(runtimes::CONTAINERD));
    facts.runtimes.containerd && !wanted.hosts.is_empty() && (changes_now || process.runs_with_older_configuration)
}

fn restart(facts: &NodeFacts, wanted: &Wanted<'_>, changes: &Changes) -> Option<Step> {
    let Containerd::Here { process, .. } = &facts.containerd else { return None };
    let unit = process.unit.clone().filter(|_| must_restart(facts, wanted, changes))?;
    Some(Step {
        id: "containerd".to_owned(),
        component: None,
        action: Action::Restart,
        reason: format!("{unit} reads its configuration, which changed, when it starts"),
        bytes: 0,
        work: Work::Service(ServiceAction::RestartContainerd { unit }),
    })
}

fn step(facts: &NodeFacts, change: Change) -> Vec<Step> {
    let Change { path, text, reason } = change;
    let before = facts.runtimes.texts.get(&path);
    let keep = before.map(|text| Digest::of(text.as_bytes()));
    let id = format!("mirror:{}", path.display());
    let Some(text) = text else {
        let work = Work::Remove { path: path.clone(), keep: None };
        let mut steps = vec![Step { id, component: None, action: Action::Remove, reason: reason.clone(), bytes: 0, work }];
        // The directory of a host; others have files besides ours in theirs.
        if path.ends_with("hosts.toml")
            && let Some(directory) = path.parent().map(Path::to_owned)
        {
            let id = format!("mirror:{}", directory.display());
            let work = Work::Remove { path: directory, keep: None };
            steps.push(Step {
                id,
                component: None,
                action: Action::Remove,
                reason: format!("{reason}; where nothing else is in it"),
                bytes: 0,
                work,
            });
        }
        return steps;
    };
    let permissions = Permissions { mode: 0o644, uid: facts.identity.uid, gid: facts.identity.gid };
    let (digest, bytes) = (Digest::of(text.as_bytes()), text.len() as u64);
    let place = Place { path, permissions, content: Content::Text(Text(text)), digest, keep };
    let action = if before.is_some() { Action::Change } else { Action::Create };
    vec![Step { id, component: None, action, reason, bytes, work: Work::Place(Box::new(place)) }]
}
