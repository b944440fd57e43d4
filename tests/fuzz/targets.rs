//! The readers of text, JSON, archives and requests.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, header};
use coracle::bundle::contents::ArchiveFormat;
use coracle::bundle::trust::Signature;
use coracle::create::definition::package::SourceFile;
use coracle::create::definition::{self, Beside, Choices, Entry, template as at_create};
use coracle::create::lock::Lock;
use coracle::deploy::archive::{self, Member, Wanted};
use coracle::deploy::{receipt, template as at_deploy};
use coracle::registry::{NodeContent, names as registry_names, router};
use coracle::types::oci::{ImageIndex, ImageManifest, platform_of_config, write};
use coracle::types::{Digest, ImageReference, NodePath, PackageName, Platform};
use tower::ServiceExt as _;

/// Every path is a file with a line of text in it.
struct Always;

impl Beside for Always {
    fn look(&self, _: &Path) -> Result<Option<Entry>, coracle::fs::Error> {
        Ok(Some(Entry::File))
    }

    fn read(&self, _: &Path) -> Result<String, coracle::fs::Error> {
        Ok("registry.example/a:1\n${{ node.arch }}\n".to_owned())
    }
}

/// `coracle.yaml`: an error has a place in the file, and can be printed.
pub fn definition(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = SourceFile { path: "coracle.yaml".into(), directory: ".".into(), text: text.to_owned() };
    match definition::parse(file, &Choices { parameters: &[], platforms: &[] }, &Always) {
        Ok(package) => assert!(!package.platforms.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The lock: what is read is written and read the same.
pub fn lock(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(lock) = Lock::parse(text) {
        let written = lock.to_json();
        assert_eq!(Lock::parse(&written).unwrap(), lock);
        assert_eq!(Lock::parse(&written).unwrap().to_json(), written);
    }
}

/// Image references: one that is taken is written so that it means the same.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(reference) = text.parse::<ImageReference>() {
        assert_eq!(reference.to_string().parse::<ImageReference>().unwrap(), reference);
        assert!(!reference.repository().split('/').any(|part| part.is_empty() || part == ".." || part == "."), "{text:?}");
        assert!(!reference.registry().contains('/') && !reference.registry().is_empty());
    }
}

/// Digests, platforms, names and paths of a node.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(path) = text.parse::<NodePath>().map(|path| path.to_string()) {
        let parts: Vec<&str> = path.split('/').collect();
        assert!(path.starts_with('/') && !parts.iter().any(|part| *part == ".." || *part == "."), "{text:?}");
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string(), text);
    }
    if let Ok(name) = text.parse::<PackageName>() {
        assert_eq!(name.to_string(), text);
    }
}

/// Templates: both sides find the same names, and only a name that is missing keeps a text from being rendered.
pub fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let found = at_create::placeholders(text);
    match at_deploy::names(text) {
        Err(_) => assert!(found.iter().any(|placeholder| placeholder.name.is_none()), "{text:?}"),
        Ok(names) => {
            let at_create: std::collections::BTreeSet<String> = found.into_iter().map(|placeholder| placeholder.name.unwrap()).collect();
            assert_eq!(at_create, names, "{text:?}");
            let values = names.into_iter().map(|name| (name, "value".to_owned())).collect();
            at_deploy::render(text, &values).unwrap();
        }
    }
}

/// Upstream indexes, manifests and configurations.
pub fn documents(bytes: &[u8]) {
    if let Ok(index) = ImageIndex::parse(bytes) {
        assert_eq!(ImageIndex::parse(&write::index(&index)).unwrap(), index);
    }
    if let Ok(manifest) = ImageManifest::parse(bytes) {
        assert_eq!(ImageManifest::parse(&write::manifest(&manifest)).unwrap(), manifest);
    }
    if let Ok(platform) = platform_of_config(bytes) {
        assert!(!platform.architecture().is_empty());
    }
}

/// Signatures in both their forms.
pub fn signature(bytes: &[u8]) {
    if let Ok(signature) = Signature::from_sigstore_json(bytes) {
        assert_eq!(Signature::from_der_base64(&signature.to_der_base64()).unwrap().der(), signature.der());
    }
    if let Ok(signature) = Signature::from_der_base64(bytes) {
        assert!(signature.der().len() <= 72);
    }
}

/// A node's receipt, and the names of its registry.
pub fn receipt(bytes: &[u8]) {
    let path = Path::new("receipt.json");
    if let Ok(read) = receipt::parse(path, bytes) {
        assert_eq!(receipt::parse(path, read.to_json().as_bytes()).unwrap(), read);
    }
    if let Ok(names) = registry_names::decode(bytes, path) {
        assert_eq!(registry_names::decode(&registry_names::encode(&names), path).unwrap(), names);
    }
}

/// Archives of the kinds that are extracted, with a file, a directory and links.
pub fn archives() -> Vec<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(5);
    archive.append_data(&mut header, "top/bin/tool", b"hello".as_slice()).unwrap();
    for (kind, name, target) in [(tar::EntryType::Symlink, "top/link", "bin/tool"), (tar::EntryType::Link, "top/hard", "top/bin/tool")] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        archive.append_link(&mut header, name, target).unwrap();
    }
    let plain = archive.into_inner().unwrap();
    let mut zipped = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzEncoder::new(plain.as_slice(), flate2::Compression::fast()), &mut zipped).unwrap();
    let zstd = zstd::stream::encode_all(plain.as_slice(), 1).unwrap();
    [(0u8, plain), (1, zipped), (2, zstd)].map(|(kind, bytes)| [vec![kind], bytes].concat()).to_vec()
}

/// An archive that is taken writes nothing above where it goes, and through no link of its own.
pub fn archive(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let format = match kind % 3 {
        0 => ArchiveFormat::Tar,
        1 => ArchiveFormat::TarGzip,
        _ => ArchiveFormat::TarZstd,
    };
    let wanted = Wanted { format, into: Path::new("/opt"), members: &[], strip: u32::from(kind / 3 % 2) };
    let Ok(members) = archive::list(bytes, wanted) else { return };
    for (path, member) in &members {
        let plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        assert!(plain && path.as_os_str() != "", "{}", path.display());
        let above = path.ancestors().skip(1).filter_map(|above| members.get(above));
        assert!(above.clone().all(|above| matches!(above, Member::Directory { .. })), "{}", path.display());
        if let Member::File { same_as: Some(other), .. } = member {
            assert!(matches!(members.get(other), Some(Member::File { .. })), "{}", path.display());
        }
    }
    let mut seen = 0;
    archive::each::<archive::Error>(bytes, wanted, |_, reader| {
        std::io::copy(reader, &mut std::io::sink()).map_err(archive::Error::Read)?;
        seen += 1;
        Ok(())
    })
    .unwrap();
    let files = members.values().filter(|member| matches!(member, Member::File { same_as: None, .. })).count();
    assert_eq!(seen, files);
}

/// A node registry with nothing in it, that is asked for anything.
pub struct Registry {
    content: std::panic::AssertUnwindSafe<axum::Router>,
    runtime: tokio::runtime::Runtime,
    _state: tempfile::TempDir,
}

impl Registry {
    pub fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        coracle::store::Store::open(state.path().join("store")).unwrap();
        let content = NodeContent::open(state.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { content: std::panic::AssertUnwindSafe(router(Arc::new(content))), runtime, _state: state }
    }

    /// `PATH?QUERY`, and in a second line the `Range`: never an error of the registry's own.
    pub fn ask(&self, bytes: &[u8]) {
        let (target, range) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()));
        let mut request = Request::builder().method(Method::GET).uri(target);
        if let Ok(range) = HeaderValue::from_bytes(range.trim_ascii()) {
            request = request.header(header::RANGE, range);
        }
        let Ok(request) = request.body(Body::empty()) else { return };
        let answer = self.runtime.block_on(self.content.0.clone().oneshot(request)).unwrap();
        assert!(!answer.status().is_server_error(), "{}: {}", answer.status(), target.escape_ascii());
    }
}
