//! Agents: who tokens are issued to.

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::{Caller, perm},
    body::JsonBody,
    freshness::find_agent,
    pagination::{List, Page},
    query::Query,
    reply::{Answer, Id, Written},
    schema,
    wire::agent::{
        Agent, AgentFilter, AgentRevoked, AgentWithSecret, AgentsQuery, CreateAgent, PatchAgent,
        TokensRevoked,
    },
};
use crate::domain::{AgentId, Tenant};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, update, revoke))
        .routes(routes!(rotate_key))
        .routes(routes!(revoke_tokens))
}

/// Create an agent
///
/// Creates a new agent identity. Returns a secret key for signing token requests, shown this once.
#[utoipa::path(
    post, path = "/agents", tag = "Agents", operation_id = "createAgent",
    request_body = CreateAgent,
    responses((status = 201, description = "The agent, with its secret key.", body = AgentWithSecret)),
    security(("api_key" = ["agents:write"])),
)]
async fn create(
    caller: Caller<perm::AgentsWrite>,
    State(app): State<App>,
    JsonBody(body): JsonBody<CreateAgent>,
) -> Answer<Written<AgentWithSecret>> {
    let done = app.agents.create(caller.call_once(), body.into_new_agent(caller.tenant())).await?;
    Ok(Written::created(done.map(Into::into)))
}

/// List agents
///
/// Returns a paginated list of agents, newest first.
#[utoipa::path(
    get, path = "/agents", tag = "Agents", operation_id = "listAgents",
    params(Page, AgentFilter),
    responses((status = 200, description = "A page of agents.", body = List<Agent>)),
    security(("api_key" = ["agents:read"])),
)]
async fn list(
    caller: Caller<perm::AgentsRead>,
    State(app): State<App>,
    Query(AgentsQuery { page, filter }): Query<AgentsQuery>,
) -> Json<List<Agent>> {
    let view = app.views.load();
    let (agents, total) =
        view.state.agents_page(caller.tenant(), filter.status, page.skip(), page.take());
    let agents = agents.iter().map(|agent| Agent::from(agent.as_ref())).collect();
    Json(List::of(page, total, agents))
}

/// Get an agent
#[utoipa::path(
    get, path = "/agents/{id}", tag = "Agents", operation_id = "getAgent",
    params(("id" = schema::AgentId, Path, description = "The agent's id.")),
    responses((status = 200, description = "The agent.", body = Agent)),
    security(("api_key" = ["agents:read"])),
)]
async fn get(
    caller: Caller<perm::AgentsRead>,
    State(app): State<App>,
    Id(id): Id<AgentId>,
) -> Answer<Json<Agent>> {
    let agent = find_agent(&app, caller.tenant(), id).await?;
    Ok(Json(agent.as_ref().into()))
}

/// Update an agent
///
/// Changes descriptive fields, or pauses and activates the agent. A revoked agent is final.
#[utoipa::path(
    patch, path = "/agents/{id}", tag = "Agents", operation_id = "updateAgent",
    params(("id" = schema::AgentId, Path, description = "The agent's id.")),
    request_body = PatchAgent,
    responses((status = 200, description = "The agent as it is now.", body = Agent)),
    security(("api_key" = ["agents:write"])),
)]
async fn update(
    caller: Caller<perm::AgentsWrite>,
    State(app): State<App>,
    Id(id): Id<AgentId>,
    JsonBody(body): JsonBody<PatchAgent>,
) -> Answer<Written<Agent>> {
    let done = app.agents.update(caller.call(), body.into_update(id)).await?;
    Ok(Written::ok(done.map(|agent| agent.as_ref().into())))
}

/// Replace an agent's key
///
/// Makes a new secret key, shown this once. The old one stops at once.
#[utoipa::path(
    post, path = "/agents/{id}/rotate-key", tag = "Agents", operation_id = "rotateAgentKey",
    params(("id" = schema::AgentId, Path, description = "The agent's id.")),
    responses((status = 200, description = "The agent, with its new secret key.", body = AgentWithSecret)),
    security(("api_key" = ["agents:write"])),
)]
async fn rotate_key(
    caller: Caller<perm::AgentsWrite>,
    State(app): State<App>,
    Id(id): Id<AgentId>,
) -> Answer<Written<AgentWithSecret>> {
    let Tenant { environment, .. } = caller.tenant();
    let done = app.agents.rotate_key(caller.call_once(), id, environment).await?;
    Ok(Written::ok(done.map(Into::into)))
}

/// Revoke an agent's tokens
///
/// All active tokens of this agent are immediately invalidated. The agent lives on.
#[utoipa::path(
    post, path = "/agents/{id}/revoke-tokens", tag = "Agents", operation_id = "revokeAgentTokens",
    params(("id" = schema::AgentId, Path, description = "The agent's id.")),
    responses((status = 200, description = "How many tokens died.", body = TokensRevoked)),
    security(("api_key" = ["agents:write"])),
)]
async fn revoke_tokens(
    caller: Caller<perm::AgentsWrite>,
    State(app): State<App>,
    Id(id): Id<AgentId>,
) -> Answer<Written<TokensRevoked>> {
    let done = app.agents.revoke_tokens(caller.call(), id).await?;
    Ok(Written::ok(done.map(Into::into)))
}

/// Revoke an agent
///
/// Revokes an agent, for good. All active tokens for this agent are immediately invalidated.
#[utoipa::path(
    delete, path = "/agents/{id}", tag = "Agents", operation_id = "revokeAgent",
    params(("id" = schema::AgentId, Path, description = "The agent's id.")),
    responses((status = 200, description = "The agent is revoked.", body = AgentRevoked)),
    security(("api_key" = ["agents:write"])),
)]
async fn revoke(
    caller: Caller<perm::AgentsWrite>,
    State(app): State<App>,
    Id(id): Id<AgentId>,
) -> Answer<Written<AgentRevoked>> {
    let done = app.agents.revoke(caller.call(), id).await?;
    Ok(Written::ok(done.map(Into::into)))
}
