//! Text that never shows in a log, an error or an event.

use std::fmt;

use zeroize::Zeroizing;

/// A password or token. It has no `Display`, its `Debug` shows nothing of it, and its memory is wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What a client says of itself.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Password {
        /// Name.
        user: String,
        /// Password, or an access token in its place.
        password: Secret,
    },
    /// A refresh token that buys bearer tokens (docker's `identitytoken`).
    Identity(Secret),
}

/// Names are no secrets by themselves, but tokens are sometimes written in their place: neither is shown.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { .. } => f.write_str("Password"),
            Self::Identity(_) => f.write_str("Identity"),
        }
    }
}
