//! Billing: the organisation's plan, its limits and what is used. It belongs to the organisation:
//! either environment's key sees and changes the same.

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::{Caller, perm},
    body::JsonBody,
    freshness::find,
    pagination::{List, Page},
    query::Query,
    reply::{Answer, PathId, Written},
    wire::billing::{Billing, ChangePlan, Plan},
};
use crate::{
    clock,
    domain::{OrgId, Period},
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get))
        .routes(routes!(list_plans))
        .routes(routes!(change_plan))
}

/// The organisation's billing in this node's view.
async fn billing(app: &App, org: OrgId) -> Answer<Billing> {
    find(app, org, OrgId::KIND, |view| {
        let at = clock::now_ms().max(view.state.clock);
        let plan = view.state.plan_of(org)?;
        Some(Billing::of(org, plan, view.state.usage(org, at), Period::of(at)))
    })
    .await
}

/// Get plan and usage
///
/// The organisation's plan, its limits, and what both its environments use of them together.
#[utoipa::path(
    get, path = "/billing", tag = "Billing", operation_id = "getBilling",
    responses((status = 200, description = "Plan, limits and usage.", body = Billing)),
    security(("api_key" = ["billing:read"])),
)]
async fn get(caller: Caller<perm::BillingRead>, State(app): State<App>) -> Answer<Json<Billing>> {
    billing(&app, caller.org()).await.map(Json)
}

/// List plans
///
/// The plans on offer, the least first.
#[utoipa::path(
    get, path = "/billing/plans", tag = "Billing", operation_id = "listPlans",
    params(Page),
    responses((status = 200, description = "A page of plans.", body = List<Plan>)),
    security(("api_key" = ["billing:read"])),
)]
async fn list_plans(
    _: Caller<perm::BillingRead>,
    State(app): State<App>,
    Query(page): Query<Page>,
) -> Json<List<Plan>> {
    let view = app.views.load();
    let plans = view.state.offered_plans();
    let shown = plans.iter().skip(page.skip()).take(page.take());
    let shown = shown.map(|plan| Plan::new(plan, !view.state.is_operator_plan(&plan.name)));
    let shown = shown.collect();
    Json(List::of(page, plans.len() as u64, shown))
}

/// Change the plan
///
/// Changes the organisation's plan, at once. A plan that allows less than is in use is a 409 that
/// says what to remove; one that is not `self_service` is a 403, and an operator gives it.
#[utoipa::path(
    put, path = "/billing/plan", tag = "Billing", operation_id = "changePlan",
    request_body = ChangePlan,
    responses((status = 200, description = "Plan, limits and usage.", body = Billing)),
    security(("api_key" = ["billing:write"])),
)]
async fn change_plan(
    caller: Caller<perm::BillingWrite>,
    State(app): State<App>,
    JsonBody(body): JsonBody<ChangePlan>,
) -> Answer<Written<Billing>> {
    let done = app.proposals.propose(caller.call(), body.into_action(caller.org())).await?;
    let billing = billing(&app, caller.org()).await?;
    Ok(Written::ok(done.map(|_| billing)))
}
