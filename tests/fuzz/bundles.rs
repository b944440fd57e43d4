//! A whole bundle: only the one that was signed opens, byte for byte.

use std::num::NonZeroUsize;
use std::path::Path;

use coracle::bundle::trust::{PublicKey, SigningKey, TrustPolicy, Unsigned};
use coracle::bundle::{Limits, open_file};
use coracle::event::Silent;
use coracle::store::Store;

use crate::small_bundle::parts;

pub struct Good {
    signed: Vec<u8>,
    unsigned: Vec<u8>,
    key: PublicKey,
}

impl Good {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let key = SigningKey::generate(|bytes| {
            bytes.fill(7);
            Ok::<_, ()>(())
        })
        .unwrap();
        let write = |signed: bool| {
            let bundle = parts(&store).assemble().unwrap();
            let signature = key.sign(bundle.root()).to_member(bundle.root(), key.public().key_id());
            let path = directory.path().join("b");
            let signatures = if signed { vec![signature] } else { Vec::new() };
            bundle.signed(signatures).write_file(&store, &path, NonZeroUsize::MIN, &Silent).unwrap();
            std::fs::read(path).unwrap()
        };
        Self { signed: write(true), unsigned: write(false), key: key.public().clone() }
    }

    pub fn seeds(&self) -> Vec<Vec<u8>> {
        vec![self.signed.clone(), self.unsigned.clone()]
    }

    /// Opens and checks all there is; what passes with the key is the bundle that was signed.
    pub fn open(&self, bytes: &[u8]) {
        let open = || {
            let file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut &file, bytes).unwrap();
            open_file(file, Path::new("b"), &Limits::FORMAT).ok()
        };
        if let Some(opened) = open() {
            drop(opened.read_listing());
        }
        for (unsigned, genuine) in [(Unsigned::Refuse, &[&self.signed][..]), (Unsigned::Accept, &[&self.signed, &self.unsigned])] {
            let policy = TrustPolicy { keys: vec![self.key.clone()], required: 1, unsigned };
            let Some(Ok(verified)) = open().map(|opened| opened.verify(&policy, &[])) else { continue };
            let problems = verified.check_content(NonZeroUsize::MIN, &Silent).unwrap();
            assert!(
                !problems.is_empty() || genuine.iter().any(|good| good.as_slice() == bytes),
                "another file is taken for the signed one"
            );
        }
    }
}
