//! Webhooks: endpoints that are told of events.

use std::sync::Arc;

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::{Caller, perm},
    body::{JsonBody, OptionalBody},
    freshness::find,
    pagination::{List, Page},
    problem::{Code, Problem},
    query::Query,
    reply::{Answer, Id, Ids, PathId, Written, expect},
    schema,
    wire::{
        Deleted,
        webhook::{CreateWebhook, Delivery, PatchWebhook, RotateSecret, TestResult, Webhook},
    },
};
use crate::domain::{self, Action, DeliveryId, Outcome, RetryDelivery, Tenant, WebhookId};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, update, delete))
        .routes(routes!(test))
        .routes(routes!(rotate_secret))
        .routes(routes!(deliveries))
        .routes(routes!(retry))
}

fn check_url(app: &App, url: &str) -> Answer<()> {
    app.webhooks.check_url(url).map_err(|fault| Problem::invalid_field("url", fault))
}

/// Register a webhook
///
/// Register a webhook endpoint. Returns a signing secret for verification, shown this once. It is
/// sent the events that happen from now on, signed by Standard Webhooks 1.0, each at least once. It is
/// a way to read the audit log, which takes `audit:read`.
#[utoipa::path(
    post, path = "/webhooks", tag = "Webhooks", operation_id = "createWebhook",
    request_body = CreateWebhook,
    responses((status = 201, description = "The webhook with its secret.", body = Webhook)),
    security(("api_key" = ["webhooks:write", "audit:read"])),
)]
async fn create(
    caller: Caller<(perm::WebhooksWrite, perm::AuditRead)>,
    State(app): State<App>,
    JsonBody(body): JsonBody<CreateWebhook>,
) -> Answer<Written<Webhook>> {
    check_url(&app, &body.url)?;
    let done = app.webhooks.create(caller.call_once(), body.into_new(caller.tenant())).await?;
    Ok(Written::created(done.map(Webhook::from)))
}

/// List webhooks
///
/// List all registered webhook endpoints, newest first.
#[utoipa::path(
    get, path = "/webhooks", tag = "Webhooks", operation_id = "listWebhooks",
    params(Page),
    responses((status = 200, description = "A page of webhooks.", body = List<Webhook>)),
    security(("api_key" = ["webhooks:read"])),
)]
async fn list(
    caller: Caller<perm::WebhooksRead>,
    State(app): State<App>,
    Query(page): Query<Page>,
) -> Json<List<Webhook>> {
    let view = app.views.load();
    let (webhooks, total) = view.state.webhooks_page(caller.tenant(), page.skip(), page.take());
    Json(List::of(page, total, webhooks.iter().map(|webhook| webhook.as_ref().into()).collect()))
}

/// Get a webhook
#[utoipa::path(
    get, path = "/webhooks/{id}", tag = "Webhooks", operation_id = "getWebhook",
    params(("id" = schema::WebhookId, Path, description = "The webhook's id.")),
    responses((status = 200, description = "The webhook.", body = Webhook)),
    security(("api_key" = ["webhooks:read"])),
)]
async fn get(
    caller: Caller<perm::WebhooksRead>,
    State(app): State<App>,
    Id(id): Id<WebhookId>,
) -> Answer<Json<Webhook>> {
    let webhook = find_webhook(&app, caller.tenant(), id).await?;
    Ok(Json(webhook.as_ref().into()))
}

/// The webhook with this id, if the tenant has it.
async fn find_webhook(app: &App, tenant: Tenant, id: WebhookId) -> Answer<Arc<domain::Webhook>> {
    find(app, tenant.org, WebhookId::KIND, |view| view.state.webhook(tenant, id).cloned()).await
}

/// Update a webhook
///
/// Changes the URL, the events or the description; disables and enables it. What happens while it
/// is disabled is not sent later.
#[utoipa::path(
    patch, path = "/webhooks/{id}", tag = "Webhooks", operation_id = "updateWebhook",
    params(("id" = schema::WebhookId, Path, description = "The webhook's id.")),
    request_body = PatchWebhook,
    responses((status = 200, description = "The webhook as it is now.", body = Webhook)),
    security(("api_key" = ["webhooks:write", "audit:read"])),
)]
async fn update(
    caller: Caller<(perm::WebhooksWrite, perm::AuditRead)>,
    State(app): State<App>,
    Id(id): Id<WebhookId>,
    JsonBody(body): JsonBody<PatchWebhook>,
) -> Answer<Written<Webhook>> {
    if let Some(url) = &body.url {
        check_url(&app, url)?;
    }
    let done = app.proposals.propose(caller.call(), body.into_action(id)).await?;
    let done = expect(done, |outcome| match outcome {
        Outcome::Webhook(webhook) => Some(webhook),
        _ => None,
    })?;
    Ok(Written::ok(done.map(|webhook| webhook.as_ref().into())))
}

/// Delete a webhook
///
/// It is sent nothing more, not even what is still owed.
#[utoipa::path(
    delete, path = "/webhooks/{id}", tag = "Webhooks", operation_id = "deleteWebhook",
    params(("id" = schema::WebhookId, Path, description = "The webhook's id.")),
    responses((status = 200, description = "The webhook is gone.", body = Deleted)),
    security(("api_key" = ["webhooks:write"])),
)]
async fn delete(
    caller: Caller<perm::WebhooksWrite>,
    State(app): State<App>,
    Id(id): Id<WebhookId>,
) -> Answer<Written<Deleted>> {
    let done = app.proposals.propose(caller.call(), Action::DeleteWebhook(id)).await?;
    Ok(Written::deleted(done, id))
}

/// Test a webhook
///
/// Sends a signed message of the type `webhook.test` now, and says what the target answered. It is
/// no event, and not sent again. A target that does not take it is a 502.
#[utoipa::path(
    post, path = "/webhooks/{id}/test", tag = "Webhooks", operation_id = "testWebhook",
    params(("id" = schema::WebhookId, Path, description = "The webhook's id.")),
    responses((status = 200, description = "What the target answered.", body = TestResult)),
    security(("api_key" = ["webhooks:write"])),
)]
async fn test(
    caller: Caller<perm::WebhooksWrite>,
    State(app): State<App>,
    Id(id): Id<WebhookId>,
) -> Answer<Json<TestResult>> {
    find_webhook(&app, caller.tenant(), id).await?;
    let answer = app.webhooks.test(caller.tenant(), id).await?;
    TestResult::of(answer).map(Json).map_err(|target| {
        let said = match target.response_status {
            Some(status) => format!("answered with the status {status}"),
            None => format!("did not answer: {}", target.error),
        };
        let detail = format!(
            "The target {said}, after {} ms. It must answer with 2xx within 15 seconds, without a \
             redirect.",
            target.latency_ms
        );
        Problem::new(Code::WEBHOOK_TEST_FAILED, detail).of_target(target)
    })
}

/// Rotate a webhook's secret
///
/// Makes a new signing secret, shown this once. For `grace_seconds` everything is signed with both.
/// The body may be left out.
#[utoipa::path(
    post, path = "/webhooks/{id}/rotate-secret", tag = "Webhooks",
    operation_id = "rotateWebhookSecret",
    params(("id" = schema::WebhookId, Path, description = "The webhook's id.")),
    request_body = Option<RotateSecret>,
    responses((status = 200, description = "The webhook with its new secret.", body = Webhook)),
    security(("api_key" = ["webhooks:write"])),
)]
async fn rotate_secret(
    caller: Caller<perm::WebhooksWrite>,
    State(app): State<App>,
    Id(id): Id<WebhookId>,
    OptionalBody(body): OptionalBody<RotateSecret>,
) -> Answer<Written<Webhook>> {
    let (call, tenant) = (caller.call_once(), caller.tenant());
    find_webhook(&app, tenant, id).await?;
    let done = app.webhooks.rotate_secret(call, tenant, id, body.grace_s()).await?;
    Ok(Written::ok(done.map(Webhook::from)))
}

/// List deliveries
///
/// The deliveries to a webhook that were attempted last, up to 100, the latest first.
#[utoipa::path(
    get, path = "/webhooks/{id}/deliveries", tag = "Webhooks", operation_id = "listDeliveries",
    params(("id" = schema::WebhookId, Path, description = "The webhook's id."), Page),
    responses((status = 200, description = "A page of deliveries.", body = List<Delivery>)),
    security(("api_key" = ["webhooks:write"])),
)]
async fn deliveries(
    caller: Caller<perm::WebhooksWrite>,
    State(app): State<App>,
    Id(id): Id<WebhookId>,
    Query(page): Query<Page>,
) -> Answer<Json<List<Delivery>>> {
    let tenant = caller.tenant();
    let outbox = find(&app, tenant.org, WebhookId::KIND, |view| {
        view.state.webhook(tenant, id).and_then(|_| view.state.outboxes.get(&id)).cloned()
    })
    .await?;
    let latest = outbox.log.iter().rev().skip(page.skip()).take(page.take());
    let shown = latest.map(|delivery| delivery.as_ref().into()).collect();
    Ok(Json(List::of(page, outbox.log.len() as u64, shown)))
}

/// Retry a delivery
///
/// Makes another attempt now, whatever came of the delivery so far.
#[utoipa::path(
    post, path = "/webhooks/{id}/deliveries/{dlv}/retry", tag = "Webhooks",
    operation_id = "retryDelivery",
    params(
        ("id" = schema::WebhookId, Path, description = "The webhook's id."),
        ("dlv" = schema::DeliveryId, Path, description = "The delivery's id."),
    ),
    responses((status = 200, description = "The delivery, due now.", body = Delivery)),
    security(("api_key" = ["webhooks:write"])),
)]
async fn retry(
    caller: Caller<perm::WebhooksWrite>,
    State(app): State<App>,
    Ids(webhook, delivery): Ids<WebhookId, DeliveryId>,
) -> Answer<Written<Delivery>> {
    let action = Action::RetryDelivery(RetryDelivery { webhook, delivery });
    let done = app.proposals.propose(caller.call(), action).await?;
    let done = expect(done, |outcome| match outcome {
        Outcome::Delivery(delivery) => Some(delivery),
        _ => None,
    })?;
    let shown = |delivery: Arc<crate::domain::Delivery>| delivery.as_ref().into();
    Ok(Written::ok(done.map(shown)))
}
