//! A registry and a file server in memory, on loopback: what lies on the connected side of the demonstration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};

use crate::image::{Target, digest};

/// Everything that it has, by the path under which it is asked for.
#[derive(Default)]
pub struct Upstream {
    documents: BTreeMap<String, Document>,
}

struct Document {
    media_type: String,
    digest: String,
    bytes: Bytes,
}

impl Upstream {
    /// A file under `/files/`.
    pub fn file(&mut self, name: &str, bytes: &[u8]) {
        self.put(format!("/files/{name}"), "application/octet-stream", bytes);
    }

    fn put(&mut self, path: String, media_type: &str, bytes: &[u8]) {
        self.documents
            .insert(path, Document { media_type: media_type.to_owned(), digest: digest(bytes), bytes: Bytes::copy_from_slice(bytes) });
    }
}

impl Target for Upstream {
    fn blob(&mut self, repository: &str, digest: &str, bytes: &[u8]) -> Result<()> {
        self.put(format!("/v2/{repository}/blobs/{digest}"), "application/octet-stream", bytes);
        Ok(())
    }

    fn manifest(&mut self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        for reference in [reference, &digest(bytes)] {
            self.put(format!("/v2/{repository}/manifests/{reference}"), media_type, bytes);
        }
        Ok(())
    }
}

/// The server while it runs; it ends with this value.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    runtime: tokio::runtime::Runtime,
}

impl Running {
    /// Starts to serve on a free port of loopback.
    pub fn start(listener: std::net::TcpListener, upstream: Upstream) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let router = Router::new().fallback(answer).with_state(Arc::new(upstream));
        let listener = runtime.block_on(async { tokio::net::TcpListener::from_std(listener) })?;
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, runtime })
    }

    /// Takes it away, with every connection that is open.
    pub fn stop(self) {
        self.runtime.shutdown_background();
    }
}

async fn answer(State(upstream): State<Arc<Upstream>>, method: Method, uri: Uri, headers: HeaderMap) -> Response<Body> {
    if uri.path() == "/v2/" {
        return Response::new(Body::from("{}"));
    }
    let Some(document) = upstream.documents.get(uri.path()).filter(|_| method == Method::GET || method == Method::HEAD) else {
        let mut response = Response::new(Body::from(r#"{"errors":[{"code":"NAME_UNKNOWN","message":"not here"}]}"#));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let length = document.bytes.len();
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).and_then(|range| range_of(range, length));
    let (first, end) = range.unwrap_or((0, length));
    let mut response = Response::builder()
        .status(if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK })
        .header(header::CONTENT_TYPE, &document.media_type)
        .header(header::CONTENT_LENGTH, end - first)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, format!("\"{}\"", document.digest))
        .header("docker-content-digest", &document.digest);
    if range.is_some() {
        response = response.header(header::CONTENT_RANGE, format!("bytes {first}-{}/{length}", end - 1));
    }
    let body = if method == Method::HEAD { Body::empty() } else { Body::from(document.bytes.slice(first..end)) };
    response.body(body).unwrap_or_else(|_| Response::new(Body::empty()))
}

/// `bytes=FIRST-` and `bytes=FIRST-LAST` within `length`, as first and end.
fn range_of(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    let end = if last.is_empty() { length } else { last.parse::<usize>().ok()?.checked_add(1)?.min(length) };
    (first < end).then_some((first, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request;

    #[test]
    fn serves_whole_files_parts_and_nothing() {
        let mut upstream = Upstream::default();
        upstream.file("a", b"0123456789");
        let server = Running::start(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), upstream).unwrap();
        let get = |path: &str, headers: &[&str]| {
            let response = request("GET", server.address, path, headers, b"").unwrap();
            (response.status, response.header("content-range").map(str::to_owned), String::from_utf8(response.body).unwrap())
        };
        assert_eq!(get("/files/a", &[]), (200, None, "0123456789".to_owned()));
        assert_eq!(get("/files/a", &["Range: bytes=7-"]), (206, Some("bytes 7-9/10".to_owned()), "789".to_owned()));
        assert_eq!(get("/files/a", &["Range: bytes=2-3"]), (206, Some("bytes 2-3/10".to_owned()), "23".to_owned()));
        assert_eq!(get("/files/b", &[]).0, 404);
        server.stop();
    }
}
