//! Every refusal and every failure has its status and its code.

use super::*;
use crate::domain::{DomainId, LimitReached};

#[test]
fn every_refusal_has_its_status() {
    let reached = LimitReached { what: "live tokens in this environment".into(), limit: 5 };
    for (refusal, status, name) in [
        (Refusal::CallerUnknown(()), 401, "invalid_api_key"),
        (Refusal::NotFound(Kind::Agent(())), 404, "not_found"),
        (Refusal::Forbidden("no".into()), 403, "forbidden"),
        (Refusal::AgentNotActive(AgentStatus::Paused), 409, "agent_paused"),
        (Refusal::AgentNotActive(AgentStatus::Revoked), 409, "agent_revoked"),
        (Refusal::IdTaken(Kind::Token(())), 409, "conflict"),
        (Refusal::SigningKeyDead(()), 503, "not_ready"),
        (Refusal::IssuedAtOff(1), 503, "not_ready"),
        (Refusal::TtlTooLong(300), 422, "validation_failed"),
        (Refusal::TooMany(reached), 429, "limit_reached"),
        (Refusal::LastOne(Kind::OperatorKey(())), 409, "last_one"),
        (Refusal::Invalid(("scope".into(), "is wrong".into())), 422, "validation_failed"),
        (Refusal::AgentKeyReplaced(()), 409, "agent_key_replaced"),
        (Refusal::SignatureRequired(()), 401, "signature_required"),
        (Refusal::Stale(()), 503, "not_ready"),
        (Refusal::SignatureOutOfTime(1), 401, "invalid_signature"),
        (Refusal::NonceUsed(()), 401, "nonce_used"),
        (Refusal::ApprovalStale(()), 409, "approval_stale"),
        (Refusal::ApprovalNot(ApprovalStatus::Pending), 409, "approval_pending"),
        (Refusal::ApprovalNot(ApprovalStatus::Approved), 409, "approval_approved"),
        (Refusal::ApprovalNot(ApprovalStatus::Denied), 409, "approval_denied"),
        (Refusal::ApprovalNot(ApprovalStatus::Expired), 409, "approval_expired"),
        (Refusal::ApprovalNot(ApprovalStatus::Consumed), 409, "approval_consumed"),
        (Refusal::ApprovalElsewhere(()), 422, "validation_failed"),
        (Refusal::PoliciesTooExpensive(5), 422, "validation_failed"),
        (Refusal::WebhookDisabled(()), 409, "webhook_disabled"),
        (Refusal::WebhookSecretMoved(()), 409, "conflict"),
        (Refusal::DomainListed(DomainId([1; 16])), 409, "domain_exists"),
        (Refusal::DomainHeld(()), 409, "domain_taken"),
        (Refusal::DomainCheckStale(()), 409, "conflict"),
        (limit_reached(Some("team")), 402, "plan_limit_reached"),
        (too_small(), 409, "plan_too_small"),
        (Refusal::IdempotencyKeyReused(()), 422, "idempotency_key_reused"),
    ] {
        let problem = Problem::from(CommandError::Refused(refusal));
        assert_eq!((problem.code.status, problem.code.name), (status, name));
        assert!(problem.detail.ends_with('.'), "{}", problem.detail);
    }
}

fn limit_reached(upgrade_to: Option<&str>) -> Refusal {
    Refusal::PlanLimitReached(PlanLimitReached {
        quota: Quota::Agents,
        limit: 25,
        usage: 25,
        plan: "free".into(),
        upgrade_to: upgrade_to.map(str::to_owned),
    })
}

fn too_small() -> Refusal {
    let excess = |(quota, limit, usage)| Excess { quota, limit, usage };
    Refusal::PlanTooSmall(PlanTooSmall {
        plan: "free".into(),
        excess: [(Quota::Agents, 2, 5), (Quota::TokensPerMonth, 10, 11), (Quota::Webhooks, 0, 1)]
            .map(excess)
            .to_vec(),
        period_ends_at: 1_785_542_400_000,
    })
}

#[test]
fn who_is_over_a_plan_is_told_what_to_do() {
    for (refusal, detail) in [
        (
            limit_reached(Some("team")),
            "The plan free allows 25 agents, and 25 are in use. Revoke one, or change to the \
             plan team: with PUT /v1/billing/plan if it is self_service, and through the operator \
             otherwise.",
        ),
        (
            limit_reached(None),
            "The plan free allows 25 agents, and 25 are in use. Revoke one; no plan on offer \
             allows more.",
        ),
        (
            too_small(),
            "More is in use than the plan free allows, so nothing was changed: 5 agents are in \
             use and 2 are allowed: revoke 3; 11 tokens were issued in this month and 10 are \
             allowed: wait until 2026-08-01T00:00:00Z; 1 webhooks are in use and 0 are \
             allowed: remove 1.",
        ),
    ] {
        assert_eq!(Problem::from(refusal).detail, detail);
    }
    let unrecoverable = Problem::from(CommandError::Unrecoverable);
    assert_eq!(unrecoverable.code, Code::IDEMPOTENCY_UNRECOVERABLE);
}

#[test]
fn a_command_that_the_log_could_not_give_back_is_a_clean_4xx() {
    for (error, status, name) in [
        (CommandError::TooLarge { bytes: 9, limit: 8 }, 413, "body_too_large"),
        (CommandError::CountsTooMuch { limit: 8 }, 413, "body_too_large"),
        (CommandError::Unreadable("why".into()), 422, "not_storable"),
    ] {
        let problem = Problem::from(error);
        assert_eq!((problem.code.status, problem.code.name), (status, name));
    }
}

#[test]
fn a_write_that_the_cluster_did_not_take_is_a_503_that_says_when_to_come_back() {
    for (error, name) in [
        (CommandError::Overloaded, "overloaded"),
        (CommandError::NoQuorum, "no_quorum"),
        (CommandError::OutcomeUnknown, "outcome_unknown"),
        (CommandError::NotReady("it has no signing key yet"), "not_ready"),
        (CommandError::ShuttingDown, "shutting_down"),
        (CommandError::Failed("disk".into()), "not_ready"),
    ] {
        let problem = Problem::from(error);
        assert_eq!((problem.code.status, problem.code.name), (503, name));
        assert!(problem.retry_after_s.is_some());
    }
}

#[test]
fn a_failed_node_does_not_tell_clients_its_disk_paths() {
    let problem = Problem::from(CommandError::Failed("/var/lib/authrai/db".into()));
    assert!(!problem.detail.contains("/var"));
}
