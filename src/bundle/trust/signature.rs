//! One signature over the bytes of a bundle's root.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::Signature as Ecdsa;

use super::{KeyId, MAX_SIGNATURE, sigstore_v0_3};
use crate::types::Digest;

/// Why bytes are not a signature.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSignature {
    /// Larger than any signature.
    #[error("it is larger than {MAX_SIGNATURE} bytes")]
    TooLarge,
    /// No Sigstore bundle.
    #[error("it is no Sigstore bundle")]
    Json(#[from] serde_json::Error),
    /// A Sigstore bundle of something else, or in another version.
    #[error("{0}")]
    Content(String),
    /// The signature itself is no ECDSA P-256 signature in DER, in base64.
    #[error("{0} is no ECDSA P-256 signature (base64 of DER)")]
    Der(&'static str),
}

/// A signature and what it says of itself. Nothing of it is believed before a trusted key verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    ecdsa: Ecdsa,
    der: Vec<u8>,
    hint: Option<KeyId>,
    message: Option<Digest>,
}

/// One signer's pair of members in a bundle: `signatures/<key id>.sigstore.json` and `.sig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureMember {
    /// From the members' names: a claim until the signature was verified.
    pub key_id: KeyId,
    /// The Sigstore bundle, as it stands in the file.
    pub sigstore_json: Vec<u8>,
    /// Base64 of the DER signature and a newline, as it stands in the file.
    pub der_base64_sig: Vec<u8>,
}

impl Signature {
    pub(super) fn new(ecdsa: Ecdsa, message: &[u8], key_id: KeyId) -> Self {
        Self { ecdsa, der: ecdsa.to_der().as_bytes().to_vec(), hint: Some(key_id), message: Some(Digest::of(message)) }
    }

    pub(super) fn ecdsa(&self) -> &Ecdsa {
        &self.ecdsa
    }

    /// DER: a sequence of the two integers r and s (RFC 3279, section 2.2.3).
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The key that it claims to be made with.
    pub fn hint(&self) -> Option<KeyId> {
        self.hint
    }

    /// The content that it claims to be made over.
    pub fn message(&self) -> Option<Digest> {
        self.message
    }

    /// As a Sigstore bundle v0.3: one line of JSON without a newline, always the same bytes for the same signature.
    pub fn to_sigstore_json(&self) -> Vec<u8> {
        sigstore_v0_3::write(self)
    }

    /// Reads a Sigstore bundle v0.1 to v0.3 with a message signature. Unknown fields, and evidence of transparency logs and timestamp
    /// authorities, are skipped: trust here comes from keys alone.
    pub fn from_sigstore_json(bytes: &[u8]) -> Result<Self, InvalidSignature> {
        if bytes.len() as u64 > MAX_SIGNATURE {
            return Err(InvalidSignature::TooLarge);
        }
        sigstore_v0_3::read(bytes)
    }

    /// As base64 of the DER form and a newline: what `base64 -d` and then `openssl dgst -sha256 -verify` take.
    pub fn to_der_base64(&self) -> Vec<u8> {
        let mut text = STANDARD.encode(&self.der);
        text.push('\n');
        text.into_bytes()
    }

    /// Reads the same form; line breaks in it are skipped. Such a file names neither key nor content.
    pub fn from_der_base64(bytes: &[u8]) -> Result<Self, InvalidSignature> {
        if bytes.len() as u64 > MAX_SIGNATURE {
            return Err(InvalidSignature::TooLarge);
        }
        let compact: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let der = STANDARD.decode(compact).map_err(|_| InvalidSignature::Der("it"))?;
        Self::from_parts(der, None, None, "it")
    }

    pub(super) fn from_parts(
        der: Vec<u8>,
        hint: Option<KeyId>,
        message: Option<Digest>,
        what: &'static str,
    ) -> Result<Self, InvalidSignature> {
        let ecdsa = Ecdsa::from_der(&der).map_err(|_| InvalidSignature::Der(what))?;
        Ok(Self { ecdsa, der, hint, message })
    }

    /// The pair of members that carries it in a bundle.
    ///
    /// `key_id` is the key that was found to verify it.
    pub fn to_member(&self, key_id: KeyId) -> SignatureMember {
        SignatureMember { key_id, sigstore_json: self.to_sigstore_json(), der_base64_sig: self.to_der_base64() }
    }
}
