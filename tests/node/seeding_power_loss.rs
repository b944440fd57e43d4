//! Power loss: containerd's data lies on a file system in a file. A copy of that file is what the disk would hold if the power went now.

use std::path::{Path, PathBuf};

use coracle::command::Command;
use coracle::deploy::host::linux::containerd::ImageState;
use coracle::event::Silent;

use crate::cri::Cri;
use crate::daemon::Daemon;
use crate::sample::{Sample, Watched};
use crate::seeding::options;

/// A mounted file system in a file; unmounted at the end.
struct Disk {
    at: PathBuf,
}

impl Disk {
    fn mount(file: &Path, at: PathBuf) -> Self {
        coracle::fs::create_dir_all(&at).unwrap();
        run("mount", &["-o", "loop", &text(file), &text(&at)]);
        Self { at }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a daemon of a failed test may still hold it for a moment.
        drop(Command::new("umount").args(["-l", &text(&self.at)]).run());
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run(program: &str, args: &[&str]) {
    Command::new(program).args(args.iter().copied()).run().unwrap();
}

#[test]
fn what_is_present_after_a_power_loss_is_whole_and_the_rest_is_seeded_again() {
    // The first value also says whether this can run here at all.
    let Some(probe) = Daemon::start() else { return };
    drop(probe);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("disk");
    run("truncate", &["-s", "192M", &text(&file)]);
    run("mkfs.ext4", &["-q", "-F", &text(&file)]);
    let sample = Sample::of_two_images("");
    let images = sample.seed_images();
    let mut moments = Vec::new();
    for at in [3, 6, 8, 9, 10] {
        let disk_file = directory.path().join(format!("disk-{at}"));
        run("cp", &["--sparse=always", &text(&file), &text(&disk_file)]);
        let disk = Disk::mount(&disk_file, directory.path().join(format!("mount-{at}")));
        let daemon = Daemon::start_on(Some(&disk.at.join("containerd"))).unwrap();
        let during = directory.path().join(format!("lost-at-read-{at}"));
        let after = directory.path().join(format!("lost-at-end-{at}"));
        let lose = |to: &Path| daemon.while_frozen(|| run("cp", &["--sparse=always", &text(&disk_file), &text(to)]));
        let copy = || {
            lose(&during);
            Ok(())
        };
        daemon.connect().seed(&images, &Watched::interrupted(&sample.store, at, &copy), &options(), &Silent).unwrap();
        moments.push((during, false));
        if at == 10 {
            lose(&after);
            moments.push((after, true));
        }
    }
    for (moment, ended) in moments {
        let disk = Disk::mount(&moment, moment.with_extension("mount"));
        let daemon = Daemon::start_on(Some(&disk.at.join("containerd"))).unwrap();
        let containerd = daemon.connect();
        let seeded = containerd.seed(&images, &sample.store, &options(), &Silent).unwrap();
        assert_eq!(seeded.present == 2, ended, "{}: {seeded:?}", moment.display());
        assert_eq!(containerd.image_state(&images[1], "overlayfs").unwrap(), ImageState::Present);
        let cri = Cri::connect(&daemon.address(), &daemon.path("logs"), daemon.name());
        cri.wait_for_image(&images[0].reference.to_string());
        cri.wait_for_image(&images[1].reference.to_string());
        // The program is in the lower layer, what it looks for in the upper one.
        assert_eq!(cri.run("after", &images[1].reference.to_string()), 0, "{}", moment.display());
    }
}

#[test]
fn a_directory_that_outlived_its_database_entry_is_cleaned_up() {
    let Some(daemon) = Daemon::start() else { return };
    let sample = Sample::of_two_images("");
    let images = sample.seed_images();
    // The first snapshot is number 1: as if that directory had reached the disk, and the database not.
    coracle::fs::create_dir_all(&daemon.path("root/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs")).unwrap();
    let containerd = daemon.connect();
    containerd.seed(&images, &sample.store, &options(), &Silent).unwrap();
    assert_eq!(containerd.image_state(&images[1], "overlayfs").unwrap(), ImageState::Present);
}
