//! Image references, as Docker, containerd and Kubernetes read them.

use std::fmt;
use std::str::FromStr;

use super::Digest;

/// A reference in canonical form: registry host, repository, and a tag or a digest or both.
///
/// The rules are those of distribution's `reference.ParseDockerRef`: a first part with a dot, a colon or upper-case letters, or
/// `localhost`, is a registry host; otherwise the host is `docker.io`, and a single part is under `library/`. Without tag and
/// digest the tag is `latest`. `Display` is canonical, and parsing what it prints gives an equal value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ImageReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageReference {
    /// Host, with a port where one was written: `docker.io`, `127.0.0.1:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path without host: `library/nginx`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Host and path: `docker.io/library/nginx`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The tag; `None` only where there is a digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where the reference is pinned.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask a registry for in `/v2/NAME/manifests/…`: the digest where there is one, else the tag.
    #[must_use]
    pub fn selector(&self) -> String {
        self.digest.map_or_else(|| self.tag.clone().unwrap_or_default(), |digest| digest.to_string())
    }

    /// The same repository by digest alone: `repo@sha256:…`.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self { registry: self.registry.clone(), repository: self.repository.clone(), tag: None, digest: Some(digest) }
    }

    /// How the node registry names this repository: `HOST/PATH`, a port written `HOST__PORT` because a colon cannot stand in a path.
    #[must_use]
    pub fn mirrored_repository(&self) -> String {
        format!("{}/{}", self.registry.replace(':', "__"), self.repository)
    }
}

/// Why a text is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image reference: {why}")]
pub struct InvalidReference {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl FromStr for ImageReference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|why| InvalidReference { text: text.to_owned(), why })
    }
}

fn parse(text: &str) -> Result<ImageReference, &'static str> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|_| "after `@` stands no SHA-256 digest")?)),
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (registry, repository) = split_host(name);
    check_host(registry)?;
    let repository =
        if registry == "docker.io" && !repository.contains('/') { format!("library/{repository}") } else { repository.to_owned() };
    check_repository(&repository)?;
    if name.len() > 255 {
        return Err("the name is longer than 255 characters");
    }
    let tag = match (tag, digest) {
        (None, None) => Some("latest".to_owned()),
        (tag, _) => tag.map(str::to_owned),
    };
    Ok(ImageReference { registry: registry.to_owned(), repository, tag, digest })
}

fn split_host(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" || host.bytes().any(|b| b.is_ascii_uppercase()) => {
            (if host == "index.docker.io" { "docker.io" } else { host }, rest)
        }
        _ => ("docker.io", name),
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err("the port is not a number up to 65535");
    }
    let bracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    if let Some(address) = bracketed {
        return address.parse::<std::net::Ipv6Addr>().map(|_| ()).map_err(|_| "between brackets stands no IPv6 address");
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if name.split('.').all(label) { Ok(()) } else { Err("the registry is not a host name") }
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    for part in repository.split('/') {
        if part.is_empty() {
            return Err("the repository has an empty part");
        }
        if part.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err("a repository is written in lower case");
        }
        if !part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')) {
            return Err("the repository has a character that is none of a-z 0-9 . _ - /");
        }
        if !separators_are_single(part) {
            return Err("each part of the repository begins and ends with a letter or digit, with `.`, `_`, `__` or dashes between");
        }
    }
    Ok(())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn separators_are_single(part: &str) -> bool {
    let mut runs = part.split(|c: char| c.is_ascii_alphanumeric()).filter(|run| !run.is_empty());
    !part.starts_with(['.', '_', '-'])
        && !part.ends_with(['.', '_', '-'])
        && runs.all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-'))
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let mut bytes = tag.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    if first && tag.len() <= 128 && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        Ok(())
    } else {
        Err("the tag is not up to 128 of A-Z a-z 0-9 . _ -, beginning with a letter, digit or `_`")
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        let digest = Digest::of(b"x");
        for (written, canonical) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.27", "docker.io/library/nginx:1.27".to_owned()),
            ("grafana/grafana", "docker.io/grafana/grafana:latest".to_owned()),
            ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1".to_owned()),
            ("localhost/a/b:1", "localhost/a/b:1".to_owned()),
            ("127.0.0.1:5000/a:1", "127.0.0.1:5000/a:1".to_owned()),
            ("[::1]:5000/a:1", "[::1]:5000/a:1".to_owned()),
            ("registry.k8s.io/pause:3.10.1", "registry.k8s.io/pause:3.10.1".to_owned()),
            (&format!("ghcr.io/a/b:1@{digest}"), format!("ghcr.io/a/b:1@{digest}")),
            (&format!("ghcr.io/a/b@{digest}"), format!("ghcr.io/a/b@{digest}")),
        ] {
            assert_eq!(written.parse::<ImageReference>().unwrap().to_string(), canonical, "{written}");
        }
    }

    #[test]
    fn refuses_what_no_registry_would_serve() {
        for text in [
            "",
            ":",
            "a:",
            "ghcr.io/",
            "ghcr.io/A/b",
            "a b",
            "ghcr.io/a//b",
            "ghcr.io/a/../b",
            "a@sha256:12",
            "http://ghcr.io/a",
            "ghcr.io:99999/a",
            "a/-b",
        ] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_the_repository_of_the_node_registry() {
        let reference: ImageReference = "127.0.0.1:5001/a/b:1".parse().unwrap();
        assert_eq!(reference.mirrored_repository(), "127.0.0.1__5001/a/b");
    }

    proptest! {
        #[test]
        fn what_is_displayed_parses_to_the_same(text in "([a-z0-9]{1,5}\\.[a-z]{2,3}(:[1-9][0-9]{2})?/)?([a-z0-9]{1,4}/){0,2}[a-z0-9]{1,4}([._-][a-z0-9]{1,3}){0,2}(:[A-Za-z0-9_][A-Za-z0-9._-]{0,8})?") {
            let parsed: ImageReference = text.parse().unwrap();
            prop_assert_eq!(parsed.to_string().parse::<ImageReference>().unwrap(), parsed);
        }
    }
}
