//! API keys: who may call the API for one environment of one organisation.
//!
//! Only a hash of the secret is held. A key authenticates while it exists, is enabled and has not
//! expired; a rotated key's old secret goes on for a stated grace. Knows nothing of headers or of
//! how a secret is spelled.

use serde::{Deserialize, Serialize};

use super::{ApiKeyId, Hash, Millis, Permissions, Tenant};

/// The secret that a rotation replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// SHA-256 of the old secret.
    pub hash: Hash,
    /// Until when it still authenticates.
    pub works_until: Millis,
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// The organisation and environment that it opens.
    pub tenant: Tenant,
    /// Its name, for people.
    pub name: String,
    /// What it may do.
    pub permissions: Permissions,
    /// SHA-256 of the secret.
    pub secret_hash: Hash,
    /// The secret's last four characters, for the masked form.
    pub last_four: String,
    /// The secret that the last rotation replaced, while it still works.
    pub previous: Option<PreviousSecret>,
    /// A disabled key does not authenticate.
    pub enabled: bool,
    /// When it was created.
    pub created_at: Millis,
    /// From when on it no longer authenticates, if ever.
    pub expires_at: Option<Millis>,
    /// About when it was last used, exact to the minute.
    pub last_used_at: Option<Millis>,
}

impl ApiKey {
    /// Whether the key may act at `at`.
    pub fn is_alive(&self, at: Millis) -> bool {
        self.enabled && self.expires_at.is_none_or(|end| at < end)
    }

    /// Whether the secret with this hash opens the key at `at`.
    pub fn opens_with(&self, hash: &Hash, at: Millis) -> bool {
        self.is_alive(at)
            && (self.secret_hash == *hash
                || self
                    .previous
                    .as_ref()
                    .is_some_and(|old| old.hash == *hash && at < old.works_until))
    }
}
