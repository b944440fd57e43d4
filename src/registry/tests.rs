//! The handlers over a real store, without a socket.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt as _;

use super::names::{self, Name, Names};
use super::{NodeContent, router};
use crate::store::Store;
use crate::types::oci::{ImageIndex, ImageManifest, write};
use crate::types::{Descriptor, Digest, MediaType, Platform};

const REPOSITORY: &str = "ghcr.io/acme/app";
/// Longer than two pieces of a body.
const LAYER: usize = 700_000;

struct Node {
    state: tempfile::TempDir,
    layer: Descriptor,
    child: Descriptor,
    absent: Digest,
    index: Descriptor,
    signature: Descriptor,
}

fn manifest(config: &Descriptor, layers: Vec<Descriptor>, subject: Option<Descriptor>) -> Vec<u8> {
    write::manifest(&ImageManifest { artifact_type: None, config: config.clone(), layers, subject, annotations: BTreeMap::new() })
}

fn layer() -> Vec<u8> {
    (0..LAYER).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()
}

/// A sparse index (arm64 is named and not held), a signature that refers to it, and a blob that no manifest names.
fn node() -> Node {
    let state = tempfile::tempdir().unwrap();
    let store = Store::open(state.path().join("store")).unwrap();
    let put = |media_type: &str, bytes: &[u8]| {
        store.put(bytes).unwrap();
        Descriptor::of(media_type, bytes)
    };
    let layer = put("application/vnd.oci.image.layer.v1.tar", &layer());
    let config = put(MediaType::OCI_CONFIG, b"{\"os\":\"linux\",\"architecture\":\"amd64\"}");
    let child = put(MediaType::OCI_MANIFEST, &manifest(&config, vec![layer.clone()], None));
    let absent = Descriptor::of(MediaType::OCI_MANIFEST, b"not held").for_platform(Platform::linux_arm64());
    let index = put(
        MediaType::OCI_INDEX,
        &write::index(&ImageIndex {
            artifact_type: None,
            manifests: vec![child.clone().for_platform(Platform::linux_amd64()), absent.clone()],
            subject: None,
            annotations: BTreeMap::new(),
        }),
    );
    let signed = put("application/x-signature", b"{}");
    let signature = put(MediaType::OCI_MANIFEST, &manifest(&signed, Vec::new(), Some(index.clone())));
    put(MediaType::OCTETS, b"a secret file");
    let list = vec![Name::new(Some("1.0"), &index), Name::new(Some("2.0"), &child), Name::new(None, &signature)];
    let names = Names { package: "app".parse().unwrap(), repositories: BTreeMap::from([(REPOSITORY.to_owned(), list)]) };
    names::write(state.path(), &names).unwrap();
    Node { state, layer, child, absent: absent.digest, index, signature }
}

/// Status, headers and body of one request.
struct Got {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

async fn ask(router: &axum::Router, method: &str, uri: &str, headers: &[(&str, &str)]) -> Got {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    Got { status, headers, body: to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec() }
}

fn serving(node: &Node) -> axum::Router {
    router(Arc::new(NodeContent::open(node.state.path()).unwrap()))
}

#[tokio::test]
async fn serves_manifests_with_their_type_and_digest() {
    let node = node();
    let router = serving(&node);
    for (uri, expected) in [
        (format!("/v2/{REPOSITORY}/manifests/1.0"), &node.index),
        ("/v2/acme/app/manifests/1.0?ns=ghcr.io".to_owned(), &node.index),
        (format!("/v2/{REPOSITORY}/manifests/2.0"), &node.child),
        (format!("/v2/{REPOSITORY}/manifests/{}", node.child.digest), &node.child),
        (format!("/v2/{REPOSITORY}/blobs/{}", node.child.digest), &node.child),
    ] {
        for method in ["GET", "HEAD"] {
            let got = ask(&router, method, &uri, &[]).await;
            let header = |name: &str| got.headers.get(name).map(String::as_str);
            assert_eq!(got.status, 200, "{method} {uri}");
            assert_eq!(header("content-type"), Some(expected.media_type.as_str()));
            assert_eq!(header("docker-content-digest"), Some(&*expected.digest.to_string()));
            assert_eq!(header("content-length"), Some(&*expected.size.to_string()));
            assert_eq!(header("etag"), Some(&*format!("\"{}\"", expected.digest)));
            let body = if method == "GET" { expected.digest } else { Digest::of(b"") };
            assert_eq!(Digest::of(&got.body), body, "{method} {uri}");
        }
        let known = ask(&router, "GET", &uri, &[("if-none-match", &format!("\"x\", W/\"{}\"", expected.digest))]).await;
        assert_eq!((known.status, known.body.len()), (304, 0), "{uri}");
    }
}

#[tokio::test]
async fn refuses_with_the_documents_of_the_specification() {
    let node = node();
    let router = serving(&node);
    let secret = Digest::of(b"a secret file");
    for (method, uri, status, code) in [
        ("GET", format!("/v2/{REPOSITORY}/manifests/3.0"), 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/{REPOSITORY}/manifests/{}", node.absent), 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/acme/app/manifests/1.0".to_owned(), 404, "NAME_UNKNOWN"),
        ("GET", "/v2/acme/app/manifests/1.0?ns=quay.io".to_owned(), 404, "NAME_UNKNOWN"),
        ("GET", "/v2/x/tags/list".to_owned(), 404, "NAME_UNKNOWN"),
        ("GET", format!("/v2/{REPOSITORY}/blobs/{secret}"), 404, "BLOB_UNKNOWN"),
        ("GET", format!("/v2/other/blobs/{}", node.layer.digest), 404, "BLOB_UNKNOWN"),
        ("GET", format!("/v2/{REPOSITORY}/blobs/sha256:1"), 400, "DIGEST_INVALID"),
        ("GET", format!("/v2/{REPOSITORY}/tags/list?n=-1"), 400, "UNSUPPORTED"),
        ("GET", "/etc/passwd".to_owned(), 404, "UNSUPPORTED"),
        ("POST", format!("/v2/{REPOSITORY}/blobs/uploads/"), 405, "UNSUPPORTED"),
        ("PUT", format!("/v2/{REPOSITORY}/manifests/1.0"), 405, "UNSUPPORTED"),
        ("DELETE", format!("/v2/{REPOSITORY}/manifests/1.0"), 405, "UNSUPPORTED"),
    ] {
        let got = ask(&router, method, &uri, &[]).await;
        let document: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!((got.status, document["errors"][0]["code"].as_str()), (status, Some(code)), "{method} {uri}");
        assert_eq!(got.headers["content-type"], "application/json");
        assert_eq!(got.headers.contains_key("allow"), status == 405);
    }
}

#[tokio::test]
async fn serves_parts_of_a_blob() {
    let node = node();
    let router = serving(&node);
    let uri = format!("/v2/{REPOSITORY}/blobs/{}", node.layer.digest);
    let etag = format!("\"{}\"", node.layer.digest);
    let size = LAYER;
    for (headers, status, range) in [
        (vec![], 200, Some(0..size)),
        (vec![("range", "bytes=0-0")], 206, Some(0..1)),
        (vec![("range", "bytes=262143-600000")], 206, Some(262_143..600_001)),
        (vec![("range", "bytes=-5")], 206, Some(size - 5..size)),
        (vec![("range", "bytes=0-1,4-5")], 200, Some(0..size)),
        (vec![("range", "bytes=5-"), ("if-range", &etag)], 206, Some(5..size)),
        (vec![("range", "bytes=5-"), ("if-range", "\"other\"")], 200, Some(0..size)),
        (vec![("range", "bytes=700000-")], 416, None),
    ] {
        let got = ask(&router, "GET", &uri, &headers).await;
        assert_eq!(got.status, status, "{headers:?}");
        let content_range = got.headers.get("content-range").map(String::as_str);
        match range {
            None => assert_eq!(content_range, Some("bytes */700000")),
            Some(range) => {
                let expected = (status == 206).then(|| format!("bytes {}-{}/{size}", range.start, range.end - 1));
                assert_eq!(content_range, expected.as_deref());
                assert_eq!(got.headers["content-length"], range.len().to_string());
                assert!(got.body == layer()[range], "{headers:?}");
            }
        }
        let head = ask(&router, "HEAD", &uri, &headers).await;
        assert_eq!((head.status, head.headers.get("content-length")), (status, got.headers.get("content-length")), "{headers:?}");
    }
}

#[tokio::test]
async fn lists_repositories_tags_and_referrers() {
    let node = node();
    let router = serving(&node);
    for (uri, body, link) in [
        ("/v2/".to_owned(), "{}".to_owned(), None),
        ("/v2/_catalog".to_owned(), format!(r#"{{"repositories":["{REPOSITORY}"]}}"#), None),
        (format!("/v2/{REPOSITORY}/tags/list"), format!(r#"{{"name":"{REPOSITORY}","tags":["1.0","2.0"]}}"#), None),
        (
            format!("/v2/{REPOSITORY}/tags/list?n=1"),
            format!(r#"{{"name":"{REPOSITORY}","tags":["1.0"]}}"#),
            Some(format!("</v2/{REPOSITORY}/tags/list?n=1&last=1.0>; rel=\"next\"")),
        ),
        (format!("/v2/{REPOSITORY}/tags/list?n=1&last=1.0"), format!(r#"{{"name":"{REPOSITORY}","tags":["2.0"]}}"#), None),
        (format!("/v2/{REPOSITORY}/tags/list?n=0"), format!(r#"{{"name":"{REPOSITORY}","tags":[]}}"#), None),
    ] {
        let got = ask(&router, "GET", &uri, &[]).await;
        assert_eq!((got.status, String::from_utf8(got.body).unwrap()), (200, body), "{uri}");
        assert_eq!(got.headers.get("link"), link.as_ref(), "{uri}");
    }
    let base = format!("/v2/{REPOSITORY}/referrers/{}", node.index.digest);
    for (query, filters, found) in [
        ("", None, true),
        ("?artifactType=application/x-signature", Some("artifactType"), true),
        ("?artifactType=b", Some("artifactType"), false),
    ] {
        let got = ask(&router, "GET", &format!("{base}{query}"), &[]).await;
        let expected: Vec<Descriptor> = if found {
            vec![Descriptor { artifact_type: Some("application/x-signature".to_owned()), ..node.signature.clone() }]
        } else {
            Vec::new()
        };
        assert_eq!(ImageIndex::parse(&got.body).unwrap().manifests, expected, "{query}");
        assert_eq!((got.status, got.headers.get("oci-filters-applied").map(String::as_str)), (200, filters));
        assert_eq!(got.headers["content-type"], MediaType::OCI_INDEX);
    }
}

#[tokio::test]
async fn sees_names_that_are_written_while_it_serves() {
    let node = node();
    let router = serving(&node);
    let list = vec![Name::new(Some("9"), &node.child)];
    let names = Names { package: "b".parse().unwrap(), repositories: BTreeMap::from([("quay.io/b".to_owned(), list)]) };
    assert_eq!(ask(&router, "GET", "/v2/quay.io/b/manifests/9", &[]).await.status, 404);
    names::write(node.state.path(), &names).unwrap();
    assert_eq!(ask(&router, "GET", "/v2/quay.io/b/manifests/9", &[]).await.status, 200);
    names::remove(node.state.path(), &names.package).unwrap();
    assert_eq!(ask(&router, "GET", "/v2/quay.io/b/manifests/9", &[]).await.status, 404);
}

#[tokio::test]
async fn a_tag_of_two_packages_is_served_as_the_one_to_which_it_was_moved() {
    let node = node();
    let router = serving(&node);
    for (package, manifest, moved) in [("x", &node.child, 0), ("y", &node.signature, 1), ("z", &node.child, 2)] {
        let name = Name { moved, ..Name::new(Some("9"), manifest) };
        let repositories = BTreeMap::from([("quay.io/b".to_owned(), vec![name])]);
        names::write(node.state.path(), &Names { package: package.parse().unwrap(), repositories }).unwrap();
        let got = ask(&router, "GET", "/v2/quay.io/b/manifests/9", &[]).await;
        assert_eq!(got.headers["docker-content-digest"], manifest.digest.to_string(), "{package}");
    }
    // What is left holds it again.
    names::remove(node.state.path(), &"z".parse().unwrap()).unwrap();
    let got = ask(&router, "GET", "/v2/quay.io/b/manifests/9", &[]).await;
    assert_eq!(got.headers["docker-content-digest"], node.signature.digest.to_string());
}

#[tokio::test]
async fn does_not_serve_a_file_of_another_size() {
    let node = node();
    let router = serving(&node);
    let store = Store::open(node.state.path().join("store")).unwrap();
    for (kind, digest) in [("blobs", node.layer.digest), ("manifests", node.child.digest)] {
        crate::fs::write_atomic(&store.blob_path(&digest), b"short", 0o444).unwrap();
        assert_eq!(ask(&router, "GET", &format!("/v2/{REPOSITORY}/{kind}/{digest}"), &[]).await.status, 404);
    }
}
