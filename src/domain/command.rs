//! Commands: what can be asked of the state. The stored form of the replicated log.
//!
//! A command carries everything that is not a function of the state: ids, secrets' hashes, public
//! keys. Proposing one twice is harmless: an id that exists with the same content is answered with
//! what it is. Tags and field order are pinned by golden vectors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    AgentId, ApiKeyId, ApprovalId, CheckedRules, DefaultEffect, DomainId, Environment, Hash,
    Millis, OperatorKeyId, OrgId, Permissions, PolicyId, Seconds, Seen, SigningKeyId, TokenId,
    Verdict,
};
use super::{
    CreateWebhook, RecordDeliveries, RetryDelivery, RotateWebhookSecret, UpdateWebhook, WebhookId,
};
use super::{IdempotencyClaim, Plan};
use super::{Restore, Suspension};
use crate::codec::stored_enum;

stored_enum! {
    /// Who acts.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Actor {
        /// A tenant, by one of its API keys.
        1 => ApiKey(ApiKeyId),
        /// An operator.
        2 => Operator(OperatorKeyId),
        /// A node, by itself.
        3 => Node(u64),
        /// Whoever set the cluster up, before there was any key.
        4 => Setup(()),
    }
}

/// A command, with who asked and in which request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Who acts.
    pub actor: Actor,
    /// The `X-Request-Id` of the request, for the audit log.
    pub request_id: String,
    /// What is asked.
    pub action: Action,
    /// What tells the request apart, if it is to be carried out once however often it is sent.
    pub idempotency: Option<IdempotencyClaim>,
}

stored_enum! {
    /// What is asked.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Action {
        /// New organisation.
        1 => CreateOrganization(CreateOrganization),
        /// Changed organisation.
        2 => UpdateOrganization(UpdateOrganization),
        /// New API key.
        10 => CreateApiKey(CreateApiKey),
        /// Renamed, enabled or disabled API key.
        11 => UpdateApiKey(UpdateApiKey),
        /// New secret for an API key.
        12 => RotateApiKey(RotateApiKey),
        /// API key gone for good.
        13 => DeleteApiKey(ApiKeyId),
        /// When API keys were last used: bookkeeping.
        14 => TouchApiKeys(Vec<(ApiKeyId, Millis)>),
        /// New agent.
        20 => CreateAgent(CreateAgent),
        /// Changed agent.
        21 => UpdateAgent(UpdateAgent),
        /// New key for an agent.
        22 => RotateAgentKey(RotateAgentKey),
        /// All tokens of an agent die.
        23 => RevokeAgentTokens(AgentId),
        /// The agent dies, and its tokens with it.
        24 => RevokeAgent(AgentId),
        /// New token.
        30 => IssueToken(IssueToken),
        /// A token dies.
        31 => RevokeToken(TokenRef),
        /// A token request that policies do not grant, or not yet.
        32 => DeclineToken(DeclineToken),
        /// New signing key of a node.
        40 => RegisterSigningKey(RegisterSigningKey),
        /// A signing key signs no more.
        41 => RetireSigningKey(SigningKeyId),
        /// A signing key is compromised: everything that it signed dies.
        42 => RevokeSigningKey(SigningKeyId),
        /// New operator key.
        50 => CreateOperatorKey(CreateOperatorKey),
        /// Operator key gone for good.
        51 => DeleteOperatorKey(OperatorKeyId),
        /// New policy.
        70 => CreatePolicy(CreatePolicy),
        /// Changed, activated or deactivated policy.
        71 => UpdatePolicy(UpdatePolicy),
        /// Policy gone for good.
        72 => DeletePolicy(PolicyId),
        /// Somebody agrees to a token request.
        80 => Approve(ApprovalId),
        /// Somebody does not.
        81 => Disapprove(ApprovalId),
        /// Time passes: what has expired is pruned. Bookkeeping, proposed when some is due.
        60 => Tick(()),
        /// New webhook endpoint.
        100 => CreateWebhook(CreateWebhook),
        /// Changed, enabled or disabled webhook endpoint.
        101 => UpdateWebhook(UpdateWebhook),
        /// Webhook endpoint gone for good.
        102 => DeleteWebhook(WebhookId),
        /// New signing secret for a webhook endpoint.
        103 => RotateWebhookSecret(RotateWebhookSecret),
        /// What came of deliveries: bookkeeping.
        104 => RecordDeliveries(RecordDeliveries),
        /// Another attempt at a delivery, now.
        105 => RetryDelivery(RetryDelivery),
        /// New domain.
        120 => CreateDomain(CreateDomain),
        /// Domain gone for good.
        121 => DeleteDomain(DomainId),
        /// What a node saw when it looked for a domain's record.
        122 => RecordDomainCheck(RecordDomainCheck),
        /// The plans on offer, all of them.
        130 => SetPlans(Vec<Plan>),
        /// Another plan for an organisation.
        131 => ChangePlan(ChangePlan),
        /// The names of the plans that only an operator gives an organisation, all of them.
        240 => SetOperatorPlans(Vec<String>),
        /// The state came out of a backup: the first command of the cluster that it founds.
        150 => Restore(Restore),
        /// What a restoration suspended may be used again.
        151 => LiftSuspension(Suspension),
    }
}

impl Action {
    /// Whether it is answered only once no node can answer from a state before it: whatever takes a
    /// right away, and whatever is used at once at any node, as a new key is. Each of these may be
    /// decided twice.
    pub const fn must_be_seen_everywhere(&self) -> bool {
        matches!(
            self,
            Self::CreateApiKey(_)
                | Self::UpdateApiKey(_)
                | Self::RotateApiKey(_)
                | Self::DeleteApiKey(_)
                | Self::UpdateAgent(_)
                | Self::RotateAgentKey(_)
                | Self::RevokeAgentTokens(_)
                | Self::RevokeAgent(_)
                | Self::RevokeToken(_)
                | Self::RegisterSigningKey(_)
                | Self::RevokeSigningKey(_)
                | Self::CreateOperatorKey(_)
                | Self::DeleteOperatorKey(_)
                | Self::LiftSuspension(_)
        )
    }
}

/// See [`Action::CreateOrganization`]. Actor: an operator, or setup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateOrganization {
    /// Minted id.
    pub id: OrgId,
    /// 1 to 100 characters.
    pub name: String,
    /// What happens to a token request that no policy matches.
    pub default_effect: DefaultEffect,
    /// The name of its plan, one on offer.
    pub plan: String,
}

/// See [`Action::UpdateOrganization`]. Fields left out stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateOrganization {
    /// Which.
    pub id: OrgId,
    /// New name.
    pub name: Option<String>,
    /// New default effect.
    pub default_effect: Option<DefaultEffect>,
}

/// See [`Action::CreateApiKey`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateApiKey {
    /// Minted id.
    pub id: ApiKeyId,
    /// Whose it is to be; an API key can only make keys of its own organisation.
    pub org: OrgId,
    /// Which environment it opens.
    pub environment: Environment,
    /// 1 to 100 characters.
    pub name: String,
    /// What it may do: nothing that a creating API key does not hold.
    pub permissions: Permissions,
    /// SHA-256 of the secret.
    pub secret_hash: Hash,
    /// The secret's last four characters.
    pub last_four: String,
    /// From when on it no longer authenticates.
    pub expires_at: Option<Millis>,
}

/// See [`Action::UpdateApiKey`]. Fields left out stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateApiKey {
    /// Which.
    pub id: ApiKeyId,
    /// New name.
    pub name: Option<String>,
    /// Whether it authenticates.
    pub enabled: Option<bool>,
}

/// See [`Action::RotateApiKey`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateApiKey {
    /// Which.
    pub id: ApiKeyId,
    /// SHA-256 of the new secret.
    pub secret_hash: Hash,
    /// The new secret's last four characters.
    pub last_four: String,
    /// How long the old secret goes on, in seconds; 0 ends it at once.
    pub grace_s: u64,
}

/// See [`Action::CreateAgent`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateAgent {
    /// Minted id.
    pub id: AgentId,
    /// 1 to 100 characters.
    pub name: String,
    /// 1 to 100 characters.
    pub owner: String,
    /// Up to 1,000 characters.
    pub description: Option<String>,
    /// Up to 1,000 characters.
    pub model_provider: Option<String>,
    /// Up to 1,000 characters.
    pub model_name: Option<String>,
    /// Up to 1,000 characters.
    pub framework: Option<String>,
    /// Up to 20 strings of 40 → 500 characters.
    pub metadata: BTreeMap<String, String>,
    /// The public half of its Ed25519 key.
    pub public_key: [u8; 32],
    /// Whether it must sign its token requests.
    pub require_signature: bool,
}

/// See [`Action::UpdateAgent`]. `None` leaves a field, `Some(None)` clears it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateAgent {
    /// Which.
    pub id: AgentId,
    /// New name.
    pub name: Option<String>,
    /// New owner.
    pub owner: Option<String>,
    /// New description.
    pub description: Option<Option<String>>,
    /// New model provider.
    pub model_provider: Option<Option<String>>,
    /// New model name.
    pub model_name: Option<Option<String>>,
    /// New framework.
    pub framework: Option<Option<String>>,
    /// Metadata entries to set, or to remove where `None`; `None` as a whole clears all.
    pub metadata: Option<Option<BTreeMap<String, Option<String>>>>,
    /// Whether it must sign its token requests.
    pub require_signature: Option<bool>,
    /// `Some(true)` pauses, `Some(false)` activates.
    pub paused: Option<bool>,
}

/// See [`Action::RotateAgentKey`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateAgentKey {
    /// Which.
    pub id: AgentId,
    /// The public half of the new key.
    pub public_key: [u8; 32],
}

/// See [`Action::IssueToken`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueToken {
    /// Minted id, the `jti`.
    pub id: TokenId,
    /// SHA-256 of the whole signed token, prefix included.
    pub hash: Hash,
    /// For whom.
    pub agent: AgentId,
    /// Which key signed it.
    pub signing_key: SigningKeyId,
    /// What it allows, 1 to 64 scopes.
    pub scope: Vec<String>,
    /// Where it may be used.
    pub target_service: String,
    /// What it is for.
    pub intent: Option<String>,
    /// Its `iat`.
    pub issued_at: Seconds,
    /// Its `exp`.
    pub expires_at: Seconds,
    /// The agent's signature on the request, when it signed it.
    pub signed: Option<SignedRequest>,
    /// What the policies say: they grant it, or ask for the approval named here.
    pub judged: Judged,
    /// The approval that is collected.
    pub approval: Option<ApprovalId>,
}

/// An agent's signature on a token request, verified outside the core with the key of the epoch
/// named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRequest {
    /// Whose key it verified with: the agent's key epoch.
    pub key_epoch: u32,
    /// When it was made, by the signer.
    pub created_s: Seconds,
    /// From when on it counts no more, if the signer said so.
    pub expires_s: Option<Seconds>,
    /// SHA-256 of its nonce.
    pub nonce: Hash,
}

/// A verdict, with what it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// What the policies say.
    pub verdict: Verdict,
    /// The epoch of the tenant's policies that were asked.
    pub policy_epoch: u64,
    /// Digest of what policies see of the agent: [`super::Agent::policy_digest`].
    pub agent: Hash,
    /// The time that conditions saw.
    pub at: Millis,
}

/// See [`Action::DeclineToken`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclineToken {
    /// Minted; the approval's id if one is made.
    pub id: ApprovalId,
    /// For whom the token was asked.
    pub agent: AgentId,
    /// What it was to allow, 1 to 64 scopes.
    pub scope: Vec<String>,
    /// How long it was to live.
    pub ttl_s: Seconds,
    /// Where it was to be used.
    pub target_service: String,
    /// What it was for.
    pub intent: Option<String>,
    /// The agent's signature on the request, when it signed it.
    pub signed: Option<SignedRequest>,
    /// What the policies say: they refuse it, or ask for an approval.
    pub judged: Judged,
}

/// See [`Action::CreatePolicy`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePolicy {
    /// Minted id.
    pub id: PolicyId,
    /// 1 to 100 characters.
    pub name: String,
    /// Up to 1,000 characters.
    pub description: Option<String>,
    /// 0 to 10,000.
    pub priority: u16,
    /// Rules that passed the check of the policy room.
    pub rules: CheckedRules,
    /// Whether it is applied.
    pub is_active: bool,
}

/// See [`Action::UpdatePolicy`]. `None` leaves a field, `Some(None)` clears it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdatePolicy {
    /// Which.
    pub id: PolicyId,
    /// New name.
    pub name: Option<String>,
    /// New description.
    pub description: Option<Option<String>>,
    /// New priority.
    pub priority: Option<u16>,
    /// New rules, all of them.
    pub rules: Option<CheckedRules>,
    /// Whether it is applied.
    pub is_active: Option<bool>,
}

stored_enum! {
    /// How a token to revoke is named.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum TokenRef {
        /// By its id.
        1 => Id(TokenId),
        /// By the SHA-256 of its bytes.
        2 => Hash(Hash),
    }
}

/// See [`Action::RegisterSigningKey`]. Actor: the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterSigningKey {
    /// Minted id, the `kid`.
    pub id: SigningKeyId,
    /// The public half.
    pub public_key: [u8; 32],
}

/// See [`Action::CreateOperatorKey`]. Actor: an operator, or setup while there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateOperatorKey {
    /// Minted id.
    pub id: OperatorKeyId,
    /// 1 to 100 characters.
    pub name: String,
    /// SHA-256 of the secret.
    pub secret_hash: Hash,
    /// The secret's last four characters.
    pub last_four: String,
}

/// See [`Action::CreateDomain`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateDomain {
    /// Minted id.
    pub id: DomainId,
    /// In lowercase ASCII, without a dot at the end; two labels at least.
    pub name: String,
    /// Random: what the record has to hold.
    pub challenge: [u8; 32],
}

/// See [`Action::RecordDomainCheck`]. Actor: an API key, or a node that looks again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordDomainCheck {
    /// Minted for this look.
    pub id: [u8; 16],
    /// Which domain.
    pub domain: DomainId,
    /// What was looked for.
    pub challenge: [u8; 32],
    /// The domain's epoch when the look began.
    pub epoch: u64,
    /// What was seen.
    pub seen: Seen,
}

/// See [`Action::ChangePlan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangePlan {
    /// Whose plan; an API key can only change that of its own organisation.
    pub org: OrgId,
    /// The name of the new one.
    pub plan: String,
}
