//! From a typed error to what a person reads: what failed, where, because of what, and what to do next. One file per stage.

pub mod bundle;
pub mod extract;
pub mod trust;

use std::process::ExitCode;

use super::Ui;

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

/// Prints an error and gives the exit status that belongs to it.
pub fn report(error: &anyhow::Error, ui: &Ui) -> ExitCode {
    let explanation = explain(error);
    ui.say(&render(error, &explanation));
    ExitCode::from(explanation.exit)
}

/// Finds the typed error inside and asks its stage what it means.
pub fn explain(error: &anyhow::Error) -> Explanation {
    if let Some(error) = error.downcast_ref() {
        return bundle::explain(error);
    }
    if let Some(error) = error.downcast_ref() {
        return extract::explain(error);
    }
    if let Some(error) = error.downcast_ref() {
        return trust::explain_keys(error);
    }
    Explanation { exit: 1, ..Explanation::default() }
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
