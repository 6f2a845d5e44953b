//! Tokens: issue, list, revoke. Verifying them is in `verify.rs`.

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::{Caller, perm},
    body::JsonBody,
    error::not_found,
    pagination::{List, Page},
    query::Query,
    reply::{Answer, Id, PathId, Written},
    schema,
    wire::token::{
        IssueToken, IssuedToken, RevokeToken, RevokedToken, Token, TokenFilter, TokensQuery,
    },
};
use crate::{clock, domain::TokenId};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(issue, list)).routes(routes!(get)).routes(routes!(revoke))
}

/// Issue a token
///
/// Issues a short-lived, scoped token for an agent. Tokens are cryptographically signed with
/// Ed25519: cut the `rai_live_` or `rai_test_` off, and any JWT library can check the rest against
/// `/.well-known/jwks.json`.
#[utoipa::path(
    post, path = "/tokens", tag = "Tokens", operation_id = "issueToken",
    request_body = IssueToken,
    responses((status = 201, description = "The token.", body = IssuedToken)),
    security(("api_key" = ["tokens:issue"])),
)]
async fn issue(
    caller: Caller<perm::TokensIssue>,
    State(app): State<App>,
    JsonBody(body): JsonBody<IssueToken>,
) -> Answer<Written<IssuedToken>> {
    let done = app.agents.issue_token(caller.call(), body.into_new_token(caller.tenant())).await?;
    Ok(Written::created(done.map(Into::into)))
}

/// List live tokens
///
/// Returns a paginated list of live tokens, newest first; never the tokens themselves.
#[utoipa::path(
    get, path = "/tokens", tag = "Tokens", operation_id = "listTokens",
    params(Page, TokenFilter),
    responses((status = 200, description = "A page of live tokens.", body = List<Token>)),
    security(("api_key" = ["tokens:read"])),
)]
async fn list(
    caller: Caller<perm::TokensRead>,
    State(app): State<App>,
    Query(TokensQuery { page, filter }): Query<TokensQuery>,
) -> Json<List<Token>> {
    let view = app.views.load();
    let (tokens, total) =
        view.state.tokens_page(caller.tenant(), filter.agent_id, page.skip(), page.take());
    // Between a token's expiry and the entry that prunes it, a second at most, it still counts.
    let now_s = clock::now_ms().max(view.state.clock) / 1000;
    let live = tokens.iter().filter(|token| token.expires_at > now_s);
    Json(List::of(page, total, live.map(|token| Token::from(token.as_ref())).collect()))
}

/// Get a live token
#[utoipa::path(
    get, path = "/tokens/{token_id}", tag = "Tokens", operation_id = "getToken",
    params(("token_id" = schema::TokenId, Path, description = "The token's id.")),
    responses((status = 200, description = "What the token allows.", body = Token)),
    security(("api_key" = ["tokens:read"])),
)]
async fn get(
    caller: Caller<perm::TokensRead>,
    State(app): State<App>,
    Id(id): Id<TokenId>,
) -> Answer<Json<Token>> {
    let view = app.views.load();
    let now_s = clock::now_ms().max(view.state.clock) / 1000;
    let token = view.state.token(caller.tenant(), id).filter(|token| token.expires_at > now_s);
    let token = token.ok_or_else(|| not_found(TokenId::KIND))?;
    Ok(Json(token.as_ref().into()))
}

/// Revoke a token
///
/// Immediately invalidates a token. Subsequent verifications will return invalid, on every node.
/// Revoking one twice succeeds.
#[utoipa::path(
    post, path = "/tokens/revoke", tag = "Tokens", operation_id = "revokeToken",
    request_body = RevokeToken,
    responses((status = 200, description = "The token is dead.", body = RevokedToken)),
    security(("api_key" = ["tokens:revoke"])),
)]
async fn revoke(
    caller: Caller<perm::TokensRevoke>,
    State(app): State<App>,
    JsonBody(body): JsonBody<RevokeToken>,
) -> Answer<Written<RevokedToken>> {
    let done = app.agents.revoke_token(caller.call(), body.reference()).await?;
    Ok(Written::ok(done.map(Into::into)))
}
