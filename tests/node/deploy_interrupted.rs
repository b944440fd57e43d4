//! A deploy that is killed at any moment is continued by the same command, and ends as one that was left alone.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::deploy::{Release, registry, state};

#[test]
fn a_deploy_that_is_killed_at_any_moment_ends_as_one_that_was_left_alone() {
    let Some(node) = Daemon::start_as_node() else { return };
    let release = Release::new();
    let begun = Instant::now();
    release.deployed(&node);
    let whole = begun.elapsed();
    let expected = state(&node);
    drop(node);
    let mut killed = 0;
    for eighth in 1..8 {
        let Some(node) = Daemon::start_as_node() else { return };
        killed += u32::from(kill_after(&node, &release, whole * eighth / 8));
        let continued = release.deployed(&node);
        assert_eq!(state(&node), expected, "killed after {eighth}/8 of {whole:?}; then\n{continued}");
        registry(&node);
        let last = release.deployed(&node);
        assert!(last.contains("\n  nothing to do"), "{last}");
    }
    println!("{killed} of 7 deploys of {whole:?} were killed");
    assert!(killed > 0);
}

/// Starts a deploy and kills it; whether it was still running.
fn kill_after(node: &Daemon, release: &Release, delay: Duration) -> bool {
    let words = [node.enter(), release.deploy()].concat();
    #[expect(clippy::disallowed_methods, reason = "a process that is killed")]
    let mut child = std::process::Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap().signal() == Some(9)
}
