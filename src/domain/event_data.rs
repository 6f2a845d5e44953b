//! Events as the audit log and webhooks tell them: a name, a subject, and the data that a reader
//! wants. Pure, and pinned by the hash chain: the same event always reads the same. Must not show
//! a secret or what stands for one.

use serde_json::{Map, Value, json};

use super::{
    Actor, Agent, ApiKey, DnsDomain, Fact, LiveToken, Millis, OperatorKey, Organization,
    Restoration, SigningKey, Subject, TakenAway, TokenDetails, plan_data, policy_data,
    webhook_data,
};
use crate::rfc3339;

/// The members of a JSON object.
pub type Data = Map<String, Value>;

impl Fact {
    /// Its name in the audit log; `None` for bookkeeping, which nobody is told of.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::OrganizationCreated(_) => "organization.created",
            Self::OrganizationUpdated(..) => "organization.updated",
            Self::ApiKeyCreated(..) => "api_key.created",
            Self::ApiKeyUpdated(..) => "api_key.updated",
            Self::ApiKeyRotated { .. } => "api_key.rotated",
            Self::ApiKeyDeleted(..) => "api_key.deleted",
            Self::AgentCreated(_) => "agent.created",
            Self::AgentUpdated(..) => "agent.updated",
            Self::AgentPaused(_) => "agent.paused",
            Self::AgentActivated(_) => "agent.activated",
            Self::AgentKeyRotated { .. } => "agent.key_rotated",
            Self::AgentTokensRevoked(..) => "agent.tokens_revoked",
            Self::AgentRevoked(..) => "agent.revoked",
            Self::TokenIssued(..) => "token.issued",
            Self::TokenRevoked { .. } => "token.revoked",
            Self::TokenDenied(_) => "token.denied",
            Self::PolicyCreated(_) => "policy.created",
            Self::PolicyUpdated(..) => "policy.updated",
            Self::PolicyActivated(_) => "policy.activated",
            Self::PolicyDeactivated(_) => "policy.deactivated",
            Self::PolicyDeleted(_) => "policy.deleted",
            Self::ApprovalRequested(..) => "approval.requested",
            Self::ApprovalApproved(_) => "approval.approved",
            Self::ApprovalDenied(_) => "approval.denied",
            Self::ApprovalConsumed(_) => "approval.consumed",
            Self::SigningKeyRegistered(_) => "signing_key.registered",
            Self::SigningKeyRetired(_) => "signing_key.retired",
            Self::SigningKeyRevoked(_) => "signing_key.revoked",
            Self::OperatorKeyCreated(_) => "operator_key.created",
            Self::OperatorKeyDeleted(..) => "operator_key.deleted",
            Self::WebhookCreated(..) => "webhook.created",
            Self::WebhookUpdated(..) => "webhook.updated",
            Self::WebhookEnabled(..) => "webhook.enabled",
            Self::WebhookDisabled(_) => "webhook.disabled",
            Self::WebhookSecretRotated(_) => "webhook.secret_rotated",
            Self::WebhookDeleted(..) => "webhook.deleted",
            Self::DomainCreated(_) => "domain.created",
            Self::DomainVerified(_) => "domain.verified",
            Self::DomainFailed(_) => "domain.failed",
            Self::DomainLost(_) => "domain.lost",
            Self::DomainDeleted(_) => "domain.deleted",
            Self::PlansSet(_) => "plans.updated",
            Self::OperatorPlansSet(_) => "plans.self_service_updated",
            Self::PlanUpgraded { .. } => "billing.plan_upgraded",
            Self::PlanDowngraded { .. } => "billing.plan_downgraded",
            Self::ClusterRestored(..) | Self::ChainRestored(_) => "cluster.restored",
            Self::ApiKeySuspensionLifted(_) => "api_key.suspension_lifted",
            Self::AgentSuspensionLifted(_) => "agent.suspension_lifted",
            Self::SuspensionsLifted { .. } => "cluster.suspensions_lifted",
            Self::ApiKeyUsed(..)
            | Self::TokenExpired(..)
            | Self::TokenForgotten(..)
            | Self::SigningKeyForgotten(_)
            | Self::PreviousSecretForgotten(_)
            | Self::ApprovalJoined(_)
            | Self::ApprovalExpired(_)
            | Self::ApprovalForgotten(_)
            | Self::ThrottleCounted(..)
            | Self::ThrottleForgotten(_)
            | Self::NonceUsed { .. }
            | Self::NonceForgotten(..)
            | Self::DeclinedForgotten(_)
            | Self::DeliveriesRecorded(..)
            | Self::PreviousSigningSecretForgotten(_)
            | Self::RetiredSecretForgotten(_)
            | Self::DomainChecked(_)
            | Self::AnswerRemembered(..)
            | Self::AnswerForgotten(_) => return None,
        })
    }

    /// What it is about.
    pub fn subject(&self) -> Subject {
        match self {
            Self::AgentCreated(agent)
            | Self::AgentUpdated(agent, _)
            | Self::AgentPaused(agent)
            | Self::AgentActivated(agent)
            | Self::AgentKeyRotated { agent, .. }
            | Self::AgentTokensRevoked(agent, _)
            | Self::AgentRevoked(agent, _)
            | Self::AgentSuspensionLifted(agent) => {
                Subject { agent: Some(agent.id), ..Subject::default() }
            }
            Self::TokenIssued(token, ..) => {
                Subject { agent: Some(token.agent), token: Some(token.id), policy: None }
            }
            Self::TokenRevoked { id, agent, .. } => {
                Subject { agent: Some(*agent), token: Some(*id), policy: None }
            }
            Self::TokenDenied(denial) => Subject {
                agent: Some(denial.agent),
                token: None,
                policy: denial.reason.rule().map(|rule| rule.policy),
            },
            Self::PolicyCreated(policy)
            | Self::PolicyUpdated(policy, _)
            | Self::PolicyActivated(policy)
            | Self::PolicyDeactivated(policy)
            | Self::PolicyDeleted(policy) => {
                Subject { policy: Some(policy.id), ..Subject::default() }
            }
            Self::ApprovalRequested(approval, _)
            | Self::ApprovalApproved(approval)
            | Self::ApprovalDenied(approval)
            | Self::ApprovalConsumed(approval) => Subject {
                agent: Some(approval.agent),
                token: approval.token,
                policy: Some(approval.rule.policy),
            },
            _ => Subject::default(),
        }
    }

    /// What a reader wants to know of it besides its subject. Empty for bookkeeping.
    pub fn data(&self) -> Data {
        match self {
            Self::OrganizationCreated(org) => organization(org),
            Self::OrganizationUpdated(org, changed) => {
                only(organization(org), changed, "organization_id")
            }
            Self::ApiKeyCreated(key, _)
            | Self::ApiKeyDeleted(key, _)
            | Self::ApiKeySuspensionLifted(key) => api_key(key),
            Self::ApiKeyUpdated(key, changed) => only(api_key(key), changed, "api_key_id"),
            Self::ApiKeyRotated { key, .. } => rotation(key),
            Self::AgentCreated(new) => agent(new),
            Self::AgentUpdated(now, changed) => only(agent(now), changed, "agent_id"),
            Self::AgentPaused(agent)
            | Self::AgentActivated(agent)
            | Self::AgentSuspensionLifted(agent) => {
                object(json!({ "name": agent.name, "status": agent.status.as_str() }))
            }
            Self::AgentKeyRotated { agent, .. } => {
                object(json!({ "name": agent.name, "key_epoch": agent.key_epoch }))
            }
            Self::AgentTokensRevoked(agent, died) | Self::AgentRevoked(agent, died) => {
                object(json!({
                    "name": agent.name,
                    "status": agent.status.as_str(),
                    "tokens_invalidated": died,
                }))
            }
            Self::TokenIssued(details, live, _) => token(details, live),
            Self::TokenRevoked { revoked_at, .. } => {
                object(json!({ "revoked_at": time(*revoked_at) }))
            }
            Self::TokenDenied(denial) => policy_data::denial(denial),
            Self::PolicyCreated(policy) | Self::PolicyDeleted(policy) => {
                policy_data::policy(policy)
            }
            Self::PolicyUpdated(policy, changed) => {
                only(policy_data::policy(policy), changed, "name")
            }
            Self::PolicyActivated(policy) | Self::PolicyDeactivated(policy) => {
                object(json!({ "name": policy.name, "is_active": policy.is_active }))
            }
            Self::ApprovalRequested(approval, _)
            | Self::ApprovalApproved(approval)
            | Self::ApprovalDenied(approval)
            | Self::ApprovalConsumed(approval) => policy_data::approval(approval),
            Self::SigningKeyRegistered(key)
            | Self::SigningKeyRetired(key)
            | Self::SigningKeyRevoked(key) => signing_key(key),
            Self::OperatorKeyCreated(key) | Self::OperatorKeyDeleted(key, _) => operator_key(key),
            Self::WebhookCreated(webhook, _) | Self::WebhookDeleted(webhook, _) => {
                webhook_data::webhook(webhook)
            }
            Self::WebhookUpdated(webhook, changed) => {
                only(webhook_data::webhook(webhook), changed, "webhook_id")
            }
            Self::WebhookEnabled(webhook, _) | Self::WebhookDisabled(webhook) => {
                webhook_data::status(webhook)
            }
            Self::WebhookSecretRotated(webhook) => webhook_data::rotation(webhook),
            Self::ClusterRestored(restoration, taken) => restored(restoration, Some(taken)),
            Self::ChainRestored(restoration) => restored(restoration, None),
            Self::SuspensionsLifted { api_keys, agents } => {
                object(json!({ "api_keys": api_keys, "agents": agents }))
            }
            Self::PlansSet(plans) => plan_data::catalogue(plans),
            Self::OperatorPlansSet(names) => object(json!({ "operator_only": names })),
            Self::PlanUpgraded { from, to, .. } | Self::PlanDowngraded { from, to, .. } => {
                plan_data::change(from, to)
            }
            Self::ApiKeyUsed(..)
            | Self::TokenExpired(..)
            | Self::TokenForgotten(..)
            | Self::SigningKeyForgotten(_)
            | Self::PreviousSecretForgotten(_)
            | Self::ApprovalJoined(_)
            | Self::ApprovalExpired(_)
            | Self::ApprovalForgotten(_)
            | Self::ThrottleCounted(..)
            | Self::ThrottleForgotten(_)
            | Self::NonceUsed { .. }
            | Self::NonceForgotten(..)
            | Self::DeclinedForgotten(_)
            | Self::DeliveriesRecorded(..)
            | Self::PreviousSigningSecretForgotten(_)
            | Self::RetiredSecretForgotten(_)
            | Self::DomainChecked(_)
            | Self::AnswerRemembered(..)
            | Self::AnswerForgotten(_) => Data::new(),
            Self::DomainCreated(domain)
            | Self::DomainVerified(domain)
            | Self::DomainDeleted(domain) => dns_domain(domain),
            Self::DomainFailed(domain) | Self::DomainLost(domain) => {
                let mut data = dns_domain(domain);
                let seen = domain.seen.as_ref().map(super::Seen::lines);
                data.insert("seen".into(), json!(seen.unwrap_or_default()));
                data
            }
        }
    }
}

impl Actor {
    /// As the audit log writes it: `{"type":…,"id":…}`.
    pub fn to_json(&self) -> Value {
        let (kind, id) = match self {
            Self::ApiKey(id) => ("api_key", id.to_string()),
            Self::Operator(id) => ("operator_key", id.to_string()),
            Self::Node(id) => ("node", id.to_string()),
            Self::Setup(()) => ("setup", "setup".to_owned()),
        };
        json!({ "type": kind, "id": id })
    }
}

/// `members` as a map; it is written as an object everywhere here.
pub(super) fn object(members: Value) -> Data {
    match members {
        Value::Object(members) => members,
        _ => Data::new(),
    }
}

/// The members named in `changed`, and the one that says of what.
fn only(mut all: Data, changed: &[&'static str], id: &str) -> Data {
    all.retain(|name, _| name == id || changed.contains(&name.as_str()));
    all
}

pub(super) fn time(at: Millis) -> String {
    rfc3339::seconds(at / 1000)
}

fn organization(org: &Organization) -> Data {
    object(json!({
        "organization_id": org.id.to_string(),
        "name": org.name,
        "default_effect": org.default_effect.as_str(),
        "plan": org.plan,
    }))
}

fn api_key(key: &ApiKey) -> Data {
    object(json!({
        "api_key_id": key.id.to_string(),
        "name": key.name,
        "environment": key.tenant.environment.as_str(),
        "permissions": key.permissions.iter().map(super::Permission::as_str).collect::<Vec<_>>(),
        "last_four": key.last_four,
        "enabled": key.enabled,
        "expires_at": key.expires_at.map(time),
    }))
}

fn rotation(key: &ApiKey) -> Data {
    object(json!({
        "api_key_id": key.id.to_string(),
        "name": key.name,
        "last_four": key.last_four,
        "old_secret_works_until": key.previous.as_ref().map(|old| time(old.works_until)),
    }))
}

fn agent(agent: &Agent) -> Data {
    object(json!({
        "name": agent.name,
        "owner": agent.owner,
        "description": agent.description,
        "model_provider": agent.model_provider,
        "model_name": agent.model_name,
        "framework": agent.framework,
        "metadata": agent.metadata,
        "require_signature": agent.require_signature,
        "status": agent.status.as_str(),
    }))
}

fn token(details: &TokenDetails, live: &LiveToken) -> Data {
    object(json!({
        "scope": details.scope.as_ref(),
        "target_service": details.target_service.as_ref(),
        "intent": details.intent,
        "ttl": details.expires_at.saturating_sub(details.issued_at),
        "expires_at": rfc3339::seconds(live.expires_at.into()),
        "kid": details.signing_key.to_string(),
    }))
}

fn signing_key(key: &SigningKey) -> Data {
    object(json!({
        "kid": key.id.to_string(),
        "node": key.node.to_string(),
        "public_key": hex::encode(key.public_key),
        "created_at": time(key.created_at),
        "retired_at": key.retired_at.map(time),
        "revoked_at": key.revoked_at.map(time),
    }))
}

fn operator_key(key: &OperatorKey) -> Data {
    object(json!({
        "operator_key_id": key.id.to_string(),
        "name": key.name,
        "last_four": key.last_four,
    }))
}

fn restored(restoration: &Restoration, taken: Option<&TakenAway>) -> Data {
    let backup = &restoration.backup;
    let mut data = object(json!({
        "backup_index": backup.index,
        "backup_made_at": time(backup.at),
    }));
    if let Some(taken) = taken {
        data.extend(object(json!({
            "cluster_id": hex::encode(restoration.cluster),
            "backup_cluster_id": hex::encode(backup.cluster),
            "backup_sha256": hex::encode(backup.sha256),
            "api_keys_suspended": taken.api_keys,
            "agents_suspended": taken.agents,
            "webhooks_disabled": taken.webhooks,
            "approvals_expired": taken.approvals,
        })));
    }
    data
}

fn dns_domain(domain: &DnsDomain) -> Data {
    object(json!({
        "domain_id": domain.id.to_string(),
        "domain": domain.name.as_ref(),
        "status": domain.status.as_str(),
    }))
}
