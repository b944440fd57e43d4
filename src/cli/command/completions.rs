//! `coracle completions` and `coracle man`: what shells and `man` want to know.

use std::path::PathBuf;

use clap::CommandFactory as _;

use crate::cli::{Cli, Exit, Ui};
use crate::fs;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Prints it.
pub fn run(Args { shell }: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "coracle", &mut script);
    ui.print(String::from_utf8(script)?.trim_end())?;
    Ok(Exit::Done)
}

/// Write a manual page for each command into a directory
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The directory; it is made where it is missing
    dir: PathBuf,
}

/// Writes them.
pub fn run_man(args: ManArgs, ui: &Ui) -> anyhow::Result<Exit> {
    let ManArgs { dir } = args;
    fs::create_dir_all(&dir)?;
    let mut command = Cli::command();
    command.build();
    let mut pages = 0;
    write_pages(&dir, &command, "coracle", &mut pages)?;
    ui.say(&format!("  wrote      {pages} pages to {}", dir.display()));
    Ok(Exit::Done)
}

fn write_pages(directory: &std::path::Path, command: &clap::Command, name: &str, pages: &mut usize) -> anyhow::Result<()> {
    let mut page = Vec::new();
    // Without a date, so that the same program writes the same pages.
    // Without a date, so that the same program writes the same pages.
    clap_mangen::Man::new(command.clone()).title(name).date("").render(&mut page)?;
    fs::write_atomic(&directory.join(format!("{name}.1")), &page, 0o644)?;
    *pages += 1;
    for child in command.get_subcommands().filter(|child| child.get_name() != "help" && !child.is_hide_set()) {
        write_pages(directory, child, &format!("{name}-{}", child.get_name()), pages)?;
    }
    Ok(())
}
