//! `coracle deploy` as a person runs it, on a node without a way out: what it leaves runs, and a second run changes nothing.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use coracle::command::{Command, Output};
use coracle::types::Platform;
use rustix::process::{Pid, Signal, kill_process};

use crate::cri::Cri;
use crate::daemon::{Daemon, NODE};
use crate::sample::PAUSE;
use crate::upstream::{Upstream, gzip};

pub const APP: &str = "registry.example:5000/team/app:1";
const PID_FILE: &str = "/var/lib/coracle/registry.pid";
pub const CORACLE: &str = env!("CARGO_BIN_EXE_coracle");

/// A signed bundle with two images and two files, and the key that it is checked with.
pub struct Release {
    directory: tempfile::TempDir,
}

impl Release {
    pub fn new() -> Self {
        Self::with("")
    }

    /// The same, made with more flags.
    pub fn with(flags: &str) -> Self {
        let release = Self { directory: tempfile::Builder::new().prefix("coracle-release-").tempdir().unwrap() };
        let upstream = Upstream::start();
        let busybox = coracle::fs::read("/bin/busybox".as_ref(), 64 << 20).unwrap();
        let image = |repository: &str, files: &[(&str, &[u8])], entrypoint: &[&str]| {
            upstream.image_of(repository, "1", |_, platform| {
                let own = format!("for {platform}");
                let base = layer(&[("bin/busybox", &busybox), ("etc/platform", own.as_bytes())]);
                let layers = [base, layer(files)];
                let config = serde_json::json!({
                    "architecture": platform.architecture(), "os": "linux", "config": {"Entrypoint": entrypoint},
                    "rootfs": {"type": "layers", "diff_ids": layers.each_ref().map(|layer| coracle::types::Digest::of(layer).to_string())},
                });
                (config.to_string(), layers.iter().map(|layer| gzip(layer)).collect())
            });
        };
        image("pause", &[("etc/pause", b"pause")], &["/bin/busybox", "sleep", "600"]);
        image("team/app", &[("etc/greeting", b"hello")], &["/bin/busybox", "grep", "-q", "hello", "/etc/greeting"]);
        let definition = format!(
            "apiVersion: coracle/v1alpha1\nkind: Package\nmetadata: {{ name: shop, version: 1.0.0 }}\n\
             platforms: [linux/amd64, linux/arm64]\ncomponents:\n  - name: web\n    images:\n      - {{ image: {PAUSE}, pin: true }}\n      - {APP}\n    \
             files:\n      - content: |\n          hello\n        path: /etc/shop.conf\n      - content: |\n          #!/bin/sh\n          \
             echo open\n        path: /usr/local/bin/shop\n        mode: \"0755\"\n"
        );
        coracle::fs::write_atomic(&release.directory.path().join("coracle.yaml"), definition.as_bytes(), 0o644).unwrap();
        let url = format!("http://{}", upstream.address());
        release.run("\"$0\" keygen release --unencrypted");
        release.run(&format!(
            "\"$0\" create . --signing-key release.key --cache cache -o shop.tar.zst --mirror registry.example={url} \
             --mirror registry.example:5000={url} {flags}"
        ));
        release
    }

    /// Where all of it lies.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn run(&self, script: &str) {
        let script = format!("cd {} && HOME=$PWD {script}", self.directory.path().display());
        Command::new("sh").args(["-c", &script, CORACLE]).run().unwrap();
    }

    /// The command line on the node, always the same.
    fn deploy(&self) -> Vec<String> {
        let at = self.directory.path().display();
        [CORACLE, "deploy", &format!("{at}/shop.tar.zst"), "--key", &format!("{at}/release.pub"), "--yes", "--no-progress"]
            .into_iter()
            .chain(["--containerd-address", &format!("{NODE}/c.sock")])
            .map(str::to_owned)
            .collect()
    }

    /// Starts a deploy and leaves it running.
    pub fn begin(&self, node: &Daemon) -> Child {
        let words = [node.enter(), self.deploy()].concat();
        #[expect(clippy::disallowed_methods, reason = "a process that goes on while the test does")]
        let child = std::process::Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child
    }

    /// Deploys and gives what it printed.
    pub fn deployed(&self, node: &Daemon) -> String {
        let command = self.deploy();
        let output = node.inside(command.iter().map(String::as_str)).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    }
}

fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        archive.append_data(&mut header, path, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), output.stderr)
}

/// What a command on the node prints.
fn on(node: &Daemon, command: &[&str]) -> String {
    String::from_utf8(node.inside(command.iter().copied()).run().unwrap()).unwrap()
}

/// Everything that a deploy leaves, journal, log and process number apart: files with modes and digests, and what containerd has.
pub fn state(node: &Daemon) -> String {
    let files = "find /var/lib/coracle /etc/containerd /etc/containers /etc/coracle /etc/shop.conf /usr/local/bin/shop \
                 ! -name '*.jsonl' ! -name registry.log ! -name registry.pid ! -name lock | sort | while read -r path; do \
                 stat -c '%A %u:%g %n' \"$path\"; if [ -f \"$path\" ]; then sha256sum < \"$path\"; fi; done";
    let mut state = on(node, &["sh", "-c", files]);
    for args in [&["images", "ls", "-q"][..], &["content", "ls", "-q"], &["leases", "ls", "-q"], &["snapshots", "ls"]] {
        let listed = node.ctr(args);
        let mut lines: Vec<String> = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        lines.sort();
        state.extend([args.join(" "), lines.join("\n"), String::new()].iter().map(|line| format!("{line}\n")));
    }
    state
}

/// The node registry: the process that its file names, and no other beside it.
pub fn registry(node: &Daemon) -> Pid {
    let pid = on(node, &["cat", PID_FILE]).trim().to_owned();
    let all = on(node, &["sh", "-c", "for p in $(ip netns pids \"$0\"); do echo $p $(tr '\\0' ' ' < /proc/$p/cmdline); done", node.name()]);
    let serving: Vec<&str> = all.lines().filter(|line| line.contains("registry serve")).collect();
    assert_eq!(
        serving,
        [format!("{pid} {CORACLE} registry serve --listen 127.0.0.1:5000 --pid-file {PID_FILE} --store /var/lib/coracle")],
        "{all}"
    );
    Pid::from_raw(pid.parse().unwrap()).unwrap()
}

#[test]
fn what_is_deployed_runs_is_pulled_under_its_own_name_and_stays() {
    let Some(mut node) = Daemon::start_as_node() else { return };
    let release = Release::new();
    let begun = Instant::now();
    let first = release.deployed(&node);
    println!("first deploy: {:?}\n{first}", begun.elapsed());

    // Files, receipt, registry, images.
    assert_eq!(on(&node, &["cat", "/etc/shop.conf"]), "hello\n");
    assert_eq!(on(&node, &["/usr/local/bin/shop"]), "open\n");
    let receipt: serde_json::Value = serde_json::from_str(&on(&node, &["cat", "/var/lib/coracle/receipts/shop.json"])).unwrap();
    assert_eq!((&receipt["name"], &receipt["package_version"]), (&"shop".into(), &"1.0.0".into()));
    registry(&node);
    let manifest =
        on(&node, &["busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:5000/v2/team/app/manifests/1?ns=registry.example:5000"]);
    for platform in Platform::supported() {
        assert!(manifest.contains(&format!("\"architecture\":\"{}\"", platform.architecture())), "{manifest}");
    }
    let check = node.ctr(&["images", "check"]);
    for image in [PAUSE, APP] {
        let line = check.lines().find(|line| line.starts_with(&format!("{image} "))).unwrap_or_else(|| panic!("no `{image}` in\n{check}"));
        assert!(line.contains("complete (3/3)") && line.ends_with("true"), "{line}");
    }

    // The same again.
    let before = state(&node);
    let begun = Instant::now();
    let second = release.deployed(&node);
    println!("second deploy: {:?}\n{second}", begun.elapsed());
    assert!(second.contains("\n  nothing to do"), "{second}");
    assert_eq!(state(&node), before);
    let status = on(&node, &[CORACLE, "status"]);
    println!("{status}");
    assert_eq!(status.lines().count(), 1, "{status}");
    assert!(status.starts_with("shop 1.0.0  deployed"), "{status}");

    // The container runs from what was seeded.
    let cri = Cri::connect(&node.address(), &node.path("logs"), node.name());
    cri.wait_for_image(APP);
    assert_eq!(cri.run("seeded", APP), 0);

    // Without it, containerd pulls the same name from the node registry: ctr at once, CRI after the restart that the plan speaks of.
    assert!(first.contains("at its next start"), "{first}");
    let forget = |node: &Daemon| {
        let names = node.ctr(&["images", "ls", "-q"]);
        let names: Vec<&str> = names.lines().filter(|name| !name.contains("pause")).collect();
        node.ctr(&[&["images", "rm", "--sync"], names.as_slice()].concat());
    };
    forget(&node);
    let pull = format!("ctr -a {NODE}/c.sock -n k8s.io images pull --hosts-dir /etc/containerd/certs.d --snapshotter overlayfs {APP}");
    on(&node, &["sh", "-c", &pull]);
    forget(&node);
    node.stop();
    node.spawn();
    let cri = Cri::connect(&node.address(), &node.path("logs"), node.name());
    cri.pull(APP);
    assert_eq!(cri.run("pulled", APP), 0);

    // A registry that died is what there is to do, and nothing more.
    kill_process(registry(&node), Signal::KILL).unwrap();
    let again = release.deployed(&node);
    assert!(again.contains("start   registry"), "{again}");
    registry(&node);
}
