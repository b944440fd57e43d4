//! containerd: `hosts.toml` per registry host (containerd `docs/hosts.md`) and `config_path` in `config.toml` (`docs/cri/registry.md`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, value};

use super::Error;

/// The first line of a `hosts.toml` that is ours alone.
const HEADER: &str = "# Written by coracle: this node's registry has the images. It is replaced at the next deploy.\n";

/// What stands above our host in a `hosts.toml` of somebody else's.
const ADDED: &str = "# Added by coracle: this node's registry is asked first.";

/// Names of the directory below `certs.d` that containerd looks for, in its order: the first that exists counts, and of none the
/// last is to be made. `_default` is never among them: other packages and people keep their own hosts.
#[must_use]
pub fn host_directories(host: &str) -> Vec<String> {
    let underscored = host.rsplit_once(':').map(|(name, port)| format!("{name}_{port}_"));
    underscored.into_iter().chain([host.to_owned()]).collect()
}

/// What `hosts.toml` of a registry host must say, given what it says now; `None` where that is right already.
///
/// Asked with `?ns=HOST`, the node registry knows which host is meant. `server` is the node registry too: without it containerd
/// would go on to the host itself. A file that is not ours keeps everything it says, its `server` included, and gets our host
/// before its own.
///
/// # Errors
/// The file is no TOML, or `host` in it is no table.
pub fn hosts_toml(existing: Option<&str>, registry: SocketAddr) -> Result<Option<String>, Error> {
    let url = format!("http://{registry}");
    let ours = format!("{HEADER}server = \"{url}\"\n\n[host.\"{url}\"]\ncapabilities = [\"pull\", \"resolve\"]\n");
    match existing {
        Some(text) if text == ours => Ok(None),
        Some(text) if !text.starts_with(HEADER) && !text.trim().is_empty() => add_host(text, &url),
        _ => Ok(Some(ours)),
    }
}

fn add_host(text: &str, url: &str) -> Result<Option<String>, Error> {
    let mut document: DocumentMut = text.parse()?;
    if let Some(hosts) = document.get("host") {
        let hosts = hosts.as_table_like().ok_or_else(|| Error::Shape { key: "host".to_owned(), wanted: "a table" })?;
        if hosts.contains_key(url) && document.contains_key("server") {
            return Ok(None);
        }
    }
    if !document.contains_key("server") {
        document.insert("server", value(url));
    }
    let hosts = document.entry("host").or_insert_with(implicit);
    let Some(hosts) = hosts.as_table_mut() else { return Err(Error::Shape { key: "host".to_owned(), wanted: "a table of its own" }) };
    if !hosts.contains_key(url) {
        let mut host = Table::new();
        host.insert("capabilities", value(Array::from_iter(["pull", "resolve"])));
        host.decor_mut().set_prefix(format!("\n{ADDED}\n"));
        // containerd asks hosts in the order of the file, and toml_edit writes tables in the order of their positions.
        let first = hosts.iter().filter_map(|(_, host)| host.as_table().and_then(Table::position)).min();
        host.set_position(first.map(|position| position - 1));
        hosts.insert(url, Item::Table(host));
    }
    Ok(Some(document.to_string()))
}

/// What `hosts.toml` of a registry host says once the package that wanted it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Without {
    /// It says nothing of us.
    Unchanged,
    /// All of it is ours: the file is to go.
    Nothing,
    /// What others wrote.
    Text(String),
}

/// Takes our host out of a `hosts.toml`.
///
/// # Errors
/// The file is no TOML.
pub fn without_us(existing: &str, registry: SocketAddr) -> Result<Without, Error> {
    if existing.starts_with(HEADER) {
        return Ok(Without::Nothing);
    }
    let url = format!("http://{registry}");
    let mut document: DocumentMut = existing.parse()?;
    let ours = document.get("host").and_then(|hosts| hosts.get(&url)).and_then(Item::as_table);
    if !ours.and_then(|host| host.decor().prefix()).and_then(|prefix| prefix.as_str()).is_some_and(|prefix| prefix.contains(ADDED)) {
        return Ok(Without::Unchanged);
    }
    if let Some(hosts) = document.get_mut("host").and_then(Item::as_table_mut) {
        hosts.remove(&url);
    }
    if document.get("server").and_then(Item::as_str) == Some(url.as_str()) {
        document.remove("server");
    }
    Ok(Without::Text(document.to_string()))
}

fn implicit() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

/// What is to be done about `config_path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where `HOST/hosts.toml` goes: the first directory that the file names already, or the one that was asked for.
    pub certs_d: PathBuf,
    /// The new text of `config.toml`, with all that was in it; `None` where it is right already. containerd must be restarted then.
    pub text: Option<String>,
}

/// Makes containerd's configuration name a directory of hosts, `certs_d` where it names none.
///
/// A file that is missing is written as version 2, which containerd 1.6, 1.7 and 2.x read.
///
/// # Errors
/// The file is no TOML, is of an unknown version, or names mirrors in the deprecated way, which containerd refuses beside this.
pub fn config(existing: Option<&str>, certs_d: &Path) -> Result<Config, Error> {
    let text = existing.unwrap_or_default();
    let mut document: DocumentMut = text.parse()?;
    if document.is_empty() {
        document.insert("version", value(2));
    }
    let plugin = match document.get("version").map_or(Some(1), Item::as_integer) {
        Some(1) => "cri",
        Some(2) => "io.containerd.grpc.v1.cri",
        Some(3) => "io.containerd.cri.v1.images",
        Some(version) => return Err(Error::Version(version)),
        None => return Err(Error::Shape { key: "version".to_owned(), wanted: "a number" }),
    };
    let registry = descend(document.as_table_mut(), &["plugins", plugin, "registry"])?;
    let key = |last: &str| format!("plugins.\"{plugin}\".registry.{last}");
    refuse_deprecated(registry, &key)?;
    match registry.get("config_path").map(Item::as_str) {
        Some(None) => return Err(Error::Shape { key: key("config_path"), wanted: "a string" }),
        // A list like PATH; the first directory that has the host counts.
        Some(Some(set)) if !set.is_empty() => {
            let first = set.split(':').find(|part| !part.is_empty()).unwrap_or(set);
            return Ok(Config { certs_d: first.into(), text: None });
        }
        _ => {}
    }
    let path = certs_d.to_str().ok_or_else(|| Error::Shape { key: key("config_path"), wanted: "UTF-8" })?;
    match registry.get_mut("config_path").and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = path.into();
            *old.decor_mut() = decor;
        }
        None => drop(registry.insert("config_path", value(path))),
    }
    Ok(Config { certs_d: certs_d.to_owned(), text: Some(document.to_string()) })
}

/// The table below these keys, made where it is missing.
fn descend<'a>(table: &'a mut dyn TableLike, keys: &[&str]) -> Result<&'a mut dyn TableLike, Error> {
    let Some((key, rest)) = keys.split_first() else { return Ok(table) };
    let item = table.entry(key).or_insert_with(implicit);
    match item.as_table_like_mut() {
        Some(table) => descend(table, rest),
        None => Err(Error::Shape { key: (*key).to_owned(), wanted: "a table" }),
    }
}

/// containerd's own check: `mirrors` and `configs.*.tls` cannot be set when `config_path` is.
fn refuse_deprecated(registry: &dyn TableLike, key: &dyn Fn(&str) -> String) -> Result<(), Error> {
    let table = |name: &str| registry.get(name).and_then(Item::as_table_like);
    if table("mirrors").is_some_and(|mirrors| !mirrors.is_empty()) {
        return Err(Error::Deprecated { key: key("mirrors") });
    }
    for (host, config) in table("configs").into_iter().flat_map(|configs| configs.iter()) {
        if config.as_table_like().is_some_and(|config| config.contains_key("tls")) {
            return Err(Error::Deprecated { key: key(&format!("configs.\"{host}\".tls")) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> SocketAddr {
        "127.0.0.1:5000".parse().unwrap()
    }

    const OURS: &str = "# Written by coracle: this node's registry has the images. It is replaced at the next deploy.\n\
        server = \"http://127.0.0.1:5000\"\n\n[host.\"http://127.0.0.1:5000\"]\ncapabilities = [\"pull\", \"resolve\"]\n";

    #[test]
    fn names_directories_as_containerd_looks_for_them() {
        assert_eq!(host_directories("ghcr.io"), ["ghcr.io"]);
        assert_eq!(host_directories("h.example:5001"), ["h.example_5001_", "h.example:5001"]);
    }

    #[test]
    fn writes_hosts_and_keeps_what_others_wrote() {
        let theirs = "# ours since 2019\n[host.\"https://harbor.example\"] # main\n  skip_verify = true\n\n[host.\"https://b\"]\n";
        let both = "# ours since 2019\nserver = \"http://127.0.0.1:5000\"\n\n# Added by coracle: this node's registry is asked first.\n\
            [host.\"http://127.0.0.1:5000\"]\ncapabilities = [\"pull\", \"resolve\"]\n";
        let old = OURS.replace("5000", "5001");
        for (existing, expected) in [(None, Some(OURS)), (Some(""), Some(OURS)), (Some(&*old), Some(OURS)), (Some(OURS), None)] {
            assert_eq!(hosts_toml(existing, registry()).unwrap().as_deref(), expected, "{existing:?}");
        }
        let text = hosts_toml(Some(theirs), registry()).unwrap().unwrap();
        let ours = text.find("[host.\"http://127.0.0.1:5000\"]").unwrap();
        let harbor = text.find("[host.\"https://harbor.example\"] # main\n  skip_verify = true\n").unwrap();
        assert!(ours < harbor && harbor < text.find("[host.\"https://b\"]").unwrap(), "{text}\nwanted about\n{both}");
        assert!(text.contains("# ours since 2019\n") && text.contains("server = \"http://127.0.0.1:5000\"\n"), "{text}");
        assert_eq!(hosts_toml(Some(&text), registry()).unwrap(), None, "{text}");
        let served = "server = \"https://harbor.example\"\n";
        let text = hosts_toml(Some(served), registry()).unwrap().unwrap();
        assert!(text.starts_with(served) && text.contains("[host.\"http://127.0.0.1:5000\"]"), "{text}");
        assert!(matches!(hosts_toml(Some("host = 1"), registry()), Err(Error::Shape { .. })));
    }

    #[test]
    fn what_was_written_or_added_is_taken_out_again_and_nothing_else() {
        let theirs = "# ours since 2019\n[host.\"https://harbor.example\"] # main\n  skip_verify = true\n";
        let with_us = hosts_toml(Some(theirs), registry()).unwrap().unwrap();
        assert_eq!(without_us(OURS, registry()).unwrap(), Without::Nothing);
        assert_eq!(without_us(theirs, registry()).unwrap(), Without::Unchanged);
        let Without::Text(text) = without_us(&with_us, registry()).unwrap() else { panic!("{with_us}") };
        assert_eq!(text.replace("\n\n", "\n"), theirs);
        let served = format!("server = \"https://harbor.example\"\n{theirs}");
        let Without::Text(text) = without_us(&hosts_toml(Some(&served), registry()).unwrap().unwrap(), registry()).unwrap() else {
            panic!("{served}")
        };
        assert_eq!(text.replace("\n\n", "\n"), served);
        // An entry of the same host that somebody wrote himself is his.
        let own = "server = \"http://127.0.0.1:5000\"\n[host.\"http://127.0.0.1:5000\"]\n";
        assert_eq!(without_us(own, registry()).unwrap(), Without::Unchanged);
    }

    #[test]
    fn names_the_directory_in_each_version_of_the_configuration() {
        for (existing, expected) in [
            (None, "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/c\"\n"),
            (Some("root = \"/x\" # here\n"), "root = \"/x\" # here\n\n[plugins.cri.registry]\nconfig_path = \"/c\"\n"),
            (
                Some("version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  a = 1\n[debug]\nlevel = \"x\"\n"),
                "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  a = 1\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n\
                 config_path = \"/c\"\n[debug]\nlevel = \"x\"\n",
            ),
            (
                Some("version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '' # none\n"),
                "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = \"/c\" # none\n",
            ),
        ] {
            let config = config(existing, Path::new("/c")).unwrap();
            assert_eq!(config.text.as_deref(), Some(expected), "{existing:?}");
            assert_eq!(super::config(Some(expected), Path::new("/d")).unwrap(), Config { certs_d: "/c".into(), text: None });
        }
        let list = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/a:/b\"\n";
        assert_eq!(config(Some(list), Path::new("/c")).unwrap(), Config { certs_d: "/a".into(), text: None });
    }

    #[test]
    fn refuses_a_configuration_that_containerd_would_refuse() {
        let registry = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry";
        for (existing, error) in [
            (format!("{registry}.mirrors.\"docker.io\"]\nendpoint = []\n"), "registry.mirrors`, which containerd refuses"),
            (format!("{registry}.configs.\"h\".tls]\nca_file = \"x\"\n"), "registry.configs.\"h\".tls`, which containerd refuses"),
            ("version = 9".to_owned(), "its version is 9, known are 1 to 3"),
            ("version = \"2\"".to_owned(), "`version` is not a number"),
            ("plugins = 1".to_owned(), "`plugins` is not a table"),
            ("=".to_owned(), "the file is no TOML"),
        ] {
            let found = config(Some(&existing), Path::new("/c")).unwrap_err().to_string();
            assert!(found.contains(error), "{found}");
        }
    }
}
