//! The JSON schema of the definition, for editors. It is made from the types that read the file.

use schemars::generate::SchemaSettings;

use super::v1::Definition;

/// The schema (draft 2020-12).
#[must_use]
pub fn schema() -> serde_json::Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Definition>().to_value()
}
