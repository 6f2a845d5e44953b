//! Nonces: a signed request counts once in the cluster.
//!
//! The window in which a signature counts is judged by the log's time, and a nonce is remembered
//! for longer than that. It is used up whatever becomes of the request, refusals included, unless
//! the node itself has to try again. Must not know signatures.

use super::{
    Agent, AgentId, Fact, Hash, Level, Millis, Refusal, SignedRequest, State, Tenant,
    state::seconds,
};
use crate::limits;

/// Checks an agent's signature on a request; the fact that its nonce is used up.
///
/// # Errors
///
/// When it was made with another key, too long ago, in the future, or seen before.
pub(super) fn admit(
    state: &State,
    at: Millis,
    agent: &Agent,
    signed: Option<&SignedRequest>,
) -> Result<Option<Fact>, Refusal> {
    let Some(signed) = signed else {
        return if agent.require_signature {
            Err(Refusal::SignatureRequired(()))
        } else {
            Ok(None)
        };
    };
    if signed.key_epoch != agent.key_epoch {
        return Err(Refusal::AgentKeyReplaced(()));
    }
    let now = seconds(at);
    let from = signed.created_s.saturating_sub(limits::ISSUED_AT_SKEW_MAX_S);
    let window_ends = signed.created_s.saturating_add(limits::SIGNATURE_WINDOW_S);
    let is_in_time = (from..=window_ends).contains(&now)
        && signed.expires_s.is_none_or(|end| now < end)
        && state.outlives_restoration(signed.created_s);
    if !is_in_time {
        return Err(Refusal::SignatureOutOfTime(now));
    }
    let seen = state.nonces.get(&agent.id);
    if seen.is_some_and(|seen| seen.contains_key(&signed.nonce)) {
        return Err(Refusal::NonceUsed(()));
    }
    if seen.map_or(0, imbl::OrdMap::len) >= limits::NONCES_PER_AGENT_MAX {
        return Err(Refusal::too_many(
            "signed requests of this agent in the last minutes",
            limits::NONCES_PER_AGENT_MAX as u64,
        ));
    }
    if state.level >= Level::BOUNDED {
        check_room(state, agent.tenant)?;
    }
    let until = window_ends.saturating_add(limits::NONCE_MARGIN_S).saturating_mul(1000);
    Ok(Some(Fact::NonceUsed { agent: agent.id, nonce: signed.nonce, until }))
}

fn check_room(state: &State, tenant: Tenant) -> Result<(), Refusal> {
    let bounds = [
        (
            state.nonces_of(tenant),
            limits::NONCES_PER_TENANT_MAX,
            "signed requests of this environment in the last minutes",
        ),
        (
            state.nonce_ends.len() as u64,
            limits::NONCES_MAX as u64,
            "signed requests in the cluster in the last minutes",
        ),
    ];
    match bounds.into_iter().find(|(number, limit, _)| number >= limit) {
        Some((_, limit, what)) => Err(Refusal::too_many(what, limit)),
        None => Ok(()),
    }
}

impl State {
    /// How many nonces are remembered of a tenant's agents.
    pub(super) fn nonces_of(&self, tenant: Tenant) -> u64 {
        self.nonces_of_tenant.get(&tenant).copied().unwrap_or(0)
    }

    fn count_nonce(&mut self, agent: AgentId, count: impl Fn(u64) -> u64) {
        let Some(tenant) = self.tenant_of(agent) else { return };
        match count(self.nonces_of(tenant)) {
            0 => self.nonces_of_tenant.remove(&tenant),
            number => self.nonces_of_tenant.insert(tenant, number),
        };
    }

    pub(crate) fn put_nonce(&mut self, agent: AgentId, nonce: Hash, until: Millis) {
        self.drop_nonce(agent, nonce);
        self.count_nonce(agent, |number| number.saturating_add(1));
        self.nonces.entry(agent).or_default().insert(nonce, until);
        self.nonce_ends.insert((until, agent, nonce));
    }

    pub(super) fn drop_nonce(&mut self, agent: AgentId, nonce: Hash) {
        let Some(of_agent) = self.nonces.get_mut(&agent) else { return };
        let Some(until) = of_agent.remove(&nonce) else { return };
        if of_agent.is_empty() {
            self.nonces.remove(&agent);
        }
        self.nonce_ends.remove(&(until, agent, nonce));
        self.count_nonce(agent, |number| number.saturating_sub(1));
    }

    pub(super) fn stale_nonces(&self, at: Millis) -> impl Iterator<Item = Fact> {
        self.nonce_ends
            .iter()
            .take_while(move |(until, ..)| *until <= at)
            .map(|(_, agent, nonce)| Fact::NonceForgotten(*agent, *nonce))
    }
}
