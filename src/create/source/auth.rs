//! Logging in to registries: challenges (RFC 9110, 11.3) and bearer tokens (distribution's `docs/content/spec/auth/token.md`).
//!
//! ```text
//! first use of a host ── GET /v2/ ── 200: nothing asked │ 401: Challenge ── Basic: login in each request
//!                                                                       └─ Bearer: one token per repository, bought once however many
//!                                                                          wait for it, again before it expires, and again on a 401
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};
use url::Url;

use super::client::{HttpClient, host_of, read_limited, refused};
use super::credentials::{Credentials, Found};
use super::secret::{Login, Secret};
use super::token_v2::TokenAnswer;
use super::{Error, Failure, credentials};

/// A token without `expires_in` lives this long (token.md, "Requesting a Token").
const DEFAULT_LIFE: Duration = Duration::from_mins(1);
/// No token server's answer is larger.
const TOKEN_LIMIT: u64 = 1 << 20;

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// Nothing.
    Open,
    /// Name and password in each request.
    Basic,
    /// A token from this server.
    Bearer {
        /// Where tokens are had.
        realm: String,
        /// What the registry calls itself there.
        service: Option<String>,
    },
}

/// A token, and until when it is used.
#[derive(Debug, Clone)]
struct Token {
    secret: Secret,
    until: Instant,
}

/// What to send with a request, and what is needed to do better after a 401.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// The header's value, marked sensitive; `None`: nothing to send.
    pub header: Option<HeaderValue>,
    /// Where the login behind it came from.
    pub from: Option<String>,
}

type LoginSlot = Arc<OnceCell<Option<Found>>>;
type TokenSlot = Arc<AsyncMutex<Option<Token>>>;

/// What a host asked for, or why it could not be asked. Who waited while it was asked in vain shares the failure: a host that swallows
/// connections costs one time-out, not one for each image.
#[derive(Debug, Default)]
struct Asked {
    failures: AtomicU64,
    answer: AsyncMutex<Option<Result<Challenge, Failure>>>,
}

/// Challenges and tokens of a run.
#[derive(Debug)]
pub struct Tokens {
    client: HttpClient,
    credentials: Arc<Credentials>,
    challenges: Mutex<BTreeMap<String, Arc<Asked>>>,
    bought: Mutex<BTreeMap<(String, String), TokenSlot>>,
    logins: Mutex<BTreeMap<(String, String), LoginSlot>>,
}

/// Whom to log in to: the registry's base URL, its name in login files, and the repository.
#[derive(Debug, Clone, Copy)]
pub struct Whom<'a> {
    /// `https://registry.example/`, or a mirror with a path.
    pub base: &'a Url,
    /// `docker.io`, not the host that serves it.
    pub name: &'a str,
    /// The repository.
    pub repository: &'a str,
}

impl Tokens {
    /// No challenge seen yet.
    pub fn new(client: HttpClient, credentials: Arc<Credentials>) -> Self {
        Self { client, credentials, challenges: Mutex::default(), bought: Mutex::default(), logins: Mutex::default() }
    }

    /// What to send with a request. After a 401, `rejected` holds what was sent and the challenge that came back.
    pub async fn authorize(&self, whom: Whom<'_>, rejected: Option<(&Authorization, Challenge)>) -> Result<Authorization, Error> {
        let (challenge, old) = match rejected {
            Some((old, challenge)) => (challenge, old.header.as_ref()),
            None => (self.challenge(whom).await?, None),
        };
        match challenge {
            Challenge::Open => Ok(Authorization { header: None, from: None }),
            Challenge::Basic => {
                let found = self.login(whom).await?;
                let header = match found.as_ref().map(|found| &found.login) {
                    Some(Login::Password { user, password }) => Some(basic(user, password)),
                    Some(Login::Identity(_)) => {
                        return Err(login_error(whom, "it asks for a name and password, and an identity token is configured"));
                    }
                    None => None,
                };
                Ok(Authorization { header, from: found.map(|found| found.from) })
            }
            Challenge::Bearer { realm, service } => self.bearer(whom, &realm, service.as_deref(), old).await,
        }
    }

    /// What the host asked for when it was first seen; asked once, however many wait.
    async fn challenge(&self, whom: Whom<'_>) -> Result<Challenge, Error> {
        let asked = slot(&self.challenges, whom.base.to_string());
        let failures = asked.failures.load(Ordering::SeqCst);
        let mut answer = asked.answer.lock().await;
        let (what, host) = (format!("{}/{}", whom.name, whom.repository), host_of(whom.base));
        match &*answer {
            Some(Ok(challenge)) => return Ok(challenge.clone()),
            Some(Err(source)) if asked.failures.load(Ordering::SeqCst) > failures => {
                return Err(Error::Transport { what, host, source: source.clone() });
            }
            _ => {}
        }
        let url = whom.base.join("v2/").map_err(|error| login_error(whom, &error.to_string()))?;
        let response = match self.client.get(url).send().await {
            Ok(response) => response,
            Err(error) => {
                let source = Failure::of(&error);
                *answer = Some(Err(source.clone()));
                asked.failures.fetch_add(1, Ordering::SeqCst);
                return Err(Error::Transport { what, host, source });
            }
        };
        let challenge = match response.status().as_u16() {
            401 => parse_challenge(response.headers()).ok_or_else(|| login_error(whom, "it asks for neither Basic nor Bearer"))?,
            408 | 429 | 500..=599 => return Err(refused(&what, &host, response).await),
            _ => Challenge::Open,
        };
        *answer = Some(Ok(challenge.clone()));
        Ok(challenge)
    }

    async fn login(&self, whom: Whom<'_>) -> Result<Option<Found>, Error> {
        let cell = slot(&self.logins, (whom.name.to_owned(), whom.repository.to_owned()));
        let find = async || -> Result<Option<Found>, Error> {
            let credentials = Arc::clone(&self.credentials);
            let (name, repository) = (whom.name.to_owned(), whom.repository.to_owned());
            let found: Result<_, credentials::Error> = tokio::task::spawn_blocking(move || credentials.find(&name, &repository))
                .await
                .map_err(|_| Error::Ended { what: format!("login to {}", whom.name) })?;
            Ok(found?)
        };
        cell.get_or_try_init(find).await.cloned()
    }

    async fn bearer(
        &self,
        whom: Whom<'_>,
        realm: &str,
        service: Option<&str>,
        rejected: Option<&HeaderValue>,
    ) -> Result<Authorization, Error> {
        let slot = slot(&self.bought, (whom.base.to_string(), whom.repository.to_owned()));
        // Whoever holds this lock buys the token; the others wait for it and find it here.
        let mut held = slot.lock().await;
        let login = self.login(whom).await?;
        let from = login.as_ref().map(|found| found.from.clone());
        if let Some(token) = held.as_ref().filter(|token| token.until > Instant::now()) {
            let header = bearer_header(whom, &token.secret)?;
            if rejected != Some(&header) {
                return Ok(Authorization { header: Some(header), from });
            }
        }
        let token = self.buy(whom, realm, service, login.as_ref()).await?;
        let header = bearer_header(whom, &token.secret)?;
        *held = Some(token);
        Ok(Authorization { header: Some(header), from })
    }

    async fn buy(&self, whom: Whom<'_>, realm: &str, service: Option<&str>, login: Option<&Found>) -> Result<Token, Error> {
        let mut url = Url::parse(realm).map_err(|_| login_error(whom, "its token server is no URL"))?;
        let plain = url.scheme() == "http" && self.client.is_plain(url.host_str().unwrap_or_default(), url.port_or_known_default());
        if url.scheme() != "https" && !plain {
            return Err(login_error(whom, &format!("its token server `{}` is not HTTPS", host_of(&url))));
        }
        let host = host_of(&url);
        let what = format!("token for {}/{}", whom.name, whom.repository);
        let scope = format!("repository:{}:pull", whom.repository);
        let request = match login.map(|found| &found.login) {
            Some(Login::Identity(token)) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.append_pair("grant_type", "refresh_token").append_pair("client_id", "coracle").append_pair("scope", &scope);
                if let Some(service) = service {
                    form.append_pair("service", service);
                }
                form.append_pair("refresh_token", token.reveal());
                let form = form.finish();
                self.client.staying().post(url).header("content-type", "application/x-www-form-urlencoded").body(form)
            }
            other => {
                if let Some(service) = service {
                    url.query_pairs_mut().append_pair("service", service);
                }
                url.query_pairs_mut().append_pair("scope", &scope);
                let request = self.client.staying().get(url);
                match other {
                    Some(Login::Password { user, password }) => request.header("authorization", basic(user, password)),
                    _ => request,
                }
            }
        };
        let bought = Instant::now();
        let response = request.send().await.map_err(|error| Error::transport(&what, &host, &error))?;
        if !response.status().is_success() {
            return Err(match refused(&what, &host, response).await {
                Error::Denied { what, host, status, said, .. } => {
                    Error::Denied { what, host, status, said, credentials: login.map(|found| found.from.clone()) }
                }
                other => other,
            });
        }
        let body = read_limited(&what, &host, response, TOKEN_LIMIT).await?;
        let answer: TokenAnswer =
            serde_json::from_slice(&body).map_err(|_| login_error(whom, &format!("its token server `{host}` gave no token")))?;
        answer.token(bought).ok_or_else(|| login_error(whom, &format!("its token server `{host}` gave no token")))
    }
}

fn slot<K: Ord, V: Default>(map: &Mutex<BTreeMap<K, Arc<V>>>, key: K) -> Arc<V> {
    Arc::clone(map.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default())
}

impl TokenAnswer {
    /// The token, used until shortly before it expires: a request takes a while to arrive.
    fn token(self, bought: Instant) -> Option<Token> {
        let secret = self.token.or(self.access_token).filter(|secret| !secret.reveal().is_empty())?;
        let life = self.expires_in.map_or(DEFAULT_LIFE, |seconds| Duration::from_secs(seconds.min(86400)));
        let until = bought + life.saturating_sub((life / 4).min(Duration::from_secs(10)));
        Some(Token { secret, until })
    }
}

fn login_error(whom: Whom<'_>, why: &str) -> Error {
    Error::Login { host: whom.name.to_owned(), why: why.to_owned() }
}

/// `Authorization: Basic …` (RFC 7617).
pub fn basic(user: &str, password: &Secret) -> HeaderValue {
    let text = zeroize::Zeroizing::new(format!("{user}:{}", password.reveal()));
    let encoded = base64::engine::general_purpose::STANDARD.encode(text.as_bytes());
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).expect("base64 is ASCII");
    value.set_sensitive(true);
    value
}

fn bearer_header(whom: Whom<'_>, token: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
        .map_err(|_| login_error(whom, "its token has characters that cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What a 401 asks for: Bearer before Basic, as docker chooses.
pub fn parse_challenge(headers: &HeaderMap) -> Option<Challenge> {
    let challenges: Vec<&str> = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
    let scheme = |value: &str| value.split_once(' ').map_or(value, |(scheme, _)| scheme).to_ascii_lowercase();
    for value in &challenges {
        if scheme(value) == "bearer" {
            let parameters = parameters(value.split_once(' ').map_or("", |(_, rest)| rest));
            let realm = parameters.get("realm")?.clone();
            return Some(Challenge::Bearer { realm, service: parameters.get("service").cloned() });
        }
    }
    challenges.iter().any(|value| scheme(value) == "basic").then_some(Challenge::Basic)
}

/// `a=b, c="d, \"e\""` (RFC 9110, 11.2).
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while let Some((name, after)) = rest.split_once('=') {
        let mut value = String::new();
        let mut end = after.len();
        if let Some(quoted) = after.strip_prefix('"') {
            let mut characters = quoted.char_indices();
            while let Some((at, character)) = characters.next() {
                match character {
                    '"' => {
                        end = at + 2;
                        break;
                    }
                    '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                    other => value.push(other),
                }
            }
        } else {
            end = after.find(',').unwrap_or(after.len());
            after[..end].trim().clone_into(&mut value);
        }
        found.insert(name.trim().to_ascii_lowercase(), value);
        rest = after[end..].trim_start_matches([' ', ',']);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_registries_ask_for() {
        let bearer =
            |realm: &str, service: Option<&str>| Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) });
        for (values, expected) in [
            (
                vec![r#"Bearer realm="https://a.example/t",service="b",scope="repository:x:pull,push""#],
                bearer("https://a.example/t", Some("b")),
            ),
            (vec![r#"bearer scope="x, y=z", realm="https://a.example/t\"q""#], bearer("https://a.example/t\"q", None)),
            (vec![r#"Basic realm="x""#, "Bearer realm=https://a.example/t , service=b"], bearer("https://a.example/t", Some("b"))),
            (vec![r#"Basic realm="x""#], Some(Challenge::Basic)),
            (vec!["Negotiate"], None),
            (vec!["Bearer"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(parse_challenge(&headers), expected, "{values:?}");
        }
    }

    #[test]
    fn no_header_that_is_sent_shows_in_debug() {
        let header = basic("user", &Secret::new("hunter2"));
        assert!(!format!("{header:?}").contains("aHVudGVy") && header.is_sensitive());
    }
}
