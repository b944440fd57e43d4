//! `coracle create` through a proxy in the test: CONNECT for HTTPS, whole URLs for plain HTTP, and names that only the proxy knows.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::lab::{Registry, program};
use crate::real_registry::certificates;
use crate::upstream::Upstream;
use crate::web::head;
use crate::workplace::{Workplace, words};

/// A name that no resolver knows: who reaches it went through the proxy.
const NAME: &str = "upstream.invalid";

/// What a proxy does with a request.
#[derive(Clone)]
enum Conduct {
    /// Connects to this address, whatever name it is asked for.
    Forward(String),
    /// Answers this status.
    Answer(u16),
    /// Forwards to an address for those who send this in `Proxy-Authorization`.
    Ask(String, String),
}

/// The proxy; it ends when the value is dropped.
struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    fn start(conduct: Conduct) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (asked, ended) = (Arc::clone(&asked), Arc::clone(&ended));
            std::thread::spawn(move || {
                for stream in listener.incoming().map(Result::unwrap) {
                    if ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let (conduct, asked) = (conduct.clone(), Arc::clone(&asked));
                    // A client that goes away in the middle is its own business.
                    std::thread::spawn(move || drop(serve(&stream, &conduct, &asked)));
                }
            })
        };
        Self { address, asked, ended, thread: Some(thread) }
    }

    /// `METHOD TARGET` of every request since the last call, each once.
    fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked.dedup();
        asked
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(&self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(mut client: &TcpStream, conduct: &Conduct, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    let (line, headers) = head(&mut reader)?;
    let [method, target, _] = line.as_slice() else { return Ok(()) };
    asked.lock().unwrap().push(format!("{method} {target}"));
    let address = match conduct {
        Conduct::Forward(address) => address,
        Conduct::Ask(address, login) if headers.get("proxy-authorization") == Some(login) => address,
        Conduct::Ask(..) => {
            return client.write_all(b"HTTP/1.1 407 X\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n");
        }
        Conduct::Answer(status) => {
            return client.write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes());
        }
    };
    let mut server = TcpStream::connect(address)?;
    if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        let (mut up, mut down) = (client.try_clone()?, server.try_clone()?);
        let back = std::thread::spawn(move || std::io::copy(&mut server, &mut up).and_then(|_| up.shutdown(Shutdown::Write)));
        std::io::copy(&mut reader, &mut down)?;
        down.shutdown(Shutdown::Write)?;
        return back.join().unwrap();
    }
    let path = target.strip_prefix("http://").and_then(|rest| rest.split_once('/')).map_or("", |(_, path)| path);
    let passed = headers.iter().filter(|(name, _)| !name.starts_with("proxy-")).map(|(name, value)| format!("{name}: {value}\r\n"));
    write!(server, "{method} /{path} HTTP/1.1\r\n{}connection: close\r\n\r\n", passed.collect::<String>())?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    client.write_all(&answer)?;
    client.shutdown(Shutdown::Both)
}

/// Runs `create` with variables in the environment.
fn create(workplace: &Workplace, args: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    drop(std::fs::remove_file(workplace.path("real.tar.zst")));
    drop(std::fs::remove_file(workplace.path("coracle.lock")));
    drop(std::fs::remove_dir_all(workplace.path("cache")));
    let output = workplace.create(args).envs(variables.iter().copied()).output().unwrap();
    (output.status.code(), words(&output))
}

#[test]
fn https_goes_through_connect_to_the_name_that_the_proxy_knows_and_is_still_checked() {
    let Some(_openssl) = program("openssl") else { return };
    let workplace = Workplace::new(&[], &[]);
    certificates(&workplace, &format!("IP:127.0.0.1, DNS:{NAME}"));
    let Some(registry) = Registry::with_tls(&workplace.path("server.pem"), &workplace.path("server.key")) else { return };
    let port = registry.address().rsplit_once(':').unwrap().1;
    workplace.define(&[format!("{NAME}:{port}/pause:3"), format!("{NAME}:{port}/tools/busybox:1")], &[]);
    let proxy = Proxy::start(Conduct::Forward(registry.address().to_owned()));
    let url = format!("http://{}", proxy.address);
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let (status, said) = create(&workplace, &["--ca", "ca.pem"], &[(variable, &url)]);
        assert_eq!((status, proxy.asked()), (Some(0), vec![format!("CONNECT {NAME}:{port}")]), "{variable}: {said}");
    }
    let (status, said) = create(&workplace, &[], &[("HTTPS_PROXY", &url)]);
    assert!(status == Some(1) && said.contains("name the authority with --ca FILE"), "{said}");
    // A proxy for plain HTTP is none for HTTPS.
    let (status, said) = create(&workplace, &["--ca", "ca.pem"], &[("HTTP_PROXY", &url)]);
    assert!(status == Some(1) && said.contains("typo in `upstream.invalid"), "{said}");
}

#[test]
fn plain_http_goes_through_its_proxy_but_for_the_hosts_of_no_proxy() {
    let upstream = Upstream::start();
    let image = upstream.image("team/web", "1.0", 1, 1000);
    upstream.file("/tool", b"a tool");
    let port = upstream.address().rsplit_once(':').unwrap().1;
    let name = format!("{NAME}:{port}");
    let workplace = Workplace::new(&[image.replace(upstream.address(), &name)], &[format!("http://{name}/tool")]);
    let proxy = Proxy::start(Conduct::Forward(upstream.address().to_owned()));
    let url = format!("http://{}", proxy.address);
    let (status, said) = create(&workplace, &["--plain-http", &name], &[("HTTP_PROXY", &url)]);
    let asked = proxy.asked();
    assert!(status == Some(0) && asked.iter().all(|line| line.contains(&format!(" http://{name}/"))), "{asked:?} {said}");
    assert!(asked.contains(&format!("GET http://{name}/tool")) && asked.len() > 8, "{asked:?}");
    workplace.define(&[image], &[]);
    for except in ["127.0.0.1", "other.example, 127.0.0.0/8", "*"] {
        let (status, said) = create(&workplace, &["--plain-http", upstream.address()], &[("HTTP_PROXY", &url), ("NO_PROXY", except)]);
        assert_eq!((status, proxy.asked()), (Some(0), Vec::new()), "{except}: {said}");
    }
    let (_, said) = create(&workplace, &["--plain-http", upstream.address()], &[("HTTP_PROXY", &url), ("NO_PROXY", "other.example")]);
    assert!(!proxy.asked().is_empty(), "{said}");
}

#[test]
fn a_proxy_that_asks_for_a_password_gets_it_from_its_url_and_nobody_else_sees_it() {
    use base64::Engine as _;
    let upstream = Upstream::start();
    let workplace = Workplace::new(&[upstream.image("team/web", "1.0", 1, 1000)], &[]);
    let login = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("carrier:hunter2"));
    let proxy = Proxy::start(Conduct::Ask(upstream.address().to_owned(), login));
    for (url, expected) in [("carrier:hunter2@", Some(0)), ("carrier:swordfish@", Some(1)), ("", Some(1))] {
        let url = format!("http://{url}{}", proxy.address);
        let (status, said) = create(&workplace, &["--plain-http", upstream.address()], &[("HTTP_PROXY", &url)]);
        assert_eq!(status, expected, "{said}");
        assert!(!said.contains("hunter2") && !said.contains("swordfish"), "{said}");
        assert!(status == Some(0) || said.contains("407") && said.contains("hint   the proxy asks for a login"), "{said}");
    }
    assert!(upstream.requests().iter().all(|request| request.header("proxy-authorization").is_none()));
}

#[test]
fn a_proxy_that_cannot_go_there_or_is_not_there_is_said_soon() {
    let workplace = Workplace::new(&[format!("{NAME}/team/web:1")], &[]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (unable, asking) = (Proxy::start(Conduct::Answer(502)), Proxy::start(Conduct::Answer(407)));
    for proxy in [&unable.address, &asking.address, &nobody] {
        let begun = Instant::now();
        let (status, said) = create(&workplace, &[], &[("HTTPS_PROXY", &format!("http://carrier:hunter2@{proxy}"))]);
        assert!(status == Some(1) && said.contains("HTTPS_PROXY") && !said.contains("hunter2"), "{said}");
        assert!(said.matches("retrying").count() <= 1, "{said}");
        // Ten times what it takes, a third of what it took once.
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }
    let (status, said) = create(&workplace, &[], &[("HTTPS_PROXY", "not a url at all://")]);
    assert!(status == Some(1), "{said}");
}
