//! Debian's containerd, without its CRI plugin, in a directory of the test.
#![expect(clippy::print_stderr, reason = "a test says on stderr why it was skipped")]

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use crate::lab::program;

/// A daemon that runs until it is dropped.
pub struct Containerd {
    directory: tempfile::TempDir,
    child: Child,
}

impl Containerd {
    /// Starts it and waits until it answers; `None` where it is not installed, or nobody may start it.
    pub fn start() -> Option<Self> {
        let containerd = program("containerd")?;
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "not root, and CI must not skip tests");
            eprintln!("skipped: containerd: not root");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("config.toml"), "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n").unwrap();
        let log = std::fs::File::create(path("log")).unwrap();
        let mut command = Command::new(containerd);
        for (flag, name) in [("--config", "config.toml"), ("--root", "root"), ("--state", "state"), ("--address", "sock")] {
            command.arg(flag).arg(path(name));
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let daemon = Self { directory, child };
        let ready = daemon.ctr(&["version"]);
        assert!(ready.status.success(), "{}", std::fs::read_to_string(daemon.path("log")).unwrap());
        Some(daemon)
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `ctr`, which waits for the daemon.
    pub fn ctr(&self, args: &[&str]) -> Output {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.path("sock")).args(["--connect-timeout", "20s"]).args(args);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// The same, which must succeed: its stdout.
    pub fn done(&self, args: &[&str]) -> String {
        let output = self.ctr(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
