//! A blob as a response body: one piece is sent while the next is read on a thread that may block.
//!
//! No thread is held between two pieces, so a slow client costs two buffers and nothing else.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::task::{JoinHandle, spawn_blocking};

use super::content::{BlobReader, Content, ContentError};
use crate::types::Descriptor;

/// The next piece with the reader that goes on after it; `None` in place of the reader at the end.
type Piece = Result<(Bytes, Box<dyn BlobReader>), ContentError>;

/// The body that sends `range` of `blob`. An error in the middle breaks the connection off: the client sees a short body.
pub fn body(content: Arc<dyn Content>, blob: Descriptor, range: Range<u64>) -> Body {
    let first = spawn_blocking(move || piece(content.open(&blob, range)?));
    let pieces = futures_util::stream::unfold(Some(first), async |reading: Option<JoinHandle<Piece>>| {
        let piece = match reading?.await {
            Ok(piece) => piece,
            Err(error) => Err(error.into()),
        };
        match piece {
            Ok((bytes, _)) if bytes.is_empty() => None,
            Ok((bytes, reader)) => Some((Ok(bytes), Some(spawn_blocking(move || self::piece(reader))))),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a blob is broken off");
                Some((Err(error), None))
            }
        }
    });
    Body::from_stream(pieces.boxed())
}

fn piece(mut reader: Box<dyn BlobReader>) -> Piece {
    reader.next().map(|bytes| (bytes, reader))
}
