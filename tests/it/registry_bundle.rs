//! `coracle registry serve --bundle`: a bundle is an upstream for the next create.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use crate::create::{Bench, text};

/// Ends the registry also when an assertion fails.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_bundle_serves_all_that_it_carries_byte_for_byte() {
    let bench = Bench::new();
    let first = bench.made("cache", "a.tar.zst");
    let mut registry = bench.coracle();
    registry.args(["registry", "serve", "--bundle", "a.tar.zst", "--key", "release.pub", "--listen", "127.0.0.1:0"]);
    let mut serving = Serving(registry.stderr(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(serving.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit("http://").next().unwrap().to_owned();
    assert!(line.starts_with("serving 2 repositories of a.tar.zst"), "{line}");
    bench.upstream.asked();
    let mirror = format!("{}=http://{address}", bench.upstream.address());
    let again = bench.create("empty-cache", "b.tar.zst").args(["--mirror", &mirror]).output().unwrap();
    assert!(again.status.success(), "{}", text(&again));
    assert!(first == std::fs::read(bench.path("b.tar.zst")).unwrap(), "what came out of the bundle differs");
    let asked: Vec<String> = bench.upstream.asked().into_iter().filter(|request| request.contains("/v2/")).collect();
    assert_eq!(asked, [] as [String; 0], "the upstream registry was asked");
}

#[test]
fn a_bundle_that_no_trusted_key_signed_is_not_served() {
    let bench = Bench::new();
    bench.made("cache", "a.tar.zst");
    let other = bench.coracle().args(["keygen", "other", "--unencrypted"]).output().unwrap();
    assert!(other.status.success(), "{}", text(&other));
    let refused = bench
        .coracle()
        .args(["registry", "serve", "--bundle", "a.tar.zst", "--key", "other.pub", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
}
