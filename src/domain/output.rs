//! What a command puts out is bounded: the text of each event, and each item that the state keeps.
//!
//! One check stands behind every command, so that no limit is met for the first time when the entry
//! is applied, where it would stop every node. Inputs are bounded one by one, so only a change of
//! those bounds can bring a command here that is refused; a test holds the worst case of each
//! command against the limits. Must not know journals or snapshots.

use serde::Serialize;

use super::{Decision, Event, Fact, Refusal, text::invalid};
use crate::{codec, limits};

/// Most bytes that one byte of a stored text becomes in an event: `\u001f`.
const ESCAPED_MAX_BYTES: usize = 6;
/// More than the rest of an event takes: the names of its members, those of its rules included, and
/// its envelope.
const FRAME_MAX_BYTES: usize = 64 * 1024;

/// What a fact puts into the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Put {
    /// The field of a request that makes it large, for the refusal.
    field: &'static str,
    /// The stored form of the largest item.
    bytes: usize,
}

/// Refuses what is larger than may be kept.
///
/// # Errors
///
/// [`Refusal::Invalid`] names the field that makes it so large.
pub(super) fn check(decision: &Decision) -> Result<(), Refusal> {
    decision.events.iter().try_for_each(check_event)
}

fn check_event(event: &Event) -> Result<(), Refusal> {
    let Some(put) = put(&event.fact) else { return Ok(()) };
    if put.bytes > limits::ITEM_MAX_BYTES {
        return Err(too_large(put, put.bytes, limits::ITEM_MAX_BYTES));
    }
    let at_most = ESCAPED_MAX_BYTES * put.bytes + FRAME_MAX_BYTES;
    if at_most <= limits::EVENT_MAX_BYTES || event.fact.name().is_none() {
        return Ok(());
    }
    // It may be too large: only its text tells.
    let text = serde_json::to_string(&event.fact.data()).map_or(usize::MAX, |text| text.len());
    match text.saturating_add(FRAME_MAX_BYTES) {
        0..=limits::EVENT_MAX_BYTES => Ok(()),
        bytes => Err(too_large(put, bytes, limits::EVENT_MAX_BYTES)),
    }
}

fn too_large(put: Put, bytes: usize, most: usize) -> Refusal {
    invalid(put.field, format!("would have {bytes} bytes once recorded; at most {most} fit"))
}

fn item<T: Serialize>(field: &'static str, item: &T) -> Option<Put> {
    Some(Put { field, bytes: codec::encoded_len(item) })
}

/// What `fact` puts into the state; nothing, when all that it holds is there already or is as small
/// as an id.
pub(super) fn put(fact: &Fact) -> Option<Put> {
    match fact {
        Fact::OrganizationCreated(org) | Fact::OrganizationUpdated(org, _) => item("name", org),
        Fact::ApiKeyCreated(key, _)
        | Fact::ApiKeyUpdated(key, _)
        | Fact::ApiKeyRotated { key, .. } => item("name", key),
        Fact::AgentCreated(agent) | Fact::AgentUpdated(agent, _) => item("metadata", agent),
        Fact::TokenIssued(details, ..) => item("scope", details),
        Fact::TokenDenied(denial) => {
            item("scope", &(&denial.scope, &denial.target_service, &denial.intent))
        }
        Fact::PolicyCreated(policy) | Fact::PolicyUpdated(policy, _) => item("rules", policy),
        Fact::ApprovalRequested(approval, _) | Fact::ApprovalJoined(approval) => {
            item("scope", approval)
        }
        Fact::OperatorKeyCreated(key) => item("name", key),
        Fact::SigningKeyRegistered(key) => item("public_key", key),
        Fact::WebhookCreated(webhook, _)
        | Fact::WebhookUpdated(webhook, _)
        | Fact::WebhookEnabled(webhook, _)
        | Fact::WebhookDisabled(webhook)
        | Fact::WebhookSecretRotated(webhook) => item("events", webhook),
        // Each of its deliveries is an item of its own, whose size was checked when it came in.
        Fact::DeliveriesRecorded(_, outbox) => item("attempts", &outbox.progress),
        Fact::DomainCreated(domain)
        | Fact::DomainVerified(domain)
        | Fact::DomainFailed(domain)
        | Fact::DomainLost(domain)
        | Fact::DomainChecked(domain) => item("domain", domain),
        // Each plan is an item of its own, and the event tells all of them.
        Fact::PlansSet(plans) => {
            let bytes = plans.values().map(codec::encoded_len).sum();
            Some(Put { field: "plans", bytes })
        }
        Fact::AnswerRemembered(_, record) => item("Idempotency-Key", record),
        Fact::ApiKeyDeleted(..)
        | Fact::ApiKeyUsed(..)
        | Fact::PreviousSecretForgotten(_)
        | Fact::AgentPaused(_)
        | Fact::AgentActivated(_)
        | Fact::AgentKeyRotated { .. }
        | Fact::AgentTokensRevoked(..)
        | Fact::AgentRevoked(..)
        | Fact::TokenRevoked { .. }
        | Fact::DeclinedForgotten(_)
        | Fact::PolicyActivated(_)
        | Fact::PolicyDeactivated(_)
        | Fact::PolicyDeleted(_)
        | Fact::ApprovalApproved(_)
        | Fact::ApprovalDenied(_)
        | Fact::ApprovalConsumed(_)
        | Fact::ApprovalExpired(_)
        | Fact::ApprovalForgotten(_)
        | Fact::ThrottleCounted(..)
        | Fact::ThrottleForgotten(_)
        | Fact::NonceUsed { .. }
        | Fact::NonceForgotten(..)
        | Fact::TokenExpired(..)
        | Fact::TokenForgotten(..)
        | Fact::SigningKeyRetired(_)
        | Fact::SigningKeyRevoked(_)
        | Fact::SigningKeyForgotten(_)
        | Fact::OperatorKeyDeleted(..)
        | Fact::RetiredSecretForgotten(_)
        | Fact::WebhookDeleted(..)
        | Fact::PreviousSigningSecretForgotten(_)
        | Fact::DomainDeleted(_)
        | Fact::OperatorPlansSet(_)
        | Fact::PlanUpgraded { .. }
        | Fact::PlanDowngraded { .. }
        | Fact::AnswerForgotten(_)
        | Fact::ClusterRestored(..)
        | Fact::ChainRestored(_)
        | Fact::ApiKeySuspensionLifted(_)
        | Fact::AgentSuspensionLifted(_)
        | Fact::SuspensionsLifted { .. } => None,
    }
}
