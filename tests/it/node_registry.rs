//! The node registry with images of real programs: the specification's own conformance suite, and the clients that a node has.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use coracle::deploy::mirror::{containerd as mirror, containers};
use coracle::types::Digest;
use serde_json::Value;

use crate::containerd::Containerd;
use crate::lab::{self, IMAGES, Registry, program, run};
use crate::real_registry::references;
use crate::workplace::Workplace;

const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// A bundle of the lab's images, whose upstream is gone.
struct Carried {
    workplace: Workplace,
    /// As they were called upstream.
    references: Vec<String>,
}

impl Carried {
    fn new() -> Option<Self> {
        let registry = Registry::open()?;
        let references = references(&registry);
        let workplace = Workplace::new(&references, &[]);
        workplace.created(&["--plain-http", registry.address()]);
        Some(Self { workplace, references })
    }

    /// What the lock says of an image: its digest, or that of one of its platforms.
    fn digest(&self, reference: &str, arch: Option<&str>) -> String {
        let lock = self.workplace.lock();
        let image = lock["images"].as_array().unwrap().iter().find(|image| image["reference"] == reference).unwrap().clone();
        let digest = match arch {
            None => image["digest"].clone(),
            Some(arch) => {
                let platform = format!("linux/{arch}");
                let platforms = image["platforms"].as_array().unwrap();
                platforms.iter().find(|found| found["platform"] == platform.as_str()).unwrap()["digest"].clone()
            }
        };
        digest.as_str().unwrap().to_owned()
    }

    /// The registry over the bundle itself.
    fn serving_bundle(&self) -> Node {
        Node::start(&self.workplace, &["--bundle", "real.tar.zst", "--key", "release.pub"])
    }

    /// The registry over what a deploy put into a store.
    fn serving_store(&self) -> Node {
        let deploy = ["deploy", "real.tar.zst", "--key", "release.pub", "--root", "node", "--yes"];
        lab::output(self.workplace.coracle().args(deploy));
        Node::start(&self.workplace, &["--store", "node/var/lib/coracle"])
    }
}

/// `coracle registry serve`; it ends when the value is dropped.
struct Node {
    child: Child,
    address: String,
}

impl Node {
    fn start(workplace: &Workplace, args: &[&str]) -> Self {
        let mut command = workplace.coracle();
        command.args(["registry", "serve", "--listen", "127.0.0.1:0"]).args(args);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit_once("http://").unwrap_or_else(|| panic!("{line}")).1.to_owned();
        Self { child, address }
    }

    /// An image of this registry by the name that it had upstream.
    fn image(&self, reference: &str) -> String {
        let (host, path) = reference.split_once('/').unwrap();
        format!("{}/{}/{path}", self.address, host.replace(':', "__"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What the suite counted: tests that passed, that failed, and that it could not run.
fn counts(report: &str) -> (usize, usize, usize) {
    let count = |name: &str| {
        let line = report.lines().find(|line| line.trim_start().starts_with(&format!("{name}.."))).unwrap_or_else(|| panic!("{report}"));
        line.rsplit_once(':').unwrap().1.trim().parse::<usize>().unwrap()
    };
    (count("Pass"), count("FAIL"), count("Error"))
}

#[test]
fn the_conformance_suite_of_the_specification_finds_no_fault_in_the_pull_side() {
    let Some(suite) = program("conformance") else { return };
    let Some(carried) = Carried::new() else { return };
    let reference = &carried.references[0];
    let (top, child) = (carried.digest(reference, None), carried.digest(reference, Some("arm64")));
    let unpacked = carried.workplace.unpack();
    let manifest = std::fs::read(unpacked.join("blobs/sha256").join(child.strip_prefix("sha256:").unwrap())).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let blobs: Vec<&str> =
        manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]).map(|blob| blob["digest"].as_str().unwrap()).collect();
    assert_eq!(blobs.len(), 3);
    for node in [carried.serving_bundle(), carried.serving_store()] {
        let repository = node.image(reference).split_once('/').unwrap().1.rsplit_once(':').unwrap().0.to_owned();
        let mut command = Command::new(&suite);
        command.current_dir(carried.workplace.directory()).env_clear().stdin(Stdio::null());
        command.envs([
            ("OCI_REGISTRY", node.address.as_str()),
            ("OCI_TLS", "disabled"),
            ("OCI_VERSION", "1.1"),
            ("OCI_RESULTS_DIR", "results"),
        ]);
        command.envs([("OCI_REPO1", repository.as_str()), ("OCI_REPO2", &repository.replace("podinfo", "pause"))]);
        // Nothing can be written to a node registry, and the suite has a mode for that.
        command
            .envs(["OCI_API_PUSH", "OCI_API_BLOBS_DELETE", "OCI_API_MANIFESTS_DELETE", "OCI_API_TAGS_DELETE"].map(|name| (name, "false")));
        // Of manifests, whose content it does not know in this mode, it cannot check that header.
        command.env("OCI_API_BLOBS_DIGEST_HEADER", "true");
        command.envs([("OCI_RO_DATA_TAGS", "6"), ("OCI_RO_DATA_MANIFESTS", &format!("{top} {child}")), ("OCI_RO_DATA_REFERRERS", &top)]);
        command.env("OCI_RO_DATA_BLOBS", blobs.join(" "));
        // Its report for machines panics in this mode, after the one for people is complete: that one is read.
        let report = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(report.contains("OCI Conformance Result: Pass"), "{report}");
        assert_eq!(counts(&report), (20, 0, 0), "{report}");
        for part in
            ["Tag listing", "Blob get", "Blob head", "Manifest get by digest", "Manifest get by tag", "Manifest head by tag", "Referrers"]
        {
            let line = report.lines().find(|line| line.trim_start().starts_with(&format!("{part}.."))).unwrap();
            assert!(line.ends_with(" Pass"), "{line}");
        }
    }
}

#[test]
fn skopeo_and_crane_pull_both_platforms_with_the_digests_that_upstream_had() {
    let (Some(skopeo), Some(crane)) = (program("skopeo"), program("crane")) else { return };
    let Some(carried) = Carried::new() else { return };
    for node in [carried.serving_bundle(), carried.serving_store()] {
        for reference in &carried.references {
            let image = node.image(reference);
            let raw = run(&skopeo, &["inspect", "--raw", "--tls-verify=false", &format!("docker://{image}")]);
            assert_eq!(Digest::of(&raw).to_string(), carried.digest(reference, None));
            for arch in ARCHITECTURES {
                let digest = carried.digest(reference, Some(arch));
                let directory = tempfile::tempdir().unwrap();
                let target = format!("dir:{}", directory.path().display());
                let platform = ["--override-os=linux", "--override-arch", arch];
                let copy = [&["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"], &platform[..]].concat();
                run(&skopeo, &[&copy[..], &[&format!("docker://{image}"), &target]].concat());
                assert_eq!(Digest::of(&std::fs::read(directory.path().join("manifest.json")).unwrap()).to_string(), digest);
                // It downloads every layer and compares digests, sizes and diff_ids.
                run(&crane, &["validate", "--platform", &format!("linux/{arch}"), "--remote", &image]);
            }
            let all = tempfile::tempdir().unwrap();
            let all = format!("oci:{}:all", all.path().display());
            // Everything of the index is there: its two platforms are all that it has.
            let copy = ["--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests", "--src-tls-verify=false"];
            run(&skopeo, &[&copy[..], &[&format!("docker://{image}"), &all]].concat());
        }
    }
}

#[test]
fn podman_pulls_real_images_by_their_upstream_names_from_the_node_registry() {
    let Some(podman) = program("podman") else { return };
    let Some(carried) = Carried::new() else { return };
    let node = carried.serving_store();
    let hosts: BTreeSet<String> = carried.references.iter().map(|reference| reference.split('/').next().unwrap().to_owned()).collect();
    carried.workplace.write("registries.conf", containers::registries_conf(&hosts, node.address.parse().unwrap()));
    carried.workplace.write("policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
    let path = |name: &str| carried.workplace.text(name);
    let podman = |args: &[&str]| {
        let mut command = Command::new(&podman);
        command.args(["--root", &path("podman/root"), "--runroot", &path("podman/run"), "--storage-driver=vfs"]).args(args);
        String::from_utf8(lab::output(command.env("CONTAINERS_REGISTRIES_CONF", path("registries.conf")))).unwrap()
    };
    for arch in ARCHITECTURES {
        for reference in &carried.references {
            podman(&["pull", "--quiet", "--arch", arch, "--signature-policy", &path("policy.json"), reference]);
            let digests = podman(&["image", "inspect", "--format", "{{.Architecture}} {{.RepoDigests}}", reference]);
            assert!(digests.starts_with(arch) && digests.contains(&carried.digest(reference, Some(arch))), "{digests}");
        }
    }
}

#[test]
fn ctr_imports_the_unpacked_bundle_by_name_and_pulls_both_platforms_from_the_node_registry() {
    let Some(daemon) = Containerd::start() else { return };
    let Some(carried) = Carried::new() else { return };
    // As an OCI archive, which is what ctr takes: the same members without zstd.
    let archive = carried.workplace.text("unpacked.tar");
    lab::output(Command::new("tar").arg("-C").arg(carried.workplace.unpack()).args(["-cf", &archive, "."]));
    daemon.done(&["--namespace=imported", "images", "import", "--snapshotter=native", "--platform=linux/amd64", &archive]);
    let listed = daemon.done(&["--namespace=imported", "images", "list"]);
    let named: Vec<(&str, &str)> = listed
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.nth(1)?))
        })
        .collect();
    let mut expected: Vec<(String, String)> =
        carried.references.iter().map(|reference| (reference.clone(), carried.digest(reference, None))).collect();
    expected.sort();
    assert_eq!(named, expected.iter().map(|(reference, digest)| (reference.as_str(), digest.as_str())).collect::<Vec<_>>());
    let node = carried.serving_store();
    for reference in &carried.references {
        let hosts = daemon.path("certs.d").join(mirror::host_directories(reference.split('/').next().unwrap()).pop().unwrap());
        std::fs::create_dir_all(&hosts).unwrap();
        let text = mirror::hosts_toml(None, node.address.parse().unwrap()).unwrap().unwrap();
        std::fs::write(hosts.join("hosts.toml"), text).unwrap();
        for arch in ARCHITECTURES {
            let (namespace, platform) = (format!("--namespace={arch}"), format!("linux/{arch}"));
            let certs = daemon.path("certs.d").display().to_string();
            daemon.done(&[&namespace, "content", "fetch", "--hosts-dir", &certs, "--platform", &platform, reference]);
            let held = daemon.done(&[&namespace, "content", "list", "--quiet"]);
            assert!(held.contains(&carried.digest(reference, Some(arch))) && held.contains(&carried.digest(reference, None)), "{held}");
        }
    }
}

#[test]
fn a_part_of_a_layer_is_served_to_curl_as_it_is_asked_for() {
    let Some(curl) = program("curl") else { return };
    let Some(carried) = Carried::new() else { return };
    let unpacked = carried.workplace.unpack();
    let node = carried.serving_bundle();
    let reference = &carried.references[0];
    let child = carried.digest(reference, Some("amd64"));
    let manifest = std::fs::read(unpacked.join("blobs/sha256").join(child.strip_prefix("sha256:").unwrap())).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let layer = manifest["layers"].as_array().unwrap().iter().max_by_key(|layer| layer["size"].as_u64()).unwrap();
    let digest = layer["digest"].as_str().unwrap();
    let whole = std::fs::read(unpacked.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())).unwrap();
    let (host, path) = reference.split_once('/').unwrap();
    let repository = path.rsplit_once(':').unwrap().0;
    // As containerd asks a mirror: the host that it stands for is in the query.
    let url = format!("http://{}/v2/{repository}/blobs/{digest}?ns={host}", node.address);
    let end = whole.len();
    for (range, expected) in [
        ("0-0".to_owned(), &whole[..1]),
        (format!("{}-", end - 10), &whole[end - 10..]),
        ("-5".to_owned(), &whole[end - 5..]),
        // Over the edge of what the bundle compresses together.
        ("8388600-8388700".to_owned(), &whole[8_388_600..=8_388_700]),
        (format!("1-{}", end + 1000), &whole[1..]),
    ] {
        let body = run(&curl, &["--silent", "--fail", "--range", &range, &url]);
        assert!(body == expected, "{range}");
    }
    // An interrupted download goes on.
    let part = carried.workplace.write("part", &whole[..1_000_000]);
    run(&curl, &["--silent", "--fail", "--continue-at", "-", "--output", part.to_str().unwrap(), &url]);
    assert!(std::fs::read(part).unwrap() == whole);
    let status = run(&curl, &["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--range", &format!("{end}-"), &url]);
    assert_eq!(String::from_utf8(status).unwrap(), "416");
}

#[test]
fn the_unpacked_bundle_is_read_by_skopeo_by_name_and_what_is_extracted_by_crane_and_umoci() {
    let (Some(skopeo), Some(crane), Some(umoci)) = (program("skopeo"), program("crane"), program("umoci")) else { return };
    let (Some(carried), Some(target)) = (Carried::new(), Registry::empty()) else { return };
    let unpacked = carried.workplace.unpack();
    let directory = carried.workplace.directory().to_owned();
    for (reference, name) in carried.references.iter().zip(IMAGES) {
        for arch in ARCHITECTURES {
            let digest = carried.digest(reference, Some(arch));
            let short = format!("{}-{arch}", name.replace(['/', ':'], "-"));
            let copy = format!("dir:{}", directory.join(format!("copy-{short}")).display());
            let source = format!("oci:{}:{reference}", unpacked.display());
            run(&skopeo, &["--insecure-policy", "copy", "--quiet", "--override-os=linux", "--override-arch", arch, &source, &copy]);
            let manifest = std::fs::read(directory.join(format!("copy-{short}/manifest.json"))).unwrap();
            assert_eq!(Digest::of(&manifest).to_string(), digest, "{reference}");
            let platform = format!("linux/{arch}");
            let extract = ["extract", "real.tar.zst", reference, "--platform", &platform, "--key", "release.pub", "-o", &short];
            lab::output(carried.workplace.coracle().args(extract));
            let layout = directory.join(&short).display().to_string();
            // The signature of what is pushed elsewhere still holds only if the digest is the same.
            let pushed = target.image(&format!("{}:{arch}", name.split(':').next().unwrap()));
            run(&crane, &["push", &layout, &pushed]);
            assert_eq!(
                String::from_utf8(run(&crane, &["digest", "--platform", &platform, &pushed])).unwrap().trim(),
                digest,
                "{reference}"
            );
            let tag = reference.rsplit_once(':').unwrap().1;
            run(&umoci, &["stat", "--json", "--image", &format!("{layout}:{tag}")]);
        }
    }
}
