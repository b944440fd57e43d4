//! `archive:` with what skopeo and crane write of real images: docker archives with several tags or several images, OCI archives with
//! attestations, OCI layouts.

use std::path::Path;

use coracle::types::Digest;
use serde_json::Value;

use crate::lab::{Registry, program, run};
use crate::workplace::{Workplace, words};

struct Case {
    registry: Registry,
    workplace: Workplace,
    skopeo: String,
    crane: String,
}

impl Case {
    fn new() -> Option<Self> {
        let (skopeo, crane) = (program("skopeo")?, program("crane")?);
        Some(Self { registry: Registry::open()?, workplace: Workplace::new(&[], &[]), skopeo, crane })
    }

    /// `skopeo copy` of an image of the registry.
    fn copy(&self, args: &[&str], image: &str, to: &str) {
        let from = format!("docker://{}", self.registry.image(image));
        let common = ["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"];
        run(&self.skopeo, &[&common, args, &[from.as_str(), to]].concat());
    }

    fn define(&self, images: &[&str]) {
        self.workplace.define(&images.iter().map(|image| (*image).to_owned()).collect::<Vec<_>>(), &[]);
    }

    /// A manifest of the registry.
    fn manifest(&self, args: &[&str], image: &str) -> Value {
        serde_json::from_slice(&run(&self.crane, &[&["manifest"], args, &[self.registry.image(image).as_str()]].concat())).unwrap()
    }

    /// The image of a name in the unpacked bundle as skopeo reads it: its manifest.
    fn unpacked(&self, unpacked: &Path, name: &str, arch: &str) -> Value {
        let source = format!("oci:{}:{name}", unpacked.display());
        let target = self.workplace.text(&format!("copy-{}", Digest::of(name.as_bytes()).hex()));
        run(
            &self.skopeo,
            &["--insecure-policy", "copy", "--quiet", "--override-os=linux", "--override-arch", arch, &source, &format!("dir:{target}")],
        );
        serde_json::from_slice(&std::fs::read(Path::new(&target).join("manifest.json")).unwrap()).unwrap()
    }
}

#[test]
fn a_docker_archive_of_skopeo_is_taken_by_any_of_its_tags() {
    let Some(case) = Case::new() else { return };
    let archive = case.workplace.text("busybox.tar");
    let tags = ["--override-arch=arm64", "--additional-tag=other.example/busybox:latest", "--additional-tag=ghcr.io/acme/busybox:1"];
    case.copy(&tags, "tools/busybox:1", &format!("docker-archive:{archive}:ghcr.io/acme/busybox:1.0"));
    let entry = |name: &str| format!("{{ archive: busybox.tar, image: \"{name}\", platforms: [linux/arm64] }}");
    let names = ["ghcr.io/acme/busybox:1", "other.example/busybox:latest"];
    case.define(&names.map(entry).each_ref().map(String::as_str));
    case.workplace.created(&[]);
    let config = run(&case.skopeo, &["inspect", "--raw", "--config", &format!("docker-archive:{archive}:ghcr.io/acme/busybox:1")]);
    let diff_ids: Value = serde_json::from_slice(&config).unwrap();
    let unpacked = case.workplace.unpack();
    for name in names {
        let manifest = case.unpacked(&unpacked, name, "arm64");
        assert_eq!(manifest["config"]["digest"], Digest::of(&config).to_string());
        let layers: Vec<&Value> = manifest["layers"].as_array().unwrap().iter().map(|layer| &layer["digest"]).collect();
        assert_eq!(layers, diff_ids["rootfs"]["diff_ids"].as_array().unwrap().iter().collect::<Vec<_>>());
    }
    // Several names and none that is wanted: which one is the author's to say.
    case.define(&["{ archive: busybox.tar, platforms: [linux/arm64] }"]);
    std::fs::remove_file(case.workplace.path("real.tar.zst")).unwrap();
    let (status, said) = case.workplace.failed(&[]);
    assert!(status == 2 && said.contains("other.example/busybox:latest") && said.contains("with `image:` beside `archive:`"), "{said}");
    // It holds the one platform that skopeo was asked for.
    case.define(&["{ archive: busybox.tar, image: \"ghcr.io/acme/busybox:1\" }"]);
    let (status, said) = case.workplace.failed(&[]);
    assert!(status == 1 && said.contains("has no image for linux/amd64") && said.contains("linux/arm64"), "{said}");
}

#[test]
fn a_docker_archive_of_crane_gives_each_of_its_images_with_the_layers_of_the_registry() {
    let Some(case) = Case::new() else { return };
    let images = ["podinfo:6", "pause:3", "tools/busybox:1"].map(|name| (name, case.registry.image(name)));
    let pull = ["pull", "--platform=linux/amd64", &images[0].1, &images[1].1, &images[2].1, &case.workplace.text("all.tar")];
    run(&case.crane, &pull);
    let entries = images.each_ref().map(|(_, full)| format!("{{ archive: all.tar, image: \"{full}\", platforms: [linux/amd64] }}"));
    case.define(&entries.each_ref().map(String::as_str));
    // Out of an archive: the registry, which speaks plain HTTP, is not asked.
    case.workplace.created(&[]);
    let unpacked = case.workplace.unpack();
    for (name, full) in &images {
        let (ours, upstream) = (case.unpacked(&unpacked, full, "amd64"), case.manifest(&["--platform=linux/amd64"], name));
        let parts = |manifest: &Value| -> Vec<Value> {
            manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]).map(|part| part["digest"].clone()).collect()
        };
        assert_eq!(parts(&ours), parts(&upstream), "{name}");
    }
    case.define(&["{ archive: all.tar, image: \"ghcr.io/acme/none:1\", platforms: [linux/amd64] }"]);
    std::fs::remove_file(case.workplace.path("real.tar.zst")).unwrap();
    let (status, said) = case.workplace.failed(&[]);
    assert!(status == 2 && said.contains("has 3 images") && images.iter().all(|(_, full)| said.contains(full)), "{said}");
}

#[test]
fn an_oci_archive_is_carried_with_its_index_and_attestations_byte_for_byte() {
    let Some(case) = Case::new() else { return };
    case.copy(&["--all", "--preserve-digests"], "podinfo:6", &format!("oci-archive:{}:6", case.workplace.text("podinfo.tar")));
    run(
        &case.crane,
        &["pull", "--format=oci", &case.registry.image("podinfo:6"), &case.registry.image("pause:3"), &case.workplace.text("layout")],
    );
    let index = case.manifest(&[], "podinfo:6");
    let top = String::from_utf8(run(&case.crane, &["digest", &case.registry.image("podinfo:6")])).unwrap().trim().to_owned();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 4, "two platforms and their attestations");
    let by_digest = format!("ghcr.io/acme/podinfo@{top}");
    for entry in [
        "{ archive: podinfo.tar, image: \"ghcr.io/acme/podinfo:6\" }",
        // Neither image of the layout has a name: the digest says which is meant.
        &format!("{{ archive: layout, image: \"{by_digest}\" }}"),
    ] {
        case.define(&[entry]);
        drop(std::fs::remove_dir_all(case.workplace.path("cache")));
        drop(std::fs::remove_file(case.workplace.path("coracle.lock")));
        case.workplace.created(&[]);
        assert_eq!(case.workplace.lock()["images"][0]["digest"], top.as_str(), "{entry}");
        drop(std::fs::remove_dir_all(case.workplace.path("unpacked")));
        let blobs = case.workplace.unpack().join("blobs/sha256");
        for child in index["manifests"].as_array().unwrap() {
            let digest = child["digest"].as_str().unwrap();
            let manifest = case.manifest(&[], &format!("podinfo@{digest}"));
            let named = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"], child]);
            for blob in named.map(|blob| blob["digest"].as_str().unwrap()) {
                let bytes = std::fs::read(blobs.join(blob.strip_prefix("sha256:").unwrap())).unwrap();
                assert_eq!(Digest::of(&bytes).to_string(), blob);
            }
        }
    }
    case.define(&["{ archive: layout, image: \"ghcr.io/acme/podinfo:6\" }"]);
    std::fs::remove_file(case.workplace.path("real.tar.zst")).unwrap();
    let (status, said) = case.workplace.failed(&[]);
    assert!(status == 2 && said.contains("has 2 images, which one is meant is not clear"), "{said}");
}

#[test]
fn a_damaged_archive_is_refused_by_the_blob_that_is_not_what_it_should_be() {
    let Some(case) = Case::new() else { return };
    let archive = case.workplace.path("podinfo.tar");
    case.copy(&["--all", "--preserve-digests"], "podinfo:6", &format!("oci-archive:{}:6", archive.display()));
    case.define(&["{ archive: podinfo.tar, image: \"ghcr.io/acme/podinfo:6\" }"]);
    let whole = std::fs::read(&archive).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (bytes, causes) in [
        (flipped, ["sha256:", "podinfo.tar"]),
        (whole[..whole.len() / 2].to_vec(), ["goes on after the end of the archive", "podinfo.tar"]),
        (vec![0; 4096], ["is no OCI layout, OCI archive or docker archive", "podinfo.tar"]),
    ] {
        std::fs::write(&archive, &bytes).unwrap();
        let (status, said) = case.workplace.failed(&[]);
        assert!((1..=3).contains(&status) && causes.iter().all(|cause| said.contains(cause)), "{status} {said}");
    }
    std::fs::write(&archive, whole).unwrap();
    case.workplace.created(&[]);
    let verify = case.workplace.coracle().args(["verify", "real.tar.zst", "--key", "release.pub"]).output().unwrap();
    assert!(verify.status.success(), "{}", words(&verify));
}
