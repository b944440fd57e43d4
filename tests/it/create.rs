//! `coracle create` as a person runs it, against an upstream in the test.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::upstream::{Upstream, noise};

/// A directory with a definition, a key and a cache.
struct Bench {
    directory: tempfile::TempDir,
    upstream: Upstream,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { directory: tempfile::tempdir().unwrap(), upstream: Upstream::start() };
        let image = bench.upstream.image("team/web", "1.0", 1, 300_000);
        let base = bench.upstream.image("team/base", "2", 2, 20_000);
        bench.upstream.file("/bin/tool-amd64", &noise(7, 9_000_000));
        bench.upstream.file("/bin/tool-arm64", &noise(8, 500_000));
        let address = bench.upstream.address();
        bench.write(
            "coracle.yaml",
            &format!(
                "apiVersion: coracle/v1alpha1\nkind: Package\nmetadata: {{ name: shop, version: 1.0.0 }}\nplatforms: [linux/amd64, linux/arm64]\n\
                 components:\n  - name: web\n    images:\n      - {image}\n      - {base}\n    files:\n      - source: http://{address}/bin/tool-{{arch}}\n        \
                 path: /usr/local/bin/tool\n        mode: \"0755\"\n      - content: |\n          hello\n        path: /etc/shop.conf\n"
            ),
        );
        let keygen = bench.coracle().args(["keygen", "release", "--unencrypted"]).output().unwrap();
        assert!(keygen.status.success(), "{}", text(&keygen));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn coracle(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
        command
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.directory.path())
            .env("PATH", std::env::var_os("PATH").unwrap());
        command.stdin(Stdio::null());
        command
    }

    fn create(&self, cache: &str, output: &str) -> Command {
        let mut command = self.coracle();
        command.args([
            "create",
            ".",
            "--signing-key",
            "release.key",
            "--plain-http",
            self.upstream.address(),
            "--cache",
            cache,
            "-o",
            output,
        ]);
        command
    }

    fn made(&self, cache: &str, output: &str) -> Vec<u8> {
        let ran = self.create(cache, output).output().unwrap();
        assert!(ran.status.success(), "{}", text(&ran));
        std::fs::read(self.path(output)).unwrap()
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_same_lock_gives_the_same_bytes_whatever_the_machine_looks_like() {
    let bench = Bench::new();
    let first = bench.made("cache-a", "a.tar.zst");
    let mut other = bench.create("cache-b", "b.tar.zst");
    other.args(["--threads", "5", "--jobs", "1"]);
    other.envs([("TZ", "Pacific/Chatham"), ("LC_ALL", "tr_TR.UTF-8"), ("USER", "nobody"), ("SOURCE_DATE_EPOCH", "1")]);
    let mut shell = Command::new("sh");
    shell
        .current_dir(bench.directory.path())
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(other.get_program())
        .args(other.get_args())
        .env_clear();
    shell.envs(other.get_envs().filter_map(|(name, value)| value.map(|value| (name, value)))).stdin(Stdio::null());
    let ran = shell.output().unwrap();
    assert!(ran.status.success(), "{}", text(&ran));
    assert!(first == std::fs::read(bench.path("b.tar.zst")).unwrap(), "two creates differ");
}

#[test]
fn with_a_lock_and_a_full_cache_no_upstream_is_asked() {
    let bench = Bench::new();
    let first = bench.made("cache", "a.tar.zst");
    assert!(!bench.upstream.asked().is_empty());
    let second = bench.made("cache", "b.tar.zst");
    assert_eq!(bench.upstream.asked(), [] as [String; 0]);
    assert!(first == second, "two creates differ");
}

#[test]
fn a_lock_pins_what_a_tag_meant() {
    let bench = Bench::new();
    let first = bench.made("cache", "a.tar.zst");
    bench.upstream.image("team/web", "1.0", 50, 300_000);
    assert!(first == bench.made("other-cache", "b.tar.zst"), "a rebuilt tag got past the lock");
    let update = bench
        .coracle()
        .args(["lock", ".", "--cache", "cache", "--plain-http", bench.upstream.address(), "--update", "all"])
        .output()
        .unwrap();
    assert!(update.status.success(), "{}", text(&update));
    assert!(first != bench.made("cache", "c.tar.zst"), "the update changed nothing");
}

#[test]
fn locked_refuses_a_definition_that_is_ahead_and_names_the_line() {
    let bench = Bench::new();
    let missing = bench.create("cache", "a.tar.zst").arg("--locked").output().unwrap();
    assert!(text(&missing).contains("there is no lock file"), "{}", text(&missing));
    bench.made("cache", "a.tar.zst");
    let more = bench.upstream.image("team/more", "3", 9, 1000);
    let definition = std::fs::read_to_string(bench.path("coracle.yaml")).unwrap();
    bench.write("coracle.yaml", &definition.replace("    files:\n", &format!("      - {more}\n    files:\n")));
    let refused = bench.create("cache", "a.tar.zst").arg("--locked").output().unwrap();
    assert!(!refused.status.success());
    assert!(text(&refused).contains("coracle.yaml:10:"), "{}", text(&refused));
    let check = bench.coracle().args(["lock", ".", "--check"]).output().unwrap();
    assert_eq!(check.status.code(), Some(4), "{}", text(&check));
}

#[test]
fn a_create_that_fails_leaves_the_old_bundle_and_nothing_else() {
    let bench = Bench::new();
    let first = bench.made("cache", "a.tar.zst");
    let definition = std::fs::read_to_string(bench.path("coracle.yaml")).unwrap();
    bench.write("coracle.yaml", &definition.replace("team/base:2", "team/base:no-such-tag"));
    let before = names(bench.directory.path());
    let failed = bench.create("cache", "a.tar.zst").output().unwrap();
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed));
    assert!(text(&failed).contains("no-such-tag") && text(&failed).contains("coracle.yaml:9:"), "{}", text(&failed));
    assert!(first == std::fs::read(bench.path("a.tar.zst")).unwrap(), "the old bundle was touched");
    assert_eq!(names(bench.directory.path()), before);
}

#[test]
fn a_create_that_is_killed_at_any_moment_is_continued_by_the_same_command() {
    let bench = Bench::new();
    let expected = bench.made("reference-cache", "expected.tar.zst");
    let mut killed = 0;
    for delay in (0..40).map(|n| Duration::from_millis(n * 6)) {
        std::fs::remove_file(bench.path("a.tar.zst")).ok();
        let mut child = bench.create("cache", "a.tar.zst").stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        killed += u32::from(status.signal() == Some(9));
        if let Ok(bytes) = std::fs::read(bench.path("a.tar.zst")) {
            assert!(bytes == expected, "half a bundle after {delay:?}");
        }
        assert!(!names(bench.directory.path()).iter().any(|name| name.starts_with(".coracle")), "{:?}", names(bench.directory.path()));
        assert!(bench.made("cache", "a.tar.zst") == expected, "the run after the kill differs");
        if delay > Duration::from_millis(60) {
            std::fs::remove_dir_all(bench.path("cache")).unwrap();
        }
    }
    assert!(killed > 5, "only {killed} runs were killed: the delays are too long to test anything");
}

#[test]
fn two_creates_at_once_on_one_cache_make_the_same_bundle() {
    let bench = Bench::new();
    let children: Vec<_> = ["a.tar.zst", "b.tar.zst", "c.tar.zst"]
        .into_iter()
        .map(|output| bench.create("cache", output).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for child in children {
        let ran = child.wait_with_output().unwrap();
        assert!(ran.status.success(), "{}", text(&ran));
    }
    let read = |name: &str| std::fs::read(bench.path(name)).unwrap();
    assert!(read("a.tar.zst") == read("b.tar.zst") && read("b.tar.zst") == read("c.tar.zst"));
}

#[test]
fn a_damaged_blob_in_the_cache_is_found_named_and_fetched_again() {
    let bench = Bench::new();
    let first = bench.made("cache", "a.tar.zst");
    let blobs = bench.path("cache/blobs/sha256");
    let largest =
        std::fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap()).max_by_key(|entry| entry.metadata().unwrap().len()).unwrap().path();
    let mut bytes = std::fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&largest).unwrap();
    std::fs::write(&largest, bytes).unwrap();
    let failed = bench.create("cache", "b.tar.zst").output().unwrap();
    assert!(!failed.status.success());
    assert!(text(&failed).contains(largest.file_name().unwrap().to_str().unwrap()), "{}", text(&failed));
    assert!(!bench.path("b.tar.zst").exists());
    assert!(first == bench.made("cache", "b.tar.zst"));
}

#[test]
fn the_medium_lets_openssl_check_root_and_sums() {
    let bench = Bench::new();
    let ran = bench
        .coracle()
        .args([
            "create",
            ".",
            "--signing-key",
            "release.key",
            "--plain-http",
            bench.upstream.address(),
            "--cache",
            "cache",
            "--media",
            "disk",
        ])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", text(&ran));
    let readme = std::fs::read_to_string(bench.path("disk/README.txt")).unwrap();
    std::fs::copy(bench.path("release.pub"), bench.path("disk/release.pub")).unwrap();
    let lines: Vec<&str> = readme.lines().map(str::trim).filter(|line| line.starts_with("check")).collect();
    assert!(lines.len() >= 3, "{readme}");
    let script = lines.join("\n").replace("/tmp/check.sig", "check.sig");
    let checked = Command::new("sh").current_dir(bench.path("disk")).args(["-ec", &script]).output().unwrap();
    assert!(checked.status.success(), "{}\n{script}", text(&checked));
    assert_eq!(text(&checked).matches("Verified OK").count(), 2, "{}", text(&checked));
}
