//! Files by URL.

use reqwest::Response;
use reqwest::header::{AUTHORIZATION, IF_RANGE, RANGE};
use url::Url;

use super::auth::basic;
use super::client::{HttpClient, body_of, host_of, refused};
use super::netrc::Netrc;
use super::secret::Login;
use super::{Body, Error};

/// Files on web servers.
#[derive(Debug)]
pub struct Files {
    client: HttpClient,
    netrc: Netrc,
}

impl Files {
    /// Logins come from `netrc`.
    pub fn new(client: HttpClient, netrc: Netrc) -> Self {
        Self { client, netrc }
    }

    /// The size that a server states; `None` where it states none.
    pub async fn size(&self, url: &Url) -> Result<Option<u64>, Error> {
        match self.send(url, self.client.head(url.clone())).await {
            Ok(response) => Ok(stated_length(&response)),
            // Not every server knows HEAD: the headers of a GET, whose body is not read, say the same.
            Err(Error::Status { status: 400 | 404 | 405 | 501, .. } | Error::Denied { status: 403, .. }) => {
                Ok(stated_length(&self.send(url, self.client.get(url.clone())).await?))
            }
            Err(error) => Err(error),
        }
    }

    /// A file from `offset` on. With `etag`, a server whose file has changed since sends it from the beginning.
    pub async fn open(&self, url: &Url, offset: u64, etag: Option<&str>) -> Result<Body, Error> {
        let what = url.as_str();
        let mut request = self.client.get(url.clone());
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
            if let Some(etag) = etag {
                request = request.header(IF_RANGE, etag);
            }
        }
        match self.send(url, request).await {
            Err(Error::Status { status: 416, .. }) => {
                let response = self.send(url, self.client.get(url.clone())).await?;
                body_of(what, &host_of(url), response, 0)
            }
            response => body_of(what, &host_of(url), response?, offset),
        }
    }

    async fn send(&self, url: &Url, request: reqwest::RequestBuilder) -> Result<Response, Error> {
        let host = host_of(url);
        let login = self.login(url);
        let request = match login {
            Some(Login::Password { user, password }) => request.header(AUTHORIZATION, basic(user, password)),
            _ => request,
        };
        let response = request.send().await.map_err(|error| Error::transport(url.as_str(), &host, &error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(match refused(url.as_str(), &host, response).await {
            Error::Denied { what, host, status, said, .. } => {
                Error::Denied { what, host, status, said, credentials: login.map(|_| self.netrc.path()) }
            }
            other => other,
        })
    }

    /// The login for a URL. Over plain HTTP none is sent, unless the host is named as one for plain HTTP.
    fn login(&self, url: &Url) -> Option<&Login> {
        let host = url.host_str()?;
        let may_see = url.scheme() == "https" || self.client.is_plain(host, url.port_or_known_default());
        may_see.then(|| self.netrc.find(host, url.port_or_known_default())).flatten()
    }
}

/// reqwest's `content_length` is that of the body, which is empty for HEAD: the header is what counts.
fn stated_length(response: &Response) -> Option<u64> {
    response.headers().get("content-length")?.to_str().ok()?.parse().ok()
}
