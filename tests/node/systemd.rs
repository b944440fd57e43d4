//! `coracle deploy` on a node with a real systemd and Debian's containerd package: units that start with the node, and a second
//! deploy that finds nothing to do.

use std::time::Instant;

use coracle::types::Platform;

use crate::cri::Cri;
use crate::deploy::{APP, CORACLE, Release};
use crate::machine::{MEDIA, Machine, text};
use crate::sample::PAUSE;

const REGISTRY: &str = "coracle-registry.service";
const SOCKET: &str = "coracle-registry.socket";

/// Runs `coracle` on the machine; it must succeed.
fn coracle(machine: &Machine, args: &str) -> String {
    let output = machine.inside(["sh", "-c", &format!("coracle {args}")]).output().unwrap();
    assert!(output.status.success(), "coracle {args}\n{}", text(&output));
    text(&output)
}

/// The ids of the plan's steps, each after what is done to it.
fn plan(machine: &Machine) -> Vec<String> {
    let output = machine.inside(["sh", "-c", &format!("{MEDIA}/coracle deploy {MEDIA}/shop.tar.zst --plan --format json")]).run().unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&output).unwrap();
    let word = |step: &serde_json::Value, key: &str| step[key].as_str().unwrap().to_owned();
    plan["steps"].as_array().unwrap().iter().map(|step| format!("{} {}", word(step, "action"), word(step, "id"))).collect()
}

fn main_pid(machine: &Machine, unit: &str) -> String {
    machine.on(&format!("systemctl show --property=MainPID --value {unit}"))
}

fn states(machine: &Machine, question: &str) -> String {
    machine.on(&format!("systemctl {question} {SOCKET} {REGISTRY} containerd.service")).replace('\n', " ").trim().to_owned()
}

fn deploy_again_changes_nothing(machine: &Machine) {
    let begun = Instant::now();
    let again = coracle(machine, &format!("deploy {MEDIA}/shop.tar.zst --yes"));
    let took = begun.elapsed();
    println!("deploy again: {took:?}\n{again}");
    assert!(again.ends_with("\n  nothing to do\n") && !again.contains("note"), "{again}");
    assert!(took.as_secs_f64() < 1.0, "{took:?}");
    let status = coracle(machine, "status");
    assert_eq!((status.lines().count(), status.starts_with("shop 1.0.0  deployed")), (1, true), "{status}");
}

#[test]
fn the_node_registry_is_a_unit_that_starts_with_the_node_and_containerd_pulls_through_it() {
    let release = Release::with(&format!("--tool {}={CORACLE}", Platform::of_this_program()));
    let program = release.directory().join("coracle").display().to_string();
    coracle::command::Command::new("cp").args([CORACLE, &program]).run().unwrap();
    let Some(mut machine) = Machine::boot(release.directory()) else { return };
    machine.on(&format!("mkdir -p /etc/coracle/keys.d; cp {MEDIA}/release.pub /etc/coracle/keys.d"));

    // What would happen, and what happens.
    let certs_d = "create mirror:/etc/containerd/certs.d";
    let expected = [
        "create stage",
        "create program",
        "create names",
        "create unit:coracle-registry.socket",
        "create unit:coracle-registry.service",
        "start registry",
        &format!("{certs_d}/registry.example/hosts.toml"),
        &format!("{certs_d}/registry.example:5000/hosts.toml"),
        "change mirror:/etc/containerd/config.toml",
        "restart containerd",
        "create images",
        "create file:/etc/shop.conf",
        "create file:/usr/local/bin/shop",
        "create receipt",
    ];
    assert_eq!(plan(&machine), expected);
    assert_eq!(machine.on("ls -d /var/lib/coracle /usr/local/bin/coracle 2>/dev/null"), "", "looking made something");
    let before = main_pid(&machine, "containerd");
    let begun = Instant::now();
    let first = machine.inside([&format!("{MEDIA}/coracle"), "deploy", &format!("{MEDIA}/shop.tar.zst"), "--yes"]).output().unwrap();
    println!("first deploy: {:?}\n{}", begun.elapsed(), text(&first));
    assert!(first.status.success(), "{}", text(&first));

    // Units, as an administrator looks at them.
    assert_eq!(states(&machine, "is-active"), "active active active");
    assert_eq!(states(&machine, "is-enabled"), "enabled enabled enabled");
    let status = machine.on(&format!("systemctl status --no-pager {REGISTRY}"));
    println!("{status}");
    for part in [
        "Loaded: loaded (/etc/systemd/system/coracle-registry.service; enabled",
        "Active: active (running)",
        "TriggeredBy: ● coracle-registry.socket",
    ] {
        assert!(status.contains(part), "{status}");
    }
    assert_eq!(machine.on("systemctl --failed --no-legend --no-pager"), "");
    assert_eq!(machine.on("systemd-analyze verify coracle-registry.socket coracle-registry.service 2>&1 | grep coracle"), "");
    assert_ne!(main_pid(&machine, "containerd"), before, "containerd was not restarted");
    let config = machine.on("cat /etc/containerd/config.toml");
    let kept = ["# containerd of this site, see the wiki\n", "    sandbox_image = \"registry.example/pause:1\" # pinned\n"];
    assert!(kept.iter().all(|line| config.contains(line)) && config.contains("config_path = \"/etc/containerd/certs.d\""), "{config}");
    deploy_again_changes_nothing(&machine);
    stopped_disabled_and_killed(&machine);

    // Seeded images run; forgotten ones are pulled by CRI, under their own names.
    let run = |machine: &Machine, name: &str, pull: bool| {
        let cri = Cri::connect(&machine.path("/run/containerd/containerd.sock"), "/tmp".as_ref(), machine.name());
        if pull {
            let names = machine.on("ctr -n k8s.io images ls -q").replace('\n', " ");
            machine.on(&format!("ctr -n k8s.io images rm --sync {names}"));
            assert_eq!(machine.on("ctr -n k8s.io images ls -q; ctr -n k8s.io content ls -q"), "");
            cri.pull(PAUSE);
            cri.pull(APP);
        }
        assert_eq!(cri.run(name, APP), 0);
    };
    run(&machine, "seeded", false);
    run(&machine, "pulled", true);

    // After a start of the node nobody needs to ask first.
    machine.reboot();
    assert_eq!(states(&machine, "is-active"), "active active active");
    run(&machine, "after-reboot", true);
    // Pulled without the labels that keep an image from being collected: seeded again.
    coracle(&machine, &format!("deploy {MEDIA}/shop.tar.zst --yes"));
    deploy_again_changes_nothing(&machine);
}

/// What was done by hand is seen, is not undone by looking, and is undone by the next deploy.
fn stopped_disabled_and_killed(machine: &Machine) {
    for (by_hand, seen) in [
        (format!("stop {REGISTRY}"), format!("{REGISTRY} is inactive")),
        (format!("stop {SOCKET} {REGISTRY}"), format!("{SOCKET} is inactive")),
        (format!("disable {SOCKET}"), format!("{SOCKET} is disabled: it would not start with the node")),
    ] {
        machine.on(&format!("systemctl {by_hand}"));
        let status = coracle(machine, "status");
        assert!(status.contains(&format!("\nregistry  {seen}\n")), "{by_hand}: {status}");
        assert_eq!(plan(machine), ["start registry", "change receipt"], "{by_hand}");
        assert!(coracle(machine, "status").contains(&seen), "looking started it");
        coracle(machine, &format!("deploy {MEDIA}/shop.tar.zst --yes"));
        assert_eq!(states(machine, "is-active"), "active active active", "{by_hand}");
        deploy_again_changes_nothing(machine);
    }
    // systemd itself sees to one that died.
    let pid = main_pid(machine, REGISTRY);
    machine.on(&format!("kill -KILL {pid}"));
    assert_eq!(machine.on("busybox wget -q -O - http://127.0.0.1:5000/v2/"), "{}");
    assert_ne!(main_pid(machine, REGISTRY), pid);
    deploy_again_changes_nothing(machine);
}
