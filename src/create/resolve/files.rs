//! One file for one platform: its digest and size.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::OnceCell;
use url::Url;

use super::Cause;
use crate::create::definition::package::FileOrigin;
use crate::create::fetch::{Progress, blocking, first_seen};
use crate::create::lock::Lock;
use crate::create::resolution::ResolvedFile;
use crate::create::source::{Place, Sources};
use crate::event::{Event, Observer, Stage};
use crate::fs;
use crate::io::HashingWriter;
use crate::store::{Begun, Store};
use crate::types::{Descriptor, Digest, MediaType, Platform};

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// What each URL without a known digest turned out to hold; fetched once, whoever names it.
pub type FirstSeen = BTreeMap<Url, Arc<OnceCell<(Digest, u64)>>>;

/// What resolving a file needs.
pub struct Context<'a> {
    /// What was resolved before.
    pub lock: Option<&'a Lock>,
    /// URLs of this run.
    pub seen: &'a FirstSeen,
    /// Upstreams.
    pub sources: &'a Sources,
    /// The cache.
    pub store: &'a Store,
    /// Where warnings go.
    pub observer: &'a dyn Observer,
}

/// Resolves one file.
pub async fn resolve(origin: &FileOrigin, platform: &Platform, context: &Context<'_>) -> Result<ResolvedFile, Cause> {
    match origin {
        FileOrigin::Inline(text) => {
            let (store, bytes) = (context.store.clone(), text.clone().into_bytes());
            let size = bytes.len() as u64;
            let digest = blocking(move || store.put(&bytes)).await?;
            Ok(ResolvedFile { descriptor: Descriptor::new(MediaType::OCTETS, digest, size), title: "inline".to_owned() })
        }
        FileOrigin::Local { path, written, sha256 } => {
            let (store, local) = (context.store.clone(), path.clone());
            let (digest, size) = blocking(move || import(&local, &store)).await?;
            expect(written, sha256.as_ref(), digest)?;
            let title = path.file_name().map_or_else(|| written.clone(), |name| name.to_string_lossy().into_owned());
            Ok(ResolvedFile { descriptor: Descriptor::new(media_type(&title), digest, size), title })
        }
        FileOrigin::Url { url, sha256 } => {
            let (digest, size) = by_url(url, sha256.as_ref(), platform, context).await?;
            let last = url.path_segments().and_then(|mut parts| parts.next_back()).filter(|last| !last.is_empty());
            let title = last.unwrap_or_else(|| url.host_str().unwrap_or("file")).to_owned();
            Ok(ResolvedFile { descriptor: Descriptor::new(media_type(&title), digest, size), title })
        }
    }
}

async fn by_url(url: &Url, sha256: Option<&Digest>, platform: &Platform, context: &Context<'_>) -> Result<(Digest, u64), Cause> {
    // Where the definition has another digest than the lock, the definition is newer.
    let locked = context.lock.and_then(|lock| lock.file(url, platform));
    if let Some(file) = locked.filter(|file| sha256.is_none_or(|wanted| *wanted == file.sha256)) {
        return Ok((file.sha256, file.size));
    }
    if let Some(digest) = sha256 {
        if let Some(size) = context.store.size_of(digest)? {
            return Ok((*digest, size));
        }
        if let Some(size) = context.sources.size(url, context.observer).await? {
            return Ok((*digest, size));
        }
    }
    let fetch = async || {
        let place = Place::Url(url.clone());
        let _permit = context.sources.permit(&context.sources.host(&place)).await;
        let id = context.sources.transfer_id();
        let mut progress = Progress::start(context.observer, Stage::Resolve, id, url.to_string(), None, 0);
        let (digest, size) = first_seen(context.sources, &place, context.store, &mut progress).await?;
        if sha256.is_none() {
            let plain = if url.scheme() == "http" { ", over plain HTTP" } else { "" };
            let message = format!(
                "`{url}` has no sha256: what came now{plain} is locked, {digest} with {size} bytes; compare it with what its author says"
            );
            context.observer.event(Event::Warning { message });
        }
        Ok::<_, Cause>((digest, size))
    };
    let (digest, size) = match context.seen.get(url) {
        Some(cell) => *cell.get_or_try_init(fetch).await?,
        None => fetch().await?,
    };
    expect(url.as_str(), sha256, digest)?;
    Ok((digest, size))
}

fn expect(what: &str, expected: Option<&Digest>, got: Digest) -> Result<(), Cause> {
    match expected {
        Some(expected) if *expected != got => Err(Cause::Differs { what: what.to_owned(), expected: *expected, got }),
        _ => Ok(()),
    }
}

/// Hashes a local file, and copies it into the store where it is not there: a file that is there is read once and written never.
fn import(path: &Path, store: &Store) -> Result<(Digest, u64), Cause> {
    let mut file = fs::open(path)?;
    let failed = |source| fs::Error::new("read", path, source);
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Cause::NoFile { path: path.to_owned() });
    }
    let mut hasher = HashingWriter::new(std::io::sink());
    each_piece(&mut file, |piece| std::io::Write::write_all(&mut hasher, piece).map_err(|source| failed(source).into()), failed)?;
    let (_, digest, size) = hasher.finish();
    if let Begun::Writer(mut writer) = store.begin(digest, size)? {
        writer.restart()?;
        file.rewind().map_err(failed)?;
        each_piece(&mut file, |piece| Ok(writer.write(piece)?), failed)?;
        writer.commit()?;
    }
    Ok((digest, size))
}

fn each_piece(
    file: &mut File,
    mut take: impl FnMut(&[u8]) -> Result<(), Cause>,
    failed: impl Fn(std::io::Error) -> fs::Error,
) -> Result<(), Cause> {
    let mut buffer = vec![0; PIECE];
    loop {
        match file.read(&mut buffer).map_err(&failed)? {
            0 => return Ok(()),
            n => take(&buffer[..n])?,
        }
    }
}

/// By its name: what is compressed already is not compressed again.
fn media_type(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase();
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    if ends(&[".gz", ".tgz"]) {
        "application/gzip"
    } else if ends(&[".zst", ".tzst"]) {
        "application/zstd"
    } else if ends(&[".xz", ".txz"]) {
        "application/x-xz"
    } else if ends(&[".rpm"]) {
        "application/x-rpm"
    } else {
        MediaType::OCTETS
    }
}
