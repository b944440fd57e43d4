//! The real upstream of the tests: a CNCF distribution registry over the images that `cargo xtask lab` made of real programs.
//!
//! It reads the lab's storage and may not write to it: any number of tests use it at once. Where the lab is missing a test says so in
//! one line and is skipped, except where `CI` is set.
#![expect(clippy::print_stderr, reason = "a test says on stderr why it was skipped")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// The images of the lab, each for linux/amd64 and linux/arm64.
pub const IMAGES: [&str; 3] = ["podinfo:6", "tools/busybox:1", "pause:3"];

/// Where the lab is.
fn directory() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = || named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    named("CORACLE_LAB").or_else(|| cache().map(|cache| cache.join("coracle-lab")))
}

fn present(path: Option<PathBuf>, what: &str) -> Option<PathBuf> {
    if path.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{what}: not here, and CI must not skip tests");
        eprintln!("skipped: {what}: not here (`cargo xtask lab` makes it)");
    }
    path
}

/// The path of a program: from the lab, else from PATH.
pub fn program(name: &str) -> Option<String> {
    let mut places: Vec<PathBuf> = directory().map(|lab| lab.join("bin")).into_iter().collect();
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let found = places.into_iter().map(|place| place.join(name)).find(|path| path.is_file());
    present(found, name).map(|path| path.into_os_string().into_string().unwrap())
}

/// The words of a command that must succeed: what it wrote to stdout.
pub fn run(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Vec<u8> {
    output(Command::new(program).args(args))
}

/// The stdout of a command that must succeed.
pub fn output(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A registry that runs until it is dropped.
pub struct Registry {
    child: Child,
    address: String,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Registry {
    /// Open to everybody, over plain HTTP.
    pub fn open() -> Option<Self> {
        Self::start("", "")
    }

    /// With nothing in it; it takes what is pushed.
    pub fn empty() -> Option<Self> {
        Self::over(None, "", "")
    }

    /// With the names and passwords of an htpasswd file.
    pub fn with_passwords(htpasswd: &Path) -> Option<Self> {
        Self::start(&format!("auth: {{ htpasswd: {{ realm: the lab, path: {} }} }}", htpasswd.display()), "")
    }

    /// With tokens that are signed by a key of `jwks` and had from `realm`.
    pub fn with_tokens(realm: &str, jwks: &Path) -> Option<Self> {
        let jwks = jwks.display();
        Self::start(&format!("auth: {{ token: {{ realm: \"{realm}\", service: lab, issuer: the test, jwks: {jwks} }} }}"), "")
    }

    /// Over TLS.
    pub fn with_tls(certificate: &Path, key: &Path) -> Option<Self> {
        Self::start("", &format!(", tls: {{ certificate: {}, key: {} }}", certificate.display(), key.display()))
    }

    fn start(auth: &str, tls: &str) -> Option<Self> {
        let images = directory().map(|lab| lab.join("images")).filter(|images| images.is_dir());
        Self::over(Some(present(images, "the lab's images")?), auth, tls)
    }

    fn over(images: Option<PathBuf>, auth: &str, tls: &str) -> Option<Self> {
        let program = program("registry")?;
        let directory = tempfile::tempdir().unwrap();
        let read_only = images.is_some();
        let images = images.unwrap_or_else(|| directory.path().join("storage"));
        let configuration = directory.path().join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{ level: info }}\n\
             storage: {{ filesystem: {{ rootdirectory: {} }}, maintenance: {{ readonly: {{ enabled: {read_only} }} }} }}\n\
             http: {{ addr: \"127.0.0.1:0\"{tls} }}\n{auth}\n",
            images.display()
        );
        std::fs::write(&configuration, text).unwrap();
        let mut command = Command::new(program);
        command.arg("serve").arg(&configuration).env("OTEL_TRACES_EXPORTER", "none");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // It takes a port that is free and says which.
        let mut said = Vec::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the registry did not start: {said:#?}")).unwrap();
            let address = line.split_once("listening on ").map(|(_, rest)| rest.split([',', '"']).next().unwrap().to_owned());
            said.push(line);
            if let Some(address) = address {
                break address;
            }
        };
        let log = Arc::new(Mutex::new(said));
        let reader = {
            let log = Arc::clone(&log);
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| log.lock().unwrap().push(line)))
        };
        Some(Self { child, address, log, reader: Some(reader), _directory: directory })
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// An image of this registry by name.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Ends it and gives the requests that it has logged, as `STATUS METHOD PATH`.
    pub fn end(mut self) -> Vec<String> {
        self.stop();
        let log = self.log.lock().unwrap();
        let field = |line: &str, name: &str| {
            Some(line.split_once(&format!("{name}="))?.1.split([' ', '"']).find(|word| !word.is_empty())?.to_owned())
        };
        let request = |line: &String| {
            // It does not count a request that it refuses for want of a login as answered.
            let refused = line.contains("error authorizing context").then(|| "401".to_owned());
            let (status, method) = (refused.or_else(|| field(line, "http.response.status"))?, field(line, "http.request.method")?);
            Some(format!("{status} {method} {}", field(line, "http.request.uri")?))
        };
        let requests = log.iter().filter_map(request);
        requests.collect()
    }

    fn stop(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            reader.join().unwrap();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}
