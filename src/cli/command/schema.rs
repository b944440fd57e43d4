//! `coracle schema`: the JSON schema of the definition, for editors.

use crate::cli::{Exit, Ui};
use crate::create::definition;

/// Print the JSON schema of coracle.yaml
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(_: Args, ui: &Ui) -> anyhow::Result<Exit> {
    ui.print(&format!("{:#}", definition::schema()))?;
    Ok(Exit::Done)
}
