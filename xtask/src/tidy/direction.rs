//! Who may know whom (architecture.md, "Dependency direction").
//!
//! ```text
//! main → cli → { create, deploy } → { registry, kubernetes } → bundle → types       create ✗ deploy, either way
//! ```

use super::Finding;
use super::source::Source;

/// Leaves that every room above may use.
const LEAVES: [&str; 6] = ["types", "io", "fs", "event", "store", "command"];

/// What a room may name, besides itself; `None` for a room that is not in the map.
fn known_to(room: &str) -> Option<Vec<&'static str>> {
    let above = |rooms: &[&'static str]| rooms.iter().chain(&LEAVES).copied().collect();
    Some(match room {
        "main" => vec!["cli"],
        "types" => vec![],
        "io" | "fs" | "event" => vec!["types"],
        // What a child that stays writes goes to a file.
        "command" => vec!["types", "fs"],
        "store" => vec!["types", "io", "fs"],
        // It starts no processes, so it does not know who does.
        "bundle" => vec!["types", "io", "fs", "event", "store"],
        "kubernetes" | "registry" => above(&["bundle"]),
        "create" | "deploy" => above(&["bundle", "kubernetes", "registry"]),
        "cli" => above(&["bundle", "kubernetes", "registry", "create", "deploy"]),
        _ => return None,
    })
}

/// Names of rooms that a room may not know.
pub fn check(source: &Source) -> Vec<Finding> {
    let room = source.room();
    if room == "lib" {
        return Vec::new();
    }
    let finding = |line, what| Finding { path: source.path.clone(), line, what };
    let Some(known) = known_to(room) else {
        return vec![finding(1, format!("`{room}` is not in the map of rooms: say in xtask/src/tidy/direction.rs what it may know"))];
    };
    let mut findings = Vec::new();
    for (name, line) in &source.names {
        if let [first, other, ..] = name.as_slice()
            && first == "crate"
            && other != room
            && known_to(other).is_some()
            && !known.contains(&other.as_str())
        {
            findings.push(finding(*line, format!("`{room}` must not know `{other}` (`{}`)", name.join("::"))));
        }
    }
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests {
    use crate::tidy::tests::findings;

    #[test]
    fn finds_a_name_against_the_direction() {
        for (path, text, expected) in [
            ("src/create/x.rs", "use crate::deploy::plan;", "2: `create` must not know `deploy` (`crate::deploy::plan`)"),
            ("src/deploy/x.rs", "fn f() { crate::create::lock(); }", "2: `deploy` must not know `create` (`crate::create::lock`)"),
            ("src/bundle/x.rs", "use crate::{types::Digest, registry};", "2: `bundle` must not know `registry` (`crate::registry`)"),
            ("src/bundle/x.rs", "use crate::command::Command;", "2: `bundle` must not know `command` (`crate::command::Command`)"),
            ("src/registry/mod.rs", "use super::deploy::x;", "2: `registry` must not know `deploy` (`crate::deploy::x`)"),
            ("src/types/x.rs", "use crate::io::CHUNK;", "2: `types` must not know `io` (`crate::io::CHUNK`)"),
            ("src/fs.rs", "use crate::store::Store;", "2: `fs` must not know `store` (`crate::store::Store`)"),
            ("src/event.rs", "struct S(crate::cli::Ui);", "2: `event` must not know `cli` (`crate::cli::Ui`)"),
            ("src/main.rs", "fn main() { coracle::create::run() }", "2: `main` must not know `create` (`crate::create::run`)"),
            ("src/extra.rs", "fn f() {}", "1: `extra` is not in the map of rooms: say in xtask/src/tidy/direction.rs what it may know"),
        ] {
            assert_eq!(findings(path, &format!("//! Doc.\n{text}\n")), [expected]);
        }
    }
}
