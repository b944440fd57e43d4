//! One more signature inside a bundle: the frames are copied as they are, and the root, so the identity, stays the same.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::frame::{Encoder, check_value, only_frame};
use super::layout::{Member, signature_names};
use super::open::Listing;
use super::seek_table::{self, Entry};
use super::trust::{MAX_SIGNATURES, SignatureMember};
use super::{Error, Result};
use crate::fs;
use crate::types::ByteSize;

/// `oci-layout`, `index.json`, root: one frame each, because a document is smaller than a chunk.
const BEFORE: usize = 3;

impl Listing {
    /// Writes the bundle with these signatures beside those that it has; one by the same key takes the place of the old one. The
    /// result is what the writer would have made with all of them at once. Content is copied and not looked at: what was damaged
    /// before is refused afterwards as well. Gives the number of signatures that it has then.
    ///
    /// # Errors
    /// More signatures than a bundle may have, the bundle cannot be read, or the file cannot be written. What was at `path` is then as it was.
    pub fn embed(&self, added: Vec<SignatureMember>, path: &Path) -> Result<usize> {
        let mut signatures = added;
        signatures.extend(self.signatures().iter().cloned());
        // A stable sort: of two by one key the added one stands first, and stays.
        signatures.sort_by_key(|signature| *signature.key_id.as_bytes());
        signatures.dedup_by(|later, first| later.key_id == first.key_id);
        if signatures.len() > MAX_SIGNATURES {
            let (found, limit) = (signatures.len() as u64, MAX_SIGNATURES as u64);
            return Err(Error::Limit { what: "the number of signatures".to_owned(), found, limit });
        }
        let free = fs::free_bytes(fs::parent(path))?;
        let pending = fs::AtomicFile::create(path)?;
        let written = self.copy_frames(&signatures, pending.file()).map_err(|error| match error {
            Error::Write { source } => fs::Error::new("write", path, source).into(),
            other => other,
        });
        written.and_then(|()| Ok(pending.commit(0o644)?)).map(|()| signatures.len()).map_err(|error| match error {
            Error::File(fs::Error { source, .. }) if fs::is_full(&source) => {
                Error::NoSpace { path: path.to_owned(), needs: ByteSize(self.size() + (1 << 20)), free: ByteSize(free), source }
            }
            other => other,
        })
    }

    fn copy_frames(&self, signatures: &[SignatureMember], file: &File) -> Result<()> {
        let failed = |source: io::Error| Error::Write { source };
        let archive = &self.carried.archive;
        let mut out = Copy { out: BufWriter::with_capacity(1 << 20, file), entries: Vec::new(), offset: 0 };
        let mut frame = Vec::new();
        let behind = BEFORE + 2 * self.signatures().len();
        for index in 0..BEFORE {
            let entry = archive.read_frame(index, &mut frame)?;
            out.frame(&frame, entry.plain, entry.check).map_err(failed)?;
        }
        let mut encoder = Encoder::new().map_err(failed)?;
        for signature in signatures {
            let contents = [&signature.sigstore_json, &signature.der_base64_sig];
            for (name, content) in signature_names(&signature.key_id).into_iter().zip(contents) {
                let member = Member::named(name, content.len() as u64);
                let mut plain = member.header();
                plain.extend_from_slice(content);
                plain.resize(plain.len() + usize::try_from(member.padding()).unwrap_or(0), 0);
                let frame = only_frame(&mut encoder, &plain).map_err(failed)?;
                let check = check_value(&frame, plain.len());
                out.frame(&frame, u32::try_from(plain.len()).unwrap_or(u32::MAX), check).map_err(failed)?;
            }
        }
        for index in behind..archive.frames().len() {
            let entry = archive.read_frame(index, &mut frame)?;
            out.frame(&frame, entry.plain, entry.check).map_err(failed)?;
        }
        out.finish().map_err(failed)
    }
}

/// A file that grows frame by frame.
struct Copy<W> {
    out: W,
    entries: Vec<Entry>,
    offset: u64,
}

impl<W: Write> Copy<W> {
    fn frame(&mut self, frame: &[u8], plain: u32, check: u64) -> io::Result<()> {
        let compressed = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry { offset: self.offset, compressed, plain, check });
        self.offset += u64::from(compressed);
        self.out.write_all(frame)
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&seek_table::encode(&self.entries))?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Limits;
    use crate::bundle::open::open;
    use crate::bundle::testing::{Builder, noise, small, threads};
    use crate::bundle::trust::testing::key;
    use crate::event::Silent;
    use crate::io::CHUNK;

    fn by(n: u8, root: &[u8]) -> SignatureMember {
        key(n).sign(root).to_member(root, key(n).public().key_id())
    }

    fn write(builder: &Builder, signers: &[u8], path: &Path) -> Vec<u8> {
        let bundle = builder.parts.clone().assemble().unwrap();
        let signatures = signers.iter().map(|n| by(*n, bundle.root())).collect();
        bundle.signed(signatures).write_file(&builder.store, path, threads(2), &Silent).unwrap();
        fs::read(path, 1 << 30).unwrap()
    }

    fn embed(path: &Path, signers: &[u8]) -> Vec<u8> {
        let listing = open(path, &Limits::FORMAT).unwrap().read_listing().unwrap();
        listing.embed(signers.iter().map(|n| by(*n, listing.root())).collect(), path).unwrap();
        fs::read(path, 1 << 30).unwrap()
    }

    #[test]
    fn gives_the_bytes_that_a_bundle_has_when_all_sign_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut builder = small(directory.path());
        builder.file("/opt/noise", &noise(usize::try_from(CHUNK).unwrap() + 5, 3));
        builder.file("/opt/text", &b"again and again ".repeat(100_000));
        let path = |name: &str| directory.path().join(name);
        for (before, added) in [(&[][..], &[1][..]), (&[1], &[2]), (&[2], &[1]), (&[1, 3], &[2]), (&[1], &[1]), (&[1, 2], &[3, 2, 4])] {
            let mut all = [before, added].concat();
            all.sort_unstable();
            all.dedup();
            let expected = write(&builder, &all, &path("expected"));
            write(&builder, before, &path("signed"));
            assert!(embed(&path("signed"), added) == expected, "{before:?} and {added:?}");
        }
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap();
        assert_eq!(left, [path("expected"), path("signed"), path("store")]);
    }

    #[test]
    fn refuses_more_signatures_than_are_looked_at_and_leaves_the_bundle_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b");
        let before = write(&small(directory.path()), &[1], &path);
        let listing = open(&path, &Limits::FORMAT).unwrap().read_listing().unwrap();
        let many = (2..=66).map(|n| by(n, listing.root())).collect();
        assert!(matches!(listing.embed(many, &path), Err(Error::Limit { .. })));
        assert!(fs::read(&path, 1 << 30).unwrap() == before);
    }
}
