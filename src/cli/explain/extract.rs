//! An item that cannot be taken out of a bundle.

use super::Explanation;
use crate::bundle::extract::Error;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const REFUSED: u8 = 3;
/// So many names are listed in a hint.
const NAMES: usize = 10;

/// What it means, and what to do.
pub fn explain(error: &Error) -> Explanation {
    let (exit, hint) = match error {
        Error::NoImage { carried, .. } if carried.is_empty() => (USAGE, Some("it carries no image at all".to_owned())),
        Error::NoImage { carried, .. } => {
            let names: Vec<String> = carried.iter().take(NAMES).map(ToString::to_string).collect();
            (USAGE, Some(format!("it carries {}; `coracle inspect BUNDLE images` lists all", names.join(", "))))
        }
        Error::NoFile { .. } => (USAGE, Some("`coracle inspect BUNDLE files` lists what it carries".to_owned())),
        Error::Platform { carried, .. } => {
            let names: Vec<String> = carried.iter().map(|platform| format!("--platform {platform}")).collect();
            (USAGE, Some(format!("say {}", names.join(" or "))))
        }
        Error::Ambiguous { .. } => (FAILED, Some("it cannot be told which one is meant".to_owned())),
        Error::Exists { .. } => (USAGE, Some("name a directory that is not there yet, or a file that ends with .tar".to_owned())),
        Error::Content { source, .. } if source.kind() == std::io::ErrorKind::InvalidData => {
            (REFUSED, Some("the file was damaged or altered after signing; copy it again, then run `coracle verify`".to_owned()))
        }
        Error::Bundle(error) => return super::bundle::explain(error),
        Error::Content { .. } | Error::File(_) => (FAILED, None),
    };
    Explanation { exit, hint, ..Explanation::default() }
}
