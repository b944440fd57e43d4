//! A run that is killed anywhere is continued by the same call, and a containerd that is restarted meanwhile is waited for.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coracle::command::Command;
use coracle::deploy::host::linux::containerd::{BlobProvider, Containerd, Error, ImageState, SeedOptions};
use coracle::event::Silent;
use coracle::store::Store;
use coracle::types::Descriptor;
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
    for (at, how) in [(3, "killed"), (6, "killed"), (6, "stopped"), (9, "stopped")] {
        let sample = Sample::of_two_images(&format!("{how}-at-{at}"));
        let images = sample.seed_images();
        let containerd = daemon.lock().unwrap().connect();
        let restart = || {
            let mut daemon = daemon.lock().unwrap();
            if how == "killed" {
                daemon.kill();
            } else {
                daemon.stop();
            }
            daemon.spawn();
            Ok(())
        };
        let watched = Watched::interrupted(&sample.store, at, &restart);
        let seeded = containerd.seed(&images, &watched, &options(), &Silent).unwrap();
        assert_eq!((seeded.present, seeded.seeded), (0, 2), "{how} at read {at}");
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

/// Gives 3 MiB of each larger blob and then fails, or gives all and remembers from where.
struct Cut<'a> {
    store: &'a Store,
    wrong: bool,
    ends_early: bool,
    asked_from: AtomicU64,
}

impl BlobProvider for Cut<'_> {
    fn open(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let reader = self.store.open(blob, offset)?;
        if blob.size < 4 << 20 {
            return Ok(reader);
        }
        self.asked_from.store(offset, Ordering::SeqCst);
        let head: Box<dyn Read + Send> = if self.wrong { Box::new(io::repeat(0)) } else { Box::new(reader) };
        Ok(if self.ends_early { Box::new(head.take(3 << 20)) } else { head })
    }
}

#[test]
fn a_blob_goes_on_where_it_stopped_and_is_sent_again_where_that_was_wrong() {
    let Some(daemon) = Daemon::start() else { return };
    let containerd = daemon.connect();
    // What was on its way when the reading failed may or may not have arrived.
    for (wrong, salt, expected) in [(false, 1u32, 1..=3 << 20), (true, 2, 0..=0)] {
        let mut sample = Sample::new();
        let mut state = salt;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        let layer = sample.layer(&[("noise", 0o644, &noise.take(6 << 20).collect::<Vec<u8>>())]);
        sample.image(&format!("registry.example/noise:{salt}"), &[&layer], &["/noise"]);
        let images = sample.seed_images();
        let cut = Cut { store: &sample.store, wrong, ends_early: true, asked_from: AtomicU64::new(9) };
        let error = containerd.seed(&images, &cut, &options(), &Silent).unwrap_err();
        assert!(matches!(&error, Error::Blob { digest, .. } if *digest == layer.0.digest), "{error:?}");
        assert_eq!(cut.asked_from.load(Ordering::SeqCst), 0);
        let whole = Cut { wrong: false, ends_early: false, ..cut };
        containerd.seed(&images, &whole, &options(), &Silent).unwrap();
        let asked_from = whole.asked_from.load(Ordering::SeqCst);
        assert!(expected.contains(&asked_from), "asked from {asked_from}, not {expected:?}");
        assert_eq!(containerd.image_state(&images[0], "overlayfs").unwrap(), ImageState::Present);
    }
}
