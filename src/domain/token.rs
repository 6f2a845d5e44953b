//! Tokens: issue, revoke, expire.
//!
//! A token lives from its issue until it is revoked or expires; an id is never reused. What
//! verification needs of a token is its [`LiveToken`], kept small and found by the SHA-256 of the
//! token's bytes; what a list shows is its [`TokenDetails`]. A record stays a margin past its
//! expiry, so that a revocation is not forgotten early. Knows nothing of clocks, signatures,
//! storage or HTTP, and never sees the token itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    AgentId, ApprovalId, Decision, Event, Fact, Hash, IssueToken, Kind, Millis, Outcome, Quota,
    Refusal, Seconds, SigningKeyId, State, Tenant, TokenId, TokenRef, TokenRevoked, billing,
    caller::Caller,
    nonce,
    state::seconds,
    text::invalid,
    token_request::{Request, using_up},
};
use crate::{limits, token::scope};

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
    /// Which key signed it, its `kid`.
    pub signing_key: SigningKeyId,
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

const KIND: Kind = Kind::Token(());

pub(super) fn issue(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    new: &IssueToken,
) -> Result<Decision, Refusal> {
    let agent = super::agent::find(state, caller, new.agent)?;
    let signing_key = state.signing_key(new.signing_key).ok_or(Refusal::SigningKeyDead(()))?;
    let details = TokenDetails {
        id: new.id,
        agent: new.agent,
        hash: new.hash,
        signing_key: new.signing_key,
        scope: new.scope.as_slice().into(),
        target_service: new.target_service.as_str().into(),
        intent: new.intent.clone(),
        issued_at: new.issued_at,
        expires_at: new.expires_at,
    };
    if let Some(decision) = issued_before(state, &details, signing_key.number)? {
        return Ok(decision);
    }
    if let Some(outcome) = state.declined_before(&new.id.0) {
        return Ok(Decision::unchanged(outcome));
    }
    let nonce = nonce::admit(state, at, agent, new.signed.as_ref())?;
    let request = Request::of_grant(agent, new);
    let expires_at = check_times(seconds(at), new.issued_at, new.expires_at)?;
    request.fence(state, at)?;
    if !signing_key.may_sign() {
        return Err(Refusal::SigningKeyDead(()));
    }
    let nonce = nonce.map(|fact| Event { chain: agent.tenant, fact });
    let live = LiveToken {
        id: new.id,
        agent: new.agent,
        signing_key: signing_key.number,
        token_epoch: agent.token_epoch,
        expires_at,
        revoked: false,
    };
    using_up(nonce, grant(state, at, &request, new.approval, live, details))
}

/// Issues the token, unless the policies or a bound are against it.
fn grant(
    state: &State,
    at: Millis,
    request: &Request<'_>,
    approval: Option<ApprovalId>,
    live: LiveToken,
    details: TokenDetails,
) -> Result<Decision, Refusal> {
    request.check(state)?;
    let agent = request.agent;
    check_room(state, agent.tenant)?;
    billing::check(state, at, agent.tenant.org, Quota::TokensPerMonth)?;
    let facts = match request.grant(state, at, approval, live.id)? {
        Ok(facts) => facts,
        Err(throttled) => return Ok(throttled),
    };
    let details = Arc::new(details);
    let count = state.one_more_token(agent.tenant.org, at);
    let issued = Fact::TokenIssued(Arc::clone(&details), live, count);
    let chain = agent.tenant;
    let events = facts.into_iter().chain([issued]).map(|fact| Event { chain, fact }).collect();
    Ok(Decision { events, outcome: Outcome::TokenIssued(details) })
}

/// The decision when this token was issued already; a refusal when its id or its bytes belong to
/// another. Equal bytes are equal claims, so the record alone tells.
fn issued_before(
    state: &State,
    new: &TokenDetails,
    signing_key: u32,
) -> Result<Option<Decision>, Refusal> {
    let Some(hash) = state.token_ids.get(&new.id) else {
        return match state.tokens.get(&new.hash) {
            Some(_) => Err(Refusal::IdTaken(KIND)),
            None => Ok(None),
        };
    };
    let same_record = *hash == new.hash
        && state.tokens.get(hash).is_some_and(|record| {
            record.agent == new.agent
                && record.signing_key == signing_key
                && u64::from(record.expires_at) == new.expires_at
        });
    let listed = state.token_lists.get(new.agent, signing_key, new.id);
    if !same_record || listed.is_some_and(|listed| **listed != *new) {
        return Err(Refusal::IdTaken(KIND));
    }
    Ok(Some(Decision::unchanged(Outcome::TokenIssued(Arc::new(new.clone())))))
}

pub(super) fn check_scope(scope: &[String]) -> Result<(), Refusal> {
    if scope.is_empty() || scope.len() > limits::SCOPES_MAX {
        return Err(invalid("scope", format!("must hold 1 to {} scopes", limits::SCOPES_MAX)));
    }
    for (place, one) in scope.iter().enumerate() {
        if one.len() > limits::SCOPE_MAX_BYTES || !scope::is_valid(one) {
            return Err(invalid(
                "scope",
                format!(
                    "entry {place} is not name(.name)* of letters, digits, _, - and :, the last \
                     one possibly *, of at most {} bytes",
                    limits::SCOPE_MAX_BYTES
                ),
            ));
        }
        if scope[..place].contains(one) {
            return Err(invalid("scope", format!("entry {place} is there twice")));
        }
    }
    Ok(())
}

pub(super) fn check_ttl(ttl: Seconds) -> Result<(), Refusal> {
    match ttl {
        0 => Err(invalid("ttl", "must be at least 1 second")),
        1..=limits::TTL_MAX_S => Ok(()),
        _ => Err(Refusal::TtlTooLong(limits::TTL_MAX_S)),
    }
}

/// The token's expiry as its record holds it.
fn check_times(now: Seconds, issued_at: Seconds, expires_at: Seconds) -> Result<u32, Refusal> {
    check_ttl(expires_at.saturating_sub(issued_at))?;
    // A token that is over before it is issued came late too.
    if issued_at.abs_diff(now) > limits::ISSUED_AT_SKEW_MAX_S || expires_at <= now {
        return Err(Refusal::IssuedAtOff(now));
    }
    u32::try_from(expires_at).map_err(|_| invalid("ttl", "ends after the year 2106"))
}

fn check_room(state: &State, tenant: Tenant) -> Result<(), Refusal> {
    let records = state.token_records.get(&tenant).copied().unwrap_or(0);
    let bounds = [
        (
            state.token_lists.live_of_tenant(tenant),
            limits::LIVE_TOKENS_PER_TENANT_MAX,
            "live tokens in this environment",
        ),
        (state.token_lists.total(), limits::LIVE_TOKENS_MAX, "live tokens in the cluster"),
        (
            records,
            limits::TOKEN_RECORDS_PER_TENANT_MAX,
            "unexpired tokens, revoked ones included, in this environment",
        ),
        (
            state.tokens.len() as u64,
            limits::TOKEN_RECORDS_MAX,
            "unexpired tokens, revoked ones included, in the cluster",
        ),
    ];
    match bounds.into_iter().find(|(number, limit, _)| number >= limit) {
        Some((_, limit, what)) => Err(Refusal::too_many(what, limit)),
        None => Ok(()),
    }
}

/// A token that was revoked before stays as it is and is answered with when that was.
pub(super) fn revoke(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    token: TokenRef,
) -> Result<Decision, Refusal> {
    let tenant = caller.tenant()?;
    let hash = match &token {
        TokenRef::Id(id) => state.token_ids.get(id),
        TokenRef::Hash(hash) => Some(hash),
    };
    let (hash, record) = hash
        .and_then(|hash| Some((*hash, state.tokens.get(hash)?)))
        .filter(|(_, record)| state.tenant_of(record.agent) == Some(tenant))
        .ok_or(Refusal::NotFound(KIND))?;
    let id = record.id;
    let outcome = |at| Outcome::TokenRevoked(TokenRevoked { id, at });
    if record.revoked {
        let revoked_at = state.token_revoked_at.get(&id).copied().unwrap_or(at);
        return Ok(Decision::unchanged(outcome(revoked_at)));
    }
    let fact = Fact::TokenRevoked { id, agent: record.agent, hash, revoked_at: at };
    Ok(Decision::one(tenant, fact, outcome(at)))
}

impl State {
    pub(super) fn tenant_of(&self, agent: AgentId) -> Option<Tenant> {
        self.agents.get(&agent).map(|agent| agent.tenant)
    }

    pub(crate) fn put_token(&mut self, hash: Hash, record: LiveToken) {
        if let Some(tenant) = self.tenant_of(record.agent)
            && self.tokens.insert(hash, record).is_none()
        {
            self.token_ids.insert(record.id, hash);
            self.token_expiry.insert((record.expires_at, hash));
            *self.token_records.entry(tenant).or_default() += 1;
        }
    }

    pub(crate) fn list_token(&mut self, details: Arc<TokenDetails>) {
        if let Some(tenant) = self.tenant_of(details.agent)
            && let Some(number) = self.signing_key_numbers.get(&details.signing_key)
        {
            self.token_lists.insert(tenant, *number, details);
        }
    }

    pub(super) fn mark_token_revoked(&mut self, id: TokenId, hash: Hash, at: Millis) {
        self.unlist_token(&hash);
        if let Some(record) = self.tokens.get_mut(&hash) {
            record.revoked = true;
            self.token_revoked_at.insert(id, at);
        }
    }

    fn unlist_token(&mut self, hash: &Hash) {
        if let Some(record) = self.tokens.get(hash)
            && let Some(tenant) = self.tenant_of(record.agent)
        {
            self.token_lists.remove(tenant, record.agent, record.signing_key, record.id);
        }
    }

    pub(super) fn unlist_expired_token(&mut self, hash: Hash) {
        self.unlist_token(&hash);
        if let Some(record) = self.tokens.get(&hash) {
            self.expired_through = self.expired_through.max((record.expires_at, hash));
        }
    }

    pub(super) fn drop_token(&mut self, id: TokenId, hash: Hash) {
        self.unlist_token(&hash);
        let Some(record) = self.tokens.remove(&hash) else { return };
        self.token_ids.remove(&id);
        self.token_revoked_at.remove(&id);
        self.token_expiry.remove(&(record.expires_at, hash));
        if let Some(tenant) = self.tenant_of(record.agent) {
            let left = self.token_records.get(&tenant).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                self.token_records.remove(&tenant);
            } else {
                self.token_records.insert(tenant, left);
            }
        }
    }

    /// The live token with this id, if `tenant` has it.
    pub fn token(&self, tenant: Tenant, id: TokenId) -> Option<Arc<TokenDetails>> {
        let record = self.tokens.get(self.token_ids.get(&id)?)?;
        if self.tenant_of(record.agent)? != tenant {
            return None;
        }
        self.token_lists.get(record.agent, record.signing_key, id).cloned()
    }

    /// A page of a tenant's live tokens, newest first, of one agent or of all, and how many there
    /// are. An agent of another tenant has none.
    pub fn tokens_page(
        &self,
        tenant: Tenant,
        agent: Option<AgentId>,
        offset: usize,
        limit: usize,
    ) -> (Vec<Arc<TokenDetails>>, u64) {
        let lists = &self.token_lists;
        match agent {
            None => (lists.page_of_tenant(tenant, offset, limit), lists.live_of_tenant(tenant)),
            Some(agent) if self.tenant_of(agent) == Some(tenant) => {
                (lists.page_of_agent(agent, offset, limit), lists.live_of_agent(agent))
            }
            Some(_) => (Vec::new(), 0),
        }
    }
}
