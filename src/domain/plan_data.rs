//! Plans as the audit log and webhooks tell them. Pure, like the rest of the event data, and pinned by
//! the hash chain.

use std::sync::Arc;

use imbl::OrdMap;
use serde_json::{Value, json};

use super::{
    Plan, PlanLimits,
    event_data::{Data, object},
};

/// All plans, the least first.
pub(super) fn catalogue(plans: &OrdMap<String, Arc<Plan>>) -> Data {
    let mut plans: Vec<_> = plans.values().collect();
    plans.sort_by_key(|plan| plan.rank);
    let plans: Vec<Value> = plans
        .into_iter()
        .map(|plan| {
            json!({
                "name": plan.name,
                "price": plan.price,
                "is_offered": plan.is_offered,
                "limits": limits(&plan.limits),
            })
        })
        .collect();
    object(json!({ "plans": plans }))
}

/// An organisation left the plan `from` for another.
pub(super) fn change(from: &str, to: &Plan) -> Data {
    object(json!({ "from": from, "to": to.name, "limits": limits(&to.limits) }))
}

fn limits(limits: &PlanLimits) -> Value {
    json!({
        "agents": limits.agents,
        "tokens_per_month": limits.tokens_per_month,
        "webhooks": limits.webhooks,
        "requests_per_second": limits.requests_per_second,
    })
}
