//! Stored bytes of plans, usage and remembered answers never change meaning.

use super::{super::*, golden::check, world::*};

pub(crate) fn a_plan() -> Plan {
    Plan {
        name: "a".into(),
        price: "b".into(),
        rank: 1,
        limits: PlanLimits {
            agents: Some(2),
            tokens_per_month: None,
            webhooks: Some(3),
            requests_per_second: 4,
        },
        is_offered: true,
    }
}

pub(crate) fn an_answer() -> IdempotencyRecord {
    let answer = Answered { outcome: vec![1, 2], sealed: vec![3] };
    IdempotencyRecord { org: org(1), request: hash(2), answer, expires_at: 3 }
}

pub(crate) fn a_token_count() -> TokenCount {
    TokenCount { period: Period::of(T0), tokens: 2 }
}

#[test]
fn every_stored_action_on_plans_keeps_its_meaning() {
    check(&[
        (Action::SetPlans(vec![a_plan()]), "018201016101620101020001030401"),
        (Action::SetOperatorPlans(vec!["a".into()]), "01f0010161"),
        (
            Action::ChangePlan(ChangePlan { org: org(1), plan: "a".into() }),
            "0183000000000000000000000000000000010161",
        ),
    ]);
    let claim = IdempotencyClaim { record: hash(1), request: hash(2), sealed: vec![3] };
    check(&[(
        Command { idempotency: Some(claim), ..command(ALICE, Action::Tick(())) },
        "010100000000000000000000000000000001057265715f313c01010101010101010101010101010101010101010101010101010101010101010102020202020202020202020202020202020202020202020202020202020202020103",
    )]);
}

#[test]
fn every_stored_outcome_of_plans_keeps_its_meaning() {
    check(&[(Outcome::Replayed(an_answer().answer), "01280201020103")]);
    let reached = |quota, upgrade_to: Option<&str>| PlanLimitReached {
        quota,
        limit: 1,
        usage: 2,
        plan: "a".into(),
        upgrade_to: upgrade_to.map(str::to_owned),
    };
    let excess = vec![Excess { quota: Quota::Agents, limit: 1, usage: 2 }];
    let too_small = PlanTooSmall { plan: "a".into(), excess, period_ends_at: 3 };
    check(&[
        (Refusal::PlanLimitReached(reached(Quota::Agents, Some("b"))), "01280101020161010162"),
        (Refusal::PlanLimitReached(reached(Quota::TokensPerMonth, None)), "0128020102016100"),
        (Refusal::PlanLimitReached(reached(Quota::Webhooks, None)), "0128030102016100"),
        (Refusal::PlanTooSmall(too_small), "012901610101010203"),
        (Refusal::IdempotencyKeyReused(()), "012a"),
        (Refusal::PlanNotSelfService("a".into()), "01f00161"),
    ]);
}
