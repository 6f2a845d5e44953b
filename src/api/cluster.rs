//! The cluster: this node's state, the nodes' signing keys, the operators' keys. For operators.

use std::sync::Arc;

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::Operator,
    body::JsonBody,
    pagination::{List, Page},
    query::Query,
    reply::{Answer, Id, Written, expect},
    schema,
    wire::{
        Deleted,
        cluster::{Cluster, CreateOperatorKey, OperatorKey, SigningKey},
    },
};
use crate::domain::{self, Action, OperatorKeyId, Outcome, SigningKeyId};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(list_keys))
        .routes(routes!(rotate_key))
        .routes(routes!(revoke_key))
        .routes(routes!(create_operator_key, list_operator_keys))
        .routes(routes!(delete_operator_key))
}

/// Get the cluster's state
///
/// What the asked node knows of itself and of its cluster.
#[utoipa::path(
    get, path = "/cluster", tag = "Cluster", operation_id = "getCluster",
    responses((status = 200, description = "The state.", body = Cluster)),
    security(("operator_key" = [])),
)]
async fn status(_: Operator, State(app): State<App>) -> Json<Cluster> {
    Json(Cluster::new(&app.handle.status(), app.handle.may_serve()))
}

/// List signing keys
///
/// The keys with which the nodes sign tokens, newest first, until nothing that they signed can be
/// alive.
#[utoipa::path(
    get, path = "/cluster/keys", tag = "Cluster", operation_id = "listSigningKeys",
    params(Page),
    responses((status = 200, description = "A page of signing keys.", body = List<SigningKey>)),
    security(("operator_key" = [])),
)]
async fn list_keys(
    _: Operator,
    State(app): State<App>,
    Query(page): Query<Page>,
) -> Json<List<SigningKey>> {
    let view = app.views.load();
    let keys = &view.state.signing_keys;
    let page_of_keys = keys.values().rev().skip(page.skip()).take(page.take());
    let shown = page_of_keys.map(|key| SigningKey::from(key.as_ref())).collect();
    Json(List::of(page, keys.len() as u64, shown))
}

/// Replace this node's signing key
///
/// The asked node makes a new key and signs with it from now on. Tokens that the old one signed
/// live on until they expire.
#[utoipa::path(
    post, path = "/cluster/keys/rotate", tag = "Cluster", operation_id = "rotateSigningKey",
    responses((status = 200, description = "The new key.", body = SigningKey)),
    security(("operator_key" = [])),
)]
async fn rotate_key(operator: Operator, State(app): State<App>) -> Answer<Written<SigningKey>> {
    let done = app.keys.rotate(operator.call()).await?;
    Ok(Written::ok(done.map(|key| key.as_ref().into())))
}

/// Revoke a signing key
///
/// For a key in wrong hands: every token that it signed is dead at once, on every node, and the
/// node that held it makes a new one.
#[utoipa::path(
    post, path = "/cluster/keys/{kid}/revoke", tag = "Cluster", operation_id = "revokeSigningKey",
    params(("kid" = schema::SigningKeyId, Path, description = "The key's id.")),
    responses((status = 200, description = "The key is revoked.", body = SigningKey)),
    security(("operator_key" = [])),
)]
async fn revoke_key(
    operator: Operator,
    State(app): State<App>,
    Id(kid): Id<SigningKeyId>,
) -> Answer<Written<SigningKey>> {
    let done = app.keys.revoke(operator.call(), kid).await?;
    Ok(Written::ok(done.map(|key| key.as_ref().into())))
}

/// Create an operator key
///
/// The key is shown this once.
#[utoipa::path(
    post, path = "/cluster/operator-keys", tag = "Cluster", operation_id = "createOperatorKey",
    request_body = CreateOperatorKey,
    responses((status = 201, description = "The key.", body = OperatorKey)),
    security(("operator_key" = [])),
)]
async fn create_operator_key(
    operator: Operator,
    State(app): State<App>,
    JsonBody(body): JsonBody<CreateOperatorKey>,
) -> Answer<Written<OperatorKey>> {
    let (action, secret) = body.into_action();
    let call = operator.call_once();
    let done = app.proposals.propose_showing(call, action, secret.expose()).await?;
    let done = expect(done, |(outcome, secret)| Some((an_operator_key(outcome)?, secret)))?;
    Ok(Written::created(done.map(|(key, secret)| OperatorKey::with_secret(&key, &secret))))
}

fn an_operator_key(outcome: Outcome) -> Option<Arc<domain::OperatorKey>> {
    match outcome {
        Outcome::OperatorKey(key) => Some(key),
        _ => None,
    }
}

/// List operator keys
///
/// Values are masked.
#[utoipa::path(
    get, path = "/cluster/operator-keys", tag = "Cluster", operation_id = "listOperatorKeys",
    params(Page),
    responses((status = 200, description = "A page of operator keys.", body = List<OperatorKey>)),
    security(("operator_key" = [])),
)]
async fn list_operator_keys(
    _: Operator,
    State(app): State<App>,
    Query(page): Query<Page>,
) -> Json<List<OperatorKey>> {
    let view = app.views.load();
    let (keys, total) = view.state.operator_keys_page(page.skip(), page.take());
    Json(List::of(page, total, keys.iter().map(|key| OperatorKey::masked(key)).collect()))
}

/// Delete an operator key
///
/// It stops at once, on every node. The last one cannot be deleted.
#[utoipa::path(
    delete, path = "/cluster/operator-keys/{id}", tag = "Cluster",
    operation_id = "deleteOperatorKey",
    params(("id" = schema::OperatorKeyId, Path, description = "The key's id.")),
    responses((status = 200, description = "The key is gone.", body = Deleted)),
    security(("operator_key" = [])),
)]
async fn delete_operator_key(
    operator: Operator,
    State(app): State<App>,
    Id(id): Id<OperatorKeyId>,
) -> Answer<Written<Deleted>> {
    let done = app.proposals.propose(operator.call(), Action::DeleteOperatorKey(id)).await?;
    Ok(Written::ok(done.map(|_| Deleted { id: id.to_string(), deleted: true })))
}
