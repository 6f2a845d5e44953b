//! The whole replicated state, in persistent ordered maps: a clone is cheap and shares everything,
//! so a snapshot and the view that verification reads are clones.
//!
//! Here stand the maps and the two dispatchers; what a command means stands with its noun. The
//! indexes are functions of the records, kept by the `put_…` and `drop_…` functions of each noun,
//! which restoring a snapshot uses too.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::{
    Action, Agent, AgentId, AgentStatus, ApiKey, ApiKeyId, Approval, ApprovalId, ApprovalStatus,
    Command, DenialReason, DnsDomain, DomainId, Environment, Event, Fact, Hash, LiveToken, Millis,
    OperatorKey, OperatorKeyId, OrgId, Organization, Outcome, Policy, PolicyId, Refusal, Seconds,
    SigningKey, SigningKeyId, Tenant, ThrottleKey, TokenId, TokenLists, Window, agent, api_key,
    approval, caller, dns_domain, expiry, operator_key, organization, policies, signing_key, text,
    token, token_request,
};
use super::{EventDay, ItemBytes, Level, Restoration, output, quota, restoration};
use super::{IdempotencyRecord, Plan, Remembered, TokenCount, billing, idempotency, plan};
use super::{Outbox, Webhook, WebhookId, delivery, webhook};

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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// By which rules commands are decided.
    pub level: Level,
    /// The log's time: the newest stamp, never running backwards.
    pub clock: Millis,
    /// The tenants.
    pub organizations: OrdMap<OrgId, Arc<Organization>>,
    /// How many organisations are on each plan.
    pub organizations_on_plan: OrdMap<String, u64>,
    /// What each organisation's agents, policies, approvals, webhooks and domains take.
    pub item_bytes: ItemBytes,
    /// What the events of each organisation took on the day of its last one.
    pub event_days: OrdMap<OrgId, EventDay>,
    /// API keys by id.
    pub api_keys: OrdMap<ApiKeyId, Arc<ApiKey>>,
    /// API keys by the hash of a secret that opens them, the old one of a rotation too.
    pub api_keys_by_hash: OrdMap<Hash, ApiKeyId>,
    /// API keys of each organisation.
    pub api_keys_by_org: OrdSet<(OrgId, ApiKeyId)>,
    /// From an API key to the one that created it, which may be gone.
    pub api_key_creators: OrdMap<ApiKeyId, ApiKeyId>,
    /// How many API keys each organisation has.
    pub api_key_counts: OrdMap<OrgId, u64>,
    /// Rotated API keys by the time at which their old secret stops.
    pub previous_secrets: OrdSet<(Millis, ApiKeyId)>,
    /// Operator keys by id.
    pub operator_keys: OrdMap<OperatorKeyId, Arc<OperatorKey>>,
    /// Operator keys by the hash of their secret.
    pub operator_keys_by_hash: OrdMap<Hash, OperatorKeyId>,
    /// What stands for a secret that stopped lately (its hash; an agent's old public key), and
    /// until when that is remembered: a command that is proposed again must not revive it.
    pub retired_secrets: OrdMap<Hash, Millis>,
    /// The same by time.
    pub retired_secrets_by_end: OrdSet<(Millis, Hash)>,
    /// Agents by id.
    pub agents: OrdMap<AgentId, Arc<Agent>>,
    /// [`Agent::policy_digest`] of the agents that are large.
    pub agent_digests: OrdMap<AgentId, Hash>,
    /// Agents of each tenant, by status.
    pub agents_by_status: OrdMap<(Tenant, AgentStatus), OrdSet<AgentId>>,
    /// Records of issued tokens by the hash of their bytes, until a margin past their expiry.
    pub tokens: OrdMap<Hash, LiveToken>,
    /// From a token's id to its record.
    pub token_ids: OrdMap<TokenId, Hash>,
    /// When a token was revoked on its own.
    pub token_revoked_at: OrdMap<TokenId, Millis>,
    /// Token records in the order of their expiry, seconds.
    pub token_expiry: OrdSet<(u32, Hash)>,
    /// How far in that order the expired tokens have left the lists.
    pub expired_through: (u32, Hash),
    /// How many token records each tenant has, dead ones too.
    pub token_records: OrdMap<Tenant, u64>,
    /// Live tokens of each agent, for lists.
    pub token_lists: TokenLists,
    /// Signing keys by number.
    pub signing_keys: OrdMap<u32, Arc<SigningKey>>,
    /// From a signing key's id to its number.
    pub signing_key_numbers: OrdMap<SigningKeyId, u32>,
    /// Numbers of signing keys by their public key.
    pub signing_keys_by_public: OrdMap<[u8; 32], u32>,
    /// Numbers of retired signing keys that were not revoked.
    pub retired_signing_keys: OrdSet<u32>,
    /// The next signing key's number.
    pub next_signing_key: u32,
    /// Policies by id.
    pub policies: OrdMap<PolicyId, Arc<Policy>>,
    /// Policies of each tenant.
    pub policies_by_tenant: OrdMap<Tenant, OrdSet<PolicyId>>,
    /// What all active policies of a tenant cost at most, in steps.
    pub policy_steps: OrdMap<Tenant, u64>,
    /// [`super::Rule::digest`] of the rules of each policy that count or ask for approvals, by their
    /// place; of others nothing.
    pub rule_digests: OrdMap<PolicyId, Arc<[Hash]>>,
    /// How often a tenant's policies, or its organisation's default, have changed.
    pub policy_epochs: OrdMap<Tenant, u64>,
    /// Open windows of throttles.
    pub throttle_windows: OrdMap<ThrottleKey, Window>,
    /// The same by their end.
    pub throttle_window_ends: OrdSet<(Millis, ThrottleKey)>,
    /// How many windows are open of each policy, one that is gone included.
    pub windows_of_policy: OrdMap<PolicyId, u64>,
    /// How many windows are open of each tenant's policies.
    pub windows_of_tenant: OrdMap<Tenant, u64>,
    /// Policies that are gone and have windows still.
    pub orphaned_windows: OrdSet<PolicyId>,
    /// Approvals by id.
    pub approvals: OrdMap<ApprovalId, Arc<Approval>>,
    /// What approvals are bound to of their agents: [`Agent::approver_digest`] when they were asked for.
    pub approval_subjects: OrdMap<ApprovalId, Hash>,
    /// Approvals of each tenant, by status.
    pub approvals_by_status: OrdMap<(Tenant, ApprovalStatus), OrdSet<ApprovalId>>,
    /// Pending approvals by the digest of their request.
    pub pending_approvals: OrdSet<(Tenant, Hash, ApprovalId)>,
    /// Approvals by when time does something to them.
    pub approvals_due: OrdSet<(Millis, ApprovalId)>,
    /// Token requests that policies refused lately, by the id minted for each, why, and until when
    /// that is remembered.
    pub declined: OrdMap<[u8; 16], (DenialReason, Millis)>,
    /// The same by time.
    pub declined_ends: OrdSet<(Millis, [u8; 16])>,
    /// Nonces of each agent, and until when they are remembered.
    pub nonces: OrdMap<AgentId, OrdMap<Hash, Millis>>,
    /// The same by time.
    pub nonce_ends: OrdSet<(Millis, AgentId, Hash)>,
    /// How many nonces are remembered of each tenant's agents.
    pub nonces_of_tenant: OrdMap<Tenant, u64>,
    /// The end of every audit chain.
    pub heads: OrdMap<Tenant, Head>,
    /// Webhook endpoints by id.
    pub webhooks: OrdMap<WebhookId, Arc<Webhook>>,
    /// Webhook endpoints of each tenant.
    pub webhooks_by_tenant: OrdMap<Tenant, OrdSet<WebhookId>>,
    /// What each endpoint was sent and is owed.
    pub outboxes: OrdMap<WebhookId, Arc<Outbox>>,
    /// Rotated endpoints by the time at which their old secret stops.
    pub previous_signing_secrets: OrdSet<(Millis, WebhookId)>,
    /// Domains by id.
    pub domains: OrdMap<DomainId, Arc<DnsDomain>>,
    /// Domains of each organisation.
    pub domains_by_org: OrdMap<OrgId, OrdSet<DomainId>>,
    /// Verified domains by name: who holds it.
    pub domain_holders: OrdMap<Arc<str>, DomainId>,
    /// Domains that were verified once, by when somebody last looked.
    pub domain_rechecks: OrdSet<(Millis, DomainId)>,
    /// The names of each organisation's verified domains, sorted, as verification shows them.
    pub verified_domains: OrdMap<OrgId, Arc<[Arc<str>]>>,
    /// Plans by name.
    pub plans: OrdMap<String, Arc<Plan>>,
    /// Names of the plans that only an operator gives an organisation.
    pub operator_plans: OrdSet<String>,
    /// How many tokens each organisation was issued in the month of the last one.
    pub token_counts: OrdMap<OrgId, TokenCount>,
    /// What requests with an `Idempotency-Key` were answered, by what tells each apart.
    pub answers: OrdMap<Hash, Arc<IdempotencyRecord>>,
    /// The same by when they are forgotten.
    pub answer_ends: OrdSet<(Millis, Hash)>,
    /// How many of them each organisation has.
    pub answers_remembered: OrdMap<OrgId, Remembered>,
    /// How many of them there are.
    pub answers_remembered_in_all: Remembered,
    /// How this cluster came out of a backup, if it did.
    pub restored: Option<Arc<Restoration>>,
    /// API keys that a restoration suspended, until that is lifted.
    pub suspended_api_keys: OrdSet<ApiKeyId>,
    /// Agents that a restoration suspended, until that is lifted.
    pub suspended_agents: OrdSet<AgentId>,
}

/// What a command comes to: what happens, and what whoever asked is answered once it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// To be folded in, in order; none when the state already is as asked.
    pub events: Vec<Event>,
    /// The answer.
    pub outcome: Outcome,
}

impl Decision {
    /// Nothing happens.
    pub(super) fn unchanged(outcome: Outcome) -> Self {
        Self { events: Vec::new(), outcome }
    }

    /// One thing happens.
    pub(super) fn one(chain: Tenant, fact: Fact, outcome: Outcome) -> Self {
        Self { events: vec![Event { chain, fact }], outcome }
    }
}

impl State {
    /// What `command` comes to at `at`, the stamp clamped by [`State::clock`]. Changes nothing.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] says why nothing happens.
    pub fn decide(&self, at: Millis, command: &Command) -> Result<Decision, Refusal> {
        text::request_id(&command.request_id)?;
        let caller = caller::admit(self, at, command)?;
        let decide = || self.decide_action(at, caller, &command.action);
        let decision = match &command.idempotency {
            Some(claim) => idempotency::once(self, at, caller, claim, decide),
            None => decide(),
        }?;
        if self.level >= Level::BOUNDED {
            output::check(&decision)?;
            quota::check(self, at, command, &decision)?;
        }
        Ok(decision)
    }

    fn decide_action(
        &self,
        at: Millis,
        caller: caller::Caller<'_>,
        action: &Action,
    ) -> Result<Decision, Refusal> {
        match action {
            Action::CreateOrganization(new) => organization::create(self, at, new),
            Action::UpdateOrganization(change) => organization::update(self, at, change),
            Action::CreateApiKey(new) => api_key::create(self, at, caller, new),
            Action::UpdateApiKey(change) => api_key::update(self, caller, change),
            Action::RotateApiKey(change) => api_key::rotate(self, at, caller, change),
            Action::DeleteApiKey(id) => api_key::delete(self, at, caller, *id),
            Action::TouchApiKeys(used) => Ok(api_key::touch(self, at, used)),
            Action::CreateAgent(new) => agent::create(self, at, caller, new),
            Action::UpdateAgent(change) => agent::update(self, at, caller, change),
            Action::RotateAgentKey(change) => agent::rotate_key(self, at, caller, change),
            Action::RevokeAgentTokens(id) => agent::revoke_tokens(self, at, caller, *id),
            Action::RevokeAgent(id) => agent::revoke(self, at, caller, *id),
            Action::IssueToken(new) => token::issue(self, at, caller, new),
            Action::RevokeToken(token) => token::revoke(self, at, caller, *token),
            Action::DeclineToken(new) => token_request::decline(self, at, caller, new),
            Action::CreatePolicy(new) => policies::create(self, at, caller, new),
            Action::UpdatePolicy(change) => policies::update(self, at, caller, change),
            Action::DeletePolicy(id) => policies::delete(self, caller, *id),
            Action::Approve(id) => approval::approve(self, at, caller, *id),
            Action::Disapprove(id) => approval::disapprove(self, at, caller, *id),
            Action::RegisterSigningKey(new) => signing_key::register(self, at, caller, new),
            Action::RetireSigningKey(id) => signing_key::retire(self, at, caller, *id),
            Action::RevokeSigningKey(id) => signing_key::revoke(self, at, *id),
            Action::CreateOperatorKey(new) => operator_key::create(self, at, caller, new),
            Action::DeleteOperatorKey(id) => operator_key::delete(self, at, *id),
            Action::Tick(()) => Ok(expiry::tick(self, at)),
            Action::CreateWebhook(new) => webhook::create(self, at, caller, new),
            Action::UpdateWebhook(change) => webhook::update(self, at, caller, change),
            Action::DeleteWebhook(id) => webhook::delete(self, at, caller, *id),
            Action::RotateWebhookSecret(change) => webhook::rotate_secret(self, at, caller, change),
            Action::RecordDeliveries(told) => delivery::record(self, at, told),
            Action::RetryDelivery(asked) => delivery::retry(self, at, caller, *asked),
            Action::CreateDomain(new) => dns_domain::create(self, at, caller, new),
            Action::DeleteDomain(id) => dns_domain::delete(self, caller, *id),
            Action::RecordDomainCheck(check) => dns_domain::record_check(self, at, caller, check),
            Action::SetPlans(plans) => plan::set_catalogue(self, plans),
            Action::SetOperatorPlans(names) => plan::set_operator_plans(self, names),
            Action::ChangePlan(change) => billing::change_plan(self, at, caller, change),
            Action::Restore(new) => restoration::restore(self, at, new),
            Action::LiftSuspension(suspension) => restoration::lift(self, *suspension),
        }
    }

    /// Folds one event in. Decides nothing, and survives an event that does not fit.
    pub fn evolve(&mut self, event: &Event) {
        match &event.fact {
            Fact::OrganizationCreated(org) => self.put_organization(Arc::clone(org)),
            Fact::OrganizationUpdated(org, changed) => {
                self.put_organization(Arc::clone(org));
                if changed.contains(&"default_effect") {
                    for environment in [Environment::Live, Environment::Test] {
                        self.move_policy_epoch(Tenant { org: org.id, environment });
                    }
                }
            }
            Fact::ApiKeyCreated(key, creator) => {
                self.put_api_key(Arc::clone(key));
                if let Some(creator) = creator {
                    self.put_api_key_creator(key.id, *creator);
                }
            }
            Fact::ApiKeyUpdated(key, _) => self.put_api_key(Arc::clone(key)),
            Fact::ApiKeyRotated { key, old_hash, at } => {
                self.put_api_key(Arc::clone(key));
                self.retire_secret(*old_hash, *at);
            }
            Fact::ApiKeyDeleted(key, at) => {
                self.suspended_api_keys.remove(&key.id);
                self.drop_api_key(key.id);
                self.api_key_creators.remove(&key.id);
                self.retire_secret(key.secret_hash, *at);
            }
            Fact::ApiKeyUsed(id, at) => self.note_api_key_used(*id, *at),
            Fact::PreviousSecretForgotten(id) => self.forget_previous_secret(*id),
            Fact::AgentCreated(agent)
            | Fact::AgentUpdated(agent, _)
            | Fact::AgentPaused(agent)
            | Fact::AgentActivated(agent) => self.put_agent(Arc::clone(agent)),
            Fact::AgentKeyRotated { agent, old_key } => {
                self.put_agent(Arc::clone(agent));
                self.retire_secret(*old_key, agent.updated_at);
            }
            Fact::AgentTokensRevoked(agent, _) | Fact::AgentRevoked(agent, _) => {
                if agent.status == AgentStatus::Revoked {
                    self.suspended_agents.remove(&agent.id);
                }
                self.put_agent(Arc::clone(agent));
                self.token_lists.remove_agent(agent.tenant, agent.id);
            }
            Fact::TokenIssued(details, live, count) => {
                if let Some(tenant) = self.tenant_of(details.agent) {
                    self.token_counts.insert(tenant.org, *count);
                }
                self.put_token(details.hash, *live);
                self.list_token(Arc::clone(details));
                self.note_signed(live.signing_key, details.expires_at);
            }
            Fact::TokenRevoked { id, hash, revoked_at, .. } => {
                self.mark_token_revoked(*id, *hash, *revoked_at);
            }
            Fact::TokenDenied(denial) => {
                self.put_declined(denial.request, denial.reason, denial.remembered_until);
            }
            Fact::DeclinedForgotten(id) => self.drop_declined(id),
            Fact::PolicyCreated(policy)
            | Fact::PolicyUpdated(policy, _)
            | Fact::PolicyActivated(policy)
            | Fact::PolicyDeactivated(policy) => {
                self.put_policy(Arc::clone(policy));
                self.move_policy_epoch(policy.tenant);
            }
            Fact::PolicyDeleted(policy) => {
                self.drop_policy(policy.id);
                self.move_policy_epoch(policy.tenant);
            }
            Fact::ApprovalRequested(approval, subject) => {
                self.put_approval(Arc::clone(approval));
                if let Some(subject) = subject {
                    self.put_approval_subject(approval.id, *subject);
                }
            }
            Fact::ApprovalApproved(approval)
            | Fact::ApprovalDenied(approval)
            | Fact::ApprovalConsumed(approval)
            | Fact::ApprovalJoined(approval)
            | Fact::ApprovalExpired(approval) => self.put_approval(Arc::clone(approval)),
            Fact::ApprovalForgotten(id) => {
                self.drop_approval(*id);
                self.approval_subjects.remove(id);
            }
            Fact::ThrottleCounted(key, window) => self.put_throttle_window(key, *window),
            Fact::ThrottleForgotten(key) => self.drop_throttle_window(key),
            Fact::NonceUsed { agent, nonce, until } => self.put_nonce(*agent, *nonce, *until),
            Fact::NonceForgotten(agent, nonce) => self.drop_nonce(*agent, *nonce),
            Fact::TokenExpired(_, _, hash) => self.unlist_expired_token(*hash),
            Fact::TokenForgotten(id, hash) => self.drop_token(*id, *hash),
            Fact::SigningKeyRegistered(key) | Fact::SigningKeyRetired(key) => {
                self.put_signing_key(Arc::clone(key));
            }
            Fact::SigningKeyRevoked(key) => self.put_revoked_signing_key(Arc::clone(key)),
            Fact::SigningKeyForgotten(id) => self.drop_signing_key(*id),
            Fact::OperatorKeyCreated(key) => self.put_operator_key(Arc::clone(key)),
            Fact::OperatorKeyDeleted(key, at) => {
                self.drop_operator_key(key.id);
                self.retire_secret(key.secret_hash, *at);
            }
            Fact::RetiredSecretForgotten(hash) => self.forget_retired_secret(*hash),
            Fact::WebhookCreated(webhook, outbox) | Fact::WebhookEnabled(webhook, outbox) => {
                self.put_webhook(Arc::clone(webhook));
                self.put_outbox(webhook.id, Arc::clone(outbox));
            }
            Fact::WebhookUpdated(webhook, _)
            | Fact::WebhookDisabled(webhook)
            | Fact::WebhookSecretRotated(webhook) => self.put_webhook(Arc::clone(webhook)),
            Fact::WebhookDeleted(webhook, at) => self.drop_webhook(webhook.id, *at),
            Fact::DeliveriesRecorded(id, outbox) => self.put_outbox(*id, Arc::clone(outbox)),
            Fact::PreviousSigningSecretForgotten(id) => self.forget_previous_signing_secret(*id),
            Fact::DomainCreated(domain)
            | Fact::DomainVerified(domain)
            | Fact::DomainFailed(domain)
            | Fact::DomainLost(domain)
            | Fact::DomainChecked(domain) => self.put_domain(Arc::clone(domain)),
            Fact::DomainDeleted(domain) => self.drop_domain(domain.id),
            Fact::PlansSet(plans) => self.plans = plans.clone(),
            Fact::OperatorPlansSet(names) => self.operator_plans = names.clone(),
            Fact::PlanUpgraded { org, .. } | Fact::PlanDowngraded { org, .. } => {
                self.put_organization(Arc::clone(org));
            }
            Fact::AnswerRemembered(id, record) => self.put_answer(*id, Arc::clone(record)),
            Fact::AnswerForgotten(id) => self.drop_answer(id),
            Fact::ClusterRestored(restoration, _) => self.begin_anew(restoration),
            // The chain tells it; the state is one.
            Fact::ChainRestored(_) => {}
            Fact::ApiKeySuspensionLifted(key) => {
                self.suspended_api_keys.remove(&key.id);
            }
            Fact::AgentSuspensionLifted(agent) => {
                self.suspended_agents.remove(&agent.id);
            }
            Fact::SuspensionsLifted { .. } => {
                self.suspended_api_keys.clear();
                self.suspended_agents.clear();
            }
        }
    }
}

/// The second in which `at` lies.
pub(super) const fn seconds(at: Millis) -> Seconds {
    at / 1000
}
