//! Plans and usage on the wire.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{schema, time};
use crate::{
    api::{
        fields::{Checked, Fields, FromFields},
        rules,
    },
    domain::{self, Action, OrgId, Period, Usage},
    limits,
};

/// The rule of plans' names. Which there are is for the core to say.
pub(super) fn plan_name(value: Value) -> Checked<String> {
    rules::text(1..=limits::PLAN_NAME_MAX_BYTES)(value)
}

/// Which plan to change to.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePlan {
    /// The name of a plan on offer.
    #[schema(value_type = schema::PlanName)]
    pub plan: String,
}

impl FromFields for ChangePlan {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { plan: fields.required("plan", plan_name)? })
    }
}

impl ChangePlan {
    /// What the core is asked for.
    pub fn into_action(self, org: OrgId) -> Action {
        Action::ChangePlan(domain::ChangePlan { org, plan: self.plan })
    }
}

/// What a plan allows, in both environments together. Null is no limit.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanLimits {
    /// Most agents that are not revoked.
    #[schema(required)]
    pub agents: Option<u64>,
    /// Most tokens issued in a calendar month, UTC.
    #[schema(required)]
    pub tokens_per_month: Option<u64>,
    /// Most webhooks.
    #[schema(required)]
    pub webhooks: Option<u64>,
    /// Most requests a second of each API key, and of all keys together, on each node.
    pub requests_per_second: u32,
    /// Most bytes of stored data. Follows from the other limits.
    pub state_bytes: u64,
    /// Most bytes of audit events in a day, UTC. Follows from the other limits.
    pub event_bytes_per_day: u64,
}

impl From<&domain::PlanLimits> for PlanLimits {
    fn from(limits: &domain::PlanLimits) -> Self {
        Self {
            agents: limits.agents,
            tokens_per_month: limits.tokens_per_month,
            webhooks: limits.webhooks,
            requests_per_second: limits.requests_per_second,
            state_bytes: limits.state_bytes(),
            event_bytes_per_day: limits.event_bytes_per_day(),
        }
    }
}

/// A plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct Plan {
    /// Its name.
    #[schema(value_type = schema::PlanName)]
    pub name: String,
    /// What it costs, in words.
    #[schema(examples("49 USD a month"))]
    pub price: String,
    /// What it allows.
    pub limits: PlanLimits,
    /// Whether an organisation can change to it by itself; otherwise an operator gives it.
    pub self_service: bool,
}

impl Plan {
    /// A plan, as tenants see it.
    pub fn new(plan: &domain::Plan, self_service: bool) -> Self {
        Self {
            name: plan.name.clone(),
            price: plan.price.clone(),
            limits: (&plan.limits).into(),
            self_service,
        }
    }
}

/// What is used, in both environments together.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageBody {
    /// Agents that are not revoked.
    pub agents: u64,
    /// Tokens issued in this calendar month, UTC; revoked and expired ones included.
    pub tokens_this_month: u64,
    /// Webhooks.
    pub webhooks: u64,
    /// Bytes of stored data, places in indexes included.
    pub state_bytes: u64,
    /// Bytes of this day's audit events, UTC.
    pub event_bytes_today: u64,
}

impl From<Usage> for UsageBody {
    fn from(usage: Usage) -> Self {
        let Usage { agents, tokens_this_month, webhooks, state_bytes, event_bytes_today } = usage;
        Self { agents, tokens_this_month, webhooks, state_bytes, event_bytes_today }
    }
}

/// A calendar month, UTC.
#[derive(Debug, Serialize, ToSchema)]
pub struct PeriodBody {
    /// Its first moment.
    #[schema(value_type = schema::Timestamp)]
    pub starts_at: String,
    /// The first moment after it.
    #[schema(value_type = schema::Timestamp)]
    pub ends_at: String,
}

impl From<Period> for PeriodBody {
    fn from(period: Period) -> Self {
        Self { starts_at: time(period.starts_at()), ends_at: time(period.ends_at()) }
    }
}

/// The organisation's plan, what it allows and what is used of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Billing {
    /// The organisation.
    #[schema(value_type = schema::OrganizationId)]
    pub organization_id: String,
    /// The name of its plan.
    #[schema(value_type = schema::PlanName)]
    pub plan: String,
    /// What that costs, in words.
    #[schema(examples("49 USD a month"))]
    pub price: String,
    /// What it allows.
    pub limits: PlanLimits,
    /// What is used.
    pub usage: UsageBody,
    /// The month that `usage` counts tokens of.
    pub period: PeriodBody,
}

impl Billing {
    /// Of an organisation on `plan`.
    pub fn of(org: OrgId, plan: &domain::Plan, usage: Usage, period: Period) -> Self {
        Self {
            organization_id: org.to_string(),
            plan: plan.name.clone(),
            price: plan.price.clone(),
            limits: (&plan.limits).into(),
            usage: usage.into(),
            period: period.into(),
        }
    }
}
