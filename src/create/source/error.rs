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
        /// What the HTTP client said, without the URL (a redirect's URL may hold a signature).
        source: reqwest::Error,
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
    /// A failure of the HTTP client, freed of the URL.
    pub(super) fn transport(what: &str, host: &str, source: reqwest::Error) -> Self {
        Self::Transport { what: what.to_owned(), host: host.to_owned(), source: source.without_url() }
    }

    /// Whether another try can end otherwise: a cut, a time-out, 408, 429, 500, 502, 503, 504; not a certificate that nobody trusts.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } => !source.is_builder() && !source.is_redirect() && !is_about_trust(source),
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

/// A certificate that is not trusted, or a server that speaks no TLS, stays so. The client wraps what rustls says too deep to be matched
/// by type: its words are asked.
fn is_about_trust(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if text.contains("invalid peer certificate") || text.contains("received corrupt message") {
            return true;
        }
        cause = error.source();
    }
    false
}
