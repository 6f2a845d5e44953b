//! The description of the API (OpenAPI 3.1), generated from the routes and their types.
//!
//! utoipa collects what each route states of itself: fields, constraints, successes, permission.
//! What holds for many routes alike – the errors that can occur, the headers of requests and
//! answers – follows from that and is added here, once. Also the table of routes and who may take
//! them, which a test walks. Knows nothing of what a route does.

use axum::{Router, body::Bytes, http::header, routing::get};
use serde_json::{Map, Value, json};
use utoipa::{
    OpenApi,
    openapi::{
        RefOr,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{
    App,
    problem::{Code, FieldError, MEDIA_TYPE, PlanLimit, ProblemBody, TargetAnswer},
    routes, schema,
};
use crate::limits;

const INTRODUCTION: &str = "\
Manage agents, issue and verify tokens. All endpoints use JSON for request and response bodies.

**Authentication.** All API requests require an API key in the Authorization header: \
`Authorization: Bearer rai_pk_live_…`. A key belongs to one organisation and one environment, \
live or test; what it makes and sees stays inside both. Verifying a token takes no key. Keep your \
API keys secret, never expose them in client-side code, use separate keys for development and \
production environments, and rotate keys if you suspect they've been compromised.

**Errors** are `application/problem+json` (RFC 9457) with a stable `code`; of an invalid request, \
`errors` names each faulty field.

**Repeat safely.** A creating POST with an `Idempotency-Key` is carried out once, however often it \
is sent in 24 hours; each further answer is the first one, secrets included, with \
`Idempotent-Replayed: true`.

**Limits.** The organisation's plan bounds agents, tokens a month and webhooks (402), and the \
requests a second of each API key (429 with `Retry-After`); `RateLimit` and `RateLimit-Policy` say \
how a key stands.

**Read your writes.** Every write answers with `AuthRAI-Log-Index`; a read or a verification \
that sends it as `AuthRAI-Min-Index` to any node waits until that node has caught up.";

#[derive(OpenApi)]
#[openapi(
    info(title = "AuthRAI API", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    components(schemas(ProblemBody, FieldError, PlanLimit, TargetAnswer)),
    tags(
        (name = "Agents", description = "Identities of agents."),
        (name = "Tokens", description = "Short-lived, scoped tokens: issue, verify, revoke."),
        (name = "Policies", description = "Rules that decide which token requests are granted."),
        (name = "Approvals", description = "Token requests that somebody has to agree to."),
        (name = "Webhooks", description = "Endpoints that are told of events."),
        (name = "Audit Log", description = "Events, hash-chained and tamper-evident."),
        (name = "Verified Domains", description = "Domains that an organisation proves to be its own."),
        (name = "API Keys", description = "Keys for programmatic access."),
        (name = "Billing", description = "The organisation's plan, its limits and what is used."),
        (name = "Organizations", description = "Tenants. For operators."),
        (name = "Cluster", description = "Nodes, signing keys, operator keys. For operators."),
        (name = "Health", description = "For load balancers and supervisors."),
    )
)]
struct Description;

/// A router that describes itself, still without routes.
pub(super) fn described() -> OpenApiRouter<App> {
    let mut description = Description::openapi();
    description.info.description = Some(INTRODUCTION.to_owned());
    let components = description.components.get_or_insert_default();
    components.schemas.extend(schema::all());
    for (name, what) in [
        ("api_key", "An API key, `rai_pk_live_…` or `rai_pk_test_…`."),
        ("operator_key", "An operator key, `rai_op_…`."),
    ] {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some(what.to_owned());
        components.security_schemes.insert(name.to_owned(), RefOr::T(SecurityScheme::Http(scheme)));
    }
    OpenApiRouter::with_openapi(description)
}

/// `/openapi.json` and Swagger UI at `/docs`.
pub(super) fn router(description: &utoipa::openapi::OpenApi) -> Router<App> {
    let document = Bytes::from(complete(description).to_string());
    let swagger: Router<App> = SwaggerUi::new("/docs")
        .config(Config::from("/openapi.json").persist_authorization(false))
        .into();
    Router::new()
        .route(
            "/openapi.json",
            get(move || async move { ([(header::CONTENT_TYPE, "application/json")], document) }),
        )
        .merge(swagger)
}

/// Who may take a route: either kind of key that is named, or anybody when none is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// An API key with all of these permissions; none, where no API key is taken.
    pub permissions: Vec<String>,
    /// An operator key.
    pub operator: bool,
}

impl Access {
    /// Whether it takes no key.
    pub fn is_public(&self) -> bool {
        *self == Self::default()
    }
}

/// A route and who may take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `GET`, `POST`, …
    pub method: String,
    /// Its pattern, such as `/v1/agents/{id}`.
    pub path: String,
    /// Who may take it.
    pub access: Access,
}

/// Every route of the API, as its description has it.
pub fn route_table() -> Vec<Route> {
    let document = complete(&routes(None).into_openapi());
    let mut table = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            table.push(Route {
                method: method.to_uppercase(),
                path: path.clone(),
                access: access(operation),
            });
        }
    }
    table
}

fn access(operation: &Value) -> Access {
    let mut access = Access::default();
    for requirement in operation["security"].as_array().into_iter().flatten() {
        let named = requirement["api_key"].as_array().into_iter().flatten();
        access.permissions.extend(named.filter_map(Value::as_str).map(str::to_owned));
        access.operator |= !requirement["operator_key"].is_null();
    }
    access
}

/// The description with what holds for many routes alike.
fn complete(description: &utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(description).unwrap_or_default();
    document["servers"] = json!([{"url": "/", "description": "The node that serves this page."}]);
    let components = &mut document["components"];
    components["parameters"] = parameters();
    components["headers"] = headers();
    components["responses"] = problem_responses();
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete_operation(path, method, operation);
        }
    }
    document
}

fn parameters() -> Value {
    json!({
        "RequestId": {
            "name": "X-Request-Id", "in": "header", "required": false,
            "description": "Your name for the request: up to 128 visible ASCII characters. Any \
                            other is replaced by a new one.",
            "schema": {"type": "string", "examples": ["req-7f3a"]},
        },
        "MinIndex": {
            "name": "AuthRAI-Min-Index", "in": "header", "required": false,
            "description": "Wait, bounded, until this node has applied the log up to here: the \
                            AuthRAI-Log-Index of an earlier write.",
            "schema": {"type": "integer", "minimum": 0, "examples": [1]},
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "Your name for what is to be done once: 1 to 255 visible ASCII \
                            characters, such as a UUID. Sent again with the same body in 24 hours, \
                            the request is answered as it was the first time; with another body it \
                            is a 422.",
            "schema": {
                "type": "string", "pattern": "^[!-~]+$",
                "minLength": 1, "maxLength": limits::IDEMPOTENCY_KEY_MAX_BYTES,
            },
        },
    })
}

fn headers() -> Value {
    json!({
        "RequestId": {
            "description": "The id of this request: yours, or a new one.",
            "required": true, "schema": {"type": "string"},
        },
        "LogIndex": {
            "description": "The place of this write in the log, for AuthRAI-Min-Index.",
            "required": true, "schema": {"type": "integer", "minimum": 1},
        },
        "RateLimit": {
            "description": "How the key stands: requests that it may make now, and seconds until \
                            it may make all again (draft-ietf-httpapi-ratelimit-headers-11).",
            "schema": {"type": "string", "examples": ["\"requests\";r=19;t=1"]},
        },
        "RateLimitPolicy": {
            "description": "How many requests the key may make in a window, and its seconds.",
            "schema": {"type": "string", "examples": ["\"requests\";q=20;w=1"]},
        },
        "IdempotentReplayed": {
            "description": "There, and `true`, when this was answered to an earlier request with \
                            this Idempotency-Key.",
            "schema": {"type": "string", "enum": ["true"]},
        },
        "RetryAfter": {
            "description": "After how many seconds to try again.",
            "required": true, "schema": {"type": "integer", "minimum": 1},
        },
        "Allow": {
            "description": "The methods that this path takes.",
            "required": true, "schema": {"type": "string"},
        },
        "Challenge": {
            "description": "The scheme to authenticate with: Bearer.",
            "required": true, "schema": {"type": "string"},
        },
    })
}

/// One response an error status, named by it; `code` lists what it can be.
fn problem_responses() -> Value {
    let mut responses = Map::new();
    for code in Code::ALL {
        let response = responses.entry(code.status.to_string()).or_insert_with(|| {
            json!({
                "description": description_of(code.status),
                "headers": problem_headers(code.status),
                "content": {MEDIA_TYPE: {
                    "schema": {
                        "allOf": [{"$ref": "#/components/schemas/Problem"}],
                        "properties": {
                            "status": {"type": "integer", "enum": [code.status]},
                            "code": {"type": "string", "enum": []},
                        },
                    },
                    "example": {
                        "type": format!("urn:authrai:problem:{}", code.name),
                        "title": code.title, "status": code.status,
                        "detail": "What happened, why, and what to do.",
                        "code": code.name, "request_id": "req-7f3a",
                    },
                }},
            })
        });
        let codes = &mut response["content"][MEDIA_TYPE]["schema"]["properties"]["code"]["enum"];
        if let Some(codes) = codes.as_array_mut() {
            codes.push(code.name.into());
        }
    }
    if let Some(over) = responses.get_mut("402") {
        let body = &mut over["content"][MEDIA_TYPE];
        body["schema"]["allOf"] = json!([
            {"$ref": "#/components/schemas/Problem"},
            {"$ref": "#/components/schemas/PlanLimit"},
        ]);
        for (name, value) in [
            ("quota", json!("agents")),
            ("limit", json!(25)),
            ("usage", json!(25)),
            ("plan", json!("free")),
            ("upgrade_to", json!("team")),
        ] {
            body["example"][name] = value;
        }
    }
    responses.into()
}

fn problem_headers(status: u16) -> Value {
    let mut headers = json!({
        "X-Request-Id": {"$ref": "#/components/headers/RequestId"},
        "RateLimit": {"$ref": "#/components/headers/RateLimit"},
        "RateLimit-Policy": {"$ref": "#/components/headers/RateLimitPolicy"},
    });
    match status {
        401 => headers["WWW-Authenticate"] = json!({"$ref": "#/components/headers/Challenge"}),
        405 => headers["Allow"] = json!({"$ref": "#/components/headers/Allow"}),
        429 | 503 => headers["Retry-After"] = json!({"$ref": "#/components/headers/RetryAfter"}),
        _ => {}
    }
    headers
}

const fn description_of(status: u16) -> &'static str {
    match status {
        400 => "Invalid request body or parameters: malformed JSON, an unreadable query or header.",
        401 => "Missing or invalid API key.",
        402 => {
            "The plan allows no more: `quota`, `limit`, `usage`, `plan` and `upgrade_to` say of what."
        }
        403 => "Insufficient permissions, or the wrong kind of key.",
        404 => "The resource does not exist, or not for this key.",
        405 => "The path does not take this method.",
        408 => "The request arrived too slowly.",
        409 => "In conflict with the present state.",
        413 => "The body is too large.",
        422 => "Validation failed: `errors` names each faulty field.",
        429 => "Too many.",
        500 => "Something went wrong inside.",
        502 => "What this node had to ask, such as the DNS, has failed.",
        _ => "This node cannot answer safely now. Nothing was done, unless `code` says otherwise.",
    }
}

/// Whether a route writes. What is public asks, and so does a simulation; a test only sends, and the
/// clock is the asked node's own.
fn is_write(path: &str, method: &str, access: &Access) -> bool {
    let beside = ["/simulate", "/test", "/cluster/clock"].iter().any(|end| path.ends_with(end));
    method != "get" && !access.is_public() && !beside
}

/// Whether a route makes something, or shows a new secret, and so takes an `Idempotency-Key`.
fn is_creating(path: &str, method: &str, operation: &Value) -> bool {
    let makes = !operation["responses"]["201"].is_null();
    let shows = ["rotate-key", "rotate", "rotate-secret"]
        .iter()
        .any(|end| path.ends_with(&format!("{{id}}/{end}")));
    method == "post" && (makes || shows)
}

/// Routes that make what a plan bounds.
const METERED: &[&str] = &["/v1/agents", "/v1/tokens", "/v1/webhooks"];

fn complete_operation(path: &str, method: &str, operation: &mut Value) {
    let access = access(operation);
    let is_write = is_write(path, method, &access);
    add_parameters(method, &access, path, operation);
    say_which_bodies_are_optional(operation);
    let is_creating = is_creating(path, method, operation);
    let statuses = error_statuses(path, method, &access, operation);
    if let Some(responses) = operation["responses"].as_object_mut() {
        for response in responses.values_mut() {
            let headers = &mut response["headers"];
            headers["X-Request-Id"] = json!({"$ref": "#/components/headers/RequestId"});
            if is_write {
                headers["AuthRAI-Log-Index"] = json!({"$ref": "#/components/headers/LogIndex"});
            }
            if is_creating {
                let replayed = json!({"$ref": "#/components/headers/IdempotentReplayed"});
                headers["Idempotent-Replayed"] = replayed;
            }
            if !access.is_public() {
                headers["RateLimit"] = json!({"$ref": "#/components/headers/RateLimit"});
                headers["RateLimit-Policy"] =
                    json!({"$ref": "#/components/headers/RateLimitPolicy"});
            }
        }
        for status in statuses {
            let reference = json!({"$ref": format!("#/components/responses/{status}")});
            responses.entry(status.to_string()).or_insert(reference);
        }
    }
}

fn add_parameters(method: &str, access: &Access, path: &str, operation: &mut Value) {
    if operation["parameters"].is_null() {
        operation["parameters"] = json!([]);
    }
    let is_read = !is_write(path, method, access);
    let is_creating = is_creating(path, method, operation);
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        parameters.push(json!({"$ref": "#/components/parameters/RequestId"}));
        if is_creating {
            parameters.push(json!({"$ref": "#/components/parameters/IdempotencyKey"}));
        }
        if is_read && path.starts_with("/v1/") {
            parameters.push(json!({"$ref": "#/components/parameters/MinIndex"}));
        }
    }
}

/// A body that may be left out is not null when it is there, which is how utoipa puts it.
fn say_which_bodies_are_optional(operation: &mut Value) {
    let Some(body) = operation.get_mut("requestBody").filter(|body| body.is_object()) else {
        return;
    };
    let schema = &mut body["content"]["application/json"]["schema"];
    let alternatives = schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let [only, null] = alternatives
        && null["type"] == "null"
    {
        *schema = only.clone();
        body["required"] = false.into();
    }
}

/// The errors that a route can answer with, by what it takes and who may take it.
fn error_statuses(path: &str, method: &str, access: &Access, operation: &Value) -> Vec<u16> {
    let mut statuses = vec![405, 500, 503];
    let has_body = !operation["requestBody"].is_null();
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has_query = parameters.iter().any(|parameter| parameter["in"] == "query");
    if path.starts_with("/v1/") {
        // AuthRAI-Min-Index can be unreadable, or beyond the log.
        statuses.extend([400, 422]);
    }
    if has_body || has_query {
        statuses.extend([400, 422]);
    }
    if has_body {
        statuses.extend([408, 413]);
    }
    if !access.is_public() {
        statuses.extend([401, 403, 429]);
    }
    if path.starts_with("/v1/tokens/verify") {
        // Where addresses are limited.
        statuses.push(429);
    }
    if method == "post" && METERED.contains(&path) {
        statuses.push(402);
    }
    let is_write = is_write(path, method, access);
    // A simulation names an agent.
    if path.contains('{') || is_write || has_body && !access.is_public() {
        statuses.push(404);
    }
    if is_write {
        statuses.extend([409, 413, 429]);
    }
    if path == "/v1/domains/{id}/verify" || path.ends_with("/test") {
        statuses.push(502);
    }
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}
