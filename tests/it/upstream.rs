//! An upstream on loopback that lives in the test: a registry with images for two platforms, and files. It counts what it is asked.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use coracle::types::oci::{ImageIndex, ImageManifest, write};
use coracle::types::{Descriptor, MediaType, Platform};

/// The server; it ends when the value is dropped.
pub struct Upstream {
    address: String,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    content: Mutex<BTreeMap<String, (String, Vec<u8>)>>,
    asked: Mutex<Vec<String>>,
    ended: AtomicBool,
}

impl Upstream {
    /// Starts it with nothing in it.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if shared.ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || answer(stream.unwrap(), &shared));
                }
            })
        };
        Self { address, shared, thread: Some(thread) }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Serves bytes at a path.
    pub fn file(&self, path: &str, bytes: &[u8]) {
        self.put(path, MediaType::OCTETS, bytes);
    }

    /// Serves an image for amd64 and arm64: one layer that both share, one of each. Gives its reference.
    pub fn image(&self, repository: &str, tag: &str, seed: u8, layer_bytes: usize) -> String {
        let shared = gzip(&noise(seed, layer_bytes));
        self.image_of(repository, tag, |n, platform| {
            let own = gzip(&noise(seed.wrapping_add(100 + n), layer_bytes / 2));
            let config =
                format!(r#"{{"architecture":"{}","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}}}}"#, platform.architecture());
            (config, vec![shared.clone(), own])
        })
    }

    /// Serves an image out of a configuration and gzipped layers for each platform. Gives its reference.
    pub fn image_of(&self, repository: &str, tag: &str, parts: impl Fn(u8, &Platform) -> (String, Vec<Vec<u8>>)) -> String {
        let mut children = Vec::new();
        for (n, platform) in (0..).zip(Platform::supported()) {
            let (config, layers) = parts(n, &platform);
            let layer = |bytes: &Vec<u8>| Descriptor::of("application/vnd.oci.image.layer.v1.tar+gzip", bytes);
            let manifest = write::manifest(&ImageManifest {
                artifact_type: None,
                config: Descriptor::of(MediaType::OCI_CONFIG, config.as_bytes()),
                layers: layers.iter().map(layer).collect(),
                subject: None,
                annotations: BTreeMap::new(),
            });
            for blob in layers.iter().map(Vec::as_slice).chain([config.as_bytes()]) {
                let digest = Descriptor::of("", blob).digest;
                self.put(&format!("/v2/{repository}/blobs/{digest}"), MediaType::OCTETS, blob);
            }
            children.push(self.manifest(repository, None, MediaType::OCI_MANIFEST, &manifest).for_platform(platform));
        }
        let index = write::index(&ImageIndex { artifact_type: None, manifests: children, subject: None, annotations: BTreeMap::new() });
        self.manifest(repository, Some(tag), MediaType::OCI_INDEX, &index);
        format!("{}/{repository}:{tag}", self.address)
    }

    fn manifest(&self, repository: &str, tag: Option<&str>, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        let digest = descriptor.digest.to_string();
        for selector in [Some(digest.as_str()), tag].into_iter().flatten() {
            self.put(&format!("/v2/{repository}/manifests/{selector}"), media_type, bytes);
        }
        descriptor
    }

    fn put(&self, path: &str, media_type: &str, bytes: &[u8]) {
        self.shared.content.lock().unwrap().insert(path.to_owned(), (media_type.to_owned(), bytes.to_vec()));
    }

    /// `METHOD PATH` of every request since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.asked.lock().unwrap())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // One connection wakes the listener, so that it sees the flag.
        drop(TcpStream::connect(&self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A client that goes away in the middle is its own business.
fn answer(stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    let mut range = None;
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line == "\r\n" => break,
            Ok(_) => {}
        }
        if request.is_empty() {
            request.clone_from(&line);
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("range: bytes=") {
            range = value.trim().trim_end_matches('-').parse::<usize>().ok();
        }
    }
    let mut words = request.split_whitespace();
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    shared.asked.lock().unwrap().push(format!("{method} {path}"));
    let found = if path == "/v2/" {
        Some(("application/json".to_owned(), b"{}".to_vec()))
    } else {
        // A client that takes this for a mirror adds `?ns=HOST`.
        shared.content.lock().unwrap().get(path.split('?').next().unwrap_or(path)).cloned()
    };
    let (status, media_type, body, extra) = match (found, range) {
        (None, _) => (
            "404 Not Found",
            "application/json".to_owned(),
            br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here"}]}"#.to_vec(),
            String::new(),
        ),
        (Some((media_type, bytes)), Some(from)) if from < bytes.len() => {
            let extra = format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            ("206 Partial Content", media_type, bytes[from..].to_vec(), extra)
        }
        (Some((media_type, bytes)), _) => ("200 OK", media_type, bytes, String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\nConnection: close\r\n{extra}\r\n",
        body.len()
    );
    let mut stream = stream;
    let sent = stream.write_all(head.as_bytes()).and_then(|()| if method == "HEAD" { Ok(()) } else { stream.write_all(&body) });
    drop(sent);
}

/// Bytes that do not compress and are the same each time.
pub fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Compressed, the same each time.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
