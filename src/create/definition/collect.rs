//! A serde deserializer over a [`Node`] tree that notes every problem and goes on, where serde by itself stops at the first.
//!
//! Three habits make that possible:
//! - unknown and repeated keys are noted and left out before the wire type sees them;
//! - a [`super::field::Field`] whose value cannot be read is noted and becomes `Wrong`, and its neighbours are read all the same;
//! - an enum with the variants `string`, `mapping` and `list` is chosen by what the node is: that is how `images` takes both a
//!   reference and a mapping without guessing.

use std::cell::RefCell;

use serde::de::value::{StrDeserializer, U32Deserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer as _, Visitor};
use serde::forward_to_deserialize_any;

use super::field::AT;
use super::package::Location;
use super::problem::{Problem, nearest, suggest};
use super::tree::{Key, Node, Value};

/// Reads a wire type, and everything that is wrong with it.
pub(super) fn collect<T: de::DeserializeOwned>(node: &Node) -> (Option<T>, Vec<Problem>) {
    let problems = RefCell::new(Vec::new());
    let value = T::deserialize(Reader { node, problems: &problems });
    let mut problems = problems.into_inner();
    let value = value.map_err(|failure| problems.push(failure.at(node))).ok();
    (value, problems)
}

/// Keys that later versions know, by the wire type that they will be in.
const LATER: [(&str, &[&str]); 7] = [
    ("Definition", &["repositories", "tools", "discovery"]),
    (
        "Component",
        &[
            "rpms",
            "kernel",
            "services",
            "run",
            "remove",
            "manifests",
            "charts",
            "health",
            "users",
            "groups",
            "containerd",
            "kubeadm",
            "modules",
        ],
    ),
    ("ImageEntry", &["verify"]),
    ("FileEntry", &["selinux", "link", "directory", "on_drift"]),
    ("Variable", &[]),
    ("PerArchitecture", &["from"]),
    ("Metadata", &[]),
];

struct Failure(Problem);

impl Failure {
    fn at(mut self, node: &Node) -> Problem {
        self.0.at = self.0.at.or(Some(node.at));
        self.0
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(Problem::new(None, message.to_string()))
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    problems: &'a RefCell<Vec<Problem>>,
}

impl<'a> Reader<'a> {
    fn note(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    fn expected(&self, what: &str) -> Failure {
        let found = self.node.value.describe();
        let problem = Problem::new(self.node.at, format!("expected {what}, found {found}"));
        Failure(match (&self.node.value, what) {
            (Value::Number(text), _) if what.contains("a string") => problem.hint(format!("put it in quotes: \"{text}\"")),
            (Value::Bool(value), _) if what.contains("a string") => problem.hint(format!("put it in quotes: \"{value}\"")),
            (Value::String(text), "true or false") => problem.hint_if(match text.to_lowercase().as_str() {
                "yes" | "on" | "y" => Some("write `true`".to_owned()),
                "no" | "off" | "n" => Some("write `false`".to_owned()),
                "true" | "false" => Some("write it without quotes".to_owned()),
                _ => None,
            }),
            (Value::Nothing, _) => problem.hint("give it a value, or leave the key out"),
            _ => problem,
        })
    }

    /// The entries of a mapping, each key once.
    fn entries(&self) -> Option<Vec<(&'a Key, &'a Node)>> {
        let Value::Mapping(entries) = &self.node.value else { return None };
        let mut unique: Vec<(&Key, &Node)> = Vec::new();
        for (key, value) in entries {
            match unique.iter().find(|(seen, _)| seen.text == key.text) {
                Some((first, _)) => self.note(
                    Problem::new(key.at, format!("the key `{}` stands twice", key.text))
                        .because(format!("it stands in line {} already", first.at.line))
                        .hint("keep one of them"),
                ),
                None => unique.push((key, value)),
            }
        }
        Some(unique)
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Nothing => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(text) | Value::String(text) => visitor.visit_str(text),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Mapping(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.expected("true or false")),
        }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let number = match &self.node.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        };
        visitor.visit_u32(number.ok_or_else(|| self.expected("a whole number from 0 on"))?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::String(text) => visitor.visit_str(text),
            _ => Err(self.expected("a string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let Value::List(items) = &self.node.value else { return Err(self.expected("a list")) };
        visitor.visit_seq(Items { items: items.iter(), problems: self.problems })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let entries = self.entries().ok_or_else(|| self.expected("a mapping"))?;
        visitor.visit_map(Mapping { entries: entries.into_iter(), value: None, problems: self.problems })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let mut entries = self.entries().ok_or_else(|| self.expected("a mapping"))?;
        entries.retain(|(key, _)| {
            let known = fields.contains(&key.text.as_str());
            if !known {
                self.note(unknown_key(name, key, fields));
            }
            known
        });
        visitor.visit_map(Mapping { entries: entries.into_iter(), value: None, problems: self.problems })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Failure> {
        if name == AT {
            let Location { line, column } = self.node.at;
            let parts = [line, column].into_iter();
            visitor.visit_seq(Placed { parts, value: Some(self) })
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if variants.iter().all(|variant| KINDS.contains(variant)) {
            let kind = match &self.node.value {
                Value::String(_) => "string",
                Value::List(_) => "list",
                Value::Mapping(_) => "mapping",
                Value::Nothing | Value::Bool(_) | Value::Number(_) => "",
            };
            if !variants.contains(&kind) {
                let kinds: Vec<String> = variants.iter().map(|kind| format!("a {kind}")).collect();
                return Err(self.expected(&kinds.join(" or ")));
            }
            return visitor.visit_enum(ByKind { kind, reader: self });
        }
        let Value::String(text) = &self.node.value else { return Err(self.expected("a string")) };
        if !variants.contains(&text.as_str()) {
            let hint = format!("write `{}`", variants.join("` or `"));
            return Err(Failure(Problem::new(self.node.at, format!("`{text}` is not known here")).hint(hint)));
        }
        visitor.visit_enum(text.as_str().into_deserializer())
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u64 u128 f32 f64 char bytes byte_buf option unit unit_struct
        tuple tuple_struct identifier ignored_any
    }
}

/// Variants that are chosen by what a node is.
const KINDS: [&str; 3] = ["string", "mapping", "list"];

fn unknown_key(name: &str, key: &Key, fields: &'static [&'static str]) -> Problem {
    let later = LATER.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, keys)| keys);
    let text = key.text.as_str();
    if later.contains(&text) {
        return Problem::new(key.at, format!("`{text}` is not supported yet by this version"))
            .hint("leave it out, or use a version of coracle that knows it");
    }
    // The right word may be one that is not supported yet: saying so spares a second error.
    let hint = match nearest(text, fields.iter().chain(later).copied()) {
        Some(word) if later.contains(&word) => format!("`{word}`, which it may mean, is not supported yet by this version"),
        _ => suggest(text, fields),
    };
    Problem::new(key.at, format!("unknown key `{text}`")).hint(hint)
}

struct Items<'a> {
    items: std::slice::Iter<'a, Node>,
    problems: &'a RefCell<Vec<Problem>>,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some(node) = self.items.next() else { return Ok(None) };
        seed.deserialize(Reader { node, problems: self.problems }).map(Some).map_err(|failure| Failure(failure.at(node)))
    }
}

struct Mapping<'a> {
    entries: std::vec::IntoIter<(&'a Key, &'a Node)>,
    value: Option<&'a Node>,
    problems: &'a RefCell<Vec<Problem>>,
}

impl<'de> de::MapAccess<'de> for Mapping<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(KeyReader(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Failure> {
        let node = self.value.take().ok_or_else(|| de::Error::custom("a value is read once after its key"))?;
        seed.deserialize(Reader { node, problems: self.problems }).map_err(|failure| Failure(failure.at(node)))
    }
}

/// A key, with or without its place.
struct KeyReader<'a>(&'a Key);

impl<'de> Deserializer<'de> for KeyReader<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_str(&self.0.text)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failure> {
        let Location { line, column } = self.0.at;
        visitor.visit_seq(Placed { parts: [line, column].into_iter(), value: Some(StrDeserializer::<Failure>::new(&self.0.text)) })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Line, column, value: what a [`super::field::Field`] is read from. A value that cannot be read is noted and missing.
struct Placed<D> {
    parts: std::array::IntoIter<u32, 2>,
    value: Option<D>,
}

trait Noting {
    fn note_failure(&self, failure: Failure);
}

impl Noting for Reader<'_> {
    fn note_failure(&self, failure: Failure) {
        self.note(failure.at(self.node));
    }
}

impl Noting for StrDeserializer<'_, Failure> {
    /// A key is read as a string, which it is.
    fn note_failure(&self, _: Failure) {}
}

impl<'de, D: Deserializer<'de, Error = Failure> + Noting + Copy> de::SeqAccess<'de> for Placed<D> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        if let Some(part) = self.parts.next() {
            return seed.deserialize(U32Deserializer::new(part)).map(Some);
        }
        let Some(value) = self.value.take() else { return Ok(None) };
        match seed.deserialize(value) {
            Ok(value) => Ok(Some(value)),
            Err(failure) => {
                value.note_failure(failure);
                Ok(None)
            }
        }
    }
}

struct ByKind<'a> {
    kind: &'static str,
    reader: Reader<'a>,
}

impl<'de, 'a> de::EnumAccess<'de> for ByKind<'a> {
    type Error = Failure;
    type Variant = Reader<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Reader<'a>), Failure> {
        Ok((seed.deserialize(StrDeserializer::<Failure>::new(self.kind))?, self.reader))
    }
}

impl<'de> de::VariantAccess<'de> for Reader<'_> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        Err(self.expected("a value"))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_map(visitor)
    }
}
