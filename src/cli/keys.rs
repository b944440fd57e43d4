//! Key files: which keys are trusted here, and the key that signs.
//!
//! Trusted are the keys named by `--key`; without one, every `*.pub` in `/etc/coracle/keys.d` and, where the user is not root, in
//! `$XDG_CONFIG_HOME/coracle/keys.d`. Neither the environment nor root's home directory can add a key for root.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Ui;
use crate::bundle::trust::{KeyError, MAX_KEY_FILE, PublicKey, SigningKey, TrustPolicy, Unsigned};
use crate::fs;

/// Where the keys that a node trusts lie.
pub const SYSTEM_KEYS: &str = "/etc/coracle/keys.d";
/// Holds the signing key's password.
pub const PASSWORD: &str = "CORACLE_KEY_PASSWORD";

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// It is not the key that it should be.
    #[error("cannot use the key `{}`", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// Others than its owner could have changed it.
    #[error("refused the trusted key `{}`: {reason}", path.display())]
    Unsafe {
        /// The file or directory.
        path: PathBuf,
        /// Who could have changed it.
        reason: String,
    },
    /// A password is needed, and there is nobody to ask.
    #[error("the password of `{}` is needed, and there is no terminal to ask for it", path.display())]
    NobodyToAsk {
        /// The file.
        path: PathBuf,
    },
    /// The terminal failed, or was closed.
    #[error("cannot ask for the password")]
    Ask(#[source] std::io::Error),
    /// The password was not typed the same twice.
    #[error("the two passwords differ")]
    PasswordsDiffer,
    /// A key is protected by nothing.
    #[error("the password is empty")]
    EmptyPassword,
    /// A key would be lost.
    #[error("`{}` is there already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no randomness.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Flags of every command that decides whether to trust a bundle.
#[derive(Debug, clap::Args)]
pub struct TrustArgs {
    /// Trust this public key and no other; may be repeated. Without it: the keys in /etc/coracle/keys.d
    #[arg(long, value_name = "PUB", help_heading = "Trust")]
    pub key: Vec<PathBuf>,
    /// So many different trusted keys must have signed the bundle
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64), help_heading = "Trust")]
    pub require_signatures: u8,
    /// Accept a bundle that no trusted key signed: anybody may have made or changed it
    #[arg(long, conflicts_with = "require_signatures", help_heading = "Trust")]
    pub accept_unsigned: bool,
}

impl TrustArgs {
    /// The policy that the flags and the keys of this machine make.
    pub fn policy(&self) -> Result<TrustPolicy, Error> {
        Ok(TrustPolicy {
            keys: trusted_keys(&self.key)?,
            required: usize::from(self.require_signatures),
            unsigned: if self.accept_unsigned { Unsigned::Accept } else { Unsigned::Refuse },
        })
    }
}

/// The trusted keys: `named`, or those of this machine. None is no error here: the policy refuses then.
pub fn trusted_keys(named: &[PathBuf]) -> Result<Vec<PublicKey>, Error> {
    if !named.is_empty() {
        return named.iter().map(|path| read_public(path)).collect();
    }
    let user = rustix::process::geteuid();
    let mut keys = keys_in(Path::new(SYSTEM_KEYS), &[0])?;
    if !user.is_root()
        && let Some(directory) = user_keys()
    {
        keys.extend(keys_in(&directory, &[0, user.as_raw()])?);
    }
    Ok(keys)
}

/// Where the keys that this user trusts lie; nobody's for root.
pub fn user_keys() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(base.join("coracle/keys.d"))
}

/// Every `*.pub` of a directory that nobody but `owners` can have changed. A directory that is missing holds none.
fn keys_in(directory: &Path, owners: &[u32]) -> Result<Vec<PublicKey>, Error> {
    let paths: Vec<PathBuf> =
        fs::read_dir(directory)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "pub")).collect();
    if !paths.is_empty() {
        check_owner(directory, owners)?;
    }
    let read = |path: &PathBuf| {
        check_owner(path, owners)?;
        read_public(path)
    };
    paths.iter().map(read).collect()
}

fn check_owner(path: &Path, owners: &[u32]) -> Result<(), Error> {
    let refuse = |reason: String| Err(Error::Unsafe { path: path.to_owned(), reason });
    let Some(metadata) = fs::metadata(path)? else {
        return refuse("it went away while it was looked at".to_owned());
    };
    if metadata.is_symlink() {
        return refuse("it is a symbolic link".to_owned());
    }
    if !owners.contains(&metadata.uid()) {
        return refuse(format!("it belongs to the user with number {}", metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        return refuse(format!("its group or everybody can write it (mode {:04o})", metadata.mode() & 0o7777));
    }
    Ok(())
}

fn read_public(path: &Path) -> Result<PublicKey, Error> {
    let text = fs::read_to_string(path, MAX_KEY_FILE)?;
    PublicKey::from_pem(&text).map_err(|source| Error::Key { path: path.to_owned(), source })
}

/// Reads the key that signs; its password comes from `CORACLE_KEY_PASSWORD` or the terminal.
pub fn load_signing_key(path: &Path, ui: &Ui) -> Result<SigningKey, Error> {
    let text = Zeroizing::new(fs::read_to_string(path, MAX_KEY_FILE)?);
    let password = match password_from_environment() {
        _ if !SigningKey::is_encrypted(&text) => None,
        Some(password) => Some(password),
        None if ui.can_ask() => Some(ask(&format!("password of {}: ", path.display()))?),
        None => return Err(Error::NobodyToAsk { path: path.to_owned() }),
    };
    SigningKey::from_pem(&text, password.as_ref().map(|password| password.as_bytes()))
        .map_err(|source| Error::Key { path: path.to_owned(), source })
}

/// The password of a new key: from `CORACLE_KEY_PASSWORD`, or typed twice.
pub fn new_password(path: &Path, ui: &Ui) -> Result<Zeroizing<String>, Error> {
    let password = match password_from_environment() {
        Some(password) => password,
        None if ui.can_ask() => {
            let first = ask(&format!("password for {}: ", path.display()))?;
            if first != ask("the same again: ")? {
                return Err(Error::PasswordsDiffer);
            }
            first
        }
        None => return Err(Error::NobodyToAsk { path: path.to_owned() }),
    };
    if password.is_empty() { Err(Error::EmptyPassword) } else { Ok(password) }
}

fn password_from_environment() -> Option<Zeroizing<String>> {
    std::env::var(PASSWORD).ok().map(Zeroizing::new)
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Error> {
    rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(Error::Ask)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &[u8] = include_bytes!("../../tests/fixtures/keys/p256-sec1.pub");

    fn directory_with(name: &str, bytes: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write_atomic(&path, bytes, mode).unwrap();
        (directory, path)
    }

    fn me() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn trusts_every_pub_file_of_a_directory_and_nothing_else() {
        let (directory, _) = directory_with("release.pub", PUBLIC, 0o644);
        fs::write_atomic(&directory.path().join("README"), b"text", 0o666).unwrap();
        assert_eq!(keys_in(directory.path(), &[me()]).unwrap().len(), 1);
        assert_eq!(keys_in(&directory.path().join("missing"), &[me()]).unwrap(), []);
    }

    #[test]
    fn refuses_keys_that_others_could_have_changed() {
        let refused = |directory: &Path, owners: &[u32]| match keys_in(directory, owners).unwrap_err() {
            Error::Unsafe { path, reason } => (path, reason),
            other => panic!("{other}"),
        };
        let (directory, path) = directory_with("a.pub", PUBLIC, 0o664);
        assert_eq!(refused(directory.path(), &[me()]), (path, "its group or everybody can write it (mode 0664)".to_owned()));
        let (directory, _) = directory_with("a.pub", PUBLIC, 0o644);
        let reason = format!("it belongs to the user with number {}", me());
        assert_eq!(refused(directory.path(), &[me() + 1]), (directory.path().to_owned(), reason));
        fs::set_mode(directory.path(), 0o777).unwrap();
        assert_eq!(refused(directory.path(), &[me()]).1, "its group or everybody can write it (mode 0777)");
        let (directory, path) = directory_with("a.text", PUBLIC, 0o644);
        fs::symlink(&path, &directory.path().join("a.pub")).unwrap();
        assert_eq!(refused(directory.path(), &[me()]).1, "it is a symbolic link");
    }

    #[test]
    fn says_which_file_is_no_key() {
        let (_directory, path) = directory_with("a.pub", b"text", 0o644);
        let error = trusted_keys(std::slice::from_ref(&path)).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot use the key `{}`", path.display()));
    }
}
