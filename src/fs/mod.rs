//! The only caller of `std::fs`: every error names the path and what was tried, and what must not be half done is done at once.
//!
//! A file written by [`write_atomic`] is there whole or not at all, also after a power loss: the bytes are flushed before the name
//! is, and the name is flushed with its directory.

mod atomic;
mod direct;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

pub use atomic::AtomicFile;
pub use direct::DirectWriter;

/// A file operation that failed: what, on which path, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} `{}`", path.display())]
pub struct Error {
    /// What was tried, in the infinitive.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl Error {
    /// Attaches an operation and a path to what the system said.
    pub fn new(operation: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self { operation, path: path.into(), source }
    }

    /// The file, or a directory on the way to it, is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// The file system is full, or the quota is used up.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        is_full(&self.source)
    }
}

/// The system said that the file system is full, or the quota is used up.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The result of a file operation.
pub type Result<T> = std::result::Result<T, Error>;

fn at<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + use<'a> {
    move |source| Error::new(operation, path, source)
}

/// Opens a file for reading.
pub fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(at("open", path))
}

/// Opens a file for reading and writing without truncating it, and creates it with `mode` where it is missing.
pub fn open_read_write(path: &Path, mode: u32) -> Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(mode).open(path).map_err(at("open", path))
}

/// Creates a file for writing with `mode`; it must not exist.
pub fn create_new(path: &Path, mode: u32) -> Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path).map_err(at("create", path))
}

/// Opens a file for appending, and creates it with `mode` where it is missing.
pub fn open_append(path: &Path, mode: u32) -> Result<File> {
    OpenOptions::new().append(true).create(true).mode(mode).open(path).map_err(at("open", path))
}

/// Reads a file that is expected to be small: more than `limit` bytes is an error.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = open(path)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(at("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::new("read", path, io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes"))));
    }
    Ok(bytes)
}

/// Reads a text file of at most `limit` bytes.
pub fn read_to_string(path: &Path, limit: u64) -> Result<String> {
    String::from_utf8(read(path, limit)?)
        .map_err(|_| Error::new("read", path, io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text")))
}

/// Writes a file whole or not at all: a file without a name, mode, flush, name, flush of the directory.
///
/// `mode` is set exactly, whatever the umask. What was there before stays untouched until the new file has its name. A power loss
/// before that leaves nothing beside it.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(at("write", path))?;
    file.commit(mode)
}

/// Writes a file whole or not at all, as [`write_atomic`] does, with content that is too large for memory: `write` fills the temporary
/// file. When `write` fails, what was there before is still there.
pub fn write_atomic_with<E: From<Error>>(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut &File) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let file = AtomicFile::create(path)?;
    write(&mut file.file())?;
    Ok(file.commit(mode)?)
}

/// Flushes a directory, so that the names in it survive a power loss.
pub fn sync_directory(path: &Path) -> Result<()> {
    open(path)?.sync_all().map_err(at("flush", path))
}

/// Flushes everything on the file system that holds `path` (syncfs).
pub fn sync_file_system(path: &Path) -> Result<()> {
    let file = open(path)?;
    rustix::fs::syncfs(&file).map_err(|error| Error::new("flush the file system of", path, error.into()))
}

/// The directory that holds `path`; `.` for a bare name.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// Creates a directory and those above it; one that is there is left as it is.
pub fn create_dir_all(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(at("create the directory", path))
}

/// Renames within a file system, replacing what has the new name.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(at("rename a file to", to))
}

/// Makes another name for a file on the same file system.
pub fn hard_link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to).map_err(at("link a file to", to))
}

/// Makes a symbolic link.
pub fn symlink(target: &Path, link: &Path) -> Result<()> {
    std::os::unix::fs::symlink(target, link).map_err(at("make the symbolic link", link))
}

/// Reads what a symbolic link points to.
pub fn read_link(path: &Path) -> Result<PathBuf> {
    fs::read_link(path).map_err(at("read the link", path))
}

/// Removes a file; that it is not there is no error.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::new("remove", path, error)),
        _ => Ok(()),
    }
}

/// Removes an empty directory; that it is not there is no error.
pub fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::new("remove the directory", path, error)),
        _ => Ok(()),
    }
}

/// Removes a directory with all that is in it; that it is not there is no error.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::new("remove the directory", path, error)),
        _ => Ok(()),
    }
}

/// The metadata of what `path` names, without following a last symbolic link; `None` where there is nothing.
pub fn metadata(path: &Path) -> Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::new("look at", path, error)),
    }
}

/// The metadata of what `path` leads to, following symbolic links; `None` where there is nothing.
pub fn metadata_following(path: &Path) -> Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::new("look at", path, error)),
    }
}

/// The paths in a directory, sorted by name; none where the directory is missing.
pub fn read_dir(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(at("list", path))?,
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>().map_err(at("list", path))?;
    paths.sort();
    Ok(paths)
}

/// Sets permission bits, whatever the umask.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at("set the mode of", path))
}

/// Sets owner and group by number, not following a last symbolic link.
pub fn set_owner(path: &Path, uid: u32, gid: u32) -> Result<()> {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(at("set the owner of", path))
}

/// The absolute path without links, `.` and `..`.
pub fn canonicalize(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(at("resolve", path))
}

/// Bytes that an unprivileged writer can still put on the file system of `path`, which must exist.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path).map_err(|error| Error::new("look at the file system of", path, error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A number that two paths share when they are on one file system.
pub fn device(path: &Path) -> Result<u64> {
    fs::metadata(path).map(|metadata| metadata.dev()).map_err(at("look at", path))
}

/// A temporary directory inside `parent`, removed with all that is in it when the value is dropped.
pub fn temporary_directory_in(parent: &Path) -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(".coracle-").tempdir_in(parent).map_err(at("create a temporary directory in", parent))
}

/// A file without a name inside `directory`: its space is given back when it is closed, whatever ends the program.
pub fn anonymous_file_in(directory: &Path) -> Result<File> {
    tempfile::tempfile_in(directory).map_err(at("create a temporary file in", directory))
}

/// Replaces a file whole or not at all with what `fill` writes: the temporary file stands beside it under a name that depends on
/// `path` alone, so that what a kill left of it is taken up by the next run instead of lying there for ever. Flush, owner, mode,
/// rename, flush of the directory. Callers hold a lock that keeps a second writer of `path` away.
pub fn replace_with(path: &Path, mode: u32, owner: Option<(u32, u32)>, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let temporary = temporary_beside(path);
    remove_file(&temporary)?;
    let mut file = create_new(&temporary, 0o600)?;
    let written = fill(&mut file).map_err(at("write", path)).and_then(|()| {
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::fchown(&file, Some(uid), Some(gid)).map_err(at("set the owner of", path))?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(at("set the mode of", path))?;
        file.sync_all().map_err(at("flush", path))
    });
    if let Err(error) = written {
        remove_file(&temporary)?;
        return Err(error);
    }
    rename(&temporary, path)?;
    sync_directory(parent(path))
}

/// The name under which [`replace_with`] writes before it renames.
#[must_use]
pub fn temporary_beside(path: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    let name = crate::types::Digest::of(path.file_name().unwrap_or_default().as_bytes()).hex();
    parent(path).join(format!(".coracle-{}", &name[..16]))
}

/// Creates one directory with exactly `mode`; it must not exist, and the one above must.
pub fn create_dir(path: &Path, mode: u32) -> Result<()> {
    fs::create_dir(path).map_err(at("create the directory", path))?;
    set_mode(path, mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_write_sets_the_exact_mode_and_replaces() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write_atomic(&path, b"one", 0o666).unwrap();
        write_atomic(&path, b"two", 0o640).unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"two");
        assert_eq!(metadata(&path).unwrap().unwrap().mode() & 0o7777, 0o640);
        assert_eq!(read_dir(directory.path()).unwrap(), [path]);
    }

    #[test]
    fn an_error_names_the_path() {
        let error = read(Path::new("/nonexistent/x"), 1).unwrap_err();
        assert_eq!(error.to_string(), "cannot open `/nonexistent/x`");
        assert!(error.is_not_found());
    }

    #[test]
    fn refuses_to_read_more_than_was_allowed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write_atomic(&path, b"12345", 0o600).unwrap();
        assert!(read(&path, 5).is_ok());
        assert!(read(&path, 4).is_err());
    }
}
