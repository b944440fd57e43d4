//! Images from registries: the pull side of the OCI distribution spec (`spec.md`, "Pull").

use std::collections::BTreeMap;

use oci_distribution::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RANGE};
use reqwest::{Response, StatusCode};
use url::Url;

use super::auth::{Challenge, Tokens, Whom, parse_challenge};
use super::client::{HttpClient, body_of, host_of, read_limited, refused};
use super::{Body, DOCUMENT_LIMIT, Error};
use crate::types::{Digest, ImageReference};

/// Registries, by the names in references.
#[derive(Debug)]
pub struct Registries {
    client: HttpClient,
    tokens: Tokens,
    mirrors: BTreeMap<String, Url>,
}

/// Where a registry is asked.
struct Endpoint {
    /// Ends with `/`.
    base: Url,
    /// What login files call it.
    name: String,
    /// A mirror is told for whom it stands (containerd's `?ns=`).
    namespace: Option<String>,
}

impl Registries {
    /// `mirrors` are asked instead of the hosts that they stand for.
    pub fn new(client: HttpClient, tokens: Tokens, mirrors: BTreeMap<String, Url>) -> Self {
        Self { client, tokens, mirrors }
    }

    /// The host that is asked for a registry's images, as messages and limits name it.
    pub fn host(&self, registry: &str) -> String {
        host_of(&self.endpoint(registry).base)
    }

    fn endpoint(&self, registry: &str) -> Endpoint {
        if let Some(mirror) = self.mirrors.get(registry) {
            let mut base = mirror.clone();
            if !base.path().ends_with('/') {
                base.set_path(&format!("{}/", mirror.path()));
            }
            return Endpoint { name: host_of(&base), base, namespace: Some(registry.to_owned()) };
        }
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
            _ => (host, None),
        };
        let scheme = if self.client.is_plain(name, port) { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{host}/")).expect("the host of a reference is a host of a URL");
        Endpoint { base, name: registry.to_owned(), namespace: None }
    }

    /// A manifest or index by tag or digest, unchecked: at most [`DOCUMENT_LIMIT`] bytes.
    pub async fn manifest(&self, reference: &ImageReference) -> Result<Vec<u8>, Error> {
        let what = reference.to_string();
        let endpoint = self.endpoint(reference.registry());
        let accept =
            [OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE].join(", ");
        let accept = HeaderValue::from_str(&accept).expect("media types are ASCII");
        let path = format!("manifests/{}", reference.selector());
        let response = self.send(&endpoint, reference.repository(), &path, &what, |request| request.header(ACCEPT, &accept)).await?;
        read_limited(&what, &host_of(&endpoint.base), response, DOCUMENT_LIMIT).await
    }

    /// A blob from `offset` on, unchecked.
    pub async fn blob(&self, reference: &ImageReference, digest: &Digest, offset: u64) -> Result<Body, Error> {
        let what = format!("{}@{digest}", reference.name());
        let endpoint = self.endpoint(reference.registry());
        let host = host_of(&endpoint.base);
        let path = format!("blobs/{digest}");
        let response = self
            .send(&endpoint, reference.repository(), &path, &what, |request| match offset {
                0 => request,
                offset => request.header(RANGE, format!("bytes={offset}-")),
            })
            .await;
        match response {
            // What is on the disk is longer than what the registry has, or it knows no ranges: from the beginning.
            Err(Error::Status { status: 416, .. }) => {
                let response = self.send(&endpoint, reference.repository(), &path, &what, |request| request).await?;
                body_of(&what, &host, response, 0)
            }
            response => body_of(&what, &host, response?, offset),
        }
    }

    /// Sends a request with what the registry asks for, once more after a 401 with a new token.
    async fn send(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        path: &str,
        what: &str,
        add: impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<Response, Error> {
        let host = host_of(&endpoint.base);
        let mut url = endpoint
            .base
            .join(&format!("v2/{repository}/{path}"))
            .map_err(|error| Error::Login { host: host.clone(), why: error.to_string() })?;
        if let Some(namespace) = &endpoint.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        let whom = Whom { base: &endpoint.base, name: &endpoint.name, repository };
        let mut authorization = self.tokens.authorize(whom, None).await?;
        let mut again = true;
        loop {
            let mut request = add(self.client.get(url.clone()));
            if let Some(header) = &authorization.header {
                request = request.header(AUTHORIZATION, header);
            }
            let response = request.send().await.map_err(|error| Error::transport(what, &host, &error))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            // A 401 that another host answered after a redirect says nothing of our login.
            let ours = response.url().host_str() == url.host_str();
            let challenge = parse_challenge(response.headers()).unwrap_or(Challenge::Open);
            if status == StatusCode::UNAUTHORIZED && ours && again && challenge != Challenge::Open {
                again = false;
                authorization = self.tokens.authorize(whom, Some((&authorization, challenge))).await?;
                continue;
            }
            return Err(match refused(what, &host, response).await {
                Error::Denied { what, host, status, said, .. } => {
                    Error::Denied { what, host, status, said, credentials: authorization.from }
                }
                other => other,
            });
        }
    }
}
