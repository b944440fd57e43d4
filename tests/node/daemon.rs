//! A containerd of the test's own: its root, state and socket in a temporary directory, in a network namespace with loopback alone.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use coracle::command::Command;
use coracle::deploy::host::linux::containerd::Containerd;
use rustix::process::{Pid, Signal, kill_process};

/// The test's directory as a whole node sees it.
pub const NODE: &str = "/var/lib/node";

static COUNT: AtomicU32 = AtomicU32::new(0);

pub struct Daemon {
    directory: PathBuf,
    /// Takes the directory away at the end, where it was made here.
    _temporary: Option<tempfile::TempDir>,
    root: PathBuf,
    namespace: String,
    binaries: Option<PathBuf>,
    child: Option<Child>,
    /// Keeps the mount namespace of a whole node.
    holder: Option<Child>,
}

/// What keeps the tests from running here.
fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("they need root".to_owned());
    }
    let tools = ["containerd", "ctr", "runc", "ip", "nsenter", "unshare", "busybox", "mkfs.ext4"];
    let missing: Vec<&str> =
        tools.into_iter().filter(|tool| Command::new("sh").args(["-c", &format!("command -v {tool}")]).run().is_err()).collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
}

impl Daemon {
    /// Starts one; `None` where that cannot be done here and may be skipped.
    pub fn start() -> Option<Self> {
        Self::start_on(None)
    }

    /// Starts one that keeps its data in a directory of the caller's.
    pub fn start_on(root: Option<&Path>) -> Option<Self> {
        let mut daemon = Self::prepare(None, root)?;
        let config = daemon.config(&daemon.directory, &daemon.root);
        coracle::fs::write_atomic(&daemon.path("config.toml"), config.as_bytes(), 0o644).unwrap();
        daemon.spawn();
        Some(daemon)
    }

    /// Starts one on a whole node: what is written below `/etc`, `/var/lib` and `/usr/local/bin` stays in the test's directory,
    /// nothing of this machine is at the places that a deploy writes to, and there is no systemd. The test's directory is
    /// `/var/lib/node` there, so that all nodes look the same.
    pub fn start_as_node() -> Option<Self> {
        Self::start_as_node_on(None)
    }

    /// The same with everything that the node keeps in a directory of the caller's, from an earlier node perhaps: it is as if that node
    /// was started again.
    pub fn start_as_node_on(directory: Option<&Path>) -> Option<Self> {
        let mut daemon = Self::prepare(directory, None)?;
        // What lies below /run on a node does not outlive it.
        if coracle::fs::metadata(&daemon.path("state")).unwrap().is_some() {
            coracle::fs::remove_dir_all(&daemon.path("state")).unwrap();
        }
        daemon.hold_mounts();
        let inside = Path::new(NODE);
        let config = daemon.config(inside, &inside.join("root"));
        coracle::fs::write_atomic(&daemon.path("private/etc/containerd/config.toml"), config.as_bytes(), 0o644).unwrap();
        daemon.spawn();
        Some(daemon)
    }

    fn prepare(directory: Option<&Path>, root: Option<&Path>) -> Option<Self> {
        if let Some(obstacle) = obstacle() {
            assert!(std::env::var_os("CI").is_none(), "nothing is skipped in CI: {obstacle}");
            println!("skipped, real containerd: {obstacle}");
            return None;
        }
        let temporary = directory.is_none().then(|| tempfile::Builder::new().prefix("coracle-node-").tempdir().unwrap());
        let directory = directory.or(temporary.as_ref().map(tempfile::TempDir::path)).unwrap().to_owned();
        let namespace = format!("coracle-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let binaries = std::env::var_os("CORACLE_TEST_CONTAINERD").map(PathBuf::from);
        let root = root.map_or_else(|| directory.join("root"), Path::to_owned);
        let daemon = Self { directory, _temporary: temporary, root, namespace, binaries, child: None, holder: None };
        Command::new("ip").args(["netns", "add", &daemon.namespace]).run().unwrap();
        Command::new("ip").args(["-n", &daemon.namespace, "link", "set", "lo", "up"]).run().unwrap();
        let outside = daemon.in_namespace(["busybox", "nc", "-w", "1", "192.0.2.1", "80"]).output().unwrap();
        assert!(outside.stderr.contains("Network is unreachable"), "the namespace has a way out: {outside:?}");
        Some(daemon)
    }

    /// Starts the process that keeps the node's mounts, and waits until they are there.
    fn hold_mounts(&mut self) {
        // Each step is taken only where the one before it succeeded: nothing is made on this machine itself.
        let script = format!(
            "set -e; private={}/private; for at in etc var/lib usr/local/bin; do\n\
             mkdir -p $private/over/$at/upper $private/over/$at/work\n\
             mount -t overlay overlay -o lowerdir=/$at,upperdir=$private/over/$at/upper,workdir=$private/over/$at/work /$at\n\
             done; for at in etc/containerd etc/containers etc/coracle var/lib/coracle; do\n\
             mkdir -p $private/$at /$at; mount --bind $private/$at /$at\n\
             done; mkdir -p {NODE}; mount --bind {} {NODE}\n\
             cat /proc/sys/kernel/random/uuid > $private/boot_id; mount --bind $private/boot_id /proc/sys/kernel/random/boot_id\n\
             if [ -d /run/systemd ]; then mount -t tmpfs tmpfs /run/systemd; fi; echo ready; exec sleep infinity",
            self.directory.display(),
            self.directory.display(),
        );
        #[expect(clippy::disallowed_methods, reason = "a process that goes on while the test does")]
        let mut holder = std::process::Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .args(["unshare", "-m", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.holder = Some(holder);
        assert_eq!(line, "ready\n", "the node's mounts are not there");
    }

    /// The words before a command that runs on the node.
    pub fn enter(&self) -> Vec<String> {
        let mut words = vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", self.namespace)];
        match &self.holder {
            Some(holder) => words.push(format!("--mount=/proc/{}/ns/mnt", holder.id())),
            None => words.extend(["unshare", "-m"].map(str::to_owned)),
        }
        words
    }

    /// Runs a command on the node.
    pub fn inside<'a>(&self, command: impl IntoIterator<Item = &'a str>) -> Command {
        let words = self.enter();
        Command::new(&words[0]).args(&words[1..]).args(command)
    }

    fn in_namespace<'a>(&self, command: impl IntoIterator<Item = &'a str>) -> Command {
        Command::new("nsenter").arg(format!("--net=/run/netns/{}", self.namespace)).args(command)
    }

    /// Starts the process and waits until it answers. containerd is the child itself: nsenter and unshare become it.
    pub fn spawn(&mut self) {
        let log = coracle::fs::open_append(&self.path("log"), 0o644).unwrap();
        let path = std::env::var("PATH").unwrap();
        let path = self.binaries.as_ref().map_or(path.clone(), |directory| format!("{}:{path}", directory.display()));
        let config = if self.holder.is_some() { PathBuf::from("/etc/containerd/config.toml") } else { self.path("config.toml") };
        let words = self.enter();
        #[expect(clippy::disallowed_methods, reason = "a process that goes on while the test does")]
        let child = std::process::Command::new(&words[0])
            .args(&words[1..])
            .args(["containerd", "--config"])
            .arg(config)
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let begun = Instant::now();
        while let Err(error) = Containerd::connect(&self.address()) {
            let log = coracle::fs::read_to_string(&self.path("log"), 1 << 20).unwrap();
            assert!(begun.elapsed() < Duration::from_secs(20), "containerd does not answer: {error}\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Ends the process as a service manager would: it is asked, and waited for.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            child.wait().unwrap();
        }
    }

    /// Does something while the process stands still.
    pub fn while_frozen(&self, what: impl FnOnce()) {
        let pid = Pid::from_child(self.child.as_ref().unwrap());
        kill_process(pid, Signal::STOP).unwrap();
        what();
        kill_process(pid, Signal::CONT).unwrap();
    }

    /// Does something while everything on the node stands still.
    pub fn while_all_is_frozen(&self, what: impl FnOnce()) {
        let mut frozen = Vec::new();
        // Until nobody is left who could have started another one.
        loop {
            let running: Vec<Pid> = self.pids().into_iter().filter(|pid| !frozen.contains(pid)).collect();
            if running.is_empty() {
                break;
            }
            for pid in running {
                // One that has ended meanwhile stands still as well.
                kill_process(pid, Signal::STOP).ok();
                frozen.push(pid);
            }
        }
        what();
        for pid in frozen {
            kill_process(pid, Signal::CONT).ok();
        }
    }

    /// The processes in the node's network namespace.
    fn pids(&self) -> Vec<Pid> {
        let pids = Command::new("ip").args(["netns", "pids", &self.namespace]).run().unwrap_or_default();
        String::from_utf8_lossy(&pids).split_whitespace().filter_map(|pid| pid.parse().ok()).filter_map(Pid::from_raw).collect()
    }

    /// CPU seconds of the process until now.
    pub fn cpu_seconds(&self) -> f64 {
        let pid = self.child.as_ref().unwrap().id();
        let stat = coracle::fs::read_to_string(Path::new(&format!("/proc/{pid}/stat")), 4096).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn address(&self) -> PathBuf {
        self.path("c.sock")
    }

    /// The name of its network namespace and of its pods' cgroup.
    pub fn name(&self) -> &str {
        &self.namespace
    }

    pub fn connect(&self) -> Containerd {
        Containerd::connect(&self.address()).unwrap()
    }

    /// `ctr -n k8s.io ARGS`: what it writes to stdout.
    pub fn ctr(&self, args: &[&str]) -> String {
        let program = self.binaries.as_ref().map_or("ctr".to_owned(), |directory| directory.join("ctr").display().to_string());
        let command = Command::new(program).arg("-a").arg(self.address().display().to_string()).args(["-n", "k8s.io"]);
        String::from_utf8(command.args(args.iter().copied()).timeout(Duration::from_mins(5)).run().unwrap()).unwrap()
    }

    /// Makes containerd collect its garbage now, and proves that it did: a blob that nothing names is gone after it.
    pub fn collect_garbage(&self) {
        let blob = self.path("unnamed");
        coracle::fs::write_atomic(&blob, self.namespace.as_bytes(), 0o644).unwrap();
        let digest = coracle::types::Digest::of(self.namespace.as_bytes()).to_string();
        let command = format!("ctr -a {} -n k8s.io content ingest unnamed < {}", self.address().display(), blob.display());
        Command::new("sh").args(["-c", &command]).run().unwrap();
        assert!(self.ctr(&["content", "ls", "-q"]).contains(&digest));
        self.ctr(&["leases", "create", "--id", "collect"]);
        self.ctr(&["leases", "delete", "--sync", "collect"]);
        assert!(!self.ctr(&["content", "ls", "-q"]).contains(&digest));
    }

    /// The configuration for a state directory and a root, as containerd sees them.
    fn config(&self, directory: &Path, root: &Path) -> String {
        let (directory, root) = (directory.display(), root.display());
        let head = format!("root = \"{root}\"\nstate = \"{directory}/state\"\n[grpc]\naddress = \"{directory}/c.sock\"\n");
        let pause = crate::sample::PAUSE;
        if self.binaries.is_some() {
            // NRI has a socket at one place for all daemons of a machine.
            let runtime = "plugins.\"io.containerd.cri.v1.runtime\"";
            return format!(
                "version = 3\n{head}[plugins.\"io.containerd.nri.v1.nri\"]\ndisable = true\n[plugins.\"io.containerd.cri.v1.images\".pinned_images]\nsandbox = \"{pause}\"\n[{runtime}]\nrestrict_oom_score_adj = true\n\
                 [{runtime}.cni]\nbin_dir = \"{directory}/cni\"\nconf_dir = \"{directory}/cni\"\n\
                 [{runtime}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n[{runtime}.containerd.runtimes.runc.options]\nSystemdCgroup = false\n"
            );
        }
        let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
        format!(
            "version = 2\n{head}[{cri}]\nsandbox_image = \"{pause}\"\nrestrict_oom_score_adj = true\n\
             [{cri}.cni]\nbin_dir = \"{directory}/cni\"\nconf_dir = \"{directory}/cni\"\n\
             [{cri}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n[{cri}.containerd.runtimes.runc.options]\nSystemdCgroup = false\n"
        )
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = coracle::fs::read_to_string(&self.path("log"), 4 << 20).unwrap_or_else(|error| error.to_string());
            println!("what containerd wrote:\n{log}");
        }
        if let Some(mut holder) = self.holder.take() {
            holder.kill().ok();
            holder.wait().ok();
        }
        // Shims that a failed test left behind, and a node's registry: all that is in the namespace is ours.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            let pids = self.pids();
            if pids.is_empty() {
                break;
            }
            for pid in pids {
                kill_process(pid, Signal::KILL).ok();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        for controller in coracle::fs::read_dir(Path::new("/sys/fs/cgroup")).unwrap_or_default() {
            coracle::fs::remove_dir(&controller.join(&self.namespace)).ok();
        }
        drop(Command::new("ip").args(["netns", "del", &self.namespace]).run());
    }
}
