//! What is written is what is read, whatever it is and however many threads there are.

use std::io::{self, Read as _, Write};

use proptest::prelude::*;

use super::testing::{Builder, accepting, noise, small, threads};
use super::trust::{KeyId, SignatureMember};
use super::{Error, Limits, SignedBundle, StagedBytes, open};
use crate::event::Silent;
use crate::fs;
use crate::io::CHUNK;
use crate::store::Store;

fn bytes(bundle: &SignedBundle, store: &Store, n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    bundle.write(store, &mut out, threads(n), &Silent).unwrap();
    out
}

/// Several chunks of each kind: raw by media type, raw by outcome, compressed.
fn large(directory: &std::path::Path) -> Builder {
    let mut builder = small(directory);
    let chunk = usize::try_from(CHUNK).unwrap();
    builder.image("quay.io/acme/large:1", &noise(chunk + 3, 4), [&noise(2 * chunk, 5), &noise(5, 6)]);
    builder.file("/opt/noise", &noise(chunk + 70_000, 7));
    builder.file("/opt/text", &b"the same line again\n".repeat(chunk / 10));
    builder.file("/opt/empty", b"");
    builder
}

#[test]
fn a_bundle_gives_back_what_went_in() {
    let directory = tempfile::tempdir().unwrap();
    let builder = large(directory.path());
    let bundle = builder.verified(&directory.path().join("b.tar.zst"));
    assert_eq!(bundle.contents(), &builder.parts.contents);
    assert_eq!(bundle.images(), &builder.parts.images[..]);
    assert_eq!(bundle.tools(), &builder.parts.tools);
    assert_eq!(bundle.check_content(threads(3), &Silent).unwrap(), []);
    for blob in bundle.content() {
        let mut read = Vec::new();
        bundle.reader(blob).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, builder.store.read(blob).unwrap());
        for (offset, len) in [(0, 10), (CHUNK - 5, 10), (blob.size.saturating_sub(3), 10), (blob.size + 1, 4)] {
            let mut range = vec![0; len];
            let n = bundle.read_range(blob, offset, &mut range).unwrap();
            let start = read.len().min(usize::try_from(offset).unwrap());
            assert_eq!(range[..n], read[start..read.len().min(start + len)]);
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_threads_or_on_what_else_is_in_the_store() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (large(one.path()), large(two.path()));
    second.store.put(b"something else").unwrap();
    let assemble = |builder: &Builder| builder.parts.clone().assemble().unwrap().unsigned();
    let expected = bytes(&assemble(&first), &first.store, 1);
    for n in [1, 2, 7] {
        assert!(bytes(&assemble(&second), &second.store, n) == expected, "{n} threads");
    }
}

#[test]
fn staging_copies_what_is_missing_and_reads_nothing_that_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = large(directory.path()).verified(&directory.path().join("b.tar.zst"));
    let store = Store::open(directory.path().join("node")).unwrap();
    let mut blobs = bundle.content().to_vec();
    blobs.extend(bundle.documents().iter().cloned());
    blobs.extend(blobs.clone());
    let total: u64 = blobs.iter().map(|blob| blob.size).sum::<u64>() / 2;
    let count = blobs.len() as u64 / 2;
    let first = bundle.stage(&blobs, &store, threads(3), &Silent).unwrap();
    assert_eq!(first, StagedBytes { written_blobs: count, written: total, present_blobs: 0, present: 0 });
    for blob in &blobs {
        store.read(blob).unwrap();
        assert_eq!(store.chunk_digests(blob).unwrap(), bundle.chunks(blob));
    }
    let again = bundle.stage(&blobs, &store, threads(3), &Silent).unwrap();
    assert_eq!(again, StagedBytes { written_blobs: 0, written: 0, present_blobs: count, present: total });
}

#[test]
fn other_tools_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = large(directory.path()).write_unsigned(&directory.path().join("b.tar.zst"));
    let plain = zstd::stream::decode_all(fs::open(&path).unwrap()).unwrap();
    let mut archive = tar::Archive::new(plain.as_slice());
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if let Some(hex) = name.strip_prefix("blobs/sha256/") {
            assert_eq!(crate::types::Digest::of(&bytes).hex(), hex);
        }
        names.push(name);
    }
    assert_eq!(names[..2], ["oci-layout", "index.json"]);
}

#[test]
fn embedded_signatures_are_read_in_the_order_of_their_keys() {
    let directory = tempfile::tempdir().unwrap();
    let builder = small(directory.path());
    let signature = |n: u8| SignatureMember { key_id: KeyId::from_bytes([n; 32]), sigstore_json: vec![n; 700], der_base64_sig: vec![n; 3] };
    let bundle = builder.parts.clone().assemble().unwrap().signed(vec![signature(2), signature(1)]);
    let path = directory.path().join("b.tar.zst");
    bundle.write_file(&builder.store, &path, threads(1), &Silent).unwrap();
    let opened = open(&path, &Limits::FORMAT).unwrap();
    assert_eq!(opened.signatures(), [signature(1), signature(2)]);
    assert_eq!(opened.read_listing().unwrap().contents(), &builder.parts.contents);
}

#[test]
fn nobody_vouches_for_an_unsigned_bundle() {
    let directory = tempfile::tempdir().unwrap();
    let path = small(directory.path()).write_unsigned(&directory.path().join("b.tar.zst"));
    let mut policy = accepting();
    policy.unsigned = super::trust::Unsigned::Refuse;
    let refused = open(&path, &Limits::FORMAT).unwrap().verify(&policy, &[]);
    assert!(matches!(refused, Err(Error::Untrusted { .. })));
}

#[test]
fn a_damaged_blob_in_the_store_is_named_and_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    let builder = large(directory.path());
    let bundle = builder.parts.clone().assemble().unwrap().unsigned();
    let blob = bundle.metadata().content().iter().find(|blob| blob.size > CHUNK).unwrap();
    let path = builder.store.blob_path(&blob.digest);
    let mut bytes = builder.store.read(blob).unwrap();
    bytes[9_000_000 % usize::try_from(blob.size).unwrap()] ^= 1;
    fs::write_atomic(&path, &bytes, 0o444).unwrap();
    let out = directory.path().join("b.tar.zst");
    fs::write_atomic(&out, b"the old one", 0o644).unwrap();
    let failed = bundle.write_file(&builder.store, &out, threads(2), &Silent);
    assert!(matches!(failed, Err(Error::DamagedInStore { digest }) if digest == blob.digest));
    assert!(!builder.store.has(blob).unwrap());
    assert_eq!(fs::read(&out, 100).unwrap(), b"the old one");
    assert_eq!(fs::read_dir(directory.path()).unwrap(), [out, directory.path().join("store")]);
}

/// A disk that is full after some bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.0);
        self.0 -= n;
        if n == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(n) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_is_full_at_any_point_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let builder = small(directory.path());
    let bundle = builder.parts.clone().assemble().unwrap().unsigned();
    let size = bytes(&bundle, &builder.store, 1).len();
    for room in (0..size).step_by(97) {
        let failed = bundle.write(&builder.store, Full(room), threads(2), &Silent);
        assert!(matches!(failed, Err(Error::Write { source }) if source.kind() == io::ErrorKind::StorageFull), "{room}");
    }
    bundle.write(&builder.store, Full(size), threads(2), &Silent).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_parts_come_back(layers in proptest::collection::vec((0usize..3000, 0usize..3000, 0usize..3000), 0..4), files in proptest::collection::vec(0usize..5000, 0..5), n in 1usize..4) {
        let directory = tempfile::tempdir().unwrap();
        let mut builder = Builder::new(directory.path());
        for (seed, (shared, amd64, arm64)) in (1u64..).zip(layers) {
            builder.image(&format!("quay.io/acme/i{seed}:1"), &noise(shared, seed), [&noise(amd64, seed + 9), &noise(arm64, seed + 19)]);
        }
        for (number, len) in files.into_iter().enumerate() {
            builder.file(&format!("/opt/{number}"), &vec![7; len]);
        }
        let bundle = builder.verified(&directory.path().join("b.tar.zst"));
        prop_assert_eq!(bundle.contents(), &builder.parts.contents);
        prop_assert_eq!(bundle.images(), &builder.parts.images[..]);
        prop_assert_eq!(bundle.check_content(threads(n), &Silent).unwrap(), []);
    }
}
