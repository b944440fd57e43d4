//! Each JSON document that the program prints fits the schema that scripts rely on, and says nothing that the schema does not know.

use std::path::Path;

use serde_json::{Value, json};

use crate::create::{Bench, text};

/// The schema, with every object closed: what is printed and not described is a fault as well.
fn schema(name: &str) -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{name}.schema.json"));
    let mut schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    close(&mut schema);
    jsonschema::validator_for(&schema).unwrap()
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("properties").is_some_and(Value::is_object) && !object.contains_key("additionalProperties") {
                object.insert("additionalProperties".to_owned(), json!(false));
            }
            object.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Fails where a document does not fit.
pub fn fits(name: &str, document: &Value) {
    let faults: Vec<String> = schema(name).iter_errors(document).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert_eq!(faults, Vec::<String>::new(), "{name}: {document:#}");
}

#[test]
fn what_is_printed_for_machines_fits_its_schema() {
    let bench = Bench::new();
    let bundle = bench.made("cache", "shop.tar.zst");
    let printed = |args: &[&str]| -> Value {
        let ran = bench.coracle().args(args).output().unwrap();
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", text(&ran)))
    };
    let key = ["--key", "release.pub"];
    let root = [&key[..], &["--root", "node"]].concat();
    let machine = ["--format", "json"];
    let checked = || printed(&["lock", ".", "--check", "--format", "json"]);
    fits("lock-check", &checked());
    assert_eq!(checked()["state"], "fresh");
    let definition = std::fs::read_to_string(bench.path("coracle.yaml")).unwrap();
    std::fs::write(bench.path("coracle.yaml"), definition.replace("/bin/tool-", "/bin/new-")).unwrap();
    fits("lock-check", &checked());
    assert_eq!((&checked()["state"], checked()["stale"].as_array().unwrap().len()), (&json!("stale"), 2));
    std::fs::write(bench.path("coracle.yaml"), definition).unwrap();
    fits("lock", &printed(&["lock", ".", "--plain-http", bench.upstream.address(), "--cache", "cache", "--format", "json"]));
    fits("lock", &serde_json::from_slice(&std::fs::read(bench.path("coracle.lock")).unwrap()).unwrap());
    fits("verify", &printed(&[&["verify", "shop.tar.zst"], &key[..], &machine].concat()));
    for section in [&[][..], &["images"], &["files"]] {
        fits("inspect", &printed(&[&["inspect", "shop.tar.zst"], section, &key, &machine].concat()));
    }
    fits("lock", &printed(&["inspect", "shop.tar.zst", "lock", "--key", "release.pub", "--format", "json"]));
    let plan = printed(&[&["deploy", "shop.tar.zst", "--plan"], &root[..], &machine].concat());
    fits("plan", &plan);
    assert!(plan["changes"].as_u64().unwrap() > 3, "{plan}");
    let status = || printed(&["status", "--root", "node", "--format", "json"]);
    let deployed = printed(&[&["deploy", "shop.tar.zst", "--yes"], &root[..], &machine].concat());
    fits("plan", &deployed);
    fits("status", &status());
    assert_eq!(status()["packages"][0]["state"], "deployed");
    fits("receipt", &printed(&["receipt", "--root", "node"]));
    // Drifted: a file is changed, a blob is gone.
    std::fs::write(bench.path("node/etc/shop.conf"), "changed").unwrap();
    let blobs = bench.path("node/var/lib/coracle/store/blobs/sha256");
    std::fs::remove_file(std::fs::read_dir(blobs).unwrap().next().unwrap().unwrap().path()).unwrap();
    let drifted = status();
    fits("status", &drifted);
    assert_eq!((&drifted["packages"][0]["state"], drifted["packages"][0]["drift"].as_array().unwrap().len()), (&json!("drifted"), 2));
    // Refused: by another key, and for a byte.
    let mut damaged = bundle;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(bench.path("damaged.tar.zst"), damaged).unwrap();
    for args in [&["verify", "damaged.tar.zst", "--key", "release.pub"][..], &["verify", "shop.tar.zst"]] {
        let refused = printed(&[args, &machine].concat());
        fits("verify", &refused);
        assert_eq!(refused["result"], "refused");
    }
}
