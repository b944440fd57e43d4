//! Seek tables that lie about whole frames.

use super::{Refusals, frames, judge, small_bundle};
use crate::bundle::frame::check_value;
use crate::bundle::seek_table::{self, Entry};

/// The frames of `bytes` under another table, with check values that fit it as far as there are bytes.
fn under(bytes: &[u8], tail: usize, entries: &[Entry]) -> Vec<u8> {
    let mut at = 0usize;
    let entries: Vec<Entry> = entries
        .iter()
        .map(|entry| {
            let end = at.saturating_add(entry.compressed as usize);
            let check = bytes[..tail].get(at..end).map_or(0, |frame| check_value(frame, entry.plain as usize));
            at = end;
            Entry { check, ..*entry }
        })
        .collect();
    [&bytes[..tail], &seek_table::encode(&entries)].concat()
}

#[test]
fn refuses_a_seek_table_that_lies() {
    let bytes = small_bundle();
    let (tail, entries) = frames(&bytes);
    let mut refusals = Refusals::default();
    let mut lie = |what: &str, at: usize, change: &dyn Fn(&mut Vec<Entry>)| {
        let mut changed = entries.clone();
        change(&mut changed);
        refusals.note(what, at, judge(&under(&bytes, tail, &changed)));
    };
    for at in 0..entries.len() - 1 {
        lie("a border one byte later", at, &|entries| {
            entries[at].compressed += 1;
            entries[at + 1].compressed -= 1;
        });
        lie("a border one byte earlier", at, &|entries| {
            entries[at].compressed -= 1;
            entries[at + 1].compressed += 1;
        });
        lie("a byte of content in the next frame", at, &|entries| {
            entries[at].plain += 1;
            entries[at + 1].plain -= 1;
        });
        lie("a frame of no bytes and one of twice as many", at, &|entries| {
            entries[at + 1].compressed += entries[at].compressed;
            entries[at].compressed = 0;
        });
        lie("two frames as one", at, &|entries| {
            entries[at].compressed += entries[at + 1].compressed;
            entries[at].plain += entries[at + 1].plain;
            entries.remove(at + 1);
        });
        lie("a frame too many, of no bytes", at, &|entries| entries.insert(at, Entry { compressed: 0, plain: 0, ..entries[at] }));
        lie("two entries that point at the same bytes", at, &|entries| entries.insert(at, entries[at]));
        lie("entries missing", at, &|entries| entries.truncate(at));
        lie("a frame of 4 GiB", at, &|entries| entries[at].compressed = u32::MAX);
        lie("4 GiB of content", at, &|entries| entries[at].plain = u32::MAX);
        lie("content of the limit", at, &|entries| entries[at].plain = (8 << 20) + 2048);
        lie("content beyond the limit", at, &|entries| entries[at].plain = (8 << 20) + 2049);
    }
    lie("no frames", 0, &|entries| entries.clear());
    lie("lengths that add up to terabytes", 0, &|entries| {
        let huge = Entry { compressed: u32::MAX, ..entries[0] };
        entries.resize(4000, huge);
    });
    for count in [1, u32::try_from(entries.len()).unwrap() + 1, 4_000_000, 4_000_001, u32::MAX] {
        let mut changed = bytes.clone();
        let at = changed.len() - seek_table::FOOTER;
        changed[at..at + 4].copy_from_slice(&count.to_le_bytes());
        refusals.note(&format!("a footer that states {count} frames"), at, judge(&changed));
    }
    let mut alone = seek_table::encode(&[]);
    let at = alone.len() - seek_table::FOOTER;
    refusals.note("a tail and nothing else", 0, judge(&alone));
    alone[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    refusals.note("a tail of 4 billion frames and nothing else", 0, judge(&alone));
    insta::assert_snapshot!(refusals.table());
}
