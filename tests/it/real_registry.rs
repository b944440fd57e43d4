//! `coracle create` from a real registry with images of real programs, compared with what skopeo and crane see there.

use std::collections::{BTreeMap, BTreeSet};

use coracle::types::Digest;
use serde_json::Value;

use crate::lab::{self, IMAGES, Registry, program, run};
use crate::workplace::{Workplace, words};

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// Of the lab's images at a registry.
pub fn references(registry: &Registry) -> Vec<String> {
    IMAGES.iter().map(|name| registry.image(name)).collect()
}

/// An image of a lock file: reference, digest, and the digest of each platform.
type Locked = (String, String, Vec<(String, String)>);

/// Everything that another client finds at a registry: blobs by digest with their sizes, and for the lock the digest of each image and
/// of each of its platforms.
struct Seen {
    blobs: BTreeMap<String, u64>,
    lock: Vec<Locked>,
}

fn seen(registry: &Registry, crane: &str, skopeo: &str) -> Seen {
    let mut seen = Seen { blobs: BTreeMap::new(), lock: Vec::new() };
    for reference in references(registry) {
        let raw = run(skopeo, &["inspect", "--raw", "--tls-verify=false", &format!("docker://{reference}")]);
        let top = String::from_utf8(run(crane, &["digest", &reference])).unwrap().trim().to_owned();
        assert_eq!(top, Digest::of(&raw).to_string(), "crane and skopeo do not agree");
        seen.blobs.insert(top.clone(), raw.len() as u64);
        let index: Value = serde_json::from_slice(&raw).unwrap();
        // The platforms and, as BuildKit makes them, an attestation for each.
        for child in index["manifests"].as_array().unwrap() {
            let digest = child["digest"].as_str().unwrap();
            let manifest = run(crane, &["manifest", &format!("{reference}@{digest}")]);
            seen.blobs.insert(digest.to_owned(), manifest.len() as u64);
            let manifest: Value = serde_json::from_slice(&manifest).unwrap();
            for blob in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
                seen.blobs.insert(blob["digest"].as_str().unwrap().to_owned(), blob["size"].as_u64().unwrap());
            }
        }
        let digest =
            |platform: &str| String::from_utf8(run(crane, &["digest", "--platform", platform, &reference])).unwrap().trim().to_owned();
        let platforms = PLATFORMS.iter().map(|platform| ((*platform).to_owned(), digest(platform))).collect();
        seen.lock.push((reference, top, platforms));
    }
    seen.lock.sort();
    seen
}

/// The images of a lock file as [`Seen`] has them.
fn locked(lock: &Value) -> Vec<Locked> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let images = lock["images"].as_array().unwrap().iter().map(|image| {
        let platforms = image["platforms"].as_array().unwrap().iter();
        let platforms = platforms.map(|platform| (text(&platform["platform"]), text(&platform["digest"]))).collect();
        (text(&image["reference"]), text(&image["digest"]), platforms)
    });
    images.collect()
}

#[test]
fn a_bundle_holds_every_digest_that_skopeo_and_crane_see_upstream() {
    let (Some(crane), Some(skopeo)) = (program("crane"), program("skopeo")) else { return };
    let Some(registry) = Registry::open() else { return };
    let workplace = Workplace::new(&references(&registry), &[]);
    workplace.created(&["--plain-http", registry.address()]);
    let seen = seen(&registry, &crane, &skopeo);
    assert!(seen.blobs.len() >= 3 + 3 * 4 + 6, "three indexes, each with two platforms and two attestations: {:?}", seen.blobs);
    assert_eq!(locked(&workplace.lock()), seen.lock);
    let blobs = workplace.unpack().join("blobs/sha256");
    let names: BTreeSet<String> =
        std::fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for (digest, size) in &seen.blobs {
        let hex = digest.strip_prefix("sha256:").unwrap();
        assert!(names.contains(hex), "{digest} is not in the bundle");
        let path = blobs.join(hex);
        assert_eq!(path.metadata().unwrap().len(), *size, "{digest}");
        let sum = String::from_utf8(run("sha256sum", &[path.to_str().unwrap()])).unwrap();
        assert!(sum.starts_with(hex), "{sum}");
    }
    // Root, package and its configuration are the bundle's own; nothing else came along.
    assert_eq!(names.len(), seen.blobs.len() + 3);
    let again = workplace.coracle().args(["verify", "real.tar.zst", "--key", "release.pub"]).output().unwrap();
    assert!(again.status.success(), "{}", words(&again));
}

#[test]
fn a_real_registry_is_asked_for_each_blob_once_and_not_again_with_a_full_cache() {
    let Some(registry) = Registry::open() else { return };
    let workplace = Workplace::new(&references(&registry), &[]);
    let plain = ["--plain-http", registry.address()];
    workplace.created(&plain);
    let first = std::fs::read(workplace.path("real.tar.zst")).unwrap();
    let mut asked: Vec<String> = registry.end().into_iter().filter(|line| line != "200 GET /v2/").collect();
    asked.sort();
    let mut once = asked.clone();
    once.dedup();
    assert_eq!(asked, once, "something was asked for twice");
    assert!(asked.len() > 20 && asked.iter().all(|line| line.starts_with("200 GET /v2/")), "{asked:#?}");
    // The registry is gone: with lock and cache nobody misses it.
    workplace.created(&[]);
    assert!(first == std::fs::read(workplace.path("real.tar.zst")).unwrap(), "the second bundle differs");
}

#[test]
fn plain_http_is_refused_where_the_registry_is_not_named() {
    let Some(registry) = Registry::open() else { return };
    let workplace = Workplace::new(&[registry.image("pause:3")], &[]);
    let (status, said) = workplace.failed(&[]);
    let expected = format!("hint   `{0}` does not speak TLS: name it with --plain-http {0} if it may be asked without", registry.address());
    assert!(status == 1 && said.contains(&expected) && said.contains("in     coracle.yaml:8:9"), "{status} {said}");
    assert_eq!(registry.end(), [] as [String; 0], "it was asked without TLS");
}

/// A certificate authority and a server certificate for these names, made by openssl.
pub fn certificates(workplace: &Workplace, names: &str) {
    let openssl = |args: &[&str]| drop(lab::output(std::process::Command::new("openssl").current_dir(workplace.directory()).args(args)));
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    openssl(&[&["req", "-x509", "-days", "30", "-subj", "/CN=The tests", "-keyout", "ca.key", "-out", "ca.pem"], &key[..]].concat());
    openssl(&[&["req", "-subj", "/CN=lab", "-keyout", "server.key", "-out", "server.csr"], &key[..]].concat());
    workplace.write("server.ext", format!("subjectAltName = {names}\n"));
    openssl(&[
        "x509",
        "-req",
        "-days",
        "30",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-set_serial",
        "2",
        "-extfile",
        "server.ext",
        "-out",
        "server.pem",
    ]);
}

#[test]
fn a_registry_over_tls_is_trusted_by_its_authority_and_by_nothing_less() {
    let Some(_openssl) = program("openssl") else { return };
    let workplace = Workplace::new(&[], &[]);
    certificates(&workplace, "IP:127.0.0.1");
    let Some(registry) = Registry::with_tls(&workplace.path("server.pem"), &workplace.path("server.key")) else { return };
    workplace.define(&[registry.image("pause:3")], &[]);
    let (status, said) = workplace.failed(&[]);
    let hint = format!("the certificate of `{}` is signed by someone this machine does not trust: name the authority", registry.address());
    assert!(status == 1 && said.contains(&hint), "{said}");
    // Naming a host for plain HTTP must not make a registry that speaks TLS one that may be asked without.
    let (_, said) = workplace.failed(&["--ca", "ca.pem", "--plain-http", registry.address()]);
    assert!(said.contains("400"), "{said}");
    workplace.created(&["--ca", "ca.pem"]);
    std::fs::remove_file(workplace.path("real.tar.zst")).unwrap();
    std::fs::remove_dir_all(workplace.path("cache")).unwrap();
    let by_environment = workplace.create(&[]).env("SSL_CERT_FILE", workplace.path("ca.pem")).output().unwrap();
    assert!(by_environment.status.success(), "{}", words(&by_environment));
    // The name in the certificate counts, not only who signed it.
    let (_, port) = registry.address().split_once(':').unwrap();
    workplace.define(&[format!("localhost:{port}/pause:3")], &[]);
    std::fs::remove_file(workplace.path("real.tar.zst")).unwrap();
    let (_, said) = workplace.failed(&["--ca", "ca.pem"]);
    assert!(said.contains("not valid for name \"localhost\"") && said.contains("compare the name `localhost:"), "{said}");
}
