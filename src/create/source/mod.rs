//! Where bytes come from: the door through which everything enters on the connected side.
//!
//! ```text
//! Sources ── permits (per host, in all) ── tries (backoff, Retry-After) ──► Source
//!    │                                                                       ├─ Network: registry.rs (auth.rs, credentials.rs), http.rs (netrc.rs)
//!    │                                                                       └─ fake.rs, in tests
//!    └─ archive/: OCI layouts, OCI and docker archives on this machine
//! ```
//!
//! Nothing that comes through here is trusted: documents are checked against a digest where one is known, and content is hashed while
//! it is written (`create/fetch`). Only this room names an HTTP client.

pub mod archive;
mod auth;
mod client;
mod credential_helper_v1;
pub mod credentials;
mod docker_config_v1;
mod error;
#[cfg(test)]
pub mod fake;
mod http;
mod limits;
mod netrc;
mod registry;
mod retry;
mod secret;
#[cfg(test)]
pub mod server;
#[cfg(test)]
mod tests;
mod token_v2;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use url::Url;

use self::archive::Archive;
use self::auth::Tokens;
use self::client::HttpClient;
use self::credentials::Credentials;
pub use self::credentials::Environment;
pub use self::error::{Error, Failure, FailureKind};
use self::http::Files;
use self::limits::{Limits, Permit};
use self::netrc::Netrc;
use self::registry::Registries;
use self::retry::Reached;
pub use self::retry::{Patience, Tries};
use crate::event::Observer;
use crate::io::Mismatch;
use crate::types::{Descriptor, Digest, ImageReference};

/// No index, manifest or configuration may be larger, in bytes.
pub const DOCUMENT_LIMIT: u64 = 4 << 20;

/// Where a blob can be had over a network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// From the repository of a reference; its tag means nothing here.
    Registry {
        /// The repository.
        reference: ImageReference,
        /// The blob.
        digest: Digest,
    },
    /// From a web server.
    Url(Url),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry { reference, digest } => write!(f, "{}@{digest}", reference.name()),
            Self::Url(url) => write!(f, "{url}"),
        }
    }
}

/// The bytes of a blob as they arrive, unchecked.
pub struct Body {
    /// Who sends them.
    pub host: String,
    /// The offset of the first byte; 0 where the upstream does not know ranges.
    pub start: u64,
    /// The size of the whole blob, where the upstream states it.
    pub total: Option<u64>,
    /// A strong entity tag, where the upstream gives one.
    pub etag: Option<String>,
    /// The bytes from `start` on. A piece is at most what one read of a connection gives (hyper: about 400 KiB).
    pub stream: BoxStream<'static, Result<Bytes, Error>>,
}

/// What every upstream can do: one request, no second try.
pub trait Source: Send + Sync + fmt::Debug {
    /// The host that a place is on, for limits and messages.
    fn host(&self, place: &Place) -> String;

    /// An index or manifest by what its reference selects, unchecked; at most [`DOCUMENT_LIMIT`] bytes.
    fn manifest<'a>(&'a self, reference: &'a ImageReference) -> BoxFuture<'a, Result<Vec<u8>, Error>>;

    /// The size of a file that the upstream states.
    fn size<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<Option<u64>, Error>>;

    /// A blob from `offset` on; with `etag`, only if it is unchanged, else from the beginning.
    fn open<'a>(&'a self, place: &'a Place, offset: u64, etag: Option<&'a str>) -> BoxFuture<'a, Result<Body, Error>>;
}

/// What the sources of a run need to know.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// PEM files with certificates that are trusted besides the system's.
    pub ca: Vec<PathBuf>,
    /// Hosts, with or without port, that are asked over plain HTTP. Nobody else is, loopback included.
    pub plain_http: Vec<String>,
    /// Registries that are asked elsewhere: host as in references, and the URL to ask instead.
    pub mirrors: Vec<(String, Url)>,
    /// Requests at once, in all.
    pub jobs: usize,
    /// Requests at once to one host.
    pub jobs_per_host: usize,
    /// Where logins are.
    pub environment: Environment,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            ca: Vec::new(),
            plain_http: Vec::new(),
            mirrors: Vec::new(),
            jobs: 16,
            jobs_per_host: 8,
            environment: Environment::default(),
        }
    }
}

/// All sources of a run. Cheap to clone; clones share limits, tokens and opened archives.
#[derive(Debug, Clone)]
pub struct Sources {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    source: Box<dyn Source>,
    limits: Limits,
    patience: Patience,
    reached: Arc<Reached>,
    archives: Mutex<BTreeMap<PathBuf, Arc<Archive>>>,
    ids: AtomicU64,
}

/// Registries and web servers.
#[derive(Debug)]
struct Network {
    registries: Registries,
    files: Files,
}

impl Sources {
    /// Reads login files and certificates and makes the HTTP client; asks nobody yet.
    pub fn new(options: SourceOptions) -> Result<Self, Error> {
        let client = HttpClient::new(&options.ca, &options.plain_http, options.environment.proxies())?;
        let credentials = Arc::new(Credentials::read(&options.environment)?);
        let tokens = Tokens::new(client.clone(), credentials);
        let registries = Registries::new(client.clone(), tokens, options.mirrors.into_iter().collect());
        let files = Files::new(client, Netrc::read(&options.environment)?);
        let limits = Limits::new(options.jobs, options.jobs_per_host);
        Ok(Self::of(Box::new(Network { registries, files }), limits, Patience::default()))
    }

    fn of(source: Box<dyn Source>, limits: Limits, patience: Patience) -> Self {
        let shared = Shared { source, limits, patience, reached: Arc::default(), archives: Mutex::default(), ids: AtomicU64::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// Sources that ask `source` instead of a network.
    #[cfg(test)]
    pub fn fake(source: impl Source + 'static, patience: Patience) -> Self {
        Self::of(Box::new(source), Limits::new(4, 4), patience)
    }

    /// The same with other bounds on trying again.
    #[cfg(test)]
    #[must_use]
    pub fn patient(self, patience: Patience) -> Self {
        let shared = Arc::into_inner(self.shared).expect("not shared yet");
        Self { shared: Arc::new(Shared { patience, ..shared }) }
    }

    /// Bounds on trying again.
    pub fn tries(&self) -> Tries {
        Tries::new(self.shared.patience, Arc::clone(&self.shared.reached))
    }

    /// A number that no other transfer of this run has.
    pub fn transfer_id(&self) -> u64 {
        self.shared.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// An index or manifest by what its reference selects. Where that is a digest, the bytes have it.
    pub async fn manifest(&self, reference: &ImageReference, observer: &dyn Observer) -> Result<Vec<u8>, Error> {
        let what = reference.to_string();
        let place = Place::Registry { reference: reference.clone(), digest: Digest::of(&[]) };
        let host = self.shared.source.host(&place);
        let mut tries = self.tries();
        loop {
            let permit = self.permit(&host).await;
            let answer = self.shared.reached.note(&host, self.shared.source.manifest(reference).await);
            drop(permit);
            let error = match answer.and_then(|bytes| check(&what, &host, bytes, reference.digest())) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            tries.wait(&what, error, observer).await?;
        }
    }

    /// A small blob of a repository (a configuration), in memory and checked.
    pub async fn document(&self, reference: &ImageReference, wanted: &Descriptor, observer: &dyn Observer) -> Result<Vec<u8>, Error> {
        let place = Place::Registry { reference: reference.clone(), digest: wanted.digest };
        let host = self.shared.source.host(&place);
        let what = place.to_string();
        if wanted.size > DOCUMENT_LIMIT {
            return Err(Error::TooLarge { what, host, limit: DOCUMENT_LIMIT });
        }
        let mut tries = self.tries();
        loop {
            let error = match self.collect(&what, &place, wanted.size).await {
                Ok(bytes) if bytes.len() as u64 == wanted.size => match check(&what, &host, bytes, Some(&wanted.digest)) {
                    Ok(bytes) => return Ok(bytes),
                    Err(error) => error,
                },
                Ok(bytes) => Error::Size { what: what.clone(), host: host.clone(), expected: wanted.size, got: bytes.len() as u64 },
                Err(error) => error,
            };
            tries.wait(&what, error, observer).await?;
        }
    }

    /// At most `size` bytes of a place, and one piece more.
    async fn collect(&self, what: &str, place: &Place, size: u64) -> Result<Vec<u8>, Error> {
        let _permit = self.permit(&self.host(place)).await;
        let mut body = self.open(place, 0, None).await?;
        if let Some(got) = body.total.filter(|total| *total != size) {
            return Err(Error::Size { what: what.to_owned(), host: body.host, expected: size, got });
        }
        let mut bytes = Vec::new();
        while let Some(piece) = body.stream.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() as u64 > size {
                break;
            }
        }
        Ok(bytes)
    }

    /// The size of a file that its server states; `None` where it states none.
    pub async fn size(&self, url: &Url, observer: &dyn Observer) -> Result<Option<u64>, Error> {
        let host = self.shared.source.host(&Place::Url(url.clone()));
        let mut tries = self.tries();
        loop {
            let permit = self.permit(&host).await;
            let answer = self.shared.reached.note(&host, self.shared.source.size(url).await);
            drop(permit);
            match answer {
                Ok(size) => return Ok(size),
                Err(error) => tries.wait(url.as_str(), error, observer).await?,
            }
        }
    }

    /// Opens a blob from `offset` on, once: who reads it counts the tries, and holds a permit as long as it reads.
    pub async fn open(&self, place: &Place, offset: u64, etag: Option<&str>) -> Result<Body, Error> {
        self.shared.reached.note(&self.host(place), self.shared.source.open(place, offset, etag).await)
    }

    /// Waits for a turn at a host (or, for an archive, at a path): to be had before a transfer opens files and threads.
    pub async fn permit(&self, host: &str) -> Permit {
        self.shared.limits.permit(host).await
    }

    /// The host that a place is on.
    pub fn host(&self, place: &Place) -> String {
        self.shared.source.host(place)
    }

    /// An archive or layout, opened once in a run. Blocks; `scratch` is where a gzipped archive is unpacked to for the time of the run.
    pub fn archive(&self, path: &std::path::Path, scratch: &std::path::Path) -> Result<Arc<Archive>, Error> {
        let mut archives = self.shared.archives.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(archive) = archives.get(path) {
            return Ok(Arc::clone(archive));
        }
        let archive = Arc::new(Archive::open(path, scratch)?);
        archives.insert(path.to_owned(), Arc::clone(&archive));
        Ok(archive)
    }
}

/// The bytes, if they have the digest that was asked for. What a header says of them is never asked.
fn check(what: &str, host: &str, bytes: Vec<u8>, wanted: Option<&Digest>) -> Result<Vec<u8>, Error> {
    match wanted.map(|wanted| (wanted, Digest::of(&bytes))) {
        Some((expected, got)) if *expected != got => {
            let source = Mismatch::Digest { got, expected: *expected };
            Err(Error::Wrong { what: what.to_owned(), host: host.to_owned(), source })
        }
        _ => Ok(bytes),
    }
}

impl Source for Network {
    fn host(&self, place: &Place) -> String {
        match place {
            Place::Registry { reference, .. } => self.registries.host(reference.registry()),
            Place::Url(url) => client::host_of(url),
        }
    }

    fn manifest<'a>(&'a self, reference: &'a ImageReference) -> BoxFuture<'a, Result<Vec<u8>, Error>> {
        Box::pin(self.registries.manifest(reference))
    }

    fn size<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<Option<u64>, Error>> {
        Box::pin(self.files.size(url))
    }

    fn open<'a>(&'a self, place: &'a Place, offset: u64, etag: Option<&'a str>) -> BoxFuture<'a, Result<Body, Error>> {
        match place {
            Place::Registry { reference, digest } => Box::pin(self.registries.blob(reference, digest, offset)),
            Place::Url(url) => Box::pin(self.files.open(url, offset, etag)),
        }
    }
}
