//! The logins in docker's `config.json` (docker/cli `cli/config/configfile`) and podman's `auth.json` (containers-auth.json(5)), which is
//! the same format. Neither numbers its versions; there has been one.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::secret::Secret;

/// The file. What docker keeps in it besides logins is left out.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct LoginFile {
    /// Logins by host, URL or, for podman, a part of a host's repositories.
    pub auths: BTreeMap<String, Entry>,
    /// Helpers by host: `NAME` of `docker-credential-NAME`.
    pub cred_helpers: BTreeMap<String, String>,
    /// The helper for all other hosts.
    pub creds_store: Option<String>,
}

/// A login; all empty where a `credsStore` keeps it.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Entry {
    /// Base64 of `name:password`.
    pub auth: Option<Secret>,
    /// The name, where `auth` is not used.
    pub username: Option<String>,
    /// The password, where `auth` is not used.
    pub password: Option<Secret>,
    /// A refresh token in place of a password.
    pub identitytoken: Option<Secret>,
}

impl fmt::Debug for LoginFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.auths.keys()).entries(self.cred_helpers.keys()).finish()
    }
}
