use std::io::Write as _;

use super::*;
use crate::types::oci::{ImageManifest, write};

/// A tar file with these members; a name that begins with `->` is a link to what follows it, under the name in the bytes.
fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        if let Some(target) = name.strip_prefix("->") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, std::str::from_utf8(bytes).unwrap(), target).unwrap();
        } else {
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            // Straight into the field: the builder itself refuses `..`.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn open(bytes: &[u8]) -> (tempfile::TempDir, Result<Archive, Error>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.tar");
    fs::write_atomic(&path, bytes, 0o644).unwrap();
    let archive = Archive::open(&path, directory.path());
    (directory, archive)
}

fn read(archive: &Archive, digest: &Digest, offset: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    archive.reader(digest, offset).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["DIFF1","DIFF2"]}}"#;

fn config(one: &[u8], two: &[u8]) -> String {
    CONFIG.replace("DIFF1", &Digest::of(one).to_string()).replace("DIFF2", &Digest::of(two).to_string())
}

#[test]
fn makes_an_oci_manifest_for_the_image_of_a_docker_archive() {
    let (one, two) = (b"layer one".as_slice(), b"layer two".as_slice());
    let config = config(one, two);
    let manifest = br#"[{"Config":"c.json","RepoTags":["ghcr.io/a/b:1"],"Layers":["1/layer.tar","2/layer.tar"]}]"#;
    let members = [("1/layer.tar", one), ("2/layer.tar", two), ("c.json", config.as_bytes()), ("manifest.json", manifest)];
    let expected = write::manifest(&ImageManifest {
        artifact_type: None,
        config: Descriptor::of("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        layers: [one, two].map(|layer| Descriptor::of("application/vnd.oci.image.layer.v1.tar", layer)).to_vec(),
        subject: None,
        annotations: BTreeMap::new(),
    });
    let whole = tar(&members);
    for bytes in [whole.clone(), gzip(&whole)] {
        let (_directory, archive) = open(&bytes);
        let archive = archive.unwrap();
        let (reference, top) = archive.image(None).unwrap();
        assert_eq!(reference.to_string(), "ghcr.io/a/b:1");
        assert_eq!(top, Descriptor::of("application/vnd.oci.image.manifest.v1+json", &expected));
        assert_eq!(archive.document(&top.digest).unwrap(), expected);
        assert_eq!(read(&archive, &Digest::of(two), 0), two);
        assert_eq!(read(&archive, &Digest::of(two), 6), b"two");
    }
}

#[test]
fn a_layer_that_is_a_link_is_found_by_its_digest_and_a_gzipped_one_is_hashed() {
    let (shared, zipped) = (b"shared".as_slice(), gzip(b"second"));
    let config = config(shared, b"second");
    let manifest = br#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["x/layer.tar","2.tar.gz"]},
                        {"Config":"c.json","RepoTags":["b:1"],"Layers":["y/layer.tar","2.tar.gz"]}]"#;
    let members = [
        ("->../y/layer.tar", b"x/layer.tar".as_slice()),
        ("y/layer.tar", shared),
        ("2.tar.gz", &zipped),
        ("c.json", config.as_bytes()),
        ("manifest.json", manifest),
    ];
    let (_directory, archive) = open(&tar(&members));
    let archive = archive.unwrap();
    let (_, top) = archive.image(Some(&"docker.io/library/a:1".parse().unwrap())).unwrap();
    let manifest = ImageManifest::parse(&archive.document(&top.digest).unwrap()).unwrap();
    assert_eq!(manifest.layers[0].digest, Digest::of(shared));
    assert_eq!(manifest.layers[1], Descriptor::of("application/vnd.oci.image.layer.v1.tar+gzip", &zipped));
    assert!(matches!(archive.image(None), Err(Error::Ambiguous { names, .. }) if names == ["a:1", "b:1"]));
}

#[test]
fn takes_the_image_of_an_oci_archive_that_is_meant() {
    let manifest = br#"{"schemaVersion":2,"config":{"digest":"sha256:0","size":1},"layers":[]}"#;
    let digest = Digest::of(manifest);
    let entry = |name: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"{name}"}}}}"#,
            manifest.len()
        )
    };
    let archive = |entries: &[&str]| {
        let index =
            format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.iter().map(|name| entry(name)).collect::<Vec<_>>().join(","));
        let blob = format!("blobs/sha256/{}", digest.hex());
        let layout = br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice();
        let (directory, archive) = open(&tar(&[("./oci-layout", layout), ("index.json", index.as_bytes()), (&blob, manifest)]));
        (directory, archive.unwrap())
    };
    let wanted: ImageReference = "ghcr.io/a/b:1.27".parse().unwrap();
    let top = Descriptor::new("application/vnd.oci.image.manifest.v1+json", digest, manifest.len() as u64);
    let (_one, named) = archive(&["ghcr.io/a/b:1.27"]);
    assert_eq!(named.image(None).unwrap(), (wanted.clone(), top.clone()));
    assert_eq!(named.document(&digest).unwrap(), manifest);
    let (_two, tagged) = archive(&["1.27"]);
    assert!(matches!(tagged.image(None), Err(Error::Nameless { said, .. }) if said == "1.27"));
    assert_eq!(tagged.image(Some(&wanted)).unwrap(), (wanted.clone(), top.clone()));
    let (_three, several) = archive(&["1.27", "1.28"]);
    assert_eq!(several.image(Some(&wanted)).unwrap(), (wanted, top));
    assert!(matches!(several.image(Some(&"ghcr.io/a/b:1.29".parse().unwrap())), Err(Error::Ambiguous { .. })));
}

#[test]
fn refuses_what_leads_out_and_what_is_no_image() {
    let layout = br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice();
    let member = |result: Result<Archive, Error>| match result.unwrap_err() {
        Error::Member { why, .. } => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(member(open(&tar(&[("a/../../x", b"x")])).1), "its name leads out of the archive");
    assert_eq!(member(open(&tar(&[("/etc/passwd", b"x")])).1), "its name is absolute");
    assert!(matches!(open(&tar(&[("x", b"x")])).1, Err(Error::Kind { .. })));
    assert!(matches!(open(&tar(&[("->/etc/passwd", b"oci-layout")])).1, Err(Error::Kind { .. })), "a link is not followed");
    assert!(matches!(open(&tar(&[("oci-layout", layout)])).1, Err(Error::Missing { member, .. }) if member == "index.json"));
    let mut cut = tar(&[("oci-layout", layout), ("index.json", &[b' '; 4000])]);
    cut.truncate(2048);
    assert!(open(&cut).1.is_err());
    assert!(matches!(open(&gzip(&[0; 100])[..20]).1, Err(Error::Read { .. })));
}
