//! Platforms: operating system and architecture (OCI image-spec, `image-index.md`).

use std::fmt;
use std::str::FromStr;

/// An operating system, an architecture in Go's words, and perhaps a variant: `linux/amd64`, `linux/arm64`, `linux/arm/v7`.
///
/// Normalised as containerd does: `linux/arm64/v8` is `linux/arm64`, `x86_64` is `amd64`, `aarch64` is `arm64`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// A platform from its parts, normalised.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let architecture = match architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let variant = match (architecture, variant) {
            (_, None | Some("")) | ("arm64", Some("v8" | "8")) | ("amd64", Some("v1")) => None,
            (_, Some(variant)) => Some(variant.to_owned()),
        };
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant }
    }

    /// `linux/amd64`.
    #[must_use]
    pub fn linux_amd64() -> Self {
        Self::new("linux", "amd64", None)
    }

    /// `linux/arm64`.
    #[must_use]
    pub fn linux_arm64() -> Self {
        Self::new("linux", "arm64", None)
    }

    /// The platforms that a package may name.
    #[must_use]
    pub fn supported() -> [Self; 2] {
        [Self::linux_amd64(), Self::linux_arm64()]
    }

    /// The platform that this program was built for.
    #[must_use]
    pub fn of_this_program() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    /// `linux`.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// Go's word: `amd64`, `arm64`.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// `v7` of `linux/arm/v7`.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// RPM's word for the architecture: `x86_64`, `aarch64`.
    #[must_use]
    pub fn rpm_architecture(&self) -> &str {
        match self.architecture.as_str() {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            other => other,
        }
    }
}

/// The text is not `OS/ARCHITECTURE` or `OS/ARCHITECTURE/VARIANT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform (such as linux/amd64 or linux/arm64)")]
pub struct InvalidPlatform(pub String);

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let word =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.');
        match parts.as_slice() {
            [os, architecture] if parts.iter().all(word) => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] if parts.iter().all(word) => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(InvalidPlatform(text.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_as_containerd_does() {
        for (written, canonical) in [
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm/v7", "linux/arm/v7"),
            ("linux/amd64", "linux/amd64"),
        ] {
            assert_eq!(written.parse::<Platform>().unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn refuses_half_a_platform() {
        for text in ["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "Linux/amd64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
