//! The verdict on a token.
//!
//! **A hit**, the common path: the SHA-256 of the token's bytes is among those issued. The entry
//! that issued it vouches for every byte, so no signature is looked at; what is left are the
//! states of key, token and agent, the time, and what was asked.
//!
//! **A miss** costs a signature check, only to say why. A token that is well signed and in time but
//! not in this view is [`Verdict::Unseen`]: either it is younger than the view, or a signing key is
//! in wrong hands. The caller waits for the view to catch up, once, and asks [`decide_settled`],
//! which says `not_issued`. Claims that this cluster would never have written need no such wait.
//!
//! Must not know clocks, leases or how a view comes about: the time is handed in.

use std::sync::Arc;

use super::{Reason, View};
use crate::{
    domain::{
        Agent, AgentId, AgentStatus, Environment, LiveToken, OrgId, SigningKeyId, State, TokenId,
    },
    limits::{TOKEN_MAX_BYTES, TTL_MAX_S},
    token::{self, Claims, Parsed, Prefix, scope},
};

/// The `target_service` that fits every target.
const ANY_TARGET: &str = "any";

/// What is asked of a token.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The token, prefix included.
    pub token: &'a str,
    /// Scopes that it must all cover.
    pub required_scope: &'a [String],
    /// The service at which it is used; `None` skips the check. Compared as it stands: a token
    /// for one service does not fit an asker who says `any`.
    pub target_service: Option<&'a str>,
    /// The environment that it must belong to; `None` skips the check.
    pub environment: Option<Environment>,
}

/// What a valid token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Valid {
    /// Its id.
    pub token_id: TokenId,
    /// Whom it was issued to, as that agent is now.
    pub agent: Arc<Agent>,
    /// What it allows: scopes, one space between two.
    pub scope: String,
    /// Where it may be used; `any` is everywhere.
    pub target_service: String,
    /// What it is for, in its asker's words.
    pub intent: Option<String>,
    /// When it was issued, seconds since the Unix epoch.
    pub issued_at: u64,
    /// From when on it is dead, seconds since the Unix epoch.
    pub expires_at: u64,
    /// Domains that the agent's organisation has proved to be its own, sorted; `None` when there
    /// are none.
    pub verified_domains: Option<Arc<[Arc<str>]>>,
}

impl Valid {
    /// The scopes, one by one.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        token::split_scopes(&self.scope)
    }
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Good for what was asked.
    Valid(Valid),
    /// Not good, and no newer view makes it so.
    Invalid(Reason),
    /// Signed well and in time, but not in this view.
    Unseen,
}

/// The verdict of `view` at `now_ms`, this node's wall clock in milliseconds since the Unix epoch.
pub fn decide(view: &View, issuer: &str, now_ms: u64, question: &Question<'_>) -> Verdict {
    if question.token.len() > TOKEN_MAX_BYTES {
        return Verdict::Invalid(Reason::Malformed);
    }
    let state = &view.state;
    // The log's time bounds a wall clock that runs behind; nothing bounds one that runs ahead but
    // that it makes tokens expire early.
    let now_s = now_ms.max(state.clock) / 1_000;
    let verdict = match state.tokens.get(&token::hash(question.token)) {
        Some(live) => judge_hit(state, live, now_s, question).map(Verdict::Valid),
        None => judge_miss(state, issuer, now_s, question.token),
    };
    verdict.unwrap_or_else(Verdict::Invalid)
}

/// The verdict of a view that is known to hold everything issued before the question was asked:
/// what is not in it was never issued.
pub fn decide_settled(view: &View, issuer: &str, now_ms: u64, question: &Question<'_>) -> Verdict {
    match decide(view, issuer, now_ms, question) {
        Verdict::Unseen => Verdict::Invalid(Reason::NotIssued),
        verdict => verdict,
    }
}

fn judge_hit(
    state: &State,
    live: &LiveToken,
    now_s: u64,
    question: &Question<'_>,
) -> Result<Valid, Reason> {
    let key = state.signing_keys.get(&live.signing_key).ok_or(Reason::UnknownKey)?;
    let agent = state.agents.get(&live.agent).ok_or(Reason::AgentRevoked)?;
    if key.revoked_at.is_some() || live.revoked {
        return Err(Reason::Revoked);
    }
    if let Some(reason) = died_with_its_agent(live, agent) {
        return Err(reason);
    }
    if u64::from(live.expires_at) <= now_s {
        return Err(Reason::Expired);
    }
    if agent.status == AgentStatus::Paused {
        return Err(Reason::AgentPaused);
    }
    if question.environment.is_some_and(|asked| asked != agent.tenant.environment) {
        return Err(Reason::WrongEnvironment);
    }
    let mut payload = Vec::new();
    let claims = token::read_claims(question.token, &mut payload).map_err(|_| Reason::Malformed)?;
    if question.target_service.is_some_and(|asked| claims.aud != ANY_TARGET && claims.aud != asked)
    {
        return Err(Reason::WrongTarget);
    }
    let is_granted = |required: &String| claims.scopes().any(|one| scope::covers(one, required));
    if !question.required_scope.iter().all(is_granted) {
        return Err(Reason::InsufficientScope);
    }
    Ok(Valid {
        token_id: live.id,
        agent: Arc::clone(agent),
        scope: claims.scope.into_owned(),
        target_service: claims.aud.into_owned(),
        intent: claims.intent.map(Into::into),
        issued_at: claims.iat,
        expires_at: claims.exp,
        verified_domains: state.verified_domains(agent.tenant.org).cloned(),
    })
}

/// Revoking an agent moves its token epoch one last time. A token of the epoch just before was
/// alive until then, and died with the agent; one of an earlier epoch had died already.
fn died_with_its_agent(live: &LiveToken, agent: &Agent) -> Option<Reason> {
    let is_revoked = agent.status == AgentStatus::Revoked;
    if live.token_epoch == agent.token_epoch {
        return is_revoked.then_some(Reason::AgentRevoked);
    }
    let was_alive = live.token_epoch.checked_add(1) == Some(agent.token_epoch);
    Some(if is_revoked && was_alive { Reason::AgentRevoked } else { Reason::Revoked })
}

fn judge_miss(state: &State, issuer: &str, now_s: u64, token: &str) -> Result<Verdict, Reason> {
    let parsed = token::parse(token).map_err(|_| Reason::Malformed)?;
    let key = parsed
        .kid
        .parse::<SigningKeyId>()
        .ok()
        .and_then(|id| state.signing_key_numbers.get(&id))
        .and_then(|number| state.signing_keys.get(number))
        .ok_or(Reason::UnknownKey)?;
    if !parsed.is_signed_by(&key.public_key) {
        return Err(Reason::BadSignature);
    }
    if key.revoked_at.is_some() {
        return Err(Reason::Revoked);
    }
    let agent = parsed.claims.sub.parse::<AgentId>().ok().and_then(|id| state.agents.get(&id));
    if agent.is_some_and(|agent| agent.status == AgentStatus::Revoked) {
        return Err(Reason::AgentRevoked);
    }
    if parsed.claims.exp <= now_s {
        return Err(Reason::Expired);
    }
    if !could_be_ours(&parsed, issuer, agent.map(Arc::as_ref)) {
        return Err(Reason::NotIssued);
    }
    Ok(Verdict::Unseen)
}

/// Whether this cluster could have written such claims, given the agent that they name if this view
/// has it.
fn could_be_ours(parsed: &Parsed<'_>, issuer: &str, agent: Option<&Agent>) -> bool {
    let Claims { iss, sub, client_id, aud, iat, exp, jti, org, .. } = &parsed.claims;
    iss == issuer
        && sub == client_id
        && !aud.is_empty()
        && sub.parse::<AgentId>().is_ok()
        && jti.parse::<TokenId>().is_ok()
        && org.parse::<OrgId>().is_ok()
        && exp.checked_sub(*iat).is_some_and(|ttl| (1..=TTL_MAX_S).contains(&ttl))
        && agent.is_none_or(|agent| {
            *org == agent.tenant.org.to_string()
                && parsed.prefix == prefix_of(agent.tenant.environment)
        })
}

/// The prefix of the tokens of `environment`.
pub fn prefix_of(environment: Environment) -> Prefix {
    match environment {
        Environment::Live => Prefix::Live,
        Environment::Test => Prefix::Test,
    }
}
