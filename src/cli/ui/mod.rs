//! The terminal: what goes to stdout and stderr, colour, progress, questions.

mod progress;

use std::io::{IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};

use self::progress::Progress;
use crate::event::{Event, Observer};
use crate::types::ByteSize;

/// Flags that every command has.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// Colour on stderr
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Colour::Auto, env = "CORACLE_COLOR", help_heading = "Output")]
    color: Colour,
    /// No progress lines
    #[arg(long, global = true, env = "CORACLE_NO_PROGRESS", help_heading = "Output")]
    no_progress: bool,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

/// Bytes as a person says them: `1.3 GiB`.
pub fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
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
    progress: Progress,
}

impl Ui {
    /// From the flags and the environment.
    pub fn new(args: &GlobalArgs) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let colour = match args.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !set("NO_COLOR"),
        };
        let progress = if args.no_progress {
            Progress::none()
        } else if terminal && !set("CI") {
            Progress::bars()
        } else {
            Progress::lines()
        };
        Self { colour, progress }
    }

    /// Data: to stdout, with a newline.
    pub fn print(&self, text: &str) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            // A reader that went away, as `head` does, has what it wanted.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }

    /// Talk: to stderr, with a newline, above the progress lines.
    pub fn say(&self, text: &str) {
        self.progress.say(text);
    }

    /// Whether a question can be asked.
    pub fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks a question that is answered with yes or no; anything but yes is no.
    pub fn ask(&self, question: &str) -> anyhow::Result<bool> {
        let answer = self.ask_line(&format!("{question} [y/N] "))?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Asks for a line of text.
    pub fn ask_line(&self, question: &str) -> anyhow::Result<String> {
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "{question}")?;
        stderr.flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Whether stderr is coloured.
    pub fn colour(&self) -> bool {
        self.colour
    }
}

impl Observer for Ui {
    fn event(&self, event: Event) {
        self.progress.event(event);
    }
}
