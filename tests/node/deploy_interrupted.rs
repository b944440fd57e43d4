//! A deploy that is killed at any moment is continued by the same command, and ends as one that was left alone.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::deploy::{Release, registry, state};

/// Moments at which it is killed, unless `CORACLE_TEST_KILLS` says another number.
const KILLS: u32 = 12;

#[test]
fn a_deploy_that_is_killed_at_any_moment_ends_as_one_that_was_left_alone() {
    let Some(node) = Daemon::start_as_node() else { return };
    let kills = std::env::var("CORACLE_TEST_KILLS").map_or(KILLS, |number| number.parse().unwrap());
    let release = Release::new();
    let begun = Instant::now();
    release.deployed(&node);
    let whole = begun.elapsed();
    let expected = state(&node);
    drop(node);
    let mut killed = 0;
    for part in 1..=kills {
        let node = Daemon::start_as_node().unwrap();
        killed += u32::from(kill_after(&node, &release, whole * part / (kills + 1)));
        let continued = release.deployed(&node);
        assert_eq!(state(&node), expected, "killed after {part}/{} of {whole:?}; then\n{continued}", kills + 1);
        registry(&node);
        let last = release.deployed(&node);
        assert!(last.contains("\n  nothing to do"), "{last}");
    }
    println!("{killed} of {kills} deploys of {whole:?} were killed");
    assert!(killed > 0);
}

/// Starts a deploy and kills it; whether it was still running.
fn kill_after(node: &Daemon, release: &Release, delay: Duration) -> bool {
    let mut child = release.begin(node);
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap().signal() == Some(9)
}
