//! Logins as docker and podman keep them (`config.json`, `auth.json`), and their credential helpers.
//!
//! Files are asked in this order, and the first login found counts: `$REGISTRY_AUTH_FILE`, or without it
//! `$XDG_RUNTIME_DIR/containers/auth.json` and `~/.config/containers/auth.json`; then `$DOCKER_CONFIG/config.json`, or without it
//! `~/.docker/config.json`. Inside a file: an entry of `auths` for a part of the host's repositories (the longest counts, as with podman),
//! `credHelpers` for the host, the entry of `auths` for the host, `credsStore`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use base64::Engine as _;

use super::client::Proxies;
use super::credential_helper_v1::HelperAnswer;
use super::docker_config_v1::{Entry, LoginFile};
use super::secret::{Login, Secret};
use crate::command::{self, Command};
use crate::fs;

/// No login file is larger.
const LIMIT: u64 = 4 << 20;
/// The key under which docker keeps the login of docker.io.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Why a login that is configured cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The file is not what docker and podman write. The cause is left out where it could quote the file.
    #[error("`{}` is no login file as docker and podman write them (line {line}, column {column})", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line of the first fault.
        line: usize,
        /// Its column.
        column: usize,
    },
    /// An entry of `auths` is malformed.
    #[error("`{}`: the login for `{host}` is not base64 of `name:password`", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry.
        host: String,
    },
    /// The helper that the file names could not be asked.
    #[error("`{}` names the credential helper `{helper}` for `{host}`, which cannot be asked", path.display())]
    Helper {
        /// The file.
        path: PathBuf,
        /// The registry.
        host: String,
        /// The program.
        helper: String,
        /// What running it said.
        source: command::Error,
    },
    /// The helper answered something else than a login.
    #[error("`{}` names the credential helper `{helper}` for `{host}`, which gave no login{said}", path.display())]
    Answer {
        /// The file.
        path: PathBuf,
        /// The registry.
        host: String,
        /// The program.
        helper: String,
        /// What it said on stderr, after a colon; empty where it said nothing.
        said: String,
    },
}

/// Where logins are looked for: the parts of the environment that say so.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `DOCKER_CONFIG`: a directory.
    pub docker_config: Option<PathBuf>,
    /// `REGISTRY_AUTH_FILE`.
    pub registry_auth_file: Option<PathBuf>,
    /// `NETRC`.
    pub netrc: Option<PathBuf>,
    /// `PATH`: where credential helpers are.
    pub path: Option<OsString>,
    /// `NO_PROXY`: hosts that are asked without a proxy. The HTTP client reads it by itself, with the other proxy variables; here it only
    /// matters whether it means everybody.
    pub no_proxy: Option<String>,
}

impl Environment {
    /// Whether `NO_PROXY` leaves any host to the proxies.
    pub(super) fn proxies(&self) -> Proxies {
        let everybody = self.no_proxy.iter().flat_map(|hosts| hosts.split(',')).any(|host| host.trim() == "*");
        if everybody { Proxies::None } else { Proxies::OfEnvironment }
    }

    fn login_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if let Some(file) = &self.registry_auth_file {
            files.push(file.clone());
        } else {
            files.extend(self.xdg_runtime_dir.as_ref().map(|directory| directory.join("containers/auth.json")));
            files.extend(self.home.as_ref().map(|home| home.join(".config/containers/auth.json")));
        }
        let docker = self.docker_config.clone().or_else(|| self.home.as_ref().map(|home| home.join(".docker")));
        files.extend(docker.map(|directory| directory.join("config.json")));
        files
    }
}

/// The logins of this run. Helpers are run when a registry asks for a login, files are read once.
#[derive(Debug)]
pub struct Credentials {
    files: Vec<(PathBuf, LoginFile)>,
    search: Vec<PathBuf>,
}

/// A login and the file (and helper) that it came from.
#[derive(Debug, Clone)]
pub struct Found {
    /// What to send.
    pub login: Login,
    /// For messages: `/home/a/.docker/config.json`.
    pub from: String,
}

impl Credentials {
    /// Reads the files that are there.
    pub fn read(environment: &Environment) -> Result<Self, Error> {
        let mut files = Vec::new();
        for path in environment.login_files() {
            let bytes = match fs::read(&path, LIMIT) {
                Ok(bytes) => bytes,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            // serde_json's message may quote a value of the file, and values here are passwords: only the place is kept.
            let file = serde_json::from_slice(&bytes).map_err(|error| Error::Syntax {
                path: path.clone(),
                line: error.line(),
                column: error.column(),
            })?;
            files.push((path, file));
        }
        let search = environment.path.iter().flat_map(std::env::split_paths).collect();
        Ok(Self { files, search })
    }

    /// The login for a repository of a registry. Runs helpers: to be called where blocking is allowed.
    pub fn find(&self, host: &str, repository: &str) -> Result<Option<Found>, Error> {
        for (path, file) in &self.files {
            if let Some(found) = file.find(&Asking { path, search: &self.search, host }, repository)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Which file is asked for which host, and where its helpers are.
struct Asking<'a> {
    path: &'a Path,
    search: &'a [PathBuf],
    host: &'a str,
}

impl LoginFile {
    fn find(&self, asking: &Asking<'_>, repository: &str) -> Result<Option<Found>, Error> {
        let (path, host) = (asking.path, asking.host);
        let here = |login| Found { login, from: path.display().to_string() };
        for key in namespaces(host, repository) {
            if let Some(entry) = self.auths.get(&key)
                && let Some(login) = entry.login(path, &key)?
            {
                return Ok(Some(here(login)));
            }
        }
        let names = names_of(host);
        let helper = self.cred_helpers.iter().find(|(key, _)| names.contains(&bare_host(key))).map(|(_, helper)| helper);
        if let Some(helper) = helper
            && let Some(found) = ask_helper(asking, helper)?
        {
            return Ok(Some(found));
        }
        for (key, entry) in self.auths.iter().filter(|(key, _)| names.contains(&bare_host(key))) {
            if let Some(login) = entry.login(path, key)? {
                return Ok(Some(here(login)));
            }
        }
        match &self.creds_store {
            Some(helper) if !helper.is_empty() => ask_helper(asking, helper),
            _ => Ok(None),
        }
    }
}

impl Entry {
    /// The login in an entry; `None` for the empty entries that docker writes beside a `credsStore`.
    fn login(&self, path: &Path, host: &str) -> Result<Option<Login>, Error> {
        let some = |secret: &Option<Secret>| secret.clone().filter(|secret| !secret.reveal().is_empty());
        if let Some(token) = some(&self.identitytoken) {
            return Ok(Some(Login::Identity(token)));
        }
        if let Some(auth) = some(&self.auth) {
            let malformed = || Error::Entry { path: path.to_owned(), host: host.to_owned() };
            let bytes = base64::engine::general_purpose::STANDARD.decode(auth.reveal().trim()).map_err(|_| malformed())?;
            let text = String::from_utf8(bytes).map_err(|_| malformed())?;
            let (user, password) = text.split_once(':').ok_or_else(malformed)?;
            let password = Secret::new(password.trim_end_matches('\0'));
            return Ok(Some(Login::Password { user: user.to_owned(), password }));
        }
        Ok(self.username.clone().zip(some(&self.password)).map(|(user, password)| Login::Password { user, password }))
    }
}

/// `host/a/b/c`, `host/a/b`, `host/a`: the keys for a part of a host, longest first.
fn namespaces(host: &str, repository: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut path = repository;
    loop {
        keys.push(format!("{host}/{path}"));
        match path.rsplit_once('/') {
            Some((shorter, _)) => path = shorter,
            None => return keys,
        }
    }
}

/// The names under which a registry's login may be kept.
fn names_of(host: &str) -> Vec<&str> {
    match host {
        "docker.io" => vec!["docker.io", "index.docker.io", "registry-1.docker.io"],
        host => vec![host],
    }
}

/// `https://index.docker.io/v1/` → `index.docker.io`; a key with a path of its own (podman's namespaces) stays as it is.
fn bare_host(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key)
}

/// `docker-credential-NAME get` (docker-credential-helpers, README, "Development").
fn ask_helper(asking: &Asking<'_>, name: &str) -> Result<Option<Found>, Error> {
    let (path, host) = (asking.path, asking.host);
    let helper = format!("docker-credential-{name}");
    let key = if host == "docker.io" { DOCKER_HUB } else { host };
    let mut program = helper.clone();
    for candidate in asking.search.iter().map(|directory| directory.join(&helper)) {
        if fs::metadata(&candidate)?.is_some_and(|metadata| metadata.is_file()) {
            program = candidate.display().to_string();
            break;
        }
    }
    let command = Command::new(program).arg("get").stdin(key.as_bytes());
    let output = command.output().map_err(|source| Error::Helper {
        path: path.to_owned(),
        host: host.to_owned(),
        helper: helper.clone(),
        source,
    })?;
    // Helpers say "not found" on stdout, in words that docker itself compares.
    let says_absent = |text: &str| text.contains("credentials not found") || text.contains("no credentials server URL");
    if !output.status.success() && (says_absent(&String::from_utf8_lossy(&output.stdout)) || says_absent(&output.stderr)) {
        return Ok(None);
    }
    let answer = || Error::Answer {
        path: path.to_owned(),
        host: host.to_owned(),
        helper: helper.clone(),
        // What it wrote to stdout may be half a login: only stderr is shown.
        said: match output.stderr.trim() {
            "" => String::new(),
            text => format!(": {text}"),
        },
    };
    if !output.status.success() {
        return Err(answer());
    }
    let parsed: HelperAnswer = serde_json::from_slice(&output.stdout).map_err(|_| answer())?;
    if parsed.secret.reveal().is_empty() {
        return Ok(None);
    }
    let login = if parsed.username == "<token>" {
        Login::Identity(parsed.secret)
    } else {
        Login::Password { user: parsed.username, password: parsed.secret }
    };
    Ok(Some(Found { login, from: format!("{helper} (named in {})", path.display()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(docker: &str) -> (tempfile::TempDir, Result<Credentials, Error>) {
        let directory = tempfile::tempdir().unwrap();
        fs::write_atomic(&directory.path().join("config.json"), docker.as_bytes(), 0o600).unwrap();
        let environment = Environment { docker_config: Some(directory.path().to_owned()), ..Environment::default() };
        let read = Credentials::read(&environment);
        (directory, read)
    }

    fn base64(text: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(text)
    }

    fn user(credentials: &Credentials, host: &str, repository: &str) -> Option<String> {
        credentials.find(host, repository).unwrap().map(|found| match found.login {
            Login::Password { user, password } => format!("{user}:{}", password.reveal()),
            Login::Identity(token) => format!("token:{}", token.reveal()),
        })
    }

    #[test]
    fn finds_the_login_of_the_longest_part_of_the_name() {
        let json = serde_json::json!({"auths": {
            "quay.io": {"auth": base64("host:1")},
            "quay.io/acme": {"auth": base64("space:2")},
            "quay.io/acme/api": {"auth": base64("repo:3:4")},
            "https://index.docker.io/v1/": {"auth": base64("hub:5")},
            "https://127.0.0.1:5000": {"username": "plain", "password": "6"},
            "ghcr.io": {"identitytoken": "refresh", "auth": base64("x:y")},
            "empty.example": {},
        }});
        let (_directory, read) = credentials(&json.to_string());
        let credentials = read.unwrap();
        for (host, repository, expected) in [
            ("quay.io", "acme/api", Some("repo:3:4")),
            ("quay.io", "acme/api/sub", Some("repo:3:4")),
            ("quay.io", "acme/apis", Some("space:2")),
            ("quay.io", "other/x", Some("host:1")),
            ("docker.io", "library/nginx", Some("hub:5")),
            ("127.0.0.1:5000", "a", Some("plain:6")),
            ("ghcr.io", "a/b", Some("token:refresh")),
            ("empty.example", "a", None),
            ("elsewhere.example", "a", None),
        ] {
            assert_eq!(user(&credentials, host, repository).as_deref(), expected, "{host}/{repository}");
        }
        assert!(!format!("{credentials:?}").contains("refresh"));
    }

    #[test]
    fn podmans_file_comes_first_and_an_explicit_one_replaces_it() {
        let home = tempfile::tempdir().unwrap();
        let write = |path: &str, who: &str| {
            let path = home.path().join(path);
            fs::create_dir_all(fs::parent(&path)).unwrap();
            let json = serde_json::json!({"auths": {"quay.io": {"auth": base64(&format!("{who}:p"))}}});
            fs::write_atomic(&path, json.to_string().as_bytes(), 0o600).unwrap();
        };
        write(".docker/config.json", "docker");
        let mut environment = Environment { home: Some(home.path().to_owned()), ..Environment::default() };
        let found = |environment: &Environment| user(&Credentials::read(environment).unwrap(), "quay.io", "a").unwrap();
        assert_eq!(found(&environment), "docker:p");
        write(".config/containers/auth.json", "podman");
        assert_eq!(found(&environment), "podman:p");
        write("explicit.json", "explicit");
        environment.registry_auth_file = Some(home.path().join("explicit.json"));
        assert_eq!(found(&environment), "explicit:p");
    }

    #[test]
    fn names_file_and_host_of_a_login_that_is_malformed_and_shows_nothing_of_it() {
        let (directory, read) = credentials(r#"{"auths":{"quay.io":{"auth":"hunter2hunter2!"}}}"#);
        let error = read.unwrap().find("quay.io", "a").unwrap_err();
        let path = directory.path().join("config.json");
        assert_eq!(error.to_string(), format!("`{}`: the login for `quay.io` is not base64 of `name:password`", path.display()));
        assert!(!format!("{error:?}").contains("hunter2"));
        let (_directory, read) = credentials(r#"{"auths":{"quay.io":{"auth":{"hunter2":1}}}}"#);
        let error = read.unwrap_err();
        assert!(matches!(error, Error::Syntax { line: 1, .. }) && !format!("{error:?} {error}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn says_which_helper_of_which_file_is_missing() {
        let (directory, read) = credentials(r#"{"credHelpers":{"quay.io":"coracle-is-not-installed"},"credsStore":""}"#);
        let error = read.unwrap().find("quay.io", "a").unwrap_err();
        let path = directory.path().join("config.json");
        let expected = format!(
            "`{}` names the credential helper `docker-credential-coracle-is-not-installed` for `quay.io`, which cannot be asked",
            path.display()
        );
        assert_eq!(error.to_string(), expected);
    }
}
