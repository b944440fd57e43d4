//! Image entries: a reference, an archive, or a file that lists references.

use std::collections::BTreeMap;

use super::Entry;
use super::convert::{Context, platform_list};
use super::field::At;
use super::file::local;
use super::package::{ImageEntry, ImageOrigin, Location};
use super::problem::Problem;
use super::v1::{self, Image};
use crate::types::{ImageReference, Platform};

/// The entries that one written entry stands for; `platforms` are those that the component applies to.
pub(super) fn entries(cx: &Context<'_>, image: &At<Image>, platforms: &[Platform]) -> Vec<ImageEntry> {
    match &image.value {
        Image::Reference(text) => references(cx, image.at, text, platforms, false),
        Image::Entry(entry) => entry_mapping(cx, image.at, entry, platforms),
    }
}

fn entry_mapping(cx: &Context<'_>, at: Location, entry: &v1::ImageEntry, platforms: &[Platform]) -> Vec<ImageEntry> {
    let pin = entry.pin.value().copied().unwrap_or_default();
    let platforms = match entry.platforms.given() {
        Some(list) => {
            let asked = platform_list(cx, list);
            platforms.iter().filter(|platform| asked.contains(platform)).cloned().collect()
        }
        None => platforms.to_vec(),
    };
    let (image, archive, list) = (&entry.image, &entry.archive, &entry.list);
    if !list.is_absent() {
        if !image.is_absent() || !archive.is_absent() {
            cx.note(Problem::new(at, "`list` stands by itself").hint("make two entries of it"));
            return Vec::new();
        }
        return list.given().map(|list| listed(cx, list, &platforms, pin)).unwrap_or_default();
    }
    if !archive.is_absent() {
        let named = image.given().map(|text| by_reference(cx, text.at, &text.value, &platforms)).unwrap_or_default();
        return archive.given().map(|archive| archives(cx, archive, &named, &platforms, pin)).unwrap_or_default();
    }
    if image.is_absent() {
        cx.note(Problem::new(at, "this entry names no image").hint("say `image: REFERENCE`, `archive: FILE` or `list: FILE`"));
    }
    image.given().map(|text| references(cx, text.at, &text.value, &platforms, pin)).unwrap_or_default()
}

/// One entry for each reference that a text becomes: more than one where it has `{arch}` in it.
fn references(cx: &Context<'_>, at: Location, text: &str, platforms: &[Platform], pin: bool) -> Vec<ImageEntry> {
    let by_reference = by_reference(cx, at, text, platforms);
    by_reference
        .into_iter()
        .map(|(reference, platforms)| ImageEntry { at, origin: ImageOrigin::Registry(reference), platforms, pin })
        .collect()
}

fn by_reference(cx: &Context<'_>, at: Location, text: &str, platforms: &[Platform]) -> BTreeMap<ImageReference, Vec<Platform>> {
    let mut references: BTreeMap<ImageReference, Vec<Platform>> = BTreeMap::new();
    if text.contains("${{") {
        let problem = Problem::new(at, "a variable may not stand in an image reference");
        let cause = "variables are known at deploy, and what is carried is decided at create";
        cx.note(problem.because(cause).hint("use a parameter: `{name}`"));
        return references;
    }
    for (platform, text) in cx.expand(at, text, platforms).unwrap_or_default() {
        if let Some(reference) = cx.parse(at, &text) {
            references.entry(reference).or_default().push(platform);
        }
    }
    references
}

fn archives(
    cx: &Context<'_>,
    archive: &At<String>,
    named: &BTreeMap<ImageReference, Vec<Platform>>,
    platforms: &[Platform],
    pin: bool,
) -> Vec<ImageEntry> {
    let mut entries: Vec<ImageEntry> = Vec::new();
    for (platform, written) in cx.expand(archive.at, &archive.value, platforms).unwrap_or_default() {
        let Some(path) = local(cx, archive.at, &written, &[Entry::File, Entry::Directory]) else { return Vec::new() };
        let reference = named.iter().find(|(_, platforms)| platforms.contains(&platform)).map(|(reference, _)| reference.clone());
        let origin = ImageOrigin::Archive { path, reference };
        match entries.iter_mut().find(|entry| entry.origin == origin) {
            Some(entry) => entry.platforms.push(platform),
            None => entries.push(ImageEntry { at: archive.at, origin, platforms: vec![platform], pin }),
        }
    }
    entries
}

/// The references of a list file: one a line, `#` begins a comment.
fn listed(cx: &Context<'_>, list: &At<String>, platforms: &[Platform], pin: bool) -> Vec<ImageEntry> {
    let mut entries = Vec::new();
    let mut done = Vec::new();
    for (_, written) in cx.expand(list.at, &list.value, platforms).unwrap_or_default() {
        if done.contains(&written) {
            continue;
        }
        let Some(path) = local(cx, list.at, &written, &[Entry::File]) else { return entries };
        let text = match cx.beside.read(&path) {
            Ok(text) => text,
            Err(error) => {
                cx.note(Problem::new(list.at, error.to_string()).because(error.source.to_string()));
                return entries;
            }
        };
        let of_this_list: Vec<Platform> =
            platforms.iter().filter(|platform| cx.parameters.expand(&list.value, platform).as_ref() == Ok(&written)).cloned().collect();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            // What is wrong is in the list, not in the definition: the message says where.
            if let Err(error) = line_is_a_reference(cx, line, &of_this_list) {
                cx.note(Problem::new(list.at, format!("`{written}` line {}: {error}", number + 1)));
                continue;
            }
            entries.extend(references(cx, list.at, line, &of_this_list, pin));
        }
        done.push(written);
    }
    entries
}

fn line_is_a_reference(cx: &Context<'_>, line: &str, platforms: &[Platform]) -> Result<(), String> {
    use super::parameter::Unexpanded;
    for platform in platforms {
        let text = match cx.parameters.expand(line, platform) {
            Ok(text) => text,
            Err(Unexpanded::Problem(message, _)) => return Err(message),
            Err(Unexpanded::Reported) => continue,
        };
        text.parse::<ImageReference>().map_err(|error| error.to_string())?;
    }
    Ok(())
}
