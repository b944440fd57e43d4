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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignatureMember {
    /// From the members' names: a claim until the signature was verified.
    pub key_id: KeyId,
    /// The Sigstore bundle, as it stands in the file.
    pub sigstore_json: Vec<u8>,
    /// Base64 of the DER signature and a newline, as it stands in the file.
    pub der_base64_sig: Vec<u8>,
}

impl Signature {
    pub(super) fn new(ecdsa: Ecdsa, message: Digest, key_id: KeyId) -> Self {
        Self { ecdsa, der: ecdsa.to_der().as_bytes().to_vec(), hint: Some(key_id), message: Some(message) }
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

    /// The pair of members that carries it in a bundle, in the one form that is valid there: whatever else a signature file held stays out.
    ///
    /// `key_id` is the key that was found to verify it over `root`.
    pub fn to_member(&self, root: &[u8], key_id: KeyId) -> SignatureMember {
        let signature = Self { hint: Some(key_id), message: Some(Digest::of(root)), ..self.clone() };
        SignatureMember { key_id, sigstore_json: signature.to_sigstore_json(), der_base64_sig: signature.to_der_base64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::trust::SigningKey;
    use crate::bundle::trust::testing::key;

    const ROOT: &[u8] = br#"{"schemaVersion":2}"#;

    #[test]
    fn writes_the_sigstore_bundle_that_cosign_reads() {
        let json = String::from_utf8(key(1).sign(ROOT).to_sigstore_json()).unwrap();
        insta::assert_snapshot!(json, @r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"+FeuTtbjTjN2Guolyq7j/lShWWD7ktzWOjdasSHesqk="}},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"uv69Nhia02iLezkV6lXUYeC/z73eEeVLChI5mftr5Q8="},"signature":"MEQCIHmZwtf5PRDPtV77o7QvWSMhZKywOm4lGEi/vRDv41PfAiAFSaO4o+n6kY0JZtpyQKPhwpv0fru2avXo2JtkgTPoFg=="}}"#);
        assert_eq!(key(1).sign(ROOT).to_sigstore_json(), json.as_bytes());
    }

    #[test]
    fn reads_what_it_writes() {
        let signature = key(1).sign(ROOT);
        assert_eq!(Signature::from_sigstore_json(&signature.to_sigstore_json()).unwrap(), signature);
        let der = Signature::from_der_base64(&signature.to_der_base64()).unwrap();
        assert_eq!((der.der(), der.hint(), der.message()), (signature.der(), None, None));
    }

    #[test]
    fn skips_what_a_transparency_log_adds() {
        let json = String::from_utf8(key(1).sign(ROOT).to_sigstore_json()).unwrap();
        let json = json.replace(
            r#""publicKey""#,
            r#""tlogEntries":[{"logIndex":"1","inclusionProof":{"hashes":[]}}],"timestampVerificationData":{"rfc3161Timestamps":[]},"publicKey""#,
        );
        assert_eq!(Signature::from_sigstore_json(json.as_bytes()).unwrap(), key(1).sign(ROOT));
    }

    #[test]
    fn says_what_is_wrong_with_what_is_no_signature() {
        let json = String::from_utf8(key(1).sign(ROOT).to_sigstore_json()).unwrap();
        let message = |bytes: &[u8]| Signature::from_sigstore_json(bytes).unwrap_err().to_string();
        let changed = |from: &str, to: &str| {
            assert!(json.contains(from));
            message(json.replace(from, to).as_bytes())
        };
        assert_eq!(message(b""), "it is no Sigstore bundle");
        assert_eq!(message(&vec![b' '; 70_000]), "it is larger than 65536 bytes");
        assert_eq!(changed("v0.3+json", "v0.9+json"), "its media type `application/vnd.dev.sigstore.bundle.v0.9+json` is not known");
        assert_eq!(changed("messageSignature", "dsseEnvelope"), "it is an attestation, no signature over a file");
        assert_eq!(changed("SHA2_256", "SHA2_512"), "it is made over the digest algorithm SHA2_512, wanted is SHA2_256");
        assert_eq!(changed(r#""digest":""#, r#""digest":"AA"#), "its digest is not 32 bytes in base64");
        assert_eq!(changed(r#""signature":""#, r#""signature":"AAAA"#), "its signature is no ECDSA P-256 signature (base64 of DER)");
        assert_eq!(changed(r#""mediaType""#, r#""mediaType":"x","mediaType""#), "it is no Sigstore bundle");
    }

    #[test]
    fn signs_as_rfc_6979_says() {
        // Appendix A.2.5, P-256 with SHA-256, messages "sample" and "test".
        let x = hex::decode("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721").unwrap();
        let key = SigningKey::generate(|bytes| {
            bytes.copy_from_slice(&x);
            Ok::<_, ()>(())
        })
        .unwrap();
        for (message, r, s) in [
            (
                "sample",
                "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
                "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
            ),
            (
                "test",
                "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
                "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
            ),
        ] {
            assert_eq!(hex::encode(key.sign(message.as_bytes()).ecdsa().to_bytes()), format!("{r}{s}"));
        }
    }
}
