//! What granting and declining a token request have in common: the fence round the verdict, the
//! throttles, the approval; and declining itself.
//!
//! Policies were evaluated outside; here a verdict counts only if nothing that it was made from has
//! changed and it is fresh. Must not know signing keys or tokens' bytes.

use std::sync::Arc;

use super::{
    Agent, AgentStatus, Approval, ApprovalId, ApprovalStatus, Decision, DeclineToken, Denial,
    DenialReason, Effect, End, Event, Fact, IssueToken, Judged, Kind, Millis, Outcome, Refusal,
    RuleRef, Seconds, State, Throttled, TokenId, approval,
    caller::Caller,
    declined::{self, RequestId},
    nonce, text,
    text::invalid,
    throttle::{self, Passage},
};
use crate::limits;

/// A token request, granted or declined.
pub(super) struct Request<'a> {
    pub(super) agent: &'a Arc<Agent>,
    pub(super) scope: &'a [String],
    pub(super) ttl_s: Seconds,
    pub(super) target_service: &'a str,
    pub(super) intent: Option<&'a str>,
    pub(super) judged: &'a Judged,
    /// The id that was minted for it.
    pub(super) id: RequestId,
}

impl<'a> Request<'a> {
    pub(super) fn of_grant(agent: &'a Arc<Agent>, new: &'a IssueToken) -> Self {
        Self {
            agent,
            scope: &new.scope,
            ttl_s: new.expires_at.saturating_sub(new.issued_at),
            target_service: &new.target_service,
            intent: new.intent.as_deref(),
            judged: &new.judged,
            id: new.id.0,
        }
    }

    /// Refuses a verdict that is old, or was made from what has changed since.
    pub(super) fn fence(&self, state: &State, at: Millis) -> Result<(), Refusal> {
        let tenant = self.agent.tenant;
        let is_current = self.judged.policy_epoch == state.policy_epoch(tenant)
            && self.judged.at.abs_diff(at) <= limits::VERDICT_AGE_MAX_MS
            // Without policies, nothing of the agent was looked at.
            && (!state.policies_by_tenant.contains_key(&tenant)
                || self.judged.agent == state.policy_digest_of(self.agent));
        if is_current { Ok(()) } else { Err(Refusal::Stale(())) }
    }

    /// The agent may ask, and the texts are sound.
    pub(super) fn check(&self, state: &State) -> Result<(), Refusal> {
        if state.is_agent_suspended(self.agent.id) {
            return Err(Refusal::AgentSuspended(()));
        }
        if self.agent.status != AgentStatus::Active {
            return Err(Refusal::AgentNotActive(self.agent.status));
        }
        super::token::check_scope(self.scope)?;
        text::target_service(self.target_service)?;
        text::intent(self.intent)
    }

    /// The approval that `rule` asks for, as it would be asked for now.
    fn approval(
        &self,
        state: &State,
        at: Millis,
        id: ApprovalId,
        place: RuleRef,
    ) -> Result<Approval, Refusal> {
        let rule = state.rule(self.agent.tenant, place).ok_or(Refusal::Stale(()))?;
        let Effect::RequireApproval(effect) = rule.effect else { return Err(Refusal::Stale(())) };
        let rule_digest = state.rule_digest(place).ok_or(Refusal::Stale(()))?;
        Ok(Approval {
            id,
            tenant: self.agent.tenant,
            agent: self.agent.id,
            scope: self.scope.to_vec(),
            ttl_s: self.ttl_s,
            target_service: self.target_service.to_owned(),
            intent: self.intent.map(str::to_owned),
            rule: place,
            rule_digest,
            asked_by: std::collections::BTreeSet::new(),
            status: ApprovalStatus::Pending,
            created_at: at,
            expires_at: at.saturating_add(effect.approval_ttl_s.saturating_mul(1000)),
            answered_by: None,
            answered_at: None,
            token: None,
        })
    }

    /// What is counted and collected when the request is granted as `token`, in order; or the
    /// decision that a throttle makes instead.
    pub(super) fn grant(
        &self,
        state: &State,
        at: Millis,
        collected: Option<ApprovalId>,
        token: TokenId,
    ) -> Result<Result<Vec<Fact>, Decision>, Refusal> {
        let mut facts = match throttle::ask(state, at, self.agent, &self.judged.verdict)? {
            Passage::Through(counted) => counted,
            Passage::Stopped(by) => return Ok(Err(self.throttled(at, by))),
        };
        match (self.judged.verdict.end, collected) {
            (End::Allow(_), None) => {}
            // Nothing asks for it any more.
            (End::Allow(_), Some(_)) => return Err(Refusal::ApprovalStale(())),
            (End::RequireApproval(rule), Some(id)) => {
                let asked = self.approval(state, at, id, rule)?;
                facts.push(approval::collect(state, at, id, &asked, token)?);
            }
            (End::RequireApproval(_), None) | (End::Deny(_), _) => {
                return Err(invalid("judged", "does not grant the request"));
            }
        }
        Ok(Ok(facts))
    }

    fn throttled(&self, at: Millis, by: Throttled) -> Decision {
        let reason = DenialReason::Throttled(by);
        Decision::one(self.agent.tenant, self.denied(at, reason), Outcome::TokenThrottled(by))
    }

    fn denied(&self, at: Millis, reason: DenialReason) -> Fact {
        Fact::TokenDenied(Arc::new(Denial {
            agent: self.agent.id,
            scope: self.scope.to_vec(),
            ttl_s: self.ttl_s,
            target_service: self.target_service.to_owned(),
            intent: self.intent.map(str::to_owned),
            reason,
            request: self.id,
            remembered_until: declined::remembered_until(at),
        }))
    }
}

/// Puts the fact that a request's nonce is used up before whatever else comes of it, be that a
/// refusal.
pub(super) fn using_up(
    nonce: Option<Event>,
    came: Result<Decision, Refusal>,
) -> Result<Decision, Refusal> {
    let Some(nonce) = nonce else { return came };
    let mut decision =
        came.unwrap_or_else(|refusal| Decision::unchanged(Outcome::Refused(refusal)));
    decision.events.insert(0, nonce);
    Ok(decision)
}

pub(super) fn decline(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    new: &DeclineToken,
) -> Result<Decision, Refusal> {
    let agent = super::agent::find(state, caller, new.agent)?;
    let asker = caller.api_key().ok_or(Refusal::NotFound(Kind::Agent(())))?.id;
    let request = Request {
        agent,
        scope: &new.scope,
        ttl_s: new.ttl_s,
        target_service: &new.target_service,
        intent: new.intent.as_deref(),
        judged: &new.judged,
        id: new.id.0,
    };
    if let Some(known) = state.approvals.get(&new.id)
        && known.tenant == agent.tenant
    {
        // Proposed again.
        return Ok(Decision::unchanged(Outcome::ApprovalPending(Arc::clone(known))));
    }
    if let Some(outcome) = state.declined_before(&new.id.0) {
        return Ok(Decision::unchanged(outcome));
    }
    let nonce = nonce::admit(state, at, agent, new.signed.as_ref())?;
    let nonce = nonce.map(|fact| Event { chain: agent.tenant, fact });
    request.fence(state, at)?;
    using_up(nonce, refuse_or_ask(state, at, asker, &request, new.id))
}

fn refuse_or_ask(
    state: &State,
    at: Millis,
    asker: super::ApiKeyId,
    request: &Request<'_>,
    id: ApprovalId,
) -> Result<Decision, Refusal> {
    request.check(state)?;
    super::token::check_ttl(request.ttl_s)?;
    if let Passage::Stopped(by) = throttle::ask(state, at, request.agent, &request.judged.verdict)?
    {
        return Ok(request.throttled(at, by));
    }
    match request.judged.verdict.end {
        End::Allow(_) => Err(invalid("judged", "grants the request")),
        End::Deny(rule) => {
            let fact = request.denied(at, DenialReason::Policy(rule));
            Ok(Decision::one(request.agent.tenant, fact, Outcome::TokenDenied(rule)))
        }
        End::RequireApproval(rule) => {
            let mut asked = request.approval(state, at, id, rule)?;
            asked.asked_by.insert(asker);
            approval::request(state, at, asker, asked)
        }
    }
}
