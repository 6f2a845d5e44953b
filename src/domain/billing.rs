//! Billing: what an organisation uses, against what its plan allows.
//!
//! Usage is counted by the state itself, in the step that changes it, so that a limit is exact
//! however many ask at once. Both environments of an organisation count together. Must not know
//! prices, nor how fast requests come.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    AgentStatus, ChangePlan, Decision, Environment, Fact, Kind, Level, Millis, OrgId, Organization,
    Outcome, Period, Plan, Quota, Refusal, State, Tenant, caller::Caller, text::invalid,
};

/// How many tokens an organisation was issued in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCount {
    /// The month.
    pub period: Period,
    /// How many.
    pub tokens: u64,
}

/// What an organisation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Agents that are not revoked.
    pub agents: u64,
    /// Tokens issued in this calendar month, revoked and expired ones included.
    pub tokens_this_month: u64,
    /// Webhook endpoints.
    pub webhooks: u64,
    /// Bytes of everything that it has in the state.
    pub state_bytes: u64,
    /// Bytes of the events of this day, UTC.
    pub event_bytes_today: u64,
}

impl Usage {
    /// How much of `quota` is used.
    pub fn of(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Agents => self.agents,
            Quota::TokensPerMonth => self.tokens_this_month,
            Quota::Webhooks => self.webhooks,
            Quota::StateBytes => self.state_bytes,
        }
    }
}

/// A limit of a plan that is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLimitReached {
    /// What there is no more of.
    pub quota: Quota,
    /// How much the plan allows.
    pub limit: u64,
    /// How much is used.
    pub usage: u64,
    /// The plan.
    pub plan: String,
    /// The least plan on offer that would do, if one would.
    pub upgrade_to: Option<String>,
}

/// A plan that allows less than is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTooSmall {
    /// The plan.
    pub plan: String,
    /// What is used beyond it.
    pub excess: Vec<Excess>,
    /// When the tokens of this month count no more.
    pub period_ends_at: Millis,
}

/// See [`PlanTooSmall`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excess {
    /// Of what.
    pub quota: Quota,
    /// How much the plan allows.
    pub limit: u64,
    /// How much is used.
    pub usage: u64,
}

/// Whether the plan of `org` allows one more of `quota`.
///
/// # Errors
///
/// [`Refusal::PlanLimitReached`] if it does not.
pub(super) fn check(state: &State, at: Millis, org: OrgId, quota: Quota) -> Result<(), Refusal> {
    let Some(plan) = state.plan_of(org) else { return Ok(()) };
    let Some(limit) = plan.limits.of(quota) else { return Ok(()) };
    let usage = state.usage(org, at).of(quota);
    if usage < limit {
        return Ok(());
    }
    let would_do = |other: &&&Arc<Plan>| {
        other.rank > plan.rank && other.limits.of(quota).is_none_or(|limit| usage < limit)
    };
    let offered = state.offered_plans();
    Err(Refusal::PlanLimitReached(PlanLimitReached {
        quota,
        limit,
        usage,
        plan: plan.name.clone(),
        upgrade_to: offered.iter().find(would_do).map(|other| other.name.clone()),
    }))
}

pub(super) fn change_plan(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    change: &ChangePlan,
) -> Result<Decision, Refusal> {
    let old = state
        .organizations
        .get(&change.org)
        .filter(|org| caller.sees(org.id))
        .ok_or(Refusal::NotFound(Kind::Organization(())))?;
    if old.plan == change.plan {
        return Ok(Decision::unchanged(Outcome::Organization(Arc::clone(old))));
    }
    let to = state.offered_plan(&change.plan).ok_or_else(|| unknown(state))?;
    // Empty before `Level::BOUNDED`.
    if caller.api_key().is_some() && state.is_operator_plan(&to.name) {
        return Err(Refusal::PlanNotSelfService(to.name.clone()));
    }
    let usage = state.usage(old.id, at);
    let excess: Vec<Excess> = Quota::ALL
        .into_iter()
        .filter(|quota| *quota != Quota::StateBytes || state.level >= Level::BOUNDED)
        .filter_map(|quota| {
            let (limit, usage) = (to.limits.of(quota)?, usage.of(quota));
            (usage > limit).then_some(Excess { quota, limit, usage })
        })
        .collect();
    if !excess.is_empty() {
        return Err(Refusal::PlanTooSmall(PlanTooSmall {
            plan: to.name.clone(),
            excess,
            period_ends_at: Period::of(at).ends_at(),
        }));
    }
    let from_rank = state.plan_of(old.id).map_or(0, |from| from.rank);
    let org = Arc::new(Organization {
        plan: to.name.clone(),
        updated_at: at,
        ..Organization::clone(old)
    });
    let from = old.plan.clone();
    let (now, to) = (Arc::clone(&org), Arc::clone(to));
    let fact = if to.rank >= from_rank {
        Fact::PlanUpgraded { org: now, from, to }
    } else {
        Fact::PlanDowngraded { org: now, from, to }
    };
    Ok(Decision::one(Tenant::live(org.id), fact, Outcome::Organization(org)))
}

/// There is no such plan; says which there are.
pub(super) fn unknown(state: &State) -> Refusal {
    let names: Vec<&str> = state.offered_plans().iter().map(|plan| plan.name.as_str()).collect();
    invalid("plan", format!("must be one of the plans on offer: {}", names.join(", ")))
}

impl State {
    /// What `org` uses at `at`, in both its environments.
    pub fn usage(&self, org: OrgId, at: Millis) -> Usage {
        let counted = [Environment::Live, Environment::Test].into_iter().flat_map(|environment| {
            [AgentStatus::Active, AgentStatus::Paused]
                .map(|status| (Tenant { org, environment }, status))
        });
        let agents = counted.filter_map(|of| self.agents_by_status.get(&of));
        Usage {
            agents: agents.map(|ids| ids.len() as u64).sum(),
            tokens_this_month: self.tokens_in(org, Period::of(at)),
            webhooks: self.webhooks_of_org(org) as u64,
            state_bytes: self.state_bytes(org),
            event_bytes_today: self.event_bytes_on(org, at),
        }
    }

    fn tokens_in(&self, org: OrgId, period: Period) -> u64 {
        let count = self.token_counts.get(&org).filter(|count| count.period == period);
        count.map_or(0, |count| count.tokens)
    }

    /// The count with one token more at `at`.
    pub(super) fn one_more_token(&self, org: OrgId, at: Millis) -> TokenCount {
        let period = Period::of(at);
        TokenCount { period, tokens: self.tokens_in(org, period).saturating_add(1) }
    }
}
