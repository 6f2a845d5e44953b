//! API keys: who may call this API for one environment of one organisation. The keys themselves
//! belong to the organisation: either environment's key sees them.

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
    domain::{self, Action, ApiKeyId, OrgId, Outcome},
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
/// Create a new API key for programmatic access. The key is shown this once.
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
    made(&app, caller.call_once(), action, &secret).await
}

/// Proposes the making of a key and shows the key with its secret.
pub(super) async fn made(
    app: &App,
    call: Call,
    action: Action,
    secret: &Secret,
) -> Answer<Written<ApiKey>> {
    let done = app.proposals.propose_showing(call, action, secret.expose()).await?;
    Ok(Written::created(expect(done, a_key_with_its_secret)?))
}

fn a_key_with_its_secret((outcome, secret): (Outcome, Zeroizing<String>)) -> Option<ApiKey> {
    an_api_key(outcome).map(|key| ApiKey::with_secret(&key, &secret))
}

fn an_api_key(outcome: Outcome) -> Option<Arc<domain::ApiKey>> {
    match outcome {
        Outcome::ApiKey(key) => Some(key),
        _ => None,
    }
}

/// List API keys
///
/// List all API keys of the organisation, newest first (values are masked).
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
    let (keys, total) = view.state.api_keys_page(caller.org(), page.skip(), page.take());
    Json(List::of(page, total, keys.iter().map(|key| ApiKey::masked(key)).collect()))
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
    let key = find_key(&app, caller.org(), id).await?;
    Ok(Json(ApiKey::masked(&key)))
}

/// The key with this id, if the organisation has it.
async fn find_key(app: &App, org: OrgId, id: ApiKeyId) -> Answer<Arc<domain::ApiKey>> {
    find(app, ApiKeyId::KIND, |view| {
        view.state.api_keys.get(&id).filter(|key| key.tenant.org == org).cloned()
    })
    .await
}

/// Update an API key
///
/// Renames, disables or enables a key. A disabled key stops at once, on every node.
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
    Ok(Written::ok(done.map(|key| ApiKey::masked(&key))))
}

/// Delete an API key
///
/// Permanently delete an API key. It stops at once, on every node.
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
/// `grace_seconds`. The body may be left out.
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
    let key = find_key(&app, caller.org(), id).await?;
    let (action, secret) = body.into_action(&key);
    let call = caller.call_once();
    let done = app.proposals.propose_showing(call, action, secret.expose()).await?;
    Ok(Written::ok(expect(done, a_key_with_its_secret)?))
}
