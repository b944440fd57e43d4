//! The sequence of members: for a root and its signatures there is exactly one, and reader and writer derive it here.
//!
//! A member is cut into frames: the first holds the header and up to 8 MiB of content, each further one up to 8 MiB, and the padding
//! is in the last. So a frame holds exactly one chunk, and an empty member still has a frame. After the members stands one frame
//! with the two zero blocks that end an archive (POSIX.1-2024, pax, "ustar Interchange Format").

use super::media;
use super::trust::{KeyId, SignatureMember};
use crate::io::CHUNK;
use crate::types::oci::{ImageIndex, write};
use crate::types::{Descriptor, Digest};

/// A block of a tar archive.
pub const BLOCK: u64 = 512;
/// The content of `oci-layout` (image-spec `image-layout.md`).
pub const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The blocks that end the archive.
pub const END: [u8; 1024] = [0; 1024];

/// From this size on ustar's eleven octal digits do not suffice, and a PAX record states the size.
const PAX_FROM: u64 = 8 << 30;

/// The names of a signer's two members, in their order.
#[must_use]
pub fn signature_names(key_id: &KeyId) -> [String; 2] {
    [format!("signatures/{key_id}.sigstore.json"), format!("signatures/{key_id}.sig")]
}

/// One member of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its path in the archive.
    pub name: String,
    /// Bytes of content.
    pub size: u64,
    /// For a blob, its descriptor.
    pub blob: Option<Descriptor>,
}

impl Member {
    /// A member that is no blob.
    #[must_use]
    pub fn named(name: impl Into<String>, size: u64) -> Self {
        Self { name: name.into(), size, blob: None }
    }

    /// A blob.
    #[must_use]
    pub fn blob(descriptor: &Descriptor) -> Self {
        Self { name: blob_name(&descriptor.digest), size: descriptor.size, blob: Some(descriptor.clone()) }
    }

    /// The bytes before the content: 512, or 1536 with a PAX record.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        if self.size < PAX_FROM {
            return block(&self.name, self.size, b'0').to_vec();
        }
        let record = pax_size(self.size);
        let mut header = block(&format!("{}.pax", self.name), record.len() as u64, b'x').to_vec();
        header.extend_from_slice(&record);
        header.resize(1024, 0);
        header.extend_from_slice(&block(&self.name, 0, b'0'));
        header
    }

    /// Bytes of zeros after the content, so that the next header begins at a block.
    #[must_use]
    pub fn padding(&self) -> u64 {
        self.size.next_multiple_of(BLOCK) - self.size
    }

    /// How many frames it is cut into: one per chunk, at least one.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.size.div_ceil(CHUNK).max(1)
    }

    /// Bytes of content in its frame number `index`.
    #[must_use]
    pub fn content_of_frame(&self, index: u64) -> u64 {
        (self.size - (index * CHUNK).min(self.size)).min(CHUNK)
    }

    /// Bytes of its frame number `index`, uncompressed: header, content and padding.
    #[must_use]
    pub fn frame_size(&self, index: u64) -> u64 {
        let header = if index == 0 { self.header_size() } else { 0 };
        let padding = if index + 1 == self.frames() { self.padding() } else { 0 };
        header + self.content_of_frame(index) + padding
    }

    /// Length of [`Member::header`].
    #[must_use]
    pub fn header_size(&self) -> u64 {
        if self.size < PAX_FROM { BLOCK } else { 3 * BLOCK }
    }
}

/// Every member for a root, its signatures and what hangs on the root. `signatures` are sorted by key id.
#[must_use]
pub fn members(
    root: &[u8],
    index: &ImageIndex,
    signatures: &[SignatureMember],
    documents: &[Descriptor],
    content: &[Descriptor],
) -> Vec<Member> {
    let root_descriptor = root_descriptor(root);
    let mut members = vec![
        Member::named("oci-layout", OCI_LAYOUT.len() as u64),
        Member::named("index.json", index_json(&root_descriptor, index).len() as u64),
        Member::blob(&root_descriptor),
    ];
    for signature in signatures {
        let [sigstore, der] = signature_names(&signature.key_id);
        members.push(Member::named(sigstore, signature.sigstore_json.len() as u64));
        members.push(Member::named(der, signature.der_base64_sig.len() as u64));
    }
    members.extend(documents.iter().chain(content).map(Member::blob));
    members
}

/// The descriptor of a root.
#[must_use]
pub fn root_descriptor(root: &[u8]) -> Descriptor {
    let mut descriptor = Descriptor::of(crate::types::MediaType::OCI_INDEX, root);
    descriptor.artifact_type = Some(media::ROOT.to_owned());
    descriptor
}

/// `index.json` of the layout: the root, then each image by its reference.
#[must_use]
pub fn index_json(root_descriptor: &Descriptor, root: &ImageIndex) -> Vec<u8> {
    let images = root.manifests.iter().filter_map(|child| {
        let reference = child.annotations.get(media::IMAGE_REFERENCE)?;
        let mut image = Descriptor::new(child.media_type.clone(), child.digest, child.size).annotated(media::REF_NAME, reference);
        image.platform.clone_from(&child.platform);
        Some(image)
    });
    let manifests = std::iter::once(root_descriptor.clone()).chain(images).collect();
    write::index(&ImageIndex { artifact_type: None, manifests, subject: None, annotations: std::collections::BTreeMap::new() })
}

/// The path of a blob in the archive.
#[must_use]
pub fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// What a header says: name, size and how many bytes it takes. Nothing of it is trusted: the caller builds the member that it
/// describes and compares the bytes. `None` where it cannot be the header of a member without PAX record.
#[must_use]
pub fn describe_header(bytes: &[u8]) -> Option<Member> {
    let block = bytes.get(..512)?;
    let name = std::str::from_utf8(&block[..100]).ok()?.trim_end_matches('\0');
    let size = std::str::from_utf8(&block[124..135]).ok()?;
    let size = u64::from_str_radix(size, 8).ok()?;
    Some(Member::named(name, size))
}

/// A ustar header block: mode 0644, owner, group and time zero, no names. A name has at most 100 bytes by construction.
fn block(name: &str, size: u64, kind: u8) -> [u8; 512] {
    let mut block = [0; 512];
    let name = &name.as_bytes()[..name.len().min(100)];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[148..156].fill(b' ');
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// The PAX record `LENGTH size=SIZE\n`; its length counts itself.
fn pax_size(size: u64) -> Vec<u8> {
    let rest = format!(" size={size}\n");
    // A size has at most 20 digits, so the length has two, which it counts.
    let length = rest.len() + 2;
    format!("{length}{rest}").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_tar_reader_sees_what_the_header_means() {
        for size in [0, 1, 511, 512, CHUNK, PAX_FROM - 1, PAX_FROM, PAX_FROM + 7, 1 << 45] {
            let member = Member::named(blob_name(&Digest::of(b"x")), size);
            let header = member.header();
            assert_eq!(header.len() as u64, member.header_size());
            let mut archive = tar::Archive::new(header.as_slice().chain(std::io::repeat(0)));
            let entry = archive.entries().unwrap().next().unwrap().unwrap();
            assert_eq!(entry.size(), size);
            assert_eq!(entry.path().unwrap().to_str().unwrap(), member.name);
            assert_eq!(entry.header().mode().unwrap(), 0o644);
            assert_eq!(entry.header().mtime().unwrap(), 0);
            if size < PAX_FROM {
                assert_eq!(describe_header(&header), Some(member));
            }
        }
    }

    #[test]
    fn frames_cover_header_content_and_padding() {
        for size in [0, 1, 512, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, PAX_FROM + CHUNK + 1] {
            let member = Member::named("x", size);
            let total: u64 = (0..member.frames()).map(|index| member.frame_size(index)).sum();
            assert_eq!(total, member.header_size() + size + member.padding(), "{size}");
            let content: u64 = (0..member.frames()).map(|index| member.content_of_frame(index)).sum();
            assert_eq!(content, size);
        }
    }
}
