//! File entries: where the bytes come from, and where they go.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::Entry;
use super::convert::Context;
use super::field::{At, Field};
use super::package::{FileEntry, FileOrigin, Location};
use super::problem::{Problem, nearest};
use super::template::{NODE_FACTS, placeholders};
use super::v1::{self, Extract, PerPlatform};
use crate::bundle::contents::{ArchiveFormat, Placement};
use crate::types::{Digest, NodePath, Platform};

/// The entries that one written entry stands for: more than one where its path has `{arch}` in it.
pub(super) fn entries(cx: &Context<'_>, wire: &At<v1::FileEntry>, platforms: &[Platform]) -> Vec<FileEntry> {
    let entry = &wire.value;
    exclusive(cx, wire.at, ("source", entry.source.is_absent()), ("content", entry.content.is_absent()));
    exclusive(cx, wire.at, ("path", entry.path.is_absent()), ("extract", entry.extract.is_absent()));
    let template = entry.template.value().copied().unwrap_or_default();
    let mode = entry.mode.given().and_then(|mode| cx.parse(mode.at, &mode.value));
    let owner = entry.owner.given().and_then(|name| account(cx, name));
    let group = entry.group.given().and_then(|name| account(cx, name));
    combinations(cx, entry, template);
    let mut origins = origins(cx, entry, platforms);
    if template {
        templates(cx, entry, &origins);
    }
    let mut placements: Vec<(Placement, Vec<Platform>)> = Vec::new();
    for (platform, placement) in placements_of(cx, entry, platforms) {
        match placements.iter_mut().find(|(seen, _)| *seen == placement) {
            Some((_, platforms)) => platforms.push(platform),
            None => placements.push((placement, vec![platform])),
        }
    }
    placements
        .into_iter()
        .map(|(placement, platforms)| FileEntry {
            at: wire.at,
            placement,
            mode,
            owner: owner.clone(),
            group: group.clone(),
            template,
            origins: platforms.iter().filter_map(|platform| origins.remove_entry(platform)).collect(),
        })
        .filter(|entry| !entry.origins.is_empty())
        .collect()
}

fn exclusive(cx: &Context<'_>, at: Location, (first, no_first): (&str, bool), (second, no_second): (&str, bool)) {
    if no_first && no_second {
        cx.note(Problem::new(at, format!("neither `{first}` nor `{second}` is given")).hint("a file needs one of them"));
    } else if !no_first && !no_second {
        cx.note(Problem::new(at, format!("`{first}` and `{second}` exclude each other")).hint("keep one of them"));
    }
}

/// What does not go together, each at the key that is too much.
fn combinations(cx: &Context<'_>, entry: &v1::FileEntry, template: bool) {
    if let (Some(extract), false) = (entry.extract.given(), entry.content.is_absent()) {
        cx.note(Problem::new(extract.at, "text that is written here is no archive").hint("give the archive as `source`"));
    }
    if let (Some(sha256), false) = (entry.sha256.given(), entry.content.is_absent()) {
        cx.note(Problem::new(sha256.at, "content that is written here needs no `sha256`").hint("leave it out"));
    }
    let Some(at) = entry.template.given().map(|template| template.at).filter(|_| template) else { return };
    if !entry.extract.is_absent() {
        cx.note(Problem::new(at, "an archive is no template").hint("carry the file that is a template by itself"));
    } else if entry.source.value().is_some_and(|source| source.contains("://")) {
        let problem = Problem::new(at, "a template from a URL is not supported yet by this version");
        cx.note(problem.hint("put the file beside coracle.yaml: then its names are checked at create"));
    }
}

/// A user or a group: a name as useradd takes it, or a number.
fn account(cx: &Context<'_>, name: &At<String>) -> Option<String> {
    let text = name.value.as_str();
    let number = text.parse::<u32>().is_ok() && text.bytes().all(|b| b.is_ascii_digit());
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let word =
        text.len() <= 32 && text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit() || matches!(c, '-' | '.'));
    if number || word {
        return Some(name.value.clone());
    }
    cx.note(Problem::new(name.at, format!("`{text}` is no name of a user or group, and no number")));
    None
}

fn placements_of(cx: &Context<'_>, entry: &v1::FileEntry, platforms: &[Platform]) -> BTreeMap<Platform, Placement> {
    if let Some(extract) = entry.extract.given() {
        return extractions(cx, extract, platforms);
    }
    entry
        .path
        .given()
        .map(|path| node_paths(cx, path, platforms))
        .unwrap_or_default()
        .into_iter()
        .map(|(p, path)| (p, Placement::File(path)))
        .collect()
}

fn node_paths(cx: &Context<'_>, path: &At<String>, platforms: &[Platform]) -> BTreeMap<Platform, NodePath> {
    let expanded = cx.expand(path.at, &path.value, platforms).unwrap_or_default();
    expanded.into_iter().filter_map(|(platform, text)| Some((platform, cx.parse(path.at, &text)?))).collect()
}

fn extractions(cx: &Context<'_>, extract: &At<Extract>, platforms: &[Platform]) -> BTreeMap<Platform, Placement> {
    let Some(into) = cx.require(&extract.value.into, "into", extract.at) else { return BTreeMap::new() };
    let strip = extract.value.strip.value().copied().unwrap_or_default();
    let mut by_directory: BTreeMap<NodePath, BTreeMap<Platform, Vec<String>>> = BTreeMap::new();
    for (platform, into) in node_paths(cx, into, platforms) {
        by_directory.entry(into).or_default().insert(platform, Vec::new());
    }
    for member in extract.value.members.value().into_iter().flatten().filter_map(Field::given) {
        for (platform, name) in cx.expand(member.at, &member.value, platforms).unwrap_or_default() {
            if let Some(why) = member_fault(&name, strip) {
                cx.note(Problem::new(member.at, format!("`{name}` is no member of an archive")).because(why));
            }
            for members in by_directory.values_mut().filter_map(|directory| directory.get_mut(&platform)) {
                members.push(name.clone());
            }
        }
    }
    if let Some(At { at, .. }) = extract.value.members.given().filter(|members| members.value.is_empty()) {
        cx.note(Problem::new(*at, "no member is named").hint("name some, or leave `members` out to take all"));
    }
    let mut placements = BTreeMap::new();
    for (into, members) in by_directory {
        for platform in members.keys() {
            placements.insert(platform.clone(), Placement::Extract { into: into.clone(), members: members.clone(), strip });
        }
    }
    placements
}

fn member_fault(name: &str, strip: u32) -> Option<String> {
    let parts: Vec<&str> = name.trim_end_matches('/').split('/').collect();
    if name.starts_with('/') || parts.iter().any(|part| part.is_empty() || *part == "..") {
        return Some("it is a relative path without `..`".to_owned());
    }
    let strip = usize::try_from(strip).unwrap_or(usize::MAX);
    (parts.len() <= strip).then(|| format!("`strip: {strip}` would leave nothing of its name"))
}

fn origins(cx: &Context<'_>, entry: &v1::FileEntry, platforms: &[Platform]) -> BTreeMap<Platform, FileOrigin> {
    if let Some(content) = entry.content.value() {
        return platforms.iter().map(|platform| (platform.clone(), FileOrigin::Inline(content.clone()))).collect();
    }
    let digests = entry.sha256.given().map(|sha256| digests(cx, sha256, platforms)).unwrap_or_default();
    let Some(source) = entry.source.given() else { return BTreeMap::new() };
    let mut origins = BTreeMap::new();
    for (platform, text) in cx.expand(source.at, &source.value, platforms).unwrap_or_default() {
        let sha256 = digests.get(&platform).copied();
        let origin = if text.contains("://") {
            url(cx, source.at, &text).map(|url| FileOrigin::Url { url, sha256 })
        } else {
            local(cx, source.at, &text, &[Entry::File]).map(|path| FileOrigin::Local { path, written: text.clone(), sha256 })
        };
        if let Some(origin) = origin {
            if !entry.extract.is_absent() && ArchiveFormat::of_name(name_of(&origin)).is_none() {
                let problem = Problem::new(source.at, format!("`{}` is no archive by its name", name_of(&origin)));
                cx.note(problem.because("an archive ends in .tar, .tar.gz, .tgz, .tar.zst or .tzst"));
            }
            origins.insert(platform, origin);
        }
    }
    origins
}

fn name_of(origin: &FileOrigin) -> &str {
    let path = match origin {
        FileOrigin::Url { url, .. } => url.path(),
        FileOrigin::Local { written, .. } => written,
        FileOrigin::Inline(_) => "",
    };
    path.rsplit('/').next().unwrap_or(path)
}

fn digests(cx: &Context<'_>, sha256: &At<PerPlatform>, platforms: &[Platform]) -> BTreeMap<Platform, Digest> {
    let each = match &sha256.value {
        PerPlatform::One(text) => {
            let digest = digest(cx, sha256.at, text);
            return platforms.iter().filter_map(|platform| Some((platform.clone(), digest?))).collect();
        }
        PerPlatform::Each(each) => each,
    };
    let mut digests = BTreeMap::new();
    let mut missing = Vec::new();
    for platform in platforms {
        let field = if platform.architecture() == "amd64" { &each.amd64 } else { &each.arm64 };
        if field.is_absent() {
            missing.push(platform.architecture());
        }
        digests.extend(field.given().and_then(|text| digest(cx, text.at, &text.value)).map(|digest| (platform.clone(), digest)));
    }
    if !missing.is_empty() {
        let message = format!("`sha256` has no value for {}", missing.join(" and "));
        let hint = "give one for each platform that the file applies to, or none at all: the lock pins what is seen first";
        cx.note(Problem::new(sha256.at, message).hint(hint));
    }
    digests
}

fn digest(cx: &Context<'_>, at: Location, text: &str) -> Option<Digest> {
    if let Ok(digest) = Digest::from_hex(text) {
        return Some(digest);
    }
    let count = text.chars().count();
    let (cause, hint) = if text.starts_with("sha256:") {
        ("it has an algorithm before it".to_owned(), "leave `sha256:` out")
    } else if count != 64 {
        (format!("it has {count} characters, and 64 hex digits are needed"), "sha256sum prints it")
    } else if text.bytes().any(|b| b.is_ascii_uppercase()) {
        ("it has upper-case letters".to_owned(), "write it in lower case")
    } else {
        ("it has characters that are no hex digits".to_owned(), "sha256sum prints it")
    };
    cx.note(Problem::new(at, format!("`{text}` is no SHA-256")).because(cause).hint(hint));
    None
}

/// An http or https URL. One with a user or a password in it is refused, and is not repeated in the message.
fn url(cx: &Context<'_>, at: Location, text: &str) -> Option<url::Url> {
    let problem = match url::Url::parse(text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            let problem = Problem::new(at, "a URL may not have user information in it");
            problem.because("the definition is carried in the bundle").hint("put the login into ~/.netrc, where create looks it up")
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") => return Some(url),
        Ok(url) => Problem::new(at, format!("`{}` is no scheme that create can fetch", url.scheme()))
            .hint("http and https are; a local file is named by its path beside coracle.yaml"),
        Err(error) => Problem::new(at, "this is not a URL").because(error.to_string()),
    };
    cx.note(problem);
    None
}

/// A path beside the definition, which must be there.
pub(super) fn local(cx: &Context<'_>, at: Location, written: &str, allowed: &[Entry]) -> Option<PathBuf> {
    let relative = Path::new(written);
    if written.is_empty() || relative.is_absolute() {
        let hint = "a local file is named relative to coracle.yaml, so that the definition means the same on every machine";
        cx.note(Problem::new(at, format!("`{written}` is no path beside the definition")).hint(hint));
        return None;
    }
    let path: PathBuf = cx.directory.components().chain(relative.components()).filter(|part| *part != Component::CurDir).collect();
    let problem = match cx.beside.look(&path) {
        Ok(Some(entry)) if allowed.contains(&entry) => return Some(path),
        Ok(Some(_)) => Problem::new(at, format!("`{written}` is a directory")).hint("name a file"),
        Ok(None) => Problem::new(at, format!("there is no file `{written}`")).because(format!("looked for it at {}", path.display())),
        Err(error) => Problem::new(at, error.to_string()).because(error.source.to_string()),
    };
    cx.note(problem);
    None
}

/// Names in templates are checked now: on the isolated side it would be too late.
fn templates(cx: &Context<'_>, entry: &v1::FileEntry, origins: &BTreeMap<Platform, FileOrigin>) {
    if let Some(content) = entry.content.given() {
        template(cx, content.at, None, &content.value);
    }
    let Some(source) = entry.source.given() else { return };
    let mut seen: Vec<&Path> = Vec::new();
    for origin in origins.values() {
        let FileOrigin::Local { path, written, .. } = origin else { continue };
        if seen.contains(&path.as_path()) {
            continue;
        }
        seen.push(path);
        match cx.beside.read(path) {
            Ok(text) => template(cx, source.at, Some(written), &text),
            Err(error) => cx.note(Problem::new(source.at, error.to_string()).because(error.source.to_string())),
        }
    }
}

/// The place of a line of inline content: exact for a block scalar, whose first line is where the scalar is.
fn inline(cx: &Context<'_>, at: Location, line: u32) -> Location {
    let line = at.line.saturating_add(line - 1);
    let text = usize::try_from(line - 1).ok().and_then(|index| cx.text.lines().nth(index)).unwrap_or_default();
    let column = text.find("${{").and_then(|start| u32::try_from(text[..start].chars().count() + 1).ok());
    column.map_or(at, |column| Location { line, column })
}

fn template(cx: &Context<'_>, at: Location, file: Option<&str>, text: &str) {
    for placeholder in placeholders(text) {
        let (at, place) = match file {
            Some(file) => (at, format!("`{file}` line {}: ", placeholder.line)),
            None => (inline(cx, at, placeholder.line), String::new()),
        };
        let Some(name) = placeholder.name else {
            let problem = Problem::new(at, format!("{place}`${{{{` has no `}}}}` in its line"));
            cx.note(problem.hint("what is meant literally is written `$${{`"));
            continue;
        };
        if cx.parameters.declared.contains_key(&name) {
            cx.in_templates.borrow_mut().insert(name);
            continue;
        }
        if cx.variables.contains(&name) || NODE_FACTS.contains(&name.as_str()) {
            continue;
        }
        let problem = Problem::new(at, format!("{place}unknown variable `${{{{ {name} }}}}`"));
        let known = cx.variables.iter().chain(cx.parameters.declared.keys()).map(String::as_str).chain(NODE_FACTS);
        let hint = if let Some(word) = nearest(&name, known) {
            format!("did you mean `${{{{ {word} }}}}`?")
        } else {
            "declare it under `variables`; what is meant literally is written `$${{`".to_owned()
        };
        cx.note(problem.hint(hint));
    }
}
