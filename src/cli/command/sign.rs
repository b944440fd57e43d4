//! `coracle sign`: one more signature, beside the bundle.

use std::path::PathBuf;

use crate::bundle::{self, Limits};
use crate::cli::{Exit, Ui, keys, signatures};
use crate::fs;

/// Sign a bundle with one more key
///
/// Writes BUNDLE.sigstore.json beside the bundle (a further signer's is BUNDLE.KEYID.sigstore.json), and the same as .sig for openssl.
/// The signature covers the bundle's root, and so every byte: carry it along with the bundle. A signature that cosign or an HSM made
/// over the root counts in the same way.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    /// The private key, from `coracle keygen`, cosign or openssl
    #[arg(long, value_name = "KEY", env = "CORACLE_SIGNING_KEY")]
    signing_key: PathBuf,
    /// Where the signature goes instead
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Signs what the bundle says of itself; its content hangs on that by digests and is not read.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let listing = bundle::open(&args.bundle, &Limits::FORMAT)?.read_listing()?;
    let contents = listing.contents();
    let key = keys::load_signing_key(&args.signing_key, ui)?;
    let key_id = key.public().key_id();
    let signature = key.sign(listing.root());
    let path = match args.output {
        Some(path) => path,
        None => signatures::path_for(&args.bundle, key_id)?,
    };
    let sig = signatures::sig_path(&path);
    fs::write_atomic(&path, &signature.to_sigstore_json(), 0o644)?;
    fs::write_atomic(&sig, &signature.to_der_base64(), 0o644)?;
    ui.say(&format!("  signed     {} {}   {}", contents.name, contents.version, listing.root_digest()));
    ui.say(&format!("  signed by  {} ({key_id})", args.signing_key.display()));
    ui.say(&format!("  wrote      {} and {}", path.display(), sig.display()));
    let bundle = args.bundle.display();
    ui.say(&format!("next: carry both beside {bundle}, then  coracle verify {bundle}"));
    Ok(Exit::Done)
}
