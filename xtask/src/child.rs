//! Child processes of tasks: the one place that starts them.

use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A command in the root of the repository.
#[expect(clippy::disallowed_methods, reason = "this is the one place; xtask does not link the library")]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(crate::root()).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Runs a command whose output goes where ours goes, and says how long it took.
pub fn step(command: &mut Command) -> Result<()> {
    let line = shown(command);
    println!("$ {line}");
    let begun = Instant::now();
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    println!("  {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a command quietly and gives its stdout; what it said is in the error.
pub fn output(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let output = command.output().with_context(|| format!("cannot run `{line}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = said.lines().rev().take(6).collect();
        bail!("`{line}` failed ({}): {}", output.status, last.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program can be found on PATH.
pub fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(program).is_file()))
}

/// A command as a person would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_string_lossy());
    words
        .map(|word| if word.contains([' ', '"', '$', '*', '\'']) { format!("'{word}'") } else { word.into_owned() })
        .collect::<Vec<_>>()
        .join(" ")
}

/// A child that goes on beside us and is ended with this value.
pub struct Background {
    child: Child,
}

impl Background {
    /// Starts it.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot run `{}`", shown(command)))?;
        Ok(Self { child })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until something listens on an address; fails when the child ends before.
    pub fn wait_for(&mut self, address: std::net::SocketAddr) -> Result<()> {
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the program that was to listen on {address} ended ({status})");
            }
            if begun.elapsed() > Duration::from_secs(20) {
                bail!("nothing listens on {address} after 20 s");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("warning: process {} could not be ended: {error}", self.child.id());
        }
    }
}
