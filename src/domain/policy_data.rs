//! Policies, approvals and refused requests as the audit log and webhooks tell of them. Pinned by
//! the hash chain, like the rest of [`super::event_data`].

use serde_json::{Value, json};

use super::{
    Approval, Denial, DenialReason, Effect, Policy, Rule,
    event_data::{Data, object, time},
};

/// A policy, with all its rules.
pub(super) fn policy(policy: &Policy) -> Data {
    object(json!({
        "name": policy.name,
        "description": policy.description,
        "priority": policy.priority,
        "rules": policy.rules.iter().map(rule).collect::<Vec<_>>(),
        "is_active": policy.is_active,
    }))
}

/// A rule as somebody would write it.
fn rule(rule: &Rule) -> Value {
    let mut members = object(json!({ "effect": rule.effect.as_str() }));
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            members.insert(name.to_owned(), value);
        }
    };
    put("scopes", json!(rule.scopes));
    put("agents", json!(rule.agents));
    put("owners", json!(rule.owners));
    put("target_services", json!(rule.target_services));
    put("model_providers", json!(rule.model_providers));
    put("model_names", json!(rule.model_names));
    put("frameworks", json!(rule.frameworks));
    put("signed", json!(rule.signed));
    put("condition", json!(rule.condition));
    match rule.effect {
        Effect::Allow(allow) => put("max_ttl", json!(allow.max_ttl_s)),
        Effect::Deny(()) => {}
        Effect::Throttle(throttle) => {
            put("limit", json!(throttle.limit));
            put("window_seconds", json!(throttle.window_s));
            put("per", json!(throttle.per.as_str()));
        }
        Effect::RequireApproval(approval) => put("approval_ttl", json!(approval.approval_ttl_s)),
    }
    Value::Object(members)
}

/// Why a token was refused, and what it would have been.
pub(super) fn denial(denial: &Denial) -> Data {
    let mut data = object(json!({
        "scope": denial.scope,
        "ttl": denial.ttl_s,
        "target_service": denial.target_service,
        "intent": denial.intent,
        "rule": denial.reason.rule().map(|rule| rule.rule),
    }));
    match denial.reason {
        DenialReason::Policy(_) => data.insert("reason".into(), json!("policy_denied")),
        DenialReason::Throttled(by) => {
            data.insert("retry_after".into(), json!(by.retry_after_s));
            data.insert("reason".into(), json!("policy_throttled"))
        }
    };
    data
}

/// An approval, with the whole request.
pub(super) fn approval(approval: &Approval) -> Data {
    object(json!({
        "approval_id": approval.id.to_string(),
        "status": approval.status.as_str(),
        "scope": approval.scope,
        "ttl": approval.ttl_s,
        "target_service": approval.target_service,
        "intent": approval.intent,
        "rule": approval.rule.rule,
        "expires_at": time(approval.expires_at),
    }))
}
