//! Approvals: token requests that somebody has to agree to.

use std::sync::Arc;

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::{Caller, perm},
    freshness::find,
    pagination::{List, Page},
    query::Query,
    reply::{Answer, Id, PathId, Written, expect},
    schema,
    wire::approval::{Approval, ApprovalFilter, ApprovalsQuery},
};
use crate::{
    actors::{Call, Done},
    clock,
    domain::{self, Action, ApprovalId, Millis, Outcome},
    verify::View,
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(approve))
        .routes(routes!(deny))
}

/// The time at which `view` is shown.
fn now(view: &View) -> Millis {
    clock::now_ms().max(view.state.clock)
}

/// List approvals
///
/// Returns a paginated list of approvals, newest first.
#[utoipa::path(
    get, path = "/approvals", tag = "Approvals", operation_id = "listApprovals",
    params(Page, ApprovalFilter),
    responses((status = 200, description = "A page of approvals.", body = List<Approval>)),
    security(("api_key" = ["approvals:read"])),
)]
async fn list(
    caller: Caller<perm::ApprovalsRead>,
    State(app): State<App>,
    Query(ApprovalsQuery { page, filter }): Query<ApprovalsQuery>,
) -> Json<List<Approval>> {
    let view = app.views.load();
    let at = now(&view);
    let (approvals, total) =
        view.state.approvals_page(caller.tenant(), filter.status, page.skip(), page.take());
    // Between the end of its time and the entry that ends it, a second at most, it still counts.
    let shown = approvals
        .iter()
        .filter(|approval| filter.status.is_none_or(|status| approval.status_at(at) == status));
    Json(List::of(page, total, shown.map(|approval| Approval::new(approval, at)).collect()))
}

/// Get an approval
#[utoipa::path(
    get, path = "/approvals/{id}", tag = "Approvals", operation_id = "getApproval",
    params(("id" = schema::ApprovalId, Path, description = "The approval's id.")),
    responses((status = 200, description = "The approval, with the whole request.", body = Approval)),
    security(("api_key" = ["approvals:read"])),
)]
async fn get(
    caller: Caller<perm::ApprovalsRead>,
    State(app): State<App>,
    Id(id): Id<ApprovalId>,
) -> Answer<Json<Approval>> {
    let tenant = caller.tenant();
    find(&app, tenant.org, ApprovalId::KIND, |view| {
        view.state.approval(tenant, id).map(|approval| Json(Approval::new(approval, now(view))))
    })
    .await
}

/// Approve a token request
///
/// The token is not issued yet: whoever asked collects it, with the same request and `approval_id`.
/// A key that asked cannot approve.
#[utoipa::path(
    post, path = "/approvals/{id}/approve", tag = "Approvals", operation_id = "approve",
    params(("id" = schema::ApprovalId, Path, description = "The approval's id.")),
    responses((status = 200, description = "The approval as it is now.", body = Approval)),
    security(("api_key" = ["approvals:write"])),
)]
async fn approve(
    caller: Caller<perm::ApprovalsWrite>,
    State(app): State<App>,
    Id(id): Id<ApprovalId>,
) -> Answer<Written<Approval>> {
    answer(&app, caller.call(), Action::Approve(id)).await
}

/// Deny a token request
///
/// Also takes back an approval that was not collected yet.
#[utoipa::path(
    post, path = "/approvals/{id}/deny", tag = "Approvals", operation_id = "deny",
    params(("id" = schema::ApprovalId, Path, description = "The approval's id.")),
    responses((status = 200, description = "The approval as it is now.", body = Approval)),
    security(("api_key" = ["approvals:write"])),
)]
async fn deny(
    caller: Caller<perm::ApprovalsWrite>,
    State(app): State<App>,
    Id(id): Id<ApprovalId>,
) -> Answer<Written<Approval>> {
    answer(&app, caller.call(), Action::Disapprove(id)).await
}

async fn answer(app: &App, call: Call, action: Action) -> Answer<Written<Approval>> {
    let done: Done<Arc<domain::Approval>> =
        expect(app.proposals.propose(call, action).await?, |outcome| match outcome {
            Outcome::Approval(approval) => Some(approval),
            _ => None,
        })?;
    let at = now(&app.views.load());
    Ok(Written::ok(done.map(|approval| Approval::new(&approval, at))))
}
