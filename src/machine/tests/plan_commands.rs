//! Random commands on plans, and random claims of what was answered before.

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::domain::{Action, ChangePlan, IdempotencyClaim, tests::world::*};

pub(super) fn plans() -> impl Strategy<Value = Action> {
    let name = || select(vec!["tiny", "small", "big", "other", "No Name"]);
    let most = option::weighted(0.7, prop_oneof![8 => 0u64..40, 1 => Just(u64::MAX)]);
    let set = vec((name(), most), 1..5).prop_map(|plans| {
        let ranked = plans.into_iter().zip(0..);
        Action::SetPlans(ranked.map(|((name, most), rank)| new_plan(name, rank, most)).collect())
    });
    prop_oneof![
        1 => set,
        1 => vec(name().prop_map(str::to_owned), 0..3).prop_map(Action::SetOperatorPlans),
        2 => (1u128..4, name()).prop_map(|(id, plan)| {
            Action::ChangePlan(ChangePlan { org: org(id), plan: plan.into() })
        }),
    ]
}

pub(super) fn claim() -> impl Strategy<Value = IdempotencyClaim> {
    let large = crate::limits::IDEMPOTENCY_ANSWER_MAX_BYTES as usize;
    let sealed = prop_oneof![20 => vec(any::<u8>(), 0..4), 1 => Just(vec![0; large])];
    (0u8..24, 0u8..3, sealed).prop_map(|(record, request, sealed)| IdempotencyClaim {
        record: hash(record),
        request: hash(request),
        sealed,
    })
}
