//! The connected side as a whole, the cache, and files.

use super::{Explanation, FAILED, USAGE, bundle, definition, source};
use crate::create::Error;
use crate::{fs, store};

/// Why no bundle was made.
pub fn explain(error: &Error) -> Explanation {
    match error {
        Error::Definition(error) => definition::explain(error),
        Error::Lock { source, .. } => definition::explain_lock(source),
        Error::NoLock { .. } => Explanation::new(USAGE, "`coracle lock` writes it; commit it beside the definition"),
        Error::StaleLock { definition, stale, .. } => {
            let place = |entry: &crate::create::lock::Stale| {
                format!("{}:{}:{}, component `{}`: {entry}", definition.display(), entry.at.line, entry.at.column, entry.component)
            };
            Explanation {
                place: Some(stale.iter().map(place).collect::<Vec<_>>().join("\n")),
                ..Explanation::new(USAGE, "`coracle lock` pins what is new, and changes nothing else; or leave --locked out")
            }
        }
        Error::LockDiffers { .. } => Explanation::new(
            USAGE,
            "a local file, an archive or a tool that travels has changed: `coracle lock` pins what is here now; or leave --locked out",
        ),
        Error::Source(error) => source::explain(error),
        Error::Resolve(error) => source::explain_resolve(error),
        Error::Fetch(error) => source::explain_fetch(error),
        Error::WrongTool { platform, .. } => {
            Explanation::new(USAGE, format!("name the static program that `cargo xtask dist` makes: --tool {platform}=PATH"))
        }
        Error::Bundle(error) => bundle::explain(error),
        Error::Store(error) => explain_store(error),
        Error::File(error) => explain_file(error),
    }
}

/// A store that cannot give or take a blob.
pub fn explain_store(error: &store::Error) -> Explanation {
    match error {
        store::Error::File(error) => explain_file(error),
        store::Error::Write { source, .. } if is_full(source) => full(),
        store::Error::Write { .. } | store::Error::Read { .. } => Explanation::plain(FAILED),
        store::Error::Mismatch(_) | store::Error::Missing { .. } => {
            Explanation::new(FAILED, "run the same command again: a damaged blob is fetched anew")
        }
        store::Error::Newer { .. } => Explanation::new(FAILED, "use the newer coracle that wrote it, or name another directory"),
    }
}

/// A file operation that failed.
pub fn explain_file(error: &fs::Error) -> Explanation {
    if error.is_no_space() { full() } else { Explanation::plain(FAILED) }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

fn full() -> Explanation {
    Explanation::new(FAILED, "the file system is full: make room and run the same command again; what was verified so far is kept")
}
