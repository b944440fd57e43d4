//! Archives, read twice: first [`list`] looks at every member and hashes it, so that a hostile or damaged archive is refused before
//! anything is written; then [`each`] hands the members out, each to be checked against what was listed.
//!
//! A member's name is relative, without `..`, leads through no link of the archive, and stands there once. A link stays inside the
//! directory that the archive goes into: `..` only at the beginning of its target, and never above. No devices, pipes or sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use crate::bundle::contents::ArchiveFormat;
use crate::io::HashingWriter;
use crate::types::Digest;

/// No archive has more members.
const MEMBERS: usize = 1_000_000;

/// What of an archive is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w> {
    /// How it is packed.
    pub format: ArchiveFormat,
    /// Where it goes.
    pub into: &'w Path,
    /// These alone, with what is below them; empty: all.
    pub members: &'w [String],
    /// Leading parts that are dropped from each name.
    pub strip: u32,
}

/// A member, by its path below the directory that it goes into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// A regular file.
    File {
        /// Its content.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
        /// Permission bits.
        mode: u32,
        /// It is a hard link in the archive: its content is that of this path.
        same_as: Option<PathBuf>,
    },
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: PathBuf,
    },
}

/// Why an archive cannot be extracted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read, or is damaged.
    #[error("the archive cannot be read")]
    Read(#[source] io::Error),
    /// A member that is not extracted.
    #[error("member `{name}` {why}")]
    Member {
        /// Its name in the archive.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A member that was asked for is not there.
    #[error("the archive has no member `{name}`")]
    Missing {
        /// Its name.
        name: String,
    },
    /// There is nothing in it.
    #[error("no member of the archive is left to extract")]
    Empty,
}

/// Looks at every member that is wanted, and reads the archive to its end.
///
/// # Errors
/// It is damaged, or a member breaks the rules of this module.
pub fn list(archive: impl Read, wanted: Wanted<'_>) -> Result<BTreeMap<PathBuf, Member>, Error> {
    let mut members: BTreeMap<PathBuf, Member> = BTreeMap::new();
    let mut unseen: BTreeSet<&str> = wanted.members.iter().map(String::as_str).collect();
    walk(archive, wanted, |name, path, entry| {
        unseen.retain(|wanted| !is_or_below(name, wanted));
        let member = look(name, &path, entry, wanted, &members)?;
        let refuse = |why| Error::Member { name: name.to_owned(), why };
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            let implied = Member::Directory { mode: 0o755 };
            if !matches!(members.entry(above.to_owned()).or_insert(implied), Member::Directory { .. }) {
                return Err(refuse("lies below a file or link of the archive"));
            }
        }
        match (members.get(&path), &member) {
            (None, _) | (Some(Member::Directory { .. }), Member::Directory { .. }) => drop(members.insert(path, member)),
            (Some(_), _) => return Err(refuse("stands in the archive twice")),
        }
        if members.len() > MEMBERS { Err(refuse("is one too many")) } else { Ok(()) }
    })?;
    match unseen.first() {
        Some(name) => Err(Error::Missing { name: (*name).to_owned() }),
        None if members.is_empty() => Err(Error::Empty),
        None => Ok(members),
    }
}

/// Hands out each regular file with its bytes, in the order of the archive. Only for an archive that [`list`] has taken.
///
/// # Errors
/// The archive cannot be read, or `take` fails.
pub fn each<E: From<Error>>(
    archive: impl Read,
    wanted: Wanted<'_>,
    mut take: impl FnMut(&Path, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    walk(archive, wanted, |_, path, entry| if entry.header().entry_type().is_file() { take(&path, entry) } else { Ok(()) })
}

fn walk<R: Read, E: From<Error>>(
    archive: R,
    wanted: Wanted<'_>,
    mut visit: impl FnMut(&str, PathBuf, &mut tar::Entry<'_, &mut dyn Read>) -> Result<(), E>,
) -> Result<(), E> {
    let read = |error| E::from(Error::Read(error));
    let mut unpacked: Box<dyn Read> = match wanted.format {
        ArchiveFormat::Tar => Box::new(archive),
        ArchiveFormat::TarGzip => Box::new(flate2::read::MultiGzDecoder::new(archive)),
        ArchiveFormat::TarZstd => Box::new(zstd::Decoder::new(archive).map_err(read)?),
    };
    let source: &mut dyn Read = &mut unpacked;
    let mut tar = tar::Archive::new(source);
    for entry in tar.entries().map_err(read)? {
        let mut entry = entry.map_err(read)?;
        if entry.header().entry_type().is_pax_global_extensions() {
            continue;
        }
        let name = String::from_utf8(entry.path_bytes().into_owned()).map_err(|bytes| Error::Member {
            name: String::from_utf8_lossy(bytes.as_bytes()).into_owned(),
            why: "has a name that is not UTF-8",
        })?;
        let parts = parts(&name)?;
        let plain = parts.join("/");
        if !wanted.members.is_empty() && !wanted.members.iter().any(|wanted| is_or_below(&plain, wanted)) {
            continue;
        }
        let strip = usize::try_from(wanted.strip).unwrap_or(usize::MAX);
        let path: PathBuf = parts.iter().skip(strip).collect();
        if path.as_os_str().is_empty() {
            continue;
        }
        visit(&plain, path, &mut entry)?;
    }
    // The reader below tells only at its end whether the bytes were the right ones.
    io::copy(&mut unpacked, &mut io::sink()).map_err(read)?;
    Ok(())
}

fn parts(name: &str) -> Result<Vec<&str>, Error> {
    let refuse = |why| Error::Member { name: name.to_owned(), why };
    let mut parts = Vec::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str().unwrap_or_default()),
            Component::CurDir => {}
            Component::ParentDir => return Err(refuse("has `..` in its name")),
            Component::RootDir | Component::Prefix(_) => return Err(refuse("has an absolute name")),
        }
    }
    if name.contains('\0') { Err(refuse("has a zero byte in its name")) } else { Ok(parts) }
}

fn is_or_below(name: &str, wanted: &str) -> bool {
    let wanted = wanted.strip_prefix("./").unwrap_or(wanted).trim_end_matches('/');
    name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
}

fn look(
    name: &str,
    path: &Path,
    entry: &mut tar::Entry<'_, &mut dyn Read>,
    wanted: Wanted<'_>,
    members: &BTreeMap<PathBuf, Member>,
) -> Result<Member, Error> {
    let refuse = |why| Error::Member { name: name.to_owned(), why };
    let mode = entry.header().mode().map(|mode| mode & 0o7777);
    match entry.header().entry_type() {
        tar::EntryType::Regular | tar::EntryType::Continuous => {
            let mut hasher = HashingWriter::new(io::sink());
            io::copy(entry, &mut hasher).map_err(Error::Read)?;
            let (_, digest, size) = hasher.finish();
            Ok(Member::File { digest, size, mode: mode.map_err(Error::Read)?, same_as: None })
        }
        tar::EntryType::Directory => Ok(Member::Directory { mode: mode.map_err(Error::Read)? }),
        tar::EntryType::Symlink => {
            let target = entry.link_name().map_err(Error::Read)?.ok_or_else(|| refuse("is a link to nowhere"))?.into_owned();
            let depth = path.components().count() - 1;
            if stays_inside(&target, wanted.into, depth) {
                Ok(Member::Link { target })
            } else {
                Err(refuse("is a link that leads out of its directory"))
            }
        }
        tar::EntryType::Link => {
            let target = entry.link_name().map_err(Error::Read)?.ok_or_else(|| refuse("is a link to nowhere"))?.into_owned();
            let strip = usize::try_from(wanted.strip).unwrap_or(usize::MAX);
            let same_as: PathBuf = parts(&target.to_string_lossy())?.iter().skip(strip).collect();
            match members.get(&same_as) {
                Some(Member::File { digest, size, mode, same_as: first }) => {
                    let same_as = first.clone().unwrap_or(same_as);
                    Ok(Member::File { digest: *digest, size: *size, mode: *mode, same_as: Some(same_as) })
                }
                _ => Err(refuse("is a hard link to something that is not extracted before it")),
            }
        }
        _ => Err(refuse("is neither file nor directory nor link")),
    }
}

/// `depth` is how many directories below `into` the link lies. `..` after a name could lead through another link, and from there out.
fn stays_inside(target: &Path, into: &Path, depth: usize) -> bool {
    if let Ok(rest) = target.strip_prefix(into) {
        return rest.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    }
    let mut left = depth;
    let mut named = false;
    for part in target.components() {
        match part {
            Component::Normal(_) => named = true,
            Component::CurDir => {}
            Component::ParentDir if !named && left > 0 => left -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Put<'a> {
        File(&'a [u8], u32),
        Directory,
        Link(&'a str),
        Hard(&'a str),
        Kind(tar::EntryType),
    }

    /// Writes names as they are given: the crate's own builder would refuse the hostile ones.
    fn archive(members: &[(&str, Put<'_>)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, put) in members {
            let mut header = tar::Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_mode(0o755);
            let (kind, bytes, link) = match put {
                Put::File(bytes, mode) => {
                    header.set_mode(*mode);
                    (tar::EntryType::Regular, *bytes, "")
                }
                Put::Directory => (tar::EntryType::Directory, &b""[..], ""),
                Put::Link(target) => (tar::EntryType::Symlink, &b""[..], *target),
                Put::Hard(target) => (tar::EntryType::Link, &b""[..], *target),
                Put::Kind(kind) => (*kind, &b""[..], ""),
            };
            header.set_entry_type(kind);
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            builder.append(&header, bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn wanted(members: &[String], strip: u32) -> Wanted<'_> {
        Wanted { format: ArchiveFormat::Tar, into: Path::new("/opt/x"), members, strip }
    }

    #[test]
    fn lists_what_is_wanted_with_the_directories_above_it() {
        let bytes = archive(&[
            ("./", Put::Directory),
            ("./v1/bin/a", Put::File(b"a", 0o750)),
            ("./v1/bin/b", Put::Hard("./v1/bin/a")),
            ("./v1/lib/l", Put::Link("../bin/a")),
            ("./v1/doc", Put::File(b"d", 0o644)),
        ]);
        let file =
            |same_as: Option<&str>| Member::File { digest: Digest::of(b"a"), size: 1, mode: 0o750, same_as: same_as.map(Into::into) };
        let directory = || Member::Directory { mode: 0o755 };
        let members = ["v1/bin".to_owned(), "./v1/lib/l".to_owned()];
        let listed = list(&bytes[..], wanted(&members, 1)).unwrap();
        let expected = BTreeMap::from([
            ("bin".into(), directory()),
            ("bin/a".into(), file(None)),
            ("bin/b".into(), file(Some("bin/a"))),
            ("lib".into(), directory()),
            ("lib/l".into(), Member::Link { target: "../bin/a".into() }),
        ]);
        assert_eq!(listed, expected);
        let missing = list(&bytes[..], wanted(&["v1/sbin".to_owned()], 0)).unwrap_err();
        assert_eq!(missing.to_string(), "the archive has no member `v1/sbin`");
        assert!(matches!(list(&bytes[..], wanted(&[], 9)), Err(Error::Empty)));
    }

    #[test]
    fn refuses_every_hostile_member_before_anything_is_handed_out() {
        let file = || Put::File(b"x", 0o644);
        for (members, message) in [
            (vec![("../a", file())], "member `../a` has `..` in its name"),
            (vec![("a/../../b", file())], "member `a/../../b` has `..` in its name"),
            (vec![("/etc/passwd", file())], "member `/etc/passwd` has an absolute name"),
            (vec![("l", Put::Link("/etc"))], "member `l` is a link that leads out of its directory"),
            (vec![("l", Put::Link("../x"))], "member `l` is a link that leads out of its directory"),
            (vec![("a/b/l", Put::Link("../../../x"))], "member `a/b/l` is a link that leads out of its directory"),
            (vec![("a/l", Put::Link("../b/../../x"))], "member `a/l` is a link that leads out of its directory"),
            (vec![("l", Put::Link("d")), ("l/x", file())], "member `l/x` lies below a file or link of the archive"),
            (vec![("f", file()), ("f/x", file())], "member `f/x` lies below a file or link of the archive"),
            (vec![("f", file()), ("f", file())], "member `f` stands in the archive twice"),
            (vec![("f", file()), ("./f", Put::Link("g"))], "member `f` stands in the archive twice"),
            (vec![("h", Put::Hard("/etc/shadow"))], "member `/etc/shadow` has an absolute name"),
            (vec![("h", Put::Hard("later")), ("later", file())], "member `h` is a hard link to something that is not extracted before it"),
            (vec![("dev", Put::Kind(tar::EntryType::Char))], "member `dev` is neither file nor directory nor link"),
            (vec![("pipe", Put::Kind(tar::EntryType::Fifo))], "member `pipe` is neither file nor directory nor link"),
        ] {
            assert_eq!(list(&archive(&members)[..], wanted(&[], 0)).unwrap_err().to_string(), message);
        }
        for good in ["a", "./a/b", "/opt/x/a"] {
            assert!(list(&archive(&[("l", Put::Link(good))])[..], wanted(&[], 0)).is_ok(), "{good}");
        }
    }
}
