//! k3s and RKE2: `registries.yaml`, from which they write containerd's `hosts.toml` at each start of theirs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// The first line of a file that is ours.
const HEADER: &str = "# Written by coracle: this node's registry has the images. It is replaced at the next deploy.\n";

/// The program that reads a `registries.yaml`, and where that is.
pub const PROGRAMS: [(&str, &str); 2] = [("k3s", "/etc/rancher/k3s/registries.yaml"), ("RKE2", "/etc/rancher/rke2/registries.yaml")];

/// What is to be done about the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// It is right, or there is nothing to say in it.
    Right,
    /// It is to say this.
    Text(String),
    /// It is ours, and nothing needs it any more.
    Gone,
    /// It is somebody else's, and does not name these hosts with the node registry: a person must add them.
    Theirs {
        /// Hosts that it lacks.
        lacks: Vec<String>,
    },
}

/// What `registries.yaml` must say, given what it says now. Hosts are those of all packages of the node.
///
/// A file that is not ours is left alone: YAML cannot be changed here without losing its comments.
#[must_use]
pub fn registries_yaml(existing: Option<&str>, hosts: &BTreeSet<String>, registry: SocketAddr) -> File {
    let theirs = existing.filter(|text| !text.starts_with(HEADER) && !text.trim().is_empty());
    if let Some(text) = theirs {
        let mirrors = serde_yaml::from_str::<serde_json::Value>(text).unwrap_or_default();
        let endpoint = format!("http://{registry}");
        let names_us = |host: &String| {
            let endpoints = mirrors.pointer("/mirrors").and_then(|mirrors| mirrors.get(host)?.get("endpoint")?.as_array());
            endpoints.is_some_and(|endpoints| endpoints.iter().any(|one| one.as_str() == Some(&endpoint)))
        };
        let lacks: Vec<String> = hosts.iter().filter(|host| !names_us(host)).cloned().collect();
        return if lacks.is_empty() { File::Right } else { File::Theirs { lacks } };
    }
    if hosts.is_empty() {
        return if existing.is_some_and(|text| text.starts_with(HEADER)) { File::Gone } else { File::Right };
    }
    let mut text = format!("{HEADER}mirrors:\n");
    for host in hosts {
        write!(text, "  \"{host}\":\n    endpoint:\n      - \"http://{registry}\"\n").expect("a String takes everything");
    }
    if existing == Some(&text) { File::Right } else { File::Text(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_node_registry_for_each_host_and_leaves_a_file_of_somebody_else_alone() {
        let registry = "127.0.0.1:5000".parse().unwrap();
        let hosts = BTreeSet::from(["ghcr.io".to_owned(), "h.example:5001".to_owned()]);
        let ours = format!(
            "{HEADER}mirrors:\n  \"ghcr.io\":\n    endpoint:\n      - \"http://127.0.0.1:5000\"\n  \"h.example:5001\":\n    endpoint:\n      \
             - \"http://127.0.0.1:5000\"\n"
        );
        let theirs = "mirrors:\n  ghcr.io: { endpoint: [\"http://127.0.0.1:5000\"] } # ours\n  docker.io:\n";
        let none = BTreeSet::new();
        for (existing, hosts, expected) in [
            (None, &hosts, File::Text(ours.clone())),
            (Some(""), &hosts, File::Text(ours.clone())),
            (Some(HEADER), &hosts, File::Text(ours.clone())),
            (Some(&*ours), &hosts, File::Right),
            (Some(theirs), &hosts, File::Theirs { lacks: vec!["h.example:5001".to_owned()] }),
            (Some("- no map"), &BTreeSet::from(["a".to_owned()]), File::Theirs { lacks: vec!["a".to_owned()] }),
            (Some(theirs), &none, File::Right),
            (Some(&*ours), &none, File::Gone),
            (None, &none, File::Right),
        ] {
            assert_eq!(registries_yaml(existing, hosts, registry), expected, "{existing:?}");
        }
    }
}
