//! `coracle sign`: one more signature, beside the bundle or in it.

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
    /// Put the signature into the bundle, which is written anew with all else as it was; it keeps its root digest
    #[arg(long)]
    embed: bool,
    /// Where the signature goes instead; with --embed, the bundle that has it
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
    ui.say(&format!("  signed     {} {}   {}", contents.name, contents.version, listing.root_digest()));
    ui.say(&format!("  signed by  {} ({key_id})", args.signing_key.display()));
    if args.embed {
        let path = args.output.as_ref().unwrap_or(&args.bundle);
        let signatures = listing.embed(vec![signature.to_member(listing.root(), key_id)], path)?;
        let signatures = if signatures == 1 { "signed once".to_owned() } else { format!("{signatures} signatures in it") };
        ui.say(&format!("  wrote      {}, {signatures}", path.display()));
        ui.say(&format!("next: coracle verify {}", path.display()));
        return Ok(Exit::Done);
    }
    let path = match args.output {
        Some(path) => path,
        None => signatures::path_for(&args.bundle, key_id)?,
    };
    let sig = signatures::sig_path(&path);
    fs::write_atomic(&path, &signature.to_sigstore_json(), 0o644)?;
    fs::write_atomic(&sig, &signature.to_der_base64(), 0o644)?;
    ui.say(&format!("  wrote      {} and {}", path.display(), sig.display()));
    let bundle = args.bundle.display();
    ui.say(&format!("next: carry both beside {bundle}, then  coracle verify {bundle}"));
    Ok(Exit::Done)
}
