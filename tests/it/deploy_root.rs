//! `coracle deploy --root` as a person runs it: nothing is made before somebody has said yes.

use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::create::{Bench, text};

/// Deploys on a terminal, where somebody types an answer.
fn answered(bench: &Bench, answer: &str) -> Output {
    let coracle = env!("CARGO_BIN_EXE_coracle");
    let deploy = format!("{coracle} deploy shop.tar.zst --key release.pub --root node --no-progress");
    let command = bench.coracle();
    let mut script = std::process::Command::new("script");
    script.args(["--quiet", "--return", "--command", &deploy, "/dev/null"]).current_dir(command.get_current_dir().unwrap());
    script.env_clear().envs(command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value)))).env("TERM", "dumb");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn nothing_is_made_before_somebody_says_yes() {
    let bench = Bench::new();
    bench.made("cache", "shop.tar.zst");
    let coracle = |args: &[&str]| bench.coracle().args(args).output().unwrap();
    let deploy = ["deploy", "shop.tar.zst", "--key", "release.pub", "--root", "node"];
    let plan = coracle(&[&deploy[..], &["--plan"]].concat());
    assert!(plan.status.success() && text(&plan).contains("/etc/shop.conf"), "{}", text(&plan));
    let nobody = coracle(&deploy);
    assert!(nobody.status.code() == Some(2) && text(&nobody).contains("no terminal to ask on"), "{}", text(&nobody));
    let no = answered(&bench, "n\n");
    assert!(no.status.success() && text(&no).contains("nothing was changed"), "{}", text(&no));
    assert!(!bench.path("node").exists());
    let status = coracle(&["status", "--root", "node"]);
    assert_eq!(status.status.code(), Some(2));
    assert!(text(&status).contains("there is no directory `node`") && text(&status).contains("hint"), "{}", text(&status));
    let yes = answered(&bench, "y\n");
    assert!(yes.status.success() && text(&yes).contains("deployed"), "{}", text(&yes));
    assert_eq!(std::fs::read_to_string(bench.path("node/etc/shop.conf")).unwrap(), "hello\n");
    let again = coracle(&deploy);
    assert!(again.status.success() && text(&again).contains("nothing to do"), "{}", text(&again));
}
