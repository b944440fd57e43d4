//! The HTTP client of a run: trust, proxies, redirects, time-outs, and what an answer other than 2xx means.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_distribution::errors::OciEnvelope;
use reqwest::header::{ACCEPT_ENCODING, HeaderValue};
use reqwest::{Certificate, Client, Response, redirect};
use url::Url;

use super::retry::retry_after;
use super::{Body, Error};
use crate::fs;

/// A server that does not accept a connection for this long is not there.
const CONNECT: Duration = Duration::from_secs(30);
/// A connection without a byte for this long is dead.
const SILENCE: Duration = Duration::from_mins(1);
/// Redirects that are followed.
const REDIRECTS: usize = 10;
/// No more of an error's body is read.
const ERROR_BODY: u64 = 64 << 10;
/// No more of an error's body is shown, in characters.
const ERROR_TEXT: usize = 500;

/// Whether proxies are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxies {
    /// Those that the environment names.
    OfEnvironment,
    /// None: `NO_PROXY` says `*`, which the client would take for all names and no address.
    None,
}

/// One client for all upstreams of a run.
#[derive(Debug, Clone)]
pub struct HttpClient {
    following: Client,
    staying: Client,
    plain: Arc<BTreeSet<String>>,
}

impl HttpClient {
    /// A client that trusts the system's certificates (or `SSL_CERT_FILE` and `SSL_CERT_DIR`) and those in `ca`, and takes proxies
    /// from the environment. `plain` names the hosts, with or without port, that may be asked over plain HTTP.
    pub fn new(ca: &[PathBuf], plain: &[String], proxies: Proxies) -> Result<Self, Error> {
        // An error here says that a provider is installed already, and any will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut roots = Vec::new();
        for path in ca {
            let pem = fs::read(path, 16 << 20)?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|_| Error::Certificate { path: path.clone() })?;
            if certificates.is_empty() {
                return Err(Error::Certificate { path: path.clone() });
            }
            roots.extend(certificates);
        }
        let plain: Arc<BTreeSet<String>> = Arc::new(plain.iter().cloned().collect());
        let following = build(&roots, proxies, &redirects(Arc::clone(&plain)))?;
        let staying = build(&roots, proxies, &redirect::Policy::none)?;
        Ok(Self { following, staying, plain })
    }

    /// Whether a host may be asked over plain HTTP.
    pub fn is_plain(&self, host: &str, port: Option<u16>) -> bool {
        is_named(&self.plain, host, port)
    }

    /// A request that follows redirects. Credentials set on it stay with its host and port (reqwest drops them on the way elsewhere).
    pub fn get(&self, url: Url) -> reqwest::RequestBuilder {
        self.following.get(url).header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
    }

    /// The same without a body.
    pub fn head(&self, url: Url) -> reqwest::RequestBuilder {
        self.following.head(url).header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
    }

    /// Requests that carry a credential in their body or to a token server: they follow no redirect.
    pub fn staying(&self) -> &Client {
        &self.staying
    }
}

/// `host` or `host:port` is in the list.
fn is_named(hosts: &BTreeSet<String>, host: &str, port: Option<u16>) -> bool {
    hosts.contains(host) || port.is_some_and(|port| hosts.contains(&format!("{host}:{port}")))
}

fn build(roots: &[Certificate], proxies: Proxies, policy: &dyn Fn() -> redirect::Policy) -> Result<Client, Error> {
    let builder = || {
        let builder = match proxies {
            Proxies::OfEnvironment => Client::builder(),
            Proxies::None => Client::builder().no_proxy(),
        };
        builder
            .user_agent(concat!("coracle/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .referer(false)
            .redirect(policy())
    };
    match builder().tls_certs_merge(roots.iter().cloned()).build() {
        // A machine without any certificate of its own can still use plain HTTP where it is named: then nobody is trusted.
        Err(_) if roots.is_empty() => builder().tls_certs_only([]).build().map_err(Error::Client),
        other => other.map_err(Error::Client),
    }
}

/// Follows a redirect, but never from HTTPS to plain HTTP unless that host is named.
fn redirects(plain: Arc<BTreeSet<String>>) -> impl Fn() -> redirect::Policy {
    move || {
        let plain = Arc::clone(&plain);
        redirect::Policy::custom(move |attempt| {
            let next = attempt.url();
            let host = next.host_str().unwrap_or_default().to_owned();
            let was_secure = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
            if attempt.previous().len() > REDIRECTS {
                attempt.error("too many redirects")
            } else if next.scheme() == "http" && was_secure && !is_named(&plain, &host, next.port_or_known_default()) {
                attempt.error(format!("it redirects to plain HTTP at `{host}`, which was not allowed"))
            } else {
                attempt.follow()
            }
        })
    }
}

/// `host` or `host:port` as messages show it.
pub fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The error that an answer other than 2xx means, with the registry's own words.
pub async fn refused(what: &str, host: &str, response: Response) -> Error {
    let status = response.status();
    let retry_after = retry_after(response.headers(), SystemTime::now());
    let reason = status.canonical_reason().unwrap_or("no reason given").to_owned();
    let body = read_limited(what, host, response, ERROR_BODY).await.unwrap_or_default();
    let said = words_of(&body).unwrap_or(reason);
    let (what, host, status) = (what.to_owned(), host.to_owned(), status.as_u16());
    match status {
        401 | 403 => Error::Denied { what, host, status, said, credentials: None },
        _ => Error::Status { what, host, status, said, retry_after },
    }
}

/// What an error's body says: the distribution spec's error document, or a short text.
fn words_of(body: &[u8]) -> Option<String> {
    if let Ok(envelope) = serde_json::from_slice::<OciEnvelope>(body) {
        let words: Vec<String> = envelope
            .errors
            .iter()
            .map(|error| {
                let code = serde_json::to_value(&error.code).ok().and_then(|code| code.as_str().map(str::to_owned)).unwrap_or_default();
                let detail = error.detail.as_str().map(|detail| format!(" ({detail})")).unwrap_or_default();
                if error.message.is_empty() { format!("{code}{detail}") } else { format!("{code}: {}{detail}", error.message) }
            })
            .collect();
        return (!words.is_empty()).then(|| shown(&words.join("; ")));
    }
    let text = std::str::from_utf8(body).ok()?.trim();
    (!text.is_empty() && !text.starts_with('<')).then(|| shown(text))
}

/// Foreign text on one line, without control characters, and not too long.
fn shown(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() > ERROR_TEXT { text.chars().take(ERROR_TEXT).chain("…".chars()).collect() } else { text }
}

/// A whole answer in memory, under a limit.
pub async fn read_limited(what: &str, host: &str, response: Response, limit: u64) -> Result<Vec<u8>, Error> {
    let too_large = || Error::TooLarge { what: what.to_owned(), host: host.to_owned(), limit };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| Error::transport(what, host, &error))?;
        if bytes.len() as u64 + chunk.len() as u64 > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The body of a 200 or 206 answer to a request from `offset` on.
///
/// A server that ignores the range answers 200, and the body starts at 0. A `Content-Range` that starts elsewhere is an error of the server.
pub fn body_of(what: &str, host: &str, response: Response, offset: u64) -> Result<Body, Error> {
    let partial = response.status() == reqwest::StatusCode::PARTIAL_CONTENT;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let strong_etag = header("etag").filter(|etag| etag.starts_with('"'));
    let (start, total) = if partial {
        match header("content-range").as_deref().and_then(content_range) {
            Some((start, total)) if start == offset => (start, total),
            _ => {
                let said = format!("it was asked for the bytes from {offset} on and sent others");
                let (what, host) = (what.to_owned(), host.to_owned());
                return Err(Error::Status { what, host, status: 206, said, retry_after: None });
            }
        }
    } else {
        (0, response.content_length())
    };
    let (name, from) = (what.to_owned(), host.to_owned());
    let stream = response.bytes_stream().map_err(move |error| Error::transport(&name, &from, &error)).boxed();
    Ok(Body { host: host.to_owned(), start, total, etag: strong_etag, stream })
}

/// `bytes 10-19/100` → (10, Some(100)); `bytes 10-19/*` → (10, None).
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_registrys_own_words() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":"unknown tag=9"},{"code":"DENIED"}]}"#,
                Some("MANIFEST_UNKNOWN: manifest unknown (unknown tag=9); DENIED"),
            ),
            ("upstream\n\x1b[31mconnect error\n", Some("upstream [31mconnect error")),
            ("<html>no</html>", None),
            ("", None),
        ] {
            assert_eq!(words_of(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn reads_content_ranges() {
        assert_eq!(content_range("bytes 10-19/100"), Some((10, Some(100))));
        assert_eq!(content_range("bytes 10-19/*"), Some((10, None)));
        assert_eq!(content_range("pages 1-2/3"), None);
    }
}
