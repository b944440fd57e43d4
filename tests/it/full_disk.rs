//! A disk that is really full: a small file system in a file, with so much room and no more.
#![expect(clippy::print_stderr, reason = "a test says on stderr why it was skipped")]

use std::io::Write as _;
use std::path::Path;
use std::process::Output;

use crate::create::{Bench, text};
use crate::disk::Disk;

/// Whether loop devices can be mounted here.
fn can_mount() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "not root, and CI must not skip tests");
        eprintln!("skipped: a full disk: only root can mount one");
    }
    root
}

/// Takes all the room, also what is kept for root, and gives `kibibytes` of it back.
fn fill(at: &Path, kibibytes: u64) {
    let mut filler = std::fs::File::create(at.join("filler")).unwrap();
    let full = loop {
        if let Err(error) = filler.write_all(&[0; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let len = filler.metadata().unwrap().len();
    filler.set_len(len.saturating_sub(kibibytes << 10)).unwrap();
    filler.sync_all().unwrap();
}

/// Every name below a directory, and how many bytes it has.
fn tree(at: &Path) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = Vec::new();
    for entry in std::fs::read_dir(at).unwrap() {
        let entry = entry.unwrap();
        let (name, metadata) = (entry.file_name().into_string().unwrap(), entry.metadata().unwrap());
        if metadata.is_dir() {
            found.extend(tree(&entry.path()).into_iter().map(|(below, size)| (format!("{name}/{below}"), size)));
        } else {
            found.push((name, metadata.len()));
        }
    }
    found.sort();
    found
}

/// It failed with status 1 for want of room, says on which path and what to do, and did not panic.
fn refused_for_space(ran: &Output, path: &str, level: u64) {
    let said = text(ran);
    assert_eq!(ran.status.code(), Some(1), "{level} KiB: {said}");
    for wanted in ["error: ", path, "make room"] {
        assert!(said.contains(wanted), "{level} KiB, no `{wanted}`: {said}");
    }
    assert!(said.contains("No space left") || said.contains("free"), "{level} KiB: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn create_onto_a_full_disk_leaves_what_was_there_and_ends_well_once_there_is_room() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let expected = bench.made("cache", "good.tar.zst");
    let disk = Disk::make(&bench.path("disk"), "64M");
    let (out, output) = (disk.at().join("shop.tar.zst"), disk.at().join("shop.tar.zst").display().to_string());
    let size = expected.len() as u64 >> 10;
    for level in [0, 4, 100, 1000, size / 2, size - 100] {
        std::fs::write(&out, "the old one").unwrap();
        fill(disk.at(), level);
        let ran = bench.create("cache", &output).output().unwrap();
        refused_for_space(&ran, "shop.tar.zst", level);
        let said = text(&ran);
        assert!(said.contains("there is no space for `") && said.contains("it takes up to ") && said.contains(" free"), "{said}");
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "the old one", "{level} KiB");
        std::fs::remove_file(disk.at().join("filler")).unwrap();
        assert_eq!(tree(disk.at()), [("shop.tar.zst".to_owned(), 11)], "{level} KiB");
        let ran = bench.create("cache", &output).output().unwrap();
        assert!(ran.status.success(), "{level} KiB: {}", text(&ran));
        assert!(std::fs::read(&out).unwrap() == expected, "{level} KiB: another bundle");
    }
}

#[test]
fn a_cache_on_a_full_disk_keeps_what_came_and_ends_well_once_there_is_room() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    let expected = bench.made("cache", "good.tar.zst");
    let disk = Disk::make(&bench.path("disk"), "64M");
    let cache = disk.at().join("cache").display().to_string();
    for level in [0, 4, 40, 300, 1000, 5000, 9000] {
        fill(disk.at(), level);
        let output = format!("made-{level}.tar.zst");
        let ran = bench.create(&cache, &output).output().unwrap();
        refused_for_space(&ran, &cache, level);
        assert!(!bench.path(&output).exists(), "{level} KiB");
        std::fs::remove_file(disk.at().join("filler")).unwrap();
        assert!(bench.made(&cache, &output) == expected, "{level} KiB: another bundle");
        std::fs::remove_dir_all(&cache).unwrap();
    }
}

#[test]
fn deploy_onto_a_full_disk_leaves_nothing_half_and_ends_well_once_there_is_room() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.made("cache", "shop.tar.zst");
    let deploy = |root: &Path| {
        let mut command = bench.coracle();
        command.args(["deploy", "shop.tar.zst", "--key", "release.pub", "--yes", "--root"]).arg(root);
        command.output().unwrap()
    };
    let whole = bench.path("whole");
    let ran = deploy(&whole);
    assert!(ran.status.success(), "{}", text(&ran));
    let needs = tree(&whole).iter().map(|(_, size)| size).sum::<u64>() >> 10;
    let disk = Disk::make(&bench.path("disk"), "96M");
    let root = disk.at().join("node");
    for level in [0, 4, 40, 300, 1000, needs / 2, needs - 2000, needs - 200] {
        fill(disk.at(), level);
        let ran = deploy(&root);
        refused_for_space(&ran, "", level);
        // A file that a deploy places is there whole or not at all.
        let (tool, conf) = (root.join("usr/local/bin/tool"), root.join("etc/shop.conf"));
        assert!(!tool.exists() || tool.metadata().unwrap().len() == whole.join("usr/local/bin/tool").metadata().unwrap().len());
        assert!(!conf.exists() || std::fs::read_to_string(&conf).unwrap() == "hello\n");
        std::fs::remove_file(disk.at().join("filler")).unwrap();
        let ran = deploy(&root);
        assert!(ran.status.success(), "{level} KiB: {}", text(&ran));
        let names =
            |at: &Path| tree(at).into_iter().filter(|(name, _)| !name.contains("journal/")).map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&root), names(&whole), "{level} KiB");
        let ran = deploy(&root);
        assert!(ran.status.success() && text(&ran).contains("nothing to do"), "{level} KiB: {}", text(&ran));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
