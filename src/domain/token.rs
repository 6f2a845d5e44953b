//! Tokens: issue, revoke, expire.
//!
//! A token lives from its issue until it is revoked or expires; an id is never reused. What
//! verification needs of a token is its [`LiveToken`], kept small and found by the SHA-256 of the
//! token's bytes; what a list shows is its [`TokenDetails`]. A record stays a margin past its
//! expiry, so that a revocation is not forgotten early. Knows nothing of clocks, signatures,
//! storage or HTTP, and never sees the token itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AgentId, Hash, Seconds, TokenId};

/// What verification needs of an issued token. Found by the hash of the token's bytes, so a hit
/// implies that this node's cluster issued exactly these bytes; scope, target and intent are read
/// from the token's own claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveToken {
    /// Its id.
    pub id: TokenId,
    /// Whom it was issued to.
    pub agent: AgentId,
    /// Number of the signing key that signed it.
    pub signing_key: u32,
    /// The agent's token epoch when it was issued.
    pub token_epoch: u32,
    /// Its `exp`.
    pub expires_at: u32,
    /// Whether it was revoked on its own.
    pub revoked: bool,
}

/// What a list of live tokens shows of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenDetails {
    /// Its id.
    pub id: TokenId,
    /// Whom it was issued to.
    pub agent: AgentId,
    /// SHA-256 of the token's bytes.
    pub hash: Hash,
    /// What it allows.
    pub scope: Arc<[String]>,
    /// Where it may be used; `any` is everywhere.
    pub target_service: Arc<str>,
    /// What it is for, in its asker's words.
    pub intent: Option<String>,
    /// Its `iat`.
    pub issued_at: Seconds,
    /// Its `exp`.
    pub expires_at: Seconds,
}
