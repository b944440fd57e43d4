//! Every file that git carries: text, small, and nothing in it that is true on one machine only.

use super::{File, Finding};

/// Bytes; more, and a test should make it.
const SIZE: usize = 200_000;
/// Hosts that a package manager's own configuration names, written so that this file does not.
const REGISTRIES: [&str; 7] = [
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("proxy.golang", ".org"),
    concat!("registry.npmjs", ".org"),
    concat!("deb.debian", ".org"),
];
/// The one source of crates that Cargo.lock may name.
const CRATES: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// All files.
pub fn check(files: &[File]) -> Vec<Finding> {
    let root = crate::root();
    let beside = root.parent().map(|parent| format!("{}/", parent.display())).filter(|parent| parent.len() > 2);
    // Every machine has a /root, and texts may speak of it; what lies hidden in it is this machine's.
    let home = std::env::var("HOME").ok().filter(|home| home.len() > 1);
    let home = home.map(|home| if home == "/root" { format!("{home}/.") } else { format!("{home}/") });
    let machine: Vec<String> = beside.into_iter().chain(home).collect();
    files.iter().flat_map(|file| check_file(file, &machine)).collect()
}

fn check_file(file: &File, machine: &[String]) -> Vec<Finding> {
    let finding = |line, what| Finding { path: file.path.clone(), line, what };
    let mut findings = Vec::new();
    if file.bytes.len() > SIZE {
        findings.push(finding(1, format!("{} bytes, {SIZE} are the limit: make it where it is needed", file.bytes.len())));
    }
    let text = match std::str::from_utf8(&file.bytes) {
        Ok(text) if !text.contains('\0') => text,
        _ => {
            findings.push(finding(1, "a binary file: tests make what they need".to_owned()));
            return findings;
        }
    };
    for (number, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line)) {
        if let Some(host) = REGISTRIES.iter().find(|host| line.contains(**host)) {
            findings.push(finding(number, format!("names the package registry `{host}`: leave it to the machine's configuration")));
        }
        if let Some(path) = machine.iter().find(|path| line.contains(path.as_str())) {
            findings.push(finding(number, format!("names `{path}`, a path of this machine")));
        }
        if file.path == "Cargo.lock" && line.starts_with("source = ") && !line.contains(CRATES) {
            findings.push(finding(number, "a source other than the registry of crates".to_owned()));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, bytes: &[u8]) -> Vec<String> {
        let file = File { path: path.to_owned(), bytes: bytes.to_vec() };
        check_file(&file, &["/build/of/mine/".to_owned()])
            .into_iter()
            .map(|finding| format!("{}: {}", finding.line, finding.what))
            .collect()
    }

    #[test]
    fn finds_binaries_big_files_hosts_and_paths() {
        assert_eq!(found("x", b"a\0b"), ["1: a binary file: tests make what they need"]);
        assert_eq!(found("x", b"\xff\xfe"), ["1: a binary file: tests make what they need"]);
        assert_eq!(found("x", &vec![b'a'; SIZE + 1]), ["1: 200001 bytes, 200000 are the limit: make it where it is needed"]);
        let host = REGISTRIES[0];
        let expected = format!("2: names the package registry `{host}`: leave it to the machine's configuration");
        assert_eq!(found("x.md", format!("a\nsee https://{host}/simple\n").as_bytes()), [expected]);
        assert_eq!(found("x.md", b"in /build/of/mine/src\n"), ["1: names `/build/of/mine/`, a path of this machine"]);
        assert_eq!(found("Cargo.lock", b"source = \"git+https://example.org/x\"\n"), ["1: a source other than the registry of crates"]);
        assert_eq!(found("Cargo.lock", format!("source = \"{CRATES}\"\n").as_bytes()), Vec::<String>::new());
    }
}
