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
            let signature = consistent(root, member)?;
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

/// The signature of an embedded pair. Its name, JSON and `.sig` must say the same, in the one form that is valid inside a bundle, so
/// that no byte of the file is without meaning.
fn consistent(root: &[u8], member: &SignatureMember) -> Result<Signature, Error> {
    let place = Place::Embedded;
    let signature = Signature::from_sigstore_json(&member.sigstore_json).map_err(|source| Error::Malformed { place, source })?;
    if let Some(signed) = signature.message().filter(|signed| *signed != Digest::of(root)) {
        return Err(Error::OtherContent { place, signed, root: Digest::of(root) });
    }
    let contradiction = |what| Error::Contradiction { key_id: member.key_id, what };
    if signature.hint() != Some(member.key_id) {
        return Err(contradiction("its Sigstore bundle names another key than its file name"));
    }
    let expected = signature.to_member(root, member.key_id);
    if expected.sigstore_json != member.sigstore_json {
        return Err(contradiction("its Sigstore bundle is not in the form that a bundle carries"));
    }
    if expected.der_base64_sig != member.der_base64_sig {
        return Err(contradiction("its .sig holds something else than its Sigstore bundle"));
    }
    Ok(signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::trust::testing::key;

    const ROOT: &[u8] = b"the root";

    fn policy(keys: &[u8]) -> TrustPolicy {
        TrustPolicy { keys: keys.iter().map(|n| key(*n).public()).collect(), required: 1, unsigned: Unsigned::Refuse }
    }

    fn member(n: u8) -> SignatureMember {
        key(n).sign(ROOT).to_member(ROOT, id(n))
    }

    fn detached(n: u8) -> Vec<u8> {
        key(n).sign(ROOT).to_sigstore_json()
    }

    fn id(n: u8) -> KeyId {
        key(n).public().key_id()
    }

    fn status(n: u8, trusted: bool) -> SignatureStatus {
        SignatureStatus { key_id: Some(id(n)), trusted }
    }

    #[test]
    fn one_trusted_signature_suffices_wherever_it_stands() {
        let expected = vec![status(1, true)];
        assert_eq!(policy(&[1, 3]).check(ROOT, &[member(1)], &[]).unwrap(), expected);
        assert_eq!(policy(&[1, 3]).check(ROOT, &[], &[detached(1)]).unwrap(), expected);
        assert_eq!(policy(&[1, 3]).check(ROOT, &[member(1)], &[detached(1)]).unwrap(), expected);
        assert_eq!(policy(&[1]).check(ROOT, &[member(2)], &[detached(1)]).unwrap(), [status(1, true), status(2, false)]);
    }

    #[test]
    fn refuses_what_no_trusted_key_signed() {
        let refusal =
            |keys: &[u8], embedded: &[SignatureMember], detached: &[Vec<u8>]| policy(keys).check(ROOT, embedded, detached).unwrap_err();
        assert!(matches!(refusal(&[], &[member(1)], &[]), Error::NoKeys));
        assert!(matches!(refusal(&[1], &[], &[]), Error::Unsigned));
        assert!(matches!(refusal(&[1], &[member(2)], &[]), Error::UntrustedKeys { signed_by } if signed_by == [id(2)]));
        let expected = format!("no signature is by a trusted key; it claims to be signed by `{}`", id(2));
        assert_eq!(refusal(&[1], &[member(2)], &[]).to_string(), expected);
    }

    #[test]
    fn accepts_what_nobody_vouches_for_only_where_that_is_said_and_never_a_forgery() {
        let policy = TrustPolicy { unsigned: Unsigned::Accept, ..policy(&[1]) };
        assert_eq!(policy.check(ROOT, &[], &[]).unwrap(), []);
        assert_eq!(policy.check(ROOT, &[member(2)], &[]).unwrap(), [status(2, false)]);
        let forged = Signature::from_parts(key(2).sign(ROOT).der().to_vec(), Some(id(1)), None, "it").unwrap().to_sigstore_json();
        assert!(
            matches!(policy.check(ROOT, &[], &[forged]), Err(Error::BadSignature { key_id, place: Place::Detached(0) }) if key_id == id(1))
        );
    }

    #[test]
    fn counts_each_trusted_key_once() {
        let two = TrustPolicy { required: 2, ..policy(&[1, 2, 3]) };
        assert_eq!(two.check(ROOT, &[member(1)], &[detached(2)]).unwrap().len(), 2);
        let error = two.check(ROOT, &[member(1), member(1)], &[detached(1), detached(4)]).unwrap_err();
        assert!(matches!(error, Error::TooFew { signed_by, required: 2 } if signed_by == [id(1)]));
    }

    #[test]
    fn a_trusted_key_verifies_a_detached_signature_that_does_not_name_it() {
        let signature = Signature::from_parts(key(1).sign(ROOT).der().to_vec(), None, None, "it").unwrap();
        assert_eq!(policy(&[2, 1]).check(ROOT, &[], &[signature.to_sigstore_json()]).unwrap(), [status(1, true)]);
        let unknown = policy(&[2]).check(ROOT, &[], &[signature.to_sigstore_json()]).unwrap_err();
        assert_eq!(unknown.to_string(), "no signature is by a trusted key; it claims to be signed by a key that it does not name");
    }

    #[test]
    fn refuses_an_embedded_pair_that_contradicts_itself() {
        let renamed = SignatureMember { key_id: id(2), ..member(1) };
        let swapped = SignatureMember { der_base64_sig: member(2).der_base64_sig, ..member(1) };
        for (member, what) in [
            (renamed, "its Sigstore bundle names another key than its file name"),
            (swapped, "its .sig holds something else than its Sigstore bundle"),
        ] {
            let error = policy(&[1]).check(ROOT, &[member], &[]).unwrap_err();
            assert!(matches!(error, Error::Contradiction { what: found, .. } if found == what));
        }
    }

    #[test]
    fn refuses_a_signature_over_other_content() {
        let error = policy(&[1]).check(b"another root", &[member(1)], &[]).unwrap_err();
        assert!(matches!(error, Error::OtherContent { signed, .. } if signed == Digest::of(ROOT)));
    }

    #[test]
    fn refuses_every_flipped_bit_of_an_embedded_signature() {
        let good = member(1);
        let flips = |length: usize| (0..length * 8).map(|bit| (bit / 8, 1_u8 << (bit % 8)));
        for keys in [&[1][..], &[2]] {
            for (place, bit) in flips(good.sigstore_json.len()) {
                let mut bad = good.clone();
                bad.sigstore_json[place] ^= bit;
                let error = policy(keys).check(ROOT, &[bad], &[]).unwrap_err();
                let named = matches!(error, Error::Malformed { .. } | Error::Contradiction { .. } | Error::OtherContent { .. });
                assert!(named, "byte {place}, bit {bit}: {error}");
            }
            for (place, bit) in flips(good.der_base64_sig.len()) {
                let mut bad = good.clone();
                bad.der_base64_sig[place] ^= bit;
                let error = policy(keys).check(ROOT, &[bad], &[]).unwrap_err();
                assert!(matches!(error, Error::Contradiction { .. }), "byte {place}, bit {bit}: {error}");
            }
        }
    }

    #[test]
    fn no_flipped_bit_of_a_detached_signature_makes_another_signature_valid() {
        let good = detached(1);
        for (place, bit) in (0..good.len() * 8).map(|bit| (bit / 8, 1_u8 << (bit % 8))) {
            let mut bad = good.clone();
            bad[place] ^= bit;
            let same = Signature::from_sigstore_json(&bad).is_ok_and(|bad| bad.der() == key(1).sign(ROOT).der());
            // Unknown fields are skipped there, so a changed name of an optional field leaves the signature what it was.
            assert!(same || policy(&[1]).check(ROOT, &[], &[bad]).is_err(), "byte {place}, bit {bit}");
        }
    }

    #[test]
    fn no_flipped_byte_of_the_root_goes_unnoticed() {
        for place in 0..ROOT.len() {
            let mut root = ROOT.to_vec();
            root[place] ^= 1;
            assert!(policy(&[1]).check(&root, &[member(1)], &[]).is_err());
            let without_digest = Signature::from_parts(key(1).sign(ROOT).der().to_vec(), Some(id(1)), None, "it").unwrap();
            let error = policy(&[1]).check(&root, &[], &[without_digest.to_sigstore_json()]).unwrap_err();
            assert!(matches!(error, Error::BadSignature { .. }));
        }
    }

    #[test]
    fn looks_at_a_bounded_number_of_signatures() {
        let many = vec![detached(1); MAX_SIGNATURES + 1];
        assert!(matches!(policy(&[1]).check(ROOT, &[], &many), Err(Error::TooMany { found: 65 })));
    }
}
