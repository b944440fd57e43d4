//! The node registry's service: under systemd a socket unit and a service, elsewhere a child process that stays.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::{Error, Result, ServiceAction};
use super::systemd;
use crate::command::Command;
use crate::deploy::layout;
use crate::fs;

/// How long the registry may take until it answers.
const READY: Duration = Duration::from_secs(20);
/// How often it is asked.
const POLL: Duration = Duration::from_millis(20);

/// Starts the registry and waits until it answers.
pub fn run(action: &ServiceAction) -> Result<()> {
    match action {
        ServiceAction::Systemd => systemd::start_the_registry()?,
        ServiceAction::RestartContainerd { .. } => return Ok(()),
        ServiceAction::Child { program, state } => {
            end_the_old_child()?;
            let child = Command::new(program.display().to_string())
                .args(["registry", "serve", "--listen", layout::REGISTRY_ADDRESS, "--pid-file", layout::REGISTRY_PID, "--store"])
                .arg(state.display().to_string());
            // It writes its number itself: this process may be killed before it could.
            child.spawn_detached(Path::new(layout::REGISTRY_LOG))?;
        }
    }
    wait_until_it_answers()
}

fn end_the_old_child() -> Result<()> {
    let text = match fs::read_to_string(Path::new(layout::REGISTRY_PID), 64) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let Some(pid) = text.trim().parse().ok().and_then(rustix::process::Pid::from_raw) else { return Ok(()) };
    if !is_registry(pid)? {
        return Ok(());
    }
    match rustix::process::kill_process(pid, rustix::process::Signal::TERM) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(fs::Error::new("end the process of", layout::REGISTRY_PID, error.into()).into()),
    }
    let begun = Instant::now();
    while is_registry(pid)? && begun.elapsed() < READY {
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Whether a process is a registry of ours. The number may belong to something else by now, or to a process that has ended and that
/// nobody has asked after.
fn is_registry(pid: rustix::process::Pid) -> Result<bool> {
    let command_line = match fs::read(Path::new(&format!("/proc/{}/cmdline", pid.as_raw_nonzero())), 1 << 16) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(false),
        // It ended between opening and reading.
        Err(error) if error.source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let words: Vec<&[u8]> = command_line.split(|byte| *byte == 0).collect();
    Ok(words.windows(2).any(|pair| pair == [&b"registry"[..], &b"serve"[..]]))
}

fn wait_until_it_answers() -> Result<()> {
    let begun = Instant::now();
    loop {
        match answers() {
            Ok(()) => return Ok(()),
            Err(cause) if begun.elapsed() > READY => {
                return Err(Error::Registry { address: layout::REGISTRY_ADDRESS.to_owned(), cause });
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// Asks the registry for `GET /v2/` (distribution-spec, "Endpoints", end-1).
pub fn answers() -> std::result::Result<(), String> {
    let ask = || -> std::io::Result<Vec<u8>> {
        let address: SocketAddr = layout::REGISTRY_ADDRESS.parse().map_err(std::io::Error::other)?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET /v2/ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let status = text.lines().next().unwrap_or_default().to_owned();
    if !status.starts_with("http/1.1 200") {
        return Err(format!("it says `{status}`"));
    }
    // Without this header it is some other program that has the port.
    if text.contains("docker-distribution-api-version: registry/2.0") { Ok(()) } else { Err("another program has the port".to_owned()) }
}
