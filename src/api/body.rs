//! Request bodies: bytes, bounded in size and in time, to a DTO or to a [`Problem`].
//!
//! Malformed JSON, an unfit content type and a body that ends early are a 400, a body over its
//! bound a 413, one that dawdles a 408, and well-formed JSON that is not what the route takes a
//! 422 that names each field. Knows nothing of any one route.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use http_body_util::BodyExt;
use serde_json::Value;

use super::{
    fields::{self, FromFields},
    idempotency::note_body,
    json::{self, JsonError},
    problem::{Code, FieldError, Problem},
};
use crate::limits;

/// A request's body, checked.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: FromFields> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        check_content_type(&parts.headers)?;
        let bytes = receive(&parts.headers, body).await?;
        note_body(&parts, &bytes, false);
        read_object(&bytes).map(Self)
    }
}

/// A body that may be left out; it then reads as an empty object.
#[derive(Debug)]
pub struct OptionalBody<T>(pub T);

impl<S: Send + Sync, T: FromFields> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = receive(&parts.headers, body).await?;
        note_body(&parts, &bytes, false);
        if bytes.is_empty() {
            return read_object(b"{}").map(Self);
        }
        check_content_type(&parts.headers)?;
        read_object(&bytes).map(Self)
    }
}

pub(super) fn read_object<T: FromFields>(bytes: &[u8]) -> Result<T, Problem> {
    let value: Value = json::parse(bytes).map_err(|error| match error {
        JsonError::Malformed(said) => Problem::new(
            Code::INVALID_JSON,
            format!("The body is not valid JSON: {said}. Send one JSON object in UTF-8."),
        ),
        JsonError::NumberTooLarge(place) => {
            let field =
                if place.is_empty() { "body".to_owned() } else { fields::shortened(&place) };
            Problem::invalid(vec![FieldError {
                field,
                message: "is a number beyond every range".into(),
            }])
        }
    })?;
    fields::read(value).map_err(Problem::invalid)
}

/// JSON is `application/json` or any `application/…+json`, such as that of a merge patch.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut parts = declared.unwrap_or_default().split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    let is_utf8 = parts.all(|parameter| {
        let parameter = parameter.to_ascii_lowercase().replace('"', "");
        parameter.strip_prefix("charset=").is_none_or(|charset| charset == "utf-8")
    });
    if is_json && is_utf8 {
        return Ok(());
    }
    Err(Problem::new(
        Code::WRONG_CONTENT_TYPE,
        "This route takes JSON in UTF-8. Send the header Content-Type: application/json.",
    ))
}

pub(super) async fn receive(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Problem> {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or(0);
    if declared > limits::BODY_DRAIN_MAX_BYTES {
        return Err(too_large());
    }
    let limit = Duration::from_secs(limits::BODY_TIMEOUT_S);
    tokio::time::timeout(limit, collect(body, declared)).await.unwrap_or_else(|_| {
        Err(Problem::new(
            Code::REQUEST_TOO_SLOW,
            format!(
                "The body did not arrive within {} seconds. Nothing was done; send it again.",
                limits::BODY_TIMEOUT_S
            ),
        ))
    })
}

/// Reads on for a while beyond the limit: a connection that is closed with bytes unread can lose
/// the answer on its way.
async fn collect(mut body: Body, declared: usize) -> Result<Vec<u8>, Problem> {
    let mut whole = Vec::with_capacity(declared.min(limits::BODY_MAX_BYTES));
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| incomplete())?.into_data() else { continue };
        received += data.len();
        if received <= limits::BODY_MAX_BYTES {
            whole.extend_from_slice(&data);
        } else if received > limits::BODY_DRAIN_MAX_BYTES {
            break;
        }
    }
    if received > limits::BODY_MAX_BYTES { Err(too_large()) } else { Ok(whole) }
}

fn incomplete() -> Problem {
    Problem::new(
        Code::BODY_INCOMPLETE,
        "The connection gave less of the body than it had announced. Nothing was done.",
    )
}

fn too_large() -> Problem {
    Problem::new(
        Code::BODY_TOO_LARGE,
        format!("A request body may have at most {} bytes.", limits::BODY_MAX_BYTES),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{fields::Fields, rules};

    #[derive(Debug)]
    struct Sample;

    impl FromFields for Sample {
        fn read(fields: &mut Fields) -> Option<Self> {
            fields.optional("ttl", rules::integer(1..=9, "seconds"));
            Some(Self)
        }
    }

    async fn code(content_type: Option<&str>, body: impl Into<Body>) -> &'static str {
        let mut request = Request::new(body.into());
        if let Some(value) = content_type {
            request.headers_mut().insert(header::CONTENT_TYPE, value.parse().unwrap());
        }
        match JsonBody::<Sample>::from_request(request, &()).await {
            Ok(_) => "fine",
            Err(problem) => problem.code.name,
        }
    }

    #[tokio::test]
    async fn json_in_utf_8_is_declared_as_such() {
        for (content_type, expected) in [
            (Some("application/json"), "fine"),
            (Some("Application/JSON; charset=UTF-8"), "fine"),
            (Some("application/json;charset=\"utf-8\""), "fine"),
            (Some("application/merge-patch+json"), "fine"),
            (Some("application/json; charset=latin1"), "wrong_content_type"),
            (Some("text/json"), "wrong_content_type"),
            (Some("application/x-www-form-urlencoded"), "wrong_content_type"),
            (None, "wrong_content_type"),
        ] {
            assert_eq!(code(content_type, "{}").await, expected, "{content_type:?}");
        }
    }

    #[tokio::test]
    async fn malformed_is_400_invalid_is_422_and_too_large_is_413() {
        let json = Some("application/json");
        for (body, expected) in [
            (b"{\"ttl\":5}".to_vec(), "fine"),
            (b"{\"ttl\":".to_vec(), "invalid_json"),
            (b"".to_vec(), "invalid_json"),
            (b"\xff".to_vec(), "invalid_json"),
            (b"{\"ttl\":5,\"ttl\":6}".to_vec(), "invalid_json"),
            (b"[]".to_vec(), "validation_failed"),
            (b"{\"ttl\":\"5\"}".to_vec(), "validation_failed"),
            (b"{\"ttl\":1e999}".to_vec(), "validation_failed"),
            (vec![b' '; limits::BODY_MAX_BYTES + 1], "body_too_large"),
        ] {
            assert_eq!(code(json, body).await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_dawdles_or_breaks_off_is_told_so() {
        let silent = futures_util::stream::pending::<Result<&'static str, std::io::Error>>();
        assert_eq!(
            code(Some("application/json"), Body::from_stream(silent)).await,
            "request_too_slow"
        );
        let broken = futures_util::stream::iter([Ok("{"), Err(std::io::Error::other("gone"))]);
        assert_eq!(
            code(Some("application/json"), Body::from_stream(broken)).await,
            "body_incomplete"
        );
    }
}
