//! `coracle inspect`: what a bundle says that it holds; reads metadata only.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;

use crate::bundle::trust::{TrustPolicy, Unsigned};
use crate::bundle::{self, Limits, Listing};
use crate::cli::report_v1::{self, Inspection};
use crate::cli::table::table;
use crate::cli::{Exit, Format, Ui, keys, signatures, size};
use crate::types::oci::ImageManifest;

/// Show what a bundle holds, and who signed it
///
/// Reads kilobytes, whatever the bundle's size. Works without a trusted key too, and then says that nothing of it is known to be true.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    /// One part of it alone
    #[arg(value_enum)]
    section: Option<Section>,
    /// Trust this public key and no other; may be repeated. Without it: the keys in /etc/coracle/keys.d
    #[arg(long, value_name = "PUB", help_heading = "Trust")]
    key: Vec<PathBuf>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Text, env = "CORACLE_FORMAT")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Images with platforms and sizes
    Images,
    /// Files with path, mode and origin
    Files,
    /// The resolved definition, as it is signed
    Definition,
    /// The lock file
    Lock,
}

/// Prints one part, or a summary.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { bundle: path, section, key, format } = args;
    let policy = TrustPolicy { keys: keys::trusted_keys(&key)?, required: 1, unsigned: Unsigned::Accept };
    let detached = signatures::beside(&path)?;
    let opened = bundle::open(&path, &Limits::FORMAT)?;
    let statuses =
        policy.check(opened.root(), opened.signatures(), &detached).map_err(|source| bundle::Error::Untrusted { path, source })?;
    let listing = opened.read_listing()?;
    let inspection = Inspection::of(&listing, &statuses, listing.size());
    if !statuses.iter().any(|status| status.trusted) {
        ui.say("NOT VERIFIED: no trusted key signed this bundle. What follows is what it says of itself; anybody may have written it.");
    }
    let text = match (section, format) {
        (None, Format::Json) => report_v1::json(&inspection)?,
        (None, Format::Text) => {
            let signers: Vec<String> = statuses.iter().map(report_v1::signer).collect();
            [summary(&listing, &signers), images(&inspection), files(&inspection)].join("\n\n")
        }
        (Some(Section::Images), Format::Text) => images(&inspection),
        (Some(Section::Files), Format::Text) => files(&inspection),
        (Some(Section::Images), Format::Json) => report_v1::json(&serde_json::json!({ "images": inspection.images }))?,
        (Some(Section::Files), Format::Json) => report_v1::json(&serde_json::json!({ "files": inspection.files }))?,
        (Some(Section::Lock), _) => indented(listing.contents().lock.as_bytes())?,
        (Some(Section::Definition), _) => indented(definition(&listing)?)?,
    };
    ui.print(&text)?;
    Ok(Exit::Done)
}

fn indented(json: &[u8]) -> anyhow::Result<String> {
    Ok(report_v1::json(&serde_json::from_slice::<serde_json::Value>(json)?)?)
}

/// The package's configuration, as it stands in the bundle.
fn definition(listing: &Listing) -> anyhow::Result<&[u8]> {
    let document = |digest| listing.document(digest).with_context(|| format!("document `{digest}` is not in the bundle"));
    let manifest = ImageManifest::parse(document(&listing.package().manifest.digest)?)?;
    document(&manifest.config.digest)
}

fn summary(listing: &Listing, signers: &[String]) -> String {
    let contents = listing.contents();
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![row("package", format!("{} {}", contents.name, contents.version))];
    if !contents.description.is_empty() {
        rows.push(row("", contents.description.clone()));
    }
    rows.push(row("digest", listing.root_digest().to_string()));
    rows.push(row("platforms", contents.platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
    rows.push(row("size", size(listing.size())));
    if signers.is_empty() {
        rows.push(row("signed by", "nobody".to_owned()));
    }
    rows.extend(signers.iter().map(|signer| row("signed by", signer.clone())));
    for component in &contents.components {
        let optional = if component.optional { ", optional" } else { "" };
        let counts = format!("{}: {} image(s), {} file(s){optional}", component.name, component.images.len(), component.files.len());
        rows.push(row("component", counts));
    }
    table(&rows)
}

fn images(inspection: &Inspection) -> String {
    let mut rows = vec![["IMAGE", "PLATFORM", "SIZE", "LAYERS", "DIGEST"].map(str::to_owned).to_vec()];
    for image in &inspection.images {
        for platform in &image.platforms {
            let [name, layers] = [image.reference.clone(), platform.layers.to_string()];
            rows.push(vec![name, platform.platform.clone(), size(platform.size), layers, platform.digest.clone()]);
        }
    }
    if rows.len() == 1 { "  no images".to_owned() } else { table(&rows) }
}

fn files(inspection: &Inspection) -> String {
    let mut rows = vec![["FILE", "MODE", "OWNER", "PLATFORM", "SIZE", "COMPONENT", "FROM"].map(str::to_owned).to_vec()];
    for file in &inspection.files {
        let path = if file.extract { format!("{}/ (extracted)", file.path) } else { file.path.clone() };
        let owner = [&file.owner, &file.group].map(|name| name.as_deref().unwrap_or("-")).join(":");
        let mode = file.mode.as_deref().unwrap_or("-");
        for content in &file.contents {
            let cells = [path.as_str(), mode, &owner, &content.platform, &size(content.size), &file.component, &content.origin];
            rows.push(cells.map(str::to_owned).to_vec());
        }
    }
    if rows.len() == 1 { "  no files".to_owned() } else { table(&rows) }
}
