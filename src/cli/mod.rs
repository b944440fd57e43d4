//! The command line: the only place that knows clap, terminals, colours and exit codes. One small file per command.
//!
//! A command parses its flags, builds a request, calls the library and renders what comes back; an error goes up as
//! [`anyhow::Error`] with the library's typed error inside, and [`explain`] turns it into place, cause and hint.

pub mod command;
pub mod explain;
pub mod keys;
pub mod report_v1;
pub mod signatures;
mod table;
pub mod ui;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use ui::{Format, Ui, size};

/// Carries software across an air gap: one signed bundle, made on a connected workstation, deployed where there is no network.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: ui::GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// In the order in which a person meets them.
#[derive(Debug, Subcommand)]
enum Command {
    Init(command::init::Args),
    Keygen(command::keygen::Args),
    Create(command::create::Args),
    Lock(command::lock::Args),
    Sign(command::sign::Args),
    Verify(command::verify::Args),
    Inspect(command::inspect::Args),
    Extract(command::extract::Args),
    Deploy(Box<command::deploy::Args>),
    Status(command::status::Args),
    Receipt(command::receipt::Args),
    Registry(command::registry::Args),
    Schema(command::schema::Args),
    Completions(command::completions::Args),
    Man(command::completions::ManArgs),
}

/// How a command ended, when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// 2: something was to be answered, and there was nobody to ask; what to do is printed already.
    Unanswered,
    /// 3: the bundle was refused; what was found is printed already.
    Refused,
    /// 4: with `--check` or `--exit-code`: there are differences.
    Differs,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unanswered => 2,
            Self::Refused => 3,
            Self::Differs => 4,
        }
    }
}

/// The command line as clap knows it, for completions and man pages.
pub fn clap_command() -> clap::Command {
    Cli::command()
}

/// Runs the program with the arguments of this process.
///
/// A command runs on a thread of its own, so that Ctrl-C ends the program at once whatever it is doing: everything that it leaves is
/// either whole or taken up again by the same command.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Arc::new(Ui::new(&cli.global));
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return explain::report(&anyhow::Error::new(error).context("cannot start"), &ui),
    };
    let graceful = matches!(cli.command, Command::Registry(_));
    let work = {
        let ui = Arc::clone(&ui);
        runtime.spawn_blocking(move || dispatch(cli.command, &ui))
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            result = work => Some(result),
            Ok(()) = tokio::signal::ctrl_c(), if !graceful => None,
        }
    });
    runtime.shutdown_background();
    match ended {
        Some(Ok(Ok(exit))) => ExitCode::from(exit.code()),
        Some(Ok(Err(error))) => explain::report(&error, &ui),
        Some(Err(panic)) => explain::report(&anyhow::Error::new(panic).context("a bug in coracle ended the command"), &ui),
        None => {
            ui.say("\ninterrupted: what was verified so far is kept; the same command goes on from there");
            ExitCode::from(130)
        }
    }
}

fn dispatch(command: Command, ui: &Ui) -> anyhow::Result<Exit> {
    match command {
        Command::Init(args) => command::init::run(args, ui),
        Command::Keygen(args) => command::keygen::run(args, ui),
        Command::Create(args) => command::create::run(&args, ui),
        Command::Lock(args) => command::lock::run(&args, ui),
        Command::Sign(args) => command::sign::run(args, ui),
        Command::Verify(args) => command::verify::run(args, ui),
        Command::Inspect(args) => command::inspect::run(args, ui),
        Command::Extract(args) => command::extract::run(args, ui),
        Command::Deploy(args) => command::deploy::run(&args, ui),
        Command::Status(args) => command::status::run(args, ui),
        Command::Receipt(args) => command::receipt::run(args, ui),
        Command::Registry(args) => command::registry::run(args, ui),
        Command::Schema(args) => command::schema::run(args, ui),
        Command::Completions(args) => command::completions::run(args, ui),
        Command::Man(args) => command::completions::run_man(args, ui),
    }
}
