//! The four stages together, on a node in memory and on a real directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::drift::Difference;
use super::host::Host;
use super::host::fake::{End, Ending, FakeHost};
use super::host::linux::LinuxHost;
use super::options::{Downgrade, OnDrift, Options};
use super::plan::{DeployPlan, Error as PlanError};
use super::status::{State, status};
use super::testing::{Failure, Package, with_token};
use super::{apply, archive};
use crate::fs;
use crate::types::Platform;

fn ids(plan: &DeployPlan) -> Vec<String> {
    plan.steps.iter().map(|step| format!("{} {}: {}", step.action.word(), step.id, step.reason)).collect()
}

fn refusal(package: &Package, host: &FakeHost, options: &Options) -> PlanError {
    package.plan(host, options).unwrap_err()
}

#[test]
fn the_whole_plan_for_a_bare_node() {
    let host = FakeHost::new();
    let options = Options { running_program: Some("/media/coracle".into()), ..with_token() };
    let plan = Package::sample("1.0.0").plan(&host, &options).unwrap();
    insta::assert_snapshot!(plan.to_string());
}

#[test]
fn a_second_plan_is_empty_and_needs_no_secret() {
    let (host, package) = (FakeHost::new(), Package::sample("1.0.0"));
    package.deploy(&host, &with_token()).unwrap();
    let plan = package.plan(&host, &Options::default()).unwrap();
    assert_eq!(plan.to_string(), "demo 1.0.0 on node-1 (linux/amd64)\n  nothing to do");
    assert_eq!(status(&host).unwrap().iter().map(|status| status.state).collect::<Vec<_>>(), [State::Deployed]);
}

#[test]
fn a_secret_is_in_the_file_that_needs_it_and_nowhere_else() {
    let (host, package) = (FakeHost::new(), Package::sample("1.0.0"));
    let plan = package.plan(&host, &with_token()).unwrap();
    assert!(!format!("{plan:?}{plan}").contains("s3cret-value"));
    package.deploy(&host, &with_token()).unwrap();
    let state = host.state();
    let holding = state.tree.iter().filter(|(_, (_, bytes))| String::from_utf8_lossy(bytes).contains("s3cret-value"));
    assert_eq!(holding.map(|(path, _)| path.clone()).collect::<Vec<_>>(), [PathBuf::from("/etc/demo/node.conf")]);
}

#[test]
fn a_run_that_is_killed_before_any_effect_is_continued_to_the_same_end() {
    let package = Package::sample("1.0.0");
    let first = FakeHost::new();
    package.deploy(&first, &with_token()).unwrap();
    for n in 0.. {
        let host = FakeHost::new();
        let ending = Ending::new(&host, End::Killed, n);
        let killed = package.deploy_ending(&ending, &with_token()).is_err();
        package.deploy(&host, &with_token()).unwrap();
        assert_same_end(&host, &first, n);
        if !killed {
            assert!(n > 40, "only {n} effects were seen");
            break;
        }
    }
}

#[test]
fn an_upgrade_that_is_killed_before_any_effect_is_continued_or_taken_back() {
    let (old, new) = (Package::sample("1.0.0"), Package::sample("2.0.0"));
    let (first, back) = (FakeHost::new(), FakeHost::new());
    old.deploy(&first, &with_token()).unwrap();
    new.deploy(&first, &with_token()).unwrap();
    old.deploy(&back, &with_token()).unwrap();
    for n in 0.. {
        let mut killed = false;
        for forward in [true, false] {
            let host = FakeHost::new();
            old.deploy(&host, &with_token()).unwrap();
            killed = new.deploy_ending(&Ending::new(&host, End::Killed, n), &with_token()).is_err();
            if forward {
                new.deploy(&host, &with_token()).unwrap();
                assert_same_end(&host, &first, n);
            } else if killed {
                let options = Options { downgrade: Downgrade::Allow, ..with_token() };
                old.deploy(&host, &options).unwrap();
                assert_eq!(host.text("/etc/demo/plain.conf").as_deref(), Some("version 1.0.0\n"), "killed at {n}");
                assert_eq!(host.text("/opt/cni/bin/bridge").as_deref(), Some("1.0.0"), "killed at {n}");
                assert_eq!(status(&host).unwrap()[0].state, State::Deployed, "killed at {n}");
            }
        }
        if !killed {
            break;
        }
    }
}

#[test]
fn a_full_disk_at_any_effect_loses_nothing() {
    let package = Package::sample("1.0.0");
    let first = FakeHost::new();
    package.deploy(&first, &with_token()).unwrap();
    for n in 0.. {
        let host = FakeHost::new();
        let ending = Ending::new(&host, End::DiskFull, n);
        let failed = package.deploy_ending(&ending, &with_token()).is_err();
        if ending.effects() <= n {
            break;
        }
        assert!(failed, "effect {n} failed and nobody said so");
        package.deploy(&host, &with_token()).unwrap();
        assert_same_end(&host, &first, n);
    }
}

/// Everything but the journal, which tells the story of its own run.
fn assert_same_end(host: &FakeHost, expected: &FakeHost, n: usize) {
    let state = |host: &FakeHost| {
        let state = host.state();
        let tree = state.tree.iter().filter(|(path, _)| !path.ends_with("journal/demo.jsonl"));
        let line =
            |(path, (entry, bytes)): (&PathBuf, &(_, Vec<u8>))| format!("{} {entry:?} {}", path.display(), String::from_utf8_lossy(bytes));
        let mut lines: Vec<String> = tree.map(line).collect();
        lines.push(format!("{:?} {}", state.seeded, state.registry));
        lines
    };
    let (is, expected) = (state(host), state(expected));
    let other: Vec<_> =
        is.iter().filter(|line| !expected.contains(line)).chain(expected.iter().filter(|line| !is.contains(line))).collect();
    assert!(other.is_empty(), "ended at effect {n}: {other:#?}");
    assert_eq!(status(host).unwrap().iter().map(|status| status.state).collect::<Vec<_>>(), [State::Deployed], "ended at effect {n}");
    let plan = Package::sample(&status(host).unwrap()[0].version.clone().unwrap().to_string()).plan(host, &Options::default()).unwrap();
    assert!(plan.is_empty(), "ended at effect {n}: {plan}");
}

#[test]
fn a_real_directory_is_deployed_to_and_continued_after_each_kill() {
    let package = Package::sample("1.0.0");
    let listing = |root: &Path| {
        let mut found = Vec::new();
        let mut todo = vec![root.to_owned()];
        while let Some(directory) = todo.pop() {
            for path in fs::read_dir(&directory).unwrap() {
                let metadata = fs::metadata(&path).unwrap().unwrap();
                let name = path.strip_prefix(root).unwrap().display().to_string();
                if metadata.is_dir() {
                    todo.push(path);
                } else if metadata.is_file() && path.extension().is_none_or(|end| end != "jsonl") {
                    found.push(format!(
                        "{name} {:o} {}",
                        std::os::unix::fs::MetadataExt::mode(&metadata),
                        crate::types::Digest::of(&fs::read(&path, 1 << 20).unwrap())
                    ));
                } else {
                    found.push(name);
                }
            }
        }
        found.sort();
        found
    };
    let mut expected = None;
    for n in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let host = LinuxHost::directory(directory.path()).unwrap();
        let killed = n > 0 && package.deploy_ending(&Ending::new(&host, End::Killed, n), &with_token()).is_err();
        package.deploy(&host, &with_token()).unwrap();
        assert!(package.plan(&host, &Options::default()).unwrap().is_empty(), "killed at {n}");
        assert_eq!(status(&host).unwrap()[0].state, State::Deployed, "killed at {n}");
        let found = listing(directory.path());
        assert_eq!(*expected.get_or_insert_with(|| found.clone()), found, "killed at {n}");
        if n > 0 && !killed {
            break;
        }
    }
}

#[test]
fn two_deploys_at_once_are_kept_apart_and_the_second_says_who_holds_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let host = LinuxHost::directory(directory.path()).unwrap();
    let lock = apply::lock(&host, "process 7, coracle deploy a.tar.zst").unwrap();
    let error = apply::lock(&host, "another").err().unwrap();
    assert_eq!(error.to_string(), "another deploy is changing this node: process 7, coracle deploy a.tar.zst");
    drop(lock);
    apply::lock(&host, "another").unwrap();
}

#[test]
fn what_was_changed_by_hand_is_refused_kept_or_overwritten() {
    let (host, package) = (FakeHost::new(), Package::sample("1.0.0"));
    package.deploy(&host, &with_token()).unwrap();
    host.put("/etc/demo/plain.conf", "mine\n");
    host.remove(Path::new("/opt/cni/bin/doc/readme")).unwrap();
    let PlanError::Drift { drift } = refusal(&package, &host, &Options::default()) else { panic!("not refused as drift") };
    let shown: Vec<String> = drift.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["`/etc/demo/plain.conf` has other content\n  - version 1.0.0\n  + mine", "`/opt/cni/bin/doc/readme` is missing"]);
    assert_eq!(status(&host).unwrap()[0].drift, drift);
    assert_eq!(drift[1].differences, [Difference::Missing]);

    let keep = Options { on_drift: OnDrift::Keep, ..Options::default() };
    assert!(package.plan(&host, &keep).unwrap().is_empty());
    let overwrite = Options { on_drift: OnDrift::Overwrite, ..Options::default() };
    let receipt = package.deploy(&host, &overwrite).unwrap();
    assert_eq!(host.text("/etc/demo/plain.conf").as_deref(), Some("version 1.0.0\n"));
    let previous = receipt.files[Path::new("/etc/demo/plain.conf")].previous.unwrap();
    assert_eq!(host.text(&format!("/var/lib/coracle/previous/demo/{}", previous.hex())).as_deref(), Some("mine\n"));
    assert!(package.plan(&host, &Options::default()).unwrap().is_empty());
}

#[test]
fn an_upgrade_changes_what_differs_and_removes_what_left() {
    let host = FakeHost::new();
    Package::sample("1.0.0").deploy(&host, &with_token()).unwrap();
    host.put("/opt/cni/bin/mine", "not of the package");
    let mut new = Package::sample("2.0.0");
    new.contents.components[0].files.remove(1);
    let files = &mut new.contents.components[0].files;
    files.pop();
    let extra = new.contents.components.pop().unwrap();
    new.archive("/opt/cni/bin", "plugins.tgz", &[("./bridge", "2.0.0"), ("./new", "n")]);
    new.contents.components.push(extra);
    let plan = new.plan(&host, &Options::default()).unwrap();
    assert_eq!(
        ids(&plan),
        [
            "create stage: 2 of 10 blobs are not in the store",
            "change file:/etc/demo/plain.conf: it changes in the package",
            "change extract:/opt/cni/bin:plugins.tgz: plugins.tgz: the archive changes",
            "remove remove:/opt/demo/tool: it left the package",
            "change receipt: from 1.0.0 to 2.0.0",
        ]
    );
    new.deploy(&host, &Options::default()).unwrap();
    let names: Vec<PathBuf> = host.list(Path::new("/opt/cni/bin")).unwrap();
    assert_eq!(names, ["bridge", "link", "mine", "new"].map(|name| Path::new("/opt/cni/bin").join(name)));
    assert_eq!((host.text("/opt/demo/tool"), host.text("/opt/cni/bin/bridge").as_deref()), (None, Some("2.0.0")));
    assert!(new.plan(&host, &Options::default()).unwrap().is_empty());
}

#[test]
fn components_are_selected_remembered_and_shown() {
    let (host, package) = (FakeHost::new(), Package::sample("1.0.0"));
    package.deploy(&host, &with_token()).unwrap();
    assert_eq!(host.text("/etc/demo/extra.conf"), None);
    let name = || BTreeSet::from(["extra".parse().unwrap()]);
    let with = Options { with: name(), ..Options::default() };
    assert_eq!(package.plan(&host, &with).unwrap().notes, ["component `extra` is new on this node"]);
    package.deploy(&host, &with).unwrap();
    assert!(package.plan(&host, &Options::default()).unwrap().is_empty());
    let without = Options { without: name(), ..Options::default() };
    let plan = package.plan(&host, &without).unwrap();
    assert_eq!(plan.notes, ["component `extra` leaves this node"]);
    assert_eq!(ids(&plan), ["remove remove:/etc/demo/extra.conf: it left the package", "change receipt: what this node holds changes"]);
    let only = Options { only: name(), ..Options::default() };
    host.put("/etc/demo/plain.conf", "mine\n");
    assert!(package.plan(&host, &only).unwrap().is_empty(), "--only looks at its components alone");
    let nobody = Options { with: BTreeSet::from(["extr".parse().unwrap()]), ..Options::default() };
    assert_eq!(refusal(&package, &host, &nobody).to_string(), "the package has no component `extr`");
}

#[test]
fn runtimes_that_are_here_are_told_to_pull_from_the_node_registry() {
    let (host, package) = (FakeHost::new(), Package::sample("1.0.0"));
    let permissions = super::host::Permissions { mode: 0o755, uid: 0, gid: 0 };
    for directory in ["/etc/containerd", "/etc/containers"] {
        host.make_directory(Path::new(directory), permissions).unwrap();
    }
    let plan = package.plan(&host, &with_token()).unwrap();
    let mirrors: Vec<String> = ids(&plan).into_iter().filter(|id| id.contains("mirror:")).collect();
    assert_eq!(
        mirrors,
        [
            "create mirror:/etc/containerd/certs.d/ghcr.io/hosts.toml: containerd pulls ghcr.io from the node registry",
            "create mirror:/etc/containerd/config.toml: config_path = \"/etc/containerd/certs.d\"",
            "create mirror:/etc/containers/registries.conf.d/50-coracle.conf: podman and CRI-O pull from the node registry",
        ]
    );
    // Without systemd nobody but a person can restart it; that is said until it has happened.
    let restart = ["containerd reads its changed configuration at its next start, and pulls from the node registry then: restart it"];
    assert_eq!(plan.notes, restart);
    package.deploy(&host, &with_token()).unwrap();
    let second = package.plan(&host, &Options::default()).unwrap();
    assert!(second.is_empty() && second.notes == restart, "{second}");
    host.state().containerd.runs_with_older_configuration = false;
    assert_eq!(package.plan(&host, &Options::default()).unwrap().notes, [""; 0]);
    let names =
        crate::registry::names::decode(host.text("/var/lib/coracle/registry/names/demo.json").unwrap().as_bytes(), Path::new("n")).unwrap();
    assert_eq!(names.repositories.keys().collect::<Vec<_>>(), ["ghcr.io/acme/app"]);
}

fn directory(host: &FakeHost, path: &str) {
    host.make_directory(Path::new(path), super::host::Permissions { mode: 0o755, uid: 0, gid: 0 }).unwrap();
}

#[test]
fn a_containerd_that_systemd_runs_is_restarted_once_also_after_a_kill_between_its_configuration_and_that() {
    let package = Package::sample("1.0.0");
    let host_with_containerd = || {
        let host = FakeHost::new();
        directory(&host, "/etc/containerd");
        host.state().containerd.unit = Some("containerd.service".to_owned());
        host
    };
    let host = host_with_containerd();
    let plan = package.plan(&host, &with_token()).unwrap();
    let expected = "restart containerd: containerd.service reads its configuration, which changed, when it starts";
    assert!(ids(&plan).contains(&expected.to_owned()) && plan.notes.is_empty(), "{plan}");
    for n in 0.. {
        let host = host_with_containerd();
        let killed = package.deploy_ending(&Ending::new(&host, End::Killed, n), &with_token()).is_err();
        package.deploy(&host, &with_token()).unwrap();
        assert!(!host.state().containerd.runs_with_older_configuration, "killed at {n}");
        assert!(package.plan(&host, &Options::default()).unwrap().is_empty(), "killed at {n}");
        if !killed {
            break;
        }
    }
}

#[test]
fn mirrors_of_a_registry_host_that_no_package_needs_any_more_are_taken_away() {
    let (host, mut old, mut new) = (FakeHost::new(), Package::sample("1.0.0"), Package::sample("2.0.0"));
    for path in ["/etc/containerd", "/etc/containers", "/etc/rancher", "/etc/rancher/k3s", "/etc/containerd/certs.d"] {
        directory(&host, path);
    }
    for path in ["/etc/containerd/certs.d/both.example", "/etc/containerd/certs.d/theirs.example"] {
        directory(&host, path);
    }
    let theirs = "[host.\"https://harbor.example\"]\n";
    host.put("/etc/containerd/certs.d/both.example/hosts.toml", theirs);
    host.put("/etc/containerd/certs.d/theirs.example/hosts.toml", theirs);
    for package in [&mut old, &mut new] {
        package.component("more");
    }
    old.image("left.example:5000/a:1", "a");
    old.image("both.example/a:1", "b");
    let plan = old.plan(&host, &with_token()).unwrap();
    let yaml =
        "`/etc/rancher/k3s/registries.yaml` changes; k3s reads it at its next start: systemctl restart k3s, or k3s-agent on an agent";
    assert!(plan.notes.contains(&yaml.to_owned()), "{plan}");
    old.deploy(&host, &with_token()).unwrap();
    let yaml = |host: &FakeHost| host.text("/etc/rancher/k3s/registries.yaml").unwrap();
    assert!(yaml(&host).contains("  \"left.example:5000\":\n"), "{}", yaml(&host));
    assert_ne!(host.text("/etc/containerd/certs.d/both.example/hosts.toml").as_deref(), Some(theirs));

    let plan = new.plan(&host, &Options::default()).unwrap();
    let mirrors: Vec<String> = ids(&plan).into_iter().filter(|id| id.contains("mirror:")).collect();
    assert_eq!(
        mirrors,
        [
            "change mirror:/etc/containerd/certs.d/both.example/hosts.toml: no package has images of both.example any more",
            "remove mirror:/etc/containerd/certs.d/left.example:5000/hosts.toml: no package has images of left.example:5000 any more",
            "remove mirror:/etc/containerd/certs.d/left.example:5000: no package has images of left.example:5000 any more; where nothing else is in it",
            "change mirror:/etc/containers/registries.conf.d/50-coracle.conf: podman and CRI-O pull from the node registry",
            "change mirror:/etc/rancher/k3s/registries.yaml: k3s pulls from the node registry",
        ]
    );
    new.deploy(&host, &Options::default()).unwrap();
    assert_eq!(host.text("/etc/containerd/certs.d/both.example/hosts.toml").unwrap().trim(), theirs.trim());
    assert_eq!(host.text("/etc/containerd/certs.d/theirs.example/hosts.toml").as_deref(), Some(theirs));
    assert_eq!(host.look(Path::new("/etc/containerd/certs.d/left.example:5000")).unwrap(), None);
    assert!(!yaml(&host).contains("left.example") && yaml(&host).contains("ghcr.io"), "{}", yaml(&host));
    assert!(new.plan(&host, &Options::default()).unwrap().is_empty());
}

#[test]
fn roles_are_asked_for_and_remembered() {
    let (host, mut package) = (FakeHost::new(), Package::new("1.0.0"));
    package.component("control").only.roles = vec!["control-plane".into()];
    package.file("/etc/control", "c");
    package.component("worker").only.roles = vec!["worker".into()];
    package.file("/etc/worker", "w");
    assert_eq!(refusal(&package, &host, &Options::default()).to_string(), "`demo` has roles, and none was given");
    let role = |role: &str| Options { role: Some(role.into()), ..Options::default() };
    assert_eq!(refusal(&package, &host, &role("wroker")).to_string(), "the package has no role `wroker`");
    package.deploy(&host, &role("worker")).unwrap();
    assert_eq!((host.text("/etc/worker").as_deref(), host.text("/etc/control")), (Some("w"), None));
    assert!(package.plan(&host, &Options::default()).unwrap().is_empty());
    assert_eq!(package.plan(&host, &role("control-plane")).unwrap().notes[0], "role changes from `worker` to `control-plane`");
}

#[test]
fn refusals_name_what_they_are_about() {
    let host = FakeHost::new();
    let message = |change: fn(&mut Package), options: &Options| {
        let mut package = Package::sample("1.0.0");
        change(&mut package);
        refusal(&package, &host, options).to_string()
    };
    let set = |name: &str| Options { set: [(name.parse().unwrap(), "x".to_owned())].into(), ..with_token() };
    assert_eq!(message(|_| {}, &Options::default()), "no value for `token`");
    assert_eq!(message(|_| {}, &set("adress")), "the package has no variable `adress`");
    let pattern =
        |package: &mut Package| package.contents.variables.get_mut(&"token".parse().unwrap()).unwrap().pattern = Some("[0-9]+".into());
    assert_eq!(message(pattern, &with_token()), "the value of `token` does not match `[0-9]+`");
    let arm = |package: &mut Package| package.contents.platforms = vec![Platform::linux_arm64()];
    assert_eq!(message(arm, &with_token()), "`demo` carries nothing for linux/amd64");
    let owner = |package: &mut Package| package.contents.components[0].files[0].owner = Some("nobody-here".into());
    assert_eq!(message(owner, &with_token()), "`/etc/demo/plain.conf` is to belong to user `nobody-here`, which this node does not have");
    let twice = |package: &mut Package| {
        package.contents.components[1].optional = false;
        package.file("/etc/demo/plain.conf", "x");
    };
    assert_eq!(message(twice, &with_token()), "`/etc/demo/plain.conf` is in component `base` and in component `extra`");
    let unknown = |package: &mut Package| {
        package.contents.components[1].optional = false;
        package.file("/etc/t", "${{ node.nmae }}").template = true;
    };
    assert_eq!(message(unknown, &with_token()), "the template of `/etc/t` cannot be rendered");
}

#[test]
fn an_older_version_and_another_key_are_refused() {
    let host = FakeHost::new();
    Package::sample("2.0.0").deploy(&host, &with_token()).unwrap();
    let mut other = Package::sample("1.0.0");
    assert_eq!(refusal(&other, &host, &with_token()).to_string(), "`demo` 1.0.0 is older than 2.0.0, which is on this node");
    let allowed = Options { downgrade: Downgrade::Allow, ..with_token() };
    assert!(other.plan(&host, &allowed).is_ok());
    for signed_by in [BTreeSet::from(["k2".to_owned()]), BTreeSet::new()] {
        other.signed_by = signed_by;
        assert_eq!(refusal(&other, &host, &allowed).to_string(), "`demo` came to this node signed by another key");
    }
}

#[test]
fn too_little_space_is_refused_with_its_numbers_before_anything_happens() {
    let mut host = FakeHost::new();
    host.free = 100;
    let PlanError::NoSpace { space } = refusal(&Package::sample("1.0.0"), &host, &with_token()) else { panic!("not refused for space") };
    assert_eq!((space.len(), space[0].free, space[0].needs > 100), (1, 100, true));
}

#[test]
fn a_hostile_archive_stops_the_deploy_before_anything_outside_the_store_changes() {
    let (host, mut package) = (FakeHost::new(), Package::new("1.0.0"));
    package.component("base");
    package.file("/etc/first", "1");
    package.archive("/opt/x", "x.tgz", &[("d/a", "a")]);
    let bytes = {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "out", "/etc").unwrap();
        builder.into_inner().unwrap()
    };
    let descriptor = crate::types::Descriptor::of("x", &bytes);
    package.blobs.insert(descriptor.digest, bytes);
    for content in package.contents.components[0].files[1].contents.values_mut() {
        content.descriptor = descriptor.clone();
        content.archive = Some(crate::bundle::contents::ArchiveFormat::Tar);
    }
    let Err(Failure::Apply(apply::Error::Archive { source: archive::Error::Member { name, .. }, .. })) =
        package.deploy(&host, &Options::default())
    else {
        panic!("not refused")
    };
    assert_eq!((name.as_str(), host.text("/etc/first"), host.look(Path::new("/opt")).unwrap()), ("out", None, None));
}

#[test]
fn blobs_that_a_power_loss_damaged_are_found_and_staged_again() {
    let (mut host, package) = (FakeHost::new(), Package::sample("1.0.0"));
    let staged = 3;
    let ending = Ending::new(&host, End::Killed, 12 + staged);
    assert!(package.deploy_ending(&ending, &with_token()).is_err());
    let store = crate::store::Store::open(host.store(Path::new("/")).unwrap()).unwrap();
    let (digest, size) = store.list().unwrap()[0];
    store.remove(&digest).unwrap();
    fs::write_atomic(&store.blob_path(&digest), &vec![0; usize::try_from(size).unwrap()], 0o444).unwrap();
    host.identity.boot_id = "boot-2".to_owned();
    let plan = package.plan(&host, &with_token()).unwrap();
    assert!(plan.steps[0].reason.ends_with(", 1 of them damaged by a power loss"), "{}", plan.steps[0].reason);
    package.deploy(&host, &with_token()).unwrap();
    let descriptor = crate::types::Descriptor::new("", digest, size);
    assert_eq!(store.read(&descriptor).unwrap(), package.blobs[&digest]);
}

#[test]
fn a_real_bundle_is_planned_staged_and_deployed_into_a_directory_and_then_nothing_is_to_be_done() {
    use super::bundle::{BundleBlobs, plan_bundle};
    use crate::bundle::testing;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(&root).unwrap();
    let bundle = testing::small(directory.path()).verified(&directory.path().join("demo.tar.zst"));
    let host = LinuxHost::directory(&root).unwrap();
    let _lock = apply::lock(&host, "a test").unwrap();
    let (plan, _) = plan_bundle(&bundle, &host, &Options::default()).unwrap();
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(steps, ["stage", "program", "names", "file:/etc/demo.conf", "receipt"]);
    let blobs = BundleBlobs { bundle: &bundle, threads: testing::threads(2) };
    apply::apply(plan, &blobs, &host, 0, &crate::event::Silent).unwrap();
    assert_eq!(fs::read(&root.join("usr/local/bin/coracle"), 100).unwrap(), b"a program");
    assert_eq!(fs::read(&root.join("etc/demo.conf"), 1000).unwrap(), b"key = value\n".repeat(50));
    let (plan, _) = plan_bundle(&bundle, &host, &Options::default()).unwrap();
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(status(&host).unwrap()[0].state, State::Deployed);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn a_second_plan_of_any_package_is_empty(
        files in proptest::collection::btree_map("/(etc|opt)/[a-c]{1,3}\\.conf", ("[a-z\n]{0,20}", 0_u32..0o7777, proptest::bool::ANY), 0..6),
        image in proptest::bool::ANY,
        containerd in proptest::bool::ANY,
    ) {
        let mut host = FakeHost::new();
        host.containerd = containerd;
        let mut package = Package::new("1.0.0");
        package.component("base");
        for (path, (text, mode, template)) in &files {
            let file = package.file(path, text);
            file.mode = Some(crate::types::FileMode::from_bits(*mode));
            file.template = *template;
        }
        if image {
            package.image("docker.io/library/a:1", "layer");
        }
        let options = Options { running_program: Some("/coracle".into()), ..Options::default() };
        package.deploy(&host, &options).unwrap();
        let plan = package.plan(&host, &options).unwrap();
        proptest::prop_assert!(plan.is_empty(), "{}", plan);
    }
}
