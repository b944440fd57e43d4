//! The programs that travel in the bundle: `coracle` itself, for each platform.
//!
//! They are static binaries made by `cargo xtask dist`, named on the command line or lying beside the running program as
//! `coracle-linux-amd64` and `coracle-linux-arm64`. A platform without one is no error: its node must have the tool already.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Error;
use super::media::tool_name;
use crate::fs;
use crate::store::{Begun, Store};
use crate::types::{Descriptor, Digest, MediaType, Platform};

/// Machine numbers of the ELF header, `e_machine` (System V ABI, chapter 4).
const MACHINES: [(&str, u16); 2] = [("amd64", 62), ("arm64", 183)];

/// Where the tool for each platform lies: as named, else beside the running program, else nowhere.
pub fn find(
    platforms: &[Platform],
    named: &BTreeMap<Platform, PathBuf>,
    beside: Option<&Path>,
) -> Result<BTreeMap<Platform, Option<PathBuf>>, Error> {
    let mut found = BTreeMap::new();
    for platform in platforms {
        let path = match (named.get(platform), beside) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(directory)) => {
                let path = directory.join(tool_name(platform));
                fs::metadata_following(&path)?.map(|_| path)
            }
            (None, None) => None,
        };
        found.insert(platform.clone(), path);
    }
    Ok(found)
}

/// Brings the tools into the store. Each is checked to be a program for its platform: a mix-up is found here, not on the isolated side.
pub fn store(store: &Store, tools: &BTreeMap<Platform, Option<PathBuf>>) -> Result<BTreeMap<Platform, Option<Descriptor>>, Error> {
    tools
        .iter()
        .map(|(platform, path)| {
            let descriptor = path.as_ref().map(|path| add(store, platform, path)).transpose()?;
            Ok((platform.clone(), descriptor))
        })
        .collect()
}

fn add(store: &Store, platform: &Platform, path: &Path) -> Result<Descriptor, Error> {
    let mut head = [0; 20];
    let mut file = fs::open(path)?;
    let is_program = file.read_exact(&mut head).is_ok() && head.starts_with(b"\x7fELF");
    let machine = u16::from_le_bytes([head[18], head[19]]);
    if !is_program || !MACHINES.contains(&(platform.architecture(), machine)) {
        return Err(Error::WrongTool { path: path.to_owned(), platform: platform.clone() });
    }
    let mut hasher = Sha256::new();
    let mut size = 0;
    each_piece(path, |bytes| {
        hasher.update(bytes);
        size += bytes.len() as u64;
        Ok(())
    })?;
    let digest = Digest::from_bytes(hasher.finalize().into());
    if let Begun::Writer(mut writer) = store.begin(digest, size)? {
        writer.restart()?;
        each_piece(path, |bytes| Ok(writer.write(bytes)?))?;
        writer.commit()?;
    }
    Ok(Descriptor::new(MediaType::OCTETS, digest, size))
}

fn each_piece(path: &Path, mut take: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let mut file = fs::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer).map_err(|source| fs::Error::new("read", path, source))?;
        if n == 0 {
            return Ok(());
        }
        take(&buffer[..n])?;
    }
}
