//! Agents: whom tokens are issued to.
//!
//! An agent is active, paused or revoked; revoked is final. A paused agent gets no token and none
//! of its tokens verifies until it is active again. Two counters stand for what happened at once
//! to many things: `token_epoch` moves when all its tokens die, `key_epoch` when its key is
//! replaced. Knows nothing of secret keys.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    AgentId, AgentTokensRevoked, CreateAgent, Decision, Event, Fact, Hash, Kind, Level, Millis,
    Outcome, Permission, Quota, Refusal, RotateAgentKey, State, Tenant, UpdateAgent, billing,
    caller::Caller, change::set, merge, text,
};
use crate::{
    codec::{self, stored_tags},
    limits,
};

stored_tags! {
    /// Whether an agent may act.
    pub enum AgentStatus {
        /// May be issued tokens.
        1 => Active = "active",
        /// Gets none, and has none valid, for now.
        2 => Paused = "paused",
        /// Gets none ever again.
        3 => Revoked = "revoked",
    }
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its name, for people.
    pub name: String,
    /// The team or service that owns it.
    pub owner: String,
    /// What it is for.
    pub description: Option<String>,
    /// For example `openai`.
    pub model_provider: Option<String>,
    /// For example `gpt-4`.
    pub model_name: Option<String>,
    /// For example `langchain`.
    pub framework: Option<String>,
    /// What else its owner wants to remember of it.
    pub metadata: BTreeMap<String, String>,
    /// The public half of its Ed25519 key.
    pub public_key: [u8; 32],
    /// Whether it must sign its token requests.
    pub require_signature: bool,
    /// Whether it may act.
    pub status: AgentStatus,
    /// A token is dead when its record's epoch is not this one.
    pub token_epoch: u32,
    /// Moves whenever the key is replaced.
    pub key_epoch: u32,
    /// When it was created.
    pub created_at: Millis,
    /// When it was last changed.
    pub updated_at: Millis,
    /// When it was revoked.
    pub revoked_at: Option<Millis>,
}

impl Agent {
    /// Digest of everything that policies see of the agent: a verdict on a request stands while
    /// this does.
    pub fn policy_digest(&self) -> Hash {
        let seen = (
            (self.id, &self.name, &self.owner, &self.description),
            (&self.model_provider, &self.model_name, &self.framework, &self.metadata),
        );
        Sha256::digest(codec::encode(&seen)).into()
    }

    /// Digest of everything that an approver sees of the agent: an approval stands while this does.
    pub fn approver_digest(&self) -> Hash {
        let seen = (self.policy_digest(), self.public_key, self.require_signature);
        Sha256::digest(codec::encode(&seen)).into()
    }
}

const KIND: Kind = Kind::Agent(());

pub(super) fn create(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    new: &CreateAgent,
) -> Result<Decision, Refusal> {
    let tenant = caller.tenant()?;
    let agent = Agent {
        id: new.id,
        tenant,
        name: new.name.clone(),
        owner: new.owner.clone(),
        description: new.description.clone(),
        model_provider: new.model_provider.clone(),
        model_name: new.model_name.clone(),
        framework: new.framework.clone(),
        metadata: new.metadata.clone(),
        public_key: new.public_key,
        require_signature: new.require_signature,
        status: AgentStatus::Active,
        token_epoch: 0,
        key_epoch: 0,
        created_at: at,
        updated_at: at,
        revoked_at: None,
    };
    check_texts(&agent)?;
    if let Some(known) = state.agents.get(&new.id) {
        return if is_made_by(known, &agent) {
            Ok(Decision::unchanged(Outcome::Agent(Arc::clone(known))))
        } else {
            Err(Refusal::IdTaken(KIND))
        };
    }
    if state.agents_of(tenant) >= limits::AGENTS_PER_TENANT_MAX {
        return Err(Refusal::too_many(
            "agents in this environment",
            limits::AGENTS_PER_TENANT_MAX as u64,
        ));
    }
    billing::check(state, at, tenant.org, Quota::Agents)?;
    let agent = Arc::new(agent);
    Ok(Decision::one(tenant, Fact::AgentCreated(Arc::clone(&agent)), Outcome::Agent(agent)))
}

/// Whether `known` was made by the command that would make `new`. Once it has been changed, only
/// its tenant can tell.
fn is_made_by(known: &Agent, new: &Agent) -> bool {
    if known.updated_at != known.created_at {
        return known.tenant == new.tenant;
    }
    let as_of_then =
        Agent { created_at: known.created_at, updated_at: known.updated_at, ..new.clone() };
    *known == as_of_then
}

fn check_texts(agent: &Agent) -> Result<(), Refusal> {
    text::name("name", &agent.name)?;
    text::name("owner", &agent.owner)?;
    text::description("description", agent.description.as_deref())?;
    text::description("model_provider", agent.model_provider.as_deref())?;
    text::description("model_name", agent.model_name.as_deref())?;
    text::description("framework", agent.framework.as_deref())?;
    if agent.metadata.len() > limits::METADATA_ENTRIES_MAX {
        return Err(text::invalid(
            "metadata",
            format!(
                "has {} entries, at most {} fit",
                agent.metadata.len(),
                limits::METADATA_ENTRIES_MAX
            ),
        ));
    }
    agent.metadata.iter().try_for_each(|(key, value)| text::metadata_entry(key, value))
}

/// The agent, if the caller's tenant has it.
pub(super) fn find<'a>(
    state: &'a State,
    caller: Caller<'_>,
    id: AgentId,
) -> Result<&'a Arc<Agent>, Refusal> {
    let tenant = caller.tenant()?;
    state.agents.get(&id).filter(|agent| agent.tenant == tenant).ok_or(Refusal::NotFound(KIND))
}

fn find_unrevoked<'a>(
    state: &'a State,
    caller: Caller<'_>,
    id: AgentId,
) -> Result<&'a Arc<Agent>, Refusal> {
    let agent = find(state, caller, id)?;
    match agent.status {
        AgentStatus::Revoked => Err(Refusal::AgentNotActive(agent.status)),
        AgentStatus::Active | AgentStatus::Paused => Ok(agent),
    }
}

pub(super) fn update(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    change: &UpdateAgent,
) -> Result<Decision, Refusal> {
    let old = find_unrevoked(state, caller, change.id)?;
    if change.require_signature == Some(false) {
        check_credentials(state, caller, old)?;
    }
    let mut agent = Agent::clone(old);
    let mut events = Vec::new();
    let changed = change_fields(&mut agent, change);
    check_texts(&agent)?;
    if !changed.is_empty() {
        agent.updated_at = at;
        events.push(Fact::AgentUpdated(Arc::new(agent.clone()), changed));
    }
    let status = match change.paused {
        Some(true) => AgentStatus::Paused,
        Some(false) => AgentStatus::Active,
        None => agent.status,
    };
    if status != agent.status {
        agent.status = status;
        agent.updated_at = at;
        let now = Arc::new(agent.clone());
        events.push(match status {
            AgentStatus::Paused => Fact::AgentPaused(now),
            AgentStatus::Active | AgentStatus::Revoked => Fact::AgentActivated(now),
        });
    }
    let chain = agent.tenant;
    Ok(Decision {
        events: events.into_iter().map(|fact| Event { chain, fact }).collect(),
        outcome: Outcome::Agent(Arc::new(agent)),
    })
}

/// An agent that must sign is guarded against keys that change agents and issue tokens: whoever lifts
/// that, or replaces the key that signs, may also write API keys.
fn check_credentials(state: &State, caller: Caller<'_>, agent: &Agent) -> Result<(), Refusal> {
    let needed = Permission::ApiKeysWrite;
    let holds = caller.api_key().is_none_or(|key| key.permissions.contains(needed));
    if holds || !agent.require_signature || state.level < Level::BOUNDED {
        return Ok(());
    }
    Err(Refusal::Forbidden(format!(
        "this agent must sign its token requests; lifting that, or replacing its key, takes the \
         permission {} too",
        needed.as_str()
    )))
}

fn change_fields(agent: &mut Agent, change: &UpdateAgent) -> Vec<&'static str> {
    let mut changed = Vec::new();
    if let Some(value) = &change.name {
        set(&mut agent.name, value, "name", &mut changed);
    }
    if let Some(value) = &change.owner {
        set(&mut agent.owner, value, "owner", &mut changed);
    }
    if let Some(value) = &change.description {
        set(&mut agent.description, value, "description", &mut changed);
    }
    if let Some(value) = &change.model_provider {
        set(&mut agent.model_provider, value, "model_provider", &mut changed);
    }
    if let Some(value) = &change.model_name {
        set(&mut agent.model_name, value, "model_name", &mut changed);
    }
    if let Some(value) = &change.framework {
        set(&mut agent.framework, value, "framework", &mut changed);
    }
    if let Some(patch) = &change.metadata {
        let merged = merge_metadata(&agent.metadata, patch.as_ref());
        set(&mut agent.metadata, &merged, "metadata", &mut changed);
    }
    if let Some(value) = &change.require_signature {
        set(&mut agent.require_signature, value, "require_signature", &mut changed);
    }
    changed
}

/// RFC 7396: entries are set, or removed where null; null as a whole clears.
fn merge_metadata(
    old: &BTreeMap<String, String>,
    patch: Option<&BTreeMap<String, Option<String>>>,
) -> BTreeMap<String, String> {
    let Some(patch) = patch else { return BTreeMap::new() };
    let mut merged = old.clone();
    for (key, value) in patch {
        match value {
            Some(value) => merged.insert(key.clone(), value.clone()),
            None => merged.remove(key),
        };
    }
    merged
}

pub(super) fn rotate_key(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    change: &RotateAgentKey,
) -> Result<Decision, Refusal> {
    let old = find_unrevoked(state, caller, change.id)?;
    if old.public_key == change.public_key {
        return Ok(Decision::unchanged(Outcome::Agent(Arc::clone(old))));
    }
    check_credentials(state, caller, old)?;
    if state.is_retired(&change.public_key) {
        return Err(text::invalid("public_key", "was replaced a short while ago"));
    }
    let agent = Arc::new(Agent {
        public_key: change.public_key,
        key_epoch: next_epoch(old.key_epoch)?,
        updated_at: at,
        ..Agent::clone(old)
    });
    Ok(Decision::one(
        agent.tenant,
        Fact::AgentKeyRotated { agent: Arc::clone(&agent), old_key: old.public_key },
        Outcome::Agent(agent),
    ))
}

fn next_epoch(epoch: u32) -> Result<u32, Refusal> {
    epoch
        .checked_add(1)
        .ok_or_else(|| Refusal::too_many("key or token changes of this agent", u32::MAX.into()))
}

/// All live tokens die. When none lives, nothing happens.
pub(super) fn revoke_tokens(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    id: AgentId,
) -> Result<Decision, Refusal> {
    let old = find(state, caller, id)?;
    let live = state.token_lists.live_of_agent(id);
    let outcome = |tokens_invalidated| {
        Outcome::AgentTokensRevoked(AgentTokensRevoked { agent: id, at, tokens_invalidated })
    };
    if live == 0 {
        return Ok(Decision::unchanged(outcome(0)));
    }
    let agent = Arc::new(Agent {
        token_epoch: next_epoch(old.token_epoch)?,
        updated_at: at,
        ..Agent::clone(old)
    });
    Ok(Decision::one(agent.tenant, Fact::AgentTokensRevoked(agent, live), outcome(live)))
}

pub(super) fn revoke(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    id: AgentId,
) -> Result<Decision, Refusal> {
    let old = find(state, caller, id)?;
    let live = state.token_lists.live_of_agent(id);
    let outcome = |at, tokens_invalidated| {
        Outcome::AgentTokensRevoked(AgentTokensRevoked { agent: id, at, tokens_invalidated })
    };
    if old.status == AgentStatus::Revoked {
        return Ok(Decision::unchanged(outcome(old.revoked_at.unwrap_or(old.updated_at), 0)));
    }
    let agent = Arc::new(Agent {
        status: AgentStatus::Revoked,
        // Revoked is final, so an epoch that can move no further does no harm.
        token_epoch: old.token_epoch.saturating_add(1),
        updated_at: at,
        revoked_at: Some(at),
        ..Agent::clone(old)
    });
    Ok(Decision::one(agent.tenant, Fact::AgentRevoked(agent, live), outcome(at, live)))
}

impl State {
    pub(crate) fn put_agent(&mut self, agent: Arc<Agent>) {
        let before = self.agents.get(&agent.id).cloned();
        let bytes = self.item_bytes.replace(agent.tenant.org, before.as_deref(), Some(&*agent));
        // Each token request asks for the digest; a small agent's is made on the way.
        match bytes >= limits::AGENT_DIGEST_KEPT_FROM_BYTES {
            true => self.agent_digests.insert(agent.id, agent.policy_digest()),
            false => self.agent_digests.remove(&agent.id),
        };
        let old = before.map(|old| (old.tenant, old.status));
        if old != Some((agent.tenant, agent.status)) {
            if let Some(old) = old
                && let Some(ids) = self.agents_by_status.get_mut(&old)
            {
                ids.remove(&agent.id);
                if ids.is_empty() {
                    self.agents_by_status.remove(&old);
                }
            }
            self.agents_by_status.entry((agent.tenant, agent.status)).or_default().insert(agent.id);
        }
        self.agents.insert(agent.id, agent);
    }

    /// [`Agent::policy_digest`] of an agent of this state.
    pub(super) fn policy_digest_of(&self, agent: &Agent) -> Hash {
        self.agent_digests.get(&agent.id).copied().unwrap_or_else(|| agent.policy_digest())
    }

    fn agents_of(&self, tenant: Tenant) -> usize {
        AgentStatus::ALL
            .iter()
            .filter_map(|status| self.agents_by_status.get(&(tenant, *status)))
            .map(imbl::OrdSet::len)
            .sum()
    }

    /// A page of a tenant's agents, newest first, of one status or of all, and how many there are.
    pub fn agents_page(
        &self,
        tenant: Tenant,
        status: Option<AgentStatus>,
        offset: usize,
        limit: usize,
    ) -> (Vec<Arc<Agent>>, u64) {
        let mut lists: Vec<_> = AgentStatus::ALL
            .iter()
            .filter(|known| status.is_none_or(|wanted| wanted == **known))
            .filter_map(|status| self.agents_by_status.get(&(tenant, *status)))
            .filter_map(|ids| Some((*ids.get_max()?, ids)))
            .collect();
        lists.sort_unstable_by_key(|(newest, _)| std::cmp::Reverse(*newest));
        let total = lists.iter().map(|(_, ids)| ids.len() as u64).sum();
        let ids =
            lists.into_iter().map(|(newest, ids)| (newest, ids.iter().rev().map(|id| (*id, *id))));
        let page = merge::newest(ids, offset, limit)
            .iter()
            .filter_map(|id| self.agents.get(id).cloned())
            .collect();
        (page, total)
    }
}
