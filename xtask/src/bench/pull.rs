//! Pulling everything from a registry, on several connections at once.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::measure::{Usage, cpu_of_process};
use crate::http::request;

/// Connections at once.
const CLIENTS: usize = 8;
/// Times that everything is pulled.
const ROUNDS: usize = 4;
const ACCEPT: &str = "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";

/// `/v2/…` of each layer of the images' amd64 platform, as the upstream names them.
pub fn layers(registry: SocketAddr, images: &[String]) -> Result<Vec<String>> {
    let mut layers = Vec::new();
    for image in images {
        let (repository, tag) = image.rsplit_once(':').context("an image without a tag")?;
        let get = |reference: &str| -> Result<Value> {
            let answer = request("GET", registry, &format!("/v2/{repository}/manifests/{reference}"), &[ACCEPT], b"")?;
            ensure!(answer.status == 200, "`{image}` was answered {}", answer.status);
            Ok(serde_json::from_slice(&answer.body)?)
        };
        let index = get(tag)?;
        let child = index["manifests"].as_array().into_iter().flatten().find(|child| child["platform"]["architecture"] == "amd64");
        let manifest = get(child.and_then(|child| child["digest"].as_str()).context("no amd64")?)?;
        let digests = manifest["layers"].as_array().into_iter().flatten().filter_map(|layer| layer["digest"].as_str());
        layers.extend(digests.map(|digest| format!("/v2/{repository}/blobs/{digest}?ns={registry}")));
    }
    layers.sort();
    Ok(layers)
}

/// Pulls each of these several times; `pid` is the server. Gives what the server used, with the bytes that it sent as read.
pub fn all(server: SocketAddr, pid: u32, targets: &[String]) -> Result<Usage> {
    let (next, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
    let client = || -> Result<()> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= targets.len() * ROUNDS {
                return Ok(());
            }
            bytes.fetch_add(one(server, &targets[number % targets.len()], &mut buffer)?, Ordering::Relaxed);
        }
    };
    let before = cpu_of_process(pid)?;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().try_for_each(|client| client.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client ended early"))))
    })?;
    let wall = begun.elapsed().as_secs_f64();
    Ok(Usage { success: true, wall, daemon: cpu_of_process(pid)? - before, read: bytes.into_inner(), ..Usage::default() })
}

/// Pulls one and throws it away.
fn one(server: SocketAddr, target: &str, buffer: &mut [u8]) -> Result<u64> {
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut length = None;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200"), "`{target}` was answered {}", line.trim());
    while line.trim_end() != "" {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse::<u64>()?);
        }
    }
    let mut got = reader.buffer().len() as u64;
    let mut stream = reader.into_inner();
    loop {
        match stream.read(buffer)? {
            0 => break,
            n => got += n as u64,
        }
    }
    ensure!(length == Some(got), "`{target}`: {got} bytes came, {length:?} were announced");
    Ok(got)
}
