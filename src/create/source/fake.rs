//! An upstream in memory, for tests: whatever a closure answers.

use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use url::Url;

use super::{Body, Error, Place, Source};
use crate::types::ImageReference;

/// Bytes of a manifest, blob or file by its name (as references and places are displayed); `None`: there is none.
pub struct Fake<F>(pub F);

impl<F> fmt::Debug for Fake<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

impl<F: Fn(&str) -> Option<Vec<u8>> + Send + Sync> Fake<F> {
    fn get(&self, what: &str) -> Result<Vec<u8>, Error> {
        let missing =
            || Error::Status { what: what.to_owned(), host: "fake".to_owned(), status: 404, said: "no".to_owned(), retry_after: None };
        (self.0)(what).ok_or_else(missing)
    }
}

impl<F: Fn(&str) -> Option<Vec<u8>> + Send + Sync> Source for Fake<F> {
    fn host(&self, _: &Place) -> String {
        "fake".to_owned()
    }

    fn manifest<'a>(&'a self, reference: &'a ImageReference) -> BoxFuture<'a, Result<Vec<u8>, Error>> {
        Box::pin(async { self.get(&reference.to_string()) })
    }

    fn size<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<Option<u64>, Error>> {
        Box::pin(async { self.get(url.as_str()).map(|bytes| Some(bytes.len() as u64)) })
    }

    fn open<'a>(&'a self, place: &'a Place, offset: u64, _: Option<&'a str>) -> BoxFuture<'a, Result<Body, Error>> {
        Box::pin(async move {
            let bytes = Bytes::from(self.get(&place.to_string())?);
            let total = Some(bytes.len() as u64);
            let rest = bytes.slice(usize::try_from(offset).unwrap()..);
            Ok(Body { host: "fake".to_owned(), start: offset, total, etag: None, stream: stream::iter([Ok(rest)]).boxed() })
        })
    }
}
