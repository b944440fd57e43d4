//! The command line: the only place that knows clap, terminals, colours and exit codes. One small file per command.
//!
//! A command parses its flags, builds a request, calls the library and renders what comes back; an error goes up as
//! [`anyhow::Error`] with the library's typed error inside, and [`explain`] turns it into place, cause and hint.

pub mod command;
pub mod explain;
pub mod keys;
mod ui;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use ui::{Format, Ui};

/// Carries software across an air gap.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: ui::GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Keygen(command::keygen::Args),
    Completions(command::completions::Args),
    Man(command::completions::ManArgs),
    Deploy(Box<command::deploy::Args>),
    Status(command::status::Args),
    Receipt(command::receipt::Args),
    Registry(command::registry::Args),
}

/// How a command ended, when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// 3: the bundle was refused; what was found is printed already.
    Refused,
    /// 4: with `--check` or `--exit-code`: there are differences.
    Differs,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 3,
            Self::Differs => 4,
        }
    }
}

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(&cli.global);
    match dispatch(cli.command, &ui) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => explain::report(&error, &ui),
    }
}

fn dispatch(command: Command, ui: &Ui) -> anyhow::Result<Exit> {
    match command {
        Command::Keygen(args) => command::keygen::run(args, ui),
        Command::Completions(args) => command::completions::run(args, ui),
        Command::Man(args) => command::completions::run_man(args, ui),
        Command::Deploy(args) => command::deploy::run(*args, ui),
        Command::Status(args) => command::status::run(args, ui),
        Command::Receipt(args) => command::receipt::run(args, ui),
        Command::Registry(args) => command::registry::run(args, ui),
    }
}
