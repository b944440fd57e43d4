//! What `create` hands over: everything that goes into a bundle, before names and order are decided.

use std::collections::BTreeMap;

use super::contents::Contents;
use super::image::ImageTree;
use crate::types::{Descriptor, Digest, Platform};

/// Everything that goes into a bundle.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The resolved definition. `chunks` covers every content blob over 8 MiB, tools included.
    pub contents: Contents,
    /// Each image once per reference, sorted by reference.
    pub images: Vec<ImageTree>,
    /// Per platform the programs that open the rest: name (`coracle`) and blob.
    pub tools: BTreeMap<Platform, Vec<(String, Descriptor)>>,
    /// The bytes of every index, manifest and image configuration of `images`, as they came from upstream.
    pub documents: BTreeMap<Digest, Vec<u8>>,
}
