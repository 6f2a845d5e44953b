//! The cluster: this node's state, the nodes' signing keys, the operators' keys. For operators.

use std::{sync::Arc, time::Duration};

use authrai_cluster::{MemberError, MemberRefusal};
use axum::{
    Json,
    extract::{Path, State},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::Operator,
    body::JsonBody,
    error::shutting_down,
    pagination::{List, Page},
    problem::{Code, Problem},
    query::Query,
    reply::{Answer, Id, Written, expect},
    schema,
    wire::{
        Deleted,
        cluster::{
            ChangedMember, Cluster, ClusterLevel, ConfirmedClock, CreateOperatorKey, OperatorKey,
            SigningKey, TransferLeader,
        },
    },
};
use crate::{
    actors::Done,
    clock,
    domain::{self, Action, OperatorKeyId, Outcome, SigningKeyId},
    limits,
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(remove_node))
        .routes(routes!(transfer_leader))
        .routes(routes!(raise_level))
        .routes(routes!(confirm_clock))
        .routes(routes!(list_keys))
        .routes(routes!(rotate_key))
        .routes(routes!(revoke_key))
        .routes(routes!(create_operator_key, list_operator_keys))
        .routes(routes!(delete_operator_key))
}

/// Get the cluster's state
///
/// What the asked node knows of itself, and what every member says of itself: roles, logs, how far
/// each lags, leases.
#[utoipa::path(
    get, path = "/cluster", tag = "Cluster", operation_id = "getCluster",
    responses((status = 200, description = "The state.", body = Cluster)),
    security(("operator_key" = [])),
)]
async fn status(_: Operator, State(app): State<App>) -> Json<Cluster> {
    let members = app.handle.members().await;
    let state = &app.views.load().state;
    Json(Cluster::new(&app.handle.status(), app.handle.may_serve(), members, state))
}

/// Remove a node from the cluster
///
/// For good: its id never comes back, and neither does what its disk holds. Refused when too few
/// voters would be left that answer. Any node can be asked, and for any node; a leader that is
/// removed hands over first.
#[utoipa::path(
    delete, path = "/cluster/nodes/{id}", tag = "Cluster", operation_id = "removeNode",
    params(("id" = schema::NodeId, Path, description = "The node's id.")),
    responses((status = 200, description = "The node is no member any more.", body = ChangedMember)),
    security(("operator_key" = [])),
)]
async fn remove_node(
    _: Operator,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Answer<Written<ChangedMember>> {
    let node_id = id.parse().map_err(|_| no_member(&id))?;
    let removed = app.handle.remove_member(node_id, change_within()).await;
    removed.map_err(|error| not_changed(&error, node_id))?;
    changed(&app, node_id).await
}

/// Make a node the leader
///
/// For example before the machine of the present one is stopped. A node that is stopped in order
/// hands over by itself.
#[utoipa::path(
    post, path = "/cluster/leader", tag = "Cluster", operation_id = "transferLeader",
    request_body = TransferLeader,
    responses((status = 200, description = "The node leads.", body = ChangedMember)),
    security(("operator_key" = [])),
)]
async fn transfer_leader(
    _: Operator,
    State(app): State<App>,
    JsonBody(TransferLeader { node_id }): JsonBody<TransferLeader>,
) -> Answer<Written<ChangedMember>> {
    let led = app.handle.transfer_leader(node_id, change_within()).await;
    led.map_err(|error| not_changed(&error, node_id))?;
    changed(&app, node_id).await
}

/// Raise the cluster to a new level
///
/// After an upgrade of every node: what the new version decides in a new way holds from then on, and
/// a node of the version before no longer starts. Until then one can go back. The level is the
/// newest that every member knows; each of them must answer. Asked again it does no harm.
#[utoipa::path(
    post, path = "/cluster/level", tag = "Cluster", operation_id = "raiseLevel",
    responses((status = 200, description = "The level that holds.", body = ClusterLevel)),
    security(("operator_key" = [])),
)]
async fn raise_level(_: Operator, State(app): State<App>) -> Answer<Written<ClusterLevel>> {
    let raised = app.handle.raise_level(change_within()).await;
    let level = raised.map_err(|error| level_not_raised(&error))?;
    let index = app.handle.applied_index();
    Ok(Written::ok(Done { index, value: ClusterLevel { level }, replayed: false }))
}

/// Confirm a node's clock
///
/// The clock of the node that is asked, which has jumped: it is right as it is now. Where other
/// nodes have a vote they settle that among themselves; a cluster of one takes no writes until it is
/// told, or until the clock is back.
#[utoipa::path(
    post, path = "/cluster/clock", tag = "Cluster", operation_id = "confirmClock",
    responses((status = 200, description = "The clock counts.", body = ConfirmedClock)),
    security(("operator_key" = [])),
)]
async fn confirm_clock(operator: Operator, State(app): State<App>) -> Json<ConfirmedClock> {
    tracing::warn!(operator = %operator.key.id, "an operator confirms the wall clock");
    app.handle.confirm_clock().await;
    Json(ConfirmedClock::at(clock::now_ms()))
}

/// The answer once a change is done. Its place in the log is the leader's to tell: this node may
/// not have applied it yet, and one that was removed just now never will.
async fn changed(app: &App, node_id: u64) -> Answer<Written<ChangedMember>> {
    let within = Duration::from_millis(limits::PROPOSAL_DEADLINE_MS);
    let index = app.handle.read_index(within).await;
    let index = index.unwrap_or_else(|_| app.handle.applied_index());
    Ok(Written::ok(Done { index, value: ChangedMember { node_id }, replayed: false }))
}

const fn change_within() -> Duration {
    Duration::from_millis(limits::MEMBER_CHANGE_DEADLINE_MS)
}

fn no_member(id: &str) -> Problem {
    let detail = format!("There is no member {id}. GET /v1/cluster lists the members.");
    Problem::new(Code::NOT_FOUND, detail)
}

fn not_changed(error: &MemberError, node: u64) -> Problem {
    match error {
        MemberError::Refused(MemberRefusal::NoMember) => no_member(&node.to_string()),
        MemberError::Refused(refusal) => Problem::new(
            Code::CONFLICT,
            format!(
                "Node {node}: {refusal}. Nothing was changed; GET /v1/cluster shows the members."
            ),
        ),
        other => not_done(other),
    }
}

fn level_not_raised(error: &MemberError) -> Problem {
    match error {
        MemberError::Refused(refusal) => {
            Problem::new(Code::CONFLICT, format!("The level was not raised: {refusal}."))
        }
        other => not_done(other),
    }
}

fn not_done(error: &MemberError) -> Problem {
    match error {
        MemberError::ShuttingDown => shutting_down(),
        _ => Problem::new(
            Code::NO_QUORUM,
            "No leader did it in time. It may yet happen: look at GET /v1/cluster, and ask again; \
             asking twice does no harm.",
        ),
    }
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
    Ok(Written::deleted(done, id))
}
