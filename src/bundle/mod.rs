//! THE CARRIED THING. Knows neither side.
//!
//! ```text
//! Parts ─assemble→ UnsignedBundle ─signed→ SignedBundle ─write_file→ FILE ─open→ OpenedBundle ─verify→ VerifiedBundle
//!                                                                                     └─read_listing→ Listing
//! ```
//!
//! What is in the file, in this order (byte for byte in `schemas/README.md`):
//!
//! ```text
//! oci-layout                                 ┐
//! index.json                                 │ derived from the root
//! blobs/sha256/<root>                        ┘ the root: what a signature covers
//! signatures/<key id>.sigstore.json, .sig    one pair per signer
//! blobs/sha256/…                             documents: package manifest and configuration, artifact, image index, manifest, configuration
//! blobs/sha256/…                             content, in the order in which a deploy wants it
//! end of archive, check values, seek table
//! ```
//!
//! | file | is |
//! |---|---|
//! | [`contents`], [`image`], [`parts`] | what goes in and what comes out, as types |
//! | [`config_v1`] | [`contents::Contents`] as the JSON that is signed |
//! | [`assemble`] | decides documents and root |
//! | [`metadata`] | reads root and documents, in the order in which they stand in the file; the writer takes the order from here as well |
//! | `content` | which content blobs there are, and in what order |
//! | [`layout`] | the only valid sequence of members for a root and its signatures |
//! | `frame`, `seek_table` | the compressed form |
//! | [`write`], `embed` | frames on all cores, in order; one more signature |
//! | [`open`](mod@open), `archive` | the way to verified metadata |
//! | [`read`], [`check`], [`stage`] | content, checked chunk by chunk |
//! | [`trust`] | who vouches for it |
//! | [`limits`] | what a reader takes |

mod archive;
pub mod assemble;
pub mod check;
pub mod config_v1;
mod content;
pub mod contents;
mod embed;
mod error;
pub mod extract;
mod frame;
pub mod image;
pub mod layout;
pub mod limits;
pub mod media;
pub mod metadata;
pub mod open;
pub mod parts;
pub mod read;
#[cfg(test)]
mod round_trip_tests;
mod seek_table;
pub mod stage;
#[cfg(test)]
mod tampering_tests;
#[cfg(test)]
pub mod testing;
pub mod trust;
pub mod write;

pub use assemble::{SignedBundle, UnsignedBundle};
pub use check::Problem;
pub use error::{Error, Result};
pub use limits::Limits;
pub use metadata::{Artifact, Metadata};
pub use open::{Listing, OpenedBundle, VerifiedBundle, open, open_file};
pub use stage::StagedBytes;
pub use trust::SignatureMember;
pub use write::Written;
