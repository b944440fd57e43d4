//! The seek table: a skippable frame that says how long each frame is (zstd's contrib/seekable_format, without its checksums, because
//! each frame has its own).

/// Magic of the skippable frame.
const SKIPPABLE: u32 = 0x184D_2A5E;
/// Magic at the very end of the file.
const SEEKABLE: u32 = 0x8F92_EAB1;
/// Number of frames, descriptor, magic.
pub(super) const FOOTER: usize = 9;
const HEADER: usize = 8;
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
}

/// The bytes of the table for frames of (compressed, plain) bytes.
pub(super) fn encode(frames: &[(u32, u32)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len(frames.len()));
    bytes.extend_from_slice(&SKIPPABLE.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(len(frames.len()) - HEADER).unwrap_or(u32::MAX).to_le_bytes());
    for (compressed, plain) in frames {
        bytes.extend_from_slice(&compressed.to_le_bytes());
        bytes.extend_from_slice(&plain.to_le_bytes());
    }
    bytes.extend_from_slice(&u32::try_from(frames.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&SEEKABLE.to_le_bytes());
    bytes
}

/// Bytes of a table with `frames` entries.
pub(super) fn len(frames: usize) -> usize {
    HEADER + frames * ENTRY + FOOTER
}

/// The number of frames that the last bytes of a file state; `None` where they are no footer.
pub(super) fn frames_in_footer(footer: [u8; FOOTER]) -> Option<u32> {
    let [a, b, c, d, descriptor, magic @ ..] = footer;
    (descriptor == 0 && magic == SEEKABLE.to_le_bytes()).then(|| u32::from_le_bytes([a, b, c, d]))
}

/// The frames of a table that begins at byte `start` of its file; `None` where they do not fill the file up to there, or any byte is
/// not as [`encode`] writes it.
pub(super) fn parse(bytes: &[u8], start: u64) -> Option<Vec<Entry>> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let entries = rest.get(..rest.len().checked_sub(FOOTER)?)?;
    let expected = [SKIPPABLE.to_le_bytes(), u32::try_from(rest.len()).ok()?.to_le_bytes()].concat();
    if header != expected || !entries.len().is_multiple_of(ENTRY) {
        return None;
    }
    let mut offset = 0;
    let mut frames = Vec::with_capacity(entries.len() / ENTRY);
    for entry in entries.as_chunks::<ENTRY>().0 {
        let word = u64::from_le_bytes(*entry);
        let [compressed, plain] = [word & u64::from(u32::MAX), word >> 32].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
        frames.push(Entry { offset, compressed, plain });
        offset += u64::from(compressed);
    }
    (offset == start).then_some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let frames = [(10, 20), (30, 40)];
        let bytes = encode(&frames);
        assert_eq!(bytes.len(), len(2));
        assert_eq!(frames_in_footer(bytes[bytes.len() - FOOTER..].try_into().unwrap()), Some(2));
        let entries = [Entry { offset: 0, compressed: 10, plain: 20 }, Entry { offset: 10, compressed: 30, plain: 40 }];
        assert_eq!(parse(&bytes, 40).unwrap(), entries);
        assert_eq!(parse(&bytes, 41), None);
        for at in 0..8 {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(parse(&bad, 40), None, "byte {at}");
        }
    }
}
