//! The answer of a token server (distribution's `docs/content/spec/auth/token.md`, "Token Response Fields"; for one that a refresh token
//! bought, `oauth.md`). A token server of the registry API v2 answers with `token`, one of OAuth 2 with `access_token`, some with both.

use serde::Deserialize;

use super::secret::Secret;

/// The answer.
#[derive(Deserialize)]
pub struct TokenAnswer {
    /// The bearer token.
    pub token: Option<Secret>,
    /// The same under OAuth's name.
    pub access_token: Option<Secret>,
    /// Its life in seconds from when it was issued.
    pub expires_in: Option<u64>,
}
