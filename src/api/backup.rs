//! Backups of the cluster, and what a restored one has suspended. For operators.

use std::{sync::Arc, time::Duration};

use authrai_cluster::{
    Unavailable,
    backup::{Backup, BackupBroken},
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::Operator,
    body::JsonBody,
    error::shutting_down,
    pagination::{List, Page},
    problem::{Code, Problem, ProblemBody},
    query::Query,
    reply::{Answer, Written, expect},
    wire::suspension::{LiftSuspension, Suspended, SuspensionsLifted},
};
use crate::{domain::Outcome, limits};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(back_up)).routes(routes!(list)).routes(routes!(lift))
}

/// Back the cluster up
///
/// One file with everything that was acknowledged before it was asked for: the state and the whole
/// audit log. `authrai backup create` writes it and looks that it is whole; `authrai backup verify`
/// checks what is in it. Secrets that must be read back are in it sealed under the cluster's key
/// file, which is not, and private signing keys are not in it at all.
#[utoipa::path(
    get, path = "/cluster/backup", tag = "Cluster", operation_id = "backUpCluster",
    responses(
        (status = 200, description = "The backup. An answer that ends early was broken off.",
         body = Vec<u8>, content_type = "application/octet-stream",
         headers(("Content-Disposition" = String, description = "A name for the file."))),
        (status = 429, description = "This node makes as many backups as it may.",
         body = ProblemBody, content_type = "application/problem+json",
         headers(("Retry-After" = u64))),
    ),
    security(("operator_key" = [])),
)]
async fn back_up(_: Operator, State(app): State<App>) -> Answer<Response> {
    let Ok(place) = Arc::clone(&app.backups).try_acquire_owned() else {
        let detail = "This node makes as many backups as it may. Let one end, or ask another node.";
        return Err(Problem::new(Code::LIMIT_REACHED, detail).retry_after(RETRY_AFTER_S));
    };
    let within = Duration::from_millis(limits::PROPOSAL_DEADLINE_MS);
    let program = format!("authrai {}", env!("CARGO_PKG_VERSION"));
    let backup = app.handle.backup(program, within).await.map_err(|error| match error {
        Unavailable::ShuttingDown => shutting_down(),
        _ => Problem::new(
            Code::NO_QUORUM,
            "No majority of the cluster's nodes can be reached, so it cannot be told whether this \
             node knows everything that was acknowledged. Ask again shortly, or ask another node.",
        ),
    })?;
    let origin = backup.origin();
    let name = format!("authrai-{}-{}.backup", &origin.cluster_hex()[..8], origin.index);
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    let body = Body::from_stream(pieces(backup, app.stopping.clone(), place));
    Ok((headers, body).into_response())
}

/// A backup is the work of minutes.
const RETRY_AFTER_S: u64 = 60;

/// The pieces of a backup, until it ends or the node is stopped.
fn pieces(
    backup: Backup,
    stopping: CancellationToken,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    stream::unfold((backup, stopping, place), |(mut backup, stopping, place)| async move {
        let piece = tokio::select! {
            piece = backup.next() => piece?.map_err(|BackupBroken(why)| std::io::Error::other(why)),
            () = stopping.cancelled() => Err(std::io::Error::other("the node is being stopped")),
        };
        Some((piece.map(Bytes::from), (backup, stopping, place)))
    })
}

/// List what a restore suspended
///
/// API keys first, then agents, each newest first. A restored cluster does not know what was revoked
/// after the backup was made; so each waits until an operator has looked at it.
#[utoipa::path(
    get, path = "/cluster/suspensions", tag = "Cluster", operation_id = "listSuspensions",
    params(Page),
    responses((status = 200, description = "A page of them.", body = List<Suspended>)),
    security(("operator_key" = [])),
)]
async fn list(
    _: Operator,
    State(app): State<App>,
    Query(page): Query<Page>,
) -> Json<List<Suspended>> {
    let view = app.views.load();
    let state = &view.state;
    let (api_keys, agents) = state.suspended();
    let api_keys_at = state.suspended_api_keys.iter().rev();
    let keys = api_keys_at.filter_map(|id| state.api_keys.get(id)).map(|key| key.as_ref().into());
    let agents_at = state.suspended_agents.iter().rev();
    let suspended = agents_at.filter_map(|id| state.agents.get(id)).map(|one| one.as_ref().into());
    let shown = keys.chain(suspended).skip(page.skip()).take(page.take()).collect();
    Json(List::of(page, api_keys + agents, shown))
}

/// Lift suspensions
///
/// Of one API key, of one agent, or of all. Before that, find out what was revoked, rotated or
/// deleted after the backup was made, and do it again: what is lifted is as it was in the backup.
#[utoipa::path(
    post, path = "/cluster/suspensions/lift", tag = "Cluster", operation_id = "liftSuspensions",
    request_body = LiftSuspension,
    responses((status = 200, description = "They are lifted.", body = SuspensionsLifted)),
    security(("operator_key" = [])),
)]
async fn lift(
    operator: Operator,
    State(app): State<App>,
    JsonBody(body): JsonBody<LiftSuspension>,
) -> Answer<Written<SuspensionsLifted>> {
    let nothing = || Problem::invalid_field("body", "names nothing whose suspension can be lifted");
    let action = body.into_action().ok_or_else(nothing)?;
    let done = app.proposals.propose(operator.call(), action).await?;
    let done = expect(done, |outcome| match outcome {
        Outcome::SuspensionsLifted(lifted) => Some(lifted),
        _ => None,
    })?;
    Ok(Written::ok(done.map(SuspensionsLifted::from)))
}
