//! The power goes in the middle of a deploy: everything that the node keeps lies on a file system in a file, which is copied at many
//! moments. Each copy is started as a node again and deployed to, and must end as a node where nothing happened.

use std::path::Path;
use std::time::Instant;

use crate::cri::Cri;
use crate::daemon::Daemon;
use crate::deploy::{APP, Release, registry, state};
use crate::disk::Disk;

const MOMENTS: u32 = 10;

#[test]
fn a_node_that_lost_its_power_during_a_deploy_ends_as_one_that_did_not() {
    let Some(undisturbed) = Daemon::start_as_node() else { return };
    let release = Release::new();
    let begun = Instant::now();
    release.deployed(&undisturbed);
    let whole = begun.elapsed();
    let expected = state(&undisturbed);
    drop(undisturbed);

    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::make(&directory.path().join("disk"), "512M");
    let node = Daemon::start_as_node_on(Some(&disk.at().join("node"))).unwrap();
    let mut deploy = release.begin(&node);
    let mut moments = Vec::new();
    let mut unfinished = 0;
    for n in 1..=MOMENTS {
        std::thread::sleep(whole / MOMENTS);
        let moment = directory.path().join(format!("moment-{n}"));
        node.while_all_is_frozen(|| disk.copy(&moment));
        unfinished += u32::from(deploy.try_wait().unwrap().is_none());
        moments.push(moment);
    }
    assert!(deploy.wait().unwrap().success());
    // Once more after it has said that it is done: nothing of that may be lost.
    let ended = directory.path().join("moment-ended");
    node.while_all_is_frozen(|| disk.copy(&ended));
    drop(node);
    println!("{unfinished} of {MOMENTS} moments are within the deploy of {whole:?}");
    assert!(unfinished > 0);
    for moment in moments {
        check(&moment, &release, &expected);
    }
    check(&ended, &release, &expected);
}

/// Starts a node from what a disk held, deploys and compares.
fn check(moment: &Path, release: &Release, expected: &str) {
    let disk = Disk::mount(moment);
    let node = Daemon::start_as_node_on(Some(&disk.at().join("node"))).unwrap();
    let continued = release.deployed(&node);
    assert_eq!(state(&node), expected, "{}; then\n{continued}", moment.display());
    registry(&node);
    let last = release.deployed(&node);
    assert!(last.contains("\n  nothing to do"), "{}: {last}", moment.display());
    let cri = Cri::connect(&node.address(), &node.path("logs"), node.name());
    cri.wait_for_image(APP);
    assert_eq!(cri.run("after", APP), 0, "{}", moment.display());
}
