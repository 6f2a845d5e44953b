//! Quotas in bytes: how much of the state, and of a day's audit log, an organisation may fill.
//!
//! A quota stops what adds, and never what takes a right away: whoever has filled it can still
//! revoke, delete, disable and pause. Operators and nodes are held by none. Checked once a command
//! is decided, so that a command that changes nothing, such as a repeated one, is answered as
//! before. Must not know how bytes are counted.

use std::sync::Arc;

use serde::Serialize;

use super::{
    Action, Actor, Command, Decision, EventsSpent, Fact, Millis, Quota, Refusal, State,
    UpdateAgent, UpdateApiKey, UpdatePolicy, UpdateWebhook, billing, usage,
};
use crate::codec;

/// How a day's quota of events holds a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Not at all: it takes a right away, and can do so once for each thing there is.
    Never,
    /// At twice the quota: it can be repeated at will, and may be needed in an emergency.
    Late,
    /// At the quota.
    Fully,
}

/// Refuses what would add to a quota that is filled.
///
/// # Errors
///
/// [`Refusal::PlanLimitReached`] for the state, [`Refusal::EventsSpent`] for events.
pub(super) fn check(
    state: &State,
    at: Millis,
    command: &Command,
    decision: &Decision,
) -> Result<(), Refusal> {
    let Actor::ApiKey(id) = command.actor else { return Ok(()) };
    let Some(org) = state.api_keys.get(&id).map(|key| key.tenant.org) else { return Ok(()) };
    if decision.events.iter().any(|event| grows(state, &event.fact)) {
        billing::check(state, at, org, Quota::StateBytes)?;
    }
    let is_told = decision.events.iter().any(|event| event.fact.name().is_some());
    let Some(plan) = state.plan_of(org).filter(|_| is_told) else { return Ok(()) };
    let limit = plan.limits.event_bytes_per_day();
    let most = match held(&command.action) {
        Held::Never => return Ok(()),
        Held::Late => limit.saturating_mul(2),
        Held::Fully => limit,
    };
    let usage = state.event_bytes_on(org, at);
    if usage < most {
        return Ok(());
    }
    let retry_after_s = usage::rest_of_day_s(at);
    Err(Refusal::EventsSpent(EventsSpent { limit, usage, plan: plan.name.clone(), retry_after_s }))
}

/// Whether folding `fact` in makes the state larger, by what its organisation asked for.
fn grows(state: &State, fact: &Fact) -> bool {
    match fact {
        Fact::ApiKeyCreated(..)
        | Fact::AgentCreated(_)
        | Fact::TokenIssued(..)
        | Fact::PolicyCreated(_)
        | Fact::ApprovalRequested(..)
        | Fact::ApprovalJoined(_)
        | Fact::WebhookCreated(..)
        | Fact::DomainCreated(_) => true,
        Fact::AgentUpdated(agent, _) => is_larger(agent, state.agents.get(&agent.id)),
        Fact::PolicyUpdated(policy, _) => is_larger(policy, state.policies.get(&policy.id)),
        Fact::WebhookUpdated(webhook, _) => is_larger(webhook, state.webhooks.get(&webhook.id)),
        Fact::OrganizationCreated(_)
        | Fact::OrganizationUpdated(..)
        | Fact::ApiKeyUpdated(..)
        | Fact::ApiKeyRotated { .. }
        | Fact::ApiKeyDeleted(..)
        | Fact::ApiKeyUsed(..)
        | Fact::PreviousSecretForgotten(_)
        | Fact::AgentPaused(_)
        | Fact::AgentActivated(_)
        | Fact::AgentKeyRotated { .. }
        | Fact::AgentTokensRevoked(..)
        | Fact::AgentRevoked(..)
        | Fact::TokenRevoked { .. }
        | Fact::TokenDenied(_)
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
        | Fact::SigningKeyRegistered(_)
        | Fact::SigningKeyRetired(_)
        | Fact::SigningKeyRevoked(_)
        | Fact::SigningKeyForgotten(_)
        | Fact::OperatorKeyCreated(_)
        | Fact::OperatorKeyDeleted(..)
        | Fact::RetiredSecretForgotten(_)
        | Fact::WebhookEnabled(..)
        | Fact::WebhookDisabled(_)
        | Fact::WebhookSecretRotated(_)
        | Fact::WebhookDeleted(..)
        | Fact::DeliveriesRecorded(..)
        | Fact::PreviousSigningSecretForgotten(_)
        | Fact::DomainVerified(_)
        | Fact::DomainFailed(_)
        | Fact::DomainLost(_)
        | Fact::DomainChecked(_)
        | Fact::DomainDeleted(_)
        | Fact::PlansSet(_)
        | Fact::OperatorPlansSet(_)
        | Fact::PlanUpgraded { .. }
        | Fact::PlanDowngraded { .. }
        | Fact::AnswerRemembered(..)
        | Fact::AnswerForgotten(_)
        | Fact::ClusterRestored(..)
        | Fact::ChainRestored(_)
        | Fact::ApiKeySuspensionLifted(_)
        | Fact::AgentSuspensionLifted(_)
        | Fact::SuspensionsLifted { .. } => false,
    }
}

fn is_larger<T: Serialize>(now: &Arc<T>, before: Option<&Arc<T>>) -> bool {
    before.is_none_or(|before| codec::encoded_len(now) > codec::encoded_len(before))
}

/// How the quota of events holds an API key that asks for this.
pub(super) fn held(action: &Action) -> Held {
    match action {
        Action::DeleteApiKey(_)
        | Action::RevokeAgentTokens(_)
        | Action::RevokeAgent(_)
        | Action::RevokeToken(_)
        | Action::DeletePolicy(_)
        | Action::Disapprove(_)
        | Action::DeleteWebhook(_)
        | Action::DeleteDomain(_)
        | Action::UpdateApiKey(UpdateApiKey { id: _, name: None, enabled: Some(false) })
        | Action::UpdateWebhook(UpdateWebhook {
            id: _,
            url: None,
            events: None,
            description: None,
            enabled: Some(false),
        })
        // No API key can ask for the rest.
        | Action::CreateOrganization(_)
        | Action::UpdateOrganization(_)
        | Action::TouchApiKeys(_)
        | Action::RegisterSigningKey(_)
        | Action::RetireSigningKey(_)
        | Action::RevokeSigningKey(_)
        | Action::CreateOperatorKey(_)
        | Action::DeleteOperatorKey(_)
        | Action::Tick(())
        | Action::RecordDeliveries(_)
        | Action::SetPlans(_)
        | Action::SetOperatorPlans(_)
        | Action::Restore(_)
        | Action::LiftSuspension(_) => Held::Never,
        Action::UpdateAgent(change) if only_pauses(change) => Held::Never,
        Action::UpdatePolicy(change) if only_switches(change) => match change.is_active {
            Some(false) => Held::Never,
            // What forbids is switched on with it.
            Some(true) | None => Held::Late,
        },
        Action::RotateApiKey(_)
        | Action::RotateAgentKey(_)
        | Action::RotateWebhookSecret(_)
        // The way out of a quota.
        | Action::ChangePlan(_) => Held::Late,
        Action::CreateApiKey(_)
        | Action::UpdateApiKey(_)
        | Action::CreateAgent(_)
        | Action::UpdateAgent(_)
        | Action::IssueToken(_)
        | Action::DeclineToken(_)
        | Action::CreatePolicy(_)
        | Action::UpdatePolicy(_)
        | Action::Approve(_)
        | Action::CreateWebhook(_)
        | Action::UpdateWebhook(_)
        | Action::RetryDelivery(_)
        | Action::CreateDomain(_)
        | Action::RecordDomainCheck(_) => Held::Fully,
    }
}

fn only_pauses(change: &UpdateAgent) -> bool {
    let UpdateAgent {
        id: _,
        name,
        owner,
        description,
        model_provider,
        model_name,
        framework,
        metadata,
        require_signature,
        paused,
    } = change;
    *paused == Some(true)
        && name.is_none()
        && owner.is_none()
        && description.is_none()
        && model_provider.is_none()
        && model_name.is_none()
        && framework.is_none()
        && metadata.is_none()
        && require_signature.is_none()
}

fn only_switches(change: &UpdatePolicy) -> bool {
    let UpdatePolicy { id: _, name, description, priority, rules, is_active } = change;
    is_active.is_some()
        && name.is_none()
        && description.is_none()
        && priority.is_none()
        && rules.is_none()
}
