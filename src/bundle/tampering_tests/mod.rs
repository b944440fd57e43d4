//! Whatever is changed in a bundle, it is refused, and the refusal says what was found.
//!
//! Each table has its refusals in a snapshot beside it: what was changed, and every message that this gave. `b` stands for the bundle.

mod bombs;
mod flips;
mod members;
mod table;
mod truncation;
mod trusted;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::frame::{Encoder, check_value, raw_begin, raw_blocks, raw_seal};
use super::layout::Member;
use super::open::{VerifiedBundle, open_file};
use super::seek_table::{self, Entry};
use super::testing::{Builder, noise, small, threads};
use super::trust::testing::key;
use super::trust::{TrustPolicy, Unsigned};
use super::{Limits, Result};
use crate::event::Silent;
use crate::io::CHUNK;

/// A file in memory.
struct Memory(File);

impl Memory {
    fn new(bytes: &[u8]) -> Self {
        let file = File::from(rustix::fs::memfd_create("bundle", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.write_all_at(bytes, 0).unwrap();
        Self(file)
    }

    fn verified(&self) -> Result<VerifiedBundle> {
        let policy = TrustPolicy { keys: vec![key(1).public()], required: 1, unsigned: Unsigned::Refuse };
        open_file(self.0.try_clone().unwrap(), Path::new("b"), &Limits::FORMAT)?.verify(&policy, &[])
    }

    /// Opens, reads and checks everything; `Err` says who refused, and why.
    fn judge(&self) -> std::result::Result<(), String> {
        let said = |error: &dyn std::error::Error| match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        let bundle = self.verified().map_err(|error| said(&error))?;
        match bundle.check_content(threads(2), &Silent).map_err(|error| said(&error))?.first() {
            None => Ok(()),
            Some(problem) => Err(format!("verify: {}: {}", problem.member, problem.cause)),
        }
    }
}

fn judge(bytes: &[u8]) -> std::result::Result<(), String> {
    Memory::new(bytes).judge()
}

/// Signs a bundle with the trusted key, and with one that nobody knows.
fn signed(builder: &Builder) -> Vec<u8> {
    let bundle = builder.parts.clone().assemble().unwrap();
    let signatures = [1, 2].map(|n| key(n).sign(bundle.root()).to_member(bundle.root(), key(n).public().key_id()));
    let mut bytes = Vec::new();
    bundle.signed(signatures.to_vec()).write(&builder.store, &mut bytes, threads(2), &Silent).unwrap();
    assert_eq!(judge(&bytes), Ok(()));
    bytes
}

/// A few kilobytes with everything in it, raw frames and compressed ones.
fn small_bundle() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let mut builder = small(directory.path());
    builder.file("/opt/noise", &noise(900, 8));
    builder.file("/opt/empty", b"");
    signed(&builder)
}

/// The same with blobs of several chunks, raw and compressed.
fn large_bundle() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let mut builder = small(directory.path());
    let chunk = usize::try_from(CHUNK).unwrap();
    builder.file("/opt/noise", &noise(chunk + 70_000, 7));
    builder.file("/opt/text", &b"the same line again\n".repeat(chunk / 20 + 5000));
    signed(&builder)
}

/// Where the tail begins, and the frames before it.
fn frames(bytes: &[u8]) -> (usize, Vec<Entry>) {
    let footer = bytes[bytes.len() - seek_table::FOOTER..].try_into().unwrap();
    let start = bytes.len() - seek_table::len(seek_table::frames_in_footer(footer).unwrap() as usize);
    (start, seek_table::parse(&bytes[start..], start as u64).unwrap())
}

/// The bytes of a frame as they stand in the file.
fn of(entry: Entry, bytes: &[u8]) -> &[u8] {
    let offset = usize::try_from(entry.offset).unwrap();
    &bytes[offset..offset + entry.compressed as usize]
}

/// The frames of a bundle, uncompressed: one for each member of a small one, and the end.
fn unpack(bytes: &[u8]) -> Vec<Vec<u8>> {
    frames(bytes).1.into_iter().map(|entry| zstd::stream::decode_all(of(entry, bytes)).unwrap()).collect()
}

/// The name and the size in a tar header.
fn described(plain: &[u8]) -> Member {
    super::layout::describe_header(plain).unwrap()
}

fn compressed(plain: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    Encoder::new().unwrap().encode(plain, &mut frame).unwrap();
    frame
}

fn raw(plain: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    raw_begin(&mut frame, plain.len());
    let mut at = 0;
    for block in raw_blocks(plain.len()) {
        let next = at + block.len();
        frame[block].copy_from_slice(&plain[at..next]);
        at = next;
    }
    raw_seal(&mut frame, plain.len());
    frame
}

/// Frames as they stand in a file, with the length that the table gives them, and a tail that fits.
fn file_of(frames: &[(Vec<u8>, usize)]) -> Vec<u8> {
    let (mut bytes, mut entries) = (Vec::new(), Vec::new());
    for (frame, plain) in frames {
        let [compressed, length] = [frame.len(), *plain].map(|len| u32::try_from(len).unwrap());
        entries.push(Entry { offset: 0, compressed, plain: length, check: check_value(frame, *plain) });
        bytes.extend(frame);
    }
    bytes.extend(seek_table::encode(&entries));
    bytes
}

fn pack(frames: &[Vec<u8>]) -> Vec<u8> {
    file_of(&frames.iter().map(|plain| (compressed(plain), plain.len())).collect::<Vec<_>>())
}

fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let member = Member::named(name, content.len() as u64);
    let mut bytes = member.header();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len() + usize::try_from(member.padding()).unwrap(), 0);
    bytes
}

/// What was changed, and every refusal that it gave.
#[derive(Default)]
struct Refusals {
    cases: usize,
    by_change: BTreeMap<String, BTreeSet<String>>,
}

impl Refusals {
    /// Notes what became of a change; nothing may be accepted.
    fn note(&mut self, change: &str, at: impl std::fmt::Display, outcome: std::result::Result<(), String>) {
        let refusal = outcome.expect_err(&format!("{change} at {at} was accepted"));
        self.cases += 1;
        self.by_change.entry(change.to_owned()).or_default().insert(anonymous(&refusal));
    }

    /// The table, for a snapshot.
    fn table(&self) -> String {
        let rows = self.by_change.iter().map(|(change, refusals)| {
            let refusals = refusals.iter().map(|refusal| format!("    {refusal}\n"));
            format!("{change}\n{}", refusals.collect::<String>())
        });
        rows.collect()
    }
}

/// Digests, key ids and numbers differ from place to place.
fn anonymous(text: &str) -> String {
    let hex = regex_lite::Regex::new("[0-9a-f]{64}").unwrap();
    let number = regex_lite::Regex::new(r"\b[0-9]+\b").unwrap();
    number.replace_all(&hex.replace_all(text, "…"), "N").replace("shaN:", "").replace("shaN", "sha256")
}
