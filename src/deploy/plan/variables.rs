//! Values that are known at deploy alone. A sensitive one goes into rendered content and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use super::super::facts::NodeFacts;
use super::super::options::Options;
use super::{Carried, Error};
use crate::types::{Digest, VariableName};

/// Values of one run.
pub struct Values {
    /// By the name that a template uses: parameters of create, variables and node facts. Never printed.
    pub all: BTreeMap<String, String>,
    /// Required ones without a value.
    pub missing: BTreeSet<VariableName>,
    /// To be remembered: given now or before, not sensitive.
    pub remembered: BTreeMap<VariableName, String>,
    /// The digest of all values that are not sensitive.
    pub fingerprint: Digest,
    /// A sensitive value was given, which no fingerprint shows.
    pub secret_given: bool,
    /// What changed since the last deploy, for people.
    pub notes: Vec<String>,
}

/// Names that templates know of the node itself; the rest are parameters and variables.
pub const NODE_FACTS: [&str; 7] =
    ["node.hostname", "node.arch", "node.rpm_arch", "node.os", "node.os_version", "node.platform", "node.role"];

pub fn values(carried: &Carried<'_>, facts: &NodeFacts, options: &Options, role: Option<&str>) -> Result<Values, Error> {
    let variables = &carried.contents.variables;
    if let Some(name) = options.set.keys().find(|name| !variables.contains_key(name)) {
        return Err(Error::NoVariable { name: name.clone(), known: variables.keys().cloned().collect() });
    }
    let before = facts.receipt.as_ref().map(|receipt| receipt.variables.clone()).unwrap_or_default();
    let platform = &facts.identity.platform;
    let node = [
        facts.identity.hostname.as_str(),
        platform.architecture(),
        platform.rpm_architecture(),
        &facts.os.id,
        &facts.os.version,
        &platform.to_string(),
        role.unwrap_or_default(),
    ];
    let mut values = Values {
        all: NODE_FACTS.iter().zip(node).map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect(),
        missing: BTreeSet::new(),
        remembered: BTreeMap::new(),
        fingerprint: Digest::of(b""),
        secret_given: false,
        notes: Vec::new(),
    };
    let parameters = carried.contents.parameters.iter();
    values.all.extend(parameters.filter_map(|(name, values)| Some((name.to_string(), values.get(platform)?.clone()))));
    for (name, variable) in variables {
        let given = options.set.get(name);
        let remembered = before.get(name).filter(|_| !variable.sensitive);
        if let Some(value) = given.or(remembered) {
            if let Some(pattern) = &variable.pattern {
                check(name, pattern, value)?;
            }
            if !variable.sensitive {
                values.remembered.insert(name.clone(), value.clone());
            }
        }
        values.secret_given |= variable.sensitive && given.is_some();
        match given.or(remembered).or(variable.default.as_ref()) {
            Some(value) => drop(values.all.insert(name.to_string(), value.clone())),
            None if variable.required => drop(values.missing.insert(name.clone())),
            // Not required, without a default: it is empty.
            None => drop(values.all.insert(name.to_string(), String::new())),
        }
    }
    if facts.receipt.is_some() && values.remembered != before {
        for (name, value) in &values.remembered {
            if let Some(old) = before.get(name).filter(|old| *old != value) {
                values.notes.push(format!("variable `{name}` changes from `{old}` to `{value}`"));
            }
        }
    }
    let mut seen = values.all.clone();
    for (name, variable) in variables.iter().filter(|(_, variable)| variable.sensitive) {
        seen.insert(name.to_string(), variable.default.clone().unwrap_or_default());
    }
    values.fingerprint = Digest::of(serde_json::json!(seen).to_string().as_bytes());
    Ok(values)
}

fn check(name: &VariableName, pattern: &str, value: &str) -> Result<(), Error> {
    let whole = regex_lite::Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| Error::BadPattern { name: name.clone(), why: error.to_string() })?;
    if whole.is_match(value) { Ok(()) } else { Err(Error::Pattern { name: name.clone(), pattern: pattern.to_owned() }) }
}
