//! Coracle carries software across an air gap.
//!
//! ```text
//!               connected side                     │ carried │              isolated side
//!  coracle.yaml ─load→ Package ─resolve→ Resolution ─fetch→ Store ─assemble→ UnsignedBundle
//!       ─sign→ SignedBundle ─write→ FILE ~~~~~~~~~~~ media ~~~~~~~~~~~ FILE ─open→ OpenedBundle
//!       ─verify→ VerifiedBundle ─plan(NodeFacts)→ DeployPlan ─apply(Host)→ Receipt
//! ```
//!
//! Each noun is a type, each arrow a function that takes the noun before it; there is no arrow back. A bundle that was not verified
//! cannot be planned, because only `verify` makes a `VerifiedBundle`.
//!
//! # Rooms
//!
//! | room | is | may know |
//! |---|---|---|
//! | [`cli`] | arguments, terminals, exit codes | everything |
//! | [`create`] | the connected side: from words to a signed file | `registry`'s neighbours below, never `deploy` |
//! | [`deploy`] | the isolated side: from a verified file to a changed node | `registry` and below, never `create` |
//! | [`registry`] | the registry that an isolated node runs | `bundle` and below |
//! | [`bundle`] | the carried thing: format, trust, limits | `types` and the leaves; no sockets, no processes |
//! | [`types`] | words of the field | nothing |
//! | [`store`] | a directory of blobs: the cache here, the node's store there | `types`, `fs`, `io` |
//! | [`event`], [`io`], [`fs`], [`command`] | leaves | `types` |
//!
//! `cargo xtask tidy` checks these directions and the other invariants: HTTP clients only in `create::source`, child processes only in
//! [`command`], `std::fs` only in [`fs`] and [`store`], serde only in wire types with a version in their file's name.
//!
//! # Files
//!
//! | file | written by | read by |
//! |---|---|---|
//! | `coracle.yaml` | a person (`coracle init` for a start) | `create::definition` |
//! | `coracle.lock` | `create`, `lock`; committed beside the definition | `create::lock` |
//! | `~/.cache/coracle` | `create` | `create`; see [`store`] |
//! | `NAME-VERSION.tar.zst` | `create` | [`bundle`]; its bytes are specified in `schemas/README.md` |
//! | `BUNDLE.sigstore.json` | `sign` | `bundle::trust` |
//! | `/etc/coracle/keys.d/*.pub` | an administrator | `cli::keys` |
//! | `/var/lib/coracle/{store,journal,receipts,registry}` | `deploy` | `deploy`, `registry` |

pub mod bundle;
pub mod cli;
pub mod command;
pub mod create;
pub mod deploy;
pub mod event;
pub mod fs;
pub mod io;
pub mod registry;
pub mod store;
pub mod types;
