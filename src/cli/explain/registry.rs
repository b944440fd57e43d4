//! The node registry: why it does not start or does not go on.

use std::net::SocketAddr;

use super::Explanation;
use crate::registry::{ContentError, ServeError};

/// Why `coracle registry serve` ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that others can reach.
    #[error("the registry does not listen on `{address}`: it has no TLS and no tokens yet")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be had.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is to be served cannot be read.
    #[error(transparent)]
    Content(ContentError),
    /// The server failed.
    #[error(transparent)]
    Serve(ServeError),
}

/// What it means.
pub fn explain(error: &Error) -> Explanation {
    let (exit, hint) = match error {
        Error::NotLoopback { .. } => (2, Some("listen on 127.0.0.1 or [::1], for example --listen 127.0.0.1:5000".to_owned())),
        Error::Listen { address, source } if source.kind() == std::io::ErrorKind::AddrInUse => (
            1,
            Some(format!(
                "another program listens there, perhaps coracle-registry.service: see `ss -ltnp sport = :{}`, or choose another port with --listen",
                address.port()
            )),
        ),
        Error::Content(ContentError::Store(crate::store::Error::Newer { .. })) => {
            (1, Some("a newer coracle wrote it: run the one in /usr/local/bin".to_owned()))
        }
        Error::Content(ContentError::Names(crate::registry::names::Error::Malformed { .. })) => {
            (1, Some("deploy the package again: it writes the file anew".to_owned()))
        }
        Error::Listen { .. } | Error::Content(_) | Error::Serve(_) => (1, None),
    };
    Explanation { exit, hint, ..Explanation::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_do_next() {
        let address: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        let source = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        let explanation = explain(&Error::Listen { address, source });
        assert_eq!(explanation.exit, 1);
        assert_eq!(
            explanation.hint.as_deref(),
            Some(
                "another program listens there, perhaps coracle-registry.service: see `ss -ltnp sport = :5000`, or choose another port with --listen"
            )
        );
        assert_eq!(explain(&Error::NotLoopback { address: "0.0.0.0:5000".parse().unwrap() }).exit, 2);
    }
}
