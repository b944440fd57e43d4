//! How long seeding takes beside `ctr images import` of the same images into an equal, empty containerd.

use std::time::Instant;

use coracle::event::Silent;

use crate::daemon::Daemon;
use crate::sample::Sample;
use crate::seeding::options;

/// Directories of this machine that are made into layers, per image.
const IMAGES: [(&str, &[&str]); 3] = [
    ("registry.example/one:1", &["/usr/lib/gcc", "/usr/share/doc"]),
    ("registry.example/two:1", &["/usr/share/locale", "/usr/lib/python3.11"]),
    ("registry.example/three:1", &["/usr/share/man", "/usr/bin"]),
];
/// More than this many bytes of a directory are left out.
const LAYER_LIMIT: usize = 128 << 20;

#[test]
#[ignore = "a measurement: run it alone, on an idle machine, with --release --nocapture"]
fn seeding_is_faster_than_importing_with_ctr() {
    let (Some(ours), Some(theirs)) = (Daemon::start(), Daemon::start()) else { return };
    let mut sample = Sample::new();
    for (name, directories) in IMAGES {
        let layers: Vec<_> = directories.iter().map(|directory| sample.layer_of_directory(directory, LAYER_LIMIT)).collect();
        sample.image(name, &layers.iter().collect::<Vec<_>>(), &["/bin/true"]);
    }
    let images = sample.seed_images();
    let containerd = ours.connect();
    let (begun, cpu) = (Instant::now(), ours.cpu_seconds());
    let seeded = containerd.seed(&images, &sample.store, &options(), &Silent).unwrap();
    let (wall, daemon) = (begun.elapsed().as_secs_f64(), ours.cpu_seconds() - cpu);
    println!("{} images, {} MB in {} blobs", seeded.seeded, seeded.bytes / 1_000_000, seeded.blobs);
    println!("seed:       {wall:5.2} s, containerd's CPU {daemon:5.2} s");

    let archive = ours.path("images.tar").display().to_string();
    let names: Vec<String> = images.iter().map(|image| image.reference.to_string()).collect();
    let platform = coracle::types::Platform::of_this_program().to_string();
    let mut export = vec!["images", "export", "--platform", &platform, &archive];
    export.extend(names.iter().map(String::as_str));
    ours.ctr(&export);
    let (begun, cpu) = (Instant::now(), theirs.cpu_seconds());
    theirs.ctr(&["images", "import", "--platform", &platform, &archive]);
    let (peer, daemon) = (begun.elapsed().as_secs_f64(), theirs.cpu_seconds() - cpu);
    println!("ctr import: {peer:5.2} s, containerd's CPU {daemon:5.2} s");
    println!("ratio:      {:5.2}", peer / wall);
    assert!(peer >= 1.5 * wall, "seeding took {wall:.2} s, ctr {peer:.2} s");
}
