//! Files that are whole, by somebody else.

use std::path::Path;

use super::{Memory, Refusals, judge, large_bundle, member, pack, signed, small_bundle, unpack};
use crate::bundle::layout;
use crate::bundle::testing::{noise, small, threads};
use crate::bundle::trust::testing::key;
use crate::event::Silent;
use crate::fs;
use crate::store::Store;
use crate::types::oci::ImageIndex;
use std::os::unix::fs::FileExt as _;

/// The same bundle under another root, signed by the trusted key.
pub(super) fn with_root(frames: &[Vec<u8>], root: &str) -> Vec<u8> {
    let descriptor = layout::root_descriptor(root.as_bytes());
    let index = layout::index_json(&descriptor, &ImageIndex::parse(root.as_bytes()).unwrap());
    let signature = key(1).sign(root.as_bytes()).to_member(root.as_bytes(), key(1).public().key_id());
    let [sigstore, der] = layout::signature_names(&signature.key_id);
    let mut changed = vec![
        frames[0].clone(),
        member("index.json", &index),
        member(&layout::blob_name(&descriptor.digest), root.as_bytes()),
        member(&sigstore, &signature.sigstore_json),
        member(&der, &signature.der_base64_sig),
    ];
    changed.extend(frames[7..].iter().cloned());
    pack(&changed)
}

#[test]
fn refuses_what_nobody_and_what_somebody_else_signed() {
    let directory = tempfile::tempdir().unwrap();
    let builder = small(directory.path());
    let bundle = builder.parts.clone().assemble().unwrap();
    let written = |signed: &crate::bundle::SignedBundle| {
        let mut bytes = Vec::new();
        signed.write(&builder.store, &mut bytes, threads(1), &Silent).unwrap();
        bytes
    };
    let by = |n: u8| key(n).sign(bundle.root()).to_member(bundle.root(), key(n).public().key_id());
    let mut forged = by(2);
    forged.key_id = key(1).public().key_id();
    let mut renamed = by(1);
    renamed.key_id = key(2).public().key_id();
    let over_another = key(1).sign(b"another root").to_member(b"another root", key(1).public().key_id());
    let relabelled = key(2).sign(bundle.root()).to_member(bundle.root(), key(1).public().key_id());
    let mut refusals = Refusals::default();
    refusals.note("unsigned", "all", judge(&written(&bundle.clone().unsigned())));
    for (what, members) in [
        ("by another key", vec![by(2)]),
        ("by another key, under the trusted one's name", vec![forged]),
        ("by another key, naming the trusted one throughout", vec![relabelled]),
        ("by the trusted key, under another name", vec![renamed]),
        ("by the trusted key over another root", vec![over_another]),
    ] {
        refusals.note(what, "all", judge(&written(&bundle.clone().signed(members))));
    }
    assert_eq!(judge(&written(&bundle.clone().signed(vec![by(1), by(2)]))), Ok(()));
    insta::assert_snapshot!(refusals.table());
}

/// Documents and content of another bundle under the signed root.
#[test]
fn refuses_what_was_exchanged_between_two_bundles() {
    let directory = tempfile::tempdir().unwrap();
    let ours = unpack(&small_bundle());
    let mut builder = small(directory.path());
    builder.file("/opt/noise", &noise(900, 9));
    builder.file("/opt/empty", b"");
    let theirs = unpack(&signed(&builder));
    assert_eq!(ours.len(), theirs.len());
    let mut refusals = Refusals::default();
    for at in (0..ours.len()).filter(|at| ours[*at] != theirs[*at]) {
        let mut changed = ours.clone();
        changed[at].clone_from(&theirs[at]);
        refusals.note("one member of the other", at, judge(&pack(&changed)));
        // Under its old name.
        changed[at][..512].copy_from_slice(&ours[at][..512]);
        refusals.note("its content under our name", at, judge(&pack(&changed)));
    }
    insta::assert_snapshot!(refusals.table());
}

/// What a damaged blob left behind would be trusted by the next run.
#[test]
fn keeps_nothing_of_a_damaged_blob() {
    let bytes = large_bundle();
    let memory = Memory::new(&bytes);
    let good = memory.verified().unwrap();
    let content = good.content().to_vec();
    let frames = super::frames(&bytes).1;
    let first =
        frames.len() - 1 - content.iter().map(|blob| usize::try_from(blob.size.div_ceil(crate::io::CHUNK).max(1)).unwrap()).sum::<usize>();
    for entry in &frames[first..frames.len() - 1] {
        let at = entry.offset + u64::from(entry.compressed) / 2;
        let byte = bytes[usize::try_from(at).unwrap()];
        memory.0.write_all_at(&[byte ^ 1], at).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("node")).unwrap();
        let bundle = memory.verified().unwrap();
        let error = bundle.stage(&content, &store, threads(2), &Silent).unwrap_err();
        assert!(matches!(error, crate::bundle::Error::Damaged { .. }), "{error}");
        let damaged: Vec<_> = content
            .iter()
            .filter(|blob| bundle.reader(blob).is_ok_and(|mut reader| std::io::copy(&mut reader, &mut std::io::sink()).is_err()))
            .collect();
        assert_eq!(damaged.len(), 1);
        assert!(!store.has(damaged[0]).unwrap());
        for blob in content.iter().filter(|blob| store.has(blob).unwrap()) {
            store.read(blob).unwrap();
        }
        let files = good.contents().components.iter().flat_map(|component| &component.files);
        for file in files.filter(|file| file.contents.values().any(|content| content.descriptor.digest == damaged[0].digest)) {
            let crate::bundle::contents::Placement::File(path) = &file.placement else { continue };
            let out = directory.path().join("out");
            let platform = crate::types::Platform::supported()[0].clone();
            bundle.find_file(path, Some(&platform)).unwrap().write_file(&out).unwrap_err();
            assert_eq!(fs::metadata(&out).unwrap().map(|found| found.is_file()), None);
        }
        let left = |path: &Path| fs::read_dir(path).unwrap().into_iter().filter(|path| path.is_file()).count();
        assert_eq!(left(directory.path()), 0);
        memory.0.write_all_at(&[byte], at).unwrap();
    }
    assert_eq!(memory.judge(), Ok(()));
}
