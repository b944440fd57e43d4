//! What systemd hands over and wants to hear: a listening socket (sd_listen_fds(3)) and readiness (sd_notify(3)).

use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The first file descriptor that systemd hands over.
const FIRST: i32 = 3;

/// The environment of the process, as it was given to it.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The listening socket that systemd holds for this service; `None` where it was not started by a socket unit. Call it once.
///
/// # Errors
/// Something else than one listening TCP socket was handed over.
pub fn listener(environment: Environment<'_>) -> io::Result<Option<TcpListener>> {
    let number = |name| environment(name).and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(None);
    }
    match number("LISTEN_FDS") {
        None | Some(0) => return Ok(None),
        Some(1) => {}
        Some(n) => return Err(io::Error::other(format!("systemd handed over {n} sockets, not one"))),
    }
    #[expect(unsafe_code, reason = "LISTEN_PID says that descriptor 3 was made for this process and that nobody else owns it")]
    let descriptor = unsafe { OwnedFd::from_raw_fd(FIRST) };
    if !rustix::fs::fstat(&descriptor).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_socket()) {
        return Err(io::Error::other("what systemd handed over is no socket"));
    }
    let listener = TcpListener::from(descriptor);
    listener.local_addr()?;
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}

/// Tells systemd that the service is ready; does nothing where it did not ask.
///
/// # Errors
/// It asked, and the message could not be sent.
pub fn notify_ready(environment: Environment<'_>) -> io::Result<()> {
    let Some(path) = environment("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_no_socket_that_was_meant_for_another_process() {
        for values in [[None, None], [Some("1"), Some("1")], [Some("x"), Some("1")]] {
            let environment = |name: &str| match name {
                "LISTEN_PID" => values[0].map(str::to_owned),
                _ => values[1].map(str::to_owned),
            };
            assert!(listener(&environment).unwrap().is_none());
        }
    }

    #[test]
    fn tells_systemd_by_path_and_by_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let abstract_name = format!("coracle-test-{}", std::process::id());
        let sockets = [
            (UnixDatagram::bind(&path).unwrap(), path.display().to_string()),
            (UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).unwrap()).unwrap(), format!("@{abstract_name}")),
        ];
        for (socket, name) in sockets {
            notify_ready(&|_| Some(name.clone())).unwrap();
            let mut buffer = [0; 16];
            let n = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..n], b"READY=1");
        }
        notify_ready(&|_| None).unwrap();
    }
}
