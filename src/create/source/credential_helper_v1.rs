//! What `docker-credential-NAME get` writes to stdout (docker-credential-helpers, README, "Development"). The protocol numbers no versions;
//! there has been one.

use serde::Deserialize;

use super::secret::Secret;

/// The answer; `ServerURL` is left out, it repeats the question.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HelperAnswer {
    /// The name; `<token>` where the secret is a refresh token.
    pub username: String,
    /// Password or refresh token.
    pub secret: Secret,
}
