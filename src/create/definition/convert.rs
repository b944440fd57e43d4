//! From the wire types to a [`Package`]: names, parameters, variables. Components are in [`super::component`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use super::field::{At, Entries, Field};
use super::package::{Location, Package, SourceFile};
use super::parameter::{BUILT_IN, Parameter, Parameters, Unexpanded};
use super::problem::{Problem, nearest};
use super::tree::{Node, Value};
use super::v1::{Definition, OneOrMore, PerPlatform, PlatformName, Target as WireTarget, Variable as WireVariable};
use super::{Beside, Choices, component};
use crate::bundle::contents::{OperatingSystem, Target, Variable};
use crate::types::{Platform, VariableName};

/// What every part of the conversion needs, and where it notes what is wrong.
pub(super) struct Context<'a> {
    /// The directory of the definition.
    pub directory: &'a Path,
    /// The text of the definition.
    pub text: &'a str,
    /// The files there.
    pub beside: &'a dyn Beside,
    /// Platforms that are wanted, sorted.
    pub platforms: Vec<Platform>,
    /// Create-time parameters.
    pub parameters: Parameters,
    /// Those that templates name.
    pub in_templates: RefCell<BTreeSet<String>>,
    /// Deploy-time variables, also those that are wrong.
    pub variables: BTreeSet<String>,
    problems: RefCell<Vec<Problem>>,
}

impl Context<'_> {
    pub fn note(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Reports a field that must be there.
    pub fn require<'f, T>(&self, field: &'f Field<T>, name: &str, of: Location) -> Option<&'f At<T>> {
        if field.is_absent() {
            self.note(Problem::new(of, format!("`{name}` is missing")));
        }
        field.given()
    }

    /// Parses a text into a newtype; its own error is the message.
    pub fn parse<T: FromStr>(&self, at: Location, text: &str) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        text.parse().map_err(|error: T::Err| self.note(Problem::new(at, error.to_string()))).ok()
    }

    /// Puts parameters in, for each of some platforms.
    pub fn expand(&self, at: Location, text: &str, platforms: &[Platform]) -> Option<BTreeMap<Platform, String>> {
        let mut expanded = BTreeMap::new();
        for platform in platforms {
            match self.parameters.expand(text, platform) {
                Ok(text) => expanded.insert(platform.clone(), text),
                Err(Unexpanded::Problem(message, hint)) => {
                    self.note(Problem::new(at, message).hint(hint));
                    return None;
                }
                Err(Unexpanded::Reported) => return None,
            };
        }
        Some(expanded)
    }

    /// Puts parameters into a text that must be the same on every platform.
    fn expand_once(&self, text: &At<String>) -> Option<String> {
        let mut values: Vec<String> = self.expand(text.at, &text.value, &self.platforms)?.into_values().collect();
        values.dedup();
        if values.len() > 1 {
            let message = format!("`{}` differs per architecture", text.value);
            self.note(Problem::new(text.at, message).because("this is said once, for every platform"));
            return None;
        }
        values.pop()
    }
}

/// The wire types as a package. `None`, or with problems noted: there is none.
pub(super) fn convert(
    file: &Arc<SourceFile>,
    definition: &Definition,
    choices: &Choices<'_>,
    beside: &dyn Beside,
    problems: &mut Vec<Problem>,
) -> Option<Package> {
    let root = Location { line: 1, column: 1 };
    let mut cx = Context {
        directory: &file.directory,
        text: &file.text,
        beside,
        platforms: Platform::supported().to_vec(),
        parameters: Parameters::default(),
        in_templates: RefCell::default(),
        variables: BTreeSet::new(),
        problems: RefCell::new(std::mem::take(problems)),
    };
    cx.require(&definition.api_version, "apiVersion", root);
    cx.require(&definition.kind, "kind", root);
    if let Some(platforms) = platforms(&cx, definition, choices, root) {
        cx.platforms = platforms;
    }
    let metadata = cx.require(&definition.metadata, "metadata", root);
    let name = metadata.and_then(|m| cx.require(&m.value.name, "metadata.name", m.at)).and_then(|n| cx.parse(n.at, &n.value));
    let version = metadata.and_then(|m| cx.require(&m.value.version, "metadata.version", m.at)).and_then(|v| package_version(&cx, v));
    let description = metadata.and_then(|m| m.value.description.value()).cloned().unwrap_or_default();
    cx.parameters = Parameters {
        declared: parameters(&cx, &definition.parameters, choices),
        version: version.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    let variables = variables(&cx, &definition.variables);
    cx.variables = definition.variables.value().map(|v| v.0.iter().map(|(name, _)| name.value.clone()).collect()).unwrap_or_default();
    let target = definition.target.value().map(|wire| target(&cx, wire)).unwrap_or_default();
    let components = cx.require(&definition.components, "components", root).map(|list| component::components(&cx, list));
    let parameters = in_templates(&cx);
    *problems = cx.problems.into_inner();
    Some(Package {
        file: Arc::clone(file),
        name: name?,
        version: version?,
        description,
        platforms: cx.platforms,
        target,
        parameters,
        variables,
        components: components?,
    })
}

/// The parameters that templates name, with their values. A value that is missing was reported where the parameter is declared.
fn in_templates(cx: &Context<'_>) -> BTreeMap<VariableName, BTreeMap<Platform, String>> {
    let value = |name: &str, platform: &Platform| cx.parameters.expand(&format!("{{{name}}}"), platform).ok();
    let values = |name: &str| cx.platforms.iter().filter_map(|platform| Some((platform.clone(), value(name, platform)?))).collect();
    cx.in_templates.borrow().iter().filter_map(|name| Some((name.parse().ok()?, values(name)))).collect()
}

pub(super) fn platform_of(name: PlatformName) -> Platform {
    match name {
        PlatformName::Amd64 => Platform::linux_amd64(),
        PlatformName::Arm64 => Platform::linux_arm64(),
    }
}

/// A list of platforms, sorted, each once, at least one.
pub(super) fn platform_list(cx: &Context<'_>, list: &At<Vec<Field<PlatformName>>>) -> Vec<Platform> {
    if list.value.is_empty() {
        cx.note(Problem::new(list.at, "no platform is named").hint("name linux/amd64, linux/arm64 or both"));
    }
    let mut platforms: Vec<Platform> = Vec::new();
    for name in list.value.iter().filter_map(Field::given) {
        let platform = platform_of(name.value);
        if platforms.contains(&platform) {
            cx.note(Problem::new(name.at, format!("{platform} stands twice")));
        } else {
            platforms.push(platform);
        }
    }
    platforms.sort();
    platforms
}

fn platforms(cx: &Context<'_>, definition: &Definition, choices: &Choices<'_>, root: Location) -> Option<Vec<Platform>> {
    let list = cx.require(&definition.platforms, "platforms", root)?;
    let written = platform_list(cx, list);
    for chosen in choices.platforms.iter().filter(|chosen| !written.contains(chosen)) {
        let have = written.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        cx.note(Problem::new(list.at, format!("the package is not made for {chosen}")).because(format!("it names {have}")));
    }
    let wanted: Vec<Platform> =
        written.into_iter().filter(|platform| choices.platforms.is_empty() || choices.platforms.contains(platform)).collect();
    (!wanted.is_empty()).then_some(wanted)
}

fn package_version(cx: &Context<'_>, text: &At<String>) -> Option<semver::Version> {
    let hint = "a version is MAJOR.MINOR.PATCH, perhaps with a pre-release: 1.4.0, 1.4.0-rc.1";
    match semver::Version::parse(&text.value) {
        Ok(version) if version.build.is_empty() => Some(version),
        Ok(_) => {
            let cause = "a version becomes an image tag, where `+` cannot stand";
            cx.note(Problem::new(text.at, format!("`{}` has build metadata", text.value)).because(cause).hint(hint));
            None
        }
        Err(error) => {
            cx.note(Problem::new(text.at, format!("`{}` is not a SemVer version", text.value)).because(error.to_string()).hint(hint));
            None
        }
    }
}

fn parameters(cx: &Context<'_>, field: &Field<Entries<PerPlatform>>, choices: &Choices<'_>) -> BTreeMap<String, Parameter> {
    let mut declared = BTreeMap::new();
    for (name, value) in field.value().map(|entries| entries.0.as_slice()).unwrap_or_default() {
        let valid = cx.parse::<VariableName>(name.at, &name.value).is_some();
        if valid && BUILT_IN.contains(&name.value.as_str()) {
            cx.note(Problem::new(name.at, format!("`{}` is built in", name.value)).hint("choose another name"));
        }
        let chosen = choices.parameters.iter().rfind(|(chosen, _)| *chosen == name.value).map(|(_, value)| value);
        let parameter = match (chosen, value.given()) {
            (Some(value), _) => Parameter::One(value.clone()),
            (None, Some(At { at, value })) => parameter(cx, *at, &name.value, value),
            (None, None) => Parameter::Wrong,
        };
        declared.insert(name.value.clone(), parameter);
    }
    for (name, _) in choices.parameters.iter().filter(|(name, _)| !declared.contains_key(name)) {
        let hint = nearest(name, declared.keys().map(String::as_str)).map(|word| format!("did you mean `{word}`?"));
        let hint = hint.unwrap_or_else(|| "declare it under `parameters`".to_owned());
        cx.note(Problem::new(None, format!("`--param {name}=…` names no parameter")).hint(hint));
    }
    declared
}

fn parameter(cx: &Context<'_>, at: Location, name: &str, value: &PerPlatform) -> Parameter {
    match value {
        PerPlatform::One(value) => Parameter::One(value.clone()),
        PerPlatform::Each(each) => {
            let mut values = BTreeMap::new();
            for platform in &cx.platforms {
                let architecture = platform.architecture();
                let field = if architecture == "amd64" { &each.amd64 } else { &each.arm64 };
                if field.is_absent() {
                    cx.note(Problem::new(at, format!("parameter `{name}` has no value for {architecture}")));
                }
                values.extend(field.value().map(|value| (architecture.to_owned(), value.clone())));
            }
            Parameter::Each(values)
        }
    }
}

fn variables(cx: &Context<'_>, field: &Field<Entries<WireVariable>>) -> BTreeMap<VariableName, Variable> {
    let mut variables = BTreeMap::new();
    for (name, value) in field.value().map(|entries| entries.0.as_slice()).unwrap_or_default() {
        let parsed: Option<VariableName> = cx.parse(name.at, &name.value);
        if cx.parameters.declared.contains_key(&name.value) {
            let cause = "a parameter is known at create, a variable at deploy";
            cx.note(Problem::new(name.at, format!("`{}` is a parameter already", name.value)).because(cause).hint("rename one of them"));
        }
        if let (Some(name), Some(value)) = (parsed, value.value()) {
            variables.insert(name, variable(cx, value));
        }
    }
    variables
}

fn variable(cx: &Context<'_>, wire: &WireVariable) -> Variable {
    if let Some(pattern) = wire.pattern.given() {
        match regex_lite::Regex::new(&format!("^(?:{})$", pattern.value)) {
            Ok(regex) => {
                // An empty default says that there is no value: it need not match.
                for (what, text) in [("default", wire.default.given()), ("example", wire.example.given())] {
                    if let Some(text) = text.filter(|text| !text.value.is_empty() && !regex.is_match(&text.value)) {
                        let message = format!("the {what} `{}` does not match the variable's own pattern", text.value);
                        cx.note(Problem::new(text.at, message).because(format!("the pattern is {}", pattern.value)));
                    }
                }
            }
            Err(error) => cx.note(Problem::new(pattern.at, "the pattern is no regular expression").because(error.to_string())),
        }
    }
    Variable {
        description: wire.description.value().cloned().unwrap_or_default(),
        default: wire.default.value().cloned(),
        required: wire.required.value().copied().unwrap_or_default(),
        pattern: wire.pattern.value().cloned(),
        sensitive: wire.sensitive.value().copied().unwrap_or_default(),
        example: wire.example.value().cloned(),
    }
}

fn target(cx: &Context<'_>, wire: &WireTarget) -> Target {
    let kubernetes = wire.kubernetes.given().and_then(|text| {
        let expanded = cx.expand_once(text)?;
        let version = semver::Version::parse(expanded.strip_prefix('v').unwrap_or(&expanded));
        version
            .map_err(|error| {
                let hint = "the exact patch, such as \"1.34.4\"";
                cx.note(Problem::new(text.at, format!("`{expanded}` is not a Kubernetes version")).because(error.to_string()).hint(hint));
            })
            .ok()
    });
    let mut os = Vec::new();
    for system in wire.os.value().into_iter().flatten().filter_map(Field::given) {
        let Some(ids) = cx.require(&system.value.id, "id", system.at) else { continue };
        let version = system.value.version.given().and_then(|version| cx.expand_once(version));
        os.push(OperatingSystem { ids: words(cx, ids), version });
    }
    Target { kubernetes, os }
}

/// One string or more, none of them empty.
pub(super) fn words(cx: &Context<'_>, list: &At<OneOrMore>) -> Vec<String> {
    let words: Vec<(Location, &String)> = match &list.value {
        OneOrMore::One(word) => vec![(list.at, word)],
        OneOrMore::More(words) => words.iter().filter_map(Field::given).map(|word| (word.at, &word.value)).collect(),
    };
    for (at, _) in words.iter().filter(|(_, word)| word.is_empty()) {
        cx.note(Problem::new(*at, "an empty word names nothing"));
    }
    words.into_iter().map(|(_, word)| word.clone()).collect()
}

/// Says of each problem which component it is in.
pub(super) fn name_components(root: &Node, problems: &mut [Problem]) {
    let Value::Mapping(entries) = &root.value else { return };
    let Some(position) = entries.iter().position(|(key, _)| key.text == "components") else { return };
    let Value::List(components) = &entries[position].1.value else { return };
    let end = entries.iter().map(|(key, _)| key.at).filter(|at| *at > entries[position].0.at).min();
    for problem in problems {
        let Some(at) = problem.at.filter(|at| end.is_none_or(|end| *at < end)) else { continue };
        let inside = components.iter().rfind(|component| component.at <= at);
        problem.component = inside.and_then(|component| match &component.value {
            Value::Mapping(entries) => entries.iter().find_map(|(key, node)| match &node.value {
                Value::String(name) if key.text == "name" => Some(name.clone()),
                _ => None,
            }),
            _ => None,
        });
    }
}
