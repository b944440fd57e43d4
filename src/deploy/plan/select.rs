//! Which components are wanted on this node.

use std::collections::BTreeSet;

use super::super::facts::NodeFacts;
use super::super::options::Options;
use super::super::receipt::Selection;
use super::{Carried, Error};
use crate::bundle::contents::{Component, Only};
use crate::types::ComponentName;

/// What is wanted, and what to say about it.
pub struct Selected<'b> {
    /// Wanted components, in the order of the package; with `--only` those that are touched in this run.
    pub components: Vec<&'b Component>,
    /// All that the node will have, touched or not.
    pub names: Vec<ComponentName>,
    /// To be remembered.
    pub selection: Selection,
    /// To be remembered.
    pub role: Option<String>,
    /// What changed since the last deploy, for people.
    pub notes: Vec<String>,
}

pub fn select<'b>(carried: &Carried<'b>, facts: &NodeFacts, options: &Options) -> Result<Selected<'b>, Error> {
    let contents = carried.contents;
    let known: Vec<ComponentName> = contents.components.iter().map(|component| component.name.clone()).collect();
    if let Some(name) = options.with.iter().chain(&options.without).chain(&options.only).find(|name| !known.contains(name)) {
        return Err(Error::NoComponent { name: name.clone(), known });
    }
    let mut notes = Vec::new();
    let role = role(carried, facts, options, &mut notes)?;
    let remembered = facts.receipt.as_ref().map(|receipt| receipt.selection.clone()).unwrap_or_default();
    let mut selection = remembered.clone();
    selection.with.extend(options.with.iter().chain(&options.only).cloned());
    selection.with.retain(|name| !options.without.contains(name) && known.contains(name));
    selection.without.extend(options.without.iter().cloned());
    selection.without.retain(|name| !options.with.contains(name) && !options.only.contains(name) && known.contains(name));
    // What is on anyway need not be remembered as asked for.
    let optional: BTreeSet<_> =
        contents.components.iter().filter(|component| component.optional).map(|component| &component.name).collect();
    selection.with.retain(|name| optional.contains(name));
    selection.without.retain(|name| !optional.contains(name));
    let wanted = |component: &&'b Component| {
        let asked_for =
            if component.optional { selection.with.contains(&component.name) } else { !selection.without.contains(&component.name) };
        asked_for && applies(&component.only, facts, role.as_deref())
    };
    for name in options.with.iter().chain(&options.only) {
        if contents.components.iter().any(|component| component.name == *name && !applies(&component.only, facts, role.as_deref())) {
            notes.push(format!("component `{name}` is not for this node: its `only` names another role, platform or system"));
        }
    }
    let selected: Vec<&'b Component> = contents.components.iter().filter(wanted).collect();
    let touched = selected.iter().copied().filter(|component| options.only.is_empty() || options.only.contains(&component.name)).collect();
    let before = facts.receipt.as_ref().map(|receipt| receipt.components.clone()).unwrap_or_default();
    let mut names: Vec<ComponentName> = selected.iter().map(|component| component.name.clone()).collect();
    if !options.only.is_empty() {
        names.retain(|name| options.only.contains(name) || before.contains(name));
        names.extend(before.iter().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
    }
    if facts.receipt.is_some() {
        notes.extend(names.iter().filter(|name| !before.contains(name)).map(|name| format!("component `{name}` is new on this node")));
        notes.extend(before.iter().filter(|name| !names.contains(name)).map(|name| format!("component `{name}` leaves this node")));
    }
    Ok(Selected { components: touched, names, selection, role, notes })
}

fn role(carried: &Carried<'_>, facts: &NodeFacts, options: &Options, notes: &mut Vec<String>) -> Result<Option<String>, Error> {
    let known: BTreeSet<String> = carried.contents.components.iter().flat_map(|component| component.only.roles.iter().cloned()).collect();
    let before = facts.receipt.as_ref().and_then(|receipt| receipt.role.clone());
    match options.role.clone().or_else(|| before.clone().filter(|role| known.contains(role))) {
        None if known.is_empty() => Ok(None),
        None => Err(Error::RoleNeeded { package: carried.contents.name.clone(), known }),
        Some(role) if !known.contains(&role) => Err(Error::NoRole { role, known }),
        Some(role) => {
            if let Some(before) = before.filter(|before| *before != role) {
                notes.push(format!("role changes from `{before}` to `{role}`"));
            }
            Ok(Some(role))
        }
    }
}

fn applies(only: &Only, facts: &NodeFacts, role: Option<&str>) -> bool {
    let any = |list: &[String], value: &str| list.is_empty() || list.iter().any(|entry| entry == value);
    any(&only.roles, role.unwrap_or_default())
        && any(&only.os, &facts.os.id)
        && (only.platforms.is_empty() || only.platforms.contains(&facts.identity.platform))
}
