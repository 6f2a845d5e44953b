//! Plans: what an organisation may use, and the catalogue of those on offer.
//!
//! An operator configures plans, and the configuration of two nodes can differ; so what holds is
//! replicated. A node proposes its catalogue when it starts, and an organisation names a plan of
//! it. A plan that is offered no more goes on for the organisations that are on it. Must not know
//! what is in use.

use std::{collections::BTreeMap, sync::Arc};

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::{Decision, Fact, Level, OrgId, Outcome, Refusal, State, Tenant, text, text::invalid};
use crate::{codec::stored_tags, limits};

stored_tags! {
    /// What a plan bounds the amount of.
    pub enum Quota {
        /// Agents that are not revoked.
        1 => Agents = "agents",
        /// Tokens issued in a calendar month, UTC.
        2 => TokensPerMonth = "tokens_per_month",
        /// Webhook endpoints.
        3 => Webhooks = "webhooks",
        /// Bytes of everything that the organisation has in the state.
        200 => StateBytes = "state_bytes",
    }
}

/// The limits of a plan; both environments of an organisation share them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLimits {
    /// Most agents, if there is a limit.
    pub agents: Option<u64>,
    /// Most tokens in a calendar month, if there is a limit.
    pub tokens_per_month: Option<u64>,
    /// Most webhook endpoints, if there is a limit.
    pub webhooks: Option<u64>,
    /// Most requests of one API key in a second, on one node.
    pub requests_per_second: u32,
}

impl PlanLimits {
    /// The limit on `quota`, if there is one.
    pub fn of(&self, quota: Quota) -> Option<u64> {
        match quota {
            Quota::Agents => self.agents,
            Quota::TokensPerMonth => self.tokens_per_month,
            Quota::Webhooks => self.webhooks,
            Quota::StateBytes => Some(self.state_bytes()),
        }
    }

    /// Most bytes that the organisation may have in the state: follows from its other limits.
    pub fn state_bytes(&self) -> u64 {
        let (Some(agents), Some(tokens)) = (self.agents, self.tokens_per_month) else {
            return limits::STATE_BYTES_PER_ORGANIZATION_MAX;
        };
        let webhooks = self.webhooks.unwrap_or(limits::WEBHOOKS_PER_ORGANIZATION_MAX as u64);
        limits::STATE_BYTES_BASE
            .saturating_add(agents.saturating_mul(limits::STATE_BYTES_PER_AGENT))
            .saturating_add(tokens.saturating_mul(limits::STATE_BYTES_PER_TOKEN))
            .saturating_add(webhooks.saturating_mul(limits::OUTBOX_BYTES))
            .min(limits::STATE_BYTES_PER_ORGANIZATION_MAX)
    }

    /// Most bytes of events that the organisation may cause in a day, UTC: follows from its other
    /// limits.
    pub fn event_bytes_per_day(&self) -> u64 {
        let Some(tokens) = self.tokens_per_month else { return limits::EVENT_BYTES_PER_DAY_MAX };
        limits::EVENT_BYTES_PER_DAY_BASE
            .saturating_add(tokens.saturating_mul(limits::EVENT_BYTES_PER_DAY_PER_TOKEN))
            .min(limits::EVENT_BYTES_PER_DAY_MAX)
    }
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// What it costs, in words.
    pub price: String,
    /// The higher, the more it is.
    pub rank: u16,
    /// What it allows.
    pub limits: PlanLimits,
    /// Whether an organisation can change to it.
    pub is_offered: bool,
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    (1..=limits::PLAN_NAME_MAX_BYTES).contains(&text.len()) && text.chars().all(fits)
}

fn no_name(text: &str) -> Refusal {
    let most = limits::PLAN_NAME_MAX_BYTES;
    invalid(
        "plans",
        format!("{text:?} is no name of a plan: 1 to {most} lowercase letters, digits, - and _"),
    )
}

fn check(plan: &Plan) -> Result<(), Refusal> {
    if !is_name(&plan.name) {
        return Err(no_name(&plan.name));
    }
    text::name("plans", &plan.price)?;
    let too_large = Quota::ALL
        .into_iter()
        .find(|quota| plan.limits.of(*quota).is_some_and(|limit| limit > limits::PLAN_LIMIT_MAX));
    if let Some(quota) = too_large {
        return Err(invalid("plans", format!("{} of {} is too large", quota.as_str(), plan.name)));
    }
    if !(1..=limits::REQUESTS_PER_SECOND_MAX).contains(&plan.limits.requests_per_second) {
        return Err(invalid(
            "plans",
            format!("requests_per_second of {} is out of bounds", plan.name),
        ));
    }
    Ok(())
}

/// Replaces the catalogue by `plans`, all of them on offer.
pub(super) fn set_catalogue(state: &State, plans: &[Plan]) -> Result<Decision, Refusal> {
    let mut catalogue: BTreeMap<String, Arc<Plan>> = BTreeMap::new();
    for plan in plans {
        check(plan)?;
        let plan = Plan { is_offered: true, ..plan.clone() };
        if catalogue.insert(plan.name.clone(), Arc::new(plan)).is_some() {
            return Err(invalid("plans", "names one plan twice"));
        }
    }
    for (name, old) in &state.plans {
        if !catalogue.contains_key(name) && state.is_plan_in_use(name) {
            let kept = Plan { is_offered: false, ..Plan::clone(old) };
            catalogue.insert(name.clone(), Arc::new(kept));
        }
    }
    if !(1..=limits::PLANS_MAX).contains(&catalogue.len()) {
        return Err(Refusal::too_many("plans", limits::PLANS_MAX as u64));
    }
    let catalogue: OrdMap<String, Arc<Plan>> = catalogue.into_iter().collect();
    if catalogue == state.plans {
        return Ok(Decision::unchanged(Outcome::Done(())));
    }
    Ok(Decision::one(Tenant::SYSTEM, Fact::PlansSet(catalogue), Outcome::Done(())))
}

/// Replaces the names of the plans that only an operator gives an organisation.
pub(super) fn set_operator_plans(state: &State, names: &[String]) -> Result<Decision, Refusal> {
    if names.len() > limits::PLANS_MAX {
        return Err(Refusal::too_many("plans", limits::PLANS_MAX as u64));
    }
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        return Err(no_name(name));
    }
    let names: OrdSet<String> = names.iter().cloned().collect();
    if names == state.operator_plans {
        return Ok(Decision::unchanged(Outcome::Done(())));
    }
    Ok(Decision::one(Tenant::SYSTEM, Fact::OperatorPlansSet(names), Outcome::Done(())))
}

impl State {
    /// Whether these names still have to be set, and can be at the level of the cluster.
    pub fn lacks_operator_plans(&self, names: &[String]) -> bool {
        self.level >= Level::BOUNDED
            && self.operator_plans != names.iter().cloned().collect::<OrdSet<_>>()
    }

    /// Whether only an operator gives an organisation the plan of this name.
    pub fn is_operator_plan(&self, name: &str) -> bool {
        self.operator_plans.contains(name)
    }

    /// The plan of this name, if it is on offer.
    pub fn offered_plan(&self, name: &str) -> Option<&Arc<Plan>> {
        self.plans.get(name).filter(|plan| plan.is_offered)
    }

    /// The plans on offer, the least first.
    pub fn offered_plans(&self) -> Vec<&Arc<Plan>> {
        let mut plans: Vec<_> = self.plans.values().filter(|plan| plan.is_offered).collect();
        plans.sort_by_key(|plan| plan.rank);
        plans
    }

    /// The plan that an organisation is on. There is one: a plan in use is never dropped.
    pub fn plan_of(&self, org: OrgId) -> Option<&Arc<Plan>> {
        self.plans.get(&self.organizations.get(&org)?.plan)
    }

    fn is_plan_in_use(&self, name: &str) -> bool {
        self.organizations_on_plan.contains_key(name)
    }

    /// Whether the catalogue offers just these plans.
    pub fn offers(&self, plans: &[Plan]) -> bool {
        self.offered_plans().len() == plans.len()
            && plans
                .iter()
                .all(|plan| self.offered_plan(&plan.name).is_some_and(|known| **known == *plan))
    }
}
