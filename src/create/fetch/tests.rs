use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::*;
use crate::bundle::image::{ImageTree, PlatformImage};
use crate::create::definition::package::{ImageOrigin, Package, SourceFile};
use crate::create::resolution::ResolvedImage;
use crate::create::source::fake::Fake;
use crate::create::source::server::{Content, Reply, Request, Server};
use crate::create::source::{Patience, Place, SourceOptions};
use crate::io::Mismatch;
use crate::types::{Descriptor, ImageReference, Platform};

const QUICK: Patience = Patience {
    tries: 4,
    tries_unreached: 4,
    first: std::time::Duration::from_millis(1),
    longest: std::time::Duration::from_millis(2),
    longest_asked: std::time::Duration::from_millis(5),
};

#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Observer for Recorder {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Recorder {
    fn retries(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|event| matches!(event, Event::Retrying { .. })).count()
    }

    fn progress(&self) -> u64 {
        let bytes = |event: &Event| if let Event::StageProgress { bytes, .. } = event { *bytes } else { 0 };
        self.0.lock().unwrap().iter().map(bytes).sum()
    }
}

/// Bytes that differ by `seed`, large enough to come in many pieces.
fn bytes(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|n| seed.wrapping_add(u8::try_from(n % 251).unwrap())).collect()
}

struct Case {
    _directory: tempfile::TempDir,
    server: Server,
    store: Store,
    resolution: Resolution,
    recorder: Recorder,
}

const REPOSITORY: &str = "a/b";

impl Case {
    /// Blobs of one image on a server with faults.
    async fn new(blobs: &[Vec<u8>], fault: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let content = blobs.iter().fold(Content::default(), |content, blob| content.blob(REPOSITORY, blob));
        let server = Server::start(content, fault).await;
        let reference: ImageReference = format!("{}/{REPOSITORY}:1", server.host).parse().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let layers = blobs.iter().map(|blob| Descriptor::of("x", blob)).collect();
        let resolution = resolution(reference.clone(), layers, ImageOrigin::Registry(reference));
        Self { _directory: directory, server, store, resolution, recorder: Recorder::default() }
    }

    fn sources(&self) -> Sources {
        let options = SourceOptions { plain_http: vec![self.server.host.clone()], ..SourceOptions::default() };
        Sources::new(options).unwrap().patient(QUICK)
    }

    async fn fetch(&self) -> Result<Fetched, Error> {
        fetch(&self.resolution, &self.sources(), &self.store, &self.recorder).await
    }

    /// The `Range` of each request for a blob.
    fn ranges(&self, blob: &[u8]) -> Vec<Option<String>> {
        self.server.headers(&blob_path(blob), "range")
    }
}

fn blob_path(blob: &[u8]) -> String {
    format!("/v2/{REPOSITORY}/blobs/{}", Digest::of(blob))
}

fn resolution(reference: ImageReference, layers: Vec<Descriptor>, origin: ImageOrigin) -> Resolution {
    let top = Descriptor::of("m", b"m");
    let config = Descriptor::of("c", b"c");
    let platform = Platform::linux_amd64();
    let image = PlatformImage { platform: platform.clone(), manifest: top.clone(), config, layers, attestations: Vec::new() };
    let tree = ImageTree { reference, top, platforms: vec![image] };
    let file = SourceFile { path: "coracle.yaml".into(), directory: ".".into(), text: String::new() };
    let package = Package {
        file: Arc::new(file),
        name: "p".parse().unwrap(),
        version: semver::Version::new(1, 0, 0),
        description: String::new(),
        platforms: vec![platform],
        target: crate::bundle::contents::Target::default(),
        parameters: BTreeMap::new(),
        variables: BTreeMap::new(),
        components: Vec::new(),
    };
    Resolution { package, images: vec![vec![ResolvedImage { tree, origin }]], files: Vec::new(), documents: BTreeMap::new() }
}

#[tokio::test]
async fn fetches_each_digest_once_and_nothing_the_second_time() {
    let blobs = [bytes(1, 3_000_000), bytes(2, 10), bytes(1, 3_000_000)];
    let case = Case::new(&blobs, |_| None).await;
    assert_eq!(case.fetch().await.unwrap(), Fetched { bytes_total: 3_000_010, bytes_fetched: 3_000_010 });
    for blob in &blobs {
        assert_eq!(case.store.read(&Descriptor::of("x", blob)).unwrap(), *blob);
        assert_eq!(case.ranges(blob), [None]);
    }
    assert_eq!(case.recorder.progress(), 3_000_010);
    let asked = case.server.requests().len();
    assert_eq!(case.fetch().await.unwrap(), Fetched { bytes_total: 3_000_010, bytes_fetched: 0 });
    assert_eq!(case.server.requests().len(), asked, "nobody is asked when everything is there");
}

#[tokio::test]
async fn goes_on_where_the_connection_was_cut() {
    let blob = bytes(1, 3_000_000);
    let path = blob_path(&blob);
    let whole = blob.clone();
    let case = Case::new(std::slice::from_ref(&blob), move |request: &Request| {
        (request.path == path && request.before < 2).then(|| Reply::ranged(request, &whole).cut(1_000_000))
    })
    .await;
    case.fetch().await.unwrap();
    assert_eq!(case.store.read(&Descriptor::of("x", &blob)).unwrap(), blob);
    assert_eq!(case.ranges(&blob), [None, Some("bytes=1000000-".to_owned()), Some("bytes=2000000-".to_owned())]);
    assert_eq!((case.recorder.retries(), case.recorder.progress()), (2, 3_000_000));
}

#[tokio::test]
async fn goes_on_with_what_a_killed_run_left() {
    let blob = bytes(1, 2_000_000);
    let descriptor = Descriptor::of("x", &blob);
    let case = Case::new(std::slice::from_ref(&blob), |_| None).await;
    let store::Begun::Writer(mut writer) = case.store.begin(descriptor.digest, descriptor.size).unwrap() else { panic!("it is there") };
    writer.write(&blob[..1_234_567]).unwrap();
    drop(writer);
    let plan = plan_fetch(&case.resolution, &case.store).unwrap();
    assert_eq!((plan.bytes_missing, plan.blobs[0].bytes_present), (765_433, 1_234_567));
    case.fetch().await.unwrap();
    assert_eq!(case.ranges(&blob), [Some("bytes=1234567-".to_owned())]);
    assert_eq!(case.store.read(&descriptor).unwrap(), blob);
    assert_eq!(case.recorder.progress(), 765_433);
}

#[tokio::test]
async fn starts_over_when_the_server_knows_no_ranges() {
    let blob = bytes(1, 1_000_000);
    let path = blob_path(&blob);
    let whole = blob.clone();
    let case = Case::new(std::slice::from_ref(&blob), move |request: &Request| {
        let reply = Reply::ok(whole.clone());
        (request.path == path).then(|| if request.before == 0 { reply.cut(600_000) } else { reply })
    })
    .await;
    case.fetch().await.unwrap();
    assert_eq!(case.ranges(&blob), [None, Some("bytes=600000-".to_owned())]);
    assert_eq!(case.store.read(&Descriptor::of("x", &blob)).unwrap(), blob);
    assert_eq!(case.recorder.progress(), 1_000_000);
}

#[tokio::test]
async fn names_host_and_blob_when_other_bytes_come_twice_and_keeps_none_of_them() {
    let (blob, small) = (bytes(1, 1_000_000), bytes(2, 100));
    let path = blob_path(&blob);
    let other = bytes(9, 1_000_000);
    let got = Digest::of(&other);
    let case = Case::new(&[blob.clone(), small], move |request: &Request| (request.path == path).then(|| Reply::ok(other.clone()))).await;
    let error = case.fetch().await.unwrap_err();
    let expected = Digest::of(&blob);
    let Error::Blob { digest, source: source::Error::Wrong { what, host, source }, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*digest, host, source), (expected, &case.server.host, &Mismatch::Digest { got, expected }));
    assert_eq!(*what, format!("{}/{REPOSITORY}@{expected}", case.server.host));
    assert_eq!(case.ranges(&blob), [None, None]);
    assert_eq!(case.store.bytes_present(&Descriptor::of("x", &blob)).unwrap(), 0);
}

#[tokio::test]
async fn a_damaged_partial_file_costs_one_more_request_and_no_failure() {
    let blob = bytes(1, 1_000_000);
    let descriptor = Descriptor::of("x", &blob);
    let case = Case::new(std::slice::from_ref(&blob), |_| None).await;
    let store::Begun::Writer(mut writer) = case.store.begin(descriptor.digest, descriptor.size).unwrap() else { panic!("it is there") };
    writer.write(&bytes(77, 500_000)).unwrap();
    drop(writer);
    case.fetch().await.unwrap();
    assert_eq!(case.ranges(&blob), [Some("bytes=500000-".to_owned()), None]);
    assert_eq!(case.store.read(&descriptor).unwrap(), blob);
}

#[tokio::test]
async fn says_what_size_the_upstream_has_when_it_is_another() {
    let blob = bytes(1, 1000);
    for (served, stated) in [(bytes(1, 900), 900), (bytes(1, 1100), 1100)] {
        let path = blob_path(&blob);
        let case =
            Case::new(std::slice::from_ref(&blob), move |request: &Request| (request.path == path).then(|| Reply::ok(served.clone())))
                .await;
        let error = case.fetch().await.unwrap_err();
        let Error::Blob { source: source::Error::Size { expected: 1000, got, host, .. }, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*got, host), (stated, &case.server.host));
        assert_eq!(case.ranges(&blob).len(), 2, "asked once more, not oftener");
    }
}

#[tokio::test]
async fn gives_up_after_some_tries_and_keeps_what_was_whole() {
    let (large, small) = (bytes(1, 500_000), bytes(2, 100));
    let path = blob_path(&large);
    let case = Case::new(&[large.clone(), small.clone()], move |request: &Request| {
        (request.path == path).then(|| Reply::error(503, "UNAVAILABLE", "later"))
    })
    .await;
    let options = SourceOptions { plain_http: vec![case.server.host.clone()], jobs: 1, ..SourceOptions::default() };
    // The small one first, alone: then the failure of the large one comes after it.
    let mut first = case.resolution.clone();
    first.images[0][0].tree.platforms[0].layers.remove(0);
    let sources = Sources::new(options).unwrap().patient(QUICK);
    fetch(&first, &sources, &case.store, &case.recorder).await.unwrap();
    let error = fetch(&case.resolution, &sources, &case.store, &case.recorder).await.unwrap_err();
    let Error::Blob { source: source::Error::Status { status: 503, said, .. }, .. } = &error else { panic!("{error:?}") };
    assert_eq!(said, "UNAVAILABLE: later");
    assert_eq!(case.recorder.retries(), 3);
    assert!(case.store.has(&Descriptor::of("x", &small)).unwrap());
}

#[tokio::test]
async fn another_repository_of_the_host_may_have_the_blob() {
    let blob = bytes(1, 1000);
    let case = Case::new(std::slice::from_ref(&blob), |_| None).await;
    let digest = Digest::of(&blob);
    let place = |repository: &str| Place::Registry { reference: format!("{}/{repository}:1", case.server.host).parse().unwrap(), digest };
    let descriptor = Descriptor::of("x", &blob);
    let mut progress = Progress::start(&case.recorder, Stage::Fetch, 0, "x".to_owned(), None, 0);
    transfer::blob(&case.sources(), &[place("0/none"), place(REPOSITORY)], &descriptor, &case.store, &mut progress).await.unwrap();
    assert!(case.store.has(&descriptor).unwrap());
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_named() {
    let blob = bytes(1, 1000);
    let case = Case::new(std::slice::from_ref(&blob), |_| None).await;
    let partial = case.store.root().join("partial");
    fs::remove_dir(&partial).unwrap();
    let error = case.fetch().await.unwrap_err();
    let Error::Blob { source: source::Error::Store(store::Error::File(file)), .. } = &error else { panic!("{error:?}") };
    assert_eq!(file.path, partial.join(Digest::of(&blob).hex()));
}

#[tokio::test]
async fn takes_blobs_out_of_archives() {
    let directory = tempfile::tempdir().unwrap();
    let blob = bytes(1, 700_000);
    let layout = directory.path().join("layout");
    fs::create_dir_all(&layout.join("blobs/sha256")).unwrap();
    fs::write_atomic(&layout.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644).unwrap();
    fs::write_atomic(&layout.join("index.json"), br#"{"schemaVersion":2,"manifests":[]}"#, 0o644).unwrap();
    fs::write_atomic(&layout.join("blobs/sha256").join(Digest::of(&blob).hex()), &blob, 0o644).unwrap();
    let reference: ImageReference = "registry.example/a:1".parse().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let origin = ImageOrigin::Archive { path: PathBuf::from(&layout), reference: None };
    let descriptor = Descriptor::of("x", &blob);
    let resolution = resolution(reference, vec![descriptor.clone()], origin);
    let sources = Sources::new(SourceOptions::default()).unwrap();
    fetch(&resolution, &sources, &store, &Recorder::default()).await.unwrap();
    assert_eq!(store.read(&descriptor).unwrap(), blob);
}

#[tokio::test]
async fn a_cache_that_is_too_small_is_known_before_anything_is_fetched() {
    let mut case = Case::new(&[bytes(1, 10)], |_| None).await;
    let layers = &mut case.resolution.images[0][0].tree.platforms[0].layers;
    layers.push(Descriptor::new("x", Digest::of(b"huge"), 1 << 60));
    let needed = (1 << 60) + 10;
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(&error, Error::Space { root, needed: n, .. } if root == case.store.root() && *n == needed), "{error:?}");
    assert_eq!(case.server.requests().len(), 0);
}

#[tokio::test]
async fn the_plan_names_the_largest_first_and_what_is_there_not_at_all() {
    let blobs = [bytes(1, 10), bytes(2, 3000), bytes(3, 200)];
    let case = Case::new(&blobs, |_| None).await;
    case.store.put(&blobs[2]).unwrap();
    let plan = plan_fetch(&case.resolution, &case.store).unwrap();
    let sizes: Vec<u64> = plan.blobs.iter().map(|blob| blob.descriptor.size).collect();
    assert_eq!((sizes.as_slice(), plan.bytes_total, plan.bytes_missing), ([3000, 10].as_slice(), 3210, 3010));
    assert_eq!(case.server.requests().len(), 0);
}

#[tokio::test]
async fn any_source_will_do() {
    let blob = bytes(1, 1000);
    let reference: ImageReference = "registry.example/a:1".parse().unwrap();
    let served = blob.clone();
    let name = format!("registry.example/a@{}", Digest::of(&blob));
    let fake = Fake(move |what: &str| (what == name).then(|| served.clone()));
    let (directory, descriptor) = (tempfile::tempdir().unwrap(), Descriptor::of("x", &blob));
    let store = Store::open(directory.path().join("store")).unwrap();
    let resolution = resolution(reference.clone(), vec![descriptor.clone()], ImageOrigin::Registry(reference));
    fetch(&resolution, &Sources::fake(fake, QUICK), &store, &Recorder::default()).await.unwrap();
    assert_eq!(store.read(&descriptor).unwrap(), blob);
}
