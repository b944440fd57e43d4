//! The only place that starts child processes: fixed locale, no inherited stdin, captured output, a bound on time, and a command line
//! that can be pasted when it fails.

use std::fmt;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::fs;

/// Output is kept up to this many bytes per stream; the rest is read and dropped.
const OUTPUT_LIMIT: u64 = 4 << 20;
/// How often a child with a deadline is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A child process to be run: an argument list, never a shell.
#[derive(Debug, Clone)]
pub struct Command {
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Vec<u8>,
    timeout: Duration,
}

/// What a child left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr, lossily as text.
    pub stderr: String,
}

/// A child that could not be run or did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started, fed or waited for.
    #[error("cannot run `{command}`")]
    Run {
        /// The command as it can be pasted.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended with another status than 0.
    #[error("`{command}` failed ({status}): {}", last_lines(stderr))]
    Failed {
        /// The command as it can be pasted.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to stderr.
        stderr: String,
    },
    /// It ran longer than allowed and was killed.
    #[error("`{command}` was ended after {} s", timeout.as_secs())]
    TimedOut {
        /// The command as it can be pasted.
        command: String,
        /// The bound.
        timeout: Duration,
    },
}

impl Error {
    /// The program is not installed.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Run { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

impl Command {
    /// A command that runs `program` from PATH (or by its path), for at most a minute unless said otherwise.
    #[must_use]
    pub fn new(program: impl Into<String>) -> Self {
        Self { program: program.into(), args: Vec::new(), env: Vec::new(), stdin: Vec::new(), timeout: Duration::from_mins(1) }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// One more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// What the child reads from stdin; without it stdin is empty.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// How long it may run.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs it and gives what it left, whatever its status.
    ///
    /// # Errors
    /// It cannot be started, or ran too long.
    pub fn output(&self) -> Result<Output, Error> {
        let failed = |source| Error::Run { command: self.to_string(), source };
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let mut child = std::process::Command::new(&self.program)
            .args(&self.args)
            .env("LC_ALL", "C.UTF-8")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let stdin = child.stdin.take();
        std::thread::scope(|scope| {
            let stdout = scope.spawn(|| read_limited(stdout));
            let stderr = scope.spawn(|| read_limited(stderr));
            if let Some(mut pipe) = stdin {
                // A child that does not read its input says so by its status, not by our broken pipe.
                match pipe.write_all(&self.stdin) {
                    Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(failed(error)),
                    _ => drop(pipe),
                }
            }
            let status = self.wait(&mut child)?;
            let join =
                |result: std::thread::Result<io::Result<Vec<u8>>>| result.unwrap_or_else(|_| Err(io::Error::other("reader ended early")));
            let stdout = join(stdout.join()).map_err(failed)?;
            let stderr = join(stderr.join()).map_err(failed)?;
            Ok(Output { status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
        })
    }

    /// Runs it and gives what it wrote to stdout.
    ///
    /// # Errors
    /// It cannot be started, ran too long, or ended with another status than 0.
    pub fn run(&self) -> Result<Vec<u8>, Error> {
        let output = self.output()?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(Error::Failed { command: self.to_string(), status: output.status, stderr: output.stderr })
        }
    }

    /// Starts it as a process that stays when this program ends. What it writes is appended to `log`.
    ///
    /// It gets a process group of its own, so that an interrupt from the terminal does not reach it. Whoever calls this looks by
    /// himself whether it came up.
    ///
    /// # Errors
    /// It cannot be started, or the log cannot be opened.
    pub fn spawn_detached(&self, log: &Path) -> Result<(), Error> {
        use std::os::unix::process::CommandExt as _;
        let failed = |source| Error::Run { command: self.to_string(), source };
        let open = || fs::open_append(log, 0o600).map_err(io::Error::other).map_err(failed);
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        std::process::Command::new(&self.program)
            .args(&self.args)
            .env("LC_ALL", "C.UTF-8")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?)
            .process_group(0)
            .spawn()
            .map(drop)
            .map_err(failed)
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, Error> {
        let failed = |source| Error::Run { command: self.to_string(), source };
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Ok(status);
            }
            if begun.elapsed() > self.timeout {
                child.kill().map_err(failed)?;
                child.wait().map_err(failed)?;
                return Err(Error::TimedOut { command: self.to_string(), timeout: self.timeout });
            }
            std::thread::sleep(POLL);
        }
    }
}

fn read_limited(stream: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.by_ref().take(OUTPUT_LIMIT).read_to_end(&mut bytes)?;
        io::copy(&mut stream, &mut io::sink())?;
    }
    Ok(bytes)
}

impl fmt::Display for Command {
    /// As it can be pasted into a POSIX shell. The environment is left out: it may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./=:,@%+".contains(&b));
        for (n, word) in std::iter::once(&self.program).chain(&self.args).enumerate() {
            let gap = if n == 0 { "" } else { " " };
            if plain(word) { write!(f, "{gap}{word}")? } else { write!(f, "{gap}'{}'", word.replace('\'', r"'\''"))? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_the_child_wrote_and_prints_a_command_that_can_be_pasted() {
        let command = Command::new("sh").args(["-c", "cat; echo \"it's\" >&2; exit 3"]).stdin("input");
        let output = command.output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice(), output.stderr.as_str()), (Some(3), &b"input"[..], "it's\n"));
        assert_eq!(command.to_string(), r#"sh -c 'cat; echo "it'\''s" >&2; exit 3'"#);
        assert_eq!(command.run().unwrap_err().to_string(), r#"`sh -c 'cat; echo "it'\''s" >&2; exit 3'` failed (exit status: 3): it's"#);
    }

    #[test]
    fn ends_a_child_that_runs_too_long() {
        let error = Command::new("sleep").arg("60").timeout(Duration::from_millis(20)).run().unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    }

    #[test]
    fn says_when_the_program_is_not_there() {
        assert!(Command::new("coracle-no-such-program").run().unwrap_err().is_not_found());
    }
}
