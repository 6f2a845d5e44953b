//! What stands at the root, for machines that watch or trust this node: health, readiness, the
//! public keys, and where to read on.

use std::borrow::Cow;

use authrai_cluster::Unready;
use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Redirect},
    routing::get,
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    freshness::unavailable,
    problem::{Code, Problem},
    reply::Answer,
};
use crate::token::{Jwk, Jwks};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(jwks))
        .route("/", get(|| async { Redirect::temporary("/docs/") }))
}

/// How a node is.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`, or `ready`.
    #[schema(examples("ok"))]
    status: &'static str,
}

/// Is the process up?
#[utoipa::path(
    get, path = "/healthz", tag = "Health", operation_id = "getHealth",
    responses((status = 200, description = "The process is up.", body = Health)),
    security(()),
)]
async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// May this node verify and take writes?
///
/// If not, the problem's `reason` says why by name, and its `detail` what to do.
#[utoipa::path(
    get, path = "/readyz", tag = "Health", operation_id = "getReadiness",
    responses((status = 200, description = "It may.", body = Health)),
    security(()),
)]
async fn readyz(State(app): State<App>) -> Answer<Json<Health>> {
    let stopping = app.stopping.is_cancelled().then_some(Unready::Stopping);
    let lacks_key = app.voter && !app.keys.can_sign();
    let (reason, why) = match stopping.or_else(|| app.handle.unready()) {
        Some(reason) => (reason.name(), reason.to_string().into()),
        None if lacks_key => (NO_SIGNING_KEY, Cow::Borrowed(NO_SIGNING_KEY_WHY)),
        None => return Ok(Json(Health { status: "ready" })),
    };
    Err(Problem::new(Code::NOT_READY, why).because(Some(reason)))
}

/// The reason that the replicated store knows nothing of.
pub(super) const NO_SIGNING_KEY: &str = "no_signing_key";
const NO_SIGNING_KEY_WHY: &str = "This node has no signing key in use yet, so it cannot issue tokens. It makes one as soon as the \
     cluster takes writes; ask another node meanwhile.";

/// Get the public keys
///
/// The public halves of the keys with which the nodes sign tokens, as a JWK Set (RFC 7517, RFC
/// 8037): each until the last token that it signed has expired, or until it is revoked. A token
/// checked offline is not checked for revocation.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "Tokens", operation_id = "getJwks",
    responses((status = 200, description = "The keys.", body = JwksBody)),
    security(()),
)]
async fn jwks(State(app): State<App>) -> Answer<impl IntoResponse> {
    let Some(moment) = app.handle.serves_at() else { return Err(unavailable(&app)) };
    let view = app.views.load();
    let keys = view.state.jwks_keys(moment.surely_ms.max(view.state.clock));
    let keys = keys.map(|key| Jwk::ed25519(key.id.to_string(), &key.public_key)).collect();
    // A revoked key is to be gone at once, so nobody in between may keep the set.
    Ok(([(header::CACHE_CONTROL, "no-cache")], Json(Jwks { keys })))
}

/// A JWK Set, for the API's description.
#[derive(ToSchema)]
#[schema(as = Jwks)]
#[expect(dead_code, reason = "the description of token::Jwks, which knows nothing of utoipa")]
struct JwksBody {
    /// The keys, in no order that means anything.
    keys: Vec<JwkBody>,
}

/// The public half of a signing key.
#[derive(ToSchema)]
#[schema(as = Jwk)]
#[expect(dead_code, reason = "the description of token::Jwk, which knows nothing of utoipa")]
struct JwkBody {
    /// Key type: an octet key pair.
    #[schema(examples("OKP"))]
    kty: String,
    /// The curve.
    #[schema(examples("Ed25519"))]
    crv: String,
    /// What it is for: signatures.
    #[schema(rename = "use", examples("sig"))]
    usage: String,
    /// The algorithm.
    #[schema(examples("EdDSA"))]
    alg: String,
    /// The key's id, the `kid` of what it signs.
    kid: String,
    /// The 32 bytes of the key, base64url without padding.
    x: String,
}
