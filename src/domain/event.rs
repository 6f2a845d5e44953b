//! Events: what happened. One list, three readers: the state folds them in, the audit chain links
//! them, webhooks send them.

use std::sync::Arc;

use super::{
    Agent, AgentId, ApiKey, ApiKeyId, Approval, ApprovalId, DnsDomain, Hash, LiveToken, Millis,
    OperatorKey, Organization, Policy, PolicyId, RuleRef, Seconds, SigningKey, SigningKeyId,
    Tenant, ThrottleKey, Throttled, TokenDetails, TokenId, Window,
};
use super::{Outbox, Webhook, WebhookId};

use imbl::{OrdMap, OrdSet};

use super::{IdempotencyRecord, Plan, TokenCount};
use super::{Restoration, TakenAway};
use crate::codec::stored_enum;

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

/// A token request that policies refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// For whom the token was asked.
    pub agent: AgentId,
    /// What it was to allow.
    pub scope: Vec<String>,
    /// How long it was to live.
    pub ttl_s: Seconds,
    /// Where it was to be used.
    pub target_service: String,
    /// What it was for.
    pub intent: Option<String>,
    /// Why it was refused.
    pub reason: DenialReason,
    /// The id that was minted for the request.
    pub request: [u8; 16],
    /// Until when the refusal is remembered.
    pub remembered_until: Millis,
}

stored_enum! {
    /// Why policies refused a token request.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum DenialReason {
        /// A rule denies it, or none grants it.
        1 => Policy(Option<RuleRef>),
        /// Too many were granted lately.
        2 => Throttled(Throttled),
    }
}

impl DenialReason {
    /// The rule that refused.
    pub fn rule(self) -> Option<RuleRef> {
        match self {
            Self::Policy(rule) => rule,
            Self::Throttled(throttled) => Some(throttled.rule),
        }
    }
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
    /// `api_key.created`: the key, and the API key that created it.
    ApiKeyCreated(Arc<ApiKey>, Option<ApiKeyId>),
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
    /// `token.issued`: the token, and how many its organisation was issued in this month, with it.
    TokenIssued(Arc<TokenDetails>, LiveToken, TokenCount),
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
    /// `token.denied`
    TokenDenied(Arc<Denial>),
    /// `policy.created`
    PolicyCreated(Arc<Policy>),
    /// `policy.updated`: the policy as it is now, and the names of the fields that changed.
    PolicyUpdated(Arc<Policy>, Vec<&'static str>),
    /// `policy.activated`: the policy as it is now.
    PolicyActivated(Arc<Policy>),
    /// `policy.deactivated`: the policy as it is now.
    PolicyDeactivated(Arc<Policy>),
    /// `policy.deleted`: the policy as it last was.
    PolicyDeleted(Arc<Policy>),
    /// `approval.requested`: the approval, and [`Agent::approver_digest`] of its agent.
    ApprovalRequested(Arc<Approval>, Option<Hash>),
    /// `approval.approved`: the approval as it is now.
    ApprovalApproved(Arc<Approval>),
    /// `approval.denied`: the approval as it is now.
    ApprovalDenied(Arc<Approval>),
    /// `approval.consumed`: the approval as it is now.
    ApprovalConsumed(Arc<Approval>),
    /// Bookkeeping, not audited: another key asked for the same.
    ApprovalJoined(Arc<Approval>),
    /// Bookkeeping, not audited: the approval as it is now.
    ApprovalExpired(Arc<Approval>),
    /// Bookkeeping, not audited.
    ApprovalForgotten(ApprovalId),
    /// Bookkeeping, not audited: a throttle's window as it is now.
    ThrottleCounted(ThrottleKey, Window),
    /// Bookkeeping, not audited: a throttle's window has ended.
    ThrottleForgotten(ThrottleKey),
    /// Bookkeeping, not audited.
    NonceUsed {
        /// Whose signature it was in.
        agent: AgentId,
        /// SHA-256 of it.
        nonce: Hash,
        /// Until when it is remembered.
        until: Millis,
    },
    /// Bookkeeping, not audited.
    NonceForgotten(AgentId, Hash),
    /// Bookkeeping, not audited: a refusal by policy has been remembered long enough.
    DeclinedForgotten([u8; 16]),
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
    /// `webhook.created`: the endpoint, and where it starts.
    WebhookCreated(Arc<Webhook>, Arc<Outbox>),
    /// `webhook.updated`: the endpoint as it is now, and the names of the fields that changed.
    WebhookUpdated(Arc<Webhook>, Vec<&'static str>),
    /// `webhook.enabled`: the endpoint as it is now, and what it was sent and is owed.
    WebhookEnabled(Arc<Webhook>, Arc<Outbox>),
    /// `webhook.disabled`: the endpoint as it is now.
    WebhookDisabled(Arc<Webhook>),
    /// `webhook.secret_rotated`: the endpoint as it is now.
    WebhookSecretRotated(Arc<Webhook>),
    /// `webhook.deleted`: the endpoint as it last was, and when it went.
    WebhookDeleted(Arc<Webhook>, Millis),
    /// Bookkeeping, not audited: what an endpoint was sent and is owed, as it is now.
    DeliveriesRecorded(WebhookId, Arc<Outbox>),
    /// Bookkeeping, not audited: a rotated endpoint's old secret has stopped.
    PreviousSigningSecretForgotten(WebhookId),
    /// `domain.created`
    DomainCreated(Arc<DnsDomain>),
    /// `domain.verified`: the domain as it is now.
    DomainVerified(Arc<DnsDomain>),
    /// `domain.failed`: the domain as it is now; it was never verified.
    DomainFailed(Arc<DnsDomain>),
    /// `domain.lost`: the domain as it is now; it was verified until then.
    DomainLost(Arc<DnsDomain>),
    /// `domain.deleted`: the domain as it last was.
    DomainDeleted(Arc<DnsDomain>),
    /// Bookkeeping, not audited: somebody looked, and the status is what it was.
    DomainChecked(Arc<DnsDomain>),
    /// `plans.updated`: all plans, by name, as they are now.
    PlansSet(OrdMap<String, Arc<Plan>>),
    /// `plans.self_service_updated`: the names of the plans that only an operator gives.
    OperatorPlansSet(OrdSet<String>),
    /// `billing.plan_upgraded`
    PlanUpgraded {
        /// The organisation as it is now.
        org: Arc<Organization>,
        /// The name of the plan that it was on.
        from: String,
        /// The plan that it is on.
        to: Arc<Plan>,
    },
    /// `billing.plan_downgraded`
    PlanDowngraded {
        /// The organisation as it is now.
        org: Arc<Organization>,
        /// The name of the plan that it was on.
        from: String,
        /// The plan that it is on.
        to: Arc<Plan>,
    },
    /// Bookkeeping, not audited: what a request with an `Idempotency-Key` was answered.
    AnswerRemembered(Hash, Arc<IdempotencyRecord>),
    /// Bookkeeping, not audited: an answer has been remembered long enough.
    AnswerForgotten(Hash),
    /// `cluster.restored`, in the chain of the cluster: how, and what that took away.
    ClusterRestored(Arc<Restoration>, TakenAway),
    /// `cluster.restored`, in each other chain: what happened since the event before it is lost.
    ChainRestored(Arc<Restoration>),
    /// `api_key.suspension_lifted`
    ApiKeySuspensionLifted(Arc<ApiKey>),
    /// `agent.suspension_lifted`
    AgentSuspensionLifted(Arc<Agent>),
    /// `cluster.suspensions_lifted`: all of them.
    SuspensionsLifted {
        /// Of so many API keys.
        api_keys: u64,
        /// Of so many agents.
        agents: u64,
    },
}
