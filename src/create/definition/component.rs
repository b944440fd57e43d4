//! Components: names, filters, and that no two of them put different things at one path.

use std::collections::BTreeMap;

use super::convert::{Context, platform_list, platform_of, words};
use super::field::{At, Field};
use super::package::{Component, Location};
use super::problem::Problem;
use super::v1::{self, Platforms};
use super::{file, image};
use crate::bundle::contents::{Only, Placement};
use crate::types::{NodePath, Platform};

pub(super) fn components(cx: &Context<'_>, list: &At<Vec<Field<v1::Component>>>) -> Vec<Component> {
    if list.value.is_empty() {
        cx.note(Problem::new(list.at, "a package without a component carries nothing"));
    }
    let mut names: BTreeMap<&str, Location> = BTreeMap::new();
    let mut components = Vec::new();
    for wire in list.value.iter().filter_map(Field::given) {
        if let Some(name) = wire.value.name.given() {
            if let Some(first) = names.get(name.value.as_str()) {
                let cause = format!("the first one is in line {}", first.line);
                cx.note(Problem::new(name.at, format!("two components are named `{}`", name.value)).because(cause));
            }
            names.entry(&name.value).or_insert(name.at);
        }
        components.extend(component(cx, wire));
    }
    paths_are_unique(cx, &components);
    components
}

fn component(cx: &Context<'_>, wire: &At<v1::Component>) -> Option<Component> {
    let name = cx.require(&wire.value.name, "name", wire.at).and_then(|name| cx.parse(name.at, &name.value));
    let only = wire.value.only.value().map(|wire| only(cx, wire)).unwrap_or_default();
    let applies = |platform: &&Platform| only.platforms.is_empty() || only.platforms.contains(platform);
    let platforms: Vec<Platform> = cx.platforms.iter().filter(applies).cloned().collect();
    let images = wire.value.images.value().into_iter().flatten().filter_map(Field::given);
    let images = images.flat_map(|entry| image::entries(cx, entry, &platforms)).collect();
    let files = wire.value.files.value().into_iter().flatten().filter_map(Field::given);
    let files = files.flat_map(|entry| file::entries(cx, entry, &platforms)).collect();
    let optional = wire.value.optional.value().copied().unwrap_or_default();
    Some(Component { at: wire.at, name: name?, only, optional, images, files })
}

fn only(cx: &Context<'_>, wire: &v1::Only) -> Only {
    let platforms = match wire.platform.given() {
        None => Vec::new(),
        Some(At { value: Platforms::One(name), .. }) => vec![platform_of(*name)],
        Some(At { value: Platforms::More(list), at }) => platform_list(cx, &At { at: *at, value: list.clone() }),
    };
    let list = |field: &Field<v1::OneOrMore>| field.given().map(|list| words(cx, list)).unwrap_or_default();
    Only { roles: list(&wire.role), platforms, os: list(&wire.os) }
}

/// Two files at one path would overwrite each other, unless their components never apply to the same node.
fn paths_are_unique(cx: &Context<'_>, components: &[Component]) {
    let mut seen: BTreeMap<(&NodePath, &Platform), Vec<(Location, &Component)>> = BTreeMap::new();
    for component in components {
        for file in &component.files {
            let Placement::File(path) = &file.placement else { continue };
            for platform in file.origins.keys() {
                let earlier = seen.entry((path, platform)).or_default();
                if let Some((first, other)) = earlier.iter().find(|(_, other)| meet(&other.only, &component.only)) {
                    let cause = format!("component `{}` puts a file there in line {}", other.name, first.line);
                    let hint = "leave one out, or let `only` keep their components apart";
                    cx.note(Problem::new(file.at, format!("`{path}` is written twice")).because(cause).hint(hint));
                }
                earlier.push((file.at, component));
            }
        }
    }
}

/// Whether one node can have both.
fn meet(a: &Only, b: &Only) -> bool {
    let common = |a: &[String], b: &[String]| a.is_empty() || b.is_empty() || a.iter().any(|word| b.contains(word));
    common(&a.roles, &b.roles) && common(&a.os, &b.os)
}
