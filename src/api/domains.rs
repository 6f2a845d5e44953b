//! Verified domains: names in the DNS that an organisation proves to be its own.

use std::sync::Arc;

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::{Caller, perm},
    body::JsonBody,
    error::domain_check_failed,
    freshness::find,
    pagination::{List, Page},
    query::Query,
    reply::{Answer, Id, PathId, Written, expect},
    schema,
    wire::{
        Deleted,
        domain::{CreateDomain, Domain},
    },
};
use crate::domain::{Action, DnsDomain, DomainId, OrgId, Outcome};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, delete))
        .routes(routes!(verify))
}

fn a_domain(outcome: Outcome) -> Option<Arc<DnsDomain>> {
    match outcome {
        Outcome::Domain(domain) => Some(domain),
        _ => None,
    }
}

/// Add a domain
///
/// Add a domain for DNS verification. Returns TXT record details: put that record into the DNS, then
/// verify the domain. Domains belong to the organisation: either environment's key sees them, and a live
/// key changes them.
#[utoipa::path(
    post, path = "/domains", tag = "Verified Domains", operation_id = "createDomain",
    request_body = CreateDomain,
    responses((status = 201, description = "The domain, with the record to make.", body = Domain)),
    security(("api_key" = ["domains:write"])),
)]
async fn create(
    caller: Caller<perm::DomainsWrite>,
    State(app): State<App>,
    JsonBody(body): JsonBody<CreateDomain>,
) -> Answer<Written<Domain>> {
    let done = app.proposals.propose(caller.call_once(), body.into_action()).await?;
    Ok(Written::created(expect(done, a_domain)?.map(|domain| domain.as_ref().into())))
}

/// List domains
///
/// Returns a paginated list of the organisation's domains, newest first.
#[utoipa::path(
    get, path = "/domains", tag = "Verified Domains", operation_id = "listDomains",
    params(Page),
    responses((status = 200, description = "A page of domains.", body = List<Domain>)),
    security(("api_key" = ["domains:read"])),
)]
async fn list(
    caller: Caller<perm::DomainsRead>,
    State(app): State<App>,
    Query(page): Query<Page>,
) -> Json<List<Domain>> {
    let view = app.views.load();
    let (domains, total) = view.state.domains_page(caller.org(), page.skip(), page.take());
    Json(List::of(page, total, domains.iter().map(|domain| domain.as_ref().into()).collect()))
}

/// Get a domain
#[utoipa::path(
    get, path = "/domains/{id}", tag = "Verified Domains", operation_id = "getDomain",
    params(("id" = schema::DomainId, Path, description = "The domain's id.")),
    responses((status = 200, description = "The domain.", body = Domain)),
    security(("api_key" = ["domains:read"])),
)]
async fn get(
    caller: Caller<perm::DomainsRead>,
    State(app): State<App>,
    Id(id): Id<DomainId>,
) -> Answer<Json<Domain>> {
    let domain = find_domain(&app, caller.org(), id).await?;
    Ok(Json(domain.as_ref().into()))
}

/// The domain with this id, if the organisation has it.
async fn find_domain(app: &App, org: OrgId, id: DomainId) -> Answer<Arc<DnsDomain>> {
    find(app, org, DomainId::KIND, |view| view.state.domain(org, id).cloned()).await
}

/// Delete a domain
///
/// Another organisation can verify its name from then on.
#[utoipa::path(
    delete, path = "/domains/{id}", tag = "Verified Domains", operation_id = "deleteDomain",
    params(("id" = schema::DomainId, Path, description = "The domain's id.")),
    responses((status = 200, description = "The domain is gone.", body = Deleted)),
    security(("api_key" = ["domains:write"])),
)]
async fn delete(
    caller: Caller<perm::DomainsWrite>,
    State(app): State<App>,
    Id(id): Id<DomainId>,
) -> Answer<Written<Deleted>> {
    let done = app.proposals.propose(caller.call(), Action::DeleteDomain(id)).await?;
    Ok(Written::deleted(done, id))
}

/// Verify a domain
///
/// Trigger a verification check: looks the TXT record up in the DNS, afresh and whatever the status,
/// and answers with the domain as it is then. A record that is missing or holds something else is no
/// error: `status` is `failed`, and `seen` says what was there. Verified domains are looked up again
/// every day.
#[utoipa::path(
    post, path = "/domains/{id}/verify", tag = "Verified Domains", operation_id = "verifyDomain",
    params(("id" = schema::DomainId, Path, description = "The domain's id.")),
    responses((status = 200, description = "The domain as it is now.", body = Domain)),
    security(("api_key" = ["domains:write"])),
)]
async fn verify(
    caller: Caller<perm::DomainsWrite>,
    State(app): State<App>,
    Id(id): Id<DomainId>,
) -> Answer<Written<Domain>> {
    find_domain(&app, caller.org(), id).await?;
    let checked = app.domains.check(caller.call(), caller.org(), id).await;
    let done = checked.map_err(domain_check_failed)?;
    Ok(Written::ok(done.map(|domain| domain.as_ref().into())))
}
