//! Deploys: what a refusal or a failure means, and what to do.

use super::{Explanation, bundle, containerd};
use crate::cli::command::deploy::NobodyToAsk;
use crate::deploy::host::linux::containerd as seeding;
use crate::deploy::plan::{Error as PlanError, Space};
use crate::deploy::{apply, archive, facts, host, journal, receipt};

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const REFUSED: u8 = 3;

const AGAIN: &str = "run the same command again: it goes on where it stopped";

fn explanation(exit: u8, cause: Option<String>, hint: impl Into<String>) -> Explanation {
    Explanation { exit, place: None, cause, hint: Some(hint.into()) }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn lines<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join("\n")
}

/// Nobody can be asked.
pub fn explain_nobody(_: &NobodyToAsk) -> Explanation {
    explanation(USAGE, None, "nothing was changed; add --yes, or --plan to see the changes alone")
}

/// Why there is no plan.
pub fn explain_plan(error: &PlanError) -> Explanation {
    match error {
        PlanError::Platform { carried, .. } => {
            explanation(USAGE, Some(format!("the bundle carries {}", list(carried))), "create the bundle with this platform in `platforms`")
        }
        PlanError::Downgrade { .. } => explanation(REFUSED, None, "carry the newer bundle here; --allow-downgrade deploys the older one"),
        PlanError::OtherKeys { bound, signed_by, .. } => {
            let signed = if signed_by.is_empty() { "nobody who is trusted".to_owned() } else { list(signed_by) };
            explanation(
                REFUSED,
                Some(format!("it is bound to {}, this bundle is signed by {signed}", list(bound))),
                "ask the sender by another way whether the key changed; have the new bundle signed by the old key as well (coracle sign)",
            )
        }
        PlanError::NoComponent { known, .. } => explanation(USAGE, None, format!("its components are {}", list(known))),
        PlanError::RoleNeeded { known, .. } | PlanError::NoRole { known, .. } => {
            explanation(USAGE, None, format!("give one with --role: {}", list(known)))
        }
        PlanError::NoVariable { known, .. } => explanation(USAGE, None, format!("its variables are {}", list(known))),
        PlanError::VariablesNeeded { names } => {
            let first = names.first().map(ToString::to_string).unwrap_or_default();
            explanation(USAGE, None, format!("give them with --set {first}=VALUE or --vars FILE"))
        }
        PlanError::Pattern { name, .. } => explanation(USAGE, None, format!("give another one with --set {name}=VALUE")),
        PlanError::BadPattern { .. } | PlanError::Template { .. } | PlanError::Twice { .. } | PlanError::Unpacked { .. } => {
            explanation(FAILED, None, "the package is at fault: correct its coracle.yaml and create the bundle again")
        }
        PlanError::NoAccount { kind, name, .. } => explanation(FAILED, None, format!("make the {kind} `{name}` first")),
        PlanError::NeedsRoot { .. } => explanation(FAILED, None, "run the command as root"),
        PlanError::Held { holder, .. } => {
            explanation(REFUSED, None, format!("one of the two packages must give it up; `{holder}` has it now"))
        }
        PlanError::InTheWay { .. } => explanation(FAILED, None, "move it away, then deploy again"),
        PlanError::Drift { drift } => explanation(
            REFUSED,
            Some(lines(drift)),
            "--on-drift overwrite makes them what the package says and keeps what they held; --on-drift keep leaves them as they are",
        ),
        PlanError::TagsHeld { held } => {
            let flags: Vec<String> = held.iter().map(|held| format!("--move-tag {}", held.reference)).collect();
            explanation(REFUSED, Some(lines(held)), format!("nothing was changed; {} moves it here", flags.join(" ")))
        }
        PlanError::NoImage { known, .. } if known.is_empty() => explanation(USAGE, None, "it has none: leave --move-tag out"),
        PlanError::NoImage { known, .. } => explanation(USAGE, None, format!("its images are {}", list(known))),
        PlanError::NoSpace { space } => no_space(space),
    }
}

fn no_space(space: &[Space]) -> Explanation {
    explanation(FAILED, Some(lines(space)), "nothing outside the store was changed; make room, then deploy again")
}

/// Why a deploy stopped.
pub fn explain(error: &apply::Error) -> Explanation {
    match error {
        apply::Error::Host(error) | apply::Error::Step { source: error, .. } => explain_host(error),
        apply::Error::Archive { source, .. } | apply::Error::Unlisted(source) => explain_archive(source),
        apply::Error::InTheWay { .. } => explanation(FAILED, None, format!("move it away, then {AGAIN}")),
        apply::Error::Held { .. } | apply::Error::Twice { .. } => {
            explanation(REFUSED, None, "two packages or components want one path: correct a coracle.yaml and create its bundle again")
        }
        apply::Error::NoSpace { space } => no_space(space),
        apply::Error::Stage(source) => explain_stage(source.as_ref()),
        apply::Error::Journal(error) => explain_journal(error),
        apply::Error::Store(_) => explanation(FAILED, None, AGAIN),
    }
}

fn explain_stage(source: &(dyn std::error::Error + Send + Sync + 'static)) -> Explanation {
    if let Some(error) = source.downcast_ref() {
        return bundle::explain(error);
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(source);
    while let Some(error) = cause {
        let damaged = error.downcast_ref::<std::io::Error>().is_some_and(|error| crate::io::mismatch(error).is_some());
        if damaged || error.is::<crate::io::Mismatch>() {
            return explanation(REFUSED, None, "the file was damaged or altered after signing; copy it again, then run `coracle verify`");
        }
        cause = error.source();
    }
    explanation(FAILED, None, format!("nothing outside the store was changed; then {AGAIN}"))
}

fn explain_archive(error: &archive::Error) -> Explanation {
    match error {
        archive::Error::Read(_) => {
            explanation(FAILED, None, "is it packed as its name says? correct the package and create the bundle again")
        }
        archive::Error::Member { .. } => {
            explanation(REFUSED, None, "nothing of it was written; name the wanted `members`, or carry another archive")
        }
        archive::Error::Missing { .. } | archive::Error::Empty => {
            explanation(FAILED, None, "look at the names with `tar -tf`, correct `members` or `strip`, and create the bundle again")
        }
    }
}

/// The node could not be looked at or changed.
pub fn explain_host(error: &host::Error) -> Explanation {
    match error {
        host::Error::Containerd(error) => explain_containerd(error),
        host::Error::Locked { .. } => explanation(FAILED, None, "wait until it has ended, then run the command again"),
        host::Error::NoRoot { .. } => explanation(
            USAGE,
            None,
            "nothing was made; --root takes the directory that was deployed into: `coracle deploy BUNDLE --root DIR` makes it where it is missing",
        ),
        host::Error::File(error) if error.is_no_space() => explanation(FAILED, None, format!("make room, then {AGAIN}")),
        host::Error::File(error) if error.source.kind() == std::io::ErrorKind::PermissionDenied => {
            explanation(FAILED, None, format!("run the command as root, or deploy into a directory with --root DIR; {AGAIN}"))
        }
        host::Error::Registry { .. } => explanation(
            FAILED,
            None,
            "look at `journalctl -u coracle-registry` or /var/lib/coracle/registry.log, and at who has the port: `ss -ltnp sport = :5000`",
        ),
        host::Error::File(_) | host::Error::Command(_) | host::Error::Store(_) | host::Error::Links { .. } | host::Error::Killed { .. } => {
            explanation(FAILED, None, AGAIN)
        }
    }
}

fn explain_containerd(error: &seeding::Error) -> Explanation {
    containerd::explain(error)
}

/// The node cannot be looked at.
pub fn explain_facts(error: &facts::Error) -> Explanation {
    match error {
        facts::Error::Host(error) => explain_host(error),
        facts::Error::Receipt(error) => explain_receipt(error),
        facts::Error::Journal(error) => explain_journal(error),
        facts::Error::Names(_) => explanation(FAILED, None, "use the newer coracle that wrote it, or move the file away and deploy again"),
        facts::Error::Store(_) => explanation(FAILED, None, "look at /var/lib/coracle/store and its file system"),
    }
}

/// A receipt cannot be read.
pub fn explain_receipt(error: &receipt::Error) -> Explanation {
    match error {
        receipt::Error::Host(error) => explain_host(error),
        receipt::Error::Newer { .. } => explanation(FAILED, None, "use the newer coracle that wrote it: /usr/local/bin/coracle"),
        receipt::Error::Malformed { .. } => {
            explanation(FAILED, None, "move the file away: the next deploy finds what is there and writes it anew")
        }
    }
}

fn explain_journal(error: &journal::Error) -> Explanation {
    match error {
        journal::Error::Host(error) => explain_host(error),
        journal::Error::Newer { .. } => explanation(FAILED, None, "use the newer coracle that wrote it: /usr/local/bin/coracle"),
        journal::Error::Malformed { .. } => explanation(FAILED, None, "move the file away: the next deploy looks at everything anew"),
    }
}

/// A bundle cannot be planned.
pub fn explain_bundle(error: &crate::deploy::bundle::Error) -> Explanation {
    use crate::deploy::bundle::Error;
    match error {
        Error::Facts(error) => explain_facts(error),
        Error::Plan(error) => explain_plan(error),
        Error::Template { .. } => explanation(REFUSED, None, "the file was damaged or altered after signing, or is no text; copy it again"),
        Error::Bundle(error) => bundle::explain(error),
    }
}
