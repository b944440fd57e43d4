//! One changed byte, anywhere.

use super::{Memory, Refusals, described, frames, large_bundle, of, small_bundle, unpack};
use crate::bundle::frame::raw_blocks;
use crate::bundle::seek_table::{self, FOOTER};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// Every byte of a file belongs to a region.
fn regions(bytes: &[u8]) -> Vec<(String, Range<usize>)> {
    let (tail, entries) = frames(bytes);
    let mut regions = Vec::new();
    let mut current = None;
    for (entry, plain) in entries.iter().zip(unpack(bytes)) {
        let start = usize::try_from(entry.offset).unwrap();
        let frame = of(*entry, bytes);
        let begins = plain.get(257..263) == Some(b"ustar\0");
        if begins {
            current = Some(described(&plain));
        }
        let name = current.as_ref().filter(|_| plain != [0; 1024]).map_or("end of archive".to_owned(), |member| what(&member.name));
        if entry.check != 0 {
            regions.push((format!("{name}, compressed frame"), start..start + frame.len()));
            continue;
        }
        let size = current.as_ref().map_or(0, |member| usize::try_from(member.size).unwrap());
        let mut at = 0;
        let mut before = 0;
        for (seen, block) in raw_blocks(plain.len()).enumerate() {
            let header = if before == 0 { "frame header" } else { "block header" };
            regions.push((format!("{name}, raw frame, {header}"), start + before..start + block.start));
            let head = if begins && seen == 0 { 512 } else { 0 };
            if head > 0 {
                regions.push((format!("{name}, raw frame, tar header"), start + block.start..start + block.start + head));
            }
            let content = (size + 512 * usize::from(begins)).saturating_sub(at).min(block.len()) + block.start;
            let content = content.max(block.start + head).min(block.end);
            if size > 0 {
                regions.push((format!("{name}, raw frame, content"), start + block.start + head..start + content));
            }
            regions.push((format!("{name}, raw frame, padding"), start + content..start + block.end));
            at += block.len();
            before = block.end;
        }
        regions.push((format!("{name}, raw frame, checksum"), start + before..start + frame.len()));
    }
    let table = tail + (seek_table::len(entries.len()) - FOOTER - 8 * entries.len() - 8);
    regions.push(("check values, header".to_owned(), tail..tail + 8));
    regions.push(("check values, entries".to_owned(), tail + 8..table));
    regions.push(("seek table, header".to_owned(), table..table + 8));
    regions.push(("seek table, entries".to_owned(), table + 8..bytes.len() - FOOTER));
    regions.push(("seek table, footer".to_owned(), bytes.len() - FOOTER..bytes.len()));
    regions.retain(|(_, range)| !range.is_empty());
    regions
}

fn what(member: &str) -> String {
    match member.split_once('/') {
        Some(("signatures", name)) => name.split_once('.').map_or("", |(_, end)| end).to_owned(),
        Some(_) => "blob".to_owned(),
        None => member.to_owned(),
    }
}

/// Changes bytes of a file in place, one after another, and puts each back.
fn flip(memory: &Memory, bytes: &[u8], region: &str, places: impl IntoIterator<Item = usize>, masks: &[u8], refusals: &mut Refusals) {
    for at in places {
        for mask in masks {
            memory.0.write_all_at(&[bytes[at] ^ mask], at as u64).unwrap();
            refusals.note(region, at, memory.judge());
        }
        memory.0.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
}

#[test]
fn refuses_every_changed_byte_of_a_small_bundle() {
    let bytes = small_bundle();
    let memory = Memory::new(&bytes);
    let regions = regions(&bytes);
    assert_eq!(regions.iter().map(|(_, range)| range.len()).sum::<usize>(), bytes.len());
    let mut refusals = Refusals::default();
    for (region, range) in regions {
        range.for_each(|at| flip(&memory, &bytes, &region, [at], &[1 << (at % 8)], &mut refusals));
    }
    assert_eq!(refusals.cases, bytes.len());
    assert_eq!(memory.judge(), Ok(()));
    insta::assert_snapshot!(refusals.table());
}

/// A bit of each byte of what zstd made: some of them mean nothing to zstd, and are refused all the same.
#[test]
fn refuses_every_flipped_bit_of_a_compressed_frame() {
    let bytes = small_bundle();
    let memory = Memory::new(&bytes);
    let mut refusals = Refusals::default();
    let entry = frames(&bytes).1[1];
    let start = usize::try_from(entry.offset).unwrap();
    let masks: Vec<u8> = (0..8).map(|bit| 1 << bit).collect();
    flip(&memory, &bytes, "index.json", start..start + entry.compressed as usize, &masks, &mut refusals);
    assert_eq!(
        refusals.table(),
        "index.json\n    refused bundle `b`: index.json: the bytes of a frame are not those that its check value was made of\n"
    );
}

#[test]
fn refuses_changed_bytes_in_every_region_of_a_blob_of_several_chunks() {
    let bytes = large_bundle();
    let memory = Memory::new(&bytes);
    let mut refusals = Refusals::default();
    let mut seen: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for (region, range) in regions(&bytes).into_iter().filter(|(region, _)| region.starts_with("blob")) {
        // The first and last regions of a kind; there are 65 blocks in a chunk, one like the other.
        let count = seen.entry(region.clone()).or_default();
        *count += 1;
        if *count > 4 && range.end + 200_000 < bytes.len() {
            continue;
        }
        let places = [range.start, range.start + range.len() / 2, range.end - 1];
        flip(&memory, &bytes, &region, places, &[0x10], &mut refusals);
    }
    assert!(refusals.cases > 60, "{}", refusals.cases);
    insta::assert_snapshot!(refusals.table());
}
