//! Drift: what someone changed by hand since the receipt was written.

use std::fmt;
use std::path::PathBuf;

use super::facts::Found;
use super::host::EntryKind;
use super::receipt::{Placed, Thing};
use crate::types::FileMode;

/// At most this many lines of each side are shown.
const LINES: usize = 6;

/// One path that is not what the receipt says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Where.
    pub path: PathBuf,
    /// In what it differs.
    pub differences: Vec<Difference>,
}

/// One difference; each reads `should be → is`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// There is nothing.
    Missing,
    /// Something of another kind is there.
    Kind {
        /// What is there.
        is: &'static str,
    },
    /// Other content, with the lines that differ where both are short texts.
    Content {
        /// Lines that should be there.
        removed: Vec<String>,
        /// Lines that are there.
        added: Vec<String>,
    },
    /// Other permission bits.
    Mode {
        /// As they should be.
        wanted: FileMode,
        /// As they are.
        is: FileMode,
    },
    /// Another owner or group.
    Owner {
        /// uid and gid as they should be.
        wanted: (u32, u32),
        /// As they are.
        is: (u32, u32),
    },
    /// A link that points elsewhere.
    Target {
        /// Where it should point.
        wanted: PathBuf,
        /// Where it points.
        is: PathBuf,
    },
}

/// Compares what was placed with what is there. No difference: they match.
#[must_use]
pub fn differences(placed: &Placed, found: Option<&Found>) -> Vec<Difference> {
    let Some(found) = found else { return vec![Difference::Missing] };
    let mut differences = Vec::new();
    match (&placed.what, &found.entry.kind) {
        (Thing::File { digest, .. }, EntryKind::File) => {
            if found.digest != Some(*digest) {
                differences.push(found.texts.as_ref().map_or_else(no_lines, |(wanted, is)| changed_lines(wanted, is)));
            }
        }
        (Thing::Directory, EntryKind::Directory) => {}
        (Thing::Link { target }, EntryKind::Link(is)) if target == is => return Vec::new(),
        (Thing::Link { target }, EntryKind::Link(is)) => {
            return vec![Difference::Target { wanted: target.clone(), is: is.clone() }];
        }
        (_, kind) => return vec![Difference::Kind { is: kind.word() }],
    }
    if placed.mode != found.entry.mode {
        differences.push(Difference::Mode { wanted: FileMode::from_bits(placed.mode), is: FileMode::from_bits(found.entry.mode) });
    }
    if (placed.uid, placed.gid) != (found.entry.uid, found.entry.gid) {
        differences.push(Difference::Owner { wanted: (placed.uid, placed.gid), is: (found.entry.uid, found.entry.gid) });
    }
    differences
}

fn no_lines() -> Difference {
    Difference::Content { removed: Vec::new(), added: Vec::new() }
}

/// The lines between what both texts begin and end with.
fn changed_lines(wanted: &str, is: &str) -> Difference {
    let (wanted, is): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), is.lines().collect());
    let first = wanted.iter().zip(&is).take_while(|(a, b)| a == b).count();
    let (wanted, is) = (&wanted[first..], &is[first..]);
    let last = wanted.iter().rev().zip(is.iter().rev()).take_while(|(a, b)| a == b).count();
    let lines = |lines: &[&str]| {
        let mut shown: Vec<String> = lines[..lines.len() - last].iter().take(LINES).map(|line| (*line).to_owned()).collect();
        let more = (lines.len() - last).saturating_sub(LINES);
        if more > 0 {
            shown.push(format!("… {more} more lines"));
        }
        shown
    };
    Difference::Content { removed: lines(wanted), added: lines(is) }
}

impl EntryKind {
    /// What it is, with its article.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Link(_) => "a symbolic link",
            Self::Other => "a device, socket or pipe",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::Kind { is } => write!(f, "is {is} now"),
            Self::Content { removed, added } => {
                f.write_str("has other content")?;
                removed.iter().try_for_each(|line| write!(f, "\n  - {line}"))?;
                added.iter().try_for_each(|line| write!(f, "\n  + {line}"))
            }
            Self::Mode { wanted, is } => write!(f, "mode {wanted} → {is}"),
            Self::Owner { wanted, is } => write!(f, "owner {}:{} → {}:{}", wanted.0, wanted.1, is.0, is.1),
            Self::Target { wanted, is } => write!(f, "points to `{}` → `{}`", wanted.display(), is.display()),
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.path.display())?;
        for (n, difference) in self.differences.iter().enumerate() {
            write!(f, "{}{difference}", if n == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_lines_between_what_both_texts_share() {
        let drift = Drift { path: "/etc/x".into(), differences: vec![changed_lines("a\nb\nc\n", "a\nB\nB2\nc\n"), Difference::Missing] };
        assert_eq!(drift.to_string(), "`/etc/x` has other content\n  - b\n  + B\n  + B2, is missing");
        let long = "0\n1\n2\n3\n4\n5\n6\n7\n8\n";
        assert_eq!(changed_lines("", long).to_string(), "has other content\n  + 0\n  + 1\n  + 2\n  + 3\n  + 4\n  + 5\n  + … 3 more lines");
    }
}
