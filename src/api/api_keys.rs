//! API keys: who may call this API for one environment of one organisation. A live key sees all keys
//! of the organisation, a test key those of the test environment.

use std::sync::Arc;

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

use super::{
    App,
    auth::{Caller, perm},
    body::{JsonBody, OptionalBody},
    freshness::find,
    pagination::{List, Page},
    query::Query,
    reply::{Answer, Id, PathId, Written, expect},
    schema,
    wire::{
        Deleted,
        api_key::{ApiKey, CreateApiKey, PatchApiKey, RotateKey},
    },
};
use crate::{
    actors::Call,
    domain::{self, Action, ApiKeyId, Level, Outcome, Tenant},
    secrets::Secret,
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, update, delete))
        .routes(routes!(rotate))
}

/// Create an API key
///
/// Create a new API key for programmatic access. The key is shown this once. It works only while the
/// key that creates it does.
#[utoipa::path(
    post, path = "/api-keys", tag = "API Keys", operation_id = "createApiKey",
    request_body = CreateApiKey,
    responses((status = 201, description = "The key.", body = ApiKey)),
    security(("api_key" = ["api_keys:write"])),
)]
async fn create(
    caller: Caller<perm::ApiKeysWrite>,
    State(app): State<App>,
    JsonBody(body): JsonBody<CreateApiKey>,
) -> Answer<Written<ApiKey>> {
    let (action, secret) = body.into_action(caller.org(), caller.key.permissions);
    let keeps_creators = app.views.load().state.level >= Level::BOUNDED;
    let created_by = keeps_creators.then_some(caller.key.id);
    made(&app, caller.call_once(), action, &secret, created_by).await
}

/// Proposes the making of a key and shows the key with its secret.
pub(super) async fn made(
    app: &App,
    call: Call,
    action: Action,
    secret: &Secret,
    created_by: Option<ApiKeyId>,
) -> Answer<Written<ApiKey>> {
    let done = app.proposals.propose_showing(call, action, secret.expose()).await?;
    Ok(Written::created(expect(done, |came| a_key_with_its_secret(came, created_by))?))
}

fn a_key_with_its_secret(
    (outcome, secret): (Outcome, Zeroizing<String>),
    created_by: Option<ApiKeyId>,
) -> Option<ApiKey> {
    an_api_key(outcome).map(|key| ApiKey::with_secret(&key, created_by, &secret))
}

fn an_api_key(outcome: Outcome) -> Option<Arc<domain::ApiKey>> {
    match outcome {
        Outcome::ApiKey(key) => Some(key),
        _ => None,
    }
}

/// List API keys
///
/// List API keys, newest first (values are masked): all of the organisation for a live key, the test
/// keys for a test key.
#[utoipa::path(
    get, path = "/api-keys", tag = "API Keys", operation_id = "listApiKeys",
    params(Page),
    responses((status = 200, description = "A page of API keys.", body = List<ApiKey>)),
    security(("api_key" = ["api_keys:read"])),
)]
async fn list(
    caller: Caller<perm::ApiKeysRead>,
    State(app): State<App>,
    Query(page): Query<Page>,
) -> Json<List<ApiKey>> {
    let view = app.views.load();
    let (keys, total) = view.state.api_keys_page(caller.tenant(), page.skip(), page.take());
    let shown = |key: &Arc<domain::ApiKey>| ApiKey::masked(key, view.state.api_key_creator(key.id));
    Json(List::of(page, total, keys.iter().map(shown).collect()))
}

/// Get an API key
#[utoipa::path(
    get, path = "/api-keys/{id}", tag = "API Keys", operation_id = "getApiKey",
    params(("id" = schema::ApiKeyId, Path, description = "The key's id.")),
    responses((status = 200, description = "The key, masked.", body = ApiKey)),
    security(("api_key" = ["api_keys:read"])),
)]
async fn get(
    caller: Caller<perm::ApiKeysRead>,
    State(app): State<App>,
    Id(id): Id<ApiKeyId>,
) -> Answer<Json<ApiKey>> {
    let (key, created_by) = find_key(&app, caller.tenant(), id).await?;
    Ok(Json(ApiKey::masked(&key, created_by)))
}

/// The key with this id, if a key of `tenant` sees it, and the key that created it.
async fn find_key(
    app: &App,
    tenant: Tenant,
    id: ApiKeyId,
) -> Answer<(Arc<domain::ApiKey>, Option<ApiKeyId>)> {
    find(app, tenant.org, ApiKeyId::KIND, |view| {
        let key = view.state.api_keys.get(&id).filter(|key| key.is_seen_from(tenant))?;
        Some((Arc::clone(key), view.state.api_key_creator(id)))
    })
    .await
}

/// Update an API key
///
/// Renames, disables or enables a key. A disabled key stops at once, on every node, and with it the
/// keys that descend from it, until it is enabled again. Only a key that holds all permissions of
/// another one can change it.
#[utoipa::path(
    patch, path = "/api-keys/{id}", tag = "API Keys", operation_id = "updateApiKey",
    params(("id" = schema::ApiKeyId, Path, description = "The key's id.")),
    request_body = PatchApiKey,
    responses((status = 200, description = "The key as it is now, masked.", body = ApiKey)),
    security(("api_key" = ["api_keys:write"])),
)]
async fn update(
    caller: Caller<perm::ApiKeysWrite>,
    State(app): State<App>,
    Id(id): Id<ApiKeyId>,
    JsonBody(body): JsonBody<PatchApiKey>,
) -> Answer<Written<ApiKey>> {
    let done = app.proposals.propose(caller.call(), body.into_action(id)).await?;
    let done = expect(done, an_api_key)?;
    let created_by = app.views.load().state.api_key_creator(id);
    Ok(Written::ok(done.map(|key| ApiKey::masked(&key, created_by))))
}

/// Delete an API key
///
/// Permanently delete an API key. It stops at once, on every node, and with it the keys that descend
/// from it. Only a key that holds all permissions of another one can delete it.
#[utoipa::path(
    delete, path = "/api-keys/{id}", tag = "API Keys", operation_id = "deleteApiKey",
    params(("id" = schema::ApiKeyId, Path, description = "The key's id.")),
    responses((status = 200, description = "The key is gone.", body = Deleted)),
    security(("api_key" = ["api_keys:write"])),
)]
async fn delete(
    caller: Caller<perm::ApiKeysWrite>,
    State(app): State<App>,
    Id(id): Id<ApiKeyId>,
) -> Answer<Written<Deleted>> {
    let done = app.proposals.propose(caller.call(), Action::DeleteApiKey(id)).await?;
    Ok(Written::deleted(done, id))
}

/// Rotate an API key
///
/// Makes a new secret for the key, shown this once. The old one stops at once, or after
/// `grace_seconds`; the keys that descend from it go on. The body may be left out. A key can rotate
/// one that holds no more permissions than itself, works no longer, and is not above it in its line.
#[utoipa::path(
    post, path = "/api-keys/{id}/rotate", tag = "API Keys", operation_id = "rotateApiKey",
    params(("id" = schema::ApiKeyId, Path, description = "The key's id.")),
    request_body = Option<RotateKey>,
    responses((status = 200, description = "The key with its new secret.", body = ApiKey)),
    security(("api_key" = ["api_keys:write"])),
)]
async fn rotate(
    caller: Caller<perm::ApiKeysWrite>,
    State(app): State<App>,
    Id(id): Id<ApiKeyId>,
    OptionalBody(body): OptionalBody<RotateKey>,
) -> Answer<Written<ApiKey>> {
    let (key, created_by) = find_key(&app, caller.tenant(), id).await?;
    let (action, secret) = body.into_action(&key);
    let call = caller.call_once();
    let done = app.proposals.propose_showing(call, action, secret.expose()).await?;
    Ok(Written::ok(expect(done, |came| a_key_with_its_secret(came, created_by))?))
}
