//! Files that end early or late, and archives that do although the file is whole.

use super::{Refusals, compressed, file_of, frames, judge, pack, small_bundle, unpack};

/// At each frame boundary (also where a member begins), each boundary inside a member, and one byte before and behind.
#[test]
fn refuses_a_file_that_ends_at_any_boundary() {
    let bytes = small_bundle();
    let (tail, entries) = frames(&bytes);
    let count = entries.len();
    let mut ends: Vec<(&str, usize)> = vec![("nothing", 0), ("behind the frames", tail), ("behind the check values", tail + 8 + 8 * count)];
    for entry in &entries {
        let start = usize::try_from(entry.offset).unwrap();
        ends.push(("a frame", start));
        if entry.check == 0 {
            ends.push(("the tar header of a raw frame", start + 12 + 512));
            ends.push(("the checksum of a raw frame", start + entry.compressed as usize - 4));
        }
    }
    let mut refusals = Refusals::default();
    for (what, end) in ends {
        for len in [end.saturating_sub(1), end, end + 1] {
            refusals.note(what, len, judge(&bytes[..len]));
        }
    }
    for missing in 1..=8 * count + 17 {
        refusals.note("the seek table", missing, judge(&bytes[..bytes.len() - missing]));
    }
    for (what, more) in [("more behind", &b"x"[..]), ("a frame behind", &compressed(b"x")), ("a tail behind", &bytes[tail..])] {
        refusals.note(what, "the end", judge(&[&bytes, more].concat()));
        refusals.note(&what.replace("behind", "before"), "the start", judge(&[more, &bytes].concat()));
    }
    insta::assert_snapshot!(refusals.table());
}

/// Somebody cut the archive and made a tail that fits.
#[test]
fn refuses_an_archive_that_ends_early_in_a_whole_file() {
    let frames = unpack(&small_bundle());
    let mut refusals = Refusals::default();
    for count in 0..frames.len() {
        refusals.note("members missing at the end", count, judge(&pack(&frames[..count])));
        let mut shorter = frames[..count].to_vec();
        shorter.push(frames[count][..frames[count].len() - 1].to_vec());
        refusals.note("the last member one byte shorter", count, judge(&pack(&shorter)));
        shorter[count] = [&frames[count][..], &[0]].concat();
        refusals.note("the last member one byte longer", count, judge(&pack(&shorter)));
        shorter[count] = frames[count][..frames[count].len().min(512)].to_vec();
        refusals.note("the last member is a header", count, judge(&pack(&shorter)));
        let mut empty: Vec<_> = frames.iter().map(|plain| (compressed(plain), plain.len())).collect();
        empty[count] = (Vec::new(), 0);
        refusals.note("an empty frame", count, judge(&file_of(&empty)));
    }
    insta::assert_snapshot!(refusals.table());
}
