//! What is answered when a request cannot be served: the specification's error document (distribution-spec 1.1, "Error Codes").

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};

use super::content::ContentError;
use crate::types::Digest;

/// A request that is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A path that this registry does not have.
    #[error("there is nothing at this path")]
    NoSuchPath,
    /// A method that would write.
    #[error("this registry is read only")]
    Unsupported,
    /// A repository that cannot exist.
    #[error("`{0}` is no repository name")]
    NameInvalid(String),
    /// A repository that is not here.
    #[error("there is no repository `{0}`")]
    NameUnknown(String),
    /// Not a SHA-256 digest.
    #[error("`{0}` is not a SHA-256 digest")]
    DigestInvalid(String),
    /// A manifest that is not here, or a child of a sparse index that is not carried.
    #[error("there is no manifest `{0}`")]
    ManifestUnknown(String),
    /// A blob that is not here.
    #[error("there is no blob `{0}`")]
    BlobUnknown(Digest),
    /// A list is asked for in pages of no number.
    #[error("`{0}` is no page size")]
    PageSize(String),
    /// A range that lies outside of the blob, which has this many bytes.
    #[error("the range lies outside of the {0} bytes of the blob")]
    Range(u64),
    /// Content that is here cannot be read; the log has the cause.
    #[error("the content cannot be read")]
    Failed,
}

impl From<ContentError> for Refusal {
    fn from(error: ContentError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "content cannot be read");
        Self::Failed
    }
}

impl Refusal {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
            Self::Unsupported => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Self::NameInvalid(_) => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            Self::NameUnknown(_) => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            Self::DigestInvalid(_) => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            Self::ManifestUnknown(_) => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Self::BlobUnknown(_) => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            Self::PageSize(_) => (StatusCode::BAD_REQUEST, "UNSUPPORTED"),
            Self::Range(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID"),
            Self::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        }
    }

    /// The response with its error document.
    pub fn response(&self) -> Response<Body> {
        let (status, code) = self.status_and_code();
        let document = serde_json::json!({"errors": [{"code": code, "message": self.to_string()}]}).to_string();
        let mut response = Response::new(Body::from(document));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self {
            Self::Unsupported => drop(headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"))),
            Self::Range(size) => {
                let value = HeaderValue::try_from(format!("bytes */{size}")).expect("digits are a header value");
                drop(headers.insert(header::CONTENT_RANGE, value));
            }
            _ => {}
        }
        response
    }
}
