//! A large file that is there whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::{Error, Result, parent, rename, set_mode, sync_directory};

/// A file that gets its name when it is complete.
///
/// Until then it has no name at all (`O_TMPFILE`), so that a program that is killed leaves nothing behind; where the file system
/// cannot do that, it is a temporary file beside its place, removed when the value is dropped.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    file: Content,
}

#[derive(Debug)]
enum Content {
    Unnamed(File),
    Named(tempfile::NamedTempFile),
}

impl AtomicFile {
    /// Begins a file that is to be `path`. What is there stays as it is until [`AtomicFile::commit`].
    pub fn create(path: &Path) -> Result<Self> {
        let directory = parent(path);
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(CWD, directory, flags, Mode::from_bits_truncate(0o600)) {
            Ok(file) => Content::Unnamed(file.into()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => Content::Named(
                tempfile::Builder::new()
                    .prefix(".coracle-")
                    .tempfile_in(directory)
                    .map_err(|source| Error::new("create a temporary file beside", path, source))?,
            ),
            Err(errno) => return Err(Error::new("create a file in", directory, errno.into())),
        };
        Ok(Self { path: path.to_owned(), file })
    }

    /// The open file.
    pub fn file(&self) -> &File {
        match &self.file {
            Content::Unnamed(file) => file,
            Content::Named(file) => file.as_file(),
        }
    }

    /// Flushes it to the disk and gives it its name and exactly this mode, in place of what had that name.
    pub fn commit(self, mode: u32) -> Result<()> {
        let Self { path, file } = self;
        let directory = parent(&path);
        match file {
            Content::Unnamed(file) => {
                let permissions = std::fs::Permissions::from_mode(mode);
                file.set_permissions(permissions).map_err(|source| Error::new("set the mode of", &path, source))?;
                file.sync_all().map_err(|source| Error::new("flush", &path, source))?;
                if !link(&file, &path).map_err(|source| Error::new("give a name to", &path, source))? {
                    let temporary = name_it(&file, directory).map_err(|source| Error::new("give a name to", &path, source))?;
                    let renamed = rename(&temporary, &path);
                    if renamed.is_err() {
                        super::remove_file(&temporary)?;
                    }
                    renamed?;
                }
            }
            Content::Named(file) => {
                file.as_file().sync_all().map_err(|source| Error::new("flush", &path, source))?;
                set_mode(file.path(), mode)?;
                file.persist(&path).map_err(|error| Error::new("rename a temporary file to", &path, error.error))?;
            }
        }
        sync_directory(directory)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives the file a name; `false` where that name is taken.
fn link(file: &File, name: &Path) -> io::Result<bool> {
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    match rustix::fs::linkat(CWD, &source, CWD, name, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// `linkat` cannot replace a name, so the file gets one of its own first, for the moment before the rename.
fn name_it(file: &File, directory: &Path) -> io::Result<PathBuf> {
    for n in 0..1000 {
        let name = directory.join(format!(".coracle-{}-{n}", std::process::id()));
        if link(file, &name)? {
            return Ok(name);
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "a thousand temporary names are taken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_no_name_until_it_is_complete_and_then_replaces_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        super::super::write_atomic(&path, b"old", 0o600).unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(super::super::read(&path, 10).unwrap(), b"old");
        file.commit(0o640).unwrap();
        assert_eq!(super::super::read(&path, 10).unwrap(), b"new");
        assert_eq!(super::super::read_dir(directory.path()).unwrap(), [path]);
    }

    #[test]
    fn leaves_nothing_when_it_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = AtomicFile::create(&directory.path().join("a")).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(super::super::read_dir(directory.path()).unwrap(), [] as [PathBuf; 0]);
    }
}
