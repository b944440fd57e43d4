//! Keys and signatures against the programs that people check them with: openssl and cosign.
//!
//! A program that is missing skips its tests with one line, except where `CI` is set: there it must be installed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use coracle::bundle::trust::{PublicKey, Signature, SigningKey, TrustPolicy, Unsigned};
use coracle::command::Command;
use coracle::fs;
use tempfile::TempDir;

use crate::lab::program;

const CONTENT: &[u8] = b"the root of a bundle\n";
const LIMIT: u64 = 1 << 20;

struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { directory: tempfile::tempdir().unwrap() };
        bench.write("root", CONTENT);
        bench
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).into_os_string().into_string().unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write_atomic(Path::new(&self.path(name)), bytes, 0o600).unwrap();
        self.path(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(Path::new(&self.path(name)), LIMIT).unwrap()
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    fn keygen(&self, args: &[&str]) -> String {
        let keygen = Command::new(env!("CARGO_BIN_EXE_coracle")).args(["keygen", &self.path("ours")]).args(args.iter().copied());
        String::from_utf8(keygen.env("CORACLE_KEY_PASSWORD", "secret").run().unwrap()).unwrap()
    }
}

fn policy(key: PublicKey) -> TrustPolicy {
    TrustPolicy { keys: vec![key], required: 1, unsigned: Unsigned::Refuse }
}

#[test]
fn openssl_verifies_our_signature_and_names_our_key_as_we_do() {
    let Some(openssl) = program("openssl") else { return };
    let bench = Bench::new();
    let key_id = bench.keygen(&["--unencrypted"]);
    let key = SigningKey::from_pem(&bench.text("ours.key"), None).unwrap();
    let sig = bench.write("root.sig", &key.sign(CONTENT).to_der_base64());
    let openssl = || Command::new(openssl.clone());
    openssl().args(["base64", "-d", "-A", "-in", &sig, "-out", &bench.path("root.der")]).run().unwrap();
    let verify = |file: &str| {
        let args = ["dgst", "-sha256", "-verify", &bench.path("ours.pub"), "-signature", &bench.path("root.der"), file];
        openssl().args(args).output().unwrap()
    };
    assert_eq!(String::from_utf8(verify(&bench.path("root")).stdout).unwrap(), "Verified OK\n");
    assert!(!verify(&bench.write("other", b"another root")).status.success());
    let der = openssl().args(["pkey", "-pubin", "-in", &bench.path("ours.pub"), "-outform", "DER"]).run().unwrap();
    assert_eq!(key_id, format!("{}\n", coracle::types::Digest::of(&der).hex()));
}

#[test]
fn we_take_the_keys_and_the_signature_that_openssl_makes() {
    let Some(openssl) = program("openssl") else { return };
    let bench = Bench::new();
    let openssl = || Command::new(openssl.clone());
    let pkcs8 = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"];
    let sec1 = ["ecparam", "-name", "prime256v1", "-genkey", "-out"];
    for args in [&pkcs8[..], &sec1] {
        let key = bench.path("theirs.key");
        openssl().args(args.iter().copied()).arg(&key).run().unwrap();
        openssl().args(["pkey", "-in", &key, "-pubout", "-out", &bench.path("theirs.pub")]).run().unwrap();
        openssl().args(["dgst", "-sha256", "-sign", &key, "-out", &bench.path("der"), &bench.path("root")]).run().unwrap();
        let base64 = openssl().args(["base64", "-in", &bench.path("der")]).run().unwrap();
        let public = PublicKey::from_pem(&bench.text("theirs.pub")).unwrap();
        assert_eq!(SigningKey::from_pem(&bench.text("theirs.key"), None).unwrap().public(), public);
        let signature = Signature::from_der_base64(&base64).unwrap();
        assert!(public.verifies(CONTENT, &signature));
        assert!(!public.verifies(b"another root", &signature));
    }
}

#[test]
fn cosign_verifies_our_signature_and_refuses_it_for_other_content() {
    let Some(cosign) = program("cosign") else { return };
    let bench = Bench::new();
    bench.keygen(&[]);
    let key = SigningKey::from_pem(&bench.text("ours.key"), Some(b"secret")).unwrap();
    let bundle = bench.write("root.sigstore.json", &key.sign(CONTENT).to_sigstore_json());
    let verify = |file: &str| {
        let args = ["verify-blob", "--key", &bench.path("ours.pub"), "--bundle", &bundle, "--insecure-ignore-tlog=true", file];
        Command::new(cosign.clone()).args(args).env("HOME", bench.path("")).output().unwrap()
    };
    let good = verify(&bench.path("root"));
    assert!(good.status.success(), "{}", good.stderr);
    assert!(!verify(&bench.write("other", b"another root")).status.success());
}

#[test]
fn cosign_signs_with_our_encrypted_key_and_we_accept_it() {
    let Some(cosign) = program("cosign") else { return };
    let bench = Bench::new();
    bench.keygen(&[]);
    cosign_sign(&cosign, &bench, "ours.key", "secret");
    accept(&bench, "ours.pub");
}

#[test]
fn we_accept_the_keys_and_signatures_that_cosign_makes() {
    let Some(cosign) = program("cosign") else { return };
    let bench = Bench::new();
    let generate = ["generate-key-pair", "--output-key-prefix", &bench.path("theirs")];
    Command::new(cosign.clone()).args(generate).env("COSIGN_PASSWORD", "theirs").env("HOME", bench.path("")).run().unwrap();
    cosign_sign(&cosign, &bench, "theirs.key", "theirs");
    accept(&bench, "theirs.pub");
    let key = SigningKey::from_pem(&bench.text("theirs.key"), Some(b"theirs")).unwrap();
    assert_eq!(key.public().to_pem(), bench.text("theirs.pub"));
}

fn cosign_sign(cosign: &str, bench: &Bench, key: &str, password: &str) {
    let args = ["sign-blob", "--yes", "--key", &bench.path(key), "--tlog-upload=false", "--use-signing-config=false"];
    let sign = Command::new(cosign).args(args).args(["--bundle", &bench.path("b.json"), &bench.path("root")]);
    sign.env("COSIGN_PASSWORD", password).env("HOME", bench.path("")).run().unwrap();
}

/// The signature in `b.json` counts as a detached one, and as an embedded one.
fn accept(bench: &Bench, public: &str) {
    let key = PublicKey::from_pem(&bench.text(public)).unwrap();
    let signature = Signature::from_sigstore_json(&bench.read("b.json")).unwrap();
    assert_eq!(signature.hint(), Some(key.key_id()));
    let member = signature.to_member(CONTENT, key.key_id());
    let detached = [bench.read("b.json")];
    for (embedded, detached) in [(&[][..], &detached[..]), (&[member], &[])] {
        let statuses = policy(key.clone()).check(CONTENT, embedded, detached).unwrap();
        assert_eq!(statuses.iter().map(|status| (status.key_id, status.trusted)).collect::<Vec<_>>(), [(Some(key.key_id()), true)]);
    }
    assert!(policy(key).check(b"another root", &[], &detached).is_err());
}

#[test]
fn keygen_keeps_the_private_key_private_and_overwrites_nothing() {
    use std::os::unix::fs::MetadataExt as _;
    let bench = Bench::new();
    bench.keygen(&[]);
    let mode = |name: &str| fs::metadata(Path::new(&bench.path(name))).unwrap().unwrap().mode() & 0o7777;
    assert_eq!(mode("ours.key"), 0o600);
    assert!(bench.text("ours.key").starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"));
    let before = (bench.read("ours.key"), bench.read("ours.pub"));
    let again = Command::new(env!("CARGO_BIN_EXE_coracle")).args(["keygen", &bench.path("ours")]).env("CORACLE_KEY_PASSWORD", "other");
    let output = again.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        output.stderr,
        format!(
            "error: `{}` is there already\n  hint   a key that is overwritten is lost: choose another PREFIX\n",
            bench.path("ours.key")
        )
    );
    assert_eq!((bench.read("ours.key"), bench.read("ours.pub")), before);
}

#[test]
fn keygen_asks_for_no_password_where_nobody_can_answer() {
    let bench = Bench::new();
    let path = bench.path("ours");
    let output = Command::new("env").args(["-u", "CORACLE_KEY_PASSWORD", env!("CARGO_BIN_EXE_coracle"), "keygen", &path]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let expected = format!(
        "error: the password of `{path}.key` is needed, and there is no terminal to ask for it\n  \
         hint   run it on a terminal, or put the password into CORACLE_KEY_PASSWORD\n"
    );
    assert_eq!(output.stderr, expected);
    assert_eq!(fs::metadata(Path::new(&format!("{path}.key"))).unwrap().map(|_| ()), None);
}
