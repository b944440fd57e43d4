//! Configuration of the container runtimes that pull through the node registry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::host::{self, EntryKind, Host, Identity, Scope};
use super::super::mirror;
use super::super::plan::Carried;
use super::super::receipt::Receipt;
use super::SMALL;

/// containerd's configuration.
pub const CONTAINERD: &str = "/etc/containerd/config.toml";
/// Where its mirrors go when it names no other place.
pub const CERTS_D: &str = "/etc/containerd/certs.d";
/// Configuration of podman and CRI-O.
pub const CONTAINERS: &str = "/etc/containers";
/// Where files of ours stand there.
pub const REGISTRIES: &str = "/etc/containers/registries.conf.d";

/// Which runtimes are here, and the text of their files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Runtimes {
    /// A containerd that reads `/etc/containerd` is installed.
    pub containerd: bool,
    /// podman or CRI-O is installed.
    pub containers: bool,
    /// Of [`mirror::rancher::PROGRAMS`] those that are installed, with their `registries.yaml`.
    pub rancher: Vec<(&'static str, PathBuf)>,
    /// The text of each file that there is.
    pub texts: BTreeMap<PathBuf, String>,
    /// Directories of containerd's mirrors that there are.
    pub directories: BTreeSet<PathBuf>,
}

/// Looks at them. Under `--root` nothing serves the images, so that no mirror may point there.
pub fn look(host: &dyn Host, carried: &Carried<'_>, receipt: Option<&Receipt>, identity: &Identity) -> host::Result<Runtimes> {
    let mut runtimes = Runtimes::default();
    let without_images = carried.images.is_empty() && receipt.is_none_or(|receipt| receipt.images.is_empty());
    if identity.scope == Scope::Directory || without_images {
        return Ok(runtimes);
    }
    let any = |paths: &[&str]| paths.iter().try_fold(false, |any, path| Ok::<_, host::Error>(any || host.look(Path::new(path))?.is_some()));
    runtimes.containerd = any(&["/etc/containerd", "/run/containerd/containerd.sock"])?;
    runtimes.containers = any(&[CONTAINERS])?;
    let mut read = |path: PathBuf| -> host::Result<()> {
        if let Some(bytes) = host.read(&path, SMALL)? {
            runtimes.texts.insert(path, String::from_utf8_lossy(&bytes).into_owned());
        }
        Ok(())
    };
    read(PathBuf::from(CONTAINERD))?;
    read(Path::new(REGISTRIES).join(mirror::containers::FILE_NAME))?;
    for (program, file) in mirror::rancher::PROGRAMS {
        // A server has the first of these, an agent the second alone.
        let name = program.to_lowercase();
        if any(&[&format!("/etc/rancher/{name}"), &format!("/var/lib/rancher/{name}")])? {
            read(PathBuf::from(file))?;
            runtimes.rancher.push((program, PathBuf::from(file)));
        }
    }
    let config = runtimes.texts.get(Path::new(CONTAINERD)).map(String::as_str);
    // Of a configuration that cannot be read the plan says so.
    let Ok(config) = mirror::containerd::config(config, Path::new(CERTS_D)) else { return Ok(runtimes) };
    // All of them: one may be ours from a package that does not need it any more.
    for directory in host.list(&config.certs_d)? {
        if host.look(&directory)?.is_some_and(|found| matches!(found.kind, EntryKind::Directory | EntryKind::Link(_))) {
            let path = directory.join("hosts.toml");
            if let Some(bytes) = host.read(&path, SMALL)? {
                runtimes.texts.insert(path, String::from_utf8_lossy(&bytes).into_owned());
            }
            runtimes.directories.insert(directory);
        }
    }
    Ok(runtimes)
}
