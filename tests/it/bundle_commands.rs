//! verify, inspect, sign and extract on a small bundle: one image for two platforms, and one file.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use coracle::bundle::trust::SigningKey;
use coracle::command::{Command, Output};
use coracle::event::Silent;
use coracle::fs;
use coracle::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lab::program;
use crate::small_bundle::{REFERENCE, parts};

const LIMIT: u64 = 64 << 20;

fn key(number: u8) -> SigningKey {
    SigningKey::generate(|bytes| {
        bytes.fill(number);
        Ok::<_, ()>(())
    })
    .unwrap()
}

/// A directory with `app.tar.zst`, signed by key 1, and the public halves of keys 1 to 3.
struct Carried {
    directory: TempDir,
}

impl Carried {
    fn new(signers: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let bundle = parts(&store).assemble().unwrap();
        let members = signers.iter().map(|n| key(*n).sign(bundle.root()).to_member(bundle.root(), key(*n).public().key_id()));
        let members = members.collect();
        let threads = NonZeroUsize::new(2).unwrap();
        bundle.signed(members).write_file(&store, &directory.path().join("app.tar.zst"), threads, &Silent).unwrap();
        for n in 1..=3 {
            let write = |end: &str, text: &str| fs::write_atomic(&directory.path().join(format!("{n}.{end}")), text.as_bytes(), 0o600);
            write("pub", &key(n).public().to_pem()).unwrap();
            write("key", &key(n).to_pem()).unwrap();
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().unwrap()
    }

    fn coracle(&self, command: &str, args: &[&str]) -> Output {
        let args = args.iter().map(|arg| if Path::new(&self.path(arg)).exists() { self.text(arg) } else { (*arg).to_owned() });
        let coracle = Command::new(env!("CARGO_BIN_EXE_coracle")).arg(command).arg(self.text("app.tar.zst")).args(args);
        coracle.env("XDG_CONFIG_HOME", self.text("no-configuration")).output().unwrap()
    }

    fn json(&self, command: &str, args: &[&str]) -> (i32, Value) {
        let output = self.coracle(command, &[args, &["--format", "json"]].concat());
        (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", output.stderr)))
    }

    fn flip(&self, place: usize) {
        let mut bytes = fs::read(&self.path("app.tar.zst"), LIMIT).unwrap();
        bytes[place] ^= 1;
        fs::write_atomic(&self.path("app.tar.zst"), &bytes, 0o644).unwrap();
    }
}

fn id(number: u8) -> String {
    key(number).public().key_id().to_string()
}

#[test]
fn verify_says_what_it_checked_and_by_whom_it_is_signed() {
    let carried = Carried::new(&[1]);
    let (status, report) = carried.json("verify", &["--key", "1.pub"]);
    assert_eq!((status, &report["result"], &report["problems"]), (0, &json!("ok"), &json!([])));
    assert_eq!(report["signatures"], json!([{"key_id": id(1), "trusted": true}]));
    assert!(report["blobs"]["count"].as_u64().unwrap() > 9, "{report}");
}

#[test]
fn verify_refuses_another_key_none_and_too_few_and_takes_a_signature_beside_the_bundle() {
    let carried = Carried::new(&[1]);
    for args in [&["--key", "2.pub"][..], &[], &["--key", "1.pub", "--key", "2.pub", "--require-signatures", "2"]] {
        let output = carried.coracle("verify", args);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {}", output.stderr);
        let (status, report) = carried.json("verify", args);
        assert_eq!((status, &report["result"]), (3, &json!("refused")), "{args:?}");
    }
    let sign = carried.coracle("sign", &["--signing-key", "2.key"]);
    assert!(sign.status.success(), "{}", sign.stderr);
    let (status, report) = carried.json("verify", &["--key", "1.pub", "--key", "2.pub", "--require-signatures", "2"]);
    assert_eq!((status, report["signatures"].as_array().unwrap().len()), (0, 2));
    let again = carried.coracle("sign", &["--signing-key", "3.key"]);
    assert!(again.status.success(), "{}", again.stderr);
    assert_eq!(carried.json("verify", &["--key", "3.pub"]).0, 0);
    assert!(carried.path(&format!("app.tar.zst.{}.sig", &id(3)[..16])).exists());
}

#[test]
fn an_unsigned_bundle_is_taken_only_where_that_is_said() {
    let carried = Carried::new(&[]);
    assert_eq!(carried.coracle("verify", &["--key", "1.pub"]).status.code(), Some(3));
    let accepted = carried.coracle("verify", &["--accept-unsigned"]);
    assert!(accepted.status.success());
    assert!(accepted.stderr.contains("no trusted key signed this bundle"), "{}", accepted.stderr);
}

#[test]
fn sign_puts_a_signature_into_the_bundle_which_stays_the_same_bundle() {
    let carried = Carried::new(&[1]);
    let root = |report: &Value| report["digest"].as_str().unwrap().to_owned();
    let before = root(&carried.json("inspect", &["--key", "1.pub"]).1);
    let both = ["--key", "1.pub", "--key", "2.pub", "--require-signatures", "2"];
    let deploy = |name: &str| {
        let root = carried.text(name);
        carried.coracle("deploy", &[&both[..], &["--root", &root, "--yes"]].concat()).status.code()
    };
    assert_eq!((carried.json("verify", &both).0, deploy("refused")), (3, Some(3)));
    // Beside the bundle, under the name that a second signer has.
    let beside = carried.coracle("sign", &["--signing-key", "3.key"]);
    assert!(beside.status.success(), "{}", beside.stderr);
    let beside = carried.coracle("sign", &["--signing-key", "2.key"]);
    assert!(beside.status.success() && carried.path(&format!("app.tar.zst.{}.sig", &id(2)[..16])).exists(), "{}", beside.stderr);
    assert_eq!((carried.json("verify", &both).0, deploy("beside")), (0, Some(0)));
    for file in fs::read_dir(carried.directory.path()).unwrap() {
        if file.extension().is_some_and(|end| end == "json") {
            fs::remove_file(&file).unwrap();
        }
    }
    assert_eq!(carried.json("verify", &both).0, 3);
    let embedded = carried.coracle("sign", &["--signing-key", "2.key", "--embed"]);
    assert!(embedded.status.success() && embedded.stderr.contains("2 signatures in it"), "{}", embedded.stderr);
    let (status, report) = carried.json("verify", &both);
    assert_eq!((status, root(&report), deploy("embedded")), (0, before, Some(0)));
}

#[test]
fn no_flipped_byte_passes_verify() {
    let carried = Carried::new(&[1]);
    let good = fs::read(&carried.path("app.tar.zst"), LIMIT).unwrap();
    for place in (0..good.len()).step_by(97).chain([good.len() - 1]) {
        carried.flip(place);
        let output = carried.coracle("verify", &["--key", "1.pub"]);
        assert_eq!(output.status.code(), Some(3), "byte {place}: {}", output.stderr);
        carried.flip(place);
    }
    assert_eq!(carried.coracle("verify", &["--key", "1.pub"]).status.code(), Some(0));
}

#[test]
fn inspect_says_whether_what_it_shows_is_known_to_be_true() {
    let carried = Carried::new(&[1]);
    let (_, trusted) = carried.json("inspect", &["--key", "1.pub"]);
    let (status, untrusted) = carried.json("inspect", &["--key", "2.pub"]);
    assert_eq!((status, &trusted["verified"], &untrusted["verified"]), (0, &json!(true), &json!(false)));
    assert_eq!(untrusted["signatures"], json!([{"key_id": id(1), "trusted": false}]));
    let shown = carried.coracle("inspect", &["--key", "2.pub"]);
    assert!(shown.stderr.starts_with("NOT VERIFIED: "), "{}", shown.stderr);
    assert_eq!((&trusted["name"], &trusted["version"]), (&json!("app"), &json!("1.4.0")));
    assert_eq!(trusted["platforms"], json!(["linux/amd64", "linux/arm64"]));
    assert_eq!(trusted["images"][0]["reference"], json!(REFERENCE));
    assert_eq!(trusted["files"][0]["path"], json!("/etc/app.conf"));
}

#[test]
fn inspect_shows_tables_of_images_and_files() {
    let carried = Carried::new(&[1]);
    let text = |section: &str| String::from_utf8(carried.coracle("inspect", &[section, "--key", "1.pub"]).stdout).unwrap();
    insta::assert_snapshot!(text("images"), @r"
    IMAGE                     PLATFORM     SIZE     LAYERS  DIGEST
    registry.example/app:1.0  linux/amd64  2.5 KiB  1       sha256:c8c5aa57281c44c00968613fe250dad7d05c877918fe71969c068fd17b102b64
    registry.example/app:1.0  linux/arm64  2.5 KiB  1       sha256:38d64fc76d35b641e069262041dd4cc4713ad2fc21a6d8237ba39fd68d329fdc
    ");
    insta::assert_snapshot!(text("files"), @r"
    FILE           MODE  OWNER  PLATFORM     SIZE  COMPONENT  FROM
    /etc/app.conf  0640  -:-    linux/amd64  22 B  main       inline
    /etc/app.conf  0640  -:-    linux/arm64  22 B  main       inline
    ");
    assert_eq!(carried.json("inspect", &["lock", "--key", "1.pub"]).1, json!({"images": [], "files": []}));
    assert_eq!(carried.json("inspect", &["definition", "--key", "1.pub"]).0, 0);
}

#[test]
fn extract_writes_a_file_of_the_platform_that_was_asked_for() {
    let carried = Carried::new(&[1]);
    let out = carried.text("out");
    let extract = |platform: &str| carried.coracle("extract", &["/etc/app.conf", "--platform", platform, "-o", &out, "--key", "1.pub"]);
    for platform in ["linux/arm64", "linux/amd64"] {
        assert!(extract(platform).status.success());
        assert_eq!(fs::read_to_string(&carried.path("out"), LIMIT).unwrap(), format!("config of {platform}\n"));
    }
    let refused = extract("linux/riscv64");
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stderr.contains("say --platform linux/amd64 or --platform linux/arm64"), "{}", refused.stderr);
    assert_eq!(carried.coracle("extract", &["/etc/other", "-o", &out, "--key", "1.pub"]).status.code(), Some(2));
    assert_eq!(carried.coracle("extract", &["/etc/app.conf", "-o", &out, "--key", "2.pub"]).status.code(), Some(3));
}

#[test]
fn other_tools_read_what_extract_writes_of_an_image() {
    let carried = Carried::new(&[1]);
    for platform in ["linux/amd64", "linux/arm64"] {
        let name = platform.replace('/', "-");
        for output in [name.clone(), format!("{name}.tar"), format!("{name}-again.tar")] {
            let args = [REFERENCE, "--platform", platform, "--key", "1.pub", "-o", &carried.text(&output)];
            let extracted = carried.coracle("extract", &args);
            assert!(extracted.status.success(), "{}", extracted.stderr);
        }
        let bytes = |name: &str| fs::read(&carried.path(name), LIMIT).unwrap();
        assert_eq!(bytes(&format!("{name}.tar")), bytes(&format!("{name}-again.tar")));
        let (directory, archive) = (carried.text(&name), carried.text(&format!("{name}.tar")));
        if let Some(skopeo) = program("skopeo") {
            for from in [format!("oci:{directory}"), format!("oci-archive:{archive}")] {
                let to = tempfile::tempdir_in(carried.directory.path()).unwrap();
                let to = format!("dir:{}", to.path().display());
                Command::new(&skopeo).args(["--insecure-policy", "copy", &from, &to]).run().unwrap();
            }
        }
        if let Some(umoci) = program("umoci") {
            Command::new(umoci).args(["stat", "--json", "--image", &format!("{directory}:1.0")]).run().unwrap();
        }
    }
}
