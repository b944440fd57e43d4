//! The tail of a bundle: two skippable frames that no decompressor looks at.
//!
//! The first holds the check values: for each frame a checksum of its bytes as they stand in the file. zstd has bits without meaning, and
//! says the same in many ways; with the check values each byte of the file is one that must be as it is. They defend against
//! damage, not against somebody: what is in the frames is covered by digests under the signed root. The second is the seek table, which says how long each frame
//! is (zstd's contrib/seekable_format, without its checksums, because each frame has its own).

/// Magic of the skippable frame with the check values.
const CHECKS: u32 = 0x184D_2A5C;
/// Magic of the skippable frame with the seek table.
const SKIPPABLE: u32 = 0x184D_2A5E;
/// Magic at the very end of the file.
const SEEKABLE: u32 = 0x8F92_EAB1;
/// Number of frames, descriptor, magic.
pub(super) const FOOTER: usize = 9;
const HEADER: usize = 8;
const CHECK: usize = 8;
const ENTRY: usize = 8;

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// Its length in the file.
    pub(super) compressed: u32,
    /// Its length as it decompresses.
    pub(super) plain: u32,
    /// Its check value: [`super::frame::check_value`].
    pub(super) check: u64,
}

/// The bytes of the tail behind these frames; their offsets are not looked at.
pub(super) fn encode(frames: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len(frames.len()));
    bytes.extend_from_slice(&skippable(CHECKS, frames.len() * CHECK));
    bytes.extend(frames.iter().flat_map(|frame| frame.check.to_le_bytes()));
    bytes.extend_from_slice(&skippable(SKIPPABLE, frames.len() * ENTRY + FOOTER));
    for frame in frames {
        bytes.extend_from_slice(&frame.compressed.to_le_bytes());
        bytes.extend_from_slice(&frame.plain.to_le_bytes());
    }
    bytes.extend_from_slice(&u32::try_from(frames.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&SEEKABLE.to_le_bytes());
    bytes
}

/// Magic and length of a skippable frame (RFC 8878, section 3.1.2).
fn skippable(magic: u32, len: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&magic.to_le_bytes());
    header[4..].copy_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    header
}

/// Bytes of the tail behind so many frames.
pub(super) fn len(frames: usize) -> usize {
    HEADER + frames * CHECK + HEADER + frames * ENTRY + FOOTER
}

/// The number of frames that the last bytes of a file state; `None` where they are no footer.
pub(super) fn frames_in_footer(footer: [u8; FOOTER]) -> Option<u32> {
    let [a, b, c, d, descriptor, magic @ ..] = footer;
    (descriptor == 0 && magic == SEEKABLE.to_le_bytes()).then(|| u32::from_le_bytes([a, b, c, d]))
}

/// The frames of a tail that begins at byte `start` of its file; `None` where they do not fill the file up to there, or any byte is
/// not as [`encode`] writes it.
pub(super) fn parse(bytes: &[u8], start: u64) -> Option<Vec<Entry>> {
    let count = bytes.len().checked_sub(len(0))? / (CHECK + ENTRY);
    let (checks, rest) = bytes.split_at_checked(HEADER + count * CHECK)?;
    let (checks_header, checks) = checks.split_at_checked(HEADER)?;
    let (table_header, rest) = rest.split_at_checked(HEADER)?;
    let (entries, footer) = rest.split_at_checked(count * ENTRY)?;
    let is_right = checks_header == skippable(CHECKS, checks.len())
        && table_header == skippable(SKIPPABLE, rest.len())
        && frames_in_footer(footer.try_into().ok()?) == u32::try_from(count).ok();
    if !is_right {
        return None;
    }
    let mut offset = 0;
    let mut frames = Vec::with_capacity(count);
    for (entry, check) in entries.as_chunks::<ENTRY>().0.iter().zip(checks.as_chunks::<CHECK>().0) {
        let word = u64::from_le_bytes(*entry);
        let [compressed, plain] = [word & u64::from(u32::MAX), word >> 32].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
        frames.push(Entry { offset, compressed, plain, check: u64::from_le_bytes(*check) });
        offset += u64::from(compressed);
    }
    (offset == start).then_some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let frame = |offset, compressed, plain, check| Entry { offset, compressed, plain, check };
        let frames = [frame(0, 10, 20, 7), frame(10, 30, 40, u64::MAX)];
        let bytes = encode(&frames);
        assert_eq!(bytes.len(), len(2));
        assert_eq!(frames_in_footer(bytes[bytes.len() - FOOTER..].try_into().unwrap()), Some(2));
        assert_eq!(parse(&bytes, 40).unwrap(), frames);
        assert_eq!(parse(&bytes, 41), None);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            // What a frame is long as it decompresses, and what its check value is, is compared with the frame.
            assert_ne!(parse(&bad, 40).as_deref(), Some(&frames[..]), "byte {at}");
            assert_eq!(parse(&bytes[..at], 40), None, "{at} bytes");
        }
    }
}
