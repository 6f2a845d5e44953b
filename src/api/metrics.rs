//! Metrics: what this node counts about its API, in the Prometheus text format.
//!
//! One recorder for the process. Routes are labelled by their pattern, never by the path that was
//! asked for, so that clients cannot make series. What the node is at the moment is read when it is
//! asked for. Knows nothing of what is served.

use std::{
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use authrai_cluster::{Handle, LEASE_REFUSALS_METRIC, REVOKE_WAIT_SECONDS_METRIC, Role};
use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use metrics::{
    Counter, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{
    actors::{ATTEMPT_SECONDS_METRIC, ATTEMPTS_METRIC, OPEN_RETRIES_METRIC},
    machine::AuthMachine,
    verify::Reason,
};

const REQUESTS: &str = "authrai_http_requests_total";
const REQUEST_SECONDS: &str = "authrai_http_request_seconds";
const VERDICTS: &str = "authrai_verdicts_total";
const UNAVAILABLE: &str = "authrai_verification_unavailable_total";
const MAY_SERVE: &str = "authrai_may_serve";
const LEASE_LEFT: &str = "authrai_lease_left_seconds";
const LEADS: &str = "authrai_leads";
const APPLIED: &str = "authrai_applied_index";
const LOG_END: &str = "authrai_last_log_index";
const MESSAGES: &str = "authrai_peer_messages_total";

/// Bounds of the latency histogram, seconds.
const LATENCY_BUCKETS_S: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0,
    5.0,
];

/// Bounds of the histogram of what revokes wait for, seconds: a message, a failed round, a lease.
const REVOKE_WAIT_BUCKETS_S: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.1, 5.0, 30.0];

/// Bounds of the histogram of webhook deliveries, seconds.
const DELIVERY_BUCKETS_S: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the process's recorder, once. `None` when it could not be: another one is installed.
fn recorder() -> Option<&'static PrometheusHandle> {
    RECORDER
        .get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Full(REQUEST_SECONDS.into()), LATENCY_BUCKETS_S)
                .and_then(|builder| {
                    let attempts = Matcher::Full(ATTEMPT_SECONDS_METRIC.into());
                    builder.set_buckets_for_metric(attempts, DELIVERY_BUCKETS_S)
                })
                .and_then(|builder| {
                    let waits = Matcher::Full(REVOKE_WAIT_SECONDS_METRIC.into());
                    builder.set_buckets_for_metric(waits, REVOKE_WAIT_BUCKETS_S)
                })
                .and_then(PrometheusBuilder::install_recorder)
                .inspect_err(|error| tracing::warn!(%error, "metrics are not available"))
                .ok()?;
            describe_counter!(REQUESTS, "Requests answered, by route and status.");
            describe_histogram!(REQUEST_SECONDS, "Time from request to answer, seconds.");
            describe_counter!(VERDICTS, "Tokens verified, by verdict: valid, or the reason.");
            describe_counter!(
                ATTEMPTS_METRIC,
                "Attempts at webhooks, by outcome: delivered, or what failed."
            );
            describe_histogram!(ATTEMPT_SECONDS_METRIC, "Time that attempts took, seconds.");
            describe_gauge!(OPEN_RETRIES_METRIC, "Events that webhooks are owed after a failure.");
            describe_cluster();
            Some(handle)
        })
        .as_ref()
}

fn describe_cluster() {
    describe_histogram!(
        REVOKE_WAIT_SECONDS_METRIC,
        "Time that revokes waited, once committed, until no node could answer from before them, \
         seconds; on the node that leads."
    );
    describe_counter!(LEASE_REFUSALS_METRIC, "Requests of this node for a lease, by why not.");
    describe_counter!(UNAVAILABLE, "Answers 503 verification_unavailable.");
    describe_gauge!(MAY_SERVE, "1 while this node holds a lease, so that it answers.");
    describe_gauge!(LEASE_LEFT, "What is left of this node's lease, seconds.");
    describe_gauge!(LEADS, "1 while this node leads.");
    describe_gauge!(APPLIED, "The last entry of the log that this node has applied.");
    describe_gauge!(LOG_END, "The last entry of this node's log.");
    describe_counter!(MESSAGES, "Messages sent to other nodes, by kind.");
}

/// Starts counting.
pub(super) fn install() {
    recorder();
}

/// `/metrics`, for the API's address or for one of its own.
pub fn metrics_router(handle: Handle<AuthMachine>) -> Router {
    install();
    Router::new().route("/metrics", get(render)).with_state(handle)
}

/// What the node is at the moment that it is asked.
fn measure(handle: &Handle<AuthMachine>) {
    let status = handle.status();
    let node = status.node_id.to_string();
    let show = |name, value: f64| gauge!(name, "node" => node.clone()).set(value);
    show(MAY_SERVE, f64::from(u8::from(handle.may_serve())));
    show(LEASE_LEFT, Duration::from_millis(status.lease_left_ms).as_secs_f64());
    show(LEADS, f64::from(u8::from(status.role == Role::Leader)));
    show(APPLIED, status.applied_index as f64);
    show(LOG_END, status.last_log_index as f64);
    for (kind, count) in handle.messages_sent() {
        counter!(MESSAGES, "node" => node.clone(), "kind" => kind).absolute(count);
    }
}

async fn render(State(handle): State<Handle<AuthMachine>>) -> impl IntoResponse {
    measure(&handle);
    let text = recorder().map(PrometheusHandle::render).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// Counts a request that was answered.
pub(super) fn request(method: &Method, route: &str, status: StatusCode, took: Duration) {
    let method = known(method);
    let status = status.as_u16().to_string();
    let route = route.to_owned();
    counter!(REQUESTS, "method" => method, "route" => route.clone(), "status" => status)
        .increment(1);
    histogram!(REQUEST_SECONDS, "method" => method, "route" => route).record(took);
}

/// Counts an answer that was refused for want of a lease, or of a quorum.
pub(super) fn unavailable() {
    counter!(UNAVAILABLE).increment(1);
}

/// A method's name, for a label: a client may send any word as a method.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// One counter a verdict: valid first, then every reason in its order. Registered once, so that
/// counting a verdict is one atomic addition.
static VERDICT_COUNTERS: LazyLock<Vec<Counter>> = LazyLock::new(|| {
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
    std::iter::once("valid")
        .chain(reasons)
        .map(|verdict| counter!(VERDICTS, "verdict" => verdict))
        .collect()
});

/// Counts a verdict: `None` is valid.
pub(super) fn verdict(reason: Option<Reason>) {
    let place = reason.map_or(0, |reason| reason as usize + 1);
    if let Some(counter) = VERDICT_COUNTERS.get(place) {
        counter.increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_metric() {
        let page = include_str!("../../docs/metrics.md");
        let named: std::collections::BTreeSet<_> =
            page.split('`').filter(|word| word.starts_with("authrai_")).collect();
        let counted = [
            REQUESTS,
            REQUEST_SECONDS,
            VERDICTS,
            UNAVAILABLE,
            REVOKE_WAIT_SECONDS_METRIC,
            LEASE_REFUSALS_METRIC,
            MAY_SERVE,
            LEASE_LEFT,
            LEADS,
            APPLIED,
            LOG_END,
            MESSAGES,
            ATTEMPTS_METRIC,
            ATTEMPT_SECONDS_METRIC,
            OPEN_RETRIES_METRIC,
        ];
        assert_eq!(named, counted.into_iter().collect());
    }

    #[tokio::test]
    async fn what_was_counted_is_shown() {
        install();
        request(&Method::GET, "/v1/agents/{id}", StatusCode::OK, Duration::from_millis(1));
        request(
            &Method::from_bytes(b"BREW").unwrap(),
            "unmatched",
            StatusCode::NOT_FOUND,
            Duration::ZERO,
        );
        verdict(None);
        verdict(Some(Reason::InsufficientScope));
        let text = recorder().unwrap().render();
        for line in [
            r#"authrai_http_requests_total{method="GET",route="/v1/agents/{id}",status="200"} "#,
            r#"authrai_http_requests_total{method="other",route="unmatched",status="404"} "#,
            r#"authrai_verdicts_total{verdict="valid"} "#,
            r#"authrai_verdicts_total{verdict="insufficient_scope"} "#,
            r#"authrai_http_request_seconds_bucket{method="GET",route="/v1/agents/{id}",le="0.001"} "#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
