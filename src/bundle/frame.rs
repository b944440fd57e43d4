//! Frames: the compressed form of one chunk (RFC 8878, section 3.1.1).
//!
//! Content that is compressed already, or that gains too little, is stored in raw blocks: a frame that every zstd reads, whose bytes
//! lie where they can be computed. Everything else is level 3. Which of the two is decided by [`Form::of`] from the media type and
//! the first frame alone.

use std::hash::Hasher as _;
use std::ops::Range;

use twox_hash::XxHash64;
use zstd::zstd_safe::{self, CParameter};

use super::limits::Limits;
use super::seek_table::Entry;

/// The largest block of a frame (RFC 8878, section 3.1.1.2.4).
const BLOCK: usize = 128 << 10;
/// Magic, descriptor, and four bytes of content size.
const RAW_HEADER: usize = 9;
/// Single segment, four bytes of content size, checksum (RFC 8878, section 3.1.1.1.1).
const RAW_DESCRIPTOR: u8 = 0b1010_0100;
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The only level: the last one whose speed is near that of SHA-256.
const LEVEL: i32 = 3;

/// How the frames of a member are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In raw blocks.
    Raw,
    /// At level 3.
    Compressed,
}

impl Form {
    /// The form of a member whose first frame of `plain` bytes took `compressed` bytes: raw where that saves less than 1/32.
    pub(super) fn of(plain: usize, compressed: usize) -> Self {
        if compressed > plain - plain / 32 { Self::Raw } else { Self::Compressed }
    }
}

/// The length of a raw frame with `plain` bytes.
pub(super) fn raw_len(plain: usize) -> usize {
    RAW_HEADER + plain + 3 * plain.div_ceil(BLOCK) + 4
}

/// Where the bytes lie in a raw frame, block by block.
pub(super) fn raw_blocks(plain: usize) -> impl Iterator<Item = Range<usize>> {
    (0..plain.div_ceil(BLOCK)).map(move |index| {
        let start = RAW_HEADER + index * (BLOCK + 3) + 3;
        start..start + BLOCK.min(plain - index * BLOCK)
    })
}

/// Writes the headers of a raw frame for `plain` bytes; the blocks of [`raw_blocks`] are to be filled, and then [`raw_seal`] called.
pub(super) fn raw_begin(frame: &mut Vec<u8>, plain: usize) {
    frame.resize(raw_len(plain), 0);
    frame[..RAW_HEADER].copy_from_slice(&raw_header(plain));
    for block in raw_blocks(plain) {
        let last = block.end == frame.len() - 4;
        frame[block.start - 3..block.start].copy_from_slice(&block_header(block.len(), last));
    }
}

/// Writes the checksum of a raw frame whose blocks are filled.
pub(super) fn raw_seal(frame: &mut [u8], plain: usize) {
    let sum = raw_checksum(frame, plain);
    let end = frame.len();
    frame[end - 4..].copy_from_slice(&sum);
}

fn raw_checksum(frame: &[u8], plain: usize) -> [u8; 4] {
    let mut hasher = XxHash64::with_seed(0);
    raw_blocks(plain).for_each(|block| hasher.write(&frame[block]));
    low_bytes(hasher.finish())
}

fn low_bytes(sum: u64) -> [u8; 4] {
    let [a, b, c, d, ..] = sum.to_le_bytes();
    [a, b, c, d]
}

fn raw_header(plain: usize) -> [u8; RAW_HEADER] {
    let mut header = [0; RAW_HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4] = RAW_DESCRIPTOR;
    header[5..].copy_from_slice(&u32::try_from(plain).unwrap_or(u32::MAX).to_le_bytes());
    header
}

fn block_header(len: usize, last: bool) -> [u8; 3] {
    let [a, b, c, _] = (u32::try_from(len).unwrap_or(u32::MAX) << 3 | u32::from(last)).to_le_bytes();
    [a, b, c]
}

/// What the tail of a file says of a frame of `plain` bytes: XXH64 of the frame's bytes, or 0 for a raw frame, of whose bytes each has
/// its one value already.
pub(super) fn check_value(frame: &[u8], plain: usize) -> u64 {
    if is_raw(frame, plain) { 0 } else { XxHash64::oneshot(0, frame) }
}

/// Makes level-3 frames.
pub(super) struct Encoder(zstd::bulk::Compressor<'static>);

impl Encoder {
    pub(super) fn new() -> std::io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        Ok(Self(compressor))
    }

    /// Replaces `frame` by the frame of `plain`.
    pub(super) fn encode(&mut self, plain: &[u8], frame: &mut Vec<u8>) -> std::io::Result<()> {
        frame.clear();
        frame.reserve(zstd_safe::compress_bound(plain.len()));
        self.0.compress_to_buffer(plain, frame).map(|_| ())
    }
}

/// The frame of a member that has one alone, out of all its bytes: what the writer makes of a member whose media type says nothing.
pub(super) fn only_frame(encoder: &mut Encoder, plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut frame = Vec::new();
    encoder.encode(plain, &mut frame)?;
    if Form::of(plain.len(), frame.len()) == Form::Raw {
        raw_begin(&mut frame, plain.len());
        for (block, bytes) in raw_blocks(plain.len()).zip(plain.chunks(BLOCK)) {
            frame[block].copy_from_slice(bytes);
        }
        raw_seal(&mut frame, plain.len());
    }
    Ok(frame)
}

/// Whether the checksum of a raw frame is compared. It proves nothing where the content is hashed as well, and it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    /// It is compared.
    Compare,
    /// The caller hashes the content.
    Skip,
}

/// Reads frames of either form.
pub(super) struct Decoder {
    zstd: zstd::bulk::Decompressor<'static>,
    plain: Vec<u8>,
}

/// The bytes of a frame: one slice, or the blocks of a raw frame.
#[derive(Clone, Copy)]
pub(super) enum Plain<'a> {
    Raw { frame: &'a [u8], len: usize },
    Whole(&'a [u8]),
}

impl<'a> Plain<'a> {
    /// The bytes in order.
    pub(super) fn pieces(self) -> impl Iterator<Item = &'a [u8]> {
        let (raw, whole) = match self {
            Self::Raw { frame, len } => (Some(raw_blocks(len).map(move |block| &frame[block])), None),
            Self::Whole(bytes) => (None, Some(bytes)),
        };
        raw.into_iter().flatten().chain(whole)
    }
}

impl Decoder {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Decompressor::new()?, plain: Vec::new() })
    }

    /// The bytes of a frame, which must be what its entry in the seek table says, whose lengths are under the limits already.
    pub(super) fn decode<'a>(
        &'a mut self,
        frame: &'a [u8],
        entry: Entry,
        checksum: Checksum,
        limits: &Limits,
    ) -> Result<Plain<'a>, &'static str> {
        let len = entry.plain as usize;
        if check_value(frame, len) != entry.check {
            return Err("the bytes of a frame are not those that its check value was made of");
        }
        if is_raw(frame, len) {
            if checksum == Checksum::Compare && raw_checksum(frame, len) != frame[frame.len() - 4..] {
                return Err("the checksum of a frame differs");
            }
            return Ok(Plain::Raw { frame, len });
        }
        check_header(frame, len, limits)?;
        if zstd_safe::find_frame_compressed_size(frame) != Ok(frame.len()) {
            return Err("a frame does not end where the seek table says");
        }
        self.plain.clear();
        self.plain.reserve(len);
        match self.zstd.decompress_to_buffer(frame, &mut self.plain) {
            Ok(got) if got == len => Ok(Plain::Whole(&self.plain)),
            Ok(_) => Err("a frame has another length than it states"),
            Err(_) => Err("a frame cannot be decompressed"),
        }
    }
}

/// Whether a frame has exactly the structure that [`raw_begin`] makes.
fn is_raw(frame: &[u8], len: usize) -> bool {
    frame.len() == raw_len(len)
        && frame[..RAW_HEADER] == raw_header(len)
        && raw_blocks(len).all(|block| frame[block.start - 3..block.start] == block_header(block.len(), block.end == frame.len() - 4))
}

/// The header states the content size and a checksum, no dictionary, and a window under the limit (RFC 8878, section 3.1.1.1).
fn check_header(frame: &[u8], len: usize, limits: &Limits) -> Result<(), &'static str> {
    if frame.len() < 6 || frame[..4] != MAGIC {
        return Err("there is no zstd frame where the seek table says");
    }
    let descriptor = frame[4];
    if descriptor & 0b0000_0100 == 0 || descriptor & 0b0001_1011 != 0 {
        return Err("a frame lacks its checksum, or uses a dictionary or a reserved bit");
    }
    let single_segment = descriptor & 0b0010_0000 != 0;
    let window = if single_segment {
        len as u64
    } else {
        let base = 1u64 << (10 + u32::from(frame[5] >> 3));
        base + (base / 8) * u64::from(frame[5] & 7)
    };
    if window > limits.window_bytes {
        return Err("a frame needs a larger window than is allowed");
    }
    match zstd_safe::get_frame_content_size(frame) {
        Ok(Some(size)) if size == len as u64 => Ok(()),
        _ => Err("a frame states another length than the layout gives it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .take(len)
        .collect()
    }

    fn raw(plain: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        raw_begin(&mut frame, plain.len());
        let mut at = 0;
        for block in raw_blocks(plain.len()) {
            let len = block.len();
            frame[block].copy_from_slice(&plain[at..at + len]);
            at += len;
        }
        raw_seal(&mut frame, plain.len());
        frame
    }

    fn decode(frame: &[u8], len: usize) -> Result<Vec<u8>, &'static str> {
        decode_with(frame, entry(frame, len))
    }

    fn entry(frame: &[u8], len: usize) -> Entry {
        let [compressed, plain] = [frame.len(), len].map(|len| u32::try_from(len).unwrap());
        Entry { offset: 0, compressed, plain, check: check_value(frame, len) }
    }

    fn decode_with(frame: &[u8], entry: Entry) -> Result<Vec<u8>, &'static str> {
        let mut decoder = Decoder::new().unwrap();
        let plain = decoder.decode(frame, entry, Checksum::Compare, &Limits::FORMAT)?;
        Ok(plain.pieces().flatten().copied().collect())
    }

    #[test]
    fn zstd_reads_raw_frames_and_so_do_we() {
        for len in [1, 255, 256, 512, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 1_000_000] {
            let plain = noise(len);
            let frame = raw(&plain);
            assert_eq!(zstd::stream::decode_all(frame.as_slice()).unwrap(), plain, "{len}");
            assert_eq!(decode(&frame, len).unwrap(), plain, "{len}");
        }
    }

    #[test]
    fn refuses_a_flipped_bit_anywhere_in_a_frame() {
        let text: Vec<u8> = b"the same words again and again, ".repeat(40);
        let mut compressed = Vec::new();
        Encoder::new().unwrap().encode(&text, &mut compressed).unwrap();
        assert_eq!(decode(&compressed, text.len()).unwrap(), text);
        for good in [compressed, raw(&noise(700))] {
            let plain = zstd::stream::decode_all(good.as_slice()).unwrap();
            for at in 0..good.len() {
                for bit in 0..8 {
                    let mut bad = good.clone();
                    bad[at] ^= 1 << bit;
                    decode_with(&bad, entry(&good, plain.len())).unwrap_err();
                    // With a check value made for it, a frame may say the same in other words (a window that is larger than it needs).
                    if let Ok(other) = decode(&bad, plain.len()) {
                        assert_eq!(other, plain, "byte {at} bit {bit}");
                    }
                }
            }
        }
    }

    #[test]
    fn refuses_windows_and_lengths_beyond_what_is_allowed() {
        let plain = noise(100);
        let mut frame = Vec::new();
        Encoder::new().unwrap().encode(&plain, &mut frame).unwrap();
        assert_eq!(decode(&frame, 99), Err("a frame states another length than the layout gives it"));
        // No single segment, a window of 2 GiB, one byte of content size is impossible: two bytes (256 + n).
        let window = [0x28, 0xb5, 0x2f, 0xfd, 0b0100_0100, 21 << 3, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode(&window, 256), Err("a frame needs a larger window than is allowed"));
    }
}
