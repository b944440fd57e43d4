//! `coracle.yaml`: every invalid definition with the exact error beside it, the examples, and the schema.
//!
//! `UPDATE=1` rewrites what is expected, to be read in the diff.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use coracle::cli::explain;
use coracle::create::definition::{self, load, package::Package};
use coracle::fs;

const INVALID: &str = "tests/fixtures/definitions/invalid";
const SCHEMA: &str = "schemas/coracle.schema.json";
const LIMIT: u64 = 16 << 20;

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// Compares with what is checked in, or rewrites it.
fn compare(path: &Path, actual: &str) -> Result<(), String> {
    if updating() {
        fs::write_atomic(path, actual.as_bytes(), 0o644).expect("what is expected can be written");
    }
    let expected = fs::read_to_string(path, LIMIT).map_err(|error| error.to_string())?;
    if expected == actual { Ok(()) } else { Err(format!("{} is not what it should be:\n{actual}", path.display())) }
}

fn invalid() -> Vec<PathBuf> {
    let paths: Vec<PathBuf> = fs::read_dir(Path::new(INVALID))
        .expect("the corpus can be listed")
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    assert!(paths.len() >= 30, "the corpus is there");
    paths
}

fn examples() -> Vec<PathBuf> {
    let paths = fs::read_dir(Path::new("examples")).expect("the examples can be listed");
    assert!(paths.len() >= 3, "the examples are there");
    paths
}

fn rendered(error: definition::Error) -> String {
    let explanation = explain::definition::explain(&error);
    assert_eq!(explanation.exit, 2);
    explain::render(&error.into(), &explanation) + "\n"
}

fn as_json(path: &Path) -> Option<serde_json::Value> {
    let mut options = serde_yaml::Options::default();
    options.strict_booleans = true;
    options.leading_zero_numbers_as_strings = true;
    serde_yaml::from_str_with_options(&fs::read_to_string(path, LIMIT).expect("it can be read"), options).ok()
}

#[test]
fn every_invalid_definition_gets_exactly_its_error() {
    let mut faults = Vec::new();
    for path in invalid() {
        match load(&path, &[], &[]) {
            Ok(_) => faults.push(format!("{} is taken for valid", path.display())),
            Err(error) => faults.extend(compare(&path.with_extension("stderr"), &rendered(error)).err()),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn every_example_parses_and_fits_the_schema() {
    let schema = jsonschema::validator_for(&definition::schema()).unwrap();
    for example in examples() {
        load(&example, &[], &[]).unwrap_or_else(|error| panic!("{error}"));
        let json = as_json(&example.join(definition::FILE_NAME)).unwrap();
        let faults: Vec<String> = schema.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert_eq!(faults, Vec::<String>::new(), "{}", example.display());
    }
}

#[test]
fn the_schema_refuses_what_its_words_can_refuse() {
    let schema = jsonschema::validator_for(&definition::schema()).unwrap();
    for name in [
        "unknown_key",
        "unknown_key_at_the_top",
        "key_of_a_later_version",
        "wrong_types",
        "no_value",
        "a_list_instead",
        "everything_missing",
        "other_api_version",
        "other_kind",
        "version_is_a_number",
        "unknown_platform",
        "image_without_a_name",
        "sha256_from_a_url",
        "file_with_too_little_and_too_much",
        "modes_owners_and_paths",
        "only",
        "no_component",
        "variables",
    ] {
        let json = as_json(&Path::new(INVALID).join(name).with_extension("yaml")).unwrap();
        assert!(!schema.is_valid(&json), "{name} fits the schema");
    }
}

#[test]
fn the_schema_that_is_checked_in_is_fresh() {
    compare(Path::new(SCHEMA), &format!("{:#}\n", definition::schema())).unwrap();
}

#[test]
fn the_schema_command_prints_what_is_checked_in() {
    let output = Command::cargo_bin("coracle").unwrap().arg("schema").output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), fs::read_to_string(Path::new(SCHEMA), LIMIT).unwrap());
}

fn outline(package: &Package) -> String {
    let mut lines = vec![format!(
        "{} {} for {:?}",
        package.name,
        package.version,
        package.platforms.iter().map(ToString::to_string).collect::<Vec<_>>()
    )];
    for component in &package.components {
        lines.push(format!("{} optional={} {:?}", component.name, component.optional, component.only));
        lines.extend(component.images.iter().map(|image| format!("  {:?} pin={} {:?}", image.origin, image.pin, image.platforms)));
        lines.extend(component.files.iter().map(|file| format!("  {file:?}")));
    }
    lines.join("\n")
}

#[test]
fn an_example_means_what_it_says() {
    let parameters = [("registry".to_owned(), "registry.example.org/mirror".to_owned())];
    let package = load(Path::new("examples/podinfo"), &parameters, &[coracle::types::Platform::linux_arm64()]).unwrap();
    insta::assert_snapshot!(outline(&package));
    insta::assert_snapshot!(outline(&load(Path::new("examples/air-gapped-tools"), &[], &[]).unwrap()));
    insta::assert_snapshot!(outline(&load(Path::new("examples/roles/coracle.yaml"), &[], &[]).unwrap()));
}

#[test]
fn what_was_chosen_on_the_command_line_must_be_in_the_definition() {
    let parameters = [("regitsry".to_owned(), "x".to_owned())];
    let platforms = ["linux/s390x".parse().unwrap()];
    insta::assert_snapshot!(rendered(load(Path::new("examples/podinfo"), &parameters, &platforms).unwrap_err()));
}

#[test]
fn a_definition_that_is_not_there_is_said_with_what_to_do() {
    insta::assert_snapshot!(rendered(load(Path::new("tests/fixtures"), &[], &[]).unwrap_err()));
    insta::assert_snapshot!(rendered(load(Path::new("tests/nothing.yaml"), &[], &[]).unwrap_err()));
}

#[test]
fn init_writes_a_definition_that_works_and_never_overwrites_one() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("payments");
    let run = || Command::cargo_bin("coracle").unwrap().arg("init").arg(&target).output().unwrap();
    let first = run();
    assert!(first.status.success(), "{first:?}");
    let package = load(&target, &[], &[]).unwrap();
    assert_eq!((package.name.as_str(), package.components.len()), ("payments", 1));
    let schema = jsonschema::validator_for(&definition::schema()).unwrap();
    assert!(schema.is_valid(&as_json(&target.join(definition::FILE_NAME)).unwrap()));

    fs::write_atomic(&target.join(definition::FILE_NAME), b"mine", 0o644).unwrap();
    let second = run();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(String::from_utf8(second.stderr).unwrap().contains("is there already, and is not overwritten"));
    assert_eq!(fs::read_to_string(&target.join(definition::FILE_NAME), LIMIT).unwrap(), "mine");
}
