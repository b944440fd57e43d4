//! A directory with a definition, a key and a cache, and `coracle` run in it as a person would.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub struct Workplace {
    directory: tempfile::TempDir,
}

impl Workplace {
    /// A package of images and files by URL, for both platforms.
    pub fn new(images: &[String], files: &[String]) -> Self {
        let workplace = Self { directory: tempfile::tempdir().unwrap() };
        workplace.define(images, files);
        let keygen = workplace.coracle().args(["keygen", "release", "--unencrypted"]).output().unwrap();
        assert!(keygen.status.success(), "{}", words(&keygen));
        workplace
    }

    /// Writes the definition anew. Images are written as they are: a reference, or a flow mapping.
    pub fn define(&self, images: &[String], files: &[String]) {
        let mut text = "apiVersion: coracle/v1alpha1\nkind: Package\nmetadata: { name: real, version: 1.0.0 }\n\
                        platforms: [linux/amd64, linux/arm64]\ncomponents:\n  - name: all\n"
            .to_owned();
        for (key, entries) in [("images", images), ("files", files)] {
            if !entries.is_empty() {
                writeln!(text, "    {key}:").unwrap();
            }
            for (n, entry) in entries.iter().enumerate() {
                match key {
                    "images" => writeln!(text, "      - {entry}").unwrap(),
                    _ => writeln!(text, "      - {{ source: \"{entry}\", path: /opt/file-{n} }}").unwrap(),
                }
            }
        }
        self.write("coracle.yaml", text);
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().unwrap()
    }

    /// Writes a file and the directories that it needs.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// `coracle` with an environment in which nothing is configured.
    pub fn coracle(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
        command.current_dir(self.directory.path()).env_clear().env("HOME", self.directory.path());
        command.env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null());
        command
    }

    /// `coracle create` into `real.tar.zst`.
    pub fn create(&self, args: &[&str]) -> Command {
        let mut command = self.coracle();
        command.args(["create", ".", "--signing-key", "release.key", "--cache", "cache", "-o", "real.tar.zst"]).args(args);
        command
    }

    /// The same, which must succeed: what it said.
    pub fn created(&self, args: &[&str]) -> String {
        let output = self.create(args).output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
        words(&output)
    }

    /// The same, which must fail: its status and what it said.
    pub fn failed(&self, args: &[&str]) -> (i32, String) {
        let output = self.create(args).output().unwrap();
        assert!(!output.status.success(), "{}", words(&output));
        assert!(!self.path("real.tar.zst").exists(), "a bundle was left");
        (output.status.code().unwrap(), words(&output))
    }

    /// The lock file.
    pub fn lock(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.path("coracle.lock")).unwrap()).unwrap()
    }

    /// The bundle, unpacked by zstd and tar into `unpacked`.
    pub fn unpack(&self) -> PathBuf {
        let unpacked = self.path("unpacked");
        std::fs::create_dir_all(&unpacked).unwrap();
        let bundle = self.text("real.tar.zst");
        crate::lab::output(Command::new("tar").args(["--zstd", "-xf", &bundle, "-C"]).arg(&unpacked));
        unpacked
    }
}

/// All that a command wrote.
pub fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
