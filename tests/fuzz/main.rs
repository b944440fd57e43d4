//! Bytes from outside, as bad as they come: nothing may panic, and what is accepted must be what the reader promises.
//!
//! ```text
//! corpus/TARGET/*, and what a target makes itself ─┬─► target(bytes)
//!                                                  └─ mutated, from a fixed seed, so many times ─► target(bytes)
//! ```
//!
//! Runs on stable Rust with the other tests, each target for a bounded number of inputs (`CORACLE_FUZZ_RUNS`, 2,000 without it). What
//! fails once goes into the corpus; the message says which bytes it was. Each target is a function of bytes alone, as libFuzzer and
//! AFL take it as well.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, says which input it was, and reads its corpus as a stranger would"
)]

mod bundles;
mod mutate;
#[path = "../it/small_bundle.rs"]
mod small_bundle;
mod targets;

use std::path::Path;

use mutate::Mutator;

/// How often each target is run on changed inputs.
fn runs() -> usize {
    std::env::var("CORACLE_FUZZ_RUNS").map_or(2_000, |runs| runs.parse().unwrap())
}

/// Every file of a target's corpus, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Runs a target on its corpus and on changed copies of it.
fn fuzz(name: &str, made: Vec<Vec<u8>>, runs: usize, target: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let seeds = [corpus(name), made].concat();
    assert!(!seeds.is_empty(), "`{name}` has no corpus");
    for seed in &seeds {
        target(seed);
    }
    let mut mutator = Mutator::new(name);
    for run in 0..runs {
        let input = mutator.change(&seeds);
        if let Err(panic) = std::panic::catch_unwind(|| target(&input)) {
            eprintln!("`{name}`, run {run}: these bytes belong into its corpus:\n{}", input.escape_ascii());
            std::panic::resume_unwind(panic);
        }
    }
}

macro_rules! targets {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            fuzz(stringify!($name), Vec::new(), runs(), targets::$name);
        })*
    };
}

targets!(definition, lock, reference, names, template, documents, signature, receipt);

#[test]
fn archive() {
    fuzz("archive", targets::archives(), runs(), targets::archive);
}

#[test]
fn request() {
    let registry = targets::Registry::new();
    fuzz("request", Vec::new(), runs(), |bytes| registry.ask(bytes));
}

#[test]
fn bundle() {
    let good = bundles::Good::new();
    // Each run verifies signatures and hashes all there is.
    fuzz("bundle", good.seeds(), runs() / 4, |bytes| good.open(bytes));
}
