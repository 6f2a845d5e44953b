//! Stored bytes of policies, approvals and throttles never change meaning.

use std::sync::Arc;

use super::{super::*, golden::check, world::*};

pub(crate) fn a_rule() -> Rule {
    Rule {
        effect: Effect::Throttle(Throttle { limit: 1, window_s: 2, per: Per::Owner }),
        scopes: Some(vec!["a".into()]),
        agents: None,
        owners: None,
        target_services: None,
        model_providers: None,
        model_names: None,
        frameworks: None,
        signed: Some(true),
        condition: Some("b".into()),
    }
}

pub(crate) fn a_place() -> RuleRef {
    RuleRef { policy: PolicyId::from_ulid(1), rule: 2 }
}

pub(crate) fn a_policy() -> Policy {
    Policy {
        id: PolicyId::from_ulid(1),
        tenant: Tenant::live(org(1)),
        name: "a".into(),
        description: None,
        priority: 100,
        rules: vec![a_rule()],
        steps: 2,
        is_active: true,
        created_at: 3,
        updated_at: 4,
    }
}

pub(crate) fn an_approval() -> Approval {
    Approval {
        id: ApprovalId::from_ulid(1),
        tenant: Tenant::live(org(1)),
        agent: agent(1),
        scope: vec!["a".into()],
        ttl_s: 2,
        target_service: "b".into(),
        intent: None,
        rule: a_place(),
        rule_digest: hash(3),
        asked_by: [key(1)].into(),
        status: ApprovalStatus::Consumed,
        created_at: 4,
        expires_at: 5,
        answered_by: Some(key(2)),
        answered_at: Some(6),
        token: Some(tok(1)),
    }
}

pub(crate) fn a_throttled() -> Throttled {
    Throttled { rule: a_place(), until: 3, retry_after_s: 4 }
}

pub(crate) fn a_throttle_key(counted: Counted) -> ThrottleKey {
    ThrottleKey { policy: PolicyId::from_ulid(1), rule: hash(2), counted }
}

#[test]
fn every_stored_action_on_policies_keeps_its_meaning() {
    let rules = CheckedRules { rules: vec![a_rule()], steps: 3 };
    let create = CreatePolicy {
        id: PolicyId::from_ulid(1),
        name: "a".into(),
        description: Some("b".into()),
        priority: 100,
        rules: rules.clone(),
        is_active: true,
    };
    let update = UpdatePolicy {
        id: PolicyId::from_ulid(1),
        name: None,
        description: Some(None),
        priority: Some(7),
        rules: Some(rules),
        is_active: Some(false),
    };
    let decline = DeclineToken {
        id: ApprovalId::from_ulid(1),
        agent: agent(2),
        scope: vec!["a".into()],
        ttl_s: 3,
        target_service: "b".into(),
        intent: None,
        signed: None,
        judged: judged(1, 2, End::RequireApproval(a_place())),
    };
    check(&[
        (
            Action::DeclineToken(decline),
            "01200000000000000000000000000000000100000000000000000000000000000002010161030162000000030000000000000000000000000000000102000101010101010101010101010101010101010101010101010101010101010101fbd007",
        ),
        (
            Action::CreatePolicy(create),
            "01460000000000000000000000000000000101610101626401030102020101016100000000000001010101620301",
        ),
        (
            Action::UpdatePolicy(update),
            "0147000000000000000000000000000000010001000107010103010202010101610000000000000101010162030100",
        ),
        (Action::DeletePolicy(PolicyId::from_ulid(1)), "014800000000000000000000000000000001"),
        (Action::Approve(ApprovalId::from_ulid(1)), "015000000000000000000000000000000001"),
        (Action::Disapprove(ApprovalId::from_ulid(1)), "015100000000000000000000000000000001"),
    ]);
}

#[test]
fn every_stored_outcome_of_policies_keeps_its_meaning() {
    check(&[
        (
            Outcome::Policy(Arc::new(a_policy())),
            "010b00000000000000000000000000000001000000000000000000000000000000010101610064010301020201010161000000000000010101016202010304",
        ),
        (
            Outcome::Approval(Arc::new(an_approval())),
            "010c0000000000000000000000000000000100000000000000000000000000000001010000000000000000000000000000000101016102016200000000000000000000000000000000010203030303030303030303030303030303030303030303030303030303030303030100000000000000000000000000000001050405010000000000000000000000000000000201060100000000000000000000000000000001",
        ),
        (Outcome::TokenDenied(Some(a_place())), "010d010000000000000000000000000000000102"),
        (Outcome::TokenDenied(None), "010d00"),
        (Outcome::TokenThrottled(a_throttled()), "010e00000000000000000000000000000001020304"),
        (
            Outcome::ApprovalPending(Arc::new(an_approval())),
            "010f0000000000000000000000000000000100000000000000000000000000000001010000000000000000000000000000000101016102016200000000000000000000000000000000010203030303030303030303030303030303030303030303030303030303030303030100000000000000000000000000000001050405010000000000000000000000000000000201060100000000000000000000000000000001",
        ),
        (Outcome::Refused(Refusal::NonceUsed(())), "011010"),
    ]);
    check(&[
        (Refusal::NotFound(Kind::Policy(())), "010207"),
        (Refusal::NotFound(Kind::Approval(())), "010208"),
        (Refusal::Stale(()), "010e"),
        (Refusal::SignatureOutOfTime(1), "010f01"),
        (Refusal::NonceUsed(()), "0110"),
        (Refusal::ApprovalStale(()), "0111"),
        (Refusal::ApprovalNot(ApprovalStatus::Pending), "011201"),
        (Refusal::ApprovalNot(ApprovalStatus::Approved), "011202"),
        (Refusal::ApprovalNot(ApprovalStatus::Denied), "011203"),
        (Refusal::ApprovalNot(ApprovalStatus::Expired), "011204"),
        (Refusal::ApprovalElsewhere(()), "0113"),
        (Refusal::PoliciesTooExpensive(1), "011401"),
    ]);
}

#[test]
fn every_stored_effect_keeps_its_meaning() {
    check(&[
        (Effect::Allow(Allow { max_ttl_s: Some(1) }), "01010101"),
        (Effect::Deny(()), "0102"),
        (Effect::Throttle(Throttle { limit: 1, window_s: 2, per: Per::Agent }), "0103010201"),
        (
            Effect::Throttle(Throttle { limit: 1, window_s: 2, per: Per::Organization }),
            "0103010203",
        ),
        (Effect::RequireApproval(RequireApproval { approval_ttl_s: 1 }), "010401"),
    ]);
}
