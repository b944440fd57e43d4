//! What `coracle deploy` prints for machines, and the file of values that it reads.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::deploy::plan::DeployPlan;
use crate::fs;
use crate::types::VariableName;

/// The plan as one JSON document, in the shape of `cli.md`.
pub fn json(plan: &DeployPlan) -> String {
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| {
            json!({
                "id": step.id,
                "component": step.component.as_ref().map(ToString::to_string),
                "kind": step.kind(),
                "action": step.action.word(),
                "reason": step.reason,
                "bytes": step.bytes,
            })
        })
        .collect();
    let space = plan.space.iter().map(|space| json!({"filesystem": space.file_system, "needs": space.needs, "free": space.free}));
    let document = json!({
        "name": plan.package.to_string(),
        "version": plan.version.to_string(),
        "platform": plan.platform.to_string(),
        "changes": plan.steps.len(),
        "steps": steps,
        "space": space.collect::<Vec<_>>(),
        "notes": plan.notes,
    });
    format!("{document:#}")
}

/// Reads `--vars`: a YAML map of names to strings, numbers or booleans.
pub fn read_vars(path: &Path) -> anyhow::Result<BTreeMap<VariableName, String>> {
    let text = fs::read_to_string(path, 1 << 20)?;
    let invalid = || format!("cannot use the values in `{}`", path.display());
    // As in a definition, `yes` is a string.
    let mut strict = serde_yaml::Options::default();
    strict.strict_booleans = true;
    let values: BTreeMap<String, Value> = serde_yaml::from_str_with_options(&text, strict).with_context(invalid)?;
    let convert = |(name, value): (String, Value)| {
        let value = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => anyhow::bail!("the value of `{name}` is no string, number or boolean"),
        };
        Ok((name.parse()?, value))
    };
    values.into_iter().map(convert).collect::<anyhow::Result<_>>().with_context(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_a_map_of_scalars() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vars.yaml");
        fs::write_atomic(&path, b"address: 192.0.2.10\nport: 6443\nanswer: yes\n", 0o600).unwrap();
        let values: Vec<(String, String)> = read_vars(&path).unwrap().into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        let expected =
            [("address", "192.0.2.10"), ("answer", "yes"), ("port", "6443")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(values, expected);
        fs::write_atomic(&path, b"list: [a]\n", 0o600).unwrap();
        assert_eq!(
            format!("{:#}", read_vars(&path).unwrap_err()).rsplit(": ").next(),
            Some("the value of `list` is no string, number or boolean")
        );
    }
}
