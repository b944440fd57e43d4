//! What can go wrong on the way from an upstream, and whether it is worth another try.

use std::time::Duration;

use super::{archive, credentials};
use crate::io::Mismatch;
use crate::{fs, store};

/// Why bytes did not come. No variant holds a credential, a query string of a redirect, or a request header.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client cannot be made (a proxy that is no URL, no system trust store).
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// A file that is needed for it cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// A `--ca` file without a certificate in it.
    #[error("`{}` holds no PEM certificate", path.display())]
    Certificate {
        /// The file.
        path: std::path::PathBuf,
    },
    /// Credentials were configured and cannot be had.
    #[error(transparent)]
    Credentials(#[from] credentials::Error),
    /// No connection, a connection that was cut, or silence for too long.
    #[error("cannot get `{what}` from `{host}`")]
    Transport {
        /// The reference, blob or URL.
        what: String,
        /// Who was asked.
        host: String,
        /// What the HTTP client said.
        source: Failure,
    },
    /// An answer other than 2xx.
    #[error("`{host}` answered {status} for `{what}`: {said}")]
    Status {
        /// The reference, blob or URL.
        what: String,
        /// Who answered.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own error document as text, or the reason phrase.
        said: String,
        /// How long it asked to wait.
        retry_after: Option<Duration>,
    },
    /// 401 or 403 after everything that is configured was tried.
    #[error("`{host}` refuses `{what}` ({status}): {said}")]
    Denied {
        /// The reference, blob or URL.
        what: String,
        /// Who answered.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own error document as text, or the reason phrase.
        said: String,
        /// Where the credentials that were sent came from; `None`: none are configured.
        credentials: Option<String>,
    },
    /// The registry asks for a kind of login that is not known, or names a token server that must not see credentials.
    #[error("cannot log in to `{host}`: {why}")]
    Login {
        /// The registry.
        host: String,
        /// What is wrong with what it asks for.
        why: String,
    },
    /// The answer is larger than anything that may be held in memory.
    #[error("`{what}` from `{host}` is larger than {limit} bytes")]
    TooLarge {
        /// The reference, blob or URL.
        what: String,
        /// Who answered.
        host: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// The answer has another size than it should have.
    #[error("`{host}` has `{what}` with {got} bytes, it should have {expected}")]
    Size {
        /// The blob or URL.
        what: String,
        /// Who answered.
        host: String,
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that the upstream says it has.
        got: u64,
    },
    /// The bytes that came are not what was asked for.
    #[error("`{host}` served other bytes for `{what}`")]
    Wrong {
        /// The reference, blob or URL.
        what: String,
        /// Who answered.
        host: String,
        /// Length or digest: expected and got.
        source: Mismatch,
    },
    /// A body that came whole, by its framing, and is shorter than it should be.
    #[error("`{host}` stopped after {got} bytes of `{what}`")]
    Short {
        /// The blob or URL.
        what: String,
        /// Who answered.
        host: String,
        /// Bytes that came in all.
        got: u64,
    },
    /// An archive cannot be read.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// The cache cannot take or give a blob.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A worker ended before its work did.
    #[error("the transfer of `{what}` was ended early")]
    Ended {
        /// The reference, blob or URL.
        what: String,
    },
}

impl Error {
    /// A failure of the HTTP client.
    pub(super) fn transport(what: &str, host: &str, source: &reqwest::Error) -> Self {
        Self::Transport { what: what.to_owned(), host: host.to_owned(), source: Failure::of(source) }
    }

    /// Whether another try can end otherwise: a cut, a time-out, 408, 429, 500, 502, 503, 504; not a certificate that nobody trusts.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } => matches!(source.kind, FailureKind::Passing | FailureKind::Unreachable),
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            Self::Short { .. } => true,
            _ => false,
        }
    }

    /// Whether the bytes were wrong: tried once more from the beginning, never oftener.
    #[must_use]
    pub fn is_wrong_content(&self) -> bool {
        matches!(self, Self::Wrong { .. } | Self::Size { .. })
    }

    /// Whether another repository of the same host may have the blob although this one did not give it.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Status { status: 404 | 410, .. } | Self::Denied { .. })
    }

    /// The host that could not be reached at all.
    #[must_use]
    pub fn unreachable(&self) -> Option<&str> {
        match self {
            Self::Transport { host, source: Failure { kind: FailureKind::Unreachable, .. }, .. } => Some(host),
            _ => None,
        }
    }

    /// How long the upstream asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The message with all causes, on one line, for an event.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}

/// Why a request failed before an answer was complete: the innermost cause, which is the one that says something. It holds no URL (a
/// redirect's may hold a signature).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct Failure {
    said: String,
    /// What may come of another try.
    pub kind: FailureKind,
}

/// What may come of another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// A cut, silence: the next try may end otherwise.
    Passing,
    /// Nobody listens, the name is not known, a proxy will not go there: mostly a typo, seldom a server that restarts.
    Unreachable,
    /// The proxy asks for a login that it was not given.
    ProxyLogin,
    /// This machine does not trust who signed its certificate.
    UnknownAuthority,
    /// Its certificate is for another name or another time.
    BadCertificate,
    /// It does not speak TLS.
    NoTls,
    /// It redirects to plain HTTP, which was not allowed.
    PlainHttp,
    /// Too many redirects, a request that cannot be made.
    Final,
}

impl Failure {
    /// Of what the HTTP client says.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let mut innermost: &(dyn std::error::Error + 'static) = error;
        let mut kind = if error.is_builder() || error.is_redirect() { FailureKind::Final } else { FailureKind::Passing };
        if error.is_connect() && error.is_timeout() {
            kind = FailureKind::Unreachable;
        }
        while let Some(cause) = innermost.source() {
            innermost = cause;
            kind = kind_of(cause).unwrap_or(kind);
        }
        let said = match std::error::Error::source(error) {
            Some(_) => innermost.to_string(),
            // The error itself would name the URL.
            None => "the HTTP client gave no reason".to_owned(),
        };
        Self { said, kind }
    }
}

/// The client wraps what TLS, resolver and proxy say too deep to be matched by type: there, their words are asked.
fn kind_of(cause: &(dyn std::error::Error + 'static)) -> Option<FailureKind> {
    use std::io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
    if let Some(error) = cause.downcast_ref::<std::io::Error>()
        && matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable)
    {
        return Some(FailureKind::Unreachable);
    }
    let text = cause.to_string();
    let says = |words: &str| text.contains(words);
    match () {
        () if says("invalid peer certificate: UnknownIssuer") => Some(FailureKind::UnknownAuthority),
        () if says("invalid peer certificate") => Some(FailureKind::BadCertificate),
        () if says("redirects to plain HTTP") => Some(FailureKind::PlainHttp),
        () if says("received corrupt message") => Some(FailureKind::NoTls),
        () if says("proxy authorization required") => Some(FailureKind::ProxyLogin),
        () if says("dns error") || says("tunnel error") => Some(FailureKind::Unreachable),
        () => None,
    }
}
