//! What an error of [`crate::bundle`] means to the person who reads it.

use super::Explanation;
use crate::bundle::Error;

const ALTERED: &str = "the file was damaged or altered after signing; copy it again, then run `coracle verify`";
const FAULT: &str = "this is a fault of coracle or of the program that made the bundle; please report it with the message above";

/// Exit status and hint for a bundle that could not be made, read or used.
pub fn explain(error: &Error) -> Explanation {
    let (exit, hint) = match error {
        Error::File(error) if error.is_no_space() => (1, "make room, or name another place with -o; what was there is as it was"),
        Error::NoSpace { .. } => (1, "make room, or name another place with -o; what was there is as it was"),
        Error::File(_) | Error::Store(_) => (1, "see the cause; then run the same command again"),
        Error::Read { .. } => (1, "the medium may be bad: copy the bundle again, then run `coracle verify`"),
        Error::Write { .. } => (1, "see the cause; nothing was left behind"),
        Error::DamagedInStore { .. } => (1, "it was taken out of the cache; run the same command again and it is fetched anew"),
        Error::NotABundle { .. } => (3, "name a file that `coracle create` made; if it is one, it was cut off: copy it again"),
        Error::Damaged { .. } => (3, ALTERED),
        Error::Untrusted { source, .. } => return super::trust::explain(source),
        Error::Limit { .. } => (3, "no ordinary bundle comes near this limit: do not use the file unless you know who made it so"),
        Error::NotUnderstood { .. } => (3, "bring the coracle that made it: it travels in the bundle's own media directory"),
        Error::Closure { .. } | Error::Document { .. } | Error::Config { .. } | Error::Image(_) => (3, FAULT),
        Error::NotInside { .. } => (1, "see `coracle inspect` for what is inside"),
        Error::Parts(_) => (1, FAULT),
    };
    Explanation { exit, hint: Some(hint.to_owned()), ..Explanation::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::trust;

    #[test]
    fn what_is_refused_ends_with_3_and_what_failed_with_1() {
        let refused = Error::Untrusted { path: "b".into(), source: trust::Error::Unsigned };
        assert_eq!(explain(&refused).exit, 3);
        let full = crate::fs::Error::new("write", "b", std::io::ErrorKind::StorageFull.into());
        let explanation = explain(&Error::File(full));
        assert_eq!(explanation.exit, 1);
        assert!(explanation.hint.unwrap().starts_with("make room"));
    }
}
