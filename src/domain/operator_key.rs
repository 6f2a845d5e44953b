//! Operator keys: who may manage tenants and the cluster itself. They see no tenant's data beyond
//! the organisation. Knows nothing of how a secret is spelled.

use serde::{Deserialize, Serialize};

use super::{Hash, Millis, OperatorKeyId};

/// An operator key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorKey {
    /// Its id.
    pub id: OperatorKeyId,
    /// Its name, for people.
    pub name: String,
    /// SHA-256 of the secret.
    pub secret_hash: Hash,
    /// The secret's last four characters, for the masked form.
    pub last_four: String,
    /// When it was created.
    pub created_at: Millis,
}
