//! Tokens: issue, list, revoke. Verifying them is in `verify.rs`.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::{Caller, perm},
    body::JsonBody,
    error::{policy_denied, policy_throttled},
    freshness::{find, find_agent},
    pagination::{List, Page},
    query::Query,
    reply::{Answer, Id, PathId, Written},
    schema,
    signed::{self, SignedBody},
    wire::{
        approval::PendingApproval,
        token::{
            IssueToken, IssuedToken, RevokeToken, RevokedToken, Token, TokenFilter, TokensQuery,
        },
    },
};
use crate::{
    actors::{CommandError, Done, TokenAnswer},
    domain::{ApprovalId, ApprovalStatus, Refusal, Tenant, TokenId},
    verify::View,
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(issue, list)).routes(routes!(get)).routes(routes!(revoke))
}

/// Issue a token
///
/// Issues a short-lived, scoped token for an agent. Tokens are cryptographically signed with
/// Ed25519: cut the `rai_live_` or `rai_test_` off, and any JWT library can check the rest against
/// `/.well-known/jwks.json`.
///
/// Policies decide whether it is issued. When one asks for an approval, the answer is a 202; send
/// the same request with `approval_id` once it is approved. The agent can sign the request with its
/// secret key, and has to if it was created so: RFC 9421 with `alg="ed25519"`, `keyid` its id,
/// `created` and `nonce`, over `"@method" "@path" "content-digest"`.
#[utoipa::path(
    post, path = "/tokens", tag = "Tokens", operation_id = "issueToken",
    request_body = IssueToken,
    params(
        ("Content-Digest" = Option<String>, Header, nullable = false,
            description = "RFC 9530; of a signed request."),
        ("Signature-Input" = Option<String>, Header, nullable = false,
            description = "RFC 9421; of a signed request."),
        ("Signature" = Option<String>, Header, nullable = false,
            description = "RFC 9421; of a signed request."),
    ),
    responses(
        (status = 201, description = "The token.", body = IssuedToken),
        (status = 202, description = "Somebody has to agree first.", body = PendingApproval),
    ),
    security(("api_key" = ["tokens:issue"])),
)]
async fn issue(
    caller: Caller<perm::TokensIssue>,
    State(app): State<App>,
    SignedBody { body, signature }: SignedBody<IssueToken>,
) -> Answer<Response> {
    let agent = find_agent(&app, caller.tenant(), body.agent_id).await?;
    let signed = signature.map(|signature| signed::verify(&signature, &agent)).transpose()?;
    let approval = body.approval_id;
    let wanted = body.into_new_token(caller.tenant(), signed);
    let done = match app.agents.issue_token(caller.call_once(), wanted).await {
        // Still pending: what was answered before is answered again.
        Err(CommandError::Refused(Refusal::ApprovalNot(ApprovalStatus::Pending))) => {
            return still_pending(&app, caller.tenant(), approval).await;
        }
        answer => answer?,
    };
    let Done { index, value, replayed } = done;
    match value {
        TokenAnswer::Issued(issued) => {
            let value = IssuedToken::from(issued);
            Ok(Written::created(Done { index, value, replayed }).into_response())
        }
        TokenAnswer::Pending(approval) => {
            let value = PendingApproval::from(approval.as_ref());
            Ok(Written::accepted(Done { index, value, replayed }).into_response())
        }
        TokenAnswer::Denied(rule) => Err(policy_denied(rule)),
        TokenAnswer::Throttled(by) => Err(policy_throttled(&by)),
    }
}

async fn still_pending(app: &App, tenant: Tenant, id: Option<ApprovalId>) -> Answer<Response> {
    let done = find(app, tenant.org, ApprovalId::KIND, |view| {
        let value = PendingApproval::from(view.state.approval(tenant, id?)?.as_ref());
        Some(Done { index: view.index, value, replayed: false })
    })
    .await?;
    Ok(Written::accepted(done).into_response())
}

/// The time by which tokens are shown as alive: the one by which they are verified.
fn now_s(app: &App, view: &View) -> u64 {
    let moment = app.handle.serves_at().unwrap_or_default();
    moment.surely_ms.max(view.state.clock) / 1000
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
    let now_s = now_s(&app, &view);
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
    let tenant = caller.tenant();
    let token = find(&app, tenant.org, TokenId::KIND, |view| {
        let now_s = now_s(&app, view);
        view.state.token(tenant, id).filter(|token| token.expires_at > now_s)
    })
    .await?;
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
