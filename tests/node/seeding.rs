//! What is seeded is what containerd, ctr and the CRI need, and nothing is read twice.

use coracle::deploy::host::linux::containerd::{Error, ImageState, SeedOptions};
use coracle::event::Silent;

use crate::cri::Cri;
use crate::daemon::Daemon;
use crate::sample::{PAUSE, Sample, Watched};

pub fn options() -> SeedOptions {
    SeedOptions::new("overlayfs", jiff::Timestamp::now())
}

#[test]
fn a_seeded_image_runs_without_a_network_and_outlives_garbage_collection() {
    let Some(daemon) = Daemon::start() else { return };
    let sample = Sample::of_two_images("");
    let images = sample.seed_images();
    let containerd = daemon.connect();
    println!("containerd {}", containerd.version().unwrap());
    assert_eq!(containerd.facts().unwrap().snapshotter, "overlayfs");
    let snapshots = containerd.facts().unwrap().snapshot_root.unwrap();
    assert_eq!(snapshots, daemon.path("root/io.containerd.snapshotter.v1.overlayfs"));
    assert_eq!(containerd.image_state(&images[1], "overlayfs").unwrap(), ImageState::Missing);
    assert_eq!(containerd.holder_of(images[1].reference).unwrap(), None);

    let first = containerd.seed(&images, &sample.store, &options(), &Silent).unwrap();
    // Two indexes, manifests and configurations, and two layers of which one is shared.
    assert_eq!((first.present, first.seeded, first.blobs, first.layers), (0, 2, 8, 2));
    daemon.collect_garbage();
    assert_eq!(daemon.ctr(&["leases", "ls", "-q"]), "");
    for image in &images {
        assert_eq!(containerd.image_state(image, "overlayfs").unwrap(), ImageState::Present);
        assert_eq!(containerd.holder_of(image.reference).unwrap(), Some(image.top.digest));
    }

    let watched = Watched::new(&sample.store);
    let second = containerd.seed(&images, &watched, &options(), &Silent).unwrap();
    assert_eq!((second.present, second.seeded, second.blobs, second.bytes, second.layers, watched.reads()), (2, 0, 0, 0, 0, 0));

    let app = &images[1];
    let tag = app.reference.to_string();
    let digest = format!("{}@{}", app.reference.name(), app.top.digest);
    let id = app.image.config.digest.to_string();
    let check = daemon.ctr(&["images", "check"]);
    for name in [&tag, &digest, &id] {
        let line = check.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("no `{name}` in\n{check}"));
        assert!(line.contains("complete (3/3)"), "configuration and two layers: {line}");
        assert!(line.ends_with("true"), "not unpacked: {line}");
    }
    let cri = Cri::connect(&daemon.address(), &daemon.path("logs"), daemon.name());
    for name in [&tag, &digest, &id] {
        let known = cri.wait_for_image(name);
        assert_eq!((known.id, known.repo_tags, known.repo_digests), (id.clone(), vec![tag.clone()], vec![digest.clone()]));
    }
    assert_eq!(cri.wait_for_image(PAUSE).repo_tags, [PAUSE]);
    assert_eq!(cri.run("by-tag", &tag), 0);
    assert_eq!(cri.run("by-digest", &digest), 0);
    let platform = coracle::types::Platform::of_this_program().to_string();
    daemon.ctr(&["run", "--rm", "--platform", &platform, "--snapshotter", "overlayfs", &tag, "by-ctr"]);
}

#[test]
fn a_blob_that_is_damaged_is_refused_and_nothing_is_named() {
    let Some(daemon) = Daemon::start() else { return };
    let sample = Sample::of_two_images("");
    let images = &sample.seed_images()[1..];
    let layer = &images[0].image.layers[1];
    let path = sample.store.blob_path(&layer.digest);
    let right = coracle::fs::read(&path, 1 << 20).unwrap();
    let mut wrong = right.clone();
    wrong[20] ^= 1;
    coracle::fs::write_atomic(&path, &wrong, 0o444).unwrap();
    let containerd = daemon.connect();
    let error = containerd.seed(images, &sample.store, &options(), &Silent).unwrap_err();
    assert!(matches!(&error, Error::Content { digest, .. } if *digest == layer.digest), "{error:?}");
    assert_eq!(containerd.holder_of(images[0].reference).unwrap(), None);
    coracle::fs::write_atomic(&path, &right, 0o444).unwrap();
    containerd.seed(images, &sample.store, &options(), &Silent).unwrap();
    assert_eq!(containerd.image_state(&images[0], "overlayfs").unwrap(), ImageState::Present);
}

#[test]
fn a_tag_is_moved_and_a_pin_is_added_without_reading_what_is_there() {
    let Some(daemon) = Daemon::start() else { return };
    let mut sample = Sample::new();
    let layer = sample.layer(&[("a", 0o644, b"a")]);
    sample.image("registry.example/a:1", &[&layer], &["/a"]);
    sample.image("registry.example/a:1", &[&layer], &["/b"]);
    let images = sample.seed_images();
    let containerd = daemon.connect();
    let (old, new) = (&images[..1], &images[1..]);
    containerd.seed(old, &sample.store, &options(), &Silent).unwrap();
    assert_eq!(containerd.image_state(&new[0], "overlayfs").unwrap(), ImageState::Partial);
    let watched = Watched::new(&sample.store);
    let moved = containerd.seed(new, &watched, &options(), &Silent).unwrap();
    // The configuration once to be read and once to be sent; index and manifest.
    assert_eq!((moved.blobs, moved.layers, watched.reads()), (3, 0, 4));
    assert_eq!(containerd.holder_of(new[0].reference).unwrap(), Some(new[0].top.digest));
    assert_eq!(containerd.image_state(&old[0], "overlayfs").unwrap(), ImageState::Partial);
    let mut pinned = new[0];
    pinned.pin = true;
    assert_eq!(containerd.image_state(&pinned, "overlayfs").unwrap(), ImageState::Partial);
    assert_eq!(containerd.seed(&[pinned], &sample.store, &options(), &Silent).unwrap().blobs, 0);
    assert_eq!(containerd.image_state(&pinned, "overlayfs").unwrap(), ImageState::Present);
}
