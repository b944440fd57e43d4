//! CRI-O, podman, skopeo: a file in `registries.conf.d` (containers-registries.conf(5)).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// The name of our file in `/etc/containers/registries.conf.d`. A later one that names the same host wins.
pub const FILE_NAME: &str = "50-coracle.conf";

/// The file that sends these registry hosts to the node registry, and only there.
///
/// `location` is the node registry itself, not a `[[registry.mirror]]`: what is missing there is not looked for at a name outside.
/// The file is ours alone and is written whole; hosts are those of all packages of the node.
#[must_use]
pub fn registries_conf(hosts: &BTreeSet<String>, registry: SocketAddr) -> String {
    let mut text = format!(
        "# Written by coracle: this node's registry has the images. It is replaced at the next deploy.\n\
         [[registry]]\nlocation = \"{registry}\"\ninsecure = true\n"
    );
    for host in hosts {
        let location = host.replace(':', "__");
        write!(text, "\n[[registry]]\nprefix = \"{host}\"\nlocation = \"{registry}/{location}\"\ninsecure = true\n")
            .expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_each_host_to_its_place_in_the_node_registry() {
        let hosts = BTreeSet::from(["ghcr.io".to_owned(), "h.example:5001".to_owned()]);
        assert_eq!(
            registries_conf(&hosts, "127.0.0.1:5000".parse().unwrap()),
            "# Written by coracle: this node's registry has the images. It is replaced at the next deploy.\n\
             [[registry]]\nlocation = \"127.0.0.1:5000\"\ninsecure = true\n\n\
             [[registry]]\nprefix = \"ghcr.io\"\nlocation = \"127.0.0.1:5000/ghcr.io\"\ninsecure = true\n\n\
             [[registry]]\nprefix = \"h.example:5001\"\nlocation = \"127.0.0.1:5000/h.example__5001\"\ninsecure = true\n"
        );
    }
}
