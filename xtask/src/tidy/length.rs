//! How long things get (style.md, 16), and that each file says what it is.

use super::Finding;
use super::source::Source;

/// Longer, and a file has two subjects.
const FILE: usize = 700;
/// Longer, and a function has two subjects.
const FUNCTION: usize = 80;
/// Names that say nothing about what is inside.
const NAMELESS: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "misc"];

/// One file.
pub fn check(source: &Source) -> Vec<Finding> {
    let finding = |line, what| Finding { path: source.path.clone(), line, what };
    let mut findings = Vec::new();
    for word in source.path.split('/').map(|word| word.trim_end_matches(".rs")).filter(|word| NAMELESS.contains(word)) {
        findings.push(finding(1, format!("`{word}` names nothing: split by noun")));
    }
    if source.generated {
        return findings;
    }
    // A file of unit tests says by its name what it is, and by its place of what.
    if !source.documented && !source.path.ends_with("/tests.rs") {
        findings.push(finding(1, "no module doc: say in `//!` what stands here".to_owned()));
    }
    if source.lines > FILE {
        findings.push(finding(1, format!("{} lines, {FILE} are the limit: split by noun", source.lines)));
    }
    for (name, line, lines) in source.functions.iter().filter(|(.., lines)| *lines > FUNCTION) {
        findings.push(finding(*line, format!("`{name}` has {lines} lines, {FUNCTION} are the limit")));
    }
    findings
}

/// Lengths of all files and functions that people wrote.
pub fn report(sources: &[Source]) -> String {
    let written = || sources.iter().filter(|source| !source.generated);
    let files = sorted(written().map(|source| source.lines));
    let functions = sorted(written().flat_map(|source| source.functions.iter().map(|(.., lines)| *lines)));
    let at = |lengths: &[usize], percent: usize| {
        lengths.get((lengths.len() * percent / 100).min(lengths.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    let shape = |lengths: &[usize]| format!("median {}, p90 {}, longest {}", at(lengths, 50), at(lengths, 90), at(lengths, 100));
    let late = if at(&files, 50) > 150 { " (the median is to be at most 150)" } else { "" };
    format!("{} files of {} lines{late}; {} functions of {} lines", files.len(), shape(&files), functions.len(), shape(&functions))
}

fn sorted(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut lengths: Vec<usize> = lengths.collect();
    lengths.sort_unstable();
    lengths
}

#[cfg(test)]
mod tests {
    use crate::tidy::tests::findings;

    #[test]
    fn finds_what_is_too_long_undocumented_or_nameless() {
        let long = format!("//! Doc.\nfn f() {{\n{}}}\n", "    g();\n".repeat(79));
        assert_eq!(findings("src/create/x.rs", &long), ["2: `f` has 81 lines, 80 are the limit"]);
        let inside = format!("//! Doc.\n#[cfg(test)]\nmod tests {{\n#[test]\nfn f() {{\n{}}}\n}}\n", "    g();\n".repeat(79));
        assert_eq!(findings("src/create/x.rs", &inside), ["5: `f` has 81 lines, 80 are the limit"]);
        let file = format!("//! Doc.\n{}", "// line\n".repeat(700));
        assert_eq!(findings("src/create/x.rs", &file), ["1: 701 lines, 700 are the limit: split by noun"]);
        assert_eq!(findings("src/create/x.rs", "fn f() {}\n"), ["1: no module doc: say in `//!` what stands here"]);
        assert_eq!(findings("tests/it/helpers.rs", "//! Doc.\n"), ["1: `helpers` names nothing: split by noun"]);
    }

    #[test]
    fn what_a_program_made_may_be_long() {
        let text = format!("// This file is {}.\n{}", concat!("@", "generated"), "// line\n".repeat(900));
        assert_eq!(findings("src/deploy/x.rs", &text), Vec::<String>::new());
    }
}
