//! The labels that keep a blob from containerd's garbage collection and say where it came from.
//!
//! A blob may be there already with labels of an earlier pull, for other platforms and from other repositories: labels are added,
//! and no reference of somebody else is overwritten.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::Digest;

/// What every reference from blob to blob begins with.
const REFERENCE: &str = "containerd.io/gc.ref.content.";
/// Where the blob came from, followed by the host.
const SOURCE: &str = "containerd.io/distribution.source.";
/// A label's key and value together have at most this many bytes.
const LIMIT: usize = 4096;

/// The labels that one blob should have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Labels {
    /// Blobs that this one keeps: kind (`m.`, `l.`, `config`) and digest, in order.
    references: Vec<(&'static str, Digest)>,
    /// Repositories that it came from: host and path.
    sources: BTreeSet<(String, String)>,
    /// Anything else.
    others: BTreeMap<String, String>,
}

impl Labels {
    /// This blob keeps another one.
    pub(super) fn refer(&mut self, kind: &'static str, digest: Digest) {
        if !self.references.contains(&(kind, digest)) {
            self.references.push((kind, digest));
        }
    }

    /// It came from a repository.
    pub(super) fn source(&mut self, host: &str, repository: &str) {
        self.sources.insert((host.to_owned(), repository.to_owned()));
    }

    /// One more label.
    pub(super) fn set(&mut self, key: String, value: String) {
        self.others.insert(key, value);
    }

    /// What another image wants of the same blob.
    pub(super) fn merge(&mut self, other: Self) {
        for (kind, digest) in other.references {
            self.refer(kind, digest);
        }
        self.sources.extend(other.sources);
        self.others.extend(other.others);
    }

    /// Everything that it keeps is kept by `present` too.
    pub(super) fn references_are_in(&self, present: &BTreeMap<String, String>) -> bool {
        self.references.iter().all(|(_, digest)| refers(present, digest))
    }

    /// What has to be added to the labels that are there: nothing where they say the same already.
    pub(super) fn missing(&self, present: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut added: BTreeMap<String, String> =
            self.others.iter().filter(|(key, value)| present.get(*key) != Some(value)).map(|(k, v)| (k.clone(), v.clone())).collect();
        for (kind, digest) in &self.references {
            if !refers(present, digest) && !refers(&added, digest) {
                let taken = |key: &String| present.contains_key(key) || added.contains_key(key);
                let key = free_key(kind, taken);
                added.insert(key, digest.to_string());
            }
        }
        for (host, repository) in &self.sources {
            let key = format!("{SOURCE}{host}");
            let there = added.get(&key).or_else(|| present.get(&key)).map_or("", String::as_str);
            let mut repositories: BTreeSet<&str> = there.split(',').filter(|part| !part.is_empty()).collect();
            let value = if repositories.insert(repository) { repositories.into_iter().collect::<Vec<_>>().join(",") } else { continue };
            // The label is a hint for cross-repository mounts: rather without than an error.
            if key.len() + value.len() <= LIMIT {
                added.insert(key, value);
            }
        }
        added
    }
}

fn refers(labels: &BTreeMap<String, String>, digest: &Digest) -> bool {
    let digest = digest.to_string();
    labels.iter().any(|(key, value)| key.starts_with(REFERENCE) && *value == digest)
}

/// `config` stands alone; what ends in a dot is followed by the first number that is free.
fn free_key(kind: &str, taken: impl Fn(&String) -> bool) -> String {
    let plain = format!("{REFERENCE}{kind}");
    if !kind.ends_with('.') && !taken(&plain) {
        return plain;
    }
    let stem = plain.trim_end_matches('.');
    let mut n = 0u32;
    loop {
        let key = format!("{stem}.{n}");
        if !taken(&key) {
            return key;
        }
        n += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, String)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_new_blob_gets_what_containerd_itself_would_write() {
        let [config, first, second] = [b"c", b"1", b"2"].map(|bytes| Digest::of(bytes));
        let mut labels = Labels::default();
        labels.refer("config", config);
        labels.refer("l.", first);
        labels.refer("l.", second);
        labels.source("ghcr.io", "a/b");
        let expected = map(&[
            ("containerd.io/distribution.source.ghcr.io", "a/b".to_owned()),
            ("containerd.io/gc.ref.content.config", config.to_string()),
            ("containerd.io/gc.ref.content.l.0", first.to_string()),
            ("containerd.io/gc.ref.content.l.1", second.to_string()),
        ]);
        assert_eq!(labels.missing(&BTreeMap::new()), expected);
        assert_eq!(labels.missing(&expected), BTreeMap::new());
        assert!(labels.references_are_in(&expected));
        assert!(!labels.references_are_in(&BTreeMap::new()));
    }

    #[test]
    fn what_another_pull_refers_to_stays_referred_to() {
        let [ours, theirs] = [b"o", b"t"].map(|bytes| Digest::of(bytes));
        let mut labels = Labels::default();
        labels.refer("m.", ours);
        labels.source("ghcr.io", "a/b");
        let present = map(&[
            ("containerd.io/gc.ref.content.m.0", theirs.to_string()),
            ("containerd.io/distribution.source.ghcr.io", "c/d".to_owned()),
        ]);
        let added = map(&[
            ("containerd.io/gc.ref.content.m.1", ours.to_string()),
            ("containerd.io/distribution.source.ghcr.io", "a/b,c/d".to_owned()),
        ]);
        assert_eq!(labels.missing(&present), added);
    }

    #[test]
    fn a_source_that_makes_the_label_too_long_is_left_out() {
        let mut labels = Labels::default();
        labels.source("ghcr.io", "a/b");
        let present = map(&[("containerd.io/distribution.source.ghcr.io", "x".repeat(4060))]);
        assert_eq!(labels.missing(&present), BTreeMap::new());
    }
}
