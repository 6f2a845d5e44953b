//! Why the core refuses a command. A refusal is a value: it changes nothing.

use serde::{Deserialize, Serialize};

use super::{AgentStatus, ApprovalStatus, DomainId, Seconds};
use super::{PlanLimitReached, PlanTooSmall};
use crate::codec::stored_enum;

stored_enum! {
    /// The kinds of thing that a command can name.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Kind {
        /// An organisation.
        1 => Organization(()),
        /// An API key.
        2 => ApiKey(()),
        /// An operator key.
        3 => OperatorKey(()),
        /// An agent.
        4 => Agent(()),
        /// A token.
        5 => Token(()),
        /// A signing key.
        6 => SigningKey(()),
        /// A policy.
        7 => Policy(()),
        /// An approval.
        8 => Approval(()),
        /// A webhook endpoint.
        9 => Webhook(()),
        /// A delivery to a webhook endpoint.
        12 => Delivery(()),
        /// A domain.
        10 => Domain(()),
    }
}

/// A bound of the system itself that is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitReached {
    /// What is bounded, for example `live tokens in this environment`.
    pub what: String,
    /// The bound.
    pub limit: u64,
}

/// A day's events that take all that the plan allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsSpent {
    /// Most bytes in a day.
    pub limit: u64,
    /// How many there are.
    pub usage: u64,
    /// The plan.
    pub plan: String,
    /// When the next day begins, in seconds from now.
    pub retry_after_s: Seconds,
}

stored_enum! {
    /// Why a command was refused.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Refusal {
        /// The key that acted is unknown, disabled, expired or deleted by now.
        1 => CallerUnknown(()),
        /// Nothing of this kind has that id, as far as the caller can see.
        2 => NotFound(Kind),
        /// The caller lacks the right, although its key is good (granting more than it holds, say).
        3 => Forbidden(String),
        /// The agent is in a state in which this cannot be done.
        4 => AgentNotActive(AgentStatus),
        /// The id exists with other content.
        5 => IdTaken(Kind),
        /// The signing key named may not sign.
        6 => SigningKeyDead(()),
        /// The token's `iat` is too far from the log's time; holds that time.
        7 => IssuedAtOff(Seconds),
        /// The token's life is longer than allowed; holds the most that is, in seconds.
        8 => TtlTooLong(Seconds),
        /// A bound of the system is reached.
        9 => TooMany(LimitReached),
        /// The last one of its kind cannot go: nobody could get in again.
        10 => LastOne(Kind),
        /// A field is invalid: its name, and what is wrong. The API checks first; this is the fence.
        11 => Invalid((String, String)),
        /// The agent's key was replaced while the request was under way.
        12 => AgentKeyReplaced(()),
        /// The agent must sign its token requests, and this one was not.
        13 => SignatureRequired(()),
        /// What the request was judged by has changed since: judge again.
        14 => Stale(()),
        /// The request's signature is too old, or from the future; holds the log's time.
        15 => SignatureOutOfTime(Seconds),
        /// A request with this nonce was seen before.
        16 => NonceUsed(()),
        /// The policies have changed since the approval was asked for.
        17 => ApprovalStale(()),
        /// The approval is in a state in which this cannot be done.
        18 => ApprovalNot(ApprovalStatus),
        /// The approval is for another request.
        19 => ApprovalElsewhere(()),
        /// All active policies together would take more than so many steps to evaluate.
        20 => PoliciesTooExpensive(u64),
        /// The webhook endpoint is disabled.
        30 => WebhookDisabled(()),
        /// The webhook endpoint's secret was rotated meanwhile.
        31 => WebhookSecretMoved(()),
        /// The organisation has this domain already.
        35 => DomainListed(DomainId),
        /// Another organisation has proved this domain to be its own.
        36 => DomainHeld(()),
        /// Somebody else has looked at the domain since: look again.
        37 => DomainCheckStale(()),
        /// The organisation's plan allows no more.
        40 => PlanLimitReached(PlanLimitReached),
        /// The plan asked for allows less than is used.
        41 => PlanTooSmall(PlanTooSmall),
        /// Only an operator gives an organisation the plan of this name.
        240 => PlanNotSelfService(String),
        /// The `Idempotency-Key` was sent with another request before.
        42 => IdempotencyKeyReused(()),
        /// The cluster was restored from a backup, and the key that acted is suspended since.
        50 => CallerSuspended(()),
        /// The same of the agent.
        51 => AgentSuspended(()),
        /// The events of the day take all that the organisation's plan allows.
        200 => EventsSpent(EventsSpent),
    }
}

impl Refusal {
    /// There are `limit` of `what` already.
    pub(super) fn too_many(what: &str, limit: u64) -> Self {
        Self::TooMany(LimitReached { what: what.to_owned(), limit })
    }
}
