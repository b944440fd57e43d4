//! From a request to its response: one function per endpoint. Content is asked on threads that may block.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use tokio::task::spawn_blocking;

use super::content::{Content, ContentError, Selector};
use super::names::is_manifest;
use super::range::{Part, part};
use super::refusal::Refusal;
use super::route::{Page, Route};
use super::stream;
use crate::types::oci::{ImageIndex, write};
use crate::types::{Descriptor, Digest, MediaType};

const DIGEST_HEADER: HeaderName = HeaderName::from_static("docker-content-digest");
const VERSION_HEADER: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const FILTERS_HEADER: HeaderName = HeaderName::from_static("oci-filters-applied");
/// Entries of a list that are given at once, however many are asked for.
const PAGE_LIMIT: usize = 1000;

type Answer = Result<Response<Body>, Refusal>;

/// The whole registry as a service.
pub fn router(content: Arc<dyn Content>) -> Router {
    Router::new().fallback(answer).with_state(content)
}

async fn answer(State(content): State<Arc<dyn Content>>, request: Request) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri);
    let response = match parts.method {
        Method::GET | Method::HEAD => {
            let answer = match Route::parse(parts.uri.path(), parts.uri.query()) {
                Ok(route) => serve(content, route, &parts.method, parts.headers).await,
                Err(refusal) => Err(refusal),
            };
            answer.unwrap_or_else(|refusal| refusal.response())
        }
        _ => Refusal::Unsupported.response(),
    };
    tracing::info!(target: "coracle::registry::request", status = response.status().as_u16(), "{line}");
    response
}

async fn serve(content: Arc<dyn Content>, route: Route, method: &Method, headers: HeaderMap) -> Answer {
    let head = method == Method::HEAD;
    let found = spawn_blocking(move || look_up(&*content, &route, head, &headers).map(|found| (content, found)));
    let (content, found) = found.await.map_err(|_| Refusal::Failed)??;
    match found {
        Found::Response(response) => Ok(response),
        Found::Blob(blob, range, mut response) => {
            *response.body_mut() = stream::body(content, blob, range);
            Ok(response)
        }
    }
}

/// What looking a request up gives: an answer, or an answer whose body is yet to be read.
enum Found {
    Response(Response<Body>),
    Blob(Descriptor, std::ops::Range<u64>, Response<Body>),
}

fn look_up(content: &dyn Content, route: &Route, head: bool, headers: &HeaderMap) -> Result<Found, Refusal> {
    match route {
        Route::Version => Ok(Found::Response(json("{}".to_owned(), None))),
        Route::Catalog(page) => {
            let (names, link) = cut(content.repositories()?, page, "/v2/_catalog");
            Ok(Found::Response(json(serde_json::json!({ "repositories": names }).to_string(), link)))
        }
        Route::Tags(repository, page) => {
            let tags = content.tags(repository)?.ok_or_else(|| Refusal::NameUnknown(repository.clone()))?;
            let (tags, link) = cut(tags, page, &format!("/v2/{repository}/tags/list"));
            Ok(Found::Response(json(serde_json::json!({ "name": repository, "tags": tags }).to_string(), link)))
        }
        Route::Manifest(repository, selector) => manifest(content, repository, selector, head, headers).map(Found::Response),
        Route::Blob(repository, digest) => blob(content, repository, digest, head, headers),
        Route::Referrers(repository, digest, artifact_type) => {
            referrers(content, repository, digest, artifact_type.as_deref()).map(Found::Response)
        }
    }
}

fn manifest(content: &dyn Content, repository: &str, selector: &Selector, head: bool, headers: &HeaderMap) -> Answer {
    let Some(manifest) = content.manifest(repository, selector)? else {
        return Err(match (content.tags(repository)?, selector) {
            (None, _) => Refusal::NameUnknown(repository.to_owned()),
            (Some(_), Selector::Tag(tag)) => Refusal::ManifestUnknown(tag.clone()),
            (Some(_), Selector::Digest(digest)) => Refusal::ManifestUnknown(digest.to_string()),
        });
    };
    let mut response = described(&manifest);
    if is_known(headers, &manifest.digest) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, manifest.size.into());
    if !head {
        *response.body_mut() = Body::from(content.document(&manifest)?);
    }
    Ok(response)
}

fn blob(content: &dyn Content, repository: &str, digest: &Digest, head: bool, headers: &HeaderMap) -> Result<Found, Refusal> {
    let mut blob = content.blob(repository, digest)?.ok_or(Refusal::BlobUnknown(*digest))?;
    // A blob is bytes here: its media type is its manifest's business, and a wrong one would be sniffed.
    if !is_manifest(&blob.media_type) {
        blob.media_type = MediaType::new(MediaType::OCTETS);
    }
    let mut response = described(&blob);
    let into = response.headers_mut();
    into.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if is_known(headers, digest) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(Found::Response(response));
    }
    // RFC 9110, 13.1.5: with an If-Range that does not match, the whole is sent. A date matches nothing here.
    let same = headers.get(header::IF_RANGE).is_none_or(|value| value.as_bytes() == etag(digest).as_bytes());
    let wanted = headers.get(header::RANGE).filter(|_| same).and_then(|value| value.to_str().ok());
    let range = match part(wanted, blob.size) {
        Part::Whole => 0..blob.size,
        Part::Unsatisfiable => return Err(Refusal::Range(blob.size)),
        Part::Range(range) => {
            let text = format!("bytes {}-{}/{}", range.start, range.end - 1, blob.size);
            into.insert(header::CONTENT_RANGE, HeaderValue::try_from(text).expect("digits are a header value"));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            range
        }
    };
    response.headers_mut().insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    if head || range.is_empty() { Ok(Found::Response(response)) } else { Ok(Found::Blob(blob, range, response)) }
}

/// Distribution-spec, "Listing Referrers": an index of descriptors, empty where nothing refers to the digest, never 404.
fn referrers(content: &dyn Content, repository: &str, digest: &Digest, artifact_type: Option<&str>) -> Answer {
    let mut manifests = content.referrers(repository, digest)?;
    if let Some(wanted) = artifact_type {
        manifests.retain(|manifest| manifest.artifact_type.as_deref() == Some(wanted));
    }
    let index = ImageIndex { artifact_type: None, manifests, subject: None, annotations: std::collections::BTreeMap::new() };
    let mut response = Response::new(Body::from(write::index(&index)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MediaType::OCI_INDEX));
    headers.insert(VERSION_HEADER, HeaderValue::from_static("registry/2.0"));
    if artifact_type.is_some() {
        headers.insert(FILTERS_HEADER, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

/// A response without a body that says what the content is.
fn described(content: &Descriptor) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let digest = content.digest.to_string();
    let headers = response.headers_mut();
    let media_type = HeaderValue::try_from(content.media_type.as_str());
    headers.insert(header::CONTENT_TYPE, media_type.unwrap_or(HeaderValue::from_static(MediaType::OCTETS)));
    headers.insert(header::ETAG, HeaderValue::try_from(etag(&content.digest)).expect("hex is a header value"));
    headers.insert(DIGEST_HEADER, HeaderValue::try_from(digest).expect("hex is a header value"));
    headers.insert(VERSION_HEADER, HeaderValue::from_static("registry/2.0"));
    response
}

fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether `If-None-Match` names this digest.
fn is_known(headers: &HeaderMap, digest: &Digest) -> bool {
    let etag = etag(digest);
    let values = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|value| value == "*" || value.trim_start_matches("W/") == etag)
}

fn json(text: String, link: Option<String>) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(VERSION_HEADER, HeaderValue::from_static("registry/2.0"));
    if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
        headers.insert(header::LINK, link);
    }
    response
}

/// One page of a sorted list, and the `Link` header to the next where there is more.
fn cut(list: Vec<String>, page: &Page, path: &str) -> (Vec<String>, Option<String>) {
    let n = page.n.unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT);
    let mut rest = list.into_iter().filter(|entry| page.last.as_ref().is_none_or(|last| entry > last));
    let entries: Vec<String> = rest.by_ref().take(n).collect();
    let link = match (entries.last(), rest.next()) {
        (Some(end), Some(_)) => {
            let query =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("n", &n.to_string()).append_pair("last", end).finish();
            Some(format!("<{path}?{query}>; rel=\"next\""))
        }
        _ => None,
    };
    (entries, link)
}

impl From<tokio::task::JoinError> for ContentError {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::GivenUp
    }
}
