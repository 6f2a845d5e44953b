//! The whole replicated state, in persistent ordered maps: a clone is cheap and shares everything,
//! so a snapshot and the view that verification reads are clones.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::{
    Agent, AgentId, ApiKey, ApiKeyId, Hash, LiveToken, Millis, OperatorKey, OperatorKeyId, OrgId,
    Organization, SigningKey, SigningKeyId, Tenant, TokenDetails, TokenId,
};

/// The end of an audit chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Sequence number of the last event; 0 when there is none.
    pub seq: u64,
    /// Hash of the last event; zeros when there is none.
    pub hash: Hash,
}

impl Head {
    /// Before the first event.
    pub const START: Self = Self { seq: 0, hash: [0; 32] };
}

/// Everything that is replicated.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The log's time: the newest stamp, never running backwards.
    pub clock: Millis,
    /// The tenants.
    pub organizations: OrdMap<OrgId, Arc<Organization>>,
    /// API keys by id.
    pub api_keys: OrdMap<ApiKeyId, Arc<ApiKey>>,
    /// API keys by the hash of a secret that opens them, the old one of a rotation too.
    pub api_keys_by_hash: OrdMap<Hash, ApiKeyId>,
    /// API keys of each organisation.
    pub api_keys_by_org: OrdSet<(OrgId, ApiKeyId)>,
    /// Operator keys by id.
    pub operator_keys: OrdMap<OperatorKeyId, Arc<OperatorKey>>,
    /// Operator keys by the hash of their secret.
    pub operator_keys_by_hash: OrdMap<Hash, OperatorKeyId>,
    /// Agents by id.
    pub agents: OrdMap<AgentId, Arc<Agent>>,
    /// Agents of each tenant.
    pub agents_by_tenant: OrdMap<Tenant, OrdSet<AgentId>>,
    /// Records of issued tokens by the hash of their bytes, until a margin past their expiry.
    pub tokens: OrdMap<Hash, LiveToken>,
    /// From a token's id to its record.
    pub token_ids: OrdMap<TokenId, Hash>,
    /// Live tokens of each agent, for lists; a revoked or expired token is in none.
    pub token_details: OrdMap<AgentId, OrdMap<TokenId, Arc<TokenDetails>>>,
    /// Token records in the order of their expiry, seconds.
    pub token_expiry: OrdSet<(u32, Hash)>,
    /// Signing keys by number.
    pub signing_keys: OrdMap<u32, Arc<SigningKey>>,
    /// From a signing key's id to its number.
    pub signing_key_numbers: OrdMap<SigningKeyId, u32>,
    /// The next signing key's number.
    pub next_signing_key: u32,
    /// The end of every audit chain.
    pub heads: OrdMap<Tenant, Head>,
}
