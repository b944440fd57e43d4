//! A containerd of the test's own: its root, state and socket in a temporary directory, in a network namespace with loopback alone.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use coracle::command::Command;
use coracle::deploy::host::linux::containerd::Containerd;
use rustix::process::{Pid, Signal, kill_process};

static COUNT: AtomicU32 = AtomicU32::new(0);

pub struct Daemon {
    directory: tempfile::TempDir,
    root: PathBuf,
    namespace: String,
    binaries: Option<PathBuf>,
    child: Option<Child>,
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
        if let Some(obstacle) = obstacle() {
            assert!(std::env::var_os("CI").is_none(), "nothing is skipped in CI: {obstacle}");
            println!("skipped, real containerd: {obstacle}");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("coracle-node-").tempdir().unwrap();
        let namespace = format!("coracle-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let binaries = std::env::var_os("CORACLE_TEST_CONTAINERD").map(PathBuf::from);
        let root = root.map_or_else(|| directory.path().join("root"), Path::to_owned);
        let mut daemon = Self { directory, root, namespace, binaries, child: None };
        Command::new("ip").args(["netns", "add", &daemon.namespace]).run().unwrap();
        Command::new("ip").args(["-n", &daemon.namespace, "link", "set", "lo", "up"]).run().unwrap();
        let outside = daemon.in_namespace(["busybox", "nc", "-w", "1", "192.0.2.1", "80"]).output().unwrap();
        assert!(outside.stderr.contains("Network is unreachable"), "the namespace has a way out: {outside:?}");
        coracle::fs::write_atomic(&daemon.path("config.toml"), daemon.config().as_bytes(), 0o644).unwrap();
        daemon.spawn();
        Some(daemon)
    }

    fn in_namespace<'a>(&self, command: impl IntoIterator<Item = &'a str>) -> Command {
        Command::new("nsenter").arg(format!("--net=/run/netns/{}", self.namespace)).args(command)
    }

    /// Starts the process and waits until it answers. containerd is the child itself: nsenter and unshare become it.
    pub fn spawn(&mut self) {
        let log = coracle::fs::open_append(&self.path("log"), 0o644).unwrap();
        let path = std::env::var("PATH").unwrap();
        let path = self.binaries.as_ref().map_or(path.clone(), |directory| format!("{}:{path}", directory.display()));
        #[expect(clippy::disallowed_methods, reason = "a process that goes on while the test does")]
        let child = std::process::Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .args(["unshare", "-m", "containerd", "--config"])
            .arg(self.path("config.toml"))
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

    /// CPU seconds of the process until now.
    pub fn cpu_seconds(&self) -> f64 {
        let pid = self.child.as_ref().unwrap().id();
        let stat = coracle::fs::read_to_string(Path::new(&format!("/proc/{pid}/stat")), 4096).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
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

    fn config(&self) -> String {
        let directory = self.directory.path().display();
        let root = self.root.display();
        let head = format!("root = \"{root}\"\nstate = \"{directory}/state\"\n[grpc]\naddress = \"{directory}/c.sock\"\n");
        let pause = crate::sample::PAUSE;
        if self.binaries.is_some() {
            let runtime = "plugins.\"io.containerd.cri.v1.runtime\"";
            return format!(
                "version = 3\n{head}[plugins.\"io.containerd.cri.v1.images\".pinned_images]\nsandbox = \"{pause}\"\n[{runtime}]\nrestrict_oom_score_adj = true\n\
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
        let address = self.address().display().to_string();
        for process in coracle::fs::read_dir(Path::new("/proc")).unwrap_or_default() {
            // A shim that a failed test left behind has our socket among its arguments.
            let arguments = coracle::fs::read(&process.join("cmdline"), 1 << 16).unwrap_or_default();
            let pid = process.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            let ours = String::from_utf8_lossy(&arguments).split('\0').any(|argument| argument == address);
            if let Some(pid) = pid.filter(|_| ours) {
                kill_process(pid, Signal::KILL).ok();
            }
        }
        for controller in coracle::fs::read_dir(Path::new("/sys/fs/cgroup")).unwrap_or_default() {
            coracle::fs::remove_dir(&controller.join(&self.namespace)).ok();
        }
        drop(Command::new("ip").args(["netns", "del", &self.namespace]).run());
    }
}
