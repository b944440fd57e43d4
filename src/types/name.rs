//! Names: of packages, components, variables, and paths on a node.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// Why a text is not the name that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {rule}")]
pub struct InvalidName {
    /// What was written.
    pub text: String,
    /// What it should be, with its article.
    pub what: &'static str,
    /// The rule that it breaks.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $type(String);

        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err(InvalidName { text: text.to_owned(), what: $what, rule: $rule }) }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A package's name: a DNS label, because it becomes a file name, a tag and a label value.
    PackageName, "a package name", "1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit", is_dns_label
);
name!(
    /// A component's name: a DNS label.
    ComponentName, "a component name", "1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit", is_dns_label
);
name!(
    /// A variable's or a parameter's name: what stands in `${{ name }}` and `{name}`.
    VariableName, "a variable name", "a letter or _, then letters, digits and _, at most 63", is_identifier
);

fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_identifier(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// An absolute path on a node, in normal form: no `.`, no `..`, no doubled or trailing slash, not `/` itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodePath(PathBuf);

impl NodePath {
    /// The path, beginning with `/`.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Where it lies when `/` is `root`.
    #[must_use]
    pub fn under(&self, root: &Path) -> PathBuf {
        root.join(self.0.strip_prefix("/").unwrap_or(&self.0))
    }
}

impl FromStr for NodePath {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |rule| InvalidName { text: text.to_owned(), what: "a path on a node", rule };
        if !text.starts_with('/') {
            return Err(invalid("it begins with /"));
        }
        if text.len() > 4095 || text.contains('\0') {
            return Err(invalid("it has at most 4095 bytes, none of them zero"));
        }
        let path = Path::new(text);
        if path.components().any(|part| matches!(part, Component::ParentDir)) || text.split('/').any(|part| part == ".") {
            return Err(invalid("`.` and `..` may not stand in it"));
        }
        if text[1..].split('/').any(str::is_empty) {
            return Err(invalid("no slash is doubled, and none ends it"));
        }
        Ok(Self(path.to_owned()))
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Permission bits, written as a quoted octal string: `"0755"`. At most `07777`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileMode(u32);

impl FileMode {
    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// A mode from its bits; what is above `07777` is dropped.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0o7777)
    }
}

impl FromStr for FileMode {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let invalid =
            || InvalidName { text: text.to_owned(), what: "a file mode", rule: "three or four octal digits in quotes, such as \"0755\"" };
        if !digits {
            return Err(invalid());
        }
        u32::from_str_radix(text, 8).map(Self).map_err(|_| invalid())
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_dns_labels_alone_as_package_names() {
        for good in ["a", "kubeadm-node", "x1"] {
            assert!(good.parse::<PackageName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "a/b", &"a".repeat(64)] {
            assert!(bad.parse::<PackageName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn takes_absolute_paths_in_normal_form() {
        assert_eq!("/opt/cni/bin".parse::<NodePath>().unwrap().under(Path::new("/tmp/root")), Path::new("/tmp/root/opt/cni/bin"));
        for bad in ["", "/", "etc/x", "/etc/../x", "/etc/./x", "/etc//x", "/etc/"] {
            assert!(bad.parse::<NodePath>().is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_modes_as_octal() {
        assert_eq!("0755".parse::<FileMode>().unwrap().bits(), 0o755);
        assert_eq!("644".parse::<FileMode>().unwrap().to_string(), "0644");
        for bad in ["", "0o755", "0888", "75", "07555"] {
            assert!(bad.parse::<FileMode>().is_err(), "{bad}");
        }
    }
}
