//! Restoration: what a state that comes out of a backup may not do.
//!
//! What was taken away after the backup was made is not known any more, so everything that it holds
//! and that gives somebody a right is taken away here, in the first command of the new cluster:
//! signing keys are revoked, and every token with them; operator keys are gone; API keys and agents
//! are suspended until an operator lifts each, or all; approvals that were not collected are over;
//! webhooks are disabled; answers to repeated requests are forgotten. Signatures of before do not
//! count. Must not know what a backup looks like.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    AgentId, AgentStatus, ApiKeyId, Approval, ApprovalStatus, CreateOperatorKey, Decision,
    DisabledReason, DnsDomain, Event, Fact, Hash, Kind, Millis, OperatorKey, Outcome, Refusal,
    Seconds, SigningKey, State, Tenant, Webhook, state::seconds, text,
};
use crate::{codec::stored_enum, limits};

/// The backup that a cluster was founded from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupOrigin {
    /// The cluster that it is of.
    pub cluster: [u8; 16],
    /// How far that cluster's log had come.
    pub index: u64,
    /// When it was made.
    pub at: Millis,
    /// SHA-256 of the file.
    pub sha256: Hash,
}

/// How a cluster came out of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoration {
    /// The cluster that was founded.
    pub cluster: [u8; 16],
    /// What from.
    pub backup: BackupOrigin,
    /// When.
    pub at: Millis,
}

/// See [`super::Action::Restore`]. Actor: setup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// The cluster that is founded.
    pub cluster: [u8; 16],
    /// What from.
    pub backup: BackupOrigin,
    /// The one operator key that there is afterwards.
    pub operator_key: CreateOperatorKey,
}

stored_enum! {
    /// See [`super::Action::LiftSuspension`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Suspension {
        /// All of them.
        1 => All(()),
        /// That of one API key.
        2 => ApiKey(ApiKeyId),
        /// That of one agent.
        3 => Agent(AgentId),
    }
}

/// See [`Outcome::SuspensionsLifted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspensionsLifted {
    /// API keys whose suspension was lifted.
    pub api_keys: u64,
    /// Agents whose suspension was lifted.
    pub agents: u64,
    /// API keys that still are suspended.
    pub api_keys_left: u64,
    /// Agents that still are suspended.
    pub agents_left: u64,
}

/// How much a restoration took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenAway {
    /// API keys that are suspended.
    pub api_keys: u64,
    /// Agents that are suspended.
    pub agents: u64,
    /// Webhooks that are disabled.
    pub webhooks: u64,
    /// Approvals that are over.
    pub approvals: u64,
}

/// The first command of a cluster that is founded from a backup.
pub(super) fn restore(state: &State, at: Millis, new: &Restore) -> Result<Decision, Refusal> {
    if let Some(known) = state.restored.as_ref().filter(|known| known.cluster == new.cluster) {
        return Ok(Decision::unchanged(Outcome::Restored(Arc::clone(known))));
    }
    let operator_key = &new.operator_key;
    text::name("name", &operator_key.name)?;
    text::last_four(&operator_key.last_four)?;
    if state.operator_keys_by_hash.contains_key(&operator_key.secret_hash)
        || state.is_retired(&operator_key.secret_hash)
    {
        return Err(Refusal::IdTaken(Kind::OperatorKey(())));
    }
    let restoration =
        Arc::new(Restoration { cluster: new.cluster, backup: new.backup.clone(), at });
    let mut facts = vec![Fact::ClusterRestored(Arc::clone(&restoration), state.to_be_taken_away())];
    let signing = state.signing_keys.values().filter(|key| key.revoked_at.is_none());
    facts.extend(signing.map(|key| {
        let revoked = SigningKey { revoked_at: Some(at), ..SigningKey::clone(key) };
        Fact::SigningKeyRevoked(Arc::new(revoked))
    }));
    let operators = state.operator_keys.values();
    facts.extend(operators.map(|key| Fact::OperatorKeyDeleted(Arc::clone(key), at)));
    facts.push(Fact::OperatorKeyCreated(Arc::new(OperatorKey {
        id: operator_key.id,
        name: operator_key.name.clone(),
        secret_hash: operator_key.secret_hash,
        last_four: operator_key.last_four.clone(),
        created_at: at,
    })));
    let system = facts.into_iter().map(|fact| Event { chain: Tenant::SYSTEM, fact });
    // Each chain says for itself that what happened between its last two events is lost.
    let others = state.heads.keys().filter(|chain| **chain != Tenant::SYSTEM);
    let others = others
        .map(|chain| Event { chain: *chain, fact: Fact::ChainRestored(Arc::clone(&restoration)) });
    let events = system.chain(others).collect();
    Ok(Decision { events, outcome: Outcome::Restored(restoration) })
}

pub(super) fn lift(state: &State, suspension: Suspension) -> Result<Decision, Refusal> {
    let (api_keys, agents) = state.suspended();
    let lifted = |lifted_keys: u64, lifted_agents: u64| {
        Outcome::SuspensionsLifted(SuspensionsLifted {
            api_keys: lifted_keys,
            agents: lifted_agents,
            api_keys_left: api_keys.saturating_sub(lifted_keys),
            agents_left: agents.saturating_sub(lifted_agents),
        })
    };
    match suspension {
        Suspension::All(()) if api_keys + agents == 0 => Ok(Decision::unchanged(lifted(0, 0))),
        Suspension::All(()) => {
            let fact = Fact::SuspensionsLifted { api_keys, agents };
            Ok(Decision::one(Tenant::SYSTEM, fact, lifted(api_keys, agents)))
        }
        Suspension::ApiKey(id) => {
            let key = state.api_keys.get(&id).ok_or(Refusal::NotFound(Kind::ApiKey(())))?;
            if !state.is_api_key_suspended(id) {
                return Ok(Decision::unchanged(lifted(0, 0)));
            }
            let fact = Fact::ApiKeySuspensionLifted(Arc::clone(key));
            Ok(Decision::one(Tenant::live(key.tenant.org), fact, lifted(1, 0)))
        }
        Suspension::Agent(id) => {
            let agent = state.agents.get(&id).ok_or(Refusal::NotFound(Kind::Agent(())))?;
            if !state.is_agent_suspended(id) {
                return Ok(Decision::unchanged(lifted(0, 0)));
            }
            let fact = Fact::AgentSuspensionLifted(Arc::clone(agent));
            Ok(Decision::one(agent.tenant, fact, lifted(0, 1)))
        }
    }
}

/// The approval, if it could still come to something, as it is once it cannot.
fn over(approval: &Approval) -> Option<Arc<Approval>> {
    matches!(approval.status, ApprovalStatus::Pending | ApprovalStatus::Approved)
        .then(|| Arc::new(Approval { status: ApprovalStatus::Expired, ..approval.clone() }))
}

impl State {
    /// How many API keys and agents are suspended.
    pub fn suspended(&self) -> (u64, u64) {
        (self.suspended_api_keys.len() as u64, self.suspended_agents.len() as u64)
    }

    /// Whether an operator has to lift this API key's suspension before it can be used.
    pub fn is_api_key_suspended(&self, id: ApiKeyId) -> bool {
        self.suspended_api_keys.contains(&id)
    }

    /// Whether an operator has to lift this agent's suspension before it gets tokens.
    pub fn is_agent_suspended(&self, id: AgentId) -> bool {
        self.suspended_agents.contains(&id)
    }

    /// Whether a signature that says it was made then counts: one of before a restoration may have
    /// been used after the backup, and its nonce with it.
    pub(super) fn outlives_restoration(&self, created_s: Seconds) -> bool {
        self.restored.as_ref().is_none_or(|restored| {
            created_s > seconds(restored.at).saturating_add(limits::ISSUED_AT_SKEW_MAX_S)
        })
    }

    /// What [`Fact::ClusterRestored`] will take away.
    fn to_be_taken_away(&self) -> TakenAway {
        let active = self.agents.values().filter(|agent| agent.status != AgentStatus::Revoked);
        let enabled = self.webhooks.values().filter(|webhook| webhook.disabled.is_none());
        TakenAway {
            api_keys: self.api_keys.len() as u64,
            agents: active.count() as u64,
            webhooks: enabled.count() as u64,
            approvals: self.approvals.values().filter(|known| over(known).is_some()).count() as u64,
        }
    }

    /// Folds [`Fact::ClusterRestored`] in.
    pub(super) fn begin_anew(&mut self, restoration: &Arc<Restoration>) {
        self.suspended_api_keys = self.api_keys.keys().copied().collect();
        let active = self.agents.values().filter(|agent| agent.status != AgentStatus::Revoked);
        self.suspended_agents = active.map(|agent| agent.id).collect();
        let open: Vec<_> = self.approvals.values().filter_map(|known| over(known)).collect();
        open.into_iter().for_each(|approval| self.put_approval(approval));
        self.disable_webhooks(restoration.at);
        self.look_at_domains_again();
        self.answers.clear();
        self.answer_ends.clear();
        self.answers_remembered.clear();
        self.answers_remembered_in_all = Default::default();
        self.restored = Some(Arc::clone(restoration));
    }

    /// One that was deleted after the backup would be sent events again.
    fn disable_webhooks(&mut self, at: Millis) {
        let enabled = self.webhooks.values().filter(|webhook| webhook.disabled.is_none());
        let disabled: Vec<_> = enabled
            .map(|known| {
                let position =
                    self.outboxes.get(&known.id).map_or(0, |outbox| outbox.progress.position);
                let mut webhook = Webhook::clone(known);
                webhook.remember_choice(self.chain_end(known.tenant), position);
                webhook.disabled = Some((DisabledReason::Restored, at));
                webhook.updated_at = at;
                Arc::new(webhook)
            })
            .collect();
        disabled.into_iter().for_each(|webhook| self.put_webhook(webhook));
    }

    /// One that was lost after the backup is found out as soon as somebody looks.
    fn look_at_domains_again(&mut self) {
        let looked_at = self.domains.values().filter(|domain| domain.last_checked_at.is_some());
        let due: Vec<_> = looked_at
            .map(|domain| Arc::new(DnsDomain { last_checked_at: None, ..DnsDomain::clone(domain) }))
            .collect();
        due.into_iter().for_each(|domain| self.put_domain(domain));
    }
}
