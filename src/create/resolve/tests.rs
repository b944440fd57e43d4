use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::*;
use crate::bundle::contents::{Only, Placement, Target};
use crate::create::definition::package::{Component, FileEntry, ImageEntry, SourceFile};
use crate::create::source::server::{Content, Reply, Request, Server};
use crate::create::source::{Patience, SourceOptions};
use crate::types::{Descriptor, Digest};

#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Observer for Recorder {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

const QUICK: Patience = Patience {
    tries: 2,
    tries_unreached: 2,
    first: std::time::Duration::from_millis(1),
    longest: std::time::Duration::from_millis(1),
    longest_asked: std::time::Duration::from_millis(1),
};

fn both() -> Vec<Platform> {
    Platform::supported().to_vec()
}

fn image(line: u32, reference: &str, platforms: Vec<Platform>) -> ImageEntry {
    let origin = ImageOrigin::Registry(reference.parse().unwrap());
    ImageEntry { at: Location { line, column: 9 }, origin, platforms, pin: false }
}

fn file(line: u32, origin: &FileOrigin) -> FileEntry {
    FileEntry {
        at: Location { line, column: 9 },
        placement: Placement::File("/opt/x".parse().unwrap()),
        mode: None,
        owner: None,
        group: None,
        template: false,
        origins: both().into_iter().map(|platform| (platform, origin.clone())).collect(),
    }
}

fn package(images: Vec<ImageEntry>, files: Vec<FileEntry>) -> Package {
    let file = SourceFile { path: "coracle.yaml".into(), directory: ".".into(), text: String::new() };
    let component = Component {
        at: Location { line: 1, column: 1 },
        name: "api".parse().unwrap(),
        only: Only::default(),
        optional: false,
        images,
        files,
    };
    Package {
        file: Arc::new(file),
        name: "p".parse().unwrap(),
        version: semver::Version::new(1, 0, 0),
        description: String::new(),
        platforms: both(),
        target: Target::default(),
        parameters: BTreeMap::new(),
        variables: BTreeMap::new(),
        components: vec![component],
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    (directory, store)
}

fn sources(server: &Server) -> Sources {
    let options = SourceOptions { plain_http: vec![server.host.clone()], ..SourceOptions::default() };
    Sources::new(options).unwrap().patient(QUICK)
}

fn layers(n: u8) -> Vec<(Platform, Vec<u8>)> {
    both().into_iter().zip([vec![n; 1000], vec![n; 2000]]).collect()
}

#[tokio::test]
async fn reports_every_failure_with_its_place_and_asks_for_no_content() {
    let content = Content::default().image("a/one", "1", &layers(1)).image("a/amd", "1", &layers(2)[..1]);
    let server = Server::start(content, |_| None).await;
    let host = &server.host;
    let images = vec![
        image(3, &format!("{host}/a/one:1"), both()),
        image(4, &format!("{host}/a/one:typo"), both()),
        image(5, &format!("{host}/a/amd:1"), both()),
    ];
    let url = FileOrigin::Url { url: server.url("/missing"), sha256: None };
    let (_directory, store) = store();
    let error = resolve(&package(images, vec![file(9, &url)]), None, &sources(&server), &store, &Recorder::default()).await.unwrap_err();
    let told: Vec<(u32, String)> = error.failures.iter().map(|failure| (failure.at.line, failure.cause.to_string())).collect();
    let expected = [
        (4, format!("`{host}` answered 404 for `{host}/a/one:typo`: MANIFEST_UNKNOWN: manifest unknown")),
        (5, format!("`{host}/a/amd:1` has no image for linux/arm64")),
        (9, format!("`{host}` answered 404 for `http://{host}/missing`: Not Found")),
    ];
    assert_eq!(told, expected);
    assert_eq!(error.to_string(), "3 entries of `coracle.yaml` cannot be resolved");
    let layers: BTreeSet<String> = layers(1).iter().map(|(_, layer)| format!("/v2/a/one/blobs/{}", Digest::of(layer))).collect();
    assert!(server.requests().iter().all(|request| !layers.contains(&request.path)));
}

#[tokio::test]
async fn the_order_of_answers_does_not_show() {
    let content = || (1..=4u8).fold(Content::default(), |content, n| content.image(&format!("a/{n}"), "1", &layers(n)));
    let mut seen = Vec::new();
    let server = Server::start(content(), |request: &Request| {
        // One answer of two is late: whoever comes second is first.
        (request.before == 0 && request.path.len().is_multiple_of(2)).then(|| Reply::status(503))
    })
    .await;
    let quiet = Server::start(content(), |_| None).await;
    for server in [&server, &quiet] {
        let images = (1..=4).map(|n| image(n, &format!("registry.example/a/{n}:1"), both())).collect();
        let mirrors = vec![("registry.example".to_owned(), server.url("/"))];
        let sources = Sources::new(SourceOptions { mirrors, ..SourceOptions::default() }).unwrap().patient(Patience {
            tries: 9,
            tries_unreached: 9,
            ..QUICK
        });
        let (_directory, store) = store();
        let resolution = resolve(&package(images, Vec::new()), None, &sources, &store, &Recorder::default()).await.unwrap();
        seen.push((resolution.images, resolution.documents));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!((seen[0].0[0].len(), seen[0].1.len()), (4, 4 * 3 + 2), "an index and two manifests each; the two configurations are shared");
}

#[tokio::test]
async fn a_tag_that_is_named_twice_is_asked_for_once() {
    let server = Server::start(Content::default().image("a/one", "1", &layers(1)), |_| None).await;
    let reference = format!("{}/a/one:1", server.host);
    let images = vec![image(3, &reference, both()), image(4, &reference, vec![Platform::linux_amd64()])];
    let (_directory, store) = store();
    let resolution = resolve(&package(images, Vec::new()), None, &sources(&server), &store, &Recorder::default()).await.unwrap();
    assert_eq!(resolution.images[0].iter().map(|image| image.tree.platforms.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(server.headers("/v2/a/one/manifests/1", "accept").len(), 1);
}

#[tokio::test]
async fn with_a_lock_no_tag_is_asked_for_and_with_a_full_store_nobody_is() {
    let content = Content::default().image("a/one", "1", &layers(1)).file("/f.tar.gz", b"file");
    let server = Server::start(content, |_| None).await;
    let reference: ImageReference = format!("{}/a/one:1", server.host).parse().unwrap();
    let url = server.url("/f.tar.gz");
    let files = || vec![file(9, &FileOrigin::Url { url: url.clone(), sha256: None })];
    let package = || package(vec![image(3, &reference.to_string(), both())], files());
    let (_directory, first_store) = store();
    let recorder = Recorder::default();
    let first = resolve(&package(), None, &sources(&server), &first_store, &recorder).await.unwrap();
    let warnings = recorder
        .0
        .lock()
        .unwrap()
        .iter()
        .filter(|event| matches!(event, Event::Warning { message } if message.contains(url.as_str())))
        .count();
    assert_eq!(warnings, 1, "what was seen first is named, once");
    assert_eq!(server.headers("/f.tar.gz", "range"), [None], "fetched once for both platforms");
    let table = Lock::from_resolution(&first, &BTreeMap::new());
    assert_eq!(first.files[0][0][&Platform::linux_amd64()].descriptor, Descriptor::of("application/gzip", b"file"));
    let asked = server.requests().len();
    let second = resolve(&package(), Some(&table), &sources(&server), &first_store, &Recorder::default()).await.unwrap();
    assert_eq!(server.requests().len(), asked);
    assert_eq!((&first.images, &first.files, &first.documents), (&second.images, &second.files, &second.documents));
    let (_other_directory, empty) = store();
    let third = resolve(&package(), Some(&table), &sources(&server), &empty, &Recorder::default()).await.unwrap();
    assert_eq!((&first.images, &first.documents), (&third.images, &third.documents));
    assert_eq!(server.headers("/v2/a/one/manifests/1", "accept").len(), 1, "by digest alone");
}

#[tokio::test]
async fn files_come_from_beside_the_definition_and_out_of_it() {
    let server = Server::start(Content::default().file("/known", b"known"), |_| None).await;
    let (directory, store) = store();
    let path = directory.path().join("tool.zst");
    fs::write_atomic(&path, b"local", 0o644).unwrap();
    let local = |sha256| FileOrigin::Local { path: path.clone(), written: "files/tool.zst".to_owned(), sha256 };
    let known = FileOrigin::Url { url: server.url("/known"), sha256: Some(Digest::of(b"known")) };
    let files = vec![file(3, &FileOrigin::Inline("text".to_owned())), file(4, &local(None)), file(5, &known)];
    let resolution = resolve(&package(Vec::new(), files), None, &sources(&server), &store, &Recorder::default()).await.unwrap();
    let found: Vec<(Descriptor, String)> =
        resolution.files[0].iter().map(|file| file[&Platform::linux_arm64()].clone()).map(|file| (file.descriptor, file.title)).collect();
    let expected = [
        (Descriptor::of(MediaType::OCTETS, b"text"), "inline".to_owned()),
        (Descriptor::of("application/zstd", b"local"), "tool.zst".to_owned()),
        (Descriptor::of(MediaType::OCTETS, b"known"), "known".to_owned()),
    ];
    assert_eq!(found, expected);
    assert!(store.has(&expected[0].0).unwrap() && store.has(&expected[1].0).unwrap());
    assert!(server.requests().iter().all(|request| request.method == "HEAD"), "with a sha256 only the size is asked for");
    let wrong = vec![file(7, &local(Some(Digest::of(b"other"))))];
    let error = resolve(&package(Vec::new(), wrong), None, &sources(&server), &store, &Recorder::default()).await.unwrap_err();
    let expected = format!("`files/tool.zst` has the digest `{}`, the definition says `{}`", Digest::of(b"local"), Digest::of(b"other"));
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_layer_that_may_not_be_passed_on_is_refused_before_it_is_fetched() {
    let config = br#"{"architecture":"amd64","os":"linux"}"#;
    let layer = Descriptor::of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"layer");
    let manifest = crate::types::oci::write::manifest(&crate::types::oci::ImageManifest {
        artifact_type: None,
        config: Descriptor::of(MediaType::OCI_CONFIG, config),
        layers: vec![layer.clone()],
        subject: None,
        annotations: BTreeMap::new(),
    });
    let content = Content::default().blob("a/b", config).manifest("a/b", &manifest, Some("1"));
    let server = Server::start(content, |_| None).await;
    let images = vec![image(3, &format!("{}/a/b:1", server.host), vec![Platform::linux_amd64()])];
    let (_directory, store) = store();
    let error = resolve(&package(images, Vec::new()), None, &sources(&server), &store, &Recorder::default()).await.unwrap_err();
    assert!(matches!(&error.failures[0].cause, Cause::Foreign { digest, .. } if *digest == layer.digest), "{error:?}");
}

#[tokio::test]
async fn a_document_that_was_damaged_on_the_disk_is_asked_for_again() {
    let server = Server::start(Content::default().image("a/one", "1", &layers(1)), |_| None).await;
    let images = || vec![image(3, &format!("{}/a/one:1", server.host), both())];
    let (_directory, store) = store();
    let first = resolve(&package(images(), Vec::new()), None, &sources(&server), &store, &Recorder::default()).await.unwrap();
    let damaged = first.images[0][0].tree.platforms[1].manifest.clone();
    let mut bytes = store.read(&damaged).unwrap();
    bytes[20] ^= 1;
    fs::write_atomic(&store.blob_path(&damaged.digest), &bytes, 0o444).unwrap();
    let again = resolve(&package(images(), Vec::new()), None, &sources(&server), &store, &Recorder::default()).await.unwrap();
    assert_eq!(first.documents, again.documents);
    assert!(store.read(&damaged).is_ok());
}
