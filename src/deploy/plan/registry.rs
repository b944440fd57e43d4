//! The node registry: its units where systemd runs, and whether it is to be started.

use std::path::{Path, PathBuf};

use super::super::facts::NodeFacts;
use super::super::host::{EntryKind, Permissions, RegistryFacts, ServiceAction};
use super::super::layout;
use super::super::options::Options;
use super::node::Wanted;
use super::{Action, Content, Place, Step, Text, Work, is_node};
use crate::types::Digest;

/// The units of the node registry. systemd holds the port, so that nobody else can take it while the registry is not running.
pub const REGISTRY_UNITS: [(&str, &str); 2] = [
    (
        layout::SOCKET_UNIT,
        "# Written by coracle deploy.\n[Unit]\nDescription=Port of the Coracle node registry\n\n[Socket]\nListenStream=127.0.0.1:5000\n\n[Install]\nWantedBy=sockets.target\n",
    ),
    (
        layout::SERVICE_UNIT,
        "# Written by coracle deploy.\n[Unit]\nDescription=Coracle node registry\nRequires=coracle-registry.socket\nAfter=coracle-registry.socket\n\n[Service]\nType=notify\nExecStart=/usr/local/bin/coracle registry serve --store /var/lib/coracle --listen 127.0.0.1:5000\nRestart=on-failure\nNoNewPrivileges=yes\nProtectSystem=strict\nReadWritePaths=/var/lib/coracle\nProtectHome=yes\nPrivateTmp=yes\n\n[Install]\nWantedBy=multi-user.target\n",
    ),
];

pub fn steps(facts: &NodeFacts, options: &Options, wanted: &Wanted<'_>, new_program: bool) -> Vec<Step> {
    if !is_node(facts) || wanted.images.is_empty() {
        return Vec::new();
    }
    let Some(program) = registry_program(facts, options, wanted) else { return Vec::new() };
    let mut steps = Vec::new();
    if facts.identity.systemd {
        for (name, text) in REGISTRY_UNITS {
            let path = Path::new(layout::UNITS).join(name);
            let text = unit(text, &program);
            let digest = Digest::of(text.as_bytes());
            let found = facts.paths.get(&path);
            if found.is_some_and(|found| found.digest == Some(digest)) {
                continue;
            }
            let keep = found.filter(|found| found.entry.kind == EntryKind::File).and_then(|found| found.digest);
            let permissions = Permissions { mode: 0o644, uid: facts.identity.uid, gid: facts.identity.gid };
            let (action, reason) = match found {
                None => (Action::Create, "the node registry has no unit yet"),
                Some(_) => (Action::Change, "the unit is another one"),
            };
            steps.push(Step {
                id: format!("unit:{name}"),
                component: None,
                action,
                reason: reason.to_owned(),
                bytes: text.len() as u64,
                work: Work::Place(Box::new(Place { path, permissions, content: Content::Text(Text(text)), digest, keep })),
            });
        }
    }
    let down = match &facts.registry {
        RegistryFacts::Serves => None,
        RegistryFacts::Down { why } => Some(why.as_str()),
    };
    if !steps.is_empty() || new_program || down.is_some() {
        let (action, stays) = if facts.identity.systemd {
            (ServiceAction::Systemd, "")
        } else {
            let stays = " (no systemd here: a process that stays until the node is restarted)";
            (ServiceAction::Child { program, state: PathBuf::from(layout::STATE) }, stays)
        };
        steps.push(Step {
            id: "registry".to_owned(),
            component: None,
            action: Action::Start,
            reason: down.map_or_else(|| "its program or unit changes".to_owned(), |why| format!("{why}{stays}")),
            bytes: 0,
            work: Work::Service(action),
        });
    }
    steps
}

/// A unit that runs this program. One that was not installed may lie where a protected service does not see it.
fn unit(text: &str, program: &Path) -> String {
    if program == Path::new(layout::PROGRAM) {
        return text.to_owned();
    }
    text.replace(layout::PROGRAM, &program.display().to_string()).replace("ProtectHome=yes\nPrivateTmp=yes\n", "")
}

/// The installed program, the one that this plan installs, or the one that is running.
fn registry_program(facts: &NodeFacts, options: &Options, wanted: &Wanted<'_>) -> Option<PathBuf> {
    let installed = PathBuf::from(layout::PROGRAM);
    let is_there = wanted.program.is_some() || facts.paths.contains_key(&installed);
    if is_there { Some(installed) } else { options.running_program.clone() }
}
