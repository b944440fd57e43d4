//! From a file to verified metadata: seek table → `index.json` → root → signatures, **verified** → documents by digest.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use super::archive::{Archive, Cursor, Places};
use super::layout::{Member, OCI_LAYOUT, blob_name, index_json, members, root_descriptor, signature_names};
use super::limits::Limits;
use super::metadata::Metadata;
use super::read::IdleReaders;
use super::trust::{KeyId, SignatureMember, SignatureStatus, TrustPolicy};
use super::{Error, Result, media};
use crate::types::oci::ImageIndex;
use crate::types::{Descriptor, Digest};

/// A bundle whose root and signatures were read, and believed in nothing.
#[derive(Debug)]
pub struct OpenedBundle {
    archive: Archive,
    cursor: Cursor,
    index: Vec<u8>,
    root: Arc<[u8]>,
    signatures: Vec<SignatureMember>,
}

/// A bundle that a trusted key signed (or that is knowingly accepted without): all metadata checked, content checked as it is read.
/// Derefs to [`Metadata`]. Clones share the open file.
#[derive(Debug, Clone)]
pub struct VerifiedBundle {
    pub(super) carried: Arc<Carried>,
    statuses: Arc<[SignatureStatus]>,
}

/// What a bundle says of itself, for a reviewer who has no key: the digests agree with a root that nobody vouches for. Derefs to
/// [`Metadata`]; it cannot be deployed.
#[derive(Debug, Clone)]
pub struct Listing {
    pub(super) carried: Arc<Carried>,
}

#[derive(Debug)]
pub(super) struct Carried {
    pub(super) archive: Archive,
    pub(super) places: Places,
    pub(super) index: Vec<u8>,
    pub(super) metadata: Metadata,
    pub(super) signatures: Vec<SignatureMember>,
    pub(super) idle: IdleReaders,
}

/// Opens a bundle: reads the seek table (located, not trusted), `index.json`, the root and the signatures.
///
/// # Errors
/// A file that is no bundle, truncated, or beyond the limits.
pub fn open(path: &Path, limits: &Limits) -> Result<OpenedBundle> {
    open_archive(Archive::open(path, limits)?, limits)
}

/// The same for a file that is open already, or that has no name; `path` is what messages call it.
///
/// # Errors
/// As [`open`].
pub fn open_file(file: File, path: &Path, limits: &Limits) -> Result<OpenedBundle> {
    open_archive(Archive::of(file, path, limits)?, limits)
}

fn open_archive(archive: Archive, limits: &Limits) -> Result<OpenedBundle> {
    let mut cursor = Cursor::default();
    let layout = cursor.member(&archive, &Member::named("oci-layout", OCI_LAYOUT.len() as u64))?;
    if layout != OCI_LAYOUT {
        return Err(archive.not_whole("it is no OCI layout"));
    }
    let index = described(&mut cursor, &archive, "index.json", limits.document_bytes)?;
    let named = ImageIndex::parse(&index).map_err(|source| Error::Document { digest: Digest::of(&index), source })?;
    let mut roots = named.manifests.iter().filter(|child| child.artifact_type.as_deref() == Some(media::ROOT));
    let (Some(descriptor), None) = (roots.next(), roots.next()) else {
        return Err(archive.damaged("index.json", "it does not name exactly one root"));
    };
    limit("the root in bytes", descriptor.size, limits.document_bytes)?;
    let root = cursor.member(&archive, &Member::blob(descriptor))?;
    if Digest::of(&root) != descriptor.digest {
        return Err(archive.damaged("index.json", "it names another root than the one that is there"));
    }
    let signatures = signatures(&mut cursor, &archive, limits)?;
    Ok(OpenedBundle { archive, cursor, index, root: root.into(), signatures })
}

/// Reads the next member, which must have this name and at most `limit` bytes.
fn described(cursor: &mut Cursor, archive: &Archive, name: &str, most: u64) -> Result<Vec<u8>> {
    let member = cursor.describe_next(archive, Some(name))?;
    if member.name != name {
        return Err(archive.damaged(name, format!("`{}` stands in its place", member.name.escape_default())));
    }
    limit(&format!("`{name}` in bytes"), member.size, most)?;
    cursor.member(archive, &member)
}

fn signatures(cursor: &mut Cursor, archive: &Archive, limits: &Limits) -> Result<Vec<SignatureMember>> {
    let mut signatures: Vec<SignatureMember> = Vec::new();
    loop {
        let next = cursor.describe_next(archive, None)?.name;
        let Some(name) = next.strip_prefix("signatures/") else { return Ok(signatures) };
        let damaged = |reason: &str| archive.damaged(&next.escape_default().to_string(), reason);
        let key_id: KeyId = name
            .strip_suffix(".sigstore.json")
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| damaged("it is not named after a key, or stands alone"))?;
        if signatures.last().is_some_and(|last| last.key_id.as_bytes() >= key_id.as_bytes()) {
            return Err(damaged("signatures are not in order, or there are two by one key"));
        }
        limit("the number of signatures", signatures.len() as u64 + 1, limits.signers as u64)?;
        let [sigstore, der] = signature_names(&key_id);
        let sigstore_json = described(cursor, archive, &sigstore, limits.signature_bytes)?;
        let der_base64_sig = described(cursor, archive, &der, limits.signature_bytes)?;
        signatures.push(SignatureMember { key_id, sigstore_json, der_base64_sig });
    }
}

fn limit(what: &str, found: u64, limit: u64) -> Result<()> {
    if found > limit { Err(Error::Limit { what: what.to_owned(), found, limit }) } else { Ok(()) }
}

impl OpenedBundle {
    /// The bytes that signatures cover.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// Their digest.
    pub fn root_digest(&self) -> Digest {
        Digest::of(&self.root)
    }

    /// The embedded signatures, sorted by key id, unchecked.
    pub fn signatures(&self) -> &[SignatureMember] {
        &self.signatures
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.archive.path()
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.archive.size()
    }

    /// Judges the signatures, embedded and detached, and only then reads all metadata under the root.
    ///
    /// # Errors
    /// [`Error::Untrusted`], or anything that does not agree with the root.
    pub fn verify(self, policy: &TrustPolicy, detached: &[Vec<u8>]) -> Result<VerifiedBundle> {
        let untrusted = |source| Error::Untrusted { path: self.path().to_owned(), source };
        let statuses = policy.check(&self.root, &self.signatures, detached).map_err(untrusted)?;
        Ok(VerifiedBundle { carried: Arc::new(self.read_metadata()?), statuses: statuses.into() })
    }

    /// Reads all metadata under a root that nobody vouches for.
    ///
    /// # Errors
    /// Anything that does not agree with the root.
    pub fn read_listing(self) -> Result<Listing> {
        Ok(Listing { carried: Arc::new(self.read_metadata()?) })
    }

    fn read_metadata(self) -> Result<Carried> {
        let Self { archive, mut cursor, index, root, signatures } = self;
        let mut fetch = |descriptor: &Descriptor| {
            let bytes = cursor.member(&archive, &Member::blob(descriptor))?;
            if Digest::of(&bytes) != descriptor.digest {
                return Err(archive.damaged(&blob_name(&descriptor.digest), "it has other content than its digest says"));
            }
            Ok(bytes)
        };
        let metadata = Metadata::read(&root, archive.limits(), &mut fetch)?;
        if index != index_json(&root_descriptor(&root), metadata.index()) {
            return Err(archive.damaged("index.json", "it is not what the root says"));
        }
        let members = members(&root, metadata.index(), &signatures, metadata.documents(), metadata.content());
        let places = Places::new(&archive, members)?;
        Ok(Carried { archive, places, index, metadata, signatures, idle: IdleReaders::default() })
    }
}

impl VerifiedBundle {
    /// What each signature is worth, trusted ones first.
    pub fn signatures(&self) -> &[SignatureStatus] {
        &self.statuses
    }

    /// The embedded signatures as they stand in the file.
    pub fn signature_members(&self) -> &[SignatureMember] {
        &self.carried.signatures
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.carried.archive.path()
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.carried.archive.size()
    }
}

impl Listing {
    /// The embedded signatures, unchecked.
    pub fn signatures(&self) -> &[SignatureMember] {
        &self.carried.signatures
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.carried.archive.path()
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.carried.archive.size()
    }
}

impl Deref for VerifiedBundle {
    type Target = Metadata;

    fn deref(&self) -> &Metadata {
        &self.carried.metadata
    }
}

impl Deref for Listing {
    type Target = Metadata;

    fn deref(&self) -> &Metadata {
        &self.carried.metadata
    }
}
