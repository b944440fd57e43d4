//! Signatures beside a bundle.
//!
//! The first signer's is `BUNDLE.sigstore.json`. Further signers have `BUNDLE.KEY.sigstore.json`, KEY being the first 16 digits of their
//! key id, so that one signer never overwrites another's and each file is what `cosign verify-blob --bundle` takes. Beside each lies
//! the same with `.sig`, for openssl.

use std::path::{Path, PathBuf};

use crate::bundle::trust::{KeyId, MAX_SIGNATURE, Signature};
use crate::fs;

const END: &str = "sigstore.json";
/// So many digits of a key id stand in a file's name.
const SHORT: usize = 16;

/// The content of every signature file beside a bundle, by their names' order.
pub fn beside(bundle: &Path) -> Result<Vec<Vec<u8>>, fs::Error> {
    let paths = fs::read_dir(fs::parent(bundle))?;
    paths.iter().filter(|path| belongs_to(path, bundle)).map(|path| fs::read(path, MAX_SIGNATURE)).collect()
}

fn belongs_to(path: &Path, bundle: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (path, bundle) = (name(path), name(bundle));
    let Some(rest) = path.strip_prefix(&bundle).and_then(|rest| rest.strip_prefix('.')) else { return false };
    let key = rest.strip_suffix(END).and_then(|key| key.strip_suffix('.'));
    rest == END || key.is_some_and(|key| key.len() == SHORT && key.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Where the signature of a key goes: the first signer's name unless somebody else's signature has it.
pub fn path_for(bundle: &Path, key: KeyId) -> Result<PathBuf, fs::Error> {
    let first = with_end(bundle, &format!(".{END}"));
    if fs::metadata(&first)?.is_none() {
        return Ok(first);
    }
    // What cannot be read as a signature is somebody's file all the same, and stays.
    let own = Signature::from_sigstore_json(&fs::read(&first, MAX_SIGNATURE)?).is_ok_and(|signature| signature.hint() == Some(key));
    Ok(if own { first } else { with_end(bundle, &format!(".{}.{END}", &key.to_string()[..SHORT])) })
}

/// The path of the `.sig` beside a `.sigstore.json`.
pub fn sig_path(sigstore: &Path) -> PathBuf {
    match sigstore.to_str().and_then(|text| text.strip_suffix(&format!(".{END}"))) {
        Some(stem) => PathBuf::from(format!("{stem}.sig")),
        None => with_end(sigstore, ".sig"),
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::trust::SigningKey;

    fn key(number: u8) -> SigningKey {
        SigningKey::generate(|bytes| {
            bytes.fill(number);
            Ok::<_, ()>(())
        })
        .unwrap()
    }

    #[test]
    fn each_signer_has_a_file_and_the_same_signer_the_same_one() {
        let directory = tempfile::tempdir().unwrap();
        let bundle = directory.path().join("a.tar.zst");
        let mut names = Vec::new();
        for number in [1, 2, 1, 3, 2] {
            let path = path_for(&bundle, key(number).public().key_id()).unwrap();
            fs::write_atomic(&path, &key(number).sign(b"root").to_sigstore_json(), 0o644).unwrap();
            names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
        let short = |number: u8| format!("a.tar.zst.{}.sigstore.json", &key(number).public().key_id().to_string()[..16]);
        assert_eq!(names, ["a.tar.zst.sigstore.json".to_owned(), short(2), "a.tar.zst.sigstore.json".to_owned(), short(3), short(2)]);
        assert_eq!(beside(&bundle).unwrap().len(), 3);
    }

    #[test]
    fn takes_no_signature_of_another_bundle() {
        let directory = tempfile::tempdir().unwrap();
        let others = [
            "b.tar.zst.sigstore.json",
            "a.tar.zst.old.sigstore.json",
            "a.tar.zst.1.sigstore.json",
            "a.tar.zst.sig",
            "a.tar.zstsigstore.json",
        ];
        for name in others {
            fs::write_atomic(&directory.path().join(name), b"x", 0o644).unwrap();
        }
        assert_eq!(beside(&directory.path().join("a.tar.zst")).unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn names_the_sig_after_the_sigstore_bundle() {
        assert_eq!(sig_path(Path::new("/m/a.tar.zst.sigstore.json")), Path::new("/m/a.tar.zst.sig"));
        assert_eq!(sig_path(Path::new("x.json")), Path::new("x.json.sig"));
    }
}
