//! Problems: the one form of every error answer (RFC 9457, `application/problem+json`).
//!
//! A [`Problem`] says what happened, why, and what to do, under a stable [`Code`] that programs can
//! branch on. It travels through axum as an empty response that carries it, and the request layer
//! writes the body, because only that knows the request's id. Knows nothing of what was refused,
//! and is never given a secret.

use std::{borrow::Cow, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::PolicyId;

/// The media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One kind of error: its status, its name for programs, its title for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// HTTP status.
    pub status: u16,
    /// Stable name.
    pub name: &'static str,
    /// Short, the same for every occurrence.
    pub title: &'static str,
}

macro_rules! codes {
    ($( $status:literal $constant:ident = $name:literal, $title:literal; )+) => {
        impl Code {
            $(
                #[doc = $title]
                pub const $constant: Code =
                    Code { status: $status, name: $name, title: $title };
            )+

            /// Every kind of error, for the API's description.
            pub const ALL: &'static [Code] = &[$( Code::$constant ),+];
        }
    };
}

codes! {
    400 INVALID_JSON = "invalid_json", "The body is not valid JSON";
    400 INVALID_QUERY = "invalid_query", "The query string cannot be read";
    400 INVALID_HEADER = "invalid_header", "A header cannot be read";
    400 WRONG_CONTENT_TYPE = "wrong_content_type", "The body is not declared as JSON";
    400 BODY_INCOMPLETE = "body_incomplete", "The body ended early";
    400 BAD_REQUEST = "bad_request", "The request cannot be read";
    401 MISSING_API_KEY = "missing_api_key", "No API key";
    401 INVALID_API_KEY = "invalid_api_key", "The key is not valid";
    401 SIGNATURE_REQUIRED = "signature_required", "The agent must sign this request";
    403 WRONG_KIND_OF_KEY = "wrong_kind_of_key", "The wrong kind of key";
    403 MISSING_PERMISSION = "missing_permission", "The key lacks a permission";
    403 FORBIDDEN = "forbidden", "Not permitted";
    404 NOT_FOUND = "not_found", "Not found";
    404 NO_SUCH_ROUTE = "no_such_route", "No such route";
    405 METHOD_NOT_ALLOWED = "method_not_allowed", "Method not allowed";
    408 REQUEST_TOO_SLOW = "request_too_slow", "The request arrived too slowly";
    401 INVALID_SIGNATURE = "invalid_signature", "The request's signature does not count";
    401 NONCE_USED = "nonce_used", "The request's nonce was used before";
    403 POLICY_DENIED = "policy_denied", "A policy denies it";
    409 APPROVAL_STALE = "approval_stale", "The policies have changed since";
    409 APPROVAL_PENDING = "approval_pending", "The approval is not answered yet";
    409 APPROVAL_APPROVED = "approval_approved", "The approval is given";
    409 APPROVAL_DENIED = "approval_denied", "The approval was denied";
    409 APPROVAL_EXPIRED = "approval_expired", "The approval has run out";
    409 APPROVAL_CONSUMED = "approval_consumed", "The approval was collected";
    409 AGENT_PAUSED = "agent_paused", "The agent is paused";
    409 AGENT_REVOKED = "agent_revoked", "The agent is revoked";
    409 AGENT_KEY_REPLACED = "agent_key_replaced", "The agent's key was replaced";
    409 WEBHOOK_DISABLED = "webhook_disabled", "The webhook is disabled";
    409 LAST_ONE = "last_one", "The last one cannot be removed";
    409 DOMAIN_EXISTS = "domain_exists", "The organisation has this domain already";
    409 DOMAIN_TAKEN = "domain_taken", "Another organisation holds this domain";
    409 CONFLICT = "conflict", "In conflict with the present state";
    413 BODY_TOO_LARGE = "body_too_large", "The body is too large";
    422 VALIDATION_FAILED = "validation_failed", "The request is not valid";
    422 INDEX_UNKNOWN = "index_unknown", "The log does not reach that far";
    422 NOT_STORABLE = "not_storable", "The request cannot be stored";
    429 POLICY_THROTTLED = "policy_throttled", "A policy lets no more through for now";
    429 LIMIT_REACHED = "limit_reached", "A limit of the system is reached";
    500 INTERNAL_ERROR = "internal_error", "Something went wrong inside";
    500 AUDIT_DAMAGED = "audit_damaged", "The audit log is damaged";
    502 WEBHOOK_TEST_FAILED = "webhook_test_failed", "The webhook's target did not take the test";
    502 DNS_FAILED = "dns_failed", "The DNS has no answer";
    503 VERIFICATION_UNAVAILABLE = "verification_unavailable", "This node cannot answer safely now";
    503 INDEX_NOT_REACHED = "index_not_reached", "This node is still behind";
    503 OVERLOADED = "overloaded", "Too much work at once";
    503 NO_QUORUM = "no_quorum", "The cluster cannot take writes now";
    503 OUTCOME_UNKNOWN = "outcome_unknown", "Whether it happened is not known";
    503 SHUTTING_DOWN = "shutting_down", "This node is shutting down";
    503 NOT_READY = "not_ready", "This node is not ready";
    402 PLAN_LIMIT_REACHED = "plan_limit_reached", "The plan allows no more";
    403 PLAN_NOT_SELF_SERVICE = "plan_not_self_service", "Only an operator gives this plan";
    409 PLAN_TOO_SMALL = "plan_too_small", "More is in use than that plan allows";
    409 IDEMPOTENCY_UNRECOVERABLE = "idempotency_unrecoverable", "The secret cannot be shown again";
    422 IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused", "The key was sent with another request";
    429 RATE_LIMITED = "rate_limited", "Too many requests";
    429 EVENT_QUOTA_REACHED = "event_quota_reached", "The plan allows no more events today";
    503 TIMED_OUT = "timed_out", "It took too long";
    403 API_KEY_SUSPENDED = "api_key_suspended", "The key is suspended since a restore";
    409 AGENT_SUSPENDED = "agent_suspended", "The agent is suspended since a restore";
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where: a field of the body such as `scope[2]`, a query parameter, or a header.
    #[schema(examples("ttl"))]
    pub field: String,
    /// What is wrong, and what would be right.
    #[schema(examples("must be between 1 and 86400 seconds; got 86401"))]
    pub message: String,
}

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which kind.
    pub code: Code,
    /// What happened this time, why, and what to do.
    pub detail: Cow<'static, str>,
    /// The faulty fields, of a 422 or a 400.
    pub errors: Vec<FieldError>,
    /// What only some kinds say.
    pub extension: Option<Box<Extension>>,
    /// After how many seconds another try makes sense.
    pub retry_after_s: Option<u32>,
    /// The challenge of a 401.
    pub challenge: Option<&'static str>,
}

/// Members that only some kinds of problems have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extension {
    /// The policy that refused.
    Policy(PolicyId),
    /// What the target of a webhook answered.
    Target(TargetAnswer),
    /// The limit that is reached.
    PlanLimit(PlanLimit),
    /// Why the node is not ready.
    NotReady(&'static str),
}

/// What the target of a webhook answered a test, when that was not what was hoped for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TargetAnswer {
    /// The HTTP status; null if there was no answer.
    #[schema(required, minimum = 100, maximum = 999)]
    pub response_status: Option<u16>,
    /// How long it took.
    pub latency_ms: u32,
    /// The first KiB of the body; null if there was no answer.
    #[schema(required)]
    pub response_body: Option<String>,
    /// Why it counts as a failure.
    #[schema(value_type = super::schema::DeliveryFault)]
    pub error: &'static str,
}

/// The limit of a plan that is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PlanLimit {
    /// What there is no more of: `agents`, `tokens_per_month`, `webhooks` or `state_bytes`.
    #[schema(examples("agents"))]
    pub quota: &'static str,
    /// How much the plan allows.
    #[schema(examples(25))]
    pub limit: u64,
    /// How much is in use.
    #[schema(examples(25))]
    pub usage: u64,
    /// The organisation's plan.
    #[schema(examples("free"))]
    pub plan: String,
    /// The least plan that would do; null if none would.
    #[schema(required, examples("team"))]
    pub upgrade_to: Option<String>,
}

/// The problem as it stands in a body.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Names the kind of problem, as a URN: `urn:authrai:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(examples("urn:authrai:problem:validation_failed"))]
    pub kind: String,
    /// The kind of problem in words; the same each time.
    pub title: &'a str,
    /// The HTTP status, once more.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened this time, why, and what to do about it.
    pub detail: &'a str,
    /// The kind of problem for programs to branch on; never changes.
    pub code: &'a str,
    /// The `X-Request-Id` of this answer, for the log and for support.
    pub request_id: &'a str,
    /// Each faulty field of the request.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: &'a [FieldError],
    /// The policy that refused, when one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = super::schema::PolicyId, required = false)]
    pub policy_id: Option<String>,
    /// What the target of a webhook answered, when a test of it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = TargetAnswer, required = false)]
    pub target: Option<&'a TargetAnswer>,
    /// Why the node is not ready, of a 503 that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = super::schema::NotReady, required = false)]
    pub reason: Option<&'static str>,
    /// Of a 402, whose description says so: all its members.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub plan_limit: Option<&'a PlanLimit>,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after_s = (code.status == 503 || code.status == 429).then_some(1);
        let challenge = (code.status == 401).then_some("Bearer realm=\"authrai\"");
        let detail = detail.into();
        Self { code, detail, errors: Vec::new(), extension: None, retry_after_s, challenge }
    }

    /// A request that is well-formed but wrong in these fields.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{} {}.", only.field, only.message),
            many => format!("{} fields are not valid; see errors.", many.len()),
        };
        Self { errors, ..Self::new(Code::VALIDATION_FAILED, detail) }
    }

    /// A request that is well-formed but wrong in one field.
    pub fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError { field: field.into(), message: message.into() }])
    }

    /// Names the faulty fields.
    #[must_use]
    pub fn with_errors(self, errors: Vec<FieldError>) -> Self {
        Self { errors, ..self }
    }

    /// Names the policy that refused.
    #[must_use]
    pub fn by_policy(self, policy_id: Option<PolicyId>) -> Self {
        Self { extension: policy_id.map(|id| Box::new(Extension::Policy(id))), ..self }
    }

    /// Says what the target of a webhook answered.
    #[must_use]
    pub fn of_target(self, target: TargetAnswer) -> Self {
        Self { extension: Some(Box::new(Extension::Target(target))), ..self }
    }

    /// Says by its name why the node is not ready, if that is known.
    #[must_use]
    pub fn because(self, reason: Option<&'static str>) -> Self {
        Self { extension: reason.map(|reason| Box::new(Extension::NotReady(reason))), ..self }
    }

    /// Says when another try makes sense.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(u32::try_from(seconds).unwrap_or(u32::MAX)), ..self }
    }

    /// The bytes of the body.
    fn body(&self, request_id: &str) -> Vec<u8> {
        let (mut policy_id, mut target, mut plan_limit, mut reason) = (None, None, None, None);
        match self.extension.as_deref() {
            Some(Extension::Policy(id)) => policy_id = Some(id.to_string()),
            Some(Extension::Target(answer)) => target = Some(answer),
            Some(Extension::PlanLimit(limit)) => plan_limit = Some(limit),
            Some(Extension::NotReady(why)) => reason = Some(*why),
            None => {}
        };
        let body = ProblemBody {
            kind: format!("urn:authrai:problem:{}", self.code.name),
            title: self.code.title,
            status: self.code.status,
            detail: &self.detail,
            code: self.code.name,
            request_id,
            errors: &self.errors,
            policy_id,
            target,
            reason,
            plan_limit,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// Fills `response`, whatever it was, with this problem. Headers that it has stay.
    pub fn write_to(&self, response: Response, request_id: &str) -> Response {
        let (mut parts, _) = response.into_parts();
        parts.status = self.status();
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after_s {
            parts.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge {
            let name: HeaderName = header::WWW_AUTHENTICATE;
            parts.headers.insert(name, HeaderValue::from_static(challenge));
        }
        Response::from_parts(parts, Body::from(self.body(request_id)))
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// How a problem travels until the request layer writes it.
#[derive(Debug, Clone)]
pub(super) struct Carried(pub Arc<Problem>);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(Carried(Arc::new(self)));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codes_name_is_unique_and_its_status_is_an_error() {
        for (place, code) in Code::ALL.iter().enumerate() {
            assert!((400..600).contains(&code.status), "{}", code.name);
            assert!(
                Code::ALL[..place].iter().all(|other| other.name != code.name),
                "{}",
                code.name
            );
        }
    }

    #[tokio::test]
    async fn a_problem_is_written_as_rfc_9457_has_it() {
        let problem = Problem::invalid_field("ttl", "must be between 1 and 86400 seconds; got 0");
        let response = problem.write_to(Response::default(), "req-1");
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        let bytes = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:authrai:problem:validation_failed",
                "title": "The request is not valid",
                "status": 422,
                "detail": "ttl must be between 1 and 86400 seconds; got 0.",
                "code": "validation_failed",
                "request_id": "req-1",
                "errors": [
                    {"field": "ttl", "message": "must be between 1 and 86400 seconds; got 0"}
                ],
            })
        );
    }

    #[tokio::test]
    async fn a_limit_of_a_plan_stands_beside_the_other_members() {
        let limit = PlanLimit {
            quota: "agents",
            limit: 25,
            usage: 25,
            plan: "free".into(),
            upgrade_to: None,
        };
        let problem = Problem {
            extension: Some(Box::new(Extension::PlanLimit(limit))),
            ..Problem::new(Code::PLAN_LIMIT_REACHED, "x")
        };
        let response = problem.write_to(Response::default(), "req-1");
        let bytes = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:authrai:problem:plan_limit_reached",
                "title": "The plan allows no more",
                "status": 402,
                "detail": "x",
                "code": "plan_limit_reached",
                "request_id": "req-1",
                "quota": "agents",
                "limit": 25,
                "usage": 25,
                "plan": "free",
                "upgrade_to": null,
            })
        );
    }

    #[test]
    fn who_may_come_back_is_told_when() {
        for code in Code::ALL {
            let response = Problem::new(*code, "x").write_to(Response::default(), "r");
            let headers = response.headers();
            let come_back = matches!(code.status, 429 | 503);
            assert_eq!(headers.contains_key(header::RETRY_AFTER), come_back, "{}", code.name);
            let challenge = code.status == 401;
            assert_eq!(headers.contains_key(header::WWW_AUTHENTICATE), challenge, "{}", code.name);
        }
    }
}
