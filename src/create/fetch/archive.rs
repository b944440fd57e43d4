//! One blob from an archive on this machine into the store.

use std::path::Path;

use bytes::Bytes;

use super::progress::Progress;
use super::writer::{self, blocking};
use crate::create::source::{Error, Sources};
use crate::store::{self, Store};
use crate::types::Descriptor;

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// Copies a blob of an archive, checked while it is written.
pub async fn blob(
    sources: &Sources,
    path: &Path,
    descriptor: &Descriptor,
    store: &Store,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let Some(mut writer) = writer::begin(store, descriptor).await? else { return Ok(()) };
    progress.found(writer.offset());
    let (open, path_, scratch) = (sources.clone(), path.to_owned(), store.root().to_owned());
    let (digest, offset) = (descriptor.digest, writer.offset());
    let mut reader = blocking(move || open.archive(&path_, &scratch)?.reader(&digest, offset).map_err(Error::from)).await?;
    loop {
        let (piece, rest) = blocking(move || {
            let mut piece = vec![0; PIECE];
            let read = std::io::Read::read(&mut reader, &mut piece);
            (read.map(|n| Bytes::from(piece).slice(..n)), reader)
        })
        .await;
        reader = rest;
        let piece = piece.map_err(|source| crate::create::source::archive::Error::Read { path: path.to_owned(), source })?;
        if piece.is_empty() || !writer.write(piece).await {
            break;
        }
        progress.reached(writer.offset());
    }
    match writer.commit().await {
        Err(store::Error::Mismatch(source)) => Err(Error::Wrong { what: digest.to_string(), host: path.display().to_string(), source }),
        other => Ok(other?),
    }
}
