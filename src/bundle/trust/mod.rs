//! Who vouches for a bundle: keys, signatures over the root's bytes, and the policy that decides. No I/O, no clock, no randomness of its own.
//!
//! ```text
//!  PEM ── SigningKey ──sign(root)──▶ Signature ──▶ NAME.sigstore.json   (cosign verify-blob)
//!              │                        └───────▶ NAME.sig             (openssl dgst -verify)
//!              ▼ public
//!  PEM ── PublicKey ── TrustPolicy ──check(root, embedded, detached)──▶ [SignatureStatus] or a refusal
//!              └ KeyId: SHA-256 of the SPKI DER, what `openssl pkey -pubin -outform DER | sha256sum` prints
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`key`] | ECDSA P-256 keys and their PEM forms |
//! | `cosign_key_v1` | cosign's encrypted private key, as JSON in a PEM block |
//! | [`signature`] | one signature, its DER and its Sigstore bundle |
//! | `sigstore_v0_3` | the Sigstore bundle v0.3 as JSON |
//! | [`policy`] | which keys are trusted, and what follows from that |
//!
//! A key hint inside a signature, and the name of the file that it stands in, are claims: they choose which trusted key is tried
//! first and never make a key trusted.

mod cosign_key_v1;
pub mod key;
mod pem;
pub mod policy;
pub mod signature;
mod sigstore_v0_3;
#[cfg(test)]
pub(super) mod testing;

pub use key::{KeyError, KeyId, PublicKey, SigningKey};
pub use policy::{Error, SignatureStatus, TrustPolicy, Unsigned};
pub use signature::{InvalidSignature, Signature, SignatureMember};

/// A signature as JSON is at most this many bytes; cosign's with a transparency log entry has about 10,000.
pub const MAX_SIGNATURE: u64 = 64 << 10;
/// A key file is at most this many bytes.
pub const MAX_KEY_FILE: u64 = 16 << 10;
/// At most this many signatures of a bundle are looked at, embedded and detached together.
pub const MAX_SIGNATURES: usize = 64;
