//! Keys and signatures: what a refusal means, and what to do. Never: to trust a key that came with a bundle.

use super::Explanation;
use crate::bundle::trust::policy::Place;
use crate::bundle::trust::{Error, KeyError};
use crate::cli::keys;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const REFUSED: u8 = 3;

/// Why a bundle is not trusted.
pub fn explain(error: &Error) -> Explanation {
    let hint = match error {
        Error::NoKeys => format!(
            "bring the signer's public key here by another way than the bundle, put it into {} (owned by root, mode 0644) or name it with \
             --key, then compare its key id with the signer: openssl pkey -pubin -in KEY.pub -outform DER | sha256sum",
            keys::SYSTEM_KEYS
        ),
        Error::Unsigned => "ask for a signed bundle (coracle create --signing-key KEY), or for its detached signature \
             BUNDLE.sigstore.json and put that beside it"
            .to_owned(),
        Error::UntrustedKeys { .. } => format!(
            "ask the sender by another way (by phone, in person) whether one of these key ids is theirs; only then bring that public key \
             here, not from the medium that the bundle came on, and put it into {}",
            keys::SYSTEM_KEYS
        ),
        Error::TooFew { signed_by, required } => format!(
            "{} more trusted signer(s) must sign: coracle sign BUNDLE --signing-key KEY; carry BUNDLE.sigstore.json beside the bundle",
            required.saturating_sub(signed_by.len())
        ),
        Error::OtherContent { place: Place::Detached(_), .. } => {
            "the signature file belongs to another bundle or an older one: carry the one made for this bundle, or take the file away"
                .to_owned()
        }
        Error::Malformed { place: Place::Detached(_), .. } => "copy the signature file again, or take it away".to_owned(),
        Error::BadSignature { .. } | Error::OtherContent { .. } | Error::Malformed { .. } | Error::Contradiction { .. } => {
            "the bundle or the signature was damaged or altered after signing; copy both again from where they were made, and if that \
             does not help, ask the signer"
                .to_owned()
        }
        Error::TooMany { .. } => "ask the sender for a bundle with fewer signatures".to_owned(),
    };
    Explanation { exit: REFUSED, hint: Some(hint), ..Explanation::default() }
}

/// Why a key file cannot be used.
pub fn explain_keys(error: &keys::Error) -> Explanation {
    let (exit, hint) = match error {
        keys::Error::File(error) if error.is_not_found() => {
            (USAGE, Some("name a key file that is there; `coracle keygen` makes a pair".to_owned()))
        }
        keys::Error::File(_) | keys::Error::Ask(_) | keys::Error::Random(_) => (FAILED, None),
        keys::Error::Key { source, .. } => explain_key(source),
        keys::Error::Unsafe { path, .. } => {
            let path = path.display();
            let hint = format!("if the content is what its owner meant: chown root:root {path} && chmod go-w {path}");
            (REFUSED, Some(hint))
        }
        keys::Error::NobodyToAsk { .. } => (USAGE, Some(format!("run it on a terminal, or put the password into {}", keys::PASSWORD))),
        keys::Error::PasswordsDiffer => (USAGE, Some("nothing was written; try again".to_owned())),
        keys::Error::EmptyPassword => {
            (USAGE, Some("choose a password, or say --unencrypted for a key that is protected by its file's mode alone".to_owned()))
        }
        keys::Error::Exists { .. } => (USAGE, Some("a key that is overwritten is lost: choose another PREFIX".to_owned())),
    };
    Explanation { exit, hint, ..Explanation::default() }
}

fn explain_key(error: &KeyError) -> (u8, Option<String>) {
    let hint = match error {
        KeyError::WrongPassword => {
            return (FAILED, Some(format!("type it again, or see what {} holds; a damaged key file looks the same", keys::PASSWORD)));
        }
        KeyError::PasswordNeeded => format!("put the password into {}", keys::PASSWORD),
        KeyError::Algorithm(_) => "`coracle keygen` and `cosign generate-key-pair` make keys on P-256".to_owned(),
        KeyError::Kind { wanted, .. } if wanted.starts_with("PUBLIC") => "name the public half, PREFIX.pub".to_owned(),
        KeyError::Kind { .. } => "name the private half, PREFIX.key".to_owned(),
        KeyError::Pem(_) | KeyError::Damaged => "copy the key file again from where it was made".to_owned(),
        KeyError::Encryption(_) => "`coracle keygen` and `cosign generate-key-pair` write keys that can be read here".to_owned(),
    };
    (USAGE, Some(hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::trust::KeyId;
    use crate::types::Digest;

    fn shown(error: Error) -> String {
        let path = "app-1.0.0.tar.zst".into();
        let error = anyhow::Error::from(crate::bundle::Error::Untrusted { path, source: error });
        let explanation = super::super::explain(&error);
        assert_eq!(explanation.exit, 3);
        super::super::render(&error, &explanation)
    }

    #[test]
    fn says_how_a_key_gets_here_and_never_to_trust_one_that_came_along() {
        insta::assert_snapshot!(shown(Error::NoKeys), @r#"
        error: refused bundle `app-1.0.0.tar.zst`
          cause  no key is trusted here
          hint   bring the signer's public key here by another way than the bundle, put it into /etc/coracle/keys.d (owned by root, mode 0644) or name it with --key, then compare its key id with the signer: openssl pkey -pubin -in KEY.pub -outform DER | sha256sum
        "#);
        insta::assert_snapshot!(shown(Error::UntrustedKeys { signed_by: vec![KeyId::from_bytes([0xab; 32])] }), @r#"
        error: refused bundle `app-1.0.0.tar.zst`
          cause  no signature is by a trusted key; it claims to be signed by `abababababababababababababababababababababababababababababababab`
          hint   ask the sender by another way (by phone, in person) whether one of these key ids is theirs; only then bring that public key here, not from the medium that the bundle came on, and put it into /etc/coracle/keys.d
        "#);
    }

    #[test]
    fn tells_a_forgery_from_a_signature_of_something_else() {
        let key_id = KeyId::from_bytes([0xab; 32]);
        insta::assert_snapshot!(shown(Error::BadSignature { key_id, place: Place::Embedded }), @r#"
        error: refused bundle `app-1.0.0.tar.zst`
          cause  the embedded signature that claims the trusted key `abababababababababababababababababababababababababababababababab` does not verify
          hint   the bundle or the signature was damaged or altered after signing; copy both again from where they were made, and if that does not help, ask the signer
        "#);
        let other = Error::OtherContent { place: Place::Detached(0), signed: Digest::of(b"a"), root: Digest::of(b"b") };
        insta::assert_snapshot!(shown(other), @r#"
        error: refused bundle `app-1.0.0.tar.zst`
          cause  the detached signature is made over other content: `sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb`, the root of this bundle is `sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d`
          hint   the signature file belongs to another bundle or an older one: carry the one made for this bundle, or take the file away
        "#);
        insta::assert_snapshot!(shown(Error::TooFew { signed_by: vec![key_id], required: 3 }), @r#"
        error: refused bundle `app-1.0.0.tar.zst`
          cause  1 trusted key(s) signed it, 3 are required
          hint   2 more trusted signer(s) must sign: coracle sign BUNDLE --signing-key KEY; carry BUNDLE.sigstore.json beside the bundle
        "#);
        insta::assert_snapshot!(shown(Error::Unsigned), @r#"
        error: refused bundle `app-1.0.0.tar.zst`
          cause  the bundle is not signed
          hint   ask for a signed bundle (coracle create --signing-key KEY), or for its detached signature BUNDLE.sigstore.json and put that beside it
        "#);
    }

    #[test]
    fn says_what_a_password_is_wrong_for() {
        let error = anyhow::Error::from(keys::Error::Key { path: "release.key".into(), source: KeyError::WrongPassword });
        let explanation = super::super::explain(&error);
        assert_eq!(explanation.exit, 1);
        insta::assert_snapshot!(super::super::render(&error, &explanation), @r#"
        error: cannot use the key `release.key`
          cause  the password does not open it
          hint   type it again, or see what CORACLE_KEY_PASSWORD holds; a damaged key file looks the same
        "#);
    }
}
