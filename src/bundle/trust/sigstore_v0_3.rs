//! The Sigstore bundle as JSON (`dev.sigstore.bundle.v1.Bundle`, media type v0.3), as far as a signature by a key needs it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::KeyId;
use super::signature::{InvalidSignature, Signature};
use crate::types::Digest;

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// v0.1 and v0.2 differ in what they demand of the transparency log's evidence, which is not looked at.
const OLDER: [&str; 3] = [
    "application/vnd.dev.sigstore.bundle+json;version=0.1",
    "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
];
const SHA256: &str = "SHA2_256";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    message_signature: Option<MessageSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(default)]
    public_key: Option<Hint>,
}

#[derive(Serialize, Deserialize)]
struct Hint {
    #[serde(default)]
    hint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    #[serde(default)]
    message_digest: Option<MessageDigest>,
    signature: String,
}

#[derive(Serialize, Deserialize)]
struct MessageDigest {
    algorithm: String,
    digest: String,
}

pub fn write(signature: &Signature) -> Vec<u8> {
    let bundle = Bundle {
        media_type: MEDIA_TYPE.to_owned(),
        verification_material: Material {
            public_key: Some(Hint { hint: signature.hint().map(|id| STANDARD.encode(id.as_bytes())).unwrap_or_default() }),
        },
        message_signature: Some(MessageSignature {
            message_digest: signature
                .message()
                .map(|digest| MessageDigest { algorithm: SHA256.to_owned(), digest: STANDARD.encode(digest.as_bytes()) }),
            signature: STANDARD.encode(signature.der()),
        }),
    };
    serde_json::to_vec(&bundle).expect("strings always serialise")
}

pub fn read(bytes: &[u8]) -> Result<Signature, InvalidSignature> {
    let bundle: Bundle = serde_json::from_slice(bytes)?;
    if bundle.media_type != MEDIA_TYPE && !OLDER.contains(&bundle.media_type.as_str()) {
        return Err(InvalidSignature::Content(format!("its media type `{}` is not known", bundle.media_type)));
    }
    let content = |text: &str| InvalidSignature::Content(text.to_owned());
    let signature = bundle.message_signature.ok_or_else(|| content("it is an attestation, no signature over a file"))?;
    let message = match signature.message_digest {
        None => None,
        Some(digest) if digest.algorithm != SHA256 => {
            return Err(InvalidSignature::Content(format!(
                "it is made over the digest algorithm {}, wanted is {SHA256}",
                digest.algorithm
            )));
        }
        Some(digest) => Some(Digest::from_bytes(base64_32(&digest.digest).ok_or_else(|| content("its digest is not 32 bytes in base64"))?)),
    };
    // Other tools write other hints; only this one names a key.
    let hint = bundle.verification_material.public_key.and_then(|key| base64_32(&key.hint)).map(KeyId::from_bytes);
    let der = STANDARD.decode(&signature.signature).map_err(|_| InvalidSignature::Der("its signature"))?;
    Signature::from_parts(der, hint, message, "its signature")
}

fn base64_32(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}
