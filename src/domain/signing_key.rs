//! Signing keys: the public halves of the keys with which nodes sign tokens.
//!
//! A key signs from its registration until it is retired or revoked. A retired key is published
//! until the last token signed with it has expired; a revoked one is gone at once, and every token
//! that it signed is dead. Numbers stand for keys in token records, to keep those small, and are
//! never reused. Knows nothing of private halves.

use serde::{Deserialize, Serialize};

use super::{Millis, Seconds, SigningKeyId};

/// A registered signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// Its id, the `kid` of what it signs.
    pub id: SigningKeyId,
    /// What token records call it.
    pub number: u32,
    /// The node that holds the private half.
    pub node: u64,
    /// The public half.
    pub public_key: [u8; 32],
    /// When it was registered.
    pub created_at: Millis,
    /// From when on it no longer signs.
    pub retired_at: Option<Millis>,
    /// When it was declared compromised.
    pub revoked_at: Option<Millis>,
    /// The latest `exp` of a token that it signed; 0 when it signed none.
    pub last_expiry: Seconds,
}

impl SigningKey {
    /// Whether a token may still be issued under it.
    pub fn may_sign(&self) -> bool {
        self.retired_at.is_none() && self.revoked_at.is_none()
    }
}
