//! From a path and query to what is asked for (distribution-spec 1.1, "Endpoints"). Pure.

use super::content::Selector;
use super::refusal::Refusal;
use crate::types::Digest;

/// What a GET or HEAD asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`: whether this is a registry.
    Version,
    /// `/v2/_catalog`.
    Catalog(Page),
    /// `/v2/NAME/tags/list`.
    Tags(String, Page),
    /// `/v2/NAME/manifests/REFERENCE`.
    Manifest(String, Selector),
    /// `/v2/NAME/blobs/DIGEST`.
    Blob(String, Digest),
    /// `/v2/NAME/referrers/DIGEST`, perhaps of one artifact type.
    Referrers(String, Digest, Option<String>),
}

/// A part of a sorted list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// At most so many.
    pub n: Option<usize>,
    /// Those after this one.
    pub last: Option<String>,
}

impl Route {
    /// Reads a path and its query.
    ///
    /// With `?ns=HOST`, as containerd asks a mirror, the repository is that host's.
    ///
    /// # Errors
    /// A path that the specification does not have, or a malformed name, tag or digest.
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, Refusal> {
        let parameter = |name: &str| {
            let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
            pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let page = || -> Result<Page, Refusal> {
            let n = parameter("n").map(|n| n.parse::<usize>().map_err(|_| Refusal::PageSize(n))).transpose()?;
            Ok(Page { n, last: parameter("last") })
        };
        let Some(rest) = path.strip_prefix("/v2") else { return Err(Refusal::NoSuchPath) };
        if rest.is_empty() || rest == "/" {
            return Ok(Self::Version);
        }
        let rest = rest.strip_prefix('/').ok_or(Refusal::NoSuchPath)?;
        if rest == "_catalog" {
            return Ok(Self::Catalog(page()?));
        }
        let (front, last) = rest.rsplit_once('/').ok_or(Refusal::NoSuchPath)?;
        let (name, kind) = front.rsplit_once('/').ok_or(Refusal::NoSuchPath)?;
        let repository = repository(name, parameter("ns").as_deref())?;
        let digest = || last.parse::<Digest>().map_err(|_| Refusal::DigestInvalid(last.to_owned()));
        match (kind, last) {
            ("tags", "list") => Ok(Self::Tags(repository, page()?)),
            ("manifests", _) if last.contains(':') => Ok(Self::Manifest(repository, Selector::Digest(digest()?))),
            ("manifests", _) => Ok(Self::Manifest(repository, Selector::Tag(tag(last)?))),
            ("blobs", _) => Ok(Self::Blob(repository, digest()?)),
            ("referrers", _) => Ok(Self::Referrers(repository, digest()?, parameter("artifactType"))),
            _ => Err(Refusal::NoSuchPath),
        }
    }
}

/// The repository as this registry names it: with the host that a mirror request names, its port after `__`.
fn repository(name: &str, ns: Option<&str>) -> Result<String, Refusal> {
    let name = match ns {
        Some(host) if !host.is_empty() => format!("{}/{name}", host.replace(':', "__")),
        _ => name.to_owned(),
    };
    // Hosts may have upper case and brackets, which the specification's repositories do not: what is not here is 404 by itself.
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-[]/".contains(&b);
    if name.len() <= 512 && name.bytes().all(legal) && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..") {
        Ok(name)
    } else {
        Err(Refusal::NameInvalid(name))
    }
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. What is none names nothing here: 404, as the conformance suite wants.
fn tag(text: &str) -> Result<String, Refusal> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let first = text.bytes().next().is_some_and(word);
    if first && text.len() <= 128 && text.bytes().all(|b| word(b) || b == b'.' || b == b'-') {
        Ok(text.to_owned())
    } else {
        Err(Refusal::ManifestUnknown(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_path_of_the_specification() {
        let digest = Digest::of(b"x");
        let name = || "ghcr.io/a/b".to_owned();
        let page = |n, last: Option<&str>| Page { n, last: last.map(str::to_owned) };
        for (uri, route) in [
            ("/v2", Ok(Route::Version)),
            ("/v2/", Ok(Route::Version)),
            ("/v2/_catalog?n=2&last=a%2Fb", Ok(Route::Catalog(page(Some(2), Some("a/b"))))),
            ("/v2/ghcr.io/a/b/tags/list?n=3", Ok(Route::Tags(name(), page(Some(3), None)))),
            ("/v2/ghcr.io/a/b/manifests/1.0", Ok(Route::Manifest(name(), Selector::Tag("1.0".to_owned())))),
            ("/v2/a/b/manifests/1.0?ns=ghcr.io", Ok(Route::Manifest(name(), Selector::Tag("1.0".to_owned())))),
            ("/v2/a/manifests/1?ns=h:5001", Ok(Route::Manifest("h__5001/a".to_owned(), Selector::Tag("1".to_owned())))),
            ("/v2/a/manifests/blobs/manifests/1", Ok(Route::Manifest("a/manifests/blobs".to_owned(), Selector::Tag("1".to_owned())))),
            (&format!("/v2/ghcr.io/a/b/manifests/{digest}"), Ok(Route::Manifest(name(), Selector::Digest(digest)))),
            (&format!("/v2/ghcr.io/a/b/blobs/{digest}"), Ok(Route::Blob(name(), digest))),
            (
                &format!("/v2/ghcr.io/a/b/referrers/{digest}?artifactType=x%2Fy"),
                Ok(Route::Referrers(name(), digest, Some("x/y".to_owned()))),
            ),
            ("/v2/a/b/blobs/sha256:12", Err(Refusal::DigestInvalid("sha256:12".to_owned()))),
            ("/v2/a/../b/manifests/1", Err(Refusal::NameInvalid("a/../b".to_owned()))),
            ("/v2/a%2Fb/manifests/1", Err(Refusal::NameInvalid("a%2Fb".to_owned()))),
            ("/v2/a/manifests/.x", Err(Refusal::ManifestUnknown(".x".to_owned()))),
            ("/v2/a/tags/list?n=x", Err(Refusal::PageSize("x".to_owned()))),
            ("/v2/a/blobs/uploads/", Err(Refusal::NoSuchPath)),
            ("/v1/", Err(Refusal::NoSuchPath)),
            ("/", Err(Refusal::NoSuchPath)),
        ] {
            let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
            assert_eq!(Route::parse(path, query), route, "{uri}");
        }
    }
}
