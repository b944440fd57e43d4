//! Whatever is changed in a bundle, someone refuses it.

use std::path::Path;

use super::frame::Encoder;
use super::layout::{self, Member};
use super::testing::{accepting, noise, small, threads};
use super::trust::{KeyId, SignatureMember};
use super::{Limits, open, seek_table};
use crate::event::Silent;
use crate::fs;

/// Opens, reads and checks everything; `Err` says who refused, and why.
fn judge(path: &Path) -> Result<(), String> {
    let bundle = open(path, &Limits::FORMAT).and_then(|opened| opened.verify(&accepting(), &[])).map_err(|error| error.to_string())?;
    match bundle.check_content(threads(1), &Silent).map_err(|error| error.to_string())?.first() {
        None => Ok(()),
        Some(problem) => Err(format!("{}: {}", problem.member, problem.cause)),
    }
}

fn judge_bytes(directory: &Path, bytes: &[u8]) -> Result<(), String> {
    let path = directory.join("changed");
    fs::write_atomic(&path, bytes, 0o644).unwrap();
    judge(&path)
}

fn bundle(directory: &Path) -> Vec<u8> {
    let mut builder = small(directory);
    builder.file("/opt/noise", &noise(900, 8));
    let path = builder.write_unsigned(&directory.join("b.tar.zst"));
    assert_eq!(judge(&path), Ok(()));
    fs::read(&path, 1 << 20).unwrap()
}

/// zstd has a few bits that mean nothing (the compressed form is free): where one of them differs, the archive is the same.
#[test]
fn a_flipped_bit_is_refused_or_changes_nothing_in_the_archive() {
    let directory = tempfile::tempdir().unwrap();
    let good = bundle(directory.path());
    let archive = unpack(&good);
    let mut meaningless = 0;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        if judge_bytes(directory.path(), &bad).is_ok() {
            assert!(unpack(&bad) == archive, "byte {at} of {}", good.len());
            meaningless += 1;
        }
    }
    assert!(meaningless * 200 < good.len(), "{meaningless} of {}", good.len());
}

#[test]
fn refuses_a_file_that_ends_early_or_late() {
    let directory = tempfile::tempdir().unwrap();
    let good = bundle(directory.path());
    for len in 0..good.len() {
        if len % 13 == 0 || good.len() - len < 40 {
            assert!(judge_bytes(directory.path(), &good[..len]).is_err(), "{len} bytes");
        }
    }
    assert!(judge_bytes(directory.path(), &[&good[..], b"x"].concat()).is_err());
    assert!(judge_bytes(directory.path(), &[b"x", &good[..]].concat()).is_err());
}

/// The frames of a bundle, uncompressed: one for each member of a small one, and the end.
fn unpack(bytes: &[u8]) -> Vec<Vec<u8>> {
    let footer = bytes[bytes.len() - seek_table::FOOTER..].try_into().unwrap();
    let start = bytes.len() - seek_table::len(seek_table::frames_in_footer(footer).unwrap() as usize);
    let frames = seek_table::parse(&bytes[start..], start as u64).unwrap();
    let frame = |entry: seek_table::Entry| {
        let offset = usize::try_from(entry.offset).unwrap();
        zstd::stream::decode_all(&bytes[offset..offset + entry.compressed as usize]).unwrap()
    };
    frames.into_iter().map(frame).collect()
}

fn pack(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = Encoder::new().unwrap();
    let (mut bytes, mut table) = (Vec::new(), Vec::new());
    for plain in frames {
        let mut frame = Vec::new();
        encoder.encode(plain, &mut frame).unwrap();
        table.push((u32::try_from(frame.len()).unwrap(), u32::try_from(plain.len()).unwrap()));
        bytes.extend(frame);
    }
    bytes.extend(seek_table::encode(&table));
    bytes
}

fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let member = Member::named(name, content.len() as u64);
    let mut bytes = member.header();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len() + usize::try_from(member.padding()).unwrap(), 0);
    bytes
}

type Change = fn(&mut [u8]);

/// Changes a header and makes its sum right again.
fn with_header(frame: &[u8], change: Change) -> Vec<u8> {
    let mut frame = frame.to_vec();
    change(&mut frame[..512]);
    frame[148..156].fill(b' ');
    let sum: u32 = frame[..512].iter().map(|byte| u32::from(*byte)).sum();
    frame[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    frame
}

#[test]
fn the_compressed_form_alone_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let good = bundle(directory.path());
    let again = pack(&unpack(&good));
    assert_ne!(again, good);
    assert_eq!(judge_bytes(directory.path(), &again), Ok(()));
}

#[test]
fn refuses_members_that_are_reordered_repeated_missing_added_linked_or_renamed() {
    let directory = tempfile::tempdir().unwrap();
    let frames = unpack(&bundle(directory.path()));
    let refused = |what: &str, changed: Vec<Vec<u8>>| {
        assert!(judge_bytes(directory.path(), &pack(&changed)).is_err(), "{what}");
    };
    let end = frames.len() - 1;
    for at in 0..end {
        let mut missing = frames.clone();
        missing.remove(at);
        refused("missing", missing);
        let mut twice = frames.clone();
        twice.insert(at, frames[at].clone());
        refused("twice", twice);
        for (what, name) in [("absolute", "/etc/passwd"), ("parent", "../evil"), ("extra", "extra"), ("signature", "signatures/x.sig")] {
            let mut extra = frames.clone();
            extra.insert(at, member(name, b"evil"));
            refused(what, extra);
        }
        if at + 1 < end {
            let mut swapped = frames.clone();
            swapped.swap(at, at + 1);
            refused("swapped", swapped);
        }
        let changes: [(&str, Change); 8] = [
            ("symbolic link", |block| block[156] = b'2'),
            ("hard link", |block| block[156] = b'1'),
            ("device", |block| block[156] = b'3'),
            ("old type flag", |block| block[156] = 0),
            ("executable", |block| block[104] = b'7'),
            ("owner", |block| block[114] = b'1'),
            ("time", |block| block[146] = b'1'),
            ("prefix", |block| block[345..349].copy_from_slice(b"/etc")),
        ];
        for (what, edit) in changes {
            let mut edited = frames.clone();
            edited[at] = with_header(&frames[at], edit);
            refused(what, edited);
        }
    }
    let mut no_end = frames.clone();
    no_end.pop();
    refused("no end", no_end);
    let mut longer = frames.clone();
    longer.push(vec![0; 512]);
    refused("more behind the end", longer);
    let mut joined = frames.clone();
    let tail = joined.remove(end);
    joined[end - 1].extend(tail);
    refused("frame borders elsewhere", joined);
}

#[test]
fn refuses_signatures_out_of_order_and_alone() {
    let directory = tempfile::tempdir().unwrap();
    let builder = small(directory.path());
    let signer =
        |n: u8| SignatureMember { key_id: KeyId::from_bytes([n; 32]), sigstore_json: b"{}".to_vec(), der_base64_sig: b"AA==".to_vec() };
    let bundle = builder.parts.clone().assemble().unwrap().signed(vec![signer(1), signer(2)]);
    let mut bytes = Vec::new();
    bundle.write(&builder.store, &mut bytes, threads(1), &Silent).unwrap();
    let frames = unpack(&bytes);
    let listing = |frames: &[Vec<u8>]| {
        let path = directory.path().join("changed");
        fs::write_atomic(&path, &pack(frames), 0o644).unwrap();
        open(&path, &Limits::FORMAT).and_then(super::OpenedBundle::read_listing).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(listing(&frames), Ok(()));
    for order in [[5, 6, 3, 4], [3, 4, 3, 4], [4, 3, 5, 6], [3, 5, 4, 6]] {
        let mut changed = frames.clone();
        for (to, from) in (3..).zip(order) {
            changed[to].clone_from(&frames[from]);
        }
        assert!(listing(&changed).is_err(), "{order:?}");
    }
    let mut alone = frames.clone();
    alone.remove(4);
    assert!(listing(&alone).is_err());
}

#[test]
fn refuses_bombs_before_they_are_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    let mut frames = unpack(&bundle(directory.path()));
    // A ratio that no metadata has.
    frames[1] = member("index.json", &vec![b' '; 3 << 20]);
    assert!(judge_bytes(directory.path(), &pack(&frames)).unwrap_err().contains("the ratio of a frame"));
    // A frame beyond the limit.
    frames[1] = vec![0; 9 << 20];
    assert!(judge_bytes(directory.path(), &pack(&frames)).unwrap_err().contains("a frame in bytes"));
    // A number of frames that nobody has.
    let mut table = seek_table::encode(&[]);
    let at = table.len() - seek_table::FOOTER;
    table[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(judge_bytes(directory.path(), &table).unwrap_err().contains("the number of frames"));
}

#[test]
fn a_root_that_is_newer_is_not_guessed_at() {
    let directory = tempfile::tempdir().unwrap();
    let frames = unpack(&bundle(directory.path()));
    let root = frames[2][512..].to_vec();
    let root = String::from_utf8(root).unwrap().trim_end_matches('\0').to_owned();
    let requiring = r#""annotations":{"dev.coracle.requires":"patches","dev.coracle.format""#;
    for (from, to, says) in [
        (r#""dev.coracle.format":"1""#, r#""dev.coracle.format":"2""#, "format `2`"),
        (r#""annotations":{"dev.coracle.format""#, requiring, "feature `patches`"),
        ("vnd.coracle.tools.v1", "vnd.coracle.tools.v9", "artifact type `application/vnd.coracle.tools.v9+json`"),
    ] {
        let changed = root.replace(from, to);
        assert_ne!(changed, root, "{from}");
        let descriptor = layout::root_descriptor(changed.as_bytes());
        let index = layout::index_json(&descriptor, &crate::types::oci::ImageIndex::parse(changed.as_bytes()).unwrap());
        let mut frames = frames.clone();
        frames[1] = member("index.json", &index);
        frames[2] = member(&layout::blob_name(&descriptor.digest), changed.as_bytes());
        let error = judge_bytes(directory.path(), &pack(&frames)).unwrap_err();
        assert!(error.contains("needs a newer coracle") && error.contains(says), "{error}");
    }
}
