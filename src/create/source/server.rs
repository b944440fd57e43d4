//! A small hostile upstream on loopback, for tests: a registry and web server whose answers a test may replace one by one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::types::oci::{ImageIndex, ImageManifest, write};
use crate::types::{Descriptor, Digest, MediaType, Platform};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: String,
    /// How often this method and path were asked before.
    pub before: usize,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The connection is cut after so many bytes of the body.
    cut: Option<usize>,
}

impl Reply {
    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), cut: None }
    }

    /// 200 with a body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::status(200) }
    }

    /// The distribution spec's error document.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string();
        Self { body: body.into_bytes(), ..Self::status(status) }
    }

    /// The part that a `Range` asks for, as a server that knows ranges sends it.
    pub fn ranged(request: &Request, body: &[u8]) -> Self {
        let start = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match start {
            None => Self::ok(body),
            Some(start) if start >= body.len() => Self::status(416),
            Some(start) => {
                let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
                Self { body: body[start..].to_vec(), ..Self::status(206) }.header("content-range", &range)
            }
        }
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Cut after so many bytes of the body.
    #[must_use]
    pub fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }
}

type Fault = Box<dyn Fn(&Request) -> Option<Reply> + Send + Sync>;

/// A server that runs until it is dropped.
pub struct Server {
    /// `127.0.0.1:PORT`.
    pub host: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the server has when nothing goes wrong.
#[derive(Default, Clone)]
pub struct Content {
    /// Manifests by `REPOSITORY/manifests/TAG` and digest, blobs by `REPOSITORY/blobs/DIGEST`, files by path.
    pub paths: BTreeMap<String, Vec<u8>>,
}

impl Content {
    /// A file at a path.
    #[must_use]
    pub fn file(mut self, path: &str, bytes: &[u8]) -> Self {
        self.paths.insert(path.to_owned(), bytes.to_vec());
        self
    }

    /// An image with one layer of its own for each platform, under a tag.
    #[must_use]
    pub fn image(mut self, repository: &str, tag: &str, layers: &[(Platform, Vec<u8>)]) -> Self {
        let mut manifests = Vec::new();
        for (platform, layer) in layers {
            let config = serde_json::json!({
                "architecture": platform.architecture(), "os": platform.os(), "rootfs": {"type": "layers", "diff_ids": []},
            })
            .to_string();
            let descriptor = Descriptor::of("application/vnd.oci.image.layer.v1.tar", layer);
            let manifest = write::manifest(&ImageManifest {
                artifact_type: None,
                config: Descriptor::of(MediaType::OCI_CONFIG, config.as_bytes()),
                layers: vec![descriptor.clone()],
                subject: None,
                annotations: BTreeMap::new(),
            });
            self = self.blob(repository, config.as_bytes()).blob(repository, layer).manifest(repository, &manifest, None);
            manifests.push(Descriptor::of(MediaType::OCI_MANIFEST, &manifest).for_platform(platform.clone()));
        }
        let index = write::index(&ImageIndex { artifact_type: None, manifests, subject: None, annotations: BTreeMap::new() });
        self.manifest(repository, &index, Some(tag))
    }

    /// A blob.
    #[must_use]
    pub fn blob(self, repository: &str, bytes: &[u8]) -> Self {
        self.file(&format!("/v2/{repository}/blobs/{}", Digest::of(bytes)), bytes)
    }

    /// A manifest or index.
    #[must_use]
    pub fn manifest(self, repository: &str, bytes: &[u8], tag: Option<&str>) -> Self {
        let content = self.file(&format!("/v2/{repository}/manifests/{}", Digest::of(bytes)), bytes);
        match tag {
            Some(tag) => content.file(&format!("/v2/{repository}/manifests/{tag}"), bytes),
            None => content,
        }
    }

    fn reply(&self, request: &Request) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        match self.paths.get(path) {
            _ if path == "/v2/" => Reply::ok("{}"),
            Some(bytes) => Reply::ranged(request, bytes),
            None if path.contains("/manifests/") => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            None if path.contains("/blobs/") => Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
            None => Reply::status(404),
        }
    }
}

impl Server {
    /// Serves `content`, except where `fault` answers something else.
    pub async fn start(content: Content, fault: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new((content, Box::new(fault) as Fault, Arc::clone(&requests)));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A client that goes away in the middle is what some tests are about.
                    drop(serve(stream, &shared.0, &shared.1, &shared.2).await);
                });
            }
        });
        Self { host, requests, task }
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The values of a header in all requests for a path, in their order.
    pub fn headers(&self, path: &str, name: &str) -> Vec<Option<String>> {
        self.requests().iter().filter(|request| request.path == path).map(|request| request.header(name).map(str::to_owned)).collect()
    }

    /// A URL on this server.
    pub fn url(&self, path: &str) -> url::Url {
        format!("http://{}{path}", self.host).parse().unwrap()
    }
}

async fn serve(mut stream: TcpStream, content: &Content, fault: &Fault, requests: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
        if head == [0x16] {
            // TLS, which this server does not speak: it says so as plain web servers do.
            return stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: BTreeMap<String, String> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut body = vec![0; headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    let request = {
        let mut requests = requests.lock().unwrap();
        let before = requests.iter().filter(|earlier| earlier.method == method && earlier.path == path).count();
        let body = String::from_utf8_lossy(&body).into_owned();
        requests.push(Request { method, path, headers, body, before });
        requests.last().cloned().unwrap()
    };
    let reply = fault(&request).unwrap_or_else(|| content.reply(&request));
    let mut lines = vec![format!("HTTP/1.1 {} X", reply.status), "connection: close".to_owned()];
    if !reply.headers.iter().any(|(name, _)| name == "content-length" || name == "transfer-encoding") {
        lines.push(format!("content-length: {}", reply.body.len()));
    }
    lines.extend(reply.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    let answer = format!("{}\r\n\r\n", lines.join("\r\n"));
    stream.write_all(answer.as_bytes()).await?;
    if request.method != "HEAD" {
        stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())]).await?;
    }
    stream.shutdown().await
}
