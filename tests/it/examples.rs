//! Each example is created twice, on machines that look different, into the same bytes, and deployed into a directory. The upstream that
//! its names stand for is made here out of what the definition asks for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use coracle::bundle::contents::Placement;
use coracle::create::definition::package::{FileOrigin, ImageOrigin, Package};
use coracle::create::definition::{self, FILE_NAME};

use crate::lab;
use crate::upstream::{Upstream, gzip, noise};
use crate::workplace::{Workplace, words};

fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut examples: Vec<PathBuf> = entries.filter(|path| path.join(FILE_NAME).is_file()).collect();
    examples.sort();
    examples
}

/// Copies an example, its URLs led to the upstream.
fn copy(from: &Path, to: &Path, upstream: &str) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target, upstream);
        } else {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            std::fs::write(&target, text.replace("https://", &format!("http://{upstream}/"))).unwrap();
        }
    }
}

/// Serves all that a package asks for, and gives the registries that it names.
fn serve(package: &Package, upstream: &Upstream) -> BTreeSet<String> {
    let mut registries = BTreeSet::new();
    let images = package.components.iter().flat_map(|component| &component.images);
    for (seed, image) in (1..).zip(images) {
        let ImageOrigin::Registry(reference) = &image.origin else { panic!("an archive in an example") };
        upstream.image(reference.repository(), reference.tag().unwrap(), seed, 50_000);
        registries.insert(reference.registry().to_owned());
    }
    for file in package.components.iter().flat_map(|component| &component.files) {
        for (platform, origin) in &file.origins {
            let FileOrigin::Url { url, .. } = origin else { continue };
            let program = noise(u8::try_from(url.path().len()).unwrap(), 70_000);
            let bytes = match &file.placement {
                Placement::Extract { members, .. } => archive(&members[platform], &program),
                Placement::File(_) => [platform.to_string().into_bytes(), program].concat(),
            };
            upstream.file(url.path(), &bytes);
        }
    }
    registries
}

fn archive(members: &[String], bytes: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, member, bytes).unwrap();
    }
    gzip(&archive.into_inner().unwrap())
}

#[test]
fn each_example_is_created_twice_into_the_same_bytes_and_deployed() {
    let all = examples();
    assert!(all.len() >= 4, "{all:?}");
    for example in all {
        let name = example.file_name().unwrap().to_str().unwrap();
        let (workplace, upstream) = (Workplace::new(&[], &[]), Upstream::start());
        let places = [workplace.path("here"), workplace.path("elsewhere/below/it")];
        for place in &places {
            copy(&example, place, upstream.address());
        }
        let package = definition::load(&places[0], &[], &[]).unwrap();
        let registries = serve(&package, &upstream);
        let create = |place: &Path, cache: &str, output: &str, threads: &str| {
            let mut create = workplace.coracle();
            create.arg("create").arg(place).args(["--signing-key", "release.key", "--plain-http", upstream.address()]);
            create.args(["--cache", cache, "-o", output, "--threads", threads]);
            for registry in &registries {
                create.args(["--mirror", &format!("{registry}=http://{}", upstream.address())]);
            }
            lab::output(&mut create);
            std::fs::read(workplace.path(output)).unwrap()
        };
        let first = create(&places[0], "one", "one.tar.zst", "1");
        assert!(first == create(&places[1], "two", "two.tar.zst", "7"), "{name}: two creates differ");
        let role = package.components.iter().flat_map(|component| &component.only.roles).next();
        let mut deploy = workplace.coracle();
        deploy.args(["deploy", "one.tar.zst", "--key", "release.pub", "--yes", "--root", "node"]);
        deploy.args(role.iter().flat_map(|role| ["--role", role]));
        let said = words(&deploy.output().unwrap());
        assert!(said.contains("deployed"), "{name}: {said}");
        let status = lab::output(workplace.coracle().args(["status", "--root", "node"]));
        assert!(String::from_utf8(status).unwrap().contains(&format!("{}  deployed", package.version)), "{name}");
    }
}
