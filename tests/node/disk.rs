//! A file system in a file. A copy of that file is what a disk would hold if the power went at that moment: what was written and not
//! yet flushed is not in it.

use std::path::{Path, PathBuf};

use coracle::command::Command;

/// A mounted file system in a file; unmounted at the end.
pub struct Disk {
    file: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Makes a file system of `size` (as `truncate` reads it) in a file, and mounts it beside that.
    pub fn make(file: &Path, size: &str) -> Self {
        run("truncate", &["-s", size, &text(file)]);
        run("mkfs.ext4", &["-q", "-F", &text(file)]);
        Self::mount(file)
    }

    /// Mounts what a file holds.
    pub fn mount(file: &Path) -> Self {
        let at = file.with_extension("mount");
        coracle::fs::create_dir_all(&at).unwrap();
        run("mount", &["-o", "loop", &text(file), &text(&at)]);
        Self { file: file.to_owned(), at }
    }

    /// Where it is mounted.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// Copies the file as it is at one moment, while those who write to the disk stand still. The kernel goes on writing back for
    /// itself: a copy during which the file changed would be of no moment at all, and is made again.
    pub fn copy(&self, to: &Path) {
        for _ in 0..100 {
            run("cp", &["--sparse=always", &text(&self.file), &text(to)]);
            if Command::new("cmp").args(["-s", &text(&self.file), &text(to)]).run().is_ok() {
                return;
            }
        }
        panic!("{} does not come to rest", self.file.display());
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
