//! The package configuration.

/// Why a package configuration cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// Not JSON, or JSON of another shape.
    #[error("it has another shape")]
    Json(#[from] serde_json::Error),
    /// A value that breaks a rule.
    #[error("{place}: {reason}")]
    Value {
        /// Where in it.
        place: String,
        /// What is wrong.
        reason: String,
    },
}
