//! YAML as a tree in which every node knows its place. Anchors and merge keys are applied; a key that stands twice is kept twice,
//! so that every one can be reported.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use super::package::Location;
use super::problem::Problem;

/// One node of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Where it is written; of an alias, where its anchor is.
    pub at: Location,
    /// What it is.
    pub value: Value,
}

/// What a node is, by the YAML 1.2 core schema: `yes` and `0755` are strings.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// No value.
    Nothing,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    /// A string.
    String(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Where it is written.
    pub at: Location,
    /// Its text, whatever its type.
    pub text: String,
}

impl Value {
    /// What a person calls it: `a list`, `the number 3`.
    pub fn describe(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Bool(value) => format!("`{value}`"),
            Self::Number(text) => format!("the number {text}"),
            Self::String(text) => format!("the string `{}`", shortened(text)),
            Self::List(_) => "a list".to_owned(),
            Self::Mapping(_) => "a mapping".to_owned(),
        }
    }
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > 40 || line.len() < text.trim_end().len() {
        format!("{}…", line.chars().take(40).collect::<String>())
    } else {
        line.to_owned()
    }
}

/// Reads a document. What is no YAML is one problem: nothing after it can be trusted to mean what it seems to.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    let mut options = serde_yaml::Options::default();
    options.strict_booleans = true;
    options.leading_zero_numbers_as_strings = true;
    options.underscored_numbers_as_strings = true;
    options.non_finite_float_policy = serde_yaml::options::NonFiniteFloatPolicy::PassThrough;
    options.duplicate_keys = serde_yaml::options::DuplicateKeyPolicy::PassThrough;
    options.reject_unsupported_tags = true;
    options.with_snippet = false;
    let raw: Spanned<Raw> = serde_yaml::from_str_with_options(text, options).map_err(|error| syntax(&error))?;
    Ok(raw.into_node(text))
}

fn syntax(error: &serde_yaml::Error) -> Problem {
    let location = error.location().map(place);
    if matches!(error.without_snippet(), serde_yaml::Error::MultipleDocuments { .. }) {
        return Problem::new(location, "a second document begins here")
            .hint("a definition is one document: take `---` away, or what follows it");
    }
    let message = error.without_snippet().to_string();
    // The place stands beside the message already.
    let message = match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message,
    };
    Problem::new(location, "this is not YAML that can be read").because(message.trim().to_owned())
}

fn place(location: serde_yaml::Location) -> Location {
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    Location { line: number(location.line()), column: number(location.column()) }
}

/// What the YAML reader hands over, before numbers get their text back.
enum Raw {
    Nothing,
    Bool(bool),
    Number(String),
    String(String),
    List(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

trait IntoNode {
    fn into_node(self, text: &str) -> Node;
}

impl IntoNode for Spanned<Raw> {
    fn into_node(self, text: &str) -> Node {
        let value = match self.value {
            Raw::Nothing => Value::Nothing,
            Raw::Bool(value) => Value::Bool(value),
            Raw::Number(parsed) => Value::Number(written(text, self.defined).unwrap_or(parsed)),
            Raw::String(value) => Value::String(value),
            Raw::List(items) => Value::List(items.into_iter().map(|item| item.into_node(text)).collect()),
            Raw::Mapping(entries) => {
                Value::Mapping(entries.into_iter().map(|(key, value)| (key_of(key.into_node(text)), value.into_node(text))).collect())
            }
        };
        Node { at: place(self.defined), value }
    }
}

/// A number as its author wrote it: `1.30` is not 1.3.
fn written(text: &str, location: serde_yaml::Location) -> Option<String> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    text.get(start..end).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn key_of(node: Node) -> Key {
    let text = match node.value {
        Value::String(text) | Value::Number(text) => text,
        Value::Bool(value) => value.to_string(),
        Value::Nothing => "null".to_owned(),
        Value::List(_) => "[…]".to_owned(),
        Value::Mapping(_) => "{…}".to_owned(),
    };
    Key { at: node.at, text }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(Raw::Mapping(mapping))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    fn outline(node: &Node) -> String {
        let Location { line, column } = node.at;
        match &node.value {
            Value::Mapping(entries) => {
                let entries: Vec<String> =
                    entries.iter().map(|(key, node)| format!("{}@{}:{}={}", key.text, key.at.line, key.at.column, outline(node))).collect();
                format!("{line}:{column}{{{}}}", entries.join(" "))
            }
            Value::List(items) => format!("{line}:{column}[{}]", items.iter().map(outline).collect::<Vec<_>>().join(" ")),
            other => format!("{line}:{column} {}", other.describe()),
        }
    }

    #[test]
    fn scalars_are_what_the_core_schema_says_and_numbers_keep_their_text() {
        for (text, value) in [
            ("yes", string("yes")),
            ("no", string("no")),
            ("on", string("on")),
            ("0755", string("0755")),
            ("1_000", string("1_000")),
            ("true", Value::Bool(true)),
            ("1.30", Value::Number("1.30".to_owned())),
            ("12", Value::Number("12".to_owned())),
            ("\"12\"", string("12")),
            ("~", Value::Nothing),
            (".inf", Value::Number(".inf".to_owned())),
            ("1e999", Value::Number("1e999".to_owned())),
        ] {
            let Value::Mapping(entries) = read(&format!("a: {text}\n")).unwrap().value else { panic!("no mapping") };
            assert_eq!(entries[0].1.value, value, "{text}");
        }
    }

    #[test]
    fn every_node_knows_its_place() {
        assert_eq!(
            outline(&read("a:\n  - b: c\n    d: [1, x]\n").unwrap()),
            "1:1{a@1:1=2:3[2:5{b@2:5=2:8 the string `c` d@3:5=3:8[3:9 the number 1 3:12 the string `x`]}]}"
        );
    }

    #[test]
    fn a_key_that_stands_twice_is_kept_twice() {
        assert_eq!(outline(&read("a: 1\na: 2\n").unwrap()), "1:1{a@1:1=1:4 the number 1 a@2:1=2:4 the number 2}");
    }

    #[test]
    fn aliases_and_merge_keys_are_applied_and_point_to_their_anchor() {
        let node = read("base: &base { x: one, y: two }\nuse:\n  <<: *base\n  y: three\nagain: *base\n").unwrap();
        assert_eq!(
            outline(&node),
            "1:1{base@1:1=1:13{x@1:15=1:18 the string `one` y@1:23=1:26 the string `two`} \
             use@2:1=3:3{y@4:3=4:6 the string `three` x@1:15=1:18 the string `one`} \
             again@5:1=1:13{x@1:15=1:18 the string `one` y@1:23=1:26 the string `two`}}"
        );
    }
}
