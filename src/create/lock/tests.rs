use std::path::PathBuf;

use super::*;
use crate::bundle::image::{ImageTree, PlatformImage};
use crate::create::definition::package::{Package, SourceFile};
use crate::create::definition::{Beside, Choices, Entry, parse};
use crate::create::resolution::ResolvedFile;
use crate::fs;

const DEFINITION: &str = "\
apiVersion: coracle/v1alpha1
kind: Package
metadata: { name: demo, version: 1.0.0 }
platforms: [linux/amd64, linux/arm64]
components:
  - name: one
    images:
      - ghcr.io/acme/b:1
      - { image: ghcr.io/acme/a:1, platforms: [linux/amd64] }
      - { archive: images/c.tar, image: acme/c:1, platforms: [linux/arm64] }
    files:
      - source: https://host/tool-{arch}
        path: /usr/local/bin/tool
      - content: inline
        path: /etc/inline
  - name: two
    images:
      - { image: ghcr.io/acme/a:1, platforms: [linux/arm64] }
";

struct Everything;

impl Beside for Everything {
    fn look(&self, _: &Path) -> Result<Option<Entry>, fs::Error> {
        Ok(Some(Entry::File))
    }

    fn read(&self, _: &Path) -> Result<String, fs::Error> {
        Ok(String::new())
    }
}

fn package(text: &str) -> Package {
    let file = SourceFile { path: "coracle.yaml".into(), directory: PathBuf::from("./some/where"), text: text.to_owned() };
    parse(file, &Choices::default(), &Everything).unwrap()
}

/// Resolves every name to the digest of its own text.
fn resolution(package: Package) -> Resolution {
    let mut images = Vec::new();
    let mut files = Vec::new();
    for component in &package.components {
        let image = |entry: &crate::create::definition::package::ImageEntry| {
            let reference = match &entry.origin {
                ImageOrigin::Registry(reference) | ImageOrigin::Archive { reference: Some(reference), .. } => reference.clone(),
                ImageOrigin::Archive { reference: None, .. } => "acme/found:1".parse().unwrap(),
            };
            let platforms = entry.platforms.iter().map(|platform| PlatformImage {
                platform: platform.clone(),
                manifest: Descriptor::of(MediaType::OCI_MANIFEST, format!("{reference} {platform}").as_bytes()),
                config: Descriptor::of(MediaType::OCI_CONFIG, b"{}"),
                layers: Vec::new(),
                attestations: Vec::new(),
            });
            let platforms = platforms.collect();
            let top = Descriptor::of(MediaType::OCI_INDEX, reference.to_string().as_bytes());
            ResolvedImage { tree: ImageTree { reference, top, platforms }, origin: entry.origin.clone() }
        };
        images.push(component.images.iter().map(image).collect());
        let file = |platform: &Platform| ResolvedFile {
            descriptor: Descriptor::of(MediaType::OCTETS, platform.to_string().as_bytes()),
            title: "t".into(),
        };
        files.push(component.files.iter().map(|entry| entry.origins.keys().map(|p| (p.clone(), file(p))).collect()).collect());
    }
    Resolution { package, images, files, documents: BTreeMap::new() }
}

fn tools() -> BTreeMap<Platform, Option<Descriptor>> {
    BTreeMap::from([(Platform::linux_amd64(), Some(Descriptor::of(MediaType::OCTETS, b"tool"))), (Platform::linux_arm64(), None)])
}

fn locked(text: &str) -> Lock {
    Lock::from_resolution(&resolution(package(text)), &tools())
}

#[test]
fn a_lock_reads_well_in_a_diff_and_is_read_back() {
    let lock = locked(DEFINITION);
    let json = lock.to_json();
    assert_eq!(Lock::parse(&json).unwrap(), lock);
    insta::assert_snapshot!(json);
}

#[test]
fn a_fresh_lock_is_up_to_date_and_has_nothing_to_spare() {
    let package = package(DEFINITION);
    let lock = locked(DEFINITION);
    assert_eq!(lock.check(&package), []);
    assert_eq!(lock.unused(&package), Vec::<String>::new());
}

#[test]
fn says_where_the_definition_is_ahead() {
    let lock = locked(DEFINITION);
    let sha = "0".repeat(64);
    for (from, to, expected) in [
        ("acme/b:1", "acme/b:2", vec!["8:9 the lock does not have `ghcr.io/acme/b:2`".to_owned()]),
        ("images/c.tar", "images/d.tar", vec!["10:20 the lock does not have the archive `images/d.tar`".to_owned()]),
        (
            "image: acme/c:1",
            "image: acme/d:1",
            vec!["10:20 the lock does not have `docker.io/acme/d:1` of the archive `images/c.tar`".to_owned()],
        ),
        (
            "image: acme/c:1, platforms: [linux/arm64]",
            "image: acme/c:1",
            vec!["10:20 the lock does not have the archive `images/c.tar` for linux/amd64".to_owned()],
        ),
        (
            "host/tool-{arch}",
            "host/new-{arch}",
            vec![
                "12:9 the lock does not have `https://host/new-amd64` for linux/amd64".to_owned(),
                "12:9 the lock does not have `https://host/new-arm64` for linux/arm64".to_owned(),
            ],
        ),
        (
            "/usr/local/bin/tool",
            &format!("/usr/local/bin/tool\n        sha256: {{ amd64: {}, arm64: {sha} }}", Digest::of(b"linux/amd64").hex()),
            vec![format!(
                "12:9 the definition says that `https://host/tool-arm64` is sha256:{sha} for linux/arm64, the lock says {}",
                Digest::of(b"linux/arm64")
            )],
        ),
    ] {
        let stale = lock.check(&package(&DEFINITION.replace(from, to)));
        let told: Vec<String> = stale.iter().map(|stale| format!("{}:{} {stale}", stale.at.line, stale.at.column)).collect();
        assert_eq!(told, expected, "{to}");
    }
}

#[test]
fn a_platform_that_was_not_locked_is_stale() {
    let narrow = DEFINITION.replace("[linux/amd64, linux/arm64]\ncomponents", "[linux/arm64]\ncomponents");
    let stale = locked(&narrow).check(&package(DEFINITION));
    let told: Vec<String> = stale.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "the lock does not have `ghcr.io/acme/b:1` for linux/amd64",
            "the lock does not have `ghcr.io/acme/a:1` for linux/amd64",
            "the lock does not have `https://host/tool-amd64` for linux/amd64",
        ]
    );
}

#[test]
fn names_what_nothing_uses_any_more() {
    let less = DEFINITION.replace("      - ghcr.io/acme/b:1\n", "").replace("tool-{arch}", "tool-amd64");
    let lock = locked(DEFINITION);
    assert_eq!(lock.unused(&package(&less)), ["ghcr.io/acme/b:1", "https://host/tool-arm64 for linux/arm64"]);
}

#[test]
fn forgets_what_is_to_be_updated_and_nothing_else() {
    let lock = locked(DEFINITION);
    let rest = lock.without(&["ghcr.io/acme/b:1".to_owned(), "https://host/tool-arm64".to_owned()]);
    let told: Vec<String> = rest.check(&package(DEFINITION)).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["the lock does not have `ghcr.io/acme/b:1`", "the lock does not have `https://host/tool-arm64` for linux/arm64"]);
}

#[test]
fn an_absent_tool_is_recorded_as_absent() {
    let lock = locked(DEFINITION);
    assert_eq!(lock.tool(&Platform::linux_amd64()), Some(Some(LockedFile { sha256: Digest::of(b"tool"), size: 4 })));
    assert_eq!(lock.tool(&Platform::linux_arm64()), Some(None));
    assert_eq!(Lock::default().tool(&Platform::linux_arm64()), None);
}

#[test]
fn refuses_a_newer_version_and_what_is_damaged() {
    let image = r#"{"reference":"a:1","digest":"sha256:00","media_type":"m","size":1,"platforms":[]}"#;
    let digest = Digest::of(b"");
    let good = image.replace("sha256:00", &digest.to_string());
    for (text, message) in [
        ("{\"version\":2}".to_owned(), "the lock file has version 2, and this program knows up to 1"),
        ("<<<<<<<".to_owned(), "the lock file cannot be read"),
        (format!("{{\"version\":1,\"files\":[],\"images\":[{image}]}}"), "the lock file is damaged in the image `a:1`"),
        (format!("{{\"version\":1,\"files\":[],\"images\":[{good},{good}]}}"), "the lock file has the image `docker.io/library/a:1` twice"),
    ] {
        assert_eq!(Lock::parse(&text).unwrap_err().to_string(), message);
    }
    assert_eq!(Lock::parse("{\"version\":1,\"files\":[],\"images\":[],\"later\":1}").unwrap(), Lock::default());
}
