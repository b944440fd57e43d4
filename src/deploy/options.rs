//! What was asked for besides the bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::types::{ComponentName, ImageReference, VariableName};

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--role`; without it the one that the receipt remembers.
    pub role: Option<String>,
    /// `--set` and `--vars`.
    pub set: BTreeMap<VariableName, String>,
    /// `--with`: added to what the receipt remembers.
    pub with: BTreeSet<ComponentName>,
    /// `--without`: likewise.
    pub without: BTreeSet<ComponentName>,
    /// `--only`: these alone are touched in this run, and nothing is removed; empty: all that are selected.
    pub only: BTreeSet<ComponentName>,
    /// What happens to files that someone changed by hand.
    pub on_drift: OnDrift,
    /// What happens when the node has a newer version.
    pub downgrade: Downgrade,
    /// `--move-tag`: tags that may be moved here from whatever they stand for.
    pub move_tags: BTreeSet<ImageReference>,
    /// The program that is running: it serves the node registry where none is installed and the bundle carries none.
    pub running_program: Option<PathBuf>,
}

/// What happens to files that someone changed by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDrift {
    /// Nothing is done, the differences are shown.
    #[default]
    Refuse,
    /// They stay as they are; the rest is deployed.
    Keep,
    /// They become what the package says; what they held is kept.
    Overwrite,
}

/// What happens when the node has a newer version of the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Downgrade {
    /// Nothing is done.
    #[default]
    Refuse,
    /// The older one is deployed.
    Allow,
}
