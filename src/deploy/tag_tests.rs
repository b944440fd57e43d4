//! Tags that stand for something else: refused, moved by name, and not taken back.

use std::collections::BTreeSet;
use std::path::Path;

use super::host::fake::{End, Ending, FakeHost};
use super::options::Options;
use super::plan::{DeployPlan, Error as PlanError};
use super::testing::Package;
use crate::bundle::contents::Contents;
use crate::registry::names;
use crate::types::Digest;

const TAG: &str = "docker.io/library/nginx:1";

/// A package with nginx:1 of its own build.
fn package(name: &str, build: &str) -> Package {
    let mut package = Package::new("1.0.0");
    package.contents = Contents { name: name.parse().unwrap(), ..package.contents };
    package.component("base");
    package.image(TAG, build);
    package
}

fn moving() -> Options {
    Options { move_tags: BTreeSet::from(["nginx:1".parse().unwrap()]), ..Options::default() }
}

fn top(package: &Package) -> Digest {
    package.images[0].top.digest
}

fn refused(package: &Package, host: &FakeHost) -> String {
    let error = package.plan(host, &Options::default()).unwrap_err();
    let explained = crate::cli::explain::deploy::explain_plan(&error);
    format!("{error}\n{}\n{}", explained.cause.unwrap_or_default(), explained.hint.unwrap_or_default())
}

fn plan(package: &Package, host: &FakeHost) -> DeployPlan {
    package.plan(host, &Options::default()).unwrap()
}

/// What the tag stands for in containerd.
fn tag(host: &FakeHost) -> Digest {
    host.state().tags[TAG]
}

/// How often the tag had been moved when it came to the package.
fn moved(host: &FakeHost, package: &str) -> u64 {
    let path = format!("/var/lib/coracle/registry/names/{package}.json");
    let names = names::decode(host.text(&path).unwrap().as_bytes(), Path::new("n")).unwrap();
    names.repositories["docker.io/library/nginx"][0].moved
}

#[test]
fn a_tag_of_another_package_is_refused_moved_by_name_and_stays_where_it_went() {
    let (host, mine, theirs) = (FakeHost::new(), package("mine", "a"), package("theirs", "b"));
    theirs.deploy(&host, &Options::default()).unwrap();
    let expected = format!(
        "an image's tag stands for something else on this node\n`{TAG}` is {} of package `theirs`\n\
         nothing was changed; --move-tag {TAG} moves it here",
        top(&theirs)
    );
    assert_eq!(refused(&mine, &host), expected);

    let allowed = mine.plan(&host, &moving()).unwrap();
    assert_eq!(allowed.notes[0], format!("`{TAG}` is {} of package `theirs`; it moves to this package", top(&theirs)));
    mine.deploy(&host, &moving()).unwrap();
    assert_eq!((tag(&host), moved(&host, "mine"), moved(&host, "theirs")), (top(&mine), 1, 0));
    // Neither takes it again without being told to.
    let second = plan(&mine, &host);
    assert!(second.is_empty() && second.notes.is_empty(), "{second}");
    let second = plan(&theirs, &host);
    assert!(second.is_empty(), "{second}");
    assert_eq!(second.notes, [format!("`{TAG}` is {} of package `mine`, which took it; it stays there", top(&mine))]);
    theirs.deploy(&host, &moving()).unwrap();
    assert_eq!((tag(&host), moved(&host, "theirs")), (top(&theirs), 2));
    assert!(plan(&theirs, &host).is_empty() && plan(&mine, &host).is_empty());
    assert_eq!(moved(&host, "mine"), 1);
}

#[test]
fn a_move_that_is_killed_anywhere_is_continued_to_the_same_end() {
    let (mine, theirs) = (package("mine", "a"), package("theirs", "b"));
    for n in 0.. {
        let host = FakeHost::new();
        theirs.deploy(&host, &Options::default()).unwrap();
        let killed = mine.deploy_ending(&Ending::new(&host, End::Killed, n), &moving()).is_err();
        mine.deploy(&host, &moving()).unwrap();
        assert_eq!((tag(&host), moved(&host, "mine"), moved(&host, "theirs")), (top(&mine), 1, 0), "killed at {n}");
        assert!(plan(&mine, &host).is_empty() && plan(&theirs, &host).is_empty(), "killed at {n}");
        if !killed {
            break;
        }
    }
}

#[test]
fn what_somebody_pulled_is_not_renamed_silently_and_an_upgrade_moves_its_own_tag() {
    let (host, old, new) = (FakeHost::new(), package("mine", "a"), package("mine", "b"));
    let pulled = Digest::of(b"pulled");
    host.state().tags.insert(TAG.to_owned(), pulled);
    assert_eq!(
        refused(&old, &host),
        format!(
            "an image's tag stands for something else on this node\n\
             `{TAG}` is {pulled} of containerd, where it was pulled or imported\n\
             nothing was changed; --move-tag {TAG} moves it here"
        )
    );
    old.deploy(&host, &moving()).unwrap();
    new.deploy(&host, &Options::default()).unwrap();
    assert_eq!((tag(&host), moved(&host, "mine")), (top(&new), 0));
}

#[test]
fn two_packages_may_have_one_image_by_one_tag_and_only_its_own_images_can_be_named() {
    let (host, mine, theirs) = (FakeHost::new(), package("mine", "a"), package("theirs", "a"));
    theirs.deploy(&host, &Options::default()).unwrap();
    mine.deploy(&host, &Options::default()).unwrap();
    assert!(plan(&mine, &host).is_empty() && plan(&theirs, &host).is_empty());
    let other = Options { move_tags: BTreeSet::from(["nginx:2".parse().unwrap()]), ..Options::default() };
    let PlanError::NoImage { reference, known } = mine.plan(&host, &other).unwrap_err() else { panic!("not refused") };
    assert_eq!((reference.to_string(), known), ("docker.io/library/nginx:2".to_owned(), vec![TAG.parse().unwrap()]));
}
