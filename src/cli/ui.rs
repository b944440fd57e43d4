//! The terminal: what goes to stdout and stderr, colour, progress, questions.

use std::io::{IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};

use crate::event::{Event, Observer};

/// Flags that every command has.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Colour on stderr: when it is a terminal, always or never
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, env = "CORACLE_COLOR", help_heading = "Output")]
    color: Colour,
    /// No progress lines
    #[arg(long, global = true, env = "CORACLE_NO_PROGRESS", help_heading = "Output")]
    no_progress: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

/// How a command prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
}

/// The terminal of this run.
pub struct Ui {
    colour: bool,
}

impl Ui {
    /// From the flags and the environment.
    pub fn new(args: &GlobalArgs) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour: args.color == Colour::Always || (args.color == Colour::Auto && terminal && wanted) }
    }

    /// Data: to stdout, with a newline. A reader that went away (`| head`) ends the program's output quietly.
    pub fn print(&self, text: &str) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        Ok(writeln!(stdout, "{text}")?)
    }

    /// Talk: to stderr, with a newline.
    #[expect(clippy::print_stderr, reason = "this is where the program speaks")]
    pub fn say(&self, text: &str) {
        eprintln!("{text}");
    }

    /// Whether a question can be asked.
    pub fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Whether stderr is coloured.
    pub fn colour(&self) -> bool {
        self.colour
    }
}

impl Observer for Ui {
    fn event(&self, event: Event) {
        if let Event::Warning { message } = event {
            self.say(&format!("warning: {message}"));
        }
    }
}
