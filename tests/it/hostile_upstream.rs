//! `coracle create` from an upstream that refuses, cuts, lies or changes: what is said, what is asked again, and what is kept.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use coracle::types::Digest;
use serde_json::json;

use crate::upstream::{Upstream, gzip, noise};
use crate::web::{Reply, Request};
use crate::workplace::{Workplace, words};

/// The layer of [`upstream`]'s image that both platforms share, as it is served.
fn layer() -> Vec<u8> {
    gzip(&noise(1, 2_000_000))
}

fn layer_path() -> String {
    format!("/v2/team/web/blobs/{}", Digest::of(&layer()))
}

/// An upstream with `team/web:1.0` and `/tool`, and faults, and a workplace whose package is both.
fn upstream(fault: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> (Upstream, Workplace) {
    let upstream = Upstream::faulty(fault);
    let image = upstream.image("team/web", "1.0", 1, 2_000_000);
    upstream.file("/tool", &noise(5, 700_000));
    upstream.requests();
    let workplace = Workplace::new(&[image], &[format!("http://{}/tool", upstream.address())]);
    (upstream, workplace)
}

/// Everything below a directory that is not empty, by what its path ends with.
fn kept(workplace: &Workplace, what: &str) -> bool {
    let found = Command::new("find").arg(workplace.path("cache")).args(["-size", "+0", "-name", &format!("*{what}*")]).output().unwrap();
    !found.stdout.is_empty()
}

#[test]
fn waits_as_it_is_asked_to_and_goes_on_after_each_kind_of_failure() {
    let path = layer_path();
    let served = layer();
    let (upstream, workplace) = upstream(move |request: &Request| match (request.path.as_str(), request.before) {
        ("/v2/", 0) => Some(Reply::status(503)),
        ("/v2/team/web/manifests/1.0", 0) => Some(Reply::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "2")),
        ("/tool", 0) if request.method == "GET" => Some(Reply::ranged(request, &noise(5, 700_000)).header("ETag", "\"1\"").cut(300_000)),
        ("/tool", _) => Some(Reply::ranged(request, &noise(5, 700_000)).header("ETag", "\"1\"")),
        (asked, before @ 0..3) if asked == path => Some(Reply::ranged(request, &served).cut(600_000 + before)),
        (asked, 3) if asked == path => Some(Reply::status(502)),
        _ => None,
    });
    let said = workplace.created(&["--plain-http", upstream.address()]);
    assert!(said.lines().any(|line| line.contains("team/web:1.0 in 2 s:") && line.contains("answered 429")), "{said}");
    let requests = upstream.requests();
    let ranges = |path: &str| -> Vec<Option<String>> {
        let of_path = requests.iter().filter(|request| request.path == path && request.method == "GET");
        of_path.map(|request| request.header("range").map(str::to_owned)).collect()
    };
    let from = |offsets: &[usize]| offsets.iter().map(|at| Some(format!("bytes={at}-"))).collect::<Vec<_>>();
    assert_eq!(ranges(&layer_path()), [vec![None], from(&[600_000, 1_200_001, 1_800_003, 1_800_003])].concat());
    assert_eq!(ranges("/tool"), [vec![None], from(&[300_000])].concat());
    workplace.unpack();
    let blob = std::fs::read(workplace.path("unpacked/blobs/sha256").join(Digest::of(&layer()).hex())).unwrap();
    assert!(blob == layer(), "the layer differs");
}

#[test]
fn a_login_that_ends_in_the_middle_of_a_layer_is_renewed_and_the_layer_goes_on() {
    let sold = Arc::new(AtomicUsize::new(0));
    let (till, path, served) = (Arc::clone(&sold), layer_path(), layer());
    // A token is good until the first connection was cut.
    let cut = Mutex::new(false);
    let (upstream, workplace) = upstream(move |request: &Request| {
        let host = request.header("host").unwrap();
        if request.path.starts_with("/token") {
            return Some(Reply::ok(json!({"token": format!("t{}", till.fetch_add(1, Ordering::SeqCst)), "expires_in": 300}).to_string()));
        }
        if !request.path.starts_with("/v2/") {
            return None;
        }
        let mut cut = cut.lock().unwrap();
        let sent = request.header("authorization").and_then(|value| value.strip_prefix("Bearer t")?.parse::<usize>().ok());
        if sent.is_none_or(|number| *cut && number == 0) {
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
            return Some(Reply::error(401, "UNAUTHORIZED", "the token has ended").header("WWW-Authenticate", &challenge));
        }
        (request.path == path && !*cut).then(|| {
            *cut = true;
            Reply::ranged(request, &served).cut(900_000)
        })
    });
    workplace.created(&["--plain-http", upstream.address()]);
    assert_eq!(sold.load(Ordering::SeqCst), 2);
    let asked: Vec<_> = upstream.requests().into_iter().filter(|request| request.path == layer_path()).collect();
    let seen: Vec<_> = asked.iter().map(|request| (request.header("authorization").unwrap(), request.header("range"))).collect();
    let range = Some("bytes=900000-");
    // Another blob may have been the first to learn that the token has ended.
    let expected = [("Bearer t0", None), ("Bearer t0", range), ("Bearer t1", range)];
    assert!(seen == expected || seen == [expected[0], expected[2]], "{seen:?}");
}

#[test]
fn a_layer_of_another_content_or_size_is_refused_and_nothing_of_it_is_kept() {
    let mut flipped = layer();
    flipped[1000] ^= 1;
    let (short, long) = (layer()[..layer().len() - 1].to_vec(), [layer(), vec![0]].concat());
    for (served, cause) in [(flipped, "served other bytes for"), (short, "bytes, it should have"), (long, "bytes, it should have")] {
        let (path, length) = (layer_path(), served.len());
        let (upstream, workplace) = upstream(move |request: &Request| (request.path == path).then(|| Reply::ranged(request, &served)));
        let (status, said) = workplace.failed(&["--plain-http", upstream.address()]);
        assert_eq!(status, 3, "{length}: {said}");
        assert!(said.contains(cause) && said.contains(&format!("`{}`", upstream.address())), "{said}");
        assert!(said.contains(&Digest::of(&layer()).to_string()) && said.contains("nothing of it was kept"), "{said}");
        assert!(!kept(&workplace, Digest::of(&layer()).hex().as_str()), "{length}");
        let asked = upstream.requests().into_iter().filter(|request| request.path == layer_path()).count();
        assert_eq!(asked, 2, "once more, and no oftener");
    }
}

#[test]
fn a_manifest_that_lies_about_its_digest_is_refused() {
    let (upstream, workplace) = upstream(|request: &Request| {
        let by_digest = request.path.strip_prefix("/v2/team/web/manifests/sha256:")?;
        Some(Reply::ok(r#"{"schemaVersion":2}"#).header("Docker-Content-Digest", &format!("sha256:{by_digest}")))
    });
    let (status, said) = workplace.failed(&["--plain-http", upstream.address()]);
    assert!(status == 3 && said.contains("served other bytes for") && said.contains("coracle.yaml:8:9"), "{said}");
    assert!(!workplace.path("coracle.lock").exists());
}

#[test]
fn an_image_without_a_platform_is_said_with_those_that_it_has() {
    let (upstream, workplace) = upstream(|_| None);
    upstream.index_of("team/other", "2", &["linux/amd64", "linux/s390x"]);
    let reference = format!("{}/team/other:2", upstream.address());
    workplace.define(std::slice::from_ref(&reference), &[]);
    let (status, said) = workplace.failed(&["--plain-http", upstream.address()]);
    let said = said.split_once("error:").unwrap().1;
    let expected = format!(
        " `{reference}` has no image for linux/arm64\n  in     coracle.yaml:8:9, component `all`\n  cause  its index lists linux/amd64, linux/s390x\n  \
         hint   pin `platforms: [linux/amd64]` on this image, or drop linux/arm64 from the package\n"
    );
    assert_eq!((status, said.trim_end()), (1, expected.trim_end()));
}

#[test]
fn a_file_that_is_not_what_its_author_or_the_lock_says_is_refused() {
    let other = Arc::new(Mutex::new(false));
    let changed = Arc::clone(&other);
    let (upstream, workplace) = upstream(move |request: &Request| {
        (request.path == "/tool" && *changed.lock().unwrap()).then(|| Reply::ranged(request, &noise(6, 700_000)))
    });
    let plain = ["--plain-http", upstream.address()];
    workplace.created(&plain);
    let good = Digest::of(&noise(5, 700_000));
    *other.lock().unwrap() = true;
    // With lock and cache nobody asks; with a lock alone what comes must be what the lock says.
    workplace.created(&plain);
    std::fs::remove_file(workplace.path("real.tar.zst")).unwrap();
    std::fs::remove_dir_all(workplace.path("cache")).unwrap();
    let (status, said) = workplace.failed(&plain);
    assert!(status == 3 && said.contains("/tool") && said.contains(&good.to_string()), "{status} {said}");
    assert!(!kept(&workplace, good.hex().as_str()) && !kept(&workplace, Digest::of(&noise(6, 700_000)).hex().as_str()));
    std::fs::remove_file(workplace.path("coracle.lock")).unwrap();
    let definition = std::fs::read_to_string(workplace.path("coracle.yaml")).unwrap();
    workplace.write("coracle.yaml", definition.replace(", path: /opt", &format!(", sha256: {}, path: /opt", good.hex())));
    let (status, said) = workplace.failed(&plain);
    assert!(status == 3 && said.contains("/tool") && said.contains(&good.to_string()), "{status} {said}");
}

#[test]
fn a_host_that_is_not_there_is_said_soon_for_each_entry_that_names_it() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let images: Vec<String> = (0..20).map(|n| format!("{nobody}/team/web:{n}")).collect();
    let workplace = Workplace::new(&images, &[format!("http://{nobody}/tool")]);
    let begun = std::time::Instant::now();
    let (status, said) = workplace.failed(&["--plain-http", &nobody.to_string()]);
    assert!(status == 1 && said.contains("error: 21 entries of `coracle.yaml` cannot be resolved"), "{said}");
    assert_eq!(said.matches("retrying").count(), 22, "once more for each image, and for the file of each platform: {said}");
    assert!(said.contains(&format!("hint   look for a typo in `{nobody}`, then at the network and the proxy variables")), "{said}");
    // Half a second of waiting; it was fifteen.
    assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
}

/// `coracle create` in a mount namespace in which the cache cannot be written to; `None` where there are no such namespaces.
fn with_read_only_cache(workplace: &Workplace, args: &[&str]) -> Option<(i32, String)> {
    let root = rustix::process::geteuid().is_root();
    let unshare = |script: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(if root { &["--mount"][..] } else { &["--map-root-user", "--mount"] }).args(["sh", "-ec", script, "sh"]);
        unshare.current_dir(workplace.directory());
        unshare
    };
    let mount = "mount --bind cache cache; mount -o remount,ro,bind cache";
    if !unshare(mount).output().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "no mount namespaces, and CI must not skip tests");
        return None;
    }
    let create = workplace.create(args);
    let mut command = unshare(&format!("{mount}; exec \"$@\""));
    command.arg(create.get_program()).args(create.get_args()).env("HOME", workplace.directory());
    let output = command.output().unwrap();
    Some((output.status.code().unwrap(), words(&output)))
}

#[test]
fn a_cache_that_cannot_be_written_serves_what_it_has_and_says_what_it_cannot_take() {
    let (upstream, workplace) = upstream(|_| None);
    let plain = ["--plain-http", upstream.address()];
    workplace.created(&plain);
    let first = std::fs::read(workplace.path("real.tar.zst")).unwrap();
    let Some((status, said)) = with_read_only_cache(&workplace, &plain) else { return };
    assert_eq!(status, 0, "{said}");
    assert!(first == std::fs::read(workplace.path("real.tar.zst")).unwrap(), "the bundle differs");
    let more = upstream.image("team/more", "3", 9, 1000);
    workplace.define(&[more], &[]);
    let (status, said) = with_read_only_cache(&workplace, &plain).unwrap();
    assert!(
        status == 1 && said.contains("Read-only file system") && said.contains("name a directory that can be written with --cache"),
        "{said}"
    );
    assert!(first == std::fs::read(workplace.path("real.tar.zst")).unwrap(), "the old bundle was touched");
}
