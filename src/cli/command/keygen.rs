//! `coracle keygen`: a key pair in cosign's format.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::bundle::trust::SigningKey;
use crate::cli::keys::{self, Error};
use crate::cli::{Exit, Ui};
use crate::fs;

/// Make a key pair to sign bundles with, in cosign's format
///
/// Writes PREFIX.key, encrypted with a password (from the terminal or CORACLE_KEY_PASSWORD), and PREFIX.pub. The public half is
/// brought to the isolated side once, by another way than the bundles.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to: PREFIX.key and PREFIX.pub
    #[arg(default_value = "coracle")]
    prefix: PathBuf,
    /// Write the private key as plain PKCS#8: whoever reads the file can sign
    #[arg(long)]
    unencrypted: bool,
}

/// Makes the pair; never overwrites a file.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { prefix, unencrypted } = args;
    let with_end = |end: &str| {
        let mut path = prefix.clone().into_os_string();
        path.push(end);
        PathBuf::from(path)
    };
    let (private, public) = (with_end(".key"), with_end(".pub"));
    for path in [&private, &public] {
        if fs::metadata(path)?.is_some() {
            return Err(Error::Exists { path: path.clone() }.into());
        }
    }
    let key = SigningKey::generate(getrandom::fill).map_err(Error::Random)?;
    let pem = if unencrypted {
        key.to_pem()
    } else {
        let password = keys::new_password(&private, ui)?;
        let (mut salt, mut nonce) = ([0; 32], [0; 24]);
        getrandom::fill(&mut salt).and_then(|()| getrandom::fill(&mut nonce)).map_err(Error::Random)?;
        key.to_encrypted_pem(password.as_bytes(), &salt, &nonce).into()
    };
    create(&private, pem.as_bytes(), 0o600)?;
    create(&public, key.public().to_pem().as_bytes(), 0o644)?;
    fs::sync_directory(fs::parent(&public))?;

    let protection = if unencrypted { "not encrypted: keep it where only you can read it" } else { "encrypted with your password" };
    let (private, public) = (private.display(), public.display());
    ui.say(&format!("  wrote      {private}   signs; {protection}"));
    ui.say(&format!("  wrote      {public}   verifies; may be shown to anybody"));
    ui.print(&key.public().key_id().to_string())?;
    ui.say(&format!(
        "next: bring {public} to the isolated side by another way than the bundles (by hand, or compare the key id above over the phone:\n      \
         openssl pkey -pubin -in {public} -outform DER | sha256sum), put it into {}, then\n      \
         coracle create --signing-key {private}",
        keys::SYSTEM_KEYS
    ));
    Ok(Exit::Done)
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut file = fs::create_new(path, mode)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(|| format!("cannot write `{}`", path.display()))
}
