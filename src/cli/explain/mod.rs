//! From a typed error to what a person reads: what failed, where, because of what, and what to do next. One file per stage.

pub mod bundle;
pub mod containerd;
pub mod create;
pub mod definition;
pub mod deploy;
pub mod extract;
pub mod registry;
pub mod source;
pub mod trust;

use std::process::ExitCode;

use super::Ui;
use super::command::Usage;

const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// What an error means to the person who reads it. The headline is the error's own `Display`, the causes are its sources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Explanation {
    /// The exit status: 1 failed, 2 wrong usage or wrong definition, 3 refused, 130 interrupted.
    pub exit: u8,
    /// Where in the definition: `coracle.yaml:31:9, component `api``.
    pub place: Option<String>,
    /// A cause that is not among the error's sources.
    pub cause: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
}

impl Explanation {
    /// An exit status and what to do next.
    fn new(exit: u8, hint: impl Into<String>) -> Self {
        Self { exit, place: None, cause: None, hint: Some(hint.into()) }
    }

    /// An exit status; the message says it all.
    fn plain(exit: u8) -> Self {
        Self { exit, ..Self::default() }
    }
}

/// Prints an error and gives the exit status that belongs to it.
pub fn report(error: &anyhow::Error, ui: &Ui) -> ExitCode {
    let explanation = explain(error);
    ui.say(&render(error, &explanation));
    ExitCode::from(explanation.exit)
}

/// Finds the typed error inside and asks its stage what it means.
pub fn explain(error: &anyhow::Error) -> Explanation {
    connected_side(error).or_else(|| isolated_side(error)).or_else(|| either_side(error)).unwrap_or_else(|| Explanation::plain(FAILED))
}

fn connected_side(error: &anyhow::Error) -> Option<Explanation> {
    (error.downcast_ref().map(create::explain))
        .or_else(|| error.downcast_ref().map(definition::explain))
        .or_else(|| error.downcast_ref().map(definition::explain_lock))
        .or_else(|| error.downcast_ref().map(source::explain))
}

fn isolated_side(error: &anyhow::Error) -> Option<Explanation> {
    (error.downcast_ref().map(deploy::explain))
        .or_else(|| error.downcast_ref().map(deploy::explain_nobody))
        .or_else(|| error.downcast_ref().map(registry::explain))
        .or_else(|| error.downcast_ref().map(deploy::explain_plan))
        .or_else(|| error.downcast_ref().map(deploy::explain_host))
        .or_else(|| error.downcast_ref().map(deploy::explain_facts))
        .or_else(|| error.downcast_ref().map(deploy::explain_receipt))
        .or_else(|| error.downcast_ref().map(deploy::explain_bundle))
}

fn either_side(error: &anyhow::Error) -> Option<Explanation> {
    (error.downcast_ref().map(bundle::explain))
        .or_else(|| error.downcast_ref().map(trust::explain))
        .or_else(|| error.downcast_ref().map(trust::explain_keys))
        .or_else(|| error.downcast_ref().map(extract::explain))
        .or_else(|| error.downcast_ref().map(create::explain_store))
        .or_else(|| error.downcast_ref().map(create::explain_file))
        .or_else(|| error.downcast_ref::<Usage>().map(|_| Explanation::plain(USAGE)))
}

/// The four things that a person reads, understandable without colour.
pub fn render(error: &anyhow::Error, explanation: &Explanation) -> String {
    let mut lines = vec![format!("error: {error}")];
    let mut line = |label: &str, text: &str| lines.push(format!("  {label:<6} {}", text.replace('\n', "\n         ")));
    if let Some(place) = &explanation.place {
        line("in", place);
    }
    for cause in error.chain().skip(1).map(ToString::to_string).chain(explanation.cause.clone()) {
        line("cause", &cause);
    }
    if let Some(hint) = &explanation.hint {
        line("hint", hint);
    }
    lines.join("\n")
}
