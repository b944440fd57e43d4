//! From parts to a bundle that has names and an order. Pure: no byte of content is read.

use super::metadata::Metadata;
use super::parts::Parts;
use super::trust::SignatureMember;
use super::{Error, Result};
use crate::types::{Digest, PackageName};

/// A bundle that is decided and not signed yet. Its identity is the root's digest.
#[derive(Debug, Clone)]
pub struct UnsignedBundle {
    metadata: Metadata,
}

/// A bundle that can be written: with signatures over its root, or knowingly without.
#[derive(Debug, Clone)]
pub struct SignedBundle {
    metadata: Metadata,
    signatures: Vec<SignatureMember>,
}

impl Parts {
    /// Decides every document, the root and the order. Pure.
    ///
    /// # Errors
    /// Parts that do not fit together, or documents that cannot be read.
    pub fn assemble(self) -> Result<UnsignedBundle> {
        unimplemented!()
    }
}

impl UnsignedBundle {
    /// The bytes that a signature covers.
    pub fn root(&self) -> &[u8] {
        self.metadata.root()
    }

    /// Their digest: the bundle's identity.
    pub fn root_digest(&self) -> Digest {
        self.metadata.root_digest()
    }

    /// The package's name.
    pub fn name(&self) -> &PackageName {
        &self.metadata.contents().name
    }

    /// The package's version.
    pub fn version(&self) -> &semver::Version {
        &self.metadata.contents().version
    }

    /// What hangs on the root.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same with signatures over [`UnsignedBundle::root`]; sorted by key id, one per key.
    pub fn signed(self, mut signatures: Vec<SignatureMember>) -> SignedBundle {
        signatures.sort_by_key(|signature| *signature.key_id.as_bytes());
        signatures.dedup_by(|a, b| a.key_id == b.key_id);
        SignedBundle { metadata: self.metadata, signatures }
    }

    /// The same without any signature.
    pub fn unsigned(self) -> SignedBundle {
        SignedBundle { metadata: self.metadata, signatures: Vec::new() }
    }
}

impl SignedBundle {
    /// What hangs on the root.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The signatures, sorted by key id.
    pub fn signatures(&self) -> &[SignatureMember] {
        &self.signatures
    }
}
