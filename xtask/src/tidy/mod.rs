//! The structure that lints cannot see: who may know whom, what stands in one place only, how long things get.
//!
//! ```text
//! git ls-files ─read→ File ─parse→ Source (paths resolved, test code left out) ─rules→ Finding
//! ```
//!
//! The rules are absences (architecture.md, "Invariants"): a rule fires on what must not be there. Each has a test that shows it fire.

mod absence;
mod direction;
mod length;
mod orphan;
mod source;
mod text;

use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};

use crate::{child, file};
use source::Source;

/// One thing that is where it must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the root of the repository.
    pub path: String,
    /// Counts from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// A file of the repository.
pub struct File {
    /// From the root of the repository.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Checks the repository.
pub fn run() -> Result<()> {
    let files = read(&crate::root())?;
    let (findings, report) = check(&files)?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings", findings.len());
    }
    println!("tidy: {report}");
    Ok(())
}

/// All rules over all files, and a line about lengths.
fn check(files: &[File]) -> Result<(Vec<Finding>, String)> {
    let mut findings = [text::check(files), orphan::check(files)].concat();
    let rust = files.iter().filter(|file| file.is_rust()).map(Source::parse).collect::<Result<Vec<_>>>()?;
    let test_files: Vec<String> = rust.iter().flat_map(|source| source.test_modules.iter().cloned()).collect();
    for source in &rust {
        let in_tests = !source.path.starts_with("src/") || test_files.iter().any(|stem| source.is_module(stem));
        findings.extend(length::check(source));
        if !in_tests {
            findings.extend(direction::check(source));
            findings.extend(absence::check(source));
        }
    }
    findings.sort();
    Ok((findings, length::report(&rust)))
}

/// What git knows or would take.
fn read(root: &Path) -> Result<Vec<File>> {
    let list = child::output(child::command("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    let mut files = Vec::new();
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        let whole = root.join(path);
        if whole.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            files.push(File { path: path.to_owned(), bytes: file::read(&whole)? });
        }
    }
    Ok(files)
}

impl File {
    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    /// Made by a program, and says so in its first lines: nobody reads it from the top.
    fn is_generated(&self) -> bool {
        let head = &self.bytes[..self.bytes.len().min(400)];
        String::from_utf8_lossy(head).lines().take(5).any(|line| line.contains(concat!("@", "generated")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `check` finds in one file, without the path.
    pub fn findings(path: &str, text: &str) -> Vec<String> {
        let files = [File { path: path.to_owned(), bytes: text.as_bytes().to_vec() }];
        let (findings, _) = check(&files).unwrap();
        findings.into_iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect()
    }

    #[test]
    fn a_file_that_belongs_where_it_stands_has_no_findings() {
        let text = "//! Doc.\nuse crate::types::Digest;\npub fn f(d: Digest) -> Digest { d }\n";
        assert_eq!(findings("src/bundle/x.rs", text), Vec::<String>::new());
    }

    #[test]
    fn test_code_may_use_what_it_needs() {
        let text =
            "//! Doc.\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn t() { std::fs::write(\"x\", \"y\").unwrap(); println!(); }\n}\n";
        assert_eq!(findings("src/bundle/x.rs", text), Vec::<String>::new());
        let parent = File { path: "src/bundle/mod.rs".to_owned(), bytes: b"//! Doc.\n#[cfg(test)]\nmod fixture;\n".to_vec() };
        let child = File { path: "src/bundle/fixture.rs".to_owned(), bytes: b"//! Doc.\nfn f() { println!() }\n".to_vec() };
        assert_eq!(check(&[parent, child]).unwrap().0, Vec::new());
    }
}
