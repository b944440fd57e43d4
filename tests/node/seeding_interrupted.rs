//! A run that is killed anywhere is continued by the same call, and a containerd that is restarted meanwhile is waited for.

use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use coracle::command::Command;
use coracle::deploy::host::linux::containerd::{Containerd, Error, ImageState, SeedOptions};
use coracle::event::Silent;
use rustix::process::{Signal, getpid, kill_process};

use crate::daemon::Daemon;
use crate::sample::{Sample, Watched};
use crate::seeding::options;

/// Runs as a process of its own, started by the test below: seeds, and is killed at the read that `CORACLE_TEST_DIE_AT` says.
#[test]
#[ignore = "a part of `a_run_that_is_killed_at_any_read_is_continued`"]
fn seeds_and_dies() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let sample = Sample::of_two_images(&variable("CORACLE_TEST_SALT"));
    let die = || kill_process(getpid(), Signal::KILL).map_err(io::Error::from);
    let watched = Watched::interrupted(&sample.store, variable("CORACLE_TEST_DIE_AT").parse().unwrap(), &die);
    let containerd = Containerd::connect(Path::new(&variable("CORACLE_TEST_ADDRESS"))).unwrap();
    containerd.seed(&sample.seed_images(), &watched, &options(), &Silent).unwrap();
}

#[test]
fn a_run_that_is_killed_at_any_read_is_continued() {
    let Some(daemon) = Daemon::start() else { return };
    let mut survived = false;
    for die_at in 1.. {
        let salt = format!("killed-at-{die_at}");
        let child = Command::new(std::env::current_exe().unwrap().display().to_string())
            .args(["--exact", "seeding_interrupted::seeds_and_dies", "--ignored"])
            .env("CORACLE_TEST_SALT", &salt)
            .env("CORACLE_TEST_DIE_AT", die_at.to_string())
            .env("CORACLE_TEST_ADDRESS", daemon.address().display().to_string());
        survived = child.output().unwrap().status.success();
        let sample = Sample::of_two_images(&salt);
        let images = sample.seed_images();
        let containerd = daemon.connect();
        containerd.seed(&images, &sample.store, &options(), &Silent).unwrap();
        for image in &images {
            assert_eq!(containerd.image_state(image, "overlayfs").unwrap(), ImageState::Present, "killed at read {die_at}");
        }
        if survived {
            // One read of each configuration to plan, eight blobs to send.
            assert_eq!(die_at, 11);
            break;
        }
    }
    assert!(survived);
    daemon.collect_garbage();
    assert_eq!(daemon.ctr(&["leases", "ls", "-q"]), "");
    assert!(!daemon.ctr(&["snapshots", "ls"]).contains("Active"));
}

#[test]
fn a_read_that_fails_half_way_names_the_blob_and_the_next_run_goes_on() {
    let Some(daemon) = Daemon::start() else { return };
    let sample = Sample::of_two_images("");
    let images = sample.seed_images();
    let containerd = daemon.connect();
    let fail = || Err(io::Error::other("the disk is gone"));
    let watched = Watched::interrupted(&sample.store, 5, &fail);
    let error = containerd.seed(&images, &watched, &options(), &Silent).unwrap_err();
    assert!(matches!(&error, Error::Blob { source, .. } if source.to_string() == "the disk is gone"), "{error:?}");
    containerd.seed(&images, &sample.store, &options(), &Silent).unwrap();
    assert_eq!(containerd.image_state(&images[1], "overlayfs").unwrap(), ImageState::Present);
}

#[test]
fn a_containerd_that_is_restarted_in_the_middle_is_waited_for() {
    let Some(daemon) = Daemon::start() else { return };
    let daemon = Mutex::new(daemon);
    for at in [3, 6, 9] {
        let sample = Sample::of_two_images(&format!("restarted-at-{at}"));
        let images = sample.seed_images();
        let containerd = daemon.lock().unwrap().connect();
        let restart = || {
            let mut daemon = daemon.lock().unwrap();
            daemon.kill();
            daemon.spawn();
            Ok(())
        };
        let watched = Watched::interrupted(&sample.store, at, &restart);
        let seeded = containerd.seed(&images, &watched, &options(), &Silent).unwrap();
        assert_eq!((seeded.present, seeded.seeded), (0, 2), "restarted at read {at}");
        assert_eq!(containerd.image_state(&images[1], "overlayfs").unwrap(), ImageState::Present);
    }
}

#[test]
fn a_containerd_that_stays_away_is_given_up_on_in_time() {
    let Some(daemon) = Daemon::start() else { return };
    let daemon = Mutex::new(daemon);
    let sample = Sample::of_two_images("");
    let containerd = daemon.lock().unwrap().connect();
    let kill = || {
        daemon.lock().unwrap().kill();
        Ok(())
    };
    let watched = Watched::interrupted(&sample.store, 4, &kill);
    let patience = Duration::from_secs(1);
    let error = containerd.seed(&sample.seed_images(), &watched, &SeedOptions { patience, ..options() }, &Silent).unwrap_err();
    assert!(matches!(&error, Error::Lost { waited, .. } if *waited == patience), "{error:?}");
}
