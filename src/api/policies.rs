//! Policies: rules that decide which token requests are granted.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::{Caller, perm},
    body::JsonBody,
    freshness::{find, find_agent},
    pagination::{List, Page},
    problem::{FieldError, Problem},
    query::Query,
    reply::{Answer, Id, PathId, Written, expect},
    request::internal_error,
    schema,
    wire::{
        Deleted,
        policy::{CreatePolicy, PatchPolicy, Policy},
        simulation::{Simulate, Simulation},
    },
};
use crate::{
    actors::{CheckError, Explained},
    clock,
    domain::{self, Action, CheckedRules, OrgId, Outcome, PolicyId},
    policy::RuleDraft,
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(simulate))
        .routes(routes!(get, update, delete))
}

fn a_policy(outcome: Outcome) -> Option<Arc<domain::Policy>> {
    match outcome {
        Outcome::Policy(policy) => Some(policy),
        _ => None,
    }
}

async fn checked(app: &App, org: OrgId, drafts: Vec<RuleDraft>) -> Answer<CheckedRules> {
    app.policies.check(org, drafts).await.map_err(|error| match error {
        CheckError::Command(error) => error.into(),
        CheckError::Faults(faults) => {
            let named = |fault: crate::policy::FieldFault| FieldError {
                field: fault.field,
                message: fault.message,
            };
            Problem::invalid(faults.into_iter().map(named).collect())
        }
    })
}

/// Create a policy
///
/// Create a policy with rules for allowing, denying, throttling, or requiring approval for token
/// operations. Once this has answered, no token is issued by the policies of before.
#[utoipa::path(
    post, path = "/policies", tag = "Policies", operation_id = "createPolicy",
    request_body = CreatePolicy,
    responses((status = 201, description = "The policy.", body = Policy)),
    security(("api_key" = ["policies:write"])),
)]
async fn create(
    caller: Caller<perm::PoliciesWrite>,
    State(app): State<App>,
    JsonBody(body): JsonBody<CreatePolicy>,
) -> Answer<Written<Policy>> {
    let rules = checked(&app, caller.org(), body.drafts()).await?;
    let done = app.proposals.propose(caller.call_once(), body.into_action(rules)).await?;
    Ok(Written::created(expect(done, a_policy)?.map(|policy| policy.as_ref().into())))
}

/// List policies
///
/// Returns a paginated list of policies, newest first.
#[utoipa::path(
    get, path = "/policies", tag = "Policies", operation_id = "listPolicies",
    params(Page),
    responses((status = 200, description = "A page of policies.", body = List<Policy>)),
    security(("api_key" = ["policies:read"])),
)]
async fn list(
    caller: Caller<perm::PoliciesRead>,
    State(app): State<App>,
    Query(page): Query<Page>,
) -> Json<List<Policy>> {
    let view = app.views.load();
    let (policies, total) = view.state.policies_page(caller.tenant(), page.skip(), page.take());
    Json(List::of(page, total, policies.iter().map(|policy| policy.as_ref().into()).collect()))
}

/// Get a policy
#[utoipa::path(
    get, path = "/policies/{id}", tag = "Policies", operation_id = "getPolicy",
    params(("id" = schema::PolicyId, Path, description = "The policy's id.")),
    responses((status = 200, description = "The policy.", body = Policy)),
    security(("api_key" = ["policies:read"])),
)]
async fn get(
    caller: Caller<perm::PoliciesRead>,
    State(app): State<App>,
    Id(id): Id<PolicyId>,
) -> Answer<Json<Policy>> {
    let tenant = caller.tenant();
    let policy =
        find(&app, tenant.org, PolicyId::KIND, |view| view.state.policy(tenant, id).cloned())
            .await?;
    Ok(Json(policy.as_ref().into()))
}

/// Update a policy
///
/// Update policy fields. Use `is_active` to toggle it.
#[utoipa::path(
    patch, path = "/policies/{id}", tag = "Policies", operation_id = "updatePolicy",
    params(("id" = schema::PolicyId, Path, description = "The policy's id.")),
    request_body = PatchPolicy,
    responses((status = 200, description = "The policy as it is now.", body = Policy)),
    security(("api_key" = ["policies:write"])),
)]
async fn update(
    caller: Caller<perm::PoliciesWrite>,
    State(app): State<App>,
    Id(id): Id<PolicyId>,
    JsonBody(body): JsonBody<PatchPolicy>,
) -> Answer<Written<Policy>> {
    let rules = match body.drafts() {
        Some(drafts) => Some(checked(&app, caller.org(), drafts).await?),
        None => None,
    };
    let done = app.proposals.propose(caller.call(), body.into_action(id, rules)).await?;
    Ok(Written::ok(expect(done, a_policy)?.map(|policy| policy.as_ref().into())))
}

/// Delete a policy
#[utoipa::path(
    delete, path = "/policies/{id}", tag = "Policies", operation_id = "deletePolicy",
    params(("id" = schema::PolicyId, Path, description = "The policy's id.")),
    responses((status = 200, description = "The policy is gone.", body = Deleted)),
    security(("api_key" = ["policies:write"])),
)]
async fn delete(
    caller: Caller<perm::PoliciesWrite>,
    State(app): State<App>,
    Id(id): Id<PolicyId>,
) -> Answer<Written<Deleted>> {
    let done = app.proposals.propose(caller.call(), Action::DeletePolicy(id)).await?;
    Ok(Written::deleted(done, id))
}

/// Simulate a decision
///
/// Says what a token request would come to now, which rule decides, and every rule that matches.
/// Changes nothing and counts nothing.
#[utoipa::path(
    post, path = "/policies/simulate", tag = "Policies", operation_id = "simulatePolicies",
    request_body = Simulate,
    responses((status = 200, description = "The decision.", body = Simulation)),
    security(("api_key" = ["policies:read"])),
)]
async fn simulate(
    caller: Caller<perm::PoliciesRead>,
    State(app): State<App>,
    JsonBody(body): JsonBody<Simulate>,
) -> Answer<Response> {
    let request = body.into_request(caller.tenant());
    find_agent(&app, request.tenant, request.agent).await?;
    let show = |explained: &Explained| {
        let at = clock::now_ms().max(explained.view.state.clock);
        serde_json::to_vec(&Simulation::new(explained, at))
    };
    let shown = app.policies.explain(request, show).await?.map_err(|error| {
        tracing::error!(%error, "a simulation cannot be written as JSON");
        internal_error()
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], shown).into_response())
}
