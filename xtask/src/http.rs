//! A small HTTP/1.1 client for loopback, one connection per request; and a registry as a target of images.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result, bail};

use crate::image::Target;

/// What came back.
pub struct Response {
    /// 200 and the like.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// One request; `headers` are whole lines.
pub fn request(method: &str, server: SocketAddr, target: &str, headers: &[&str], body: &[u8]) -> Result<Response> {
    let mut stream = TcpStream::connect(server).with_context(|| format!("cannot reach {server}"))?;
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(body)?;
    let mut reader = BufReader::new(stream);
    let mut line = || -> Result<String> {
        let mut text = String::new();
        reader.read_line(&mut text)?;
        Ok(text.trim_end().to_owned())
    };
    let first = line()?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).with_context(|| format!("`{first}` is no HTTP answer"))?;
    let mut headers = Vec::new();
    loop {
        let text = line()?;
        let Some((name, value)) = text.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut response = Response { status, headers, body: Vec::new() };
    if method == "HEAD" {
        return Ok(response);
    }
    if response.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).with_context(|| format!("`{}` is no chunk size", size.trim()))?;
            let read = reader.by_ref().take(size).read_to_end(&mut response.body)?;
            if size == 0 || read as u64 != size {
                break;
            }
            reader.read_line(&mut String::new())?;
        }
    } else {
        reader.read_to_end(&mut response.body)?;
    }
    if let Some(length) = response.header("content-length").and_then(|length| length.parse::<usize>().ok())
        && length != response.body.len()
    {
        bail!("{method} {target}: {} bytes came, {length} were announced", response.body.len());
    }
    Ok(response)
}

/// A registry on loopback that takes pushes.
pub struct Registry {
    /// Where it listens.
    pub server: SocketAddr,
}

impl Registry {
    fn expect(&self, wanted: u16, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Result<Response> {
        let response = request(method, self.server, target, headers, body)?;
        if response.status != wanted {
            bail!("{method} {target} was answered {}: {}", response.status, String::from_utf8_lossy(&response.body));
        }
        Ok(response)
    }
}

impl Target for Registry {
    fn blob(&mut self, repository: &str, digest: &str, bytes: &[u8]) -> Result<()> {
        let begun = self.expect(202, "POST", &format!("/v2/{repository}/blobs/uploads/"), &[], &[])?;
        let location = begun.header("location").context("an upload without a location")?;
        let path = location.split_once("://").map_or(location, |(_, rest)| &rest[rest.find('/').unwrap_or(rest.len())..]);
        let gap = if path.contains('?') { '&' } else { '?' };
        self.expect(201, "PUT", &format!("{path}{gap}digest={digest}"), &["Content-Type: application/octet-stream"], bytes)?;
        Ok(())
    }

    fn manifest(&mut self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        self.expect(201, "PUT", &format!("/v2/{repository}/manifests/{reference}"), &[&format!("Content-Type: {media_type}")], bytes)?;
        Ok(())
    }
}

/// A port of loopback that is free now.
pub fn free_port() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
