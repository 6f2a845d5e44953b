//! Refusals and failed commands to problems: the only place that gives them a status.
//!
//! Every detail says what happened, why, and what to do. No secret can get here: refusals carry
//! none.

use super::problem::{Code, Extension, FieldError, PlanLimit, Problem};
use crate::{
    actors::{CommandError, DomainCheckError},
    domain::{
        AgentStatus, ApprovalStatus, EventsSpent, Excess, Kind, PlanLimitReached, PlanTooSmall,
        Quota, Refusal, RuleRef, Throttled,
    },
    fair::Full,
    rfc3339,
};

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused(refusal) => refusal.into(),
            CommandError::Unrecoverable => Problem::new(
                Code::IDEMPOTENCY_UNRECOVERABLE,
                "This request was carried out before, and the secret that it was answered can be \
                 shown again only to the API key that asked then, as it was before its rotation. \
                 Nothing was done. Revoke or rotate what was made, or send the request with \
                 another Idempotency-Key.",
            ),
            CommandError::TooLarge { bytes, limit } => Problem::new(
                Code::BODY_TOO_LARGE,
                format!(
                    "As an entry of the log the request has {bytes} bytes; {limit} are allowed. \
                     Send less at once."
                ),
            ),
            CommandError::CountsTooMuch { limit } => Problem::new(
                Code::BODY_TOO_LARGE,
                format!(
                    "As an entry of the log the request counts as more than the {limit} bytes that \
                     are allowed: each text and each list in it counts as 8 bytes more than it \
                     has. Nothing was done. Send fewer parts at once."
                ),
            ),
            CommandError::Unreadable(why) => {
                tracing::error!(%why, "a command would not read back from the log; it is refused");
                Problem::new(
                    Code::NOT_STORABLE,
                    "The request cannot be stored in a form that every node can read back, so it \
                     was refused and nothing was done. Leave out what is unusual in it; the \
                     node's log says more.",
                )
            }
            CommandError::Overloaded => Problem::new(
                Code::OVERLOADED,
                "This node has as many writes under way as it admits. Nothing was done; \
                 try again shortly.",
            ),
            CommandError::Share => Problem::new(
                Code::LIMIT_REACHED,
                "Your organisation has its share of what this node can have under way, and the rest \
                 is kept for others. Nothing was done; wait until some of your requests are \
                 answered.",
            ),
            CommandError::NoQuorum => Problem::new(
                Code::NO_QUORUM,
                "No majority of the cluster's nodes can be reached, so nothing can be written. \
                 Nothing was done; try again, or ask another node.",
            ),
            CommandError::OutcomeUnknown => Problem::new(
                Code::OUTCOME_UNKNOWN,
                "The cluster did not confirm the write in time: it may have been done or not. \
                 Read before you try again. A token or a key that was being made is lost.",
            ),
            CommandError::NotReady(why) => Problem::new(
                Code::NOT_READY,
                format!(
                    "This node cannot do that yet: {why}. Nothing was done; try again shortly."
                ),
            ),
            CommandError::ShuttingDown => shutting_down(),
            CommandError::Failed(why) => {
                tracing::error!(%why, "a command failed on this node");
                Problem::new(
                    Code::NOT_READY,
                    "This node has failed and must be looked after. Ask another node; the node's \
                     log says why.",
                )
            }
        }
    }
}

/// The node is going away.
pub fn shutting_down() -> Problem {
    Problem::new(
        Code::SHUTTING_DOWN,
        "This node is being stopped. Nothing was done; try again, or ask another node.",
    )
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::CallerUnknown(()) => Problem::new(
                Code::INVALID_API_KEY,
                "The key was deleted, disabled, rotated or ran out while the request was under \
                 way. Use a key that works.",
            ),
            Refusal::NotFound(kind) => not_found(kind),
            Refusal::Forbidden(why) => Problem::new(Code::FORBIDDEN, sentence(&why)),
            Refusal::AgentNotActive(status) => agent_not_active(status),
            Refusal::IdTaken(kind) => Problem::new(
                Code::CONFLICT,
                format!(
                    "The id that this node drew for the new {} is taken. Try again.",
                    noun(kind)
                ),
            ),
            Refusal::SigningKeyDead(()) => Problem::new(
                Code::NOT_READY,
                "This node's signing key was just replaced. Nothing was issued; try again.",
            ),
            Refusal::IssuedAtOff(_) => Problem::new(
                Code::NOT_READY,
                "This node's clock is too far from the cluster's, so it may not issue tokens. \
                 Nothing was issued; ask another node, and set this one's clock right.",
            ),
            Refusal::TtlTooLong(most) => Problem::invalid_field(
                "ttl",
                format!("is longer than what is permitted here, {most} seconds"),
            ),
            Refusal::TooMany(reached) => Problem::new(
                Code::LIMIT_REACHED,
                format!(
                    "There may be at most {} {}, and there are as many. Remove some, or wait until \
                     some expire.",
                    reached.limit, reached.what
                ),
            )
            .retry_after(LIMIT_RETRY_AFTER_S),
            Refusal::LastOne(kind) => Problem::new(
                Code::LAST_ONE,
                format!(
                    "This is the last {} there is; without it nobody could get in again. Create \
                     another one first.",
                    noun(kind)
                ),
            ),
            Refusal::Invalid((field, message)) => Problem::invalid_field(field, message),
            Refusal::AgentKeyReplaced(()) => Problem::new(
                Code::AGENT_KEY_REPLACED,
                "The agent's key was replaced while the request was under way. Sign the request \
                 with the new key.",
            ),
            Refusal::SignatureRequired(()) => Problem::new(
                Code::SIGNATURE_REQUIRED,
                "This agent must sign its token requests with its secret key (RFC 9421), and this \
                 one is not signed.",
            ),
            Refusal::Stale(()) => Problem::new(
                Code::NOT_READY,
                "The policies or the agent were changed again and again while the request was \
                 judged. Nothing was issued; try again.",
            ),
            Refusal::SignatureOutOfTime(_) => Problem::new(
                Code::INVALID_SIGNATURE,
                "The request's signature is too old, has run out, or is from the future: it counts \
                 for 60 seconds from its `created`. Sign the request anew, and check your clock.",
            ),
            Refusal::NonceUsed(()) => Problem::new(
                Code::NONCE_USED,
                "A request with this nonce was seen before, and each counts once. Sign the request \
                 anew, with a fresh nonce.",
            ),
            Refusal::ApprovalStale(()) => Problem::new(
                Code::APPROVAL_STALE,
                "The approval stands for the rule that asked and for the agent as it was then, and \
                 one of them has changed since. Ask again, without approval_id; that makes a new \
                 approval.",
            ),
            Refusal::ApprovalNot(status) => approval_not(status),
            Refusal::ApprovalElsewhere(()) => Problem::invalid_field(
                "approval_id",
                "is an approval of another request; send the request exactly as it was approved",
            ),
            Refusal::PoliciesTooExpensive(most) => Problem::invalid_field(
                "rules",
                format!(
                    "would make all active policies together take more than {most} steps to \
                     evaluate; use fewer conditions and patterns, or deactivate a policy"
                ),
            ),
            Refusal::WebhookDisabled(()) => Problem::new(
                Code::WEBHOOK_DISABLED,
                "The webhook is disabled, so nothing is sent to it. Enable it first: PATCH it with \
                 {\"enabled\": true}.",
            ),
            Refusal::WebhookSecretMoved(()) => Problem::new(
                Code::CONFLICT,
                "The webhook's secret was rotated by another request meanwhile. Rotate it again if \
                 you still want to.",
            ),
            Refusal::DomainListed(id) => Problem::new(
                Code::DOMAIN_EXISTS,
                format!(
                    "Your organisation has this domain already, as {id}. Verify that one, or delete \
                     it first."
                ),
            ),
            Refusal::DomainHeld(()) => Problem::new(
                Code::DOMAIN_TAKEN,
                "The record is right, but another organisation has verified this domain, and one at \
                 a time can hold it. It has to delete the domain, or take its own record out of the \
                 DNS, which is noticed within a day; then verify again.",
            ),
            Refusal::DomainCheckStale(()) => Problem::new(
                Code::CONFLICT,
                "The domain was checked again and again by others at the same time. Nothing was \
                 recorded of this check; try again.",
            ),
            Refusal::CallerSuspended(()) => api_key_suspended(),
            Refusal::AgentSuspended(()) => Problem::new(
                Code::AGENT_SUSPENDED,
                "The cluster was restored from a backup, so it is not known what became of the agent \
                 after that was made: it gets no tokens until an operator of the cluster lifts its \
                 suspension (authrai backup lift --agent ID).",
            ),
            Refusal::PlanLimitReached(reached) => plan_limit_reached(reached),
            Refusal::EventsSpent(spent) => events_spent(&spent),
            Refusal::PlanTooSmall(too_small) => plan_too_small(&too_small),
            Refusal::PlanNotSelfService(plan) => Problem::new(
                Code::PLAN_NOT_SELF_SERVICE,
                format!(
                    "An organisation cannot change to the plan {plan} by itself, so nothing was \
                     changed. Ask the operator of this cluster for it, or choose a plan that GET \
                     /v1/billing/plans lists as self_service."
                ),
            ),
            Refusal::IdempotencyKeyReused(()) => Problem::new(
                Code::IDEMPOTENCY_KEY_REUSED,
                "This Idempotency-Key was sent on this route with another body in the last 24 \
                 hours. Nothing was done; send each request with a key of its own.",
            ),
        }
    }
}

/// The key is one of before a restore, and nobody has looked at it since.
pub fn api_key_suspended() -> Problem {
    Problem::new(
        Code::API_KEY_SUSPENDED,
        "The cluster was restored from a backup, so it is not known whether the key was revoked \
         after that was made: it opens nothing until an operator of the cluster lifts its suspension \
         (authrai backup lift --api-key ID). Nothing was done.",
    )
}

/// Limits are freed by expiry, which is a matter of minutes.
const LIMIT_RETRY_AFTER_S: u64 = 60;

/// Nothing of this kind has the id, as far as the caller can see.
pub fn not_found(kind: Kind) -> Problem {
    let noun = noun(kind);
    Problem::new(
        Code::NOT_FOUND,
        format!(
            "There is no such {noun} within reach of this key: the id is wrong, the {noun} is gone, \
             or it belongs to another organisation or environment."
        ),
    )
}

fn agent_not_active(status: AgentStatus) -> Problem {
    match status {
        AgentStatus::Revoked => Problem::new(
            Code::AGENT_REVOKED,
            "The agent is revoked, which is final. Create a new agent.",
        ),
        AgentStatus::Paused => Problem::new(
            Code::AGENT_PAUSED,
            "The agent is paused and gets no tokens. Set its status to active first.",
        ),
        AgentStatus::Active => Problem::new(
            Code::CONFLICT,
            "The agent was activated while the request was under way. Try again.",
        ),
    }
}

fn approval_not(status: ApprovalStatus) -> Problem {
    let (code, detail) = match status {
        ApprovalStatus::Pending => (
            Code::APPROVAL_PENDING,
            "Nobody has answered the approval yet. Wait, or ask an approver.",
        ),
        ApprovalStatus::Approved => (Code::APPROVAL_APPROVED, "The approval is given already."),
        ApprovalStatus::Denied => {
            (Code::APPROVAL_DENIED, "The approval was denied. Ask again, without approval_id.")
        }
        ApprovalStatus::Expired => {
            (Code::APPROVAL_EXPIRED, "The approval has run out. Ask again, without approval_id.")
        }
        ApprovalStatus::Consumed => (
            Code::APPROVAL_CONSUMED,
            "The token was collected, which works once. Ask again, without approval_id.",
        ),
    };
    Problem::new(code, detail)
}

fn plan_limit_reached(reached: PlanLimitReached) -> Problem {
    let PlanLimitReached { quota, limit, usage, plan, upgrade_to } = reached;
    let (what, instead) = match quota {
        Quota::Agents => ("agents", "Revoke one"),
        Quota::TokensPerMonth => ("tokens in a calendar month", "Wait for the next month (UTC)"),
        Quota::Webhooks => ("webhooks", "Remove one"),
        Quota::StateBytes => (
            "bytes of stored data",
            "Delete policies or webhooks, revoke tokens, or wait until tokens expire",
        ),
    };
    let advice = match &upgrade_to {
        Some(better) => {
            format!(
                "{instead}, or change to the plan {better}: with PUT /v1/billing/plan if it is \
                 self_service, and through the operator otherwise."
            )
        }
        None => format!("{instead}; no plan on offer allows more."),
    };
    let detail = format!("The plan {plan} allows {limit} {what}, and {usage} are in use. {advice}");
    let reached = PlanLimit { quota: quota.as_str(), limit, usage, plan, upgrade_to };
    Problem {
        extension: Some(Box::new(Extension::PlanLimit(reached))),
        ..Problem::new(Code::PLAN_LIMIT_REACHED, detail)
    }
}

fn events_spent(spent: &EventsSpent) -> Problem {
    let EventsSpent { limit, usage, plan, retry_after_s } = spent;
    Problem::new(
        Code::EVENT_QUOTA_REACHED,
        format!(
            "The plan {plan} allows {limit} bytes of audit events in a day (UTC), and today's take \
             {usage}. Nothing was done. Wait until the day is over, or change to a larger plan. What \
             takes a right away – revoking, deleting, disabling, pausing – still works."
        ),
    )
    .retry_after(*retry_after_s)
}

fn plan_too_small(too_small: &PlanTooSmall) -> Problem {
    let resets_at = rfc3339::seconds(too_small.period_ends_at / 1000);
    let excess = |excess: &Excess| {
        let Excess { quota, limit, usage } = *excess;
        let over = usage.saturating_sub(limit);
        let message = match quota {
            Quota::Agents => {
                format!("{usage} agents are in use and {limit} are allowed: revoke {over}")
            }
            Quota::TokensPerMonth => format!(
                "{usage} tokens were issued in this month and {limit} are allowed: wait until \
                 {resets_at}"
            ),
            Quota::Webhooks => {
                format!("{usage} webhooks are in use and {limit} are allowed: remove {over}")
            }
            Quota::StateBytes => {
                format!("{usage} bytes of data are stored and {limit} are allowed: remove {over}")
            }
        };
        FieldError { field: quota.as_str().to_owned(), message }
    };
    let errors: Vec<FieldError> = too_small.excess.iter().map(excess).collect();
    let reasons: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    let detail = format!(
        "More is in use than the plan {} allows, so nothing was changed: {}.",
        too_small.plan,
        reasons.join("; ")
    );
    Problem::new(Code::PLAN_TOO_SMALL, detail).with_errors(errors)
}

/// A rule denies a token, or none grants it.
pub fn policy_denied(rule: Option<RuleRef>) -> Problem {
    let detail = match rule {
        Some(RuleRef { policy, rule }) => format!(
            "Rule {rule} of the policy {policy} denies this token. POST /v1/policies/simulate says \
             which rules match."
        ),
        None => "No policy grants this token, and the organisation's default is to deny.".into(),
    };
    Problem::new(Code::POLICY_DENIED, detail).by_policy(rule.map(|rule| rule.policy))
}

/// A throttle lets no more tokens through for now.
pub fn policy_throttled(by: &Throttled) -> Problem {
    let RuleRef { policy, rule } = by.rule;
    let detail = format!(
        "Rule {rule} of the policy {policy} has let through as many tokens as it may for now. Try \
         again in {} seconds.",
        by.retry_after_s
    );
    Problem::new(Code::POLICY_THROTTLED, detail)
        .by_policy(Some(policy))
        .retry_after(by.retry_after_s)
}

/// A domain was not checked, or what was seen was not recorded.
pub fn domain_check_failed(error: DomainCheckError) -> Problem {
    match error {
        DomainCheckError::Command(error) => error.into(),
        DomainCheckError::Full(Full::Node) => Problem::new(
            Code::OVERLOADED,
            "This node has as many checks of domains under way as it admits. Nothing was done; try \
             again shortly.",
        ),
        DomainCheckError::Full(Full::Share) => Problem::new(
            Code::LIMIT_REACHED,
            "Your organisation has as many checks of domains under way on this node as it may. Wait \
             until one has ended.",
        ),
        DomainCheckError::NoAnswer(why) => Problem::new(
            Code::DNS_FAILED,
            format!(
                "The DNS could not be asked, so nothing is known of the record and nothing has \
                 changed: {why}. Try again; if this goes on, look at the domain's name servers, \
                 and at dns.servers in this node's configuration."
            ),
        ),
    }
}

const fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Organization(()) => "organisation",
        Kind::ApiKey(()) => "API key",
        Kind::OperatorKey(()) => "operator key",
        Kind::Agent(()) => "agent",
        Kind::Token(()) => "live token",
        Kind::SigningKey(()) => "signing key",
        Kind::Policy(()) => "policy",
        Kind::Approval(()) => "approval",
        Kind::Webhook(()) => "webhook",
        Kind::Delivery(()) => "delivery",
        Kind::Domain(()) => "domain",
    }
}

/// A reason of the core's as a sentence.
fn sentence(why: &str) -> String {
    let mut text: String = why.chars().take(1).flat_map(char::to_uppercase).collect();
    text.extend(why.chars().skip(1));
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests;
