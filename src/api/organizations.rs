//! Organisations: the tenants, and their first keys. For operators, who see nothing else of them.

use std::sync::Arc;

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App, api_keys,
    auth::Operator,
    body::JsonBody,
    freshness::find,
    pagination::{List, Page},
    query::Query,
    reply::{Answer, Id, PathId, Written, expect},
    schema,
    wire::{
        api_key::{ApiKey, CreateApiKey},
        organization::{CreateOrganization, Organization, PatchOrganization},
    },
};
use crate::domain::{self, OrgId, Outcome, Permissions};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, update))
        .routes(routes!(create_api_key))
}

fn an_organization(outcome: Outcome) -> Option<Arc<domain::Organization>> {
    match outcome {
        Outcome::Organization(organization) => Some(organization),
        _ => None,
    }
}

/// Create an organisation
#[utoipa::path(
    post, path = "/organizations", tag = "Organizations", operation_id = "createOrganization",
    request_body = CreateOrganization,
    responses((status = 201, description = "The organisation.", body = Organization)),
    security(("operator_key" = [])),
)]
async fn create(
    operator: Operator,
    State(app): State<App>,
    JsonBody(body): JsonBody<CreateOrganization>,
) -> Answer<Written<Organization>> {
    let done =
        app.proposals.propose(operator.call_once(), body.into_action(&app.default_plan)).await?;
    let done = expect(done, an_organization)?;
    Ok(Written::created(done.map(|organization| organization.as_ref().into())))
}

/// List organisations
#[utoipa::path(
    get, path = "/organizations", tag = "Organizations", operation_id = "listOrganizations",
    params(Page),
    responses((status = 200, description = "A page of organisations.", body = List<Organization>)),
    security(("operator_key" = [])),
)]
async fn list(
    _: Operator,
    State(app): State<App>,
    Query(page): Query<Page>,
) -> Json<List<Organization>> {
    let view = app.views.load();
    let (organizations, total) = view.state.organizations_page(page.skip(), page.take());
    let organizations = organizations.iter().map(|one| Organization::from(one.as_ref()));
    Json(List::of(page, total, organizations.collect()))
}

/// Get an organisation
#[utoipa::path(
    get, path = "/organizations/{id}", tag = "Organizations", operation_id = "getOrganization",
    params(("id" = schema::OrganizationId, Path, description = "The organisation's id.")),
    responses((status = 200, description = "The organisation.", body = Organization)),
    security(("operator_key" = [])),
)]
async fn get(_: Operator, State(app): State<App>, Id(id): Id<OrgId>) -> Answer<Json<Organization>> {
    let organization =
        find(&app, OrgId::SYSTEM, OrgId::KIND, |view| view.state.organizations.get(&id).cloned())
            .await?;
    Ok(Json(organization.as_ref().into()))
}

/// Update an organisation
///
/// Its name, its default or its plan; a plan takes effect at once.
#[utoipa::path(
    patch, path = "/organizations/{id}", tag = "Organizations", operation_id = "updateOrganization",
    params(("id" = schema::OrganizationId, Path, description = "The organisation's id.")),
    request_body = PatchOrganization,
    responses((status = 200, description = "The organisation as it is now.", body = Organization)),
    security(("operator_key" = [])),
)]
async fn update(
    operator: Operator,
    State(app): State<App>,
    Id(id): Id<OrgId>,
    JsonBody(body): JsonBody<PatchOrganization>,
) -> Answer<Written<Organization>> {
    let done = app.proposals.propose(operator.call(), body.into_action(id)).await?;
    let done = expect(done, an_organization)?;
    Ok(Written::ok(done.map(|organization| organization.as_ref().into())))
}

/// Create an API key for an organisation
///
/// An organisation's first key, or one for an organisation that has lost all of its own. The key
/// is shown this once.
#[utoipa::path(
    post, path = "/organizations/{id}/api-keys", tag = "Organizations",
    operation_id = "createOrganizationApiKey",
    params(("id" = schema::OrganizationId, Path, description = "The organisation's id.")),
    request_body = CreateApiKey,
    responses((status = 201, description = "The key.", body = ApiKey)),
    security(("operator_key" = [])),
)]
async fn create_api_key(
    operator: Operator,
    State(app): State<App>,
    Id(id): Id<OrgId>,
    JsonBody(body): JsonBody<CreateApiKey>,
) -> Answer<Written<ApiKey>> {
    let (action, secret) = body.into_action(id, Permissions::all());
    api_keys::made(&app, operator.call_once(), action, &secret, None).await
}
