//! Tasks of this repository, one file each. `cargo xtask TASK`, from anywhere inside it.
//!
//! ```text
//! codegen what is generated and checked in
//! tidy    the structure: what may know what, and how long things may get
//! lab     the real programs that tests need, and images made of them
//! test    lab, then everything that decides whether a change lands
//! demo    the whole way across the gap, on loopback and in a temporary directory
//! dist    the static binaries
//! codegen the gRPC clients that are checked in
//! bench   ours, the peers' and the machine's limits, in one table
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "tasks talk to the person who started them")]

mod bench;
mod child;
mod codegen;
mod demo;
mod dist;
mod file;
mod http;
mod image;
mod lab;
mod test;
mod tidy;
mod upstream;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of this repository", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks the structure: directions, absences, lengths
    Tidy,
    /// Installs the real programs that tests need
    Lab {
        #[command(subcommand)]
        part: Option<LabPart>,
    },
    /// Shows the whole way across the gap, on this machine alone
    Demo {
        /// Leave the directory that it worked in
        #[arg(long)]
        keep: bool,
    },
    /// Measures ours, the peers found here and the machine's limits, in one run
    Bench(bench::Args),
    /// Makes the gRPC clients that are checked in
    Codegen {
        /// Write nothing, and fail where what is checked in differs
        #[arg(long)]
        check: bool,
    },
    /// Makes the static binaries in target/dist
    Dist,
    /// Runs everything that decides whether a change lands
    Test,
}

#[derive(Subcommand)]
enum LabPart {
    /// Only the images of real programs
    Images,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Tidy => tidy::run(),
        Task::Lab { part: None } => lab::run(),
        Task::Lab { part: Some(LabPart::Images) } => lab::run_images(),
        Task::Demo { keep } => demo::run(keep),
        Task::Bench(args) => bench::run(&args),
        Task::Codegen { check } => codegen::run(check),
        Task::Dist => dist::run(),
        Task::Test => test::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map_or(own.clone(), Into::into)
}
