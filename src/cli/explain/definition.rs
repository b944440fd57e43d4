//! What is wrong with a definition or with its lock.

use super::Explanation;
use crate::create::{definition, lock};

/// Explains an error of the definition. Its problems bring place, cause and hint themselves.
pub fn explain(error: &definition::Error) -> Explanation {
    let hint = match error {
        definition::Error::Missing { directory } => Some(format!("`coracle init {}` writes one to begin with", directory.display())),
        definition::Error::File(error) if error.is_not_found() => Some("name a definition file, or the directory that holds it".to_owned()),
        definition::Error::Invalid(_) | definition::Error::File(_) => None,
    };
    Explanation { exit: 2, hint, ..Explanation::default() }
}

/// Explains an error of the lock file.
pub fn explain_lock(error: &lock::Error) -> Explanation {
    let hint = match error {
        lock::Error::Newer { .. } => "use the version of coracle that wrote it, or a later one",
        lock::Error::Document(_) | lock::Error::Value { .. } | lock::Error::Twice { .. } => {
            "take it back from version control, or remove it and run `coracle lock`"
        }
    };
    Explanation { exit: 2, hint: Some(hint.to_owned()), ..Explanation::default() }
}
