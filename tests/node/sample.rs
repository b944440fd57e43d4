//! Images of busybox for amd64 and arm64, of which the amd64 one alone is here: as a bundle's store on an amd64 node.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};

use coracle::bundle::image::{ImageTree, tree};
use coracle::deploy::host::linux::containerd::{BlobProvider, SeedImage};
use coracle::store::Store;
use coracle::types::oci::{ImageIndex, ImageManifest, write};
use coracle::types::{Descriptor, Digest, MediaType, Platform};

/// The sandbox image of the tests' containerd.
pub const PAUSE: &str = "registry.example/pause:1";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub struct Sample {
    _directory: tempfile::TempDir,
    pub store: Store,
    pub images: Vec<ImageTree>,
}

impl Sample {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        Self { _directory: directory, store, images: Vec::new() }
    }

    /// A pause image and an application on the same base; `salt` makes every blob differ from those of another salt.
    pub fn of_two_images(salt: &str) -> Self {
        let mut sample = Self::new();
        let busybox = coracle::fs::read(std::path::Path::new("/bin/busybox"), 64 << 20).unwrap();
        let base = sample.layer(&[("bin/busybox", 0o755, &busybox), ("etc/salt", 0o644, salt.as_bytes())]);
        sample.image(PAUSE, &[&base], &["/bin/busybox", "sleep", "600"]);
        let greeting = sample.layer(&[("etc/greeting", 0o644, format!("hello {salt}").as_bytes())]);
        let check = ["/bin/busybox", "grep", "-q", "hello", "/etc/greeting"];
        sample.image(&format!("registry.example:5000/team/app:{}", if salt.is_empty() { "1" } else { salt }), &[&base, &greeting], &check);
        sample
    }

    /// A layer out of files: what is carried, and its digest when it is uncompressed.
    pub fn layer(&mut self, files: &[(&str, u32, &[u8])]) -> (Descriptor, Digest) {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, mode, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(*mode);
            archive.append_data(&mut header, path, *bytes).unwrap();
        }
        self.put_layer(&archive.into_inner().unwrap())
    }

    /// A layer out of the files of a directory of this machine, up to a number of bytes.
    pub fn layer_of_directory(&mut self, directory: &str, limit: usize) -> (Descriptor, Digest) {
        let mut archive = tar::Builder::new(Vec::new());
        let mut directories = vec![std::path::PathBuf::from(directory)];
        while let Some(directory) = directories.pop() {
            for path in coracle::fs::read_dir(&directory).unwrap() {
                let kind = coracle::fs::metadata(&path).unwrap().unwrap();
                if kind.is_dir() {
                    directories.push(path);
                } else if kind.is_file() && archive.get_ref().len() + usize::try_from(kind.len()).unwrap() < limit {
                    archive.append_path_with_name(&path, path.strip_prefix("/").unwrap()).unwrap();
                }
            }
        }
        self.put_layer(&archive.into_inner().unwrap())
    }

    fn put_layer(&mut self, archive: &[u8]) -> (Descriptor, Digest) {
        let mut gzip = flate2::read::GzEncoder::new(archive, flate2::Compression::fast());
        let mut compressed = Vec::new();
        gzip.read_to_end(&mut compressed).unwrap();
        self.store.put(&compressed).unwrap();
        (Descriptor::of(LAYER, &compressed), Digest::of(archive))
    }

    /// An image whose index lists an arm64 child that is not carried.
    pub fn image(&mut self, name: &str, layers: &[&(Descriptor, Digest)], entrypoint: &[&str]) {
        let diff_ids: Vec<String> = layers.iter().map(|(_, diff)| diff.to_string()).collect();
        let config = serde_json::to_vec(&serde_json::json!({
            "architecture": Platform::of_this_program().architecture(), "os": "linux",
            "config": {"Entrypoint": entrypoint, "Labels": {"name": name}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }))
        .unwrap();
        let manifest = write::manifest(&ImageManifest {
            artifact_type: None,
            config: Descriptor::of(MediaType::OCI_CONFIG, &config),
            layers: layers.iter().map(|(blob, _)| blob.clone()).collect(),
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        });
        let other = if Platform::of_this_program() == Platform::linux_arm64() { Platform::linux_amd64() } else { Platform::linux_arm64() };
        let absent = format!("the manifest of {name} for another architecture");
        let index = write::index(&ImageIndex {
            artifact_type: None,
            manifests: vec![
                Descriptor::of(MediaType::OCI_MANIFEST, absent.as_bytes()).for_platform(other),
                Descriptor::of(MediaType::OCI_MANIFEST, &manifest).for_platform(Platform::of_this_program()),
            ],
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        });
        for document in [&config, &manifest, &index] {
            self.store.put(document).unwrap();
        }
        let top = Descriptor::of(MediaType::OCI_INDEX, &index);
        let document = |digest: &Digest| coracle::fs::read(&self.store.blob_path(digest), 1 << 20).ok();
        self.images.push(tree(&name.parse().unwrap(), &top, &[Platform::of_this_program()], &document).unwrap());
    }

    /// All of them, the first one pinned.
    pub fn seed_images(&self) -> Vec<SeedImage<'_>> {
        let images = self.images.iter().enumerate();
        images.map(|(n, tree)| SeedImage::of(tree, &Platform::of_this_program(), n == 0).unwrap()).collect()
    }
}

/// A store whose reads are counted, and where something happens in the middle of one of them.
pub struct Watched<'a> {
    pub store: &'a Store,
    pub reads: AtomicUsize,
    /// At which read, and what: `Err` ends that read half way.
    pub interrupt: Option<(usize, &'a (dyn Fn() -> io::Result<()> + Sync))>,
}

impl<'a> Watched<'a> {
    pub fn new(store: &'a Store) -> Self {
        Self { store, reads: AtomicUsize::new(0), interrupt: None }
    }

    pub fn interrupted(store: &'a Store, at: usize, by: &'a (dyn Fn() -> io::Result<()> + Sync)) -> Self {
        Self { store, reads: AtomicUsize::new(0), interrupt: Some((at, by)) }
    }

    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

impl BlobProvider for Watched<'_> {
    fn open(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let read = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some((_, interrupt)) = self.interrupt.filter(|(at, _)| *at == read) {
            interrupt()?;
        }
        self.store.open(blob, offset)
    }
}
