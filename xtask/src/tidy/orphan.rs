//! Files that nobody declares: a merge that drops a `mod` line drops its tests in silence.

use super::{File, Finding};

/// The Rust files that no `mod` leads to, where the file that should declare them is there. Generated ones may be declared by a macro.
pub fn check(files: &[File]) -> Vec<Finding> {
    files.iter().filter(|file| file.is_rust() && !file.is_generated()).filter_map(|file| orphan(file, files)).collect()
}

fn orphan(file: &File, files: &[File]) -> Option<Finding> {
    let stem = file.path.strip_suffix("/mod.rs").or_else(|| file.path.strip_suffix(".rs"))?;
    let (directory, name) = stem.rsplit_once('/')?;
    if matches!(name, "main" | "lib" | "build") {
        return None;
    }
    let parents = ["/mod.rs", "/main.rs", "/lib.rs", ".rs"].map(|end| format!("{directory}{end}"));
    let parents: Vec<&File> = files.iter().filter(|file| parents.contains(&file.path)).collect();
    let declared = |parent: &&File| String::from_utf8_lossy(&parent.bytes).lines().any(|line| declares(line, name));
    if parents.is_empty() || parents.iter().any(declared) {
        return None;
    }
    let by = parents.iter().map(|parent| parent.path.as_str()).collect::<Vec<_>>().join(" or ");
    Some(Finding { path: file.path.clone(), line: 1, what: format!("nobody reads it: {by} has no `mod {name};`") })
}

fn declares(line: &str, name: &str) -> bool {
    let statement = line.trim().strip_suffix(';').unwrap_or_default();
    statement.rsplit_once("mod ").is_some_and(|(before, declared)| declared == name && (before.is_empty() || before.starts_with("pub")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), bytes: text.as_bytes().to_vec() };
        check(&files.iter().map(file).collect::<Vec<_>>()).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn finds_a_file_that_its_parent_does_not_declare() {
        let root = ("src/lib.rs", "pub mod a;\n// mod e;\n");
        let room = ("src/a/mod.rs", "mod b;\n    pub(super) mod c;\n");
        assert_eq!(found(&[root, room, ("src/a/b.rs", ""), ("src/a/c.rs", "mod f;"), ("src/a/c/f.rs", "")]), [] as [&str; 0]);
        assert_eq!(found(&[root, room, ("src/a/d.rs", ""), ("src/e.rs", "")]), ["src/a/d.rs", "src/e.rs"]);
        assert_eq!(found(&[("tests/it/main.rs", "mod x;"), ("tests/it/full_disk.rs", "")]), ["tests/it/full_disk.rs"]);
        // Who could declare it is not there: another rule's business.
        assert_eq!(found(&[("examples/x/y.rs", ""), ("src/main.rs", "")]), [] as [&str; 0]);
    }
}
