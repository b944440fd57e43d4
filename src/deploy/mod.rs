//! ISOLATED SIDE: from a verified bundle to a changed node.
//!
//! ```text
//! Carried (what a verified bundle says) ─┐
//! Host ─facts::gather→ NodeFacts ────────┼─plan::plan→ DeployPlan ─apply::apply(Host, Blobs)→ Receipt
//! Options ───────────────────────────────┘    pure,        journal: a line before        /var/lib/coracle/
//!                                             printable    and after each step           receipts/NAME.json
//! ```
//!
//! - Nothing outside the store changes before every blob that the plan needs was verified into it, and before the space was counted.
//! - Each step can be done again: a run that was killed anywhere is continued by the same command, because the plan is made from what
//!   is there. The journal says which changed files are ours although no receipt lists them yet, and which blobs may not be on the disk.
//! - A node that matches gets an empty plan: receipts hold the digests of files, blobs are looked up by name and size.
//! - Where things lie on the node: [`layout`].

pub mod apply;
pub mod archive;
pub mod bundle;
pub mod drift;
pub mod facts;
pub mod host;
pub mod journal;
pub mod layout;
pub mod mirror;
pub mod options;
pub mod plan;
pub mod receipt;
pub mod status;
pub mod template;

#[cfg(test)]
mod tag_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
