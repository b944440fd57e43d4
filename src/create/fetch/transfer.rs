//! One blob from an upstream into the store: tried again, gone on with in the middle, checked.

use futures_util::StreamExt as _;

use super::progress::Progress;
use super::writer::{self, Sink, Writer};
use crate::create::source::{Error, Place, Sources, Tries};
use crate::event::Observer;
use crate::io::Mismatch;
use crate::store::{self, Store};
use crate::types::{Descriptor, Digest};

/// Bytes of progress after which earlier failures are forgotten.
const ENOUGH: u64 = 256 << 10;

/// Fetches a blob whose digest and size are known. `places` are alternatives on one host; the first that has it is used.
pub async fn blob(
    sources: &Sources,
    places: &[Place],
    descriptor: &Descriptor,
    store: &Store,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let mut tries = sources.tries();
    let mut place = places.iter();
    let mut from = place.next().ok_or_else(|| Error::Ended { what: descriptor.digest.to_string() })?;
    loop {
        let Some(mut writer) = writer::begin(store, descriptor).await? else { return Ok(()) };
        progress.found(writer.offset());
        let mut kept = writer.offset();
        let mut etag = None;
        while let Err(error) = stretch(sources, from, Some(descriptor), &mut writer, &mut etag, progress).await {
            if let Error::Ended { .. } = error {
                return Err(failure_of(writer, error).await);
            }
            if error.is_absent()
                && let Some(other) = place.next()
            {
                from = other;
                continue;
            }
            if writer.offset() >= kept + ENOUGH {
                tries.progressed();
                kept = writer.offset();
            }
            if error.is_wrong_content() {
                writer.restart().await;
            }
            again(&mut tries, from, error, progress.observer()).await?;
        }
        match writer.commit().await {
            Ok(()) => return Ok(()),
            Err(store::Error::Mismatch(source)) => {
                let error = Error::Wrong { what: from.to_string(), host: sources.host(from), source };
                again(&mut tries, from, error, progress.observer()).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Fetches a file whose digest is not known, and gives it and the size. Goes on in the middle only where the server has said, by a
/// strong entity tag, that it is still the same file: nothing else could tell.
pub async fn first_seen(sources: &Sources, place: &Place, store: &Store, progress: &mut Progress<'_>) -> Result<(Digest, u64), Error> {
    let mut tries = sources.tries();
    let mut writer = writer::begin_unnamed(store, &place.to_string()).await?;
    let mut etag = None;
    let mut kept = 0;
    while let Err(error) = stretch(sources, place, None, &mut writer, &mut etag, progress).await {
        if let Error::Ended { .. } = error {
            return Err(failure_of(writer, error).await);
        }
        if etag.is_none() {
            writer.restart().await;
        } else if writer.offset() >= kept + ENOUGH {
            tries.progressed();
            kept = writer.offset();
        }
        again(&mut tries, place, error, progress.observer()).await?;
    }
    Ok(writer.commit().await?)
}

async fn again(tries: &mut Tries, place: &Place, error: Error, observer: &dyn Observer) -> Result<(), Error> {
    tries.wait(&place.to_string(), error, observer).await
}

/// What a writer's thread failed with; `error` where it did not.
async fn failure_of<S: Sink>(writer: Writer<S>, error: Error) -> Error {
    match writer.finish().await {
        Err(source) => source.into(),
        Ok(_) => error,
    }
}

/// One request, and as much of the blob as it brings.
async fn stretch<S: Sink>(
    sources: &Sources,
    place: &Place,
    descriptor: Option<&Descriptor>,
    writer: &mut Writer<S>,
    etag: &mut Option<String>,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let size = descriptor.map(|descriptor| descriptor.size);
    if size == Some(writer.offset()) {
        return Ok(());
    }
    let ended = || Error::Ended { what: place.to_string() };
    let mut body = sources.open(place, writer.offset(), etag.as_deref()).await?;
    let expected = size.or(body.total);
    if let (Some(expected), Some(got)) = (size, body.total)
        && expected != got
    {
        return Err(Error::Size { what: place.to_string(), host: body.host, expected, got });
    }
    if body.start != writer.offset() && !writer.restart().await {
        return Err(ended());
    }
    etag.clone_from(&body.etag);
    while let Some(piece) = body.stream.next().await {
        let piece = piece?;
        if let Some(descriptor) = descriptor
            && writer.offset() + piece.len() as u64 > descriptor.size
        {
            let source = Mismatch::Long { digest: descriptor.digest, expected: descriptor.size };
            return Err(Error::Wrong { what: place.to_string(), host: body.host, source });
        }
        if !writer.write(piece).await {
            return Err(ended());
        }
        progress.reached(writer.offset());
    }
    if expected.is_some_and(|expected| writer.offset() < expected) {
        return Err(Error::Short { what: place.to_string(), host: body.host, got: writer.offset() });
    }
    Ok(())
}
