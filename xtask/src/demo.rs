//! The whole way across the gap, as a user would type it: on loopback, in a temporary directory, without root and without a network.
//!
//! ```text
//! upstream (in memory) ─create→ bundle        then the upstream is taken away:
//! bundle ─verify→ ─inspect→ ─deploy→ node/ ─registry serve→ an image pulled back, every digest compared
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::child::{self, Background};
use crate::file::{read, write};
use crate::http;
use crate::image::{Entry, Layer, Variant, digest, image, layer};
use crate::upstream::{Running, Upstream};

/// What a demonstration shows.
const BUNDLE: &str = "shop-1.0.0.tar.zst";
const IMAGES: [(&str, &str, usize); 2] = [("shop/api", "1.2.0", 6 << 20), ("shop/web", "2.0.1", 3 << 20)];
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// Builds it and shows it; `keep` leaves the directory.
pub fn run(keep: bool) -> Result<()> {
    child::step(child::command("cargo").args(["build", "--quiet", "--package", "coracle", "--bin", "coracle"]))?;
    let place = tempfile::Builder::new().prefix("coracle-demo-").tempdir()?;
    let result = show(place.path());
    if keep {
        println!("kept: {}", place.keep().display());
    }
    result
}

fn show(place: &Path) -> Result<()> {
    let demo = Demo { place: place.to_owned(), program: program() };
    let begun = Instant::now();
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut upstream = Upstream::default();
    let images = fill(&mut upstream)?;
    demo.write_definition(address, &mut upstream)?;
    let upstream = Running::start(listener, upstream)?;
    println!("an upstream registry and file server, in memory, on {}\n", upstream.address);

    println!("# On the connected side. The password of the key comes from CORACLE_KEY_PASSWORD, else from the terminal.");
    demo.run(&["keygen", "release"])?;
    demo.run(&["create", "shop", "-o", BUNDLE, "--plain-http", &address.to_string(), "--signing-key", "release.key", "--cache", "cache"])?;
    upstream.stop();

    println!("\n# On the isolated side: the upstream is gone, the bundle and (by another way) the public key are there.");
    demo.run(&["verify", BUNDLE, "--key", "release.pub"])?;
    demo.run(&["inspect", BUNDLE, "--key", "release.pub"])?;
    println!("$ mkdir node");
    std::fs::create_dir(place.join("node"))?;
    demo.run(&["deploy", BUNDLE, "--key", "release.pub", "--root", "node", "--yes"])?;
    demo.check_files()?;
    let before = listing(&place.join("node"))?;
    demo.run(&["deploy", BUNDLE, "--key", "release.pub", "--root", "node", "--yes"])?;
    ensure!(before == listing(&place.join("node"))?, "a second deploy changed something under node/");
    demo.run(&["status", "--root", "node"])?;

    let node = http::free_port()?;
    let mut registry = demo.registry(node)?;
    registry.wait_for(node)?;
    for ((repository, tag, _), index) in IMAGES.iter().zip(&images) {
        let (blobs, bytes) = pull(node, address, repository, tag, index)?;
        println!(
            "pulled {address}/{repository}:{tag} from the node registry: {blobs} blobs, {bytes} bytes, every digest as upstream had it"
        );
    }
    drop(registry);
    println!("\ndone in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Where cargo put the program.
fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from);
    target.join("debug/coracle")
}

struct Demo {
    place: PathBuf,
    program: PathBuf,
}

impl Demo {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = child::command(&self.program);
        // The user's own keys, credentials and cache play no part.
        command
            .args(arguments)
            .current_dir(&self.place)
            .env("HOME", &self.place)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME");
        command.env("CORACLE_KEY_PASSWORD", "demonstration").env_remove("DOCKER_CONFIG").env_remove("REGISTRY_AUTH_FILE");
        println!("$ coracle {}", arguments.join(" "));
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let status = self.command(arguments).status().context("cannot run coracle")?;
        ensure!(status.success(), "`coracle {}` failed ({status})", arguments.join(" "));
        Ok(())
    }

    fn registry(&self, address: SocketAddr) -> Result<Background> {
        Background::start(&mut self.command(&["registry", "serve", "--store", "node/var/lib/coracle", "--listen", &address.to_string()]))
    }

    fn write_definition(&self, address: SocketAddr, upstream: &mut Upstream) -> Result<()> {
        let mut sha256 = Vec::new();
        for arch in ARCHITECTURES {
            let bytes = noise(&format!("shopctl {arch}"), 4 << 20);
            sha256.push(format!("{arch}: {}", digest(&bytes).trim_start_matches("sha256:")));
            upstream.file(&format!("shopctl-{arch}"), &bytes);
        }
        let images: Vec<String> = IMAGES.iter().map(|(repository, tag, _)| format!("      - {address}/{repository}:{tag}\n")).collect();
        let text = format!(
            "apiVersion: coracle/v1alpha1\nkind: Package\nmetadata:\n  name: shop\n  version: 1.0.0\n  description: A small shop, across the gap\n\
             platforms: [linux/amd64, linux/arm64]\ncomponents:\n  - name: shop\n    images:\n{}    files:\n      \
             - source: http://{address}/files/shopctl-{{arch}}\n        sha256: {{ {} }}\n        path: /usr/local/bin/shopctl\n        mode: \"0755\"\n      \
             - content: |\n          listen = 8080\n        path: /etc/shop/shop.conf\n",
            images.concat(),
            sha256.join(", ")
        );
        let directory = self.place.join("shop");
        std::fs::create_dir(&directory)?;
        write(&directory.join("coracle.yaml"), text.as_bytes())?;
        println!("$ cat shop/coracle.yaml\n{text}");
        Ok(())
    }

    /// What deploy wrote is what the definition says, for this machine's architecture.
    fn check_files(&self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        for (path, expected, mode) in [
            ("usr/local/bin/shopctl", noise(&format!("shopctl {arch}"), 4 << 20), 0o755),
            ("etc/shop/shop.conf", b"listen = 8080\n".to_vec(), 0o644),
        ] {
            let whole = self.place.join("node").join(path);
            let found = whole.metadata().with_context(|| format!("deploy left no node/{path}"))?.permissions().mode() & 0o7777;
            ensure!(read(&whole)? == expected, "node/{path} is not what the definition says");
            ensure!(found == mode, "node/{path} has mode {found:o}, not {mode:o}");
        }
        Ok(())
    }
}

/// Puts the images into the upstream and gives the digest of each index.
fn fill(upstream: &mut Upstream) -> Result<Vec<String>> {
    let mut digests = Vec::new();
    for (repository, tag, size) in IMAGES {
        let mut variants = Vec::new();
        for arch in ARCHITECTURES {
            let part = |upstream: &mut Upstream, name: &str, path: &str, size: usize| -> Result<Layer> {
                layer(upstream, repository, &[Entry { path, mode: 0o755, bytes: &noise(&format!("{name} {arch}"), size) }])
            };
            let base = part(upstream, "base", "usr/lib/libbase.so", 3 << 20)?;
            let program = part(upstream, repository, "usr/bin/server", size)?;
            let data = part(upstream, tag, "usr/share/data", 1 << 18)?;
            variants.push(Variant { arch, layers: vec![base, program, data], entrypoint: &["/usr/bin/server"] });
        }
        digests.push(image(upstream, repository, tag, &variants)?);
    }
    Ok(digests)
}

/// Bytes that are the same on every machine and hardly compress, like a program.
fn noise(seed: &str, size: usize) -> Vec<u8> {
    let mut state = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Pulls every platform of an image as containerd would, and compares each digest. Gives the number of blobs and bytes.
fn pull(node: SocketAddr, upstream: SocketAddr, repository: &str, tag: &str, index: &str) -> Result<(usize, usize)> {
    let get = |kind: &str, reference: &str| -> Result<Vec<u8>> {
        let target = format!("/v2/{repository}/{kind}/{reference}?ns={upstream}");
        let response = http::request("GET", node, &target, &["Accept: */*"], b"")?;
        ensure!(response.status == 200, "GET {target} was answered {}: {}", response.status, String::from_utf8_lossy(&response.body));
        if reference.starts_with("sha256:") {
            ensure!(digest(&response.body) == reference, "GET {target} gave {}", digest(&response.body));
        }
        Ok(response.body)
    };
    let document = get("manifests", tag)?;
    if digest(&document) != index {
        bail!("the node registry has {} for {repository}:{tag}, upstream had {index}", digest(&document));
    }
    let mut seen = (0, 0);
    let index: Value = serde_json::from_slice(&document)?;
    for child in index["manifests"].as_array().context("no list of manifests")? {
        let manifest: Value = serde_json::from_slice(&get("manifests", text(&child["digest"])?)?)?;
        for blob in manifest["layers"].as_array().context("no list of layers")?.iter().chain([&manifest["config"]]) {
            seen = (seen.0 + 1, seen.1 + get("blobs", text(&blob["digest"])?)?.len());
        }
    }
    Ok(seen)
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("a digest that is no string")
}

/// Every file with its length and time of change, but for the lock, in which each run writes who holds it.
fn listing(root: &Path) -> Result<Vec<(PathBuf, u64, std::time::SystemTime)>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                open.push(entry.path());
            } else if !entry.path().ends_with("var/lib/coracle/lock") {
                found.push((entry.path(), metadata.len(), metadata.modified()?));
            }
        }
    }
    found.sort();
    Ok(found)
}
