//! Power loss: containerd's data lies on a file system in a file. A copy of that file is what the disk would hold if the power went now.

use coracle::deploy::host::linux::containerd::ImageState;
use coracle::event::Silent;

use crate::cri::Cri;
use crate::daemon::Daemon;
use crate::disk::Disk;
use crate::sample::{Sample, Watched};
use crate::seeding::options;

#[test]
fn what_is_present_after_a_power_loss_is_whole_and_the_rest_is_seeded_again() {
    // The first value also says whether this can run here at all.
    let Some(probe) = Daemon::start() else { return };
    drop(probe);
    let directory = tempfile::tempdir().unwrap();
    let sample = Sample::of_two_images("");
    let images = sample.seed_images();
    let mut moments = Vec::new();
    for at in [3, 6, 8, 9, 10] {
        let disk = Disk::make(&directory.path().join(format!("disk-{at}")), "192M");
        let daemon = Daemon::start_on(Some(&disk.at().join("containerd"))).unwrap();
        let during = directory.path().join(format!("lost-at-read-{at}"));
        let after = directory.path().join(format!("lost-at-end-{at}"));
        let copy = || {
            daemon.while_frozen(|| disk.copy(&during));
            Ok(())
        };
        daemon.connect().seed(&images, &Watched::interrupted(&sample.store, at, &copy), &options(), &Silent).unwrap();
        moments.push((during, false));
        if at == 10 {
            daemon.while_frozen(|| disk.copy(&after));
            moments.push((after, true));
        }
    }
    for (moment, ended) in moments {
        let disk = Disk::mount(&moment);
        let daemon = Daemon::start_on(Some(&disk.at().join("containerd"))).unwrap();
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
