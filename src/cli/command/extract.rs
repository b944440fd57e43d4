//! `coracle extract`: one image or file out of a bundle.

use std::path::PathBuf;

use crate::bundle::{self, Limits};
use crate::cli::{Exit, Ui, keys, signatures};
use crate::types::{ImageReference, NodePath, Platform};

/// Take one image or file out of a bundle, verified
///
/// An image becomes an OCI image layout of one platform: a directory or, where PATH ends with .tar, an archive, as skopeo, crane, umoci
/// and podman read them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    /// An image by its reference, or a file by its path on the node (beginning with /)
    item: String,
    /// For which platform; without it the only one or this machine's
    #[arg(long, value_name = "PLATFORM", env = "CORACLE_PLATFORM")]
    platform: Option<Platform>,
    /// Where it goes
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    #[command(flatten)]
    trust: keys::TrustArgs,
}

/// Takes it out.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { bundle, item, platform, output, trust } = args;
    let policy = trust.policy()?;
    let detached = signatures::beside(&bundle)?;
    let bundle = bundle::open(&bundle, &Limits::FORMAT)?.verify(&policy, &detached)?;
    if item.starts_with('/') {
        let path: NodePath = item.parse()?;
        let file = bundle.find_file(&path, platform.as_ref())?;
        file.write_file(&output)?;
        ui.say(&format!("  wrote      {}   {}", output.display(), file.descriptor().digest));
        return Ok(Exit::Done);
    }
    let reference: ImageReference = item.parse()?;
    let image = bundle.find_image(&reference, platform.as_ref())?;
    let archive = output.extension().is_some_and(|end| end == "tar");
    if archive {
        image.write_archive(&output)?;
    } else {
        image.write_layout(&output)?;
    }
    let (kind, path) = (if archive { "oci-archive" } else { "oci" }, output.display());
    ui.say(&format!("  wrote      {path}   {reference} for {}, {}", image.platform(), image.manifest().digest));
    ui.say(&format!("next: skopeo inspect {kind}:{path}"));
    Ok(Exit::Done)
}
