//! One byte range of a blob (RFC 9110, section 14). Pure.

use std::ops::Range;

/// What part of a blob is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All of it: no range was asked for, or one that a server may ignore (several ranges, another unit, malformed).
    Whole,
    /// These bytes, at least one.
    Range(Range<u64>),
    /// None of the bytes asked for exist.
    Unsatisfiable,
}

/// Reads a `Range` header for a blob of `size` bytes.
pub fn part(header: Option<&str>, size: u64) -> Part {
    header.and_then(|header| parse(header, size)).unwrap_or(Part::Whole)
}

fn parse(header: &str, size: u64) -> Option<Part> {
    let (first, last) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Some(if length == 0 { Part::Unsatisfiable } else { Part::Range(size - length..size) });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(if first >= size { Part::Unsatisfiable } else { Part::Range(first..last.saturating_add(1).min(size)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_range_and_ignores_what_it_may() {
        for (header, size, expected) in [
            (None, 10, Part::Whole),
            (Some("bytes=0-3"), 10, Part::Range(0..4)),
            (Some("bytes=4-"), 10, Part::Range(4..10)),
            (Some("bytes=-3"), 10, Part::Range(7..10)),
            (Some("bytes=-30"), 10, Part::Range(0..10)),
            (Some("bytes=9-18446744073709551615"), 10, Part::Range(9..10)),
            (Some("bytes=10-"), 10, Part::Unsatisfiable),
            (Some("bytes=-0"), 10, Part::Unsatisfiable),
            (Some("bytes=0-"), 0, Part::Unsatisfiable),
            (Some("bytes=3-1"), 10, Part::Whole),
            (Some("bytes=0-1,3-4"), 10, Part::Whole),
            (Some("bytes=+1-4"), 10, Part::Whole),
            (Some("lines=0-1"), 10, Part::Whole),
            (Some("bytes=-"), 10, Part::Whole),
        ] {
            assert_eq!(part(header, size), expected, "{header:?} of {size}");
        }
    }
}
