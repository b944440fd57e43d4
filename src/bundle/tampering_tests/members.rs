//! Members that are not those of the root, at every place of the archive.

use super::{Refusals, judge, member, pack, signed, small_bundle, unpack};
use crate::bundle::layout::{self, Member};
use crate::bundle::testing::small;
use crate::types::oci::ImageIndex;

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

/// A header of another kind with its content, as GNU tar and PAX put them before a member.
fn before(kind: u8, name: &str, content: &[u8]) -> Vec<u8> {
    let mut block = member(name, content);
    block[156] = kind;
    with_header(&block, |_| {})
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let record = |(key, value): &(&str, &str)| {
        let rest = format!(" {key}={value}\n");
        let digits = (1..5).find(|digits| (rest.len() + digits).to_string().len() == *digits).unwrap();
        format!("{}{rest}", rest.len() + digits)
    };
    records.iter().map(record).collect::<String>().into_bytes()
}

#[test]
fn the_compressed_form_alone_is_free() {
    let good = small_bundle();
    let again = pack(&unpack(&good));
    assert_ne!(again, good);
    assert_eq!(judge(&again), Ok(()));
}

#[test]
fn refuses_members_that_are_reordered_repeated_missing_added_or_cut_elsewhere() {
    let frames = unpack(&small_bundle());
    let end = frames.len() - 1;
    let mut refusals = Refusals::default();
    let mut refused = |what: &str, at: usize, frames: Vec<Vec<u8>>| refusals.note(what, at, judge(&pack(&frames)));
    let long = "x".repeat(100);
    for at in 0..=end {
        let mut missing = frames.clone();
        missing.remove(at);
        refused("missing", at, missing);
        let mut twice = frames.clone();
        twice.insert(at, frames[at].clone());
        refused("twice", at, twice);
        for (what, name) in [
            ("added, absolute", "/etc/passwd"),
            ("added, above", "../evil"),
            ("added, above inside", "blobs/../../evil"),
            ("added", "extra"),
            ("added, signature of no key", "signatures/x.sig"),
            ("added, of a blob's name", "blobs/sha256/0000000000000000000000000000000000000000000000000000000000000000"),
            ("added, without a name", ""),
            ("added, name of 100 bytes", &long),
            ("added, name with control characters", "a\u{1b}[2Jb\nc"),
        ] {
            let mut extra = frames.clone();
            extra.insert(at, member(name, b"evil"));
            refused(what, at, extra);
        }
        for other in (0..end).filter(|other| *other < at) {
            let mut swapped = frames.clone();
            swapped.swap(at, other);
            refused("in another order", at, swapped);
        }
        let mut cut = frames.clone();
        let half = cut[at].split_off(frames[at].len() / 2);
        cut.insert(at + 1, half);
        refused("cut into two frames", at, cut);
        if at < end {
            let mut joined = frames.clone();
            let next = joined.remove(at + 1);
            joined[at].extend(next);
            refused("two in one frame", at, joined);
        }
    }
    for len in [0, 512, 1024] {
        let mut longer = frames.clone();
        longer.push(vec![0; len]);
        refused("more behind the end", len, longer);
    }
    insta::assert_snapshot!(refusals.table());
}

#[test]
fn refuses_every_other_header() {
    let frames = unpack(&small_bundle());
    let changes: [(&str, Change); 24] = [
        ("hard link", |block| block[156] = b'1'),
        ("symbolic link", |block| block[156] = b'2'),
        ("link with a target", |block| {
            block[156] = b'2';
            block[157..168].copy_from_slice(b"/etc/shadow");
        }),
        ("target of what is no link", |block| block[157] = b'x'),
        ("character device", |block| block[156] = b'3'),
        ("block device", |block| block[156] = b'4'),
        ("directory", |block| block[156] = b'5'),
        ("pipe", |block| block[156] = b'6'),
        ("contiguous file", |block| block[156] = b'7'),
        ("old type flag", |block| block[156] = 0),
        ("sparse (GNU)", |block| block[156] = b'S'),
        ("executable", |block| block[104] = b'7'),
        ("setuid", |block| block[102] = b'4'),
        ("user", |block| block[114] = b'1'),
        ("group", |block| block[122] = b'1'),
        ("time", |block| block[146] = b'1'),
        ("user's name", |block| block[265] = b'r'),
        ("prefix", |block| block[345..349].copy_from_slice(b"/etc")),
        ("magic of GNU tar", |block| block[257..265].copy_from_slice(b"ustar  \0")),
        ("device number", |block| block[329] = b'1'),
        ("size one more", |block| block[134] = if block[134] == b'7' { b'6' } else { block[134] + 1 }),
        ("size in base 256", |block| {
            block[124..136].fill(0);
            block[124] = 0x80;
        }),
        ("size with a space", |block| block[124] = b' '),
        ("something behind the name's end", |block| block[99] = b'x'),
    ];
    let mut refusals = Refusals::default();
    for at in 0..frames.len() - 1 {
        for (what, edit) in changes {
            let mut edited = frames.clone();
            edited[at] = with_header(&frames[at], edit);
            refusals.note(what, at, judge(&pack(&edited)));
        }
        let mut wrong = frames.clone();
        wrong[at][148] ^= 1;
        refusals.note("wrong sum", at, judge(&pack(&wrong)));
    }
    insta::assert_snapshot!(refusals.table());
}

/// Each is put before a member, in a frame by itself and in the frame of the member.
#[test]
fn refuses_headers_that_change_what_the_next_one_means() {
    let frames = unpack(&small_bundle());
    let long = "../".repeat(2000);
    let extended = [
        ("PAX path", before(b'x', "PaxHeaders/x", &pax(&[("path", "/etc/passwd")]))),
        ("PAX path that is long", before(b'x', "PaxHeaders/x", &pax(&[("path", &long)]))),
        ("PAX size", before(b'x', "PaxHeaders/x", &pax(&[("size", "4")]))),
        ("PAX size of 2^64", before(b'x', "PaxHeaders/x", &pax(&[("size", "18446744073709551616")]))),
        ("PAX linkpath", before(b'x', "PaxHeaders/x", &pax(&[("linkpath", "/etc/shadow")]))),
        ("PAX attributes", before(b'x', "PaxHeaders/x", &pax(&[("SCHILY.xattr.security.capability", "x"), ("mtime", "1.5")]))),
        ("PAX sparse", before(b'x', "PaxHeaders/x", &pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "99999999999")]))),
        ("PAX record without an end", before(b'x', "PaxHeaders/x", b"99 path=x")),
        ("PAX for all that follow", before(b'g', "GlobalHead", &pax(&[("uid", "0"), ("path", "evil")]))),
        ("GNU long name", before(b'L', "././@LongLink", long.as_bytes())),
        ("GNU long link", before(b'K', "././@LongLink", long.as_bytes())),
        ("GNU volume", before(b'V', "volume", b"")),
        ("GNU directory dump", before(b'D', "dump", b"Yfile\0")),
    ];
    let mut refusals = Refusals::default();
    for at in 0..frames.len() {
        for (what, block) in &extended {
            let mut alone = frames.clone();
            alone.insert(at, block.clone());
            refusals.note(what, at, judge(&pack(&alone)));
            let mut together = frames.clone();
            together[at] = [block.as_slice(), &frames[at]].concat();
            refusals.note(what, at, judge(&pack(&together)));
        }
    }
    insta::assert_snapshot!(refusals.table());
}

/// A member of a size that nobody can hold: said in its header alone, or with the PAX header that this size must have.
#[test]
fn refuses_sizes_that_nobody_can_hold() {
    let frames = unpack(&small_bundle());
    let mut refusals = Refusals::default();
    for size in [8 << 20, (8 << 30) - 1, 8 << 30, 1 << 45, u64::MAX] {
        for at in 0..frames.len() - 1 {
            let name = layout::describe_header(&frames[at]).unwrap().name;
            let mut changed = frames.clone();
            changed[at] = Member::named(name, size).header();
            refusals.note("a member of many bytes", at, judge(&pack(&changed)));
        }
    }
    insta::assert_snapshot!(refusals.table());
}

#[test]
fn refuses_signatures_out_of_order_and_alone() {
    let directory = tempfile::tempdir().unwrap();
    let frames = unpack(&signed(&small(directory.path())));
    let mut refusals = Refusals::default();
    for order in [[5, 6, 3, 4], [3, 4, 3, 4], [4, 3, 5, 6], [3, 5, 4, 6], [3, 6, 5, 4]] {
        let mut changed = frames.clone();
        for (to, from) in (3..).zip(order) {
            changed[to].clone_from(&frames[from]);
        }
        refusals.note(&format!("in the order {order:?}"), 3, judge(&pack(&changed)));
    }
    for alone in 3..7 {
        let mut changed = frames.clone();
        changed.remove(alone);
        refusals.note("one of a pair missing", alone, judge(&pack(&changed)));
    }
    insta::assert_snapshot!(refusals.table());
}

#[test]
fn a_root_that_is_newer_is_not_guessed_at() {
    let directory = tempfile::tempdir().unwrap();
    let frames = unpack(&signed(&small(directory.path())));
    let root = String::from_utf8(frames[2][512..].to_vec()).unwrap().trim_end_matches('\0').to_owned();
    let requiring = r#""annotations":{"dev.coracle.requires":"patches","dev.coracle.format""#;
    for (from, to, says) in [
        (r#""dev.coracle.format":"1""#, r#""dev.coracle.format":"2""#, "format `2`"),
        (r#""annotations":{"dev.coracle.format""#, requiring, "feature `patches`"),
        ("vnd.coracle.tools.v1", "vnd.coracle.tools.v9", "artifact type `application/vnd.coracle.tools.v9+json`"),
    ] {
        let changed = root.replace(from, to);
        assert_ne!(changed, root, "{from}");
        let error = judge(&super::trusted::with_root(&frames, &changed)).unwrap_err();
        assert!(error.contains("needs a newer coracle") && error.contains(says), "{error}");
        let index = ImageIndex::parse(changed.as_bytes()).unwrap();
        assert_eq!(index.artifact_type.as_deref(), Some(crate::bundle::media::ROOT));
    }
}
