//! The core: what AuthRAI's state is, and how a command changes it.
//!
//! [`State::decide`] turns a command into events or a refusal; [`State::evolve`] folds one event in.
//! Events are the truth: the audit chain links them and nothing changes without one. Everything
//! here is deterministic, so that replicas that apply the same commands hold the same bytes: time,
//! ids and entropy arrive in the command, maps are ordered, and a refusal changes nothing.
//!
//! Must not know clocks, randomness, floats, hash-order iteration, I/O, locks, `async`, HTTP or
//! the replicated log.

mod agent;
mod api_key;
mod api_key_line;
mod approval;
mod caller;
mod change;
mod command;
mod declined;
mod delivery;
mod dns_domain;
mod event;
mod event_data;
mod event_names;
mod expiry;
mod id;
mod level;
mod merge;
mod nonce;
mod operator_key;
mod organization;
mod outcome;
mod output;
mod permission;
mod policies;
mod policy;
mod policy_data;
mod quota;
mod refusal;
mod retired;
mod signing_key;
mod state;
mod text;
mod throttle;
mod token;
mod token_lists;
mod token_request;
mod usage;
mod webhook;
mod webhook_command;
mod webhook_data;

mod billing;
mod idempotency;
mod period;
mod plan;
mod plan_data;

mod restoration;

pub use agent::{Agent, AgentStatus};
pub use api_key::{ApiKey, PreviousSecret};
pub use approval::{Approval, ApprovalStatus};
pub use command::*;
pub use delivery::{Delivery, DeliveryFault, DeliveryStatus, OpenRetry, Outbox, Progress};
pub use dns_domain::{DnsDomain, DomainStatus, Seen};
pub use event::{Denial, DenialReason, Event, Fact, Subject};
pub use event_names::{EVENT_NAMES, is_known as is_event_name};
pub use id::*;
pub use level::Level;
pub use operator_key::OperatorKey;
pub use organization::{DefaultEffect, Organization};
pub use outcome::*;
pub use permission::{Permission, Permissions};
pub use policy::{
    Allow, CheckedRules, Effect, End, Per, Policy, RequireApproval, Rule, RuleRef, Throttle,
    Verdict,
};
pub use refusal::{EventsSpent, Kind, LimitReached, Refusal};
pub use signing_key::SigningKey;
pub use state::{Decision, Head, State};
pub use throttle::{Counted, ThrottleKey, Window};
pub use token::{LiveToken, TokenDetails};
pub use token_lists::TokenLists;
pub use usage::{EventDay, ItemBytes};
pub use webhook::{
    DisabledReason, EVERY_EVENT, PastChoice, PreviousSigningSecret, SealedSecret, Webhook,
};
pub use webhook_command::*;

pub use billing::{Excess, PlanLimitReached, PlanTooSmall, TokenCount, Usage};
pub use idempotency::{Answered, IdempotencyClaim, IdempotencyRecord, Remembered};
pub use period::Period;
pub use plan::{Plan, PlanLimits, Quota};

pub use restoration::{
    BackupOrigin, Restoration, Restore, Suspension, SuspensionsLifted, TakenAway,
};

/// Milliseconds since the Unix epoch.
pub type Millis = u64;
/// Seconds since the Unix epoch, as in a token's claims.
pub type Seconds = u64;
/// A SHA-256 digest.
pub type Hash = [u8; 32];

#[cfg(test)]
pub(crate) mod tests;
