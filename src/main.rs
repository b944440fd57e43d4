//! The `coracle` program: everything is in the library, the command line in `coracle::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle::cli::main()
}
