//! Create-time parameters: `{name}` in a URL, a reference, a version or a path.

use std::collections::BTreeMap;

use super::problem::nearest;
use crate::types::Platform;

/// What every definition knows without saying so.
pub(super) const BUILT_IN: [&str; 4] = ["arch", "rpm_arch", "os", "version"];

/// The value of one parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parameter {
    /// The same everywhere.
    One(String),
    /// By architecture; one that is missing is a problem where the parameter is declared.
    Each(BTreeMap<String, String>),
    /// What is declared cannot be read, which is reported there.
    Wrong,
}

/// All parameters of a definition.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// Those that are declared.
    pub declared: BTreeMap<String, Parameter>,
    /// `{version}`.
    pub version: String,
}

/// Why a text cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unexpanded {
    /// A message, and what to do.
    Problem(String, String),
    /// Because of something that is reported elsewhere.
    Reported,
}

impl Parameters {
    /// Puts the values for one platform in. Values are taken literally: what looks like a parameter inside one stays.
    pub fn expand(&self, text: &str, platform: &Platform) -> Result<String, Unexpanded> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            let (before, after) = rest.split_at(start);
            let end = after.find('}').ok_or_else(|| {
                Unexpanded::Problem(format!("a `{{` in `{text}` is never closed"), "a parameter is written `{name}`".to_owned())
            })?;
            out.push_str(before);
            out.push_str(&self.value(&after[1..end], platform)?);
            rest = &after[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, name: &str, platform: &Platform) -> Result<String, Unexpanded> {
        match name {
            "arch" => return Ok(platform.architecture().to_owned()),
            "rpm_arch" => return Ok(platform.rpm_architecture().to_owned()),
            "os" => return Ok(platform.os().to_owned()),
            "version" if self.version.is_empty() => return Err(Unexpanded::Reported),
            "version" => return Ok(self.version.clone()),
            _ => {}
        }
        match self.declared.get(name) {
            Some(Parameter::One(value)) => Ok(value.clone()),
            Some(Parameter::Each(values)) => values.get(platform.architecture()).cloned().ok_or(Unexpanded::Reported),
            Some(Parameter::Wrong) => Err(Unexpanded::Reported),
            None => {
                let known = BUILT_IN.iter().copied().chain(self.declared.keys().map(String::as_str));
                let hint = match nearest(name, known) {
                    Some(word) => format!("did you mean `{{{word}}}`?"),
                    None => format!("declare it under `parameters`; built in are {{{}}}", BUILT_IN.join("}, {")),
                };
                Err(Unexpanded::Problem(format!("unknown parameter `{{{name}}}`"), hint))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_what_is_built_in_and_what_is_declared() {
        let each = Parameter::Each(BTreeMap::from([("amd64".to_owned(), String::new()), ("arm64".to_owned(), "-arm64".to_owned())]));
        let parameters = Parameters {
            declared: BTreeMap::from([("k".to_owned(), Parameter::One("v1.{arch}".to_owned())), ("suffix".to_owned(), each)]),
            version: "1.2.3".to_owned(),
        };
        let arm = Platform::linux_arm64();
        for (text, expanded) in [
            ("", ""),
            ("plain", "plain"),
            ("{os}-{arch}-{rpm_arch}-{version}", "linux-arm64-aarch64-1.2.3"),
            ("k3s{suffix}", "k3s-arm64"),
            ("{k}", "v1.{arch}"),
        ] {
            assert_eq!(parameters.expand(text, &arm).unwrap(), expanded);
        }
        assert_eq!(parameters.expand("k3s{suffix}", &Platform::linux_amd64()).unwrap(), "k3s");
        assert!(parameters.expand("{nope}", &arm).is_err());
        assert!(parameters.expand("{arch", &arm).is_err());
    }
}
