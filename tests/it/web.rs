//! A web server on loopback whose answers a test decides one by one. It remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// How often this method and path were asked before.
    pub before: usize,
}

impl Request {
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

    /// The part that a `Range` asks for.
    pub fn ranged(request: &Request, body: &[u8]) -> Self {
        let start = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match start {
            None => Self::ok(body),
            Some(start) if start >= body.len() => Self::status(416),
            Some(start) => {
                let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
                Self { body: body[start..].to_vec(), ..Self::status(206) }.header("Content-Range", &range)
            }
        }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The connection is closed after so many bytes of the body, however many were promised.
    #[must_use]
    pub fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

/// The server; it ends when the value is dropped.
pub struct Web {
    address: String,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Request>>,
    ended: AtomicBool,
}

impl Web {
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let thread = {
            let (shared, answer): (_, Arc<Answer>) = (Arc::clone(&shared), Arc::new(answer));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if shared.ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let (shared, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                    // A client that goes away in the middle is its own business.
                    std::thread::spawn(move || drop(serve(&stream.unwrap(), &shared, &*answer)));
                }
            })
        };
        Self { address, shared, thread: Some(thread) }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Every request since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.shared.requests.lock().unwrap())
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // One connection wakes the listener, so that it sees the flag.
        drop(TcpStream::connect(&self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The head of a request: its first line's words, and its headers.
pub fn head(reader: &mut impl std::io::BufRead) -> std::io::Result<(Vec<String>, BTreeMap<String, String>)> {
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    Ok((first.split_whitespace().map(str::to_owned).collect(), headers))
}

fn serve(mut stream: &TcpStream, shared: &Shared, answer: &Answer) -> std::io::Result<()> {
    // Somebody who speaks TLS to it is told so as plain web servers do.
    let mut first = [0];
    if stream.peek(&mut first)? == 1 && first == [0x16] {
        return stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    }
    let mut reader = BufReader::new(stream);
    let (words, headers) = head(&mut reader)?;
    let [method, path, _] = words.as_slice() else { return Ok(()) };
    let mut body = vec![0; headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let request = {
        let mut requests = shared.requests.lock().unwrap();
        let before = requests.iter().filter(|earlier| earlier.method == *method && earlier.path == *path).count();
        requests.push(Request { method: method.clone(), path: path.clone(), headers, before });
        requests.last().cloned().unwrap()
    };
    let reply = answer(&request);
    let mut lines = vec![format!("HTTP/1.1 {} X", reply.status), "Connection: close".to_owned()];
    if !reply.headers.iter().any(|(name, _)| name == "Content-Length") {
        lines.push(format!("Content-Length: {}", reply.body.len()));
    }
    lines.extend(reply.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    stream.write_all(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes())?;
    if method != "HEAD" {
        stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())])?;
    }
    stream.shutdown(Shutdown::Write)
}
