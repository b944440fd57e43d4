//! `coracle init`: a commented definition that already works.

use std::io::Write as _;
use std::path::PathBuf;

use crate::cli::{Exit, Ui};
use crate::create::definition;
use crate::fs;
use crate::types::PackageName;

/// Write a commented coracle.yaml that already works
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write it; made when it is missing
    #[arg(default_value = ".", value_name = "DIR")]
    directory: PathBuf,
}

/// The definition, with `@NAME@` for the package's name.
const TEMPLATE: &str = include_str!("init_template.yaml");

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { directory } = args;
    fs::create_dir_all(&directory)?;
    let whole = fs::canonicalize(&directory)?;
    let path = directory.join(definition::FILE_NAME);
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // Made new or not at all: what someone wrote there is never lost.
    if fs::metadata(&path)?.is_some() {
        anyhow::bail!("`{}` is there already, and is not overwritten", path.display());
    }
    let mut file = fs::create_new(&path, 0o644)?;
    file.write_all(text(&name).as_bytes()).map_err(|error| fs::Error::new("write", &path, error))?;
    ui.print(&path.display().to_string())?;
    let shown = directory.display();
    ui.say(&format!("next: edit it, then  coracle keygen release  and  coracle create {shown} --signing-key release.key"));
    Ok(Exit::Done)
}

/// The definition of a new package, named after its directory as far as that is a name.
fn text(directory: &str) -> String {
    let name: String = directory.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    let name = name.trim_matches('-');
    TEMPLATE.replace("@NAME@", if name.parse::<PackageName>().is_ok() { name } else { "my-package" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_package_after_its_directory() {
        for (directory, name) in [("payments", "payments"), ("My App_2", "my-app-2"), ("", "my-package"), ("..", "my-package")] {
            assert!(text(directory).contains(&format!("  name: {name}\n")), "{directory}");
        }
    }
}
