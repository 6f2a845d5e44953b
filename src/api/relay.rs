//! What a node without a vote does not do itself: it passes the request on, whole, to a node that
//! has one, and gives its answer.
//!
//! Such a node verifies, and shows what it knows; it proposes nothing. The node that takes the
//! request checks the key and all the rest as if it had been asked itself, so a node without a vote
//! can do no more than its clients can. Knows nothing of any one route but verification's.

use std::{net::IpAddr, sync::Arc, time::Duration};

use authrai_cluster::{Answerer, Answering, AskError};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    App,
    auth::organization_of,
    body::receive,
    problem::{Code, Problem},
    rate::network_of,
    reply::LOG_INDEX,
    request::{RequestId, X_REQUEST_ID, in_due_form, internal_error},
};
use crate::{
    codec,
    domain::OrgId,
    fair::{Full, Gate, Pass, Supply},
    handover::PASSED_ON,
    limits,
};

/// A request, or an answer, without its body.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// Of a request: its method.
    method: String,
    /// Of a request: its path and query.
    target: String,
    /// Of an answer: its status.
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
}

/// A request as the other nodes take it.
fn question(head: &Head, body: &[u8]) -> Vec<u8> {
    [&[PASSED_ON], joined(head, body).as_slice()].concat()
}

/// On its way it is the length of the head (u32, big-endian), the head, and the body.
fn joined(head: &Head, body: &[u8]) -> Vec<u8> {
    let head = codec::encode(head);
    // A head is far below 4 GiB: what a connection takes in is bounded.
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes();
    [length.as_slice(), &head, body].concat()
}

fn split(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (head, body) = rest.split_at_checked(length)?;
    Some((codec::decode(head).ok()?, body))
}

/// Headers that hold on one connection only (RFC 9110, section 7.6.1), and the body's length, which
/// is known anew.
const OF_A_CONNECTION: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn written(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let kept = headers.iter().filter(|(name, _)| !OF_A_CONNECTION.contains(&name.as_str()));
    kept.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

fn read(headers: Vec<(String, Vec<u8>)>) -> Option<HeaderMap> {
    let header = |(name, value): (String, Vec<u8>)| {
        let name: HeaderName = name.parse().ok()?;
        Some((name, HeaderValue::from_bytes(&value).ok()?))
    };
    // Collecting would keep the last of equal names only.
    headers.into_iter().map(header).try_fold(HeaderMap::new(), |mut all, one| {
        let (name, value) = one?;
        all.append(name, value);
        Some(all)
    })
}

/// Whether a node without a vote answers this itself: what only reads, and verification.
fn is_local(method: &Method, path: &str) -> bool {
    method.is_safe() || !path.starts_with("/v1/") || path.starts_with("/v1/tokens/verify")
}

/// The layer around everything, on a node without a vote.
pub(super) async fn pass_on(State(app): State<App>, request: Request, next: Next) -> Response {
    if is_local(request.method(), request.uri().path()) {
        return next.run(request).await;
    }
    let id = RequestId::take_or_mint(request.headers());
    let answered = match passed_on(&app, request, &id).await {
        Ok(response) => return response,
        Err(problem) => problem.into_response(),
    };
    in_due_form(answered, id.as_str())
}

/// The shares of what a node without a vote passes on: of callers with a key by organisation, of
/// those without by network, so that neither displaces the other.
#[derive(Clone)]
pub struct Relaying {
    organizations: Gate<OrgId>,
    anonymous: Gate<IpAddr>,
}

impl Default for Relaying {
    fn default() -> Self {
        let supply = Supply::new(limits::RELAYED_MAX, limits::RELAYED_PER_ASKER_MAX);
        Self { organizations: Gate::new(supply), anonymous: Gate::new(supply) }
    }
}

/// A place among them; one of the two is taken.
type Place = (Option<Pass<OrgId>>, Option<Pass<IpAddr>>);

impl Relaying {
    fn enter(&self, org: Option<OrgId>, extensions: &Extensions) -> Result<Place, Problem> {
        let place = match org {
            Some(org) => self.organizations.enter(org).map(|pass| (Some(pass), None)),
            None => self.anonymous.enter(network_of(extensions)).map(|pass| (None, Some(pass))),
        };
        place.map_err(too_many)
    }
}

fn too_many(full: Full) -> Problem {
    match full {
        Full::Node => Problem::new(
            Code::OVERLOADED,
            "This node has no vote and passes writes on, and as many are under way as it can have. \
             Nothing was done; try again shortly, or ask another node.",
        ),
        Full::Share => Problem::new(
            Code::LIMIT_REACHED,
            "This node has no vote and passes writes on, and your share of those under way is \
             taken. Nothing was done; wait until some are answered, or ask another node.",
        ),
    }
}

async fn passed_on(app: &App, request: Request, id: &RequestId) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let _place = app.relaying.enter(organization_of(app, &parts.headers), &parts.extensions)?;
    let body = receive(&parts.headers, body).await?;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        parts.headers.insert(X_REQUEST_ID.clone(), value);
    }
    let head = Head {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        status: 0,
        headers: written(&parts.headers),
    };
    let within = Duration::from_secs(limits::REQUEST_TIMEOUT_S);
    let answer = app.handle.ask_a_voter(question(&head, &body), within).await;
    let answer = answer.map_err(|error| match error {
        AskError::NotTaken => Problem::new(
            Code::NO_QUORUM,
            "This node has no vote and passes writes on, but no node that has one can be reached. \
             Nothing was done; try again, or ask another node.",
        ),
        AskError::Unknown => Problem::new(
            Code::OUTCOME_UNKNOWN,
            "This node has no vote and passed the request on, but no answer came back: it may have \
             been done or not. Read before you try again.",
        ),
    })?;
    let response = answer_of(&answer).ok_or_else(|| {
        tracing::error!("what a node with a vote answered cannot be read");
        internal_error()
    })?;
    read_your_writes(app, response.headers()).await;
    Ok(response)
}

fn answer_of(bytes: &[u8]) -> Option<Response> {
    let (head, body) = split(bytes)?;
    let mut response = Response::new(Body::from(Bytes::copy_from_slice(body)));
    *response.status_mut() = StatusCode::from_u16(head.status).ok()?;
    *response.headers_mut() = read(head.headers)?;
    Some(response)
}

/// What was written is seen by the next request to this node, as it is everywhere else.
async fn read_your_writes(app: &App, headers: &HeaderMap) {
    let index = headers.get(&LOG_INDEX).and_then(|index| index.to_str().ok()?.parse().ok());
    if let Some(index) = index {
        let within = Duration::from_millis(limits::MIN_INDEX_WAIT_MS);
        // It was done all the same; a client that must know sends AuthRAI-Min-Index.
        let _ = app.handle.wait_applied(index, within).await;
    }
}

/// Answers what nodes without a vote pass on.
#[derive(Clone)]
pub struct Relayed {
    router: Router,
    stopping: CancellationToken,
}

impl Relayed {
    /// Answers with `router` until `stopping` is cancelled.
    pub fn new(router: Router, stopping: CancellationToken) -> Arc<Self> {
        Arc::new(Self { router, stopping })
    }

    async fn respond(self, question: &[u8]) -> Option<Vec<u8>> {
        let (head, body) = split(question)?;
        let mut request = Request::new(Body::from(Bytes::copy_from_slice(body)));
        *request.method_mut() = head.method.parse().ok()?;
        *request.uri_mut() = head.target.parse::<Uri>().ok()?;
        *request.headers_mut() = read(head.headers)?;
        let Ok(response) = self.router.oneshot(request).await;
        let (parts, body) = response.into_parts();
        let mut head = Head {
            method: String::new(),
            target: String::new(),
            status: parts.status.as_u16(),
            headers: written(&parts.headers),
        };
        let body = to_bytes(body, limits::RELAYED_ANSWER_MAX_BYTES).await.unwrap_or_else(|_| {
            head.status = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
            Bytes::new()
        });
        Some(joined(&head, &body))
    }
}

impl Answerer for Relayed {
    fn answer(&self, from: u64, question: Vec<u8>) -> Answering {
        let relayed = self.clone();
        Box::pin(async move {
            if relayed.stopping.is_cancelled() {
                return None;
            }
            tracing::debug!(node = from, "a request that was passed on");
            relayed.respond(&question).await
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::post;

    use super::*;

    #[test]
    fn a_node_without_a_vote_answers_reads_and_verifications_itself() {
        for (method, path, local) in [
            (Method::GET, "/v1/agents", true),
            (Method::HEAD, "/v1/agents", true),
            (Method::POST, "/v1/tokens/verify", true),
            (Method::POST, "/v1/tokens/verify/batch", true),
            (Method::POST, "/docs", true),
            (Method::POST, "/v1/tokens", false),
            (Method::POST, "/v1/tokens/revoke", false),
            (Method::DELETE, "/v1/cluster/nodes/3", false),
            (Method::PATCH, "/v1/agents/x", false),
        ] {
            assert_eq!(is_local(&method, path), local, "{method} {path}");
        }
    }

    #[test]
    fn neither_one_organisation_nor_callers_without_a_key_take_all_that_is_passed_on() {
        let relaying = Relaying::default();
        let [one, two] = [1, 2].map(OrgId::from_ulid);
        let none = Extensions::new();
        let fill = |org| std::iter::from_fn(|| relaying.enter(org, &none).ok()).collect::<Vec<_>>();
        let of_one = fill(Some(one));
        assert_eq!(of_one.len(), limits::RELAYED_PER_ASKER_MAX);
        let anonymous = fill(None);
        assert_eq!(anonymous.len(), limits::RELAYED_PER_ASKER_MAX);
        assert_eq!(fill(Some(two)).len(), limits::RELAYED_PER_ASKER_MAX);
    }

    #[tokio::test]
    async fn a_request_arrives_as_it_was_sent_and_its_answer_as_it_was_given() {
        let echo = |uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let twice = headers.get_all("x-twice").iter().count();
            let seen = format!("{uri} {twice} {}", headers.contains_key("connection"));
            (StatusCode::CREATED, [("x-seen", seen)], body)
        };
        let router = Router::new().route("/v1/a", post(echo));
        let relayed = Relayed::new(router, CancellationToken::new());
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-twice", "1"), ("x-twice", "2"), ("connection", "close")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let head = Head {
            method: "POST".into(),
            target: "/v1/a?b=%20".into(),
            status: 0,
            headers: written(&headers),
        };
        let question = joined(&head, b"body");
        let answer = relayed.answer(4, question.clone()).await.expect("taken");
        let response = answer_of(&answer).expect("an answer");
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()["x-seen"], "/v1/a?b=%20 2 false");
        assert_eq!(to_bytes(response.into_body(), 100).await.expect("a body"), "body");
        // What is cut short is no request, and one that stops takes none.
        for cut in [0, 3, 10] {
            assert_eq!(relayed.answer(4, question[..cut].to_vec()).await, None);
        }
        relayed.stopping.cancel();
        assert_eq!(relayed.answer(4, question).await, None);
    }
}
