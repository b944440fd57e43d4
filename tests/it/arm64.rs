//! The static binary for arm64 under an emulator, on real images: the bundle that it makes, and the node that it deploys to.
//!
//! `cargo xtask dist` makes both binaries; without them there is nothing to run, also in CI.
#![expect(clippy::print_stderr, reason = "a test says on stderr why it was skipped")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use coracle::types::Digest;

use crate::lab::{self, Registry, program};
use crate::real_registry::references;
use crate::workplace::Workplace;

/// The static binary for an architecture.
fn binary(arch: &str) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_coracle")).ancestors().nth(2).unwrap();
    let path = target.join("dist").join(format!("coracle-linux-{arch}"));
    if path.is_file() {
        return Some(path);
    }
    eprintln!("skipped: {}: not here (`cargo xtask dist` makes it)", path.display());
    None
}

#[test]
fn the_binary_for_arm64_makes_the_bundle_of_the_one_for_amd64_byte_for_byte_and_deploys_it() {
    let (Some(amd64), Some(arm64)) = (binary("amd64"), binary("arm64")) else { return };
    let (Some(emulator), Some(registry)) = (program("qemu-aarch64-static"), Registry::open()) else { return };
    let workplace = Workplace::new(&references(&registry), &[]);
    workplace.write("deployed.conf", "x = 1\n");
    let definition = std::fs::read_to_string(workplace.path("coracle.yaml")).unwrap();
    workplace.write("coracle.yaml", format!("{definition}    files:\n      - {{ source: deployed.conf, path: /etc/deployed.conf }}\n"));
    let command = |arch: &str| {
        let mut command = match arch {
            "arm64" => Command::new(&emulator),
            _ => Command::new(&amd64),
        };
        if arch == "arm64" {
            command.arg(&arm64);
        }
        command.current_dir(workplace.directory()).env_clear().env("HOME", workplace.directory());
        command
    };
    let bundle = |arch: &str| {
        let (cache, output) = (format!("cache-{arch}"), format!("{arch}.tar.zst"));
        let tools = [format!("--tool=linux/amd64={}", amd64.display()), format!("--tool=linux/arm64={}", arm64.display())];
        let create = ["create", ".", "--signing-key", "release.key", "--plain-http", registry.address(), "--cache", &cache, "-o", &output];
        lab::output(command(arch).args(create).args(tools));
        std::fs::read(workplace.path(&output)).unwrap()
    };
    assert!(bundle("amd64") == bundle("arm64"), "the bundles differ");
    let verified = lab::output(command("arm64").args(["verify", "amd64.tar.zst", "--key", "release.pub", "--format", "json"]));
    assert!(String::from_utf8(verified).unwrap().contains("\"result\": \"ok\""));
    let stores = ["amd64", "arm64"].map(|arch| {
        let root = format!("root-{arch}");
        lab::output(command(arch).args(["deploy", "arm64.tar.zst", "--key", "release.pub", "--root", &root, "--yes"]));
        assert_eq!(std::fs::read_to_string(workplace.path(&root).join("etc/deployed.conf")).unwrap(), "x = 1\n");
        let blobs = std::fs::read_dir(workplace.path(&root).join("var/lib/coracle/store/blobs/sha256")).unwrap();
        blobs.map(|blob| blob.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<String>>()
    });
    assert!(stores[0].len() > 20, "{stores:?}");
    // Images are kept for both platforms, the program for the node's own.
    let program = |path: &Path| Digest::of(&std::fs::read(path).unwrap()).hex();
    let programs = BTreeSet::from([program(&amd64), program(&arm64)]);
    assert_eq!(stores[0].symmetric_difference(&stores[1]).cloned().collect::<BTreeSet<String>>(), programs);
    assert!(stores[0].contains(&program(&amd64)) && stores[1].contains(&program(&arm64)));
}
