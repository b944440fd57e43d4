//! Real clients pull from a registry that serves a node's store on loopback.
#![expect(clippy::print_stderr, reason = "a test says on stderr why it was skipped")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use coracle::command::Command;
use coracle::deploy::mirror::{containerd, containers};
use coracle::registry::names::{self, Name, Names};
use coracle::registry::{NodeContent, serve};
use coracle::store::Store;
use coracle::types::oci::{ImageIndex, ImageManifest, write};
use coracle::types::{Descriptor, Digest, MediaType, Platform};
use tokio::sync::oneshot;

use crate::containerd::Containerd;

/// A name that no resolver knows: what is pulled by it came from the node registry.
const HOST: &str = "upstream.invalid";

/// A registry that runs until it is dropped.
struct Running {
    state: tempfile::TempDir,
    address: SocketAddr,
    index: Descriptor,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ends in order");
        }
    }
}

fn start() -> Running {
    let state = tempfile::tempdir().unwrap();
    let index = fill(state.path());
    let content = Arc::new(NodeContent::open(state.path()).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            serve(content, listener, async { drop(stopped.await) }).await.unwrap();
        });
    });
    Running { state, address, index, stop: Some(stop), thread: Some(thread) }
}

/// `upstream.invalid/acme/app:1`: an index of amd64, which is held, and arm64, which is not.
fn fill(state: &Path) -> Descriptor {
    let store = Store::open(state.join("store")).unwrap();
    let put = |media_type: &str, bytes: &[u8]| {
        store.put(bytes).unwrap();
        Descriptor::of(media_type, bytes)
    };
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    let content = vec![7_u8; 900_000];
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, "data", &*content).unwrap();
    let archive = archive.into_inner().unwrap();
    let diff_id = Digest::of(&archive);
    let layer = put("application/vnd.oci.image.layer.v1.tar", &archive);
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/data"]}, "rootfs": {"type": "layers", "diff_ids": [diff_id.to_string()]}
    });
    let config = put(MediaType::OCI_CONFIG, config.to_string().as_bytes());
    let manifest = ImageManifest { artifact_type: None, config, layers: vec![layer], subject: None, annotations: BTreeMap::new() };
    let child = put(MediaType::OCI_MANIFEST, &write::manifest(&manifest)).for_platform(Platform::linux_amd64());
    let absent = Descriptor::of(MediaType::OCI_MANIFEST, b"absent").for_platform(Platform::linux_arm64());
    let index = ImageIndex { artifact_type: None, manifests: vec![child, absent], subject: None, annotations: BTreeMap::new() };
    let index = put(MediaType::OCI_INDEX, &write::index(&index));
    let repositories = BTreeMap::from([(format!("{HOST}/acme/app"), vec![Name::new(Some("1"), &index)])]);
    names::write(state, &Names { package: "app".parse().unwrap(), repositories }).unwrap();
    index
}

/// Whether a program can be run here; in CI it must be.
fn have(program: &str, test: &str) -> bool {
    match Command::new(program).arg("--version").output() {
        Err(error) if error.is_not_found() && std::env::var_os("CI").is_none() => {
            eprintln!("skipped {test}: `{program}` is not installed");
            false
        }
        other => other.is_ok_and(|_| true) || panic!("`{program}` cannot be run"),
    }
}

#[test]
fn skopeo_reads_and_copies_one_platform() {
    if !have("skopeo", "skopeo") {
        return;
    }
    let running = start();
    let source = format!("docker://{}/{HOST}/acme/app:1", running.address);
    let raw = Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &source]).run().unwrap();
    assert_eq!(Digest::of(&raw), running.index.digest);
    let target = format!("dir:{}", running.state.path().join("copy").display());
    let copy = ["copy", "--override-os=linux", "--override-arch=amd64", "--src-tls-verify=false", &source, &target];
    Command::new("skopeo").args(copy).run().unwrap();
}

#[test]
fn podman_pulls_by_the_upstream_name_and_never_asks_upstream() {
    if !have("podman", "podman") {
        return;
    }
    let running = start();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let conf = containers::registries_conf(&BTreeSet::from([HOST.to_owned()]), running.address);
    coracle::fs::write_atomic(&directory.path().join("registries.conf"), conf.as_bytes(), 0o644).unwrap();
    coracle::fs::write_atomic(&directory.path().join("policy.json"), br#"{"default":[{"type":"insecureAcceptAnything"}]}"#, 0o644).unwrap();
    let podman = |image: &str| {
        Command::new("podman")
            .args(["--root", &path("root"), "--runroot", &path("run"), "--storage-driver=vfs", "pull", "--quiet", "--arch=amd64"])
            .args(["--signature-policy", &path("policy.json"), image])
            .env("CONTAINERS_REGISTRIES_CONF", path("registries.conf"))
    };
    podman(&format!("{HOST}/acme/app:1")).run().unwrap();
    let error = podman(&format!("{HOST}/acme/app:absent")).run().unwrap_err().to_string();
    assert!(error.contains("manifest unknown") && !error.contains("lookup"), "{error}");
}

#[test]
fn containerd_pulls_by_the_upstream_name_and_never_asks_upstream() {
    let Some(daemon) = Containerd::start() else { return };
    let running = start();
    let certs = daemon.path("certs.d");
    let hosts = certs.join(containerd::host_directories(HOST).pop().unwrap());
    coracle::fs::create_dir_all(&hosts).unwrap();
    let text = containerd::hosts_toml(None, running.address).unwrap().unwrap();
    coracle::fs::write_atomic(&hosts.join("hosts.toml"), text.as_bytes(), 0o644).unwrap();
    let certs = certs.display().to_string();
    let fetch = |image: &str| daemon.ctr(&["content", "fetch", "--hosts-dir", &certs, "--platform", "linux/amd64", image]);
    let present = fetch(&format!("{HOST}/acme/app:1"));
    assert!(present.status.success(), "{}", String::from_utf8_lossy(&present.stderr));
    let absent = fetch(&format!("{HOST}/acme/app:absent"));
    let said = String::from_utf8_lossy(&absent.stderr);
    assert!(said.contains("not found") && !said.contains("lookup"), "{said}");
}
