//! Logins at a real registry: by docker's and podman's files, by a credential helper, by a token server; and what a wrong one shows.
//!
//! After each run every file that it left, and all that it said, is searched for the secrets.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

use crate::lab::{self, Registry, program};
use crate::real_registry::references;
use crate::upstream::Upstream;
use crate::web::{Reply, Request, Web};
use crate::workplace::{Workplace, words};

const USER: &str = "carrier";
const PASSWORD: &str = "hunter2:with a space&more";

fn base64(bytes: impl AsRef<[u8]>) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A workplace whose images are behind the registry, once one is given.
fn workplace() -> Workplace {
    Workplace::new(&[], &[])
}

/// A registry that [`USER`] may read.
fn guarded(workplace: &Workplace) -> Option<Registry> {
    let htpasswd = program("htpasswd")?;
    let file = workplace.write("htpasswd", lab::run(htpasswd, &["-Bbn", USER, PASSWORD]));
    let registry = Registry::with_passwords(&file)?;
    workplace.define(&references(&registry), &[]);
    Some(registry)
}

fn auths(host: &str, password: &str) -> Value {
    json!({"auths": {host: {"auth": base64(format!("{USER}:{password}"))}}})
}

/// Searches all that a run left and said: lock, bundle (as it is and unpacked), cache, output. What is in `logins` is there to be read.
fn assert_kept(workplace: &Workplace, said: &str, secrets: &[&str]) {
    if workplace.path("real.tar.zst").exists() {
        workplace.unpack();
        assert!(holding(workplace, &["dev.coracle.format"]).contains("./unpacked/blobs/"), "the search finds nothing at all");
    }
    assert_eq!(holding(workplace, secrets), "", "secrets are in these files");
    assert!(!secrets.iter().any(|secret| said.contains(secret)), "{said}");
}

/// The files that hold one of several words.
fn holding(workplace: &Workplace, words: &[&str]) -> String {
    let mut grep = Command::new("grep");
    grep.current_dir(workplace.directory()).args([
        "--recursive",
        "--text",
        "--fixed-strings",
        "--files-with-matches",
        "--exclude-dir=logins",
    ]);
    let found = grep.args(words.iter().flat_map(|word| ["-e", word])).arg(".").output().unwrap();
    assert!(found.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&found.stderr));
    String::from_utf8(found.stdout).unwrap()
}

fn secrets() -> Vec<String> {
    vec![PASSWORD.to_owned(), base64(format!("{USER}:{PASSWORD}")), base64(PASSWORD)]
}

fn assert_no_secret(workplace: &Workplace, said: &str) {
    let secrets = secrets();
    assert_kept(workplace, said, &secrets.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_registry_with_passwords_is_reached_by_the_files_of_docker_and_podman() {
    for (file, variable) in [
        ("logins/.docker/config.json", None),
        ("logins/.config/containers/auth.json", None),
        ("logins/docker/config.json", Some(("DOCKER_CONFIG", "logins/docker"))),
        ("logins/any.json", Some(("REGISTRY_AUTH_FILE", "logins/any.json"))),
        ("logins/run/containers/auth.json", Some(("XDG_RUNTIME_DIR", "logins/run"))),
    ] {
        let workplace = workplace();
        let Some(registry) = guarded(&workplace) else { return };
        workplace.write(file, auths(registry.address(), PASSWORD).to_string());
        let mut create = workplace.create(&["--plain-http", registry.address()]);
        create.env("HOME", workplace.path("logins"));
        if let Some((name, path)) = variable {
            create.env(name, workplace.path(path));
        }
        let output = create.output().unwrap();
        assert!(output.status.success(), "{file}: {}", words(&output));
        assert_no_secret(&workplace, &words(&output));
        let refused = registry.end().into_iter().filter(|line| line.starts_with("401")).collect::<Vec<_>>();
        assert_eq!(refused, ["401 GET /v2/"], "one challenge, and then nothing without a login");
    }
}

#[test]
fn a_login_that_is_wrong_or_missing_is_said_with_its_file_and_without_its_password() {
    let workplace = workplace();
    let Some(registry) = guarded(&workplace) else { return };
    let host = registry.address();
    let create = || {
        let output = workplace.create(&["--plain-http", host]).env("HOME", workplace.path("logins")).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", words(&output));
        assert!(!workplace.path("real.tar.zst").exists() && !workplace.path("coracle.lock").exists());
        words(&output)
    };
    let none = create();
    assert!(none.contains(&format!("hint   no login for `{host}` was found: `podman login {host}` or `docker login {host}`")), "{none}");
    let file = workplace.write("logins/.docker/config.json", auths(host, "swordfish").to_string());
    let wrong = create();
    let expected = format!("hint   the login in {} was sent and does not suffice", file.display());
    assert!(wrong.contains(&expected) && wrong.contains(&format!("`{host}` refuses")) && wrong.contains("(401)"), "{wrong}");
    assert!(!wrong.contains("retrying"), "{wrong}");
    assert_kept(&workplace, &wrong, &["swordfish", &base64(format!("{USER}:swordfish"))]);
    assert_no_secret(&workplace, &wrong);
}

/// `docker-credential-lab`: answers as the helpers of docker do, and writes down what it was asked.
fn helper(workplace: &Workplace, host: &str) -> String {
    let answer = json!({"ServerURL": host, "Username": USER, "Secret": PASSWORD});
    let script = format!(
        "#!/bin/sh\nread -r url\necho \"$1 $url\" >> '{log}'\ncase \"$1 $url\" in\n\
         \"get {host}\") cat '{answer}' ;;\n\
         get*) echo 'credentials not found in native keychain'; exit 1 ;;\n\
         *) echo 'unknown action' >&2; exit 1 ;;\nesac\n",
        log = workplace.write("asked.txt", "").display(),
        answer = workplace.write("logins/answer.json", answer.to_string()).display(),
    );
    let path = workplace.write("logins/bin/docker-credential-lab", script);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    format!("{}:{}", path.parent().unwrap().display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_credential_helper_is_asked_to_get_and_nothing_else_and_once_for_each_repository() {
    for way in ["credHelpers", "credsStore"] {
        let workplace = workplace();
        let Some(registry) = guarded(&workplace) else { return };
        let host = registry.address();
        let path = helper(&workplace, host);
        // With a store docker leaves an empty entry in `auths`: it is no login.
        let config = match way {
            "credHelpers" => json!({"credHelpers": {host: "lab"}}),
            _ => json!({"auths": {host: {}}, "credsStore": "lab"}),
        };
        workplace.write("logins/.docker/config.json", config.to_string());
        let create = |args: &[&str]| {
            let output = workplace.create(args).env("HOME", workplace.path("logins")).env("PATH", &path).output().unwrap();
            (output.status.code(), words(&output))
        };
        let (status, said) = create(&["--plain-http", host]);
        assert_eq!(status, Some(0), "{way}: {said}");
        assert_no_secret(&workplace, &said);
        let asked = std::fs::read_to_string(workplace.path("asked.txt")).unwrap();
        assert_eq!(asked.lines().collect::<BTreeSet<_>>(), BTreeSet::from([format!("get {host}").as_str()]));
        assert_eq!(asked.lines().count(), 3, "a login may be for a part of the repositories, so each is looked up once: {asked}");
    }
}

#[test]
fn a_helper_that_has_no_login_is_no_failure_and_one_that_fails_is_named() {
    let workplace = workplace();
    let Some(registry) = Registry::open() else { return };
    let Some(guarded) = guarded(&workplace) else { return };
    workplace.define(&[registry.image("pause:3")], &[]);
    let path = helper(&workplace, "another.example");
    workplace.write("logins/.docker/config.json", json!({"credsStore": "lab"}).to_string());
    let create = |host: &str, args: &[&str]| {
        let mut create = workplace.create(&["--plain-http", host]);
        let output = create.args(args).env("HOME", workplace.path("logins")).env("PATH", &path).output().unwrap();
        (output.status.code(), words(&output))
    };
    // A registry that asks for no login: the helper is not even asked.
    let (status, said) = create(registry.address(), &[]);
    assert_eq!((status, std::fs::read_to_string(workplace.path("asked.txt")).unwrap().as_str()), (Some(0), ""), "{said}");
    std::fs::remove_file(workplace.path("real.tar.zst")).unwrap();
    std::fs::remove_file(workplace.path("coracle.lock")).unwrap();
    workplace.define(&[guarded.image("pause:3")], &[]);
    let (status, said) = create(guarded.address(), &[]);
    assert!(status == Some(1) && said.contains(&format!("no login for `{}` was found", guarded.address())), "{said}");
    workplace.write("logins/.docker/config.json", json!({"credsStore": "absent"}).to_string());
    let (status, said) = create(guarded.address(), &[]);
    assert!(status == Some(1) && said.contains("`docker-credential-absent`") && said.contains("hint   install"), "{said}");
    let broken = "#!/bin/sh\necho 'half a secret'\necho 'the keychain is locked' >&2\nexit 1\n";
    let broken = workplace.write("logins/bin/docker-credential-broken", broken);
    std::fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    workplace.write("logins/.docker/config.json", json!({"credHelpers": {guarded.address(): "broken"}}).to_string());
    let (status, said) = create(guarded.address(), &[]);
    assert!(status == Some(1) && said.contains("gave no login: the keychain is locked") && !said.contains("half a secret"), "{said}");
}

#[test]
fn a_file_behind_a_password_is_had_by_netrc_and_the_password_goes_nowhere_else() {
    let workplace = workplace();
    let elsewhere = Upstream::start();
    elsewhere.file("/moved", b"the other file");
    let moved = format!("http://{}/moved", elsewhere.address());
    let upstream = Upstream::faulty(move |request: &Request| {
        let expected = format!("Basic {}", base64(format!("{USER}:{PASSWORD}")));
        match (request.header("authorization") == Some(&expected), request.path.as_str()) {
            (false, _) => Some(Reply::status(401).header("WWW-Authenticate", "Basic realm=\"files\"")),
            (true, "/moves") => Some(Reply::status(302).header("Location", &moved)),
            (true, _) => None,
        }
    });
    upstream.file("/tool", b"a tool");
    let host = upstream.address();
    workplace.define(&[], &[format!("http://{host}/tool"), format!("http://{host}/moves")]);
    let create = |args: &[&str]| {
        let output = workplace.create(args).env("HOME", workplace.path("logins")).output().unwrap();
        (output.status.code(), words(&output))
    };
    let netrc =
        |password: &str| workplace.write("logins/.netrc", format!("machine 127.0.0.1\n  login {USER}\n  password \"{password}\"\n"));
    let (status, said) = create(&["--plain-http", host]);
    assert!(status == Some(1) && said.contains(&format!("no login for `{host}` was found")) && said.contains("~/.netrc"), "{said}");
    let file = netrc("swordfish");
    let (status, said) = create(&["--plain-http", host]);
    assert!(status == Some(1) && said.contains(&format!("the login in {} was sent", file.display())), "{said}");
    assert!(!said.contains("swordfish"), "{said}");
    netrc(PASSWORD);
    upstream.requests();
    let (status, said) = create(&[]);
    assert!(status == Some(1) && upstream.requests().iter().all(|request| request.header("authorization").is_none()), "{said}");
    let (status, said) = create(&["--plain-http", host]);
    assert_eq!(status, Some(0), "{said}");
    // The same address with another port is another server.
    let asked = elsewhere.requests();
    assert!(!asked.is_empty() && asked.iter().all(|request| request.header("authorization").is_none()), "{asked:?}");
    assert_no_secret(&workplace, &said);
}

/// A token server as docker's: it knows the password, and signs what the registry believes.
struct TokenServer {
    web: Web,
    sold: Arc<Mutex<Vec<String>>>,
    jwks: PathBuf,
}

/// `lasts`: seconds that a token is good for.
fn token_server(workplace: &Workplace, lasts: u64) -> TokenServer {
    let key = SigningKey::from_slice(&[7; 32]).unwrap();
    let url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let point = key.verifying_key().to_sec1_point(false);
    let (x, y) = (url.encode(point.x().unwrap()), url.encode(point.y().unwrap()));
    let jwks = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "the test", "alg": "ES256", "use": "sig", "x": x, "y": y}]});
    let jwks = workplace.write("jwks.json", jwks.to_string());
    let sold = Arc::new(Mutex::new(Vec::new()));
    let till = Arc::clone(&sold);
    let web = Web::start(move |request: &Request| {
        if request.header("authorization") != Some(&format!("Basic {}", base64(format!("{USER}:{PASSWORD}")))) {
            return Reply::error(401, "UNAUTHORIZED", "incorrect username or password");
        }
        let query = request.path.split_once('?').map_or("", |(_, query)| query).replace("%3A", ":").replace("%2F", "/");
        let scope = query.split('&').find_map(|pair| pair.strip_prefix("scope=")).unwrap();
        let repository = scope.strip_prefix("repository:").and_then(|rest| rest.strip_suffix(":pull")).expect("pull and nothing more");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({
            "iss": "the test", "sub": USER, "aud": "lab", "exp": now + lasts, "nbf": now - 60, "iat": now, "jti": "1",
            "access": [{"type": "repository", "name": repository, "actions": ["pull"]}],
        });
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": "the test"});
        let signed = format!("{}.{}", url.encode(header.to_string()), url.encode(claims.to_string()));
        let signature: Signature = key.sign(signed.as_bytes());
        let token = format!("{signed}.{}", url.encode(signature.to_bytes()));
        till.lock().unwrap().push(token.clone());
        Reply::ok(json!({"token": token, "expires_in": lasts}).to_string())
    });
    TokenServer { web, sold, jwks }
}

#[test]
fn a_registry_that_wants_tokens_takes_those_of_its_token_server() {
    let workplace = workplace();
    let tokens = token_server(&workplace, 300);
    let Some(registry) = Registry::with_tokens(&format!("http://{}/token", tokens.web.address()), &tokens.jwks) else { return };
    workplace.define(&references(&registry), &[]);
    let file = workplace.write("logins/.docker/config.json", auths(registry.address(), PASSWORD).to_string());
    let hosts = [registry.address().to_owned(), tokens.web.address().to_owned()];
    let create = |named: &[String]| {
        let named: Vec<&str> = named.iter().flat_map(|host| ["--plain-http", host]).collect();
        let output = workplace.create(&named).env("HOME", workplace.path("logins")).output().unwrap();
        (output.status.code(), words(&output))
    };
    // The password does not go to a token server over plain HTTP that nobody named.
    let (status, said) = create(&hosts[..1]);
    assert!(status == Some(1) && said.contains("is not HTTPS") && tokens.web.requests().is_empty(), "{said}");
    let (status, said) = create(&hosts);
    assert_eq!(status, Some(0), "{said}");
    let sold = std::mem::take(&mut *tokens.sold.lock().unwrap());
    assert_eq!(sold.len(), 3, "one for each repository");
    let sold: Vec<&str> = sold.iter().map(String::as_str).collect();
    assert_kept(&workplace, &said, &sold);
    assert_no_secret(&workplace, &said);
    std::fs::remove_file(workplace.path("real.tar.zst")).unwrap();
    std::fs::remove_dir_all(workplace.path("cache")).unwrap();
    workplace.write("logins/.docker/config.json", auths(registry.address(), "swordfish").to_string());
    let (status, said) = create(&hosts);
    assert!(status == Some(1) && said.contains("incorrect username or password") && said.contains(file.to_str().unwrap()), "{said}");
    assert!(!said.contains("swordfish") && !said.contains("retrying"), "{said}");
}

#[test]
fn tokens_that_live_a_moment_are_bought_again_and_again() {
    let workplace = workplace();
    let tokens = token_server(&workplace, 0);
    let Some(registry) = Registry::with_tokens(&format!("http://{}/token", tokens.web.address()), &tokens.jwks) else { return };
    workplace.define(&[registry.image("pause:3")], &[]);
    workplace.write("logins/.docker/config.json", auths(registry.address(), PASSWORD).to_string());
    let named = ["--plain-http", registry.address(), "--plain-http", tokens.web.address()];
    let output = workplace.create(&named).env("HOME", workplace.path("logins")).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let asked = registry.end().into_iter().filter(|line| line.starts_with("200 ") && !line.ends_with(" /v2/")).count();
    assert_eq!(tokens.sold.lock().unwrap().len(), asked, "one for each answer");
}
