//! A node for measurements: containerd with its root in a directory, in namespaces of its own without a way out; what a deploy writes
//! to `/etc`, `/var/lib` and `/usr/local/bin` stays in that directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::child::{self, Background};
use crate::file::write;

/// The node while it runs; it ends with this value.
pub struct Node {
    directory: PathBuf,
    daemon: Background,
}

/// Why there can be none here.
pub fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root".to_owned());
    }
    let missing: Vec<&str> =
        ["containerd", "ctr", "ip", "nsenter", "unshare"].into_iter().filter(|program| !child::on_path(program)).collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
}

impl Node {
    /// Starts one in a new directory.
    pub fn start(directory: &Path) -> Result<Self> {
        std::fs::create_dir(directory)?;
        let at = directory.display();
        let configuration = format!(
            "version = 2\nroot = \"{at}/root\"\nstate = \"{at}/state\"\n[grpc]\naddress = \"{at}/c.sock\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\nrestrict_oom_score_adj = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"{at}/cni\"\nconf_dir = \"{at}/cni\"\n"
        );
        write(&directory.join("config.toml"), configuration.as_bytes())?;
        let script = format!(
            "set -e; ip link set lo up; for to in etc var/lib usr/local/bin; do\n\
             mkdir -p {at}/over/$to/upper {at}/over/$to/work\n\
             mount -t overlay overlay -o lowerdir=/$to,upperdir={at}/over/$to/upper,workdir={at}/over/$to/work /$to\n\
             done; for to in etc/containerd etc/containers etc/coracle var/lib/coracle; do\n\
             mkdir -p {at}/private/$to /$to; mount --bind {at}/private/$to /$to; done\n\
             if [ -d /run/systemd ]; then mount -t tmpfs tmpfs /run/systemd; fi; exec containerd --config {at}/config.toml"
        );
        let log = std::fs::File::create(directory.join("log"))?;
        let mut command = child::command("unshare");
        let daemon = Background::start(command.args(["-m", "-n", "sh", "-c", &script]).stdout(log.try_clone()?).stderr(log))?;
        let node = Self { directory: directory.to_owned(), daemon };
        let begun = Instant::now();
        while child::output(&mut node.ctr(&["version"])).is_err() {
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("containerd does not answer: see {at}/log");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(node)
    }

    /// The process of containerd.
    pub fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// Its socket.
    pub fn address(&self) -> PathBuf {
        self.directory.join("c.sock")
    }

    /// What a deploy keeps there, seen from outside.
    pub fn state(&self) -> PathBuf {
        self.directory.join("private/var/lib/coracle")
    }

    /// A command on the node.
    pub fn inside(&self, program: &Path) -> Command {
        let mut command = child::command("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).arg(format!("--mount=/proc/{}/ns/mnt", self.pid())).arg(program);
        command
    }

    /// `ctr -n k8s.io ARGUMENTS`.
    pub fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = child::command("ctr");
        command.arg("-a").arg(self.address()).args(["-n", "k8s.io"]).args(arguments);
        command
    }

    /// Takes all images away, and what nothing names any more.
    pub fn forget_images(&self) -> Result<()> {
        let names = child::output(&mut self.ctr(&["images", "ls", "-q"]))?;
        let names: Vec<&str> = names.lines().collect();
        child::output(&mut self.ctr(&[&["images", "rm", "--sync"], names.as_slice()].concat()))?;
        Ok(())
    }

    fn end_registry(&self) -> Result<()> {
        let file = self.state().join("registry.pid");
        let Ok(text) = std::fs::read_to_string(&file) else { return Ok(()) };
        let pid: i32 = text.trim().parse()?;
        let line = crate::file::read(Path::new(&format!("/proc/{pid}/cmdline"))).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains("registry\0serve") {
            rustix::process::kill_process(rustix::process::Pid::from_raw(pid).context("no process")?, rustix::process::Signal::KILL)?;
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.end_registry() {
            eprintln!("warning: the node's registry goes on: {error:#}");
        }
    }
}
