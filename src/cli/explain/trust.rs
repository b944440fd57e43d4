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
