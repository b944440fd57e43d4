//! What stands in one place only (architecture.md, "Invariants").

use super::Finding;
use super::source::Source;

/// What may be named in some places only.
struct Rule {
    /// Whether a resolved name is one that the rule is about.
    is: fn(&[&str]) -> bool,
    /// Where it may stand, by the path of the file.
    may: fn(&Source) -> bool,
    /// Why it may not stand elsewhere.
    why: &'static str,
}

const RULES: [Rule; 7] = [
    Rule { is: is_socket, may: |source| source.room() != "bundle", why: "`bundle` opens no sockets and starts no processes" },
    Rule { is: is_http_client, may: |source| source.path.starts_with("src/create/source"), why: "only create/source names an HTTP client" },
    Rule { is: is_grpc, may: |source| source.path.starts_with("src/deploy/"), why: "only deploy speaks to containerd" },
    Rule { is: is_process, may: |source| source.room() == "command", why: "only command.rs starts child processes" },
    Rule { is: is_file_operation, may: |source| matches!(source.room(), "fs" | "store"), why: "only fs.rs and store name file operations" },
    Rule { is: is_terminal, may: |source| source.room() == "cli", why: "only cli knows arguments, terminals and colours" },
    Rule {
        is: |name| matches!(name, ["std", "process", "ExitCode" | "exit", ..]),
        may: |source| matches!(source.room(), "cli" | "main"),
        why: "only cli knows exit codes",
    },
];

fn is_socket(name: &[&str]) -> bool {
    matches!(
        name,
        ["std" | "tokio", "net" | "process", ..]
            | ["std", "os", "unix", "net", ..]
            | ["rustix", "net", ..]
            | ["hyper" | "hyper_util" | "axum" | "tonic" | "reqwest" | "oci_distribution", ..]
    )
}

fn is_http_client(name: &[&str]) -> bool {
    matches!(name, ["reqwest" | "oci_distribution", ..] | ["hyper" | "hyper_util", "client", ..])
}

fn is_grpc(name: &[&str]) -> bool {
    matches!(name, ["tonic" | "tonic_prost" | "prost" | "prost_types", ..])
}

fn is_process(name: &[&str]) -> bool {
    match name {
        ["std", "process"] | ["tokio", "process", ..] => true,
        ["std", "process", what, ..] => !matches!(*what, "ExitCode" | "ExitStatus" | "exit" | "id"),
        _ => false,
    }
}

/// `std::fs` itself and its functions. Types are what others hold in their hands; how they are opened is what fs.rs names in errors.
fn is_file_operation(name: &[&str]) -> bool {
    match name {
        ["std" | "tokio", "fs"] => true,
        ["std" | "tokio", "fs", "File", function] => matches!(*function, "open" | "create" | "create_new" | "options"),
        ["std" | "tokio", "fs", what, ..] => {
            !matches!(*what, "File" | "Metadata" | "FileType" | "Permissions" | "FileTimes" | "TryLockError")
        }
        _ => false,
    }
}

fn is_terminal(name: &[&str]) -> bool {
    matches!(name, ["clap" | "clap_complete" | "clap_mangen" | "indicatif" | "console" | "rpassword" | "tracing_subscriber", ..])
        || matches!(name, ["std", "io", "IsTerminal", ..])
}

/// Files of wire types: a version is a file, `v1.rs` or `sigstore_v0_3.rs`, or a directory `v1/`.
fn is_wire(source: &Source) -> bool {
    let versioned = |word: &str| {
        let version = word.split_once("_v").map(|(_, version)| version).or_else(|| word.strip_prefix('v'));
        version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
    };
    let stem = source.path.trim_end_matches(".rs");
    stem.split('/').any(versioned) || stem == "src/types/oci" || source.room() == "cli"
}

/// Everything that stands where it must not.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line, what: String| findings.push(Finding { path: source.path.clone(), line, what });
    for (name, line) in &source.names {
        let words: Vec<&str> = name.iter().map(String::as_str).collect();
        for rule in RULES.iter().filter(|rule| (rule.is)(&words) && !(rule.may)(source)) {
            find(*line, format!("`{}`: {}", name.join("::"), rule.why));
        }
    }
    for (name, line) in &source.macros {
        if matches!(name.as_str(), "print" | "println" | "eprint" | "eprintln" | "dbg") && source.room() != "cli" {
            find(*line, format!("`{name}!`: the library reports events and never prints"));
        }
    }
    for (name, line) in &source.derives {
        if matches!(name.as_str(), "Serialize" | "Deserialize" | "JsonSchema") && !is_wire(source) && !source.generated {
            find(*line, format!("`{name}`: wire types stand in versioned files (`v1.rs`) and convert"));
        }
    }
    for line in source.allows.iter().filter(|_| !source.generated) {
        find(*line, "`allow`: write `#[expect(…, reason = \"…\")]`".to_owned());
    }
    findings.sort();
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests {
    use crate::tidy::tests::findings;

    #[test]
    fn finds_what_stands_where_it_must_not() {
        let file = "only fs.rs and store name file operations";
        for (path, text, name, why) in [
            ("src/bundle/x.rs", "use std::net::TcpStream;", "std::net::TcpStream", "`bundle` opens no sockets and starts no processes"),
            ("src/create/x.rs", "fn f() { reqwest::get(); }", "reqwest::get", "only create/source names an HTTP client"),
            ("src/deploy/x.rs", "use oci_distribution::Client;", "oci_distribution::Client", "only create/source names an HTTP client"),
            ("src/registry/x.rs", "use tonic::Status;", "tonic::Status", "only deploy speaks to containerd"),
            ("src/deploy/x.rs", "use std::process::Command;", "std::process::Command", "only command.rs starts child processes"),
            ("src/create/x.rs", "use std::fs;", "std::fs", file),
            ("src/create/x.rs", "use std::fs::read_dir;", "std::fs::read_dir", file),
            ("src/create/x.rs", "use std::fs::OpenOptions;", "std::fs::OpenOptions", file),
            ("src/create/x.rs", "fn f() { std::fs::File::open(\"x\"); }", "std::fs::File::open", file),
            ("src/deploy/x.rs", "fn f() { tokio::fs::write(); }", "tokio::fs::write", file),
            ("src/create/x.rs", "use indicatif::ProgressBar;", "indicatif::ProgressBar", "only cli knows arguments, terminals and colours"),
            ("src/store/x.rs", "#[derive(clap::Args)]\nstruct A;", "", ""),
            ("src/deploy/x.rs", "fn f() { std::process::exit(1) }", "std::process::exit", "only cli knows exit codes"),
        ] {
            let expected = if name.is_empty() { Vec::new() } else { vec![format!("2: `{name}`: {why}")] };
            assert_eq!(findings(path, &format!("//! Doc.\n{text}\n")), expected, "{text}");
        }
    }

    #[test]
    fn sees_through_an_import() {
        let text = "//! Doc.\nuse std::fs::File;\nfn f(f: &File) { File::create(\"x\"); }\n";
        assert_eq!(findings("src/create/x.rs", text), ["3: `std::fs::File::create`: only fs.rs and store name file operations"]);
        assert_eq!(findings("src/store/x.rs", text), Vec::<String>::new());
    }

    #[test]
    fn finds_printing_serde_and_bare_allows() {
        let text =
            "//! Doc.\n#[derive(Debug, Clone, serde::Serialize)]\nstruct S;\n#[allow(dead_code)]\nfn f() {\n    eprintln!(\"x\");\n}\n";
        let serde = "2: `Serialize`: wire types stand in versioned files (`v1.rs`) and convert";
        let allow = "4: `allow`: write `#[expect(…, reason = \"…\")]`";
        let print = "6: `eprintln!`: the library reports events and never prints";
        assert_eq!(findings("src/create/x.rs", text), [serde, allow, print]);
        assert_eq!(findings("src/create/definition/v1.rs", text), [allow, print]);
        assert_eq!(findings("src/deploy/journal_v1.rs", text), [allow, print]);
        assert_eq!(findings("src/bundle/sigstore_v0_3.rs", text), [allow, print]);
        assert_eq!(findings("src/deploy/volumes.rs", text), [serde, allow, print]);
        assert_eq!(findings("src/cli/x.rs", text), [allow]);
    }
}
