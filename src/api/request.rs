//! What every request passes through: an id, a time limit, and an answer in due form.
//!
//! One layer around all routes. It gives the request its id, bounds the time, survives a panic, writes every error as a problem, sets the headers that stand on
//! every answer, and counts. Knows nothing of any one route.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;

use super::{
    metrics,
    notes::Notes,
    problem::{Carried, Code, Problem},
};
use crate::{limits, mint};

/// Names the request in the answer, in the log and in the audit log.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The request's id.
#[derive(Debug, Clone)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id of the request with these extensions.
    pub fn of(extensions: &Extensions) -> String {
        extensions.get::<Self>().map(|id| id.0.to_string()).unwrap_or_default()
    }

    /// The id as it stands in a header.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The caller's own id if it is sane: visible ASCII and not too long. Otherwise a new one.
    pub(super) fn take_or_mint(headers: &HeaderMap) -> Self {
        let sane = |text: &&str| {
            (1..=limits::REQUEST_ID_MAX_BYTES).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let given = headers.get(&X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane);
        Self(given.map_or_else(mint, Arc::from))
    }
}

/// A new id: this process, drawn at random, and a number. Takes no lock, since every verification
/// needs one.
fn mint() -> Arc<str> {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| mint::ulid() as u64);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("req-{:016x}{:08x}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

/// The layer.
pub async fn around(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::take_or_mint(request.headers());
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let is_api = request.uri().path().starts_with("/v1/");
    let notes = request.headers().contains_key(header::AUTHORIZATION).then(Notes::default);
    if let Some(notes) = &notes {
        request.extensions_mut().insert(notes.clone());
    }

    let response = AssertUnwindSafe(within_time(request, next)).catch_unwind().await;
    let response = response.unwrap_or_else(|_| {
        tracing::error!(request_id = &*id.0, "a handler panicked");
        internal_error().into_response()
    });
    let mut response = in_due_form(response, &id.0);

    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(X_REQUEST_ID.clone(), value);
    }
    if is_api {
        // Verdicts, secrets and what a key may see are for nobody's cache.
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    }
    if let Some(standing) = notes.and_then(|notes| notes.standing()) {
        standing.write_to(response.headers_mut());
    }
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let (status, took) = (response.status(), started.elapsed());
    metrics::request(&method, route, status, took);
    if status.is_server_error() {
        tracing::warn!(%method, route, %status, request_id = &*id.0, ?took, "request");
    } else {
        tracing::debug!(%method, route, %status, request_id = &*id.0, ?took, "request");
    }
    response
}

async fn within_time(request: Request, next: Next) -> Response {
    let limit = Duration::from_secs(limits::REQUEST_TIMEOUT_S);
    tokio::time::timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
        Problem::new(
            Code::TIMED_OUT,
            format!(
                "The request was not done within {} seconds and was given up; a write may yet \
                 take effect. Read before you try again.",
                limits::REQUEST_TIMEOUT_S
            ),
        )
        .into_response()
    })
}

pub(super) fn internal_error() -> Problem {
    Problem::new(
        Code::INTERNAL_ERROR,
        "This is an error in AuthRAI, not in your request. Please report it with the request_id.",
    )
}

/// Writes the problem that a response carries, or turns an error of axum's own into one.
pub(super) fn in_due_form(mut response: Response, request_id: &str) -> Response {
    if let Some(Carried(problem)) = response.extensions_mut().remove::<Carried>() {
        return problem.write_to(response, request_id);
    }
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = match status {
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(
            Code::METHOD_NOT_ALLOWED,
            "This path does not take that method; the Allow header lists those that it takes.",
        ),
        StatusCode::NOT_FOUND => no_such_route(),
        status if status.is_client_error() => Problem::new(
            Code { status: status.as_u16(), ..Code::BAD_REQUEST },
            "The request cannot be read.",
        ),
        _ => internal_error(),
    };
    problem.write_to(response, request_id)
}

fn no_such_route() -> Problem {
    Problem::new(
        Code::NO_SUCH_ROUTE,
        "There is nothing at this path. /docs lists every route; those of the API begin with /v1.",
    )
}

/// What is answered where no route is.
pub async fn fallback() -> Problem {
    no_such_route()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_request_id_is_taken_over_and_any_other_replaced() {
        let longest = "x".repeat(limits::REQUEST_ID_MAX_BYTES);
        for (given, taken) in [
            ("abc-123", true),
            ("!~", true),
            (longest.as_str(), true),
            ("", false),
            ("with space", false),
            ("t\tab", false),
            (&format!("{longest}x"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID.clone(), given.parse().unwrap());
            let id = RequestId::take_or_mint(&headers).0;
            assert_eq!(&*id == given, taken, "{given:?} became {id:?}");
            assert!(!id.is_empty());
        }
        let latin = HeaderValue::from_bytes(b"\xe9").unwrap();
        let id = RequestId::take_or_mint(&HeaderMap::from_iter([(X_REQUEST_ID.clone(), latin)]));
        assert!(id.0.starts_with("req-"));
    }

    #[tokio::test]
    async fn an_error_of_axums_own_becomes_a_problem_and_keeps_its_headers() {
        let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,POST"));
        let response = in_due_form(response, "r1");
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[header::ALLOW], "GET,POST");
        let bytes = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(body["code"], "method_not_allowed");
        assert_eq!(body["request_id"], "r1");
        for (status, code) in
            [(404, "no_such_route"), (500, "internal_error"), (431, "bad_request")]
        {
            let response = StatusCode::from_u16(status).unwrap().into_response();
            let response = in_due_form(response, "r1");
            assert_eq!(response.status(), status);
            let bytes = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(
                (body["code"].as_str(), body["status"].as_u64()),
                (Some(code), Some(status.into()))
            );
        }
    }

    #[test]
    fn a_success_is_left_alone() {
        let response = in_due_form((StatusCode::CREATED, "x").into_response(), "r1");
        assert_eq!(response.status(), 201);
        assert_ne!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
