//! Events: what happened. One list, three readers: the state folds them in, the audit chain links
//! them, webhooks send them.

use std::sync::Arc;

use super::{
    Agent, AgentId, ApiKey, ApiKeyId, Hash, LiveToken, Millis, OperatorKey, Organization, PolicyId,
    SigningKey, SigningKeyId, Tenant, TokenDetails, TokenId,
};

/// What an event is about, for the audit log's columns and filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Subject {
    /// The agent concerned.
    pub agent: Option<AgentId>,
    /// The token concerned.
    pub token: Option<TokenId>,
    /// The policy concerned.
    pub policy: Option<PolicyId>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The audit chain that it stands in.
    pub chain: Tenant,
    /// What happened.
    pub fact: Fact,
}

/// What happened. Each holds what [`super::State::evolve`] needs, so that folding in decides
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// `organization.created`
    OrganizationCreated(Arc<Organization>),
    /// `organization.updated`: the organisation as it is now, and the names of the fields that
    /// changed.
    OrganizationUpdated(Arc<Organization>, Vec<&'static str>),
    /// `api_key.created`
    ApiKeyCreated(Arc<ApiKey>),
    /// `api_key.updated`: the key as it is now, and the names of the fields that changed.
    ApiKeyUpdated(Arc<ApiKey>, Vec<&'static str>),
    /// `api_key.rotated`
    ApiKeyRotated {
        /// The key as it is now.
        key: Arc<ApiKey>,
        /// SHA-256 of the secret that was replaced.
        old_hash: Hash,
        /// When.
        at: Millis,
    },
    /// `api_key.deleted`: the key as it last was, and when it went.
    ApiKeyDeleted(Arc<ApiKey>, Millis),
    /// Bookkeeping, not audited.
    ApiKeyUsed(ApiKeyId, Millis),
    /// `agent.created`
    AgentCreated(Arc<Agent>),
    /// `agent.updated`: the agent as it is now, and the names of the fields that changed.
    AgentUpdated(Arc<Agent>, Vec<&'static str>),
    /// `agent.paused`
    AgentPaused(Arc<Agent>),
    /// `agent.activated`
    AgentActivated(Arc<Agent>),
    /// `agent.key_rotated`
    AgentKeyRotated {
        /// The agent as it is now.
        agent: Arc<Agent>,
        /// The public key that was replaced.
        old_key: [u8; 32],
    },
    /// `agent.tokens_revoked`: the agent as it is now, and how many tokens died.
    AgentTokensRevoked(Arc<Agent>, u64),
    /// `agent.revoked`: the agent as it is now, and how many tokens died.
    AgentRevoked(Arc<Agent>, u64),
    /// `token.issued`
    TokenIssued(Arc<TokenDetails>, LiveToken),
    /// `token.revoked`
    TokenRevoked {
        /// Which.
        id: TokenId,
        /// Whose.
        agent: AgentId,
        /// Its record.
        hash: Hash,
        /// When.
        revoked_at: Millis,
    },
    /// `signing_key.registered`
    SigningKeyRegistered(Arc<SigningKey>),
    /// `signing_key.retired`: the key as it is now.
    SigningKeyRetired(Arc<SigningKey>),
    /// `signing_key.revoked`: the key as it is now.
    SigningKeyRevoked(Arc<SigningKey>),
    /// `operator_key.created`
    OperatorKeyCreated(Arc<OperatorKey>),
    /// `operator_key.deleted`: the key as it last was, and when it went.
    OperatorKeyDeleted(Arc<OperatorKey>, Millis),
    /// Bookkeeping, not audited: an expired token leaves the lists.
    TokenExpired(AgentId, TokenId, Hash),
    /// Bookkeeping, not audited: a dead token's record goes.
    TokenForgotten(TokenId, Hash),
    /// Bookkeeping, not audited: a retired key's last token has expired.
    SigningKeyForgotten(SigningKeyId),
    /// Bookkeeping, not audited: a rotated API key's old secret has stopped.
    PreviousSecretForgotten(ApiKeyId),
    /// Bookkeeping, not audited: what stood for a stopped secret has been remembered long enough.
    RetiredSecretForgotten(Hash),
}
