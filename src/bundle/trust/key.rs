//! ECDSA P-256 keys and the files that hold them.

use std::fmt;
use std::str::FromStr;

use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::pkcs8::der::asn1::ObjectIdentifier;
use p256::pkcs8::der::{Decode as _, pem as der_pem};
use p256::pkcs8::spki::SubjectPublicKeyInfoRef;
use p256::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, PrivateKeyInfoRef};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::signature::Signature;
use super::{cosign_key_v1, pem};
use crate::types::Digest;

const PUBLIC: &str = "PUBLIC KEY";
const PKCS8: &str = "PRIVATE KEY";
const SEC1: &str = "EC PRIVATE KEY";
/// What `openssl ecparam -genkey` writes before the key.
const EC_PARAMETERS: &str = "EC PARAMETERS";

/// Why a text is not the key that it should be. The caller knows the file's name and adds it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM, or PEM that is damaged.
    #[error("it is no PEM file: {0}")]
    Pem(der_pem::Error),
    /// PEM of something else, or of several things.
    #[error("it holds {found}, wanted is one {wanted}")]
    Kind {
        /// The labels that were found.
        found: String,
        /// The label that was wanted.
        wanted: &'static str,
    },
    /// A key of another algorithm or curve.
    #[error("it is {0}, only ECDSA keys on P-256 are known")]
    Algorithm(String),
    /// The right kind with wrong content.
    #[error("the key in it is damaged")]
    Damaged,
    /// It is encrypted, and no password was given.
    #[error("it is encrypted, and no password was given")]
    PasswordNeeded,
    /// The password does not open it; a damaged file looks the same.
    #[error("the password does not open it")]
    WrongPassword,
    /// Encrypted in a way that cosign does not.
    #[error("it is encrypted in a way that is not known: {0}")]
    Encryption(String),
}

/// Names a key: SHA-256 of its SPKI DER, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 32]);

/// The text is not 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no key id (64 lower-case hex digits)")]
pub struct InvalidKeyId(pub String);

impl KeyId {
    /// A key id from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digest = Digest::from_hex(text).map_err(|_| InvalidKeyId(text.to_owned()))?;
        Ok(Self(*digest.as_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key that signatures are checked with.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: p256::ecdsa::VerifyingKey,
    id: KeyId,
}

impl PublicKey {
    fn new(key: p256::ecdsa::VerifyingKey) -> Self {
        let id = KeyId(Sha256::digest(spki_der(&key)).into());
        Self { key, id }
    }

    /// Reads `-----BEGIN PUBLIC KEY-----`, as `coracle keygen`, cosign and openssl write it. Exactly one such block is wanted.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = single_block(text, PUBLIC, &[PUBLIC])?;
        let info = SubjectPublicKeyInfoRef::from_der(&block.bytes).map_err(|_| KeyError::Damaged)?;
        expect_p256(info.algorithm.oid, info.algorithm.parameters_oid().ok())?;
        p256::ecdsa::VerifyingKey::from_public_key_der(&block.bytes).map(Self::new).map_err(|_| KeyError::Damaged)
    }

    /// The same form.
    pub fn to_pem(&self) -> String {
        pem::encode(PUBLIC, &self.spki_der())
    }

    /// The key as X.509 `SubjectPublicKeyInfo`, DER (RFC 5480).
    pub fn spki_der(&self) -> Vec<u8> {
        spki_der(&self.key)
    }

    /// Its name.
    pub fn key_id(&self) -> KeyId {
        self.id
    }

    /// Whether `signature` was made over `message` with the private half.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        self.key.verify(message, signature.ecdsa()).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

fn spki_der(key: &p256::ecdsa::VerifyingKey) -> Vec<u8> {
    key.to_public_key_der().expect("a point on the curve always has a DER form").into_vec()
}

/// A key that signs. Wiped from memory when dropped, never printed.
#[derive(Clone)]
pub struct SigningKey(p256::ecdsa::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().key_id())
    }
}

impl SigningKey {
    /// A new key. `fill` fills a buffer with bytes that nobody can guess; it is asked again where they are no valid scalar (about once
    /// in 2³² times).
    pub fn generate<E>(mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            fill(bytes.as_mut_slice())?;
            if let Ok(key) = p256::ecdsa::SigningKey::from_slice(bytes.as_slice()) {
                return Ok(Self(key));
            }
        }
    }

    /// Whether the file asks for a password before it can be read.
    pub fn is_encrypted(text: &str) -> bool {
        cosign_key_v1::LABELS.iter().any(|label| text.contains(&format!("-----BEGIN {label}-----")))
    }

    /// Reads a private key: cosign's encrypted form, plain PKCS#8, or SEC1 as `openssl ecparam -genkey` writes it.
    pub fn from_pem(text: &str, password: Option<&[u8]>) -> Result<Self, KeyError> {
        let [sigstore, cosign] = cosign_key_v1::LABELS;
        let block = single_block(text, "private key", &[sigstore, cosign, PKCS8, SEC1])?;
        match block.label.as_str() {
            PKCS8 => Self::from_pkcs8_der(&block.bytes),
            SEC1 => {
                let key = p256::SecretKey::from_sec1_der(&block.bytes)
                    .map_err(|_| KeyError::Algorithm("damaged, or a key on another curve".to_owned()))?;
                Ok(Self(key.into()))
            }
            _ => Self::from_pkcs8_der(&cosign_key_v1::decrypt(&block.bytes, password.ok_or(KeyError::PasswordNeeded)?)?),
        }
    }

    fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = PrivateKeyInfoRef::from_der(der).map_err(|_| KeyError::Damaged)?;
        expect_p256(info.algorithm.oid, info.algorithm.parameters_oid().ok())?;
        p256::ecdsa::SigningKey::from_pkcs8_der(der).map(Self).map_err(|_| KeyError::Damaged)
    }

    /// Plain PKCS#8: whoever reads it can sign.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode(PKCS8, &self.pkcs8_der()))
    }

    /// As `cosign generate-key-pair` writes it. `salt` (32 bytes) and `nonce` (24 bytes) come from the caller and are never used twice.
    pub fn to_encrypted_pem(&self, password: &[u8], salt: &[u8; 32], nonce: &[u8; 24]) -> String {
        pem::encode(cosign_key_v1::LABELS[0], &cosign_key_v1::encrypt(&self.pkcs8_der(), password, salt, nonce))
    }

    fn pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        self.0.to_pkcs8_der().expect("a scalar always has a DER form").to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey::new(*self.0.verifying_key())
    }

    /// Signs: ECDSA over SHA-256 with the nonce of RFC 6979, so that the same bytes have the same signature.
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.sign_digest(&Digest::of(message))
    }

    /// The same for a message that is too large for memory: signs what has this digest.
    pub fn sign_digest(&self, digest: &Digest) -> Signature {
        let signature = self.0.sign_prehash(digest.as_bytes()).expect("32 bytes are as long as the curve asks for");
        Signature::new(signature, *digest, self.public().key_id())
    }
}

/// The one block of a file that has one of the wanted labels; curve parameters beside it are skipped.
fn single_block(text: &str, wanted: &'static str, labels: &[&str]) -> Result<pem::Block, KeyError> {
    let mut blocks = pem::blocks(text).map_err(KeyError::Pem)?;
    blocks.retain(|block| block.label != EC_PARAMETERS);
    let found = || match blocks.iter().map(|block| format!("`{}`", block.label)).collect::<Vec<_>>() {
        labels if labels.is_empty() => "no PEM block".to_owned(),
        labels => labels.join(" and "),
    };
    if blocks.len() != 1 || !labels.contains(&blocks[0].label.as_str()) {
        return Err(KeyError::Kind { found: found(), wanted });
    }
    Ok(blocks.remove(0))
}

fn expect_p256(algorithm: ObjectIdentifier, parameters: Option<ObjectIdentifier>) -> Result<(), KeyError> {
    const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
    if algorithm == EC && parameters == Some(P256) {
        return Ok(());
    }
    let name = match (algorithm.to_string().as_str(), parameters.map(|oid| oid.to_string()).as_deref()) {
        ("1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10", _) => "an RSA key".to_owned(),
        ("1.3.101.112", _) => "an Ed25519 key".to_owned(),
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => "an ECDSA key on P-384".to_owned(),
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => "an ECDSA key on P-521".to_owned(),
        ("1.2.840.10045.2.1", Some("1.3.132.0.10")) => "an ECDSA key on secp256k1".to_owned(),
        (algorithm, Some(parameters)) => format!("a key of the algorithm {algorithm} with {parameters}"),
        (algorithm, None) => format!("a key of the algorithm {algorithm}"),
    };
    Err(KeyError::Algorithm(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::trust::testing::key;

    // Made with `openssl genpkey` and `openssl ecparam -genkey`, for this test alone.
    const RSA: &str = include_str!("../../../tests/fixtures/keys/rsa.pub");
    const P384: &str = include_str!("../../../tests/fixtures/keys/p384.key");
    const P384_SEC1: &str = include_str!("../../../tests/fixtures/keys/p384-sec1.key");
    const ED25519: &str = include_str!("../../../tests/fixtures/keys/ed25519.pub");
    const SEC1: &str = include_str!("../../../tests/fixtures/keys/p256-sec1.key");
    const SEC1_PUBLIC: &str = include_str!("../../../tests/fixtures/keys/p256-sec1.pub");
    // Made with `cosign generate-key-pair`, version 3.1.3, password `pw`.
    const COSIGN: &str = include_str!("../../../tests/fixtures/keys/cosign.key");
    const COSIGN_PUBLIC: &str = include_str!("../../../tests/fixtures/keys/cosign.pub");

    #[test]
    fn reads_the_key_that_it_wrote_in_every_form() {
        let key = key(7);
        let plain = SigningKey::from_pem(&key.to_pem(), None).unwrap();
        let encrypted = key.to_encrypted_pem(b"secret", &[1; 32], &[2; 24]);
        assert!(SigningKey::is_encrypted(&encrypted) && !SigningKey::is_encrypted(&key.to_pem()));
        let opened = SigningKey::from_pem(&encrypted, Some(b"secret")).unwrap();
        let older = encrypted.replace("SIGSTORE", "COSIGN");
        let older = SigningKey::from_pem(&older, Some(b"secret")).unwrap();
        let public = PublicKey::from_pem(&key.public().to_pem()).unwrap();
        assert_eq!([plain.public(), opened.public(), older.public(), public], [(); 4].map(|()| key.public()));
    }

    #[test]
    fn reads_what_openssl_and_cosign_wrote() {
        let sec1 = SigningKey::from_pem(SEC1, None).unwrap();
        assert_eq!(sec1.public(), PublicKey::from_pem(SEC1_PUBLIC).unwrap());
        let cosign = SigningKey::from_pem(COSIGN, Some(b"pw")).unwrap();
        assert_eq!(cosign.public(), PublicKey::from_pem(COSIGN_PUBLIC).unwrap());
        assert_eq!(cosign.public().to_pem(), COSIGN_PUBLIC);
    }

    #[test]
    fn names_a_key_by_the_digest_of_its_der_form() {
        let public = key(7).public();
        assert_eq!(public.key_id().to_string(), Digest::of(&public.spki_der()).hex());
        assert_eq!(public.key_id().to_string().parse::<KeyId>().unwrap(), public.key_id());
        assert!("ABCD".parse::<KeyId>().is_err());
    }

    #[test]
    fn says_why_a_file_is_not_the_key_that_it_should_be() {
        let public = |text: &str| PublicKey::from_pem(text).unwrap_err().to_string();
        let private = |text: &str, password| SigningKey::from_pem(text, password).unwrap_err().to_string();
        assert_eq!(public(RSA), "it is an RSA key, only ECDSA keys on P-256 are known");
        assert_eq!(public(ED25519), "it is an Ed25519 key, only ECDSA keys on P-256 are known");
        assert_eq!(private(P384, None), "it is an ECDSA key on P-384, only ECDSA keys on P-256 are known");
        assert_eq!(private(P384_SEC1, None), "it is damaged, or a key on another curve, only ECDSA keys on P-256 are known");
        assert_eq!(public(SEC1), "it holds `EC PRIVATE KEY`, wanted is one PUBLIC KEY");
        assert_eq!(private(SEC1_PUBLIC, None), "it holds `PUBLIC KEY`, wanted is one private key");
        assert_eq!(public(""), "it holds no PEM block, wanted is one PUBLIC KEY");
        assert_eq!(public(&format!("{SEC1_PUBLIC}{COSIGN_PUBLIC}")), "it holds `PUBLIC KEY` and `PUBLIC KEY`, wanted is one PUBLIC KEY");
        assert_eq!(private(COSIGN, None), "it is encrypted, and no password was given");
        assert_eq!(private(COSIGN, Some(b"PW")), "the password does not open it");
    }

    #[test]
    fn prints_no_secret() {
        let key = key(7);
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public().key_id()));
    }

    #[test]
    fn asks_again_for_randomness_that_is_no_key() {
        let mut asked = 0;
        let key = SigningKey::generate(|bytes| {
            asked += 1;
            bytes.fill(if asked == 1 { 0xff } else { 7 });
            Ok::<_, ()>(())
        });
        assert_eq!(key.unwrap().public(), super::super::testing::key(7).public());
        assert_eq!(SigningKey::generate(|_| Err("no randomness")).unwrap_err(), "no randomness");
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: 64, ..Default::default() })]

        #[test]
        fn never_panics_on_text_that_looks_like_pem(body in ".{0,80}", label in "(PUBLIC KEY|EC PRIVATE KEY|PRIVATE KEY|ENCRYPTED SIGSTORE PRIVATE KEY)") {
            let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
            proptest::prop_assert!(PublicKey::from_pem(&text).is_err());
            proptest::prop_assert!(SigningKey::from_pem(&text, Some(b"")).is_err());
        }
    }
}
