//! A node with a real systemd: Debian's tree with its own containerd package, booted by systemd-nspawn in a network namespace with
//! loopback alone. `cargo xtask lab` makes the tree, `LAB/node`; each machine has a copy.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use coracle::command::{Command, Output};
use rustix::process::{Pid, Signal, kill_process};

use crate::sample::PAUSE;

/// Where a machine sees the directory that was carried to it.
pub const MEDIA: &str = "/media";

/// cgroup v1 controllers come read-only into a machine: runc wants to write there.
const CGROUPS: &str = "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n[Service]\nType=oneshot\n\
    ExecStart=/bin/sh -c 'mount --make-rshared /; [ -d /sys/fs/cgroup/memory ] || exit 0; mount -o remount,bind,rw /sys/fs/cgroup; \
    for at in /sys/fs/cgroup/*/; do mount -o remount,bind,rw $$at; done'\n[Install]\nWantedBy=sysinit.target\n";

/// What an administrator wrote, and nothing of mirrors in it.
pub const CONTAINERD: &str = "# containerd of this site, see the wiki\nversion = 2\n\n[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n    \
    sandbox_image = \"PAUSE\" # pinned\n    restrict_oom_score_adj = true\n    [plugins.\"io.containerd.grpc.v1.cri\".cni]\n      \
    bin_dir = \"/usr/lib/cni\"\n";

pub struct Machine {
    directory: tempfile::TempDir,
    media: PathBuf,
    name: String,
    child: Option<Child>,
    leader: u32,
}

/// The lab's tree, or why there is none.
fn tree() -> Result<PathBuf, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root".to_owned());
    }
    let tools = ["systemd-nspawn", "ip", "nsenter", "busybox"];
    let missing: Vec<&str> =
        tools.into_iter().filter(|tool| Command::new("sh").args(["-c", &format!("command -v {tool}")]).run().is_err()).collect();
    if !missing.is_empty() {
        return Err(format!("not installed: {}", missing.join(", ")));
    }
    let lab = std::env::var_os("CORACLE_LAB").map(PathBuf::from);
    let lab = lab.or_else(|| std::env::home_dir().map(|home| home.join(".cache/coracle-lab"))).unwrap_or_default();
    let tree = lab.join("node");
    if tree.join("usr/bin/containerd").is_file() { Ok(tree) } else { Err(format!("`cargo xtask lab` has not made `{}`", tree.display())) }
}

impl Machine {
    /// Boots one that sees `media`; `None` where that cannot be done here and may be skipped.
    pub fn boot(media: &Path) -> Option<Self> {
        let tree = match tree() {
            Ok(tree) => tree,
            Err(obstacle) => {
                assert!(std::env::var_os("CI").is_none(), "nothing is skipped in CI: {obstacle}");
                println!("skipped, real systemd: {obstacle}");
                return None;
            }
        };
        let directory = tempfile::Builder::new().prefix("coracle-machine-").tempdir().unwrap();
        let name = format!("coracle-machine-{}", std::process::id());
        let mut machine = Self { directory, media: media.to_owned(), name, child: None, leader: 0 };
        Command::new("cp").args(["-a", &tree.display().to_string(), &machine.root().display().to_string()]).run().unwrap();
        machine.put("/etc/systemd/system/lab-cgroups.service", CGROUPS);
        machine.put("/etc/containerd/config.toml", &CONTAINERD.replace("PAUSE", PAUSE));
        machine.put("/etc/hostname", "node-1\n");
        machine.put("/etc/hosts", "127.0.0.1 localhost node-1\n");
        let wants = machine.root().join("etc/systemd/system/sysinit.target.wants");
        coracle::fs::create_dir_all(&wants).unwrap();
        coracle::fs::symlink(Path::new("../lab-cgroups.service"), &wants.join("lab-cgroups.service")).unwrap();
        Command::new("ip").args(["netns", "add", &machine.name]).run().unwrap();
        Command::new("ip").args(["-n", &machine.name, "link", "set", "lo", "up"]).run().unwrap();
        machine.start();
        let outside = machine.inside(["busybox", "nc", "-w", "1", "192.0.2.1", "80"]).output().unwrap();
        assert!(outside.stderr.contains("Network is unreachable"), "the machine has a way out: {outside:?}");
        Some(machine)
    }

    /// The machine's tree, as this machine sees it while that one does not run.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.root().join(path.trim_start_matches('/'));
        coracle::fs::create_dir_all(coracle::fs::parent(&path)).unwrap();
        coracle::fs::write_atomic(&path, text.as_bytes(), 0o644).unwrap();
    }

    /// Starts process 1 and waits until all units have started.
    pub fn start(&mut self) {
        let log = coracle::fs::open_append(&self.directory.path().join("console"), 0o644).unwrap();
        // A cgroup of its own below each hierarchy of systemd's, so that machines do not meet.
        let script = "for at in systemd unified; do at=/sys/fs/cgroup/$at; if [ -d $at ]; then mkdir -p $at/$0 && echo $$ > $at/$0/cgroup.procs; \
                      fi; done; exec systemd-nspawn \"$@\"";
        let root = self.root().display().to_string();
        #[expect(clippy::disallowed_methods, reason = "a process that goes on while the test does")]
        let child = std::process::Command::new("sh")
            .args(["-c", script, &self.name, "-D", &root, "--register=no", "--keep-unit", "--capability=all", "--boot"])
            .args([format!("--machine={}", self.name), format!("--network-namespace-path=/run/netns/{}", self.name)])
            .arg(format!("--bind-ro={}:{MEDIA}", self.media.display()))
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1")
            .env("SYSTEMD_SECCOMP", "0")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let children = PathBuf::from(format!("/proc/{0}/task/{0}/children", child.id()));
        self.child = Some(child);
        let begun = Instant::now();
        loop {
            let pids = coracle::fs::read_to_string(&children, 4096).unwrap_or_default();
            if let Some(leader) = pids.split_whitespace().next().and_then(|pid| pid.parse().ok()) {
                self.leader = leader;
                let state = self.inside(["systemctl", "is-system-running", "--wait"]).output();
                let state = state.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
                if state == "running\n" {
                    return;
                }
                let failed = if state == "degraded\n" {
                    self.on("systemctl --failed --no-pager; journalctl --no-pager -n 50")
                } else {
                    String::new()
                };
                assert!(failed.is_empty(), "{failed}");
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "the machine does not start:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn console(&self) -> String {
        coracle::fs::read_to_string(&self.directory.path().join("console"), 4 << 20).unwrap_or_else(|error| error.to_string())
    }

    /// Shuts it down, as the power button does, and starts it again.
    pub fn reboot(&mut self) {
        // It may be cut off by what it asks for.
        drop(self.inside(["systemctl", "poweroff"]).output());
        self.child.take().unwrap().wait().unwrap();
        self.start();
    }

    /// A command on the machine.
    pub fn inside<'a>(&self, command: impl IntoIterator<Item = &'a str>) -> Command {
        Command::new("nsenter").args(["-t", &self.leader.to_string(), "-a", "--"]).args(command).timeout(Duration::from_mins(3))
    }

    /// What a shell on the machine prints, whether it succeeds or not.
    pub fn on(&self, script: &str) -> String {
        text(&self.inside(["sh", "-c", script]).output().unwrap())
    }

    /// A path on the machine while it runs: `/run` too.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader))
    }

    /// The name of its network namespace and of its cgroups.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What a command wrote, to both sides.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), output.stderr)
}

/// Removes a cgroup and those below it, where nothing is in them any more.
fn remove_cgroup(at: &Path) {
    for below in coracle::fs::read_dir(at).unwrap_or_default() {
        if coracle::fs::metadata(&below).ok().flatten().is_some_and(|found| found.is_dir()) {
            remove_cgroup(&below);
        }
    }
    coracle::fs::remove_dir(at).ok();
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the machine's journal:\n{}", self.on("journalctl --no-pager -n 400 | grep -v level=info"));
        }
        if let Some(mut child) = self.child.take() {
            // Process 1 takes all others of its namespace with it.
            if let Some(leader) = Pid::from_raw(self.leader.cast_signed()) {
                kill_process(leader, Signal::KILL).ok();
            }
            child.wait().ok();
        }
        for hierarchy in coracle::fs::read_dir(Path::new("/sys/fs/cgroup")).unwrap_or_default() {
            remove_cgroup(&hierarchy.join(&self.name));
        }
        drop(Command::new("ip").args(["netns", "del", &self.name]).run());
    }
}
