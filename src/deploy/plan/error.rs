//! Why there is no plan.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::super::drift::Drift;
use super::super::template;
use super::Space;
use super::tags::HeldTag;
use crate::types::{ComponentName, ImageReference, PackageName, Platform, VariableName};

/// Why there is no plan. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle does not carry the node's platform.
    #[error("`{package}` carries nothing for {platform}")]
    Platform {
        /// Which package.
        package: PackageName,
        /// What the node is.
        platform: Platform,
        /// What the bundle carries.
        carried: Vec<Platform>,
    },
    /// The node has a newer version.
    #[error("`{package}` {offered} is older than {here}, which is on this node")]
    Downgrade {
        /// Which package.
        package: PackageName,
        /// The bundle's version.
        offered: semver::Version,
        /// The node's version.
        here: semver::Version,
    },
    /// Signed by none of the keys that the package is bound to here.
    #[error("`{package}` came to this node signed by another key")]
    OtherKeys {
        /// Which package.
        package: PackageName,
        /// The keys that it is bound to.
        bound: BTreeSet<String>,
        /// The trusted keys that signed this bundle; empty: it is unsigned.
        signed_by: BTreeSet<String>,
    },
    /// A name that no component has.
    #[error("the package has no component `{name}`")]
    NoComponent {
        /// What was asked for.
        name: ComponentName,
        /// What it has.
        known: Vec<ComponentName>,
    },
    /// The package has roles, and none was given.
    #[error("`{package}` has roles, and none was given")]
    RoleNeeded {
        /// Which package.
        package: PackageName,
        /// Its roles.
        known: BTreeSet<String>,
    },
    /// A role that no component has.
    #[error("the package has no role `{role}`")]
    NoRole {
        /// What was given.
        role: String,
        /// Its roles.
        known: BTreeSet<String>,
    },
    /// A variable that the package does not have.
    #[error("the package has no variable `{name}`")]
    NoVariable {
        /// What was given.
        name: VariableName,
        /// What it has.
        known: Vec<VariableName>,
    },
    /// Values are missing.
    #[error("no value for {}", list(names))]
    VariablesNeeded {
        /// Which.
        names: Vec<VariableName>,
    },
    /// A value is not as the package asks for.
    #[error("the value of `{name}` does not match `{pattern}`")]
    Pattern {
        /// Which.
        name: VariableName,
        /// The regular expression.
        pattern: String,
    },
    /// The package's pattern is no regular expression.
    #[error("the pattern of `{name}` is no regular expression: {why}")]
    BadPattern {
        /// Of which variable.
        name: VariableName,
        /// What is wrong.
        why: String,
    },
    /// A file's template cannot be rendered.
    #[error("the template of `{}` cannot be rendered", path.display())]
    Template {
        /// Where the file goes.
        path: PathBuf,
        /// Why.
        source: template::Error,
    },
    /// An owner or group that the node does not have.
    #[error("`{}` is to belong to {kind} `{name}`, which this node does not have", path.display())]
    NoAccount {
        /// Where the file goes.
        path: PathBuf,
        /// `user` or `group`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Only root can give a file away.
    #[error("`{}` is to belong to {uid}:{gid}, which only root can do", path.display())]
    NeedsRoot {
        /// Where the file goes.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Two components put different things at one path.
    #[error("`{}` is in component `{first}` and in component `{second}`", path.display())]
    Twice {
        /// Where.
        path: PathBuf,
        /// One.
        first: ComponentName,
        /// The other.
        second: ComponentName,
    },
    /// Another package holds the path.
    #[error("`{}` belongs to package `{holder}`", path.display())]
    Held {
        /// Where.
        path: PathBuf,
        /// Whose it is.
        holder: PackageName,
    },
    /// A directory or device is where a file should go.
    #[error("`{}` is {is}, a file should go there", path.display())]
    InTheWay {
        /// Where.
        path: PathBuf,
        /// What is there.
        is: &'static str,
    },
    /// Files were changed by hand.
    #[error("{} changed by hand since the last deploy", if drift.len() == 1 { "a file was" } else { "files were" })]
    Drift {
        /// Which, and in what.
        drift: Vec<Drift>,
    },
    /// It would not fit.
    #[error("there is not enough space")]
    NoSpace {
        /// File systems that are too full.
        space: Vec<Space>,
    },
    /// Tags stand for something else.
    #[error("{} for something else on this node", if held.len() == 1 { "an image's tag stands" } else { "images' tags stand" })]
    TagsHeld {
        /// Which, and for what.
        held: Vec<HeldTag>,
    },
    /// `--move-tag` names an image that the package does not have.
    #[error("the package has no image `{reference}`")]
    NoImage {
        /// What was given.
        reference: ImageReference,
        /// What it has.
        known: Vec<ImageReference>,
    },
    /// An archive of a kind that is not known.
    #[error("`{title}` is to be extracted, and the bundle does not say how it is packed")]
    Unpacked {
        /// Its name.
        title: String,
    },
}

fn list(names: &[VariableName]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
