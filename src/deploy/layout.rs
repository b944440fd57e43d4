//! Where things lie on a node. Every file of state has a version in it.

use std::path::PathBuf;

use crate::types::{Digest, PackageName};

/// All state.
pub const STATE: &str = "/var/lib/coracle";
/// Blobs by digest.
pub const STORE: &str = "/var/lib/coracle/store";
/// One journal per package.
pub const JOURNAL: &str = "/var/lib/coracle/journal";
/// One receipt per package.
pub const RECEIPTS: &str = "/var/lib/coracle/receipts";
/// What files held before a deploy changed them, and the receipt before; readable by root alone.
pub const PREVIOUS: &str = "/var/lib/coracle/previous";
/// Held while a deploy changes the node.
pub const LOCK: &str = "/var/lib/coracle/lock";
/// The program itself.
pub const PROGRAM: &str = "/usr/local/bin/coracle";
/// Where the node registry listens.
pub const REGISTRY_ADDRESS: &str = "127.0.0.1:5000";
/// Holds the registry's port.
pub const SOCKET_UNIT: &str = "coracle-registry.socket";
/// Serves the registry.
pub const SERVICE_UNIT: &str = "coracle-registry.service";
/// Where units of an administrator lie.
pub const UNITS: &str = "/etc/systemd/system";
/// The process number of a registry that runs without systemd.
pub const REGISTRY_PID: &str = "/var/lib/coracle/registry.pid";
/// What a registry without systemd has to say.
pub const REGISTRY_LOG: &str = "/var/lib/coracle/registry.log";

/// The receipt of a package.
#[must_use]
pub fn receipt(package: &PackageName) -> PathBuf {
    PathBuf::from(format!("{RECEIPTS}/{package}.json"))
}

/// The journal of a package.
#[must_use]
pub fn journal(package: &PackageName) -> PathBuf {
    PathBuf::from(format!("{JOURNAL}/{package}.jsonl"))
}

/// The directory of what a package's files held before.
#[must_use]
pub fn previous(package: &PackageName) -> PathBuf {
    PathBuf::from(format!("{PREVIOUS}/{package}"))
}

/// What a file held before.
#[must_use]
pub fn previous_content(package: &PackageName, digest: &Digest) -> PathBuf {
    previous(package).join(digest.hex())
}
