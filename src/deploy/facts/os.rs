//! `/etc/os-release` (os-release(5)).

use crate::bundle::contents::OperatingSystem;

/// The distribution of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OsRelease {
    /// `ID`: `fedora`.
    pub id: String,
    /// `VERSION_ID`: `42`; empty where there is none.
    pub version: String,
    /// `PRETTY_NAME`, for people.
    pub pretty_name: String,
}

impl OsRelease {
    /// Reads the file's text; what is missing is empty.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
            line.map(|value| value.trim_matches(['"', '\'']).to_owned()).unwrap_or_default()
        };
        Self { id: value("ID"), version: value("VERSION_ID"), pretty_name: value("PRETTY_NAME") }
    }

    /// Whether a line of `target.os` speaks of it: `9` means any 9.x.
    #[must_use]
    pub fn is(&self, target: &OperatingSystem) -> bool {
        let version = |wanted: &String| {
            self.version == *wanted || self.version.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        target.ids.contains(&self.id) && target.version.as_ref().is_none_or(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_major_version_means_any_minor_one() {
        let os = OsRelease::parse("NAME=x\nID=\"rocky\"\nVERSION_ID='9.5'\nPRETTY_NAME=\"Rocky Linux 9.5\"\n");
        assert_eq!(os, OsRelease { id: "rocky".into(), version: "9.5".into(), pretty_name: "Rocky Linux 9.5".into() });
        for (version, is) in [(None, true), (Some("9"), true), (Some("9.5"), true), (Some("9.50"), false), (Some("95"), false)] {
            let target = OperatingSystem { ids: vec!["rhel".into(), "rocky".into()], version: version.map(str::to_owned) };
            assert_eq!(os.is(&target), is, "{version:?}");
        }
    }
}
