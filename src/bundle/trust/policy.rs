//! Which keys are trusted, and whether what a bundle is signed with is enough.

use super::{InvalidSignature, KeyId, MAX_SIGNATURES, PublicKey, Signature, SignatureMember};
use crate::types::Digest;

/// Why a bundle is refused for its signatures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody said which keys to trust.
    #[error("no key is trusted here")]
    NoKeys,
    /// There is no signature at all.
    #[error("the bundle is not signed")]
    Unsigned,
    /// There are signatures, none of them by a trusted key.
    #[error("no signature is by a trusted key; it claims to be signed by {}", list(signed_by))]
    UntrustedKeys {
        /// The keys that the signatures claim, as far as they claim one.
        signed_by: Vec<KeyId>,
    },
    /// A signature claims a trusted key and was not made with it: somebody forged or damaged it.
    #[error("the {place} signature that claims the trusted key `{key_id}` does not verify")]
    BadSignature {
        /// The trusted key.
        key_id: KeyId,
        /// Where it was found.
        place: Place,
    },
    /// A signature says itself that it is made over something else.
    #[error("the {place} signature is made over other content: `{signed}`, the root of this bundle is `{root}`")]
    OtherContent {
        /// Where it was found.
        place: Place,
        /// What it is made over.
        signed: Digest,
        /// What is there.
        root: Digest,
    },
    /// A signature that is none.
    #[error("the {place} signature cannot be read")]
    Malformed {
        /// Where it was found.
        place: Place,
        /// What is wrong with it.
        source: InvalidSignature,
    },
    /// The parts of an embedded signature contradict each other.
    #[error("the embedded signature of `{key_id}` contradicts itself: {what}")]
    Contradiction {
        /// The key that its name claims.
        key_id: KeyId,
        /// What differs.
        what: &'static str,
    },
    /// Fewer trusted signers than were asked for.
    #[error("{} trusted key(s) signed it, {required} are required", signed_by.len())]
    TooFew {
        /// The trusted keys that did sign.
        signed_by: Vec<KeyId>,
        /// How many were asked for.
        required: usize,
    },
    /// More signatures than anybody needs.
    #[error("it has {found} signatures, at most {MAX_SIGNATURES} are looked at")]
    TooMany {
        /// How many.
        found: usize,
    },
}

fn list(keys: &[KeyId]) -> String {
    if keys.is_empty() {
        return "a key that it does not name".to_owned();
    }
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ")
}

/// Where a signature was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Inside the bundle.
    Embedded,
    /// Beside it; counted from 0 in the order in which they were passed.
    Detached(usize),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Detached(_) => "detached",
        })
    }
}

/// What happens to a bundle that no trusted key signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsigned {
    /// It is refused.
    Refuse,
    /// It is used all the same: anybody may have made or changed it. A forged signature is refused even so.
    Accept,
}

/// Whom to trust.
#[derive(Debug, Clone)]
pub struct TrustPolicy {
    /// The trusted keys.
    pub keys: Vec<PublicKey>,
    /// So many different trusted keys must have signed; 0 counts as 1.
    pub required: usize,
    /// What happens without a trusted signature.
    pub unsigned: Unsigned,
}

/// One signature, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureStatus {
    /// The key that verified it or, where that is none, the one that it claims.
    pub key_id: Option<KeyId>,
    /// A trusted key verified it. Where not, nothing about it is known to be true.
    pub trusted: bool,
}

impl TrustPolicy {
    /// Judges the signatures over `root`: those inside the bundle and those beside it (Sigstore bundles).
    ///
    /// Gives one status per signer, trusted ones first, each sorted by key id. One valid signature by a trusted key is enough unless
    /// `required` says more; signatures by unknown keys do no harm.
    pub fn check(&self, root: &[u8], embedded: &[SignatureMember], detached: &[Vec<u8>]) -> Result<Vec<SignatureStatus>, Error> {
        let statuses = self.judge(root, embedded, detached)?;
        let trusted: Vec<KeyId> = statuses.iter().filter(|status| status.trusted).filter_map(|status| status.key_id).collect();
        let required = self.required.max(1);
        if trusted.len() >= required {
            return Ok(statuses);
        }
        if !trusted.is_empty() {
            return Err(Error::TooFew { signed_by: trusted, required });
        }
        match self.unsigned {
            Unsigned::Accept => Ok(statuses),
            Unsigned::Refuse if self.keys.is_empty() => Err(Error::NoKeys),
            Unsigned::Refuse if statuses.is_empty() => Err(Error::Unsigned),
            Unsigned::Refuse => Err(Error::UntrustedKeys { signed_by: statuses.iter().filter_map(|status| status.key_id).collect() }),
        }
    }

    /// The same without the verdict: what each signature is worth. A forged or malformed one is an error here too.
    pub fn judge(&self, root: &[u8], embedded: &[SignatureMember], detached: &[Vec<u8>]) -> Result<Vec<SignatureStatus>, Error> {
        let found = embedded.len() + detached.len();
        if found > MAX_SIGNATURES {
            return Err(Error::TooMany { found });
        }
        let mut statuses = Vec::new();
        for member in embedded {
            let signature = consistent(member)?;
            statuses.push(self.judge_one(root, &signature, Place::Embedded)?);
        }
        for (i, json) in detached.iter().enumerate() {
            let place = Place::Detached(i);
            let signature = Signature::from_sigstore_json(json).map_err(|source| Error::Malformed { place, source })?;
            statuses.push(self.judge_one(root, &signature, place)?);
        }
        statuses.sort_by_key(|status| (!status.trusted, status.key_id));
        statuses.dedup();
        Ok(statuses)
    }

    fn judge_one(&self, root: &[u8], signature: &Signature, place: Place) -> Result<SignatureStatus, Error> {
        let digest = Digest::of(root);
        if let Some(signed) = signature.message().filter(|signed| *signed != digest) {
            return Err(Error::OtherContent { place, signed, root: digest });
        }
        if let Some(claimed) = self.keys.iter().find(|key| Some(key.key_id()) == signature.hint()) {
            return if claimed.verifies(root, signature) {
                Ok(SignatureStatus { key_id: signature.hint(), trusted: true })
            } else {
                Err(Error::BadSignature { key_id: claimed.key_id(), place })
            };
        }
        // A hint is free text to Sigstore: one that names no trusted key says nothing about who signed.
        let verified = self.keys.iter().find(|key| place != Place::Embedded && key.verifies(root, signature));
        Ok(SignatureStatus { key_id: verified.map(PublicKey::key_id).or(signature.hint()), trusted: verified.is_some() })
    }
}

/// The signature of an embedded pair, whose name, JSON and `.sig` must say the same.
fn consistent(member: &SignatureMember) -> Result<Signature, Error> {
    let malformed = |source| Error::Malformed { place: Place::Embedded, source };
    let contradiction = |what| Error::Contradiction { key_id: member.key_id, what };
    let signature = Signature::from_sigstore_json(&member.sigstore_json).map_err(malformed)?;
    let der = Signature::from_der_base64(&member.der_base64_sig).map_err(malformed)?;
    if signature.hint() != Some(member.key_id) {
        return Err(contradiction("its Sigstore bundle names another key than its file name"));
    }
    if der.der() != signature.der() {
        return Err(contradiction("its .sig holds another signature than its Sigstore bundle"));
    }
    Ok(signature)
}
