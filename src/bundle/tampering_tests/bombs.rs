//! Little that says it is much. The lengths are known before anything is unpacked, so none of these costs memory.

use super::{Refusals, compressed, file_of, judge, member, raw, small_bundle, unpack};

/// A frame that the format allows and no bundle has: header by hand, then blocks of one byte repeated (RFC 8878, section 3.1.1.2.3).
fn repeating(header: &[u8], blocks: usize) -> Vec<u8> {
    let mut frame = [&[0x28, 0xb5, 0x2f, 0xfd], header].concat();
    for block in 1..=blocks {
        let word = (128u32 << 10) << 3 | 1 << 1 | u32::from(block == blocks);
        frame.extend_from_slice(&word.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame.extend_from_slice(&[0; 4]);
    frame
}

fn skippable(len: u32) -> Vec<u8> {
    let mut frame = [0x50, 0x2a, 0x4d, 0x18].to_vec();
    frame.extend_from_slice(&len.to_le_bytes());
    frame.resize(8 + len as usize, 0);
    frame
}

/// Single segment, checksum, eight bytes of content size.
fn eight(size: u64) -> Vec<u8> {
    [&[0b1110_0100][..], &size.to_le_bytes()].concat()
}

#[test]
fn refuses_bombs_before_they_are_unpacked() {
    let plain = unpack(&small_bundle());
    let good: Vec<(Vec<u8>, usize)> = plain.iter().map(|plain| (compressed(plain), plain.len())).collect();
    let mut refusals = Refusals::default();
    let eight_mib = 8usize << 20;
    for at in 0..good.len() {
        let (frame, len) = good[at].clone();
        let cases: Vec<(&str, Vec<u8>, usize)> = vec![
            ("its header claims 2^64 - 1 bytes", repeating(&eight(u64::MAX), 1), len),
            ("its header claims 8 MiB", repeating(&eight(8 << 20), 64), len),
            ("table and header claim 8 MiB, and it has them", repeating(&eight(8 << 20), 64), eight_mib),
            ("table and header claim 8 MiB, and it has twice as many", repeating(&eight(8 << 20), 128), eight_mib),
            ("table and header claim 8 MiB, and it has half", repeating(&eight(8 << 20), 32), eight_mib),
            ("it is longer than its entry and its header", repeating(&eight(len as u64), 64), len),
            ("a window of 2 GiB", repeating(&[&[0b1100_0100, 21 << 3][..], &(len as u64).to_le_bytes()].concat(), 1), len),
            ("no content size", repeating(&[0b0000_0100, 0], 64), len),
            ("no checksum", repeating(&[&[0b1110_0000][..], &(len as u64).to_le_bytes()].concat(), 1), len),
            ("a dictionary", repeating(&[&[0b1110_0101, 7][..], &(len as u64).to_le_bytes()].concat(), 1), len),
            ("the reserved bit", repeating(&[&[0b1110_1100][..], &(len as u64).to_le_bytes()].concat(), 1), len),
            ("a skippable frame", skippable(64), len),
            ("a skippable frame of no content", skippable(64), 0),
            ("a skippable frame that claims 4 GiB", [&skippable(0)[..4], &[0xff; 4], &frame].concat(), len),
            ("skippable frames before it", [skippable(4), skippable(0), frame.clone()].concat(), len),
            ("a skippable frame behind it", [frame.clone(), skippable(4)].concat(), len),
            ("a frame behind it", [frame.clone(), frame.clone()].concat(), len),
            ("a frame of nothing behind it", [frame.clone(), compressed(b"")].concat(), len),
            ("no zstd", vec![0x1f; frame.len()], len),
            ("four bytes", frame[..4].to_vec(), len),
            ("five bytes", frame[..5].to_vec(), len),
            ("nothing", Vec::new(), len),
        ];
        for (what, frame, len) in cases {
            let mut changed = good.clone();
            changed[at] = (frame, len);
            refusals.note(what, at, judge(&file_of(&changed)));
        }
    }
    insta::assert_snapshot!(refusals.table());
}

#[test]
fn refuses_metadata_that_is_larger_than_metadata_is() {
    let plain = unpack(&small_bundle());
    let mut refusals = Refusals::default();
    let mut refused = |what: &str, at: usize, content: &[u8]| {
        let mut changed: Vec<(Vec<u8>, usize)> = plain.iter().map(|plain| (raw(plain), plain.len())).collect();
        changed.remove(at);
        let name = super::described(&plain[at]).name;
        let bytes = member(&name, content);
        for (number, part) in bytes.chunks((8 << 20) + 512).enumerate() {
            changed.insert(at + number, (raw(part), part.len()));
        }
        refusals.note(what, at, judge(&file_of(&changed)));
        if content.len() < 8 << 20 {
            changed[at] = (compressed(&bytes), bytes.len());
            refusals.note(&format!("{what}, compressed"), at, judge(&file_of(&changed)));
        }
    };
    for at in 0..9 {
        refused("spaces", at, &vec![b' '; 3 << 20]);
        refused("one byte more than a document has", at, &vec![b' '; (4 << 20) + 1]);
        refused("nested brackets", at, &vec![b'['; 2 << 20]);
        refused("brackets in their place", at, format!("{{\"schemaVersion\":2,\"manifests\":{}", "[".repeat(1 << 20)).as_bytes());
    }
    refused("100 MiB", 1, &vec![b' '; 100 << 20]);
    insta::assert_snapshot!(refusals.table());
}
