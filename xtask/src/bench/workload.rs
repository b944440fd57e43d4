//! What is carried: images made of files that this machine has, dealt out with a fixed seed; and large binaries on a file server.
//!
//! It is made once for a machine and kept in the lab; on another machine it is of the same shape, not of the same bytes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::child::{self, Background};
use crate::file::{read, write};
use crate::http::Registry;
use crate::image::{Entry, Layer, Variant, digest, image, layer};
use crate::lab;
use crate::upstream::{Running, Upstream};

/// Files longer than this are left out: one of them would be a layer by itself.
const LONGEST: u64 = 48 << 20;

/// Which workload.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Size {
    /// 6 images, about 450 MB compressed.
    S,
    /// 20 images, about 3.4 GB compressed, some layers over 200 MB; six binaries of 50 to 100 MB.
    L,
}

impl Size {
    /// As targets.md calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::L => "L",
        }
    }

    fn images(self) -> usize {
        match self {
            Self::S => 6,
            Self::L => 20,
        }
    }

    /// Bytes before compression in the layer of an image's own; every seventh of the large ones is several times as long.
    fn own(self, number: usize) -> u64 {
        match self {
            Self::S => 80 << 20,
            Self::L if number.is_multiple_of(7) => 700 << 20,
            Self::L => 150 << 20,
        }
    }

    /// Bytes before compression in a base that several images share.
    fn base(self) -> u64 {
        match self {
            Self::S => 60 << 20,
            Self::L => 200 << 20,
        }
    }
}

/// The workload while it is served.
pub struct Served {
    /// The registry's address.
    pub registry: SocketAddr,
    /// `bench/NAME:TAG` of each image.
    pub images: Vec<String>,
    /// The file server.
    pub files: Running,
    /// In a few words.
    pub summary: String,
    sources: Vec<PathBuf>,
    process: Background,
}

impl Served {
    /// The registry's process.
    pub fn registry_pid(&self) -> u32 {
        self.process.id()
    }

    /// The files of the file server, as they lie on the disk: what of the workload is not compressed yet.
    pub fn files_of_disk(&self) -> Result<Vec<PathBuf>> {
        ensure!(!self.sources.is_empty(), "no files in the workload");
        Ok(self.sources.clone())
    }
}

/// Makes what is missing of a workload, serves it, and writes `definition/coracle.yaml` into `place`.
pub fn serve(lab: &Path, place: &Path, size: Size) -> Result<Served> {
    let program = lab::find("registry")?.context("there is no registry: run `cargo xtask lab`")?;
    let kept = lab.join(format!("bench-{}", size.name()));
    if !kept.is_dir() {
        println!("making workload {} (once)", size.name());
        let making = tempfile::tempdir_in(lab)?;
        let storage = making.path().join("storage");
        let (_registry, server) = lab::start_registry(&program, &storage, making.path())?;
        push(&mut Registry { server }, size)?;
        std::fs::rename(&storage, &kept)?;
    }
    let (running, registry) = lab::start_registry(&program, &kept, place)?;
    let images: Vec<String> = (0..size.images()).map(|number| format!("bench/image-{number}:1")).collect();
    let (files, sources, entries) = files(lab, size)?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let entries = entries.replace("SERVER", &listener.local_addr()?.to_string());
    let files = Running::start(listener, files)?;
    let names = images.iter().map(|image| format!("      - {registry}/{image}\n")).collect::<Vec<_>>().concat();
    let text = format!(
        "apiVersion: coracle/v1alpha1\nkind: Package\nmetadata:\n  name: bench\n  version: 1.0.0\nplatforms: [linux/amd64, linux/arm64]\n\
         components:\n  - name: bench\n    images:\n{names}    files:\n{entries}"
    );
    std::fs::create_dir(place.join("definition"))?;
    write(&place.join("definition/coracle.yaml"), text.as_bytes())?;
    let summary = format!("{} images × 2 platforms, {} files", images.len(), sources.len());
    Ok(Served { registry, images, files, summary, sources, process: running })
}

/// Binaries, a pair for both architectures each: of the lab; for the large workload three pairs of 50 to 100 MB, each made of many
/// programs of this machine one after another.
fn files(lab: &Path, size: Size) -> Result<(Upstream, Vec<PathBuf>, String)> {
    let mut upstream = Upstream::default();
    let (mut sources, mut entries) = (Vec::new(), Vec::new());
    for (name, pair) in match size {
        Size::S => vec![
            ("server", ["registry", "cosign"].map(|program| lab.join("bin").join(program))),
            ("info", ["podinfo", "podinfo-arm64"].map(|program| lab.join("bin").join(program))),
        ],
        Size::L => large_binaries(lab)?,
    } {
        let mut sha256 = Vec::new();
        for (arch, path) in ["amd64", "arm64"].into_iter().zip(pair) {
            let bytes = read(&path)?;
            sha256.push(format!("{arch}: {}", digest(&bytes).trim_start_matches("sha256:")));
            upstream.file(&format!("{name}-{arch}"), &bytes);
            sources.push(path);
        }
        let sha256 = sha256.join(", ");
        entries.push(format!(
            "      - source: http://SERVER/files/{name}-{{arch}}\n        sha256: {{ {sha256} }}\n        path: /usr/local/bin/{name}\n        mode: \"0755\"\n"
        ));
    }
    Ok((upstream, sources, entries.concat()))
}

/// Made once, and kept beside the images.
fn large_binaries(lab: &Path) -> Result<Vec<(&'static str, [PathBuf; 2])>> {
    let kept = lab.join("bench-L-files");
    if !kept.is_dir() {
        let making = tempfile::tempdir_in(lab)?;
        let programs = pool()?.into_iter().filter(|(path, _)| is_program(path)).collect();
        let mut deal = Deal { pool: programs, state: 0x5ca1_ab1e_0000_0001 };
        for number in 0..6_u64 {
            let mut bytes = Vec::new();
            while (bytes.len() as u64) < (50 + number * 10) << 20 {
                let next = deal.next();
                bytes.extend(read(&deal.pool[next].0)?);
            }
            bytes.truncate(100 << 20);
            write(&making.path().join(format!("binary-{number}")), &bytes)?;
        }
        std::fs::rename(making.keep(), &kept)?;
    }
    let pair = |first: usize| [first, first + 1].map(|number| kept.join(format!("binary-{number}")));
    Ok(vec![("first", pair(0)), ("second", pair(2)), ("third", pair(4))])
}

fn is_program(path: &Path) -> bool {
    let mut head = [0; 4];
    std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head)).is_ok() && head == *b"\x7fELF"
}

fn push(target: &mut Registry, size: Size) -> Result<()> {
    let mut deal = Deal { pool: pool()?, state: 0x0c0f_fee1_2345_6789 };
    for number in 0..size.images() {
        let repository = format!("bench/image-{number}");
        let mut variants = Vec::new();
        for (nth, arch) in ["amd64", "arm64"].into_iter().enumerate() {
            // Three bases; they are pushed to each repository that uses them, and have the same digest in all.
            let seed = 1 + (number % 3 * 2 + nth) as u64;
            let base = Deal { pool: deal.pool.clone(), state: seed }.layer(target, &repository, size.base())?;
            let own = deal.layer(target, &repository, size.own(number))?;
            variants.push(Variant { arch, layers: vec![base, own], entrypoint: &["/bin/true"] });
        }
        image(target, &repository, "1", &variants)?;
        println!("  {repository}");
    }
    Ok(())
}

/// Files to deal from, and where the dealing stands.
struct Deal {
    pool: Vec<(PathBuf, u64)>,
    state: u64,
}

impl Deal {
    fn layer(&mut self, target: &mut Registry, repository: &str, size: u64) -> Result<Layer> {
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        let mut bytes = 0;
        while bytes < size {
            let next = self.next();
            let (path, length) = &self.pool[next];
            let name = format!("{:06}{}", files.len(), path.extension().map_or_else(String::new, |e| format!(".{}", e.to_string_lossy())));
            files.push((name, read(path)?));
            bytes += length;
        }
        let entries: Vec<Entry> = files.iter().map(|(path, bytes)| Entry { path, mode: 0o644, bytes }).collect();
        layer(target, repository, &entries)
    }

    fn next(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % self.pool.len() as u64).unwrap_or(0)
    }
}

/// Files of this machine: Debian's packages, Python's, Go's.
fn pool() -> Result<Vec<(PathBuf, u64)>> {
    let mut open = vec![PathBuf::from("/usr/lib"), PathBuf::from("/usr/share"), PathBuf::from("/usr/local"), PathBuf::from("/usr/bin")];
    if let Ok(python) = child::output(child::command("python3").args(["-c", "import sys; print(sys.prefix)"])) {
        open.push(PathBuf::from(python.trim()).join("lib"));
    }
    let mut pool = Vec::new();
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries {
            let entry = entry?;
            let Ok(metadata) = entry.path().symlink_metadata() else { continue };
            if metadata.is_dir() {
                open.push(entry.path());
            } else if metadata.is_file() && (2048..LONGEST).contains(&metadata.len()) && std::fs::File::open(entry.path()).is_ok() {
                pool.push((entry.path(), metadata.len()));
            }
        }
    }
    ensure!(pool.len() > 1000, "only {} files to make a workload of", pool.len());
    pool.sort();
    Ok(pool)
}
