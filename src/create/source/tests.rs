use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;

use super::server::{Content, Reply, Request, Server};
use super::*;
use crate::event::Event;
use crate::fs;

/// Keeps events.
#[derive(Default)]
pub struct Recorder(pub Mutex<Vec<Event>>);

impl Observer for Recorder {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

pub const QUICK: Patience = Patience {
    tries: 4,
    tries_unreached: 4,
    first: Duration::from_millis(1),
    longest: Duration::from_millis(2),
    longest_asked: Duration::from_millis(5),
};

const PASSWORD: &str = "hunter2-password";

fn options(server: &Server) -> SourceOptions {
    SourceOptions { plain_http: vec![server.host.clone()], ..SourceOptions::default() }
}

fn sources(options: SourceOptions) -> Sources {
    Sources::new(options).unwrap().patient(QUICK)
}

/// A login file with one login, and an environment that names it.
fn login(host: &str, entry: &serde_json::Value) -> (tempfile::TempDir, Environment) {
    let directory = tempfile::tempdir().unwrap();
    let json = serde_json::json!({"auths": {host: entry}}).to_string();
    fs::write_atomic(&directory.path().join("config.json"), json.as_bytes(), 0o600).unwrap();
    let environment = Environment { docker_config: Some(directory.path().to_owned()), ..Environment::default() };
    (directory, environment)
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn reference(server: &Server, name: &str) -> ImageReference {
    format!("{}/{name}", server.host).parse().unwrap()
}

fn content() -> Content {
    Content::default().manifest("a/b", b"{}", Some("1"))
}

#[tokio::test]
async fn gives_the_registrys_own_words_when_a_tag_is_missing() {
    let server = Server::start(content(), |_| None).await;
    let wanted = reference(&server, "a/b:9");
    let recorder = Recorder::default();
    let error = sources(options(&server)).manifest(&wanted, &recorder).await.unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` answered 404 for `{wanted}`: MANIFEST_UNKNOWN: manifest unknown", server.host));
    assert_eq!(*recorder.0.lock().unwrap(), []);
}

#[tokio::test]
async fn plain_http_is_for_hosts_that_were_named() {
    let server = Server::start(content(), |_| None).await;
    let unnamed = sources(SourceOptions::default());
    let recorder = Recorder::default();
    let error = unnamed.manifest(&reference(&server, "a/b:1"), &recorder).await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }) && !error.is_transient(), "{error:?}");
    assert_eq!(*recorder.0.lock().unwrap(), [], "asking again would change nothing");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn waits_as_the_registry_asks_and_tries_again() {
    let server = Server::start(content(), |request: &Request| match (request.path.as_str(), request.before) {
        ("/v2/a/b/manifests/1", 0) => Some(Reply::error(429, "TOOMANYREQUESTS", "slow down").header("retry-after", "1")),
        ("/v2/a/b/manifests/1", 1) => Some(Reply::status(503)),
        _ => None,
    })
    .await;
    let recorder = Recorder::default();
    let wanted = reference(&server, "a/b:1");
    let patience = Patience { longest_asked: Duration::from_secs(1), ..QUICK };
    let sources = Sources::new(options(&server)).unwrap().patient(patience);
    assert_eq!(sources.manifest(&wanted, &recorder).await.unwrap(), b"{}");
    let retry = |cause: String, after| Event::Retrying { what: wanted.to_string(), cause, after };
    let host = &server.host;
    assert_eq!(
        *recorder.0.lock().unwrap(),
        [
            retry(format!("`{host}` answered 429 for `{wanted}`: TOOMANYREQUESTS: slow down"), Duration::from_secs(1)),
            retry(format!("`{host}` answered 503 for `{wanted}`: Service Unavailable"), Duration::from_millis(2)),
        ]
    );
}

#[tokio::test]
async fn a_host_that_nobody_listens_at_is_given_up_soon_and_one_that_answered_before_is_waited_for() {
    let server = Server::start(content(), |_| None).await;
    let patience = Patience { tries: 5, tries_unreached: 2, ..QUICK };
    let wanted = reference(&server, "a/b:1");
    let (fresh, known) =
        (Sources::new(options(&server)).unwrap().patient(patience), Sources::new(options(&server)).unwrap().patient(patience));
    known.manifest(&wanted, &Recorder::default()).await.unwrap();
    drop(server);
    for (sources, retries) in [(fresh, 1), (known, 4)] {
        let recorder = Recorder::default();
        let error = sources.manifest(&wanted, &recorder).await.unwrap_err();
        assert_eq!(recorder.0.lock().unwrap().len(), retries, "{error:?}");
        let said = error.in_one_line();
        assert!(said.starts_with("cannot get `127.0.0.1:") && said.ends_with("Connection refused (os error 111)"), "{said}");
    }
}

#[tokio::test]
async fn who_waited_while_a_host_was_asked_in_vain_shares_the_failure() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    let sources = Sources::new(SourceOptions { plain_http: vec![host.clone()], ..SourceOptions::default() }).unwrap();
    let sources = sources.patient(Patience { tries: 1, ..QUICK });
    let wanted: Vec<ImageReference> = (1..=6).map(|n| format!("{host}/a/b:{n}").parse().unwrap()).collect();
    let observer = Recorder::default();
    let answers = futures_util::future::join_all(wanted.iter().map(|wanted| sources.manifest(wanted, &observer))).await;
    task.abort();
    assert!(answers.iter().all(|answer| matches!(answer, Err(Error::Transport { .. }))), "{answers:?}");
    assert_eq!(accepted.load(Ordering::SeqCst), 1, "each of six waited for a time-out of its own");
}

#[tokio::test]
async fn the_digest_in_a_reference_decides_whatever_a_header_says() {
    let digest = Digest::of(b"{}");
    let server = Server::start(content(), move |request: &Request| {
        let path = format!("/v2/a/b/manifests/{digest}");
        (request.path == path).then(|| Reply::ok("{ }").header("docker-content-digest", &digest.to_string()))
    })
    .await;
    let wanted = reference(&server, &format!("a/b:1@{digest}"));
    let recorder = Recorder::default();
    let error = sources(options(&server)).manifest(&wanted, &recorder).await.unwrap_err();
    let mismatch = Mismatch::Digest { got: Digest::of(b"{ }"), expected: digest };
    assert!(matches!(&error, Error::Wrong { source, .. } if *source == mismatch), "{error:?}");
    assert_eq!(recorder.0.lock().unwrap().len(), 1, "wrong bytes are asked for once more and no oftener");
}

/// A registry that wants bearer tokens, and sells them to those who know the password. A token is good for `uses` requests.
async fn token_registry(uses: usize, lasts: u64) -> (Server, Arc<AtomicUsize>) {
    let sold = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sold);
    let used = Mutex::new(BTreeMap::<String, usize>::new());
    let content = content().manifest("a/b", b"{\"n\":2}", Some("2")).manifest("a/b", b"{\"n\":3}", Some("3"));
    let server = Server::start(content, move |request: &Request| {
        let host = request.header("host").unwrap_or_default();
        if request.path.starts_with("/token") {
            let expected = format!("Basic {}", base64(&format!("user:{PASSWORD}")));
            let by_password = request.header("authorization") == Some(&expected);
            let by_refresh = request.method == "POST" && request.body.contains(&format!("refresh_token={PASSWORD}"));
            if !by_password && !by_refresh {
                return Some(Reply::error(401, "UNAUTHORIZED", "incorrect username or password"));
            }
            let n = counter.fetch_add(1, Ordering::SeqCst);
            return Some(Reply::ok(serde_json::json!({"access_token": format!("hunter2-token-{n}"), "expires_in": lasts}).to_string()));
        }
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test\"");
        let refused = || Some(Reply::error(401, "UNAUTHORIZED", "authentication required").header("www-authenticate", &challenge));
        let Some(token) = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) else { return refused() };
        let mut used = used.lock().unwrap();
        let count = used.entry(token.to_owned()).or_default();
        *count += 1;
        if *count > uses { refused() } else { None }
    })
    .await;
    (server, sold)
}

#[tokio::test]
async fn one_token_is_bought_however_many_wait_for_it() {
    let (server, sold) = token_registry(100, 300).await;
    let (_directory, environment) = login(&server.host, &serde_json::json!({"auth": base64(&format!("user:{PASSWORD}"))}));
    let sources = sources(SourceOptions { environment, ..options(&server) });
    let observer = Recorder::default();
    let wanted: Vec<ImageReference> = (1..=3).map(|tag| reference(&server, &format!("a/b:{tag}"))).collect();
    let answers = futures_util::future::join_all(wanted.iter().map(|wanted| sources.manifest(wanted, &observer))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(sold.load(Ordering::SeqCst), 1);
    assert_eq!(server.requests().iter().filter(|request| request.path == "/v2/").count(), 1);
}

#[tokio::test]
async fn a_token_that_is_refused_in_the_middle_is_replaced() {
    let (server, sold) = token_registry(1, 300).await;
    let (_directory, environment) = login(&server.host, &serde_json::json!({"identitytoken": PASSWORD}));
    let sources = sources(SourceOptions { environment, ..options(&server) });
    for tag in 1..=3 {
        sources.manifest(&reference(&server, &format!("a/b:{tag}")), &Recorder::default()).await.unwrap();
    }
    assert_eq!(sold.load(Ordering::SeqCst), 3);
    assert!(server.requests().iter().filter(|request| request.path.starts_with("/token")).all(|request| request.method == "POST"));
}

#[tokio::test]
async fn a_token_that_has_expired_is_not_sent() {
    let (server, sold) = token_registry(100, 0).await;
    let (_directory, environment) = login(&server.host, &serde_json::json!({"auth": base64(&format!("user:{PASSWORD}"))}));
    let sources = sources(SourceOptions { environment, ..options(&server) });
    for tag in 1..=3 {
        sources.manifest(&reference(&server, &format!("a/b:{tag}")), &Recorder::default()).await.unwrap();
    }
    assert_eq!(sold.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_wrong_password_is_refused_with_the_servers_words_and_the_file_that_has_it() {
    let (server, _) = token_registry(100, 300).await;
    let (directory, environment) = login(&server.host, &serde_json::json!({"auth": base64("user:wrong-hunter2")}));
    let sources = sources(SourceOptions { environment, ..options(&server) });
    let error = sources.manifest(&reference(&server, "a/b:1"), &Recorder::default()).await.unwrap_err();
    let from = directory.path().join("config.json").display().to_string();
    match &error {
        Error::Denied { said, credentials, status: 401, .. } => {
            assert_eq!((said.as_str(), credentials.as_ref()), ("UNAUTHORIZED: incorrect username or password", Some(&from)));
        }
        other => panic!("{other:?}"),
    }
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[tokio::test]
async fn a_registry_with_basic_logins_takes_them_from_a_helper() {
    let server = Server::start(content(), |request: &Request| {
        let expected = format!("Basic {}", base64(&format!("helped:{PASSWORD}")));
        let refused = || Reply::error(401, "UNAUTHORIZED", "authentication required").header("www-authenticate", "Basic realm=\"x\"");
        (request.header("authorization") != Some(&expected)).then(refused)
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = get ] && [ \"$(cat)\" = '{}' ] && echo '{{\"Username\":\"helped\",\"Secret\":\"{PASSWORD}\"}}'\n",
        server.host
    );
    fs::write_atomic(&directory.path().join("docker-credential-script"), script.as_bytes(), 0o755).unwrap();
    let wanted = reference(&server, "a/b:1");
    for config in [serde_json::json!({"credHelpers": {&server.host: "script"}}), serde_json::json!({"credsStore": "script"})] {
        fs::write_atomic(&directory.path().join("config.json"), config.to_string().as_bytes(), 0o600).unwrap();
        let path = Some(directory.path().as_os_str().to_owned());
        let environment = Environment { docker_config: Some(directory.path().to_owned()), path, ..Environment::default() };
        let sources = sources(SourceOptions { environment, ..options(&server) });
        assert_eq!(sources.manifest(&wanted, &Recorder::default()).await.unwrap(), b"{}", "{config}");
    }
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let elsewhere = Server::start(Content::default().file("/blob", b"layer"), |_| None).await;
    let target = elsewhere.url("/blob?signature=hunter2").to_string();
    let digest = Digest::of(b"layer");
    let server = Server::start(content(), move |request: &Request| {
        if request.header("authorization").is_none() {
            return Some(Reply::status(401).header("www-authenticate", "Basic realm=\"x\""));
        }
        request.path.contains("/blobs/").then(|| Reply::status(307).header("location", &target))
    })
    .await;
    let (_directory, environment) = login(&server.host, &serde_json::json!({"auth": base64(&format!("user:{PASSWORD}"))}));
    let sources =
        sources(SourceOptions { environment, plain_http: vec![server.host.clone(), elsewhere.host.clone()], ..SourceOptions::default() });
    let bytes = sources.document(&reference(&server, "a/b:1"), &Descriptor::new("x", digest, 5), &Recorder::default()).await.unwrap();
    assert_eq!(bytes, b"layer");
    assert_eq!(elsewhere.headers("/blob?signature=hunter2", "authorization"), [None]);
    assert!(server.requests().iter().any(|request| request.header("authorization").is_some()));
}

#[tokio::test]
async fn a_mirror_is_asked_instead_and_told_for_whom() {
    let server = Server::start(Content::default().file("/proxy/v2/a/b/manifests/1", b"{}"), |_| None).await;
    let mirrors = vec![("registry.example".to_owned(), server.url("/proxy"))];
    let sources = sources(SourceOptions { mirrors, ..SourceOptions::default() });
    let found = sources.manifest(&"registry.example/a/b:1".parse().unwrap(), &Recorder::default()).await.unwrap();
    assert_eq!(found, b"{}");
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/proxy/v2/", "/proxy/v2/a/b/manifests/1?ns=registry.example"]);
}

#[tokio::test]
async fn files_take_logins_from_netrc_and_send_them_over_plain_http_only_where_it_is_named() {
    let server = Server::start(Content::default().file("/f", b"12345"), |_| None).await;
    let directory = tempfile::tempdir().unwrap();
    let netrc = directory.path().join("netrc");
    fs::write_atomic(&netrc, format!("machine 127.0.0.1 login user password {PASSWORD}\n").as_bytes(), 0o600).unwrap();
    let environment = Environment { netrc: Some(netrc), ..Environment::default() };
    let url = server.url("/f");
    for plain_http in [vec![], vec![server.host.clone()]] {
        let sources = sources(SourceOptions { environment: environment.clone(), plain_http, ..SourceOptions::default() });
        assert_eq!(sources.size(&url, &Recorder::default()).await.unwrap(), Some(5));
    }
    let sent = format!("Basic {}", base64(&format!("user:{PASSWORD}")));
    assert_eq!(server.headers("/f", "authorization"), [None, Some(sent)]);
}

#[tokio::test]
async fn a_document_that_is_too_large_is_not_read() {
    let server = Server::start(content(), |request: &Request| {
        request.path.contains("/manifests/").then(|| Reply::ok("").header("content-length", "99999999999").cut(0))
    })
    .await;
    let error = sources(options(&server)).manifest(&reference(&server, "a/b:1"), &Recorder::default()).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: DOCUMENT_LIMIT, .. }), "{error:?}");
}

/// Everything that a run could show to somebody: errors in both forms, the sources themselves, events.
async fn shown(sources: &Sources, server: &Server, recorder: &Recorder) -> String {
    let wanted = Descriptor::new("x", Digest::of(b"layer"), 5);
    let manifest = sources.manifest(&reference(server, "a/b:1"), recorder).await.unwrap_err();
    let blob = sources.document(&reference(server, "a/b:1"), &wanted, recorder).await.unwrap_err();
    // To HEAD, a body that is cut is no failure.
    let file = sources.size(&server.url("/f"), recorder).await.err();
    let errors: Vec<String> =
        [manifest, blob].iter().chain(&file).map(|error| format!("{error} {error:?} {error:#?} {}", error.in_one_line())).collect();
    format!("{errors:?} {sources:?} {:?}", recorder.0.lock().unwrap())
}

/// A registry that sells a token and then fails in one of several ways.
async fn failing_server(token: String, failure: usize) -> Server {
    Server::start(content(), move |request: &Request| {
        let host = request.header("host").unwrap_or_default();
        let challenge = format!("Bearer realm=\"http://{host}/token\"");
        match request.path.as_str() {
            path if path.starts_with("/token") => Some(Reply::ok(serde_json::json!({"token": token}).to_string())),
            _ if request.header("authorization").is_none() => Some(Reply::status(401).header("www-authenticate", &challenge)),
            _ => Some(match failure {
                0 => Reply::error(403, "DENIED", "no access"),
                1 => Reply::error(503, "UNAVAILABLE", "later"),
                2 => Reply::ok("").header("content-length", "9").cut(0),
                // A redirect to where nobody listens, with a signature in it.
                3 => Reply::status(307).header("location", &format!("http://127.0.0.1:1/?signature={token}")),
                _ => Reply::status(401).header("www-authenticate", &challenge),
            }),
        }
    })
    .await
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    #[test]
    fn no_secret_shows_in_errors_events_or_debug(
        password in "[A-Za-z0-9+/]{12,20}",
        token in "[A-Za-z0-9._]{12,20}",
        identity in proptest::bool::ANY,
        failure in 0..5usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let shown = runtime.block_on(async {
            let server = failing_server(token.clone(), failure).await;
            let entry = if identity {
                serde_json::json!({"identitytoken": password})
            } else {
                serde_json::json!({"auth": base64(&format!("user:{password}"))})
            };
            let (directory, mut environment) = login(&server.host, &entry);
            let netrc = directory.path().join("netrc");
            fs::write_atomic(&netrc, format!("machine 127.0.0.1 login user password {password}\n").as_bytes(), 0o600).unwrap();
            environment.netrc = Some(netrc);
            let plain_http = vec![server.host.clone(), "127.0.0.1".to_owned()];
            let sources = sources(SourceOptions { plain_http, environment, ..SourceOptions::default() });
            shown(&sources, &server, &Recorder::default()).await
        });
        for secret in [&password, &token, &base64(&format!("user:{password}"))] {
            proptest::prop_assert!(!shown.contains(secret.as_str()), "{secret} in {shown}");
        }
    }
}
