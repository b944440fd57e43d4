//! The plan as a person reads it.

use std::fmt;

use super::{Action, DeployPlan, Space, Step, Work};
use crate::types::ByteSize;

/// Bytes as a person reads them: `0 B`, `4.0 KiB`, `1.3 GiB`.
fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

impl Action {
    /// One word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Remove => "remove",
            Self::Start => "start",
            Self::Restart => "restart",
        }
    }
}

impl Step {
    /// What it is about: `blobs`, `file`, `archive`, `service`, `receipt`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.work {
            Work::Stage { .. } => "blobs",
            Work::Place(_) | Work::Remove { .. } => "file",
            Work::Extract(_) => "archive",
            Work::Seed(_) => "images",
            Work::Service(_) => "service",
            Work::Receipt => "receipt",
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} needs {}, free {}", self.file_system.display(), size(self.needs), size(self.free))
    }
}

impl fmt::Display for DeployPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} on {} ({})", self.package, self.version, self.hostname, self.platform)?;
        if let Some(from) = self.from.as_ref().filter(|from| **from != self.version) {
            write!(f, ", which has {from}")?;
        }
        for note in &self.notes {
            write!(f, "\n  note  {}", note.replace('\n', "\n        "))?;
        }
        if self.steps.is_empty() {
            return write!(f, "\n  nothing to do");
        }
        let width = |column: fn(&Step) -> String| self.steps.iter().map(|step| column(step).chars().count()).max().unwrap_or(0);
        let component = |step: &Step| step.component.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let bytes = |step: &Step| if step.bytes == 0 { "-".to_owned() } else { size(step.bytes) };
        let (ids, components, sizes) = (width(|step| step.id.clone()), width(component), width(bytes));
        for step in &self.steps {
            let (word, component, bytes) = (step.action.word(), component(step), bytes(step));
            write!(f, "\n  {word:<7} {:<ids$}  {component:<components$}  {bytes:>sizes$}  {}", step.id, step.reason)?;
        }
        for space in &self.space {
            write!(f, "\n  space   {space}")?;
        }
        write!(f, "\n  {} {}", self.steps.len(), if self.steps.len() == 1 { "change" } else { "changes" })
    }
}
