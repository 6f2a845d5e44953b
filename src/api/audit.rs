//! The audit log: query, export, check, follow.
//!
//! An API key reads the chain of its organisation and environment, an operator key that of the
//! cluster. Exports and streams are endless as far as a request is concerned: their bodies are made
//! while the client takes them, and what fails in the middle breaks the connection off, so that
//! half a document never looks whole.

use std::time::Duration;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{FromRequestParts, State},
    http::{HeaderName, HeaderValue, Request, header, request::Parts},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::{Stream, stream};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    auth::{Caller, Operator, perm},
    error::shutting_down,
    pagination::Page,
    problem::{Code, Problem, ProblemBody},
    query::Query,
    reply::Answer,
    wire::audit::{
        AuditEvent, AuditFilter, AuditMessage, AuditPage, AuditQuery, AuditVerified, ExportFormat,
        ExportQuery, NoQuery, StreamQuery,
    },
};
use crate::{
    audit::{AuditError, AuditLog, Entry, Export, QueryError, offline::Format},
    domain::{Head, OrgId, Tenant},
    fair::{Full, Pass},
    limits,
};

/// The last event of the chain when an export started: `<seq>:<hash>`.
static AUDIT_HEAD: HeaderName = HeaderName::from_static("authrai-audit-head");
/// Where a client of a stream left off.
static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(query))
        .routes(routes!(export))
        .routes(routes!(verify))
        .routes(routes!(follow))
}

/// Who may read an audit chain.
struct Auditor {
    tenant: Tenant,
    /// The key as it was presented, to see later whether it still works.
    authorization: Option<HeaderValue>,
}

impl FromRequestParts<App> for Auditor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::<perm::AuditRead>::from_request_parts(parts, app).await;
        let tenant = match caller {
            Ok(caller) => caller.tenant(),
            Err(problem) if problem.code == Code::WRONG_KIND_OF_KEY => {
                Operator::from_request_parts(parts, app).await?;
                Tenant::SYSTEM
            }
            Err(problem) => return Err(problem),
        };
        let authorization = parts.headers.get(header::AUTHORIZATION).cloned();
        Ok(Self { tenant, authorization })
    }
}

impl Auditor {
    /// Whether the key would still be let in.
    async fn may_go_on(&self, app: &App) -> bool {
        let (mut parts, ()) = Request::new(()).into_parts();
        if let Some(authorization) = &self.authorization {
            parts.headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        Self::from_request_parts(&mut parts, app).await.is_ok()
    }
}

/// Query audit log events
///
/// Events are hash-chained and tamper-evident, oldest first. Without a filter, with `event`, with
/// `agent_id` or with both, `total` is exact and any `offset` is fast. Other filters read event by
/// event, a bounded number for each request: a page may then hold fewer events than `limit`, or
/// none, and say `has_more`. To see every match exactly once, send `next_after_seq` as `after_seq`
/// until it is null.
#[utoipa::path(
    get, path = "/audit", tag = "Audit Log", operation_id = "queryAuditLog",
    params(Page, AuditFilter),
    responses((status = 200, description = "A page of events.", body = AuditPage)),
    security(("api_key" = ["audit:read"]), ("operator_key" = [])),
)]
async fn query(
    auditor: Auditor,
    State(app): State<App>,
    Query(AuditQuery { page, filter }): Query<AuditQuery>,
) -> Answer<Json<AuditPage>> {
    let found = app.audit.page(auditor.tenant, filter, page.offset, page.take()).await?;
    AuditPage::new(page, &found).map(Json).map_err(|error| {
        tracing::error!(%error, tenant = ?auditor.tenant, "an audit event is not JSON");
        Problem::new(Code::AUDIT_DAMAGED, "An event on this page is damaged: it is not JSON.")
    })
}

/// Export the audit log
///
/// Everything that matches, as CSV or JSON, oldest first, up to the event that is the last when the
/// export starts; `AuthRAI-Audit-Head` names it. An export without filters can be checked offline:
/// `authrai audit verify FILE --head HASH`. In CSV the last column, `event_json`, is the RFC 8785
/// (JCS) form of the event without `hash` and `prev_hash`, so `hash` is the SHA-256 of the 32 bytes
/// of `prev_hash` followed by that cell. A cell that a spreadsheet would run as a formula starts
/// with an apostrophe.
#[utoipa::path(
    get, path = "/audit/export", tag = "Audit Log", operation_id = "exportAuditLog",
    params(ExportFormat, AuditFilter),
    responses(
        (status = 200, description = "The events. An answer that ends early was broken off.",
         headers(
             ("AuthRAI-Audit-Head" = String, description = "`seq:hash` of the chain's last event \
              when the export started; `0:` and 64 zeros when there is none."),
             ("Content-Disposition" = String, description = "A name for the file."),
         ),
         content(
             (Vec<AuditEvent> = "application/json"),
             (String = "text/csv", example = "seq,id,event,at,actor_type,actor_id,agent_id,\
              token_id,policy_id,request_id,prev_hash,hash,event_json\r\n"),
         )),
        (status = 429, description = "The organisation has too many exports in progress.",
         body = ProblemBody, content_type = "application/problem+json",
         headers(("Retry-After" = u64))),
    ),
    security(("api_key" = ["audit:read"]), ("operator_key" = [])),
)]
async fn export(
    auditor: Auditor,
    State(app): State<App>,
    Query(ExportQuery { format, filter }): Query<ExportQuery>,
) -> Answer<Response> {
    let tenant = auditor.tenant;
    let pass = app.audit.export_pass(tenant).map_err(|full| too_many(full, "exports"))?;
    let export = app.audit.export(tenant, filter, format).await?;
    let head = export.head();
    let hash = app.audit.hash_at(tenant, head).await?;
    // What can be known to fail, fails before the answer begins.
    let first = app.audit.piece(tenant, export).await?;
    let body = Body::from_stream(pieces(app.audit.clone(), first, pass, tenant));
    let (kind, extension) = match format {
        Format::Json => ("application/json", "json"),
        Format::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
    };
    let name = format!("audit-{}-{}-{head}.{extension}", tenant.org, tenant.environment);
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (AUDIT_HEAD.clone(), format!("{head}:{}", hex::encode(hash))),
    ];
    Ok((headers, body).into_response())
}

/// The pieces of an export, each made when the one before was taken.
fn pieces(
    log: AuditLog,
    first: Option<(Vec<u8>, Export)>,
    pass: Pass<OrgId>,
    tenant: Tenant,
) -> impl Stream<Item = Result<Bytes, AuditError>> {
    stream::try_unfold((first, None, pass), move |(first, export, pass)| {
        let log = log.clone();
        async move {
            let piece = match (first, export) {
                (Some(first), _) => Some(first),
                (None, Some(export)) => log.piece(tenant, export).await.inspect_err(|error| {
                    tracing::error!(%error, ?tenant, "an audit export was broken off");
                })?,
                (None, None) => None,
            };
            Ok(piece.map(|(piece, export)| (Bytes::from(piece), (None, Some(export), pass))))
        }
    })
}

/// Check the audit log
///
/// Walks the whole chain again and compares every hash, and the last with the head that the node
/// holds apart from the log. The answer begins at once and ends when the check does.
#[utoipa::path(
    get, path = "/audit/verify", tag = "Audit Log", operation_id = "verifyAuditLog",
    responses(
        (status = 200, description = "What the check came to.", body = AuditVerified),
        (status = 429, description = "The organisation has too many checks in progress.",
         body = ProblemBody, content_type = "application/problem+json",
         headers(("Retry-After" = u64))),
    ),
    security(("api_key" = ["audit:read"]), ("operator_key" = [])),
)]
async fn verify(
    auditor: Auditor,
    State(app): State<App>,
    Query(NoQuery): Query<NoQuery>,
) -> Answer<Response> {
    let tenant = auditor.tenant;
    let pass = app.audit.export_pass(tenant).map_err(|full| too_many(full, "checks"))?;
    let head = app.views.load().state.heads.get(&tenant).copied().unwrap_or(Head::START);
    // A long chain takes longer than a request may, so the check is the body's work.
    let check = async move {
        let _pass = pass;
        let verdict = app.audit.check(tenant, head).await.inspect_err(|error| {
            tracing::error!(%error, ?tenant, "an audit check was broken off");
        })?;
        if let Some(seq) = verdict.first_bad_seq {
            tracing::error!(seq, ?tenant, "the audit chain does not hold");
        }
        let body = serde_json::to_vec(&AuditVerified::from(verdict));
        body.map(Bytes::from).map_err(|error| AuditError::Disk(error.to_string()))
    };
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((headers, Body::from_stream(stream::once(check))).into_response())
}

/// Follow the audit log
///
/// Server-sent events: `id` is the event's `seq`, `event` its name, `data` the event in full. A
/// client that comes back with `Last-Event-ID` misses nothing; without it, and without
/// `after_seq`, the stream begins with what happens from now on. It ends when the key stops working
/// or the node is stopped; a damaged event is named in an event `problem`, after which the stream
/// ends too. Comments show that it is alive.
#[utoipa::path(
    get, path = "/audit/stream", tag = "Audit Log", operation_id = "followAuditLog",
    params(
        StreamQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "The `seq` of the last event that \
          was received; takes precedence over `after_seq`."),
    ),
    responses(
        (status = 200, description = "Events, as they happen; each message of the stream \
          has these fields.", body = AuditMessage, content_type = "text/event-stream"),
        (status = 429, description = "The organisation has too many streams open.",
         body = ProblemBody, content_type = "application/problem+json",
         headers(("Retry-After" = u64))),
    ),
    security(("api_key" = ["audit:read"]), ("operator_key" = [])),
)]
async fn follow(
    auditor: Auditor,
    State(app): State<App>,
    LastEventId(last_event_id): LastEventId,
    Query(query): Query<StreamQuery>,
) -> Answer<Response> {
    let pass = app.audit.stream_pass(auditor.tenant).map_err(|full| too_many(full, "streams"))?;
    let after = last_event_id.or(query.after_seq);
    let after = after.unwrap_or_else(|| app.audit.head(auditor.tenant));
    let follower = Follower {
        applied: app.handle.applied_watch(),
        app,
        auditor,
        after,
        queue: Vec::new().into_iter(),
        greeted: false,
        ended: false,
        _pass: pass,
    };
    let events = stream::unfold(follower, |mut follower| async {
        follower.next().await.map(|event| (Ok::<_, std::convert::Infallible>(event), follower))
    });
    Ok(Sse::new(events).into_response())
}

struct LastEventId(Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(&LAST_EVENT_ID) else { return Ok(Self(None)) };
        let seq = value.to_str().ok().and_then(|text| text.parse().ok());
        seq.map(|seq| Self(Some(seq))).ok_or_else(|| {
            Problem::invalid_field(
                "Last-Event-ID",
                "must be the id of an event of this stream: a whole number",
            )
        })
    }
}

/// One client that follows a chain.
struct Follower {
    app: App,
    auditor: Auditor,
    applied: tokio::sync::watch::Receiver<u64>,
    /// Place of the last event that was read.
    after: u64,
    queue: std::vec::IntoIter<Entry>,
    greeted: bool,
    ended: bool,
    _pass: Pass<OrgId>,
}

impl Follower {
    /// What to send next; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        if !std::mem::replace(&mut self.greeted, true) {
            // Lets the client know at once that it is heard.
            return Some(Event::default().comment(format!("after {}", self.after)));
        }
        loop {
            if let Some(entry) = self.queue.next() {
                match sse(&entry) {
                    Ok(event) => return Some(event),
                    Err(what) => {
                        return Some(self.damaged(&format!("event {}: {what}", entry.seq)));
                    }
                }
            }
            // Before every read, so that nothing is sent that happened after the key had died.
            self.applied.borrow_and_update();
            if self.ended
                || self.app.stopping.is_cancelled()
                || !self.auditor.may_go_on(&self.app).await
            {
                return None;
            }
            match self.app.audit.after(self.auditor.tenant, self.after).await {
                Ok(entries) => {
                    self.after = entries.last().map_or(self.after, |last| last.seq);
                    self.queue = entries.into_iter();
                }
                Err(error) => return Some(self.damaged(&error.to_string())),
            }
            if self.queue.len() == 0 && !self.wait().await {
                return Some(Event::default().comment("alive"));
            }
        }
    }

    /// Waits until more may have happened; false when it is time for a sign of life. Changes
    /// gather a moment, so that a busy node does not ask for every stream after every one.
    async fn wait(&mut self) -> bool {
        let quiet = Duration::from_secs(limits::AUDIT_STREAM_KEEP_ALIVE_S);
        tokio::select! {
            changed = self.applied.changed() => {
                self.ended |= changed.is_err();
                tokio::time::sleep(Duration::from_millis(limits::AUDIT_STREAM_GATHER_MS)).await;
                true
            }
            () = self.app.stopping.cancelled() => true,
            () = tokio::time::sleep(quiet) => false,
        }
    }

    /// The last event of a stream that cannot go on.
    fn damaged(&mut self, what: &str) -> Event {
        tracing::error!(what, tenant = ?self.auditor.tenant, "an audit stream was broken off");
        self.ended = true;
        self.queue = Vec::new().into_iter();
        let problem = serde_json::json!({ "code": Code::AUDIT_DAMAGED.name, "detail": what });
        Event::default().event("problem").data(problem.to_string())
    }
}

fn sse(entry: &Entry) -> Result<Event, String> {
    let name = entry.fields()?.event;
    Ok(Event::default().id(entry.seq.to_string()).event(name).data(entry.json()))
}

fn too_many(full: Full, what: &str) -> Problem {
    let (code, whose) = match full {
        Full::Node => (Code::OVERLOADED, "This node"),
        Full::Share => (Code::LIMIT_REACHED, "Your organisation"),
    };
    let detail = format!(
        "{whose} has as many {what} of audit logs open on this node as it may. Let one end, or ask \
         another node."
    );
    Problem::new(code, detail).retry_after(limits::AUDIT_RETRY_AFTER_S)
}

impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Damaged { .. } => {
                tracing::error!(%error, "the audit log is damaged");
                Self::new(
                    Code::AUDIT_DAMAGED,
                    format!(
                        "{error}. Nothing is left out silently, so there is no answer. Ask another \
                         node, and have this node's disk checked and its data restored."
                    ),
                )
            }
            AuditError::Disk(why) => {
                tracing::error!(%why, "the audit log cannot be read");
                Self::new(
                    Code::NOT_READY,
                    "This node cannot read its disk and must be looked after. Ask another node; \
                     the node's log says why.",
                )
            }
            AuditError::Closed => shutting_down(),
            AuditError::Busy(Full::Node) => Self::new(
                Code::OVERLOADED,
                "Too many requests read the audit log of this node. Ask again shortly, or ask \
                 another node.",
            ),
            AuditError::Busy(Full::Share) => Self::new(
                Code::LIMIT_REACHED,
                "Your organisation has as many requests under way that read the audit log of this \
                 node as it may. Wait until some are answered, or ask another node.",
            ),
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Audit(error) => error.into(),
            QueryError::OffsetTooDeep => Self::invalid_field(
                "offset",
                "is too deep for filters that read event by event; leave it out, and go on with \
                 after_seq set to next_after_seq of the page before",
            ),
        }
    }
}
