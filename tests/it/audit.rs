//! The audit log over HTTP: every change has its event, and every way of reading it agrees.

use std::{
    future::IntoFuture,
    io::Write,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use authrai::{
    api::{self, App},
    audit::{
        AuditLog, Records, Unread,
        offline::{self, Intact},
    },
};
use futures_util::{StreamExt, stream::BoxStream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Caller, PATIENCE, TestNode, text};

/// The whole log of a caller, page by page as `next_after_seq` says.
async fn all(caller: &Caller, filters: &str) -> Vec<Value> {
    let mut events = Vec::new();
    // Where to begin stands among the filters of the first page, or nowhere.
    let (filters, mut after) = match filters.split_once("after_seq=") {
        Some((filters, after)) => (filters, after.parse().expect("a number")),
        None => (filters, 0u64),
    };
    loop {
        let path = format!("/v1/audit?limit=7&after_seq={after}&{filters}");
        let page = caller.get(&path).await.expect(200);
        let data = page["data"].as_array().expect("events").clone();
        assert_eq!(page["has_more"], !page["next_after_seq"].is_null(), "{page}");
        events.extend(data);
        match page["next_after_seq"].as_u64() {
            Some(next) => after = next,
            None => return events,
        }
    }
}

async fn names(caller: &Caller) -> Vec<String> {
    all(caller, "").await.iter().map(|event| text(event, "event")).collect()
}

/// Two agents with some tokens, so that filters have something to tell apart.
async fn history(caller: &Caller) -> (String, String) {
    let (one, other) = (caller.agent("one").await, caller.agent("=other").await);
    for agent in [&one, &other, &one] {
        let (_, id) = caller.token(agent, &["a.read"]).await;
        caller.post("/v1/tokens/revoke", &json!({"token_id": id})).await.expect(200);
        caller.token(agent, &["a.write"]).await;
    }
    (one, other)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_has_its_event_and_a_refusal_has_none() {
    let node = TestNode::start().await;
    let caller = &node.api;
    let agent = caller.agent("subject").await;
    let at = |rest: &str| format!("/v1/agents/{agent}{rest}");
    let (_, token) = caller.token(&agent, &["a.read"]).await;
    let key = json!({"name": "second", "environment": "test"});
    let key = text(&caller.post("/v1/api-keys", &key).await.expect(201), "id");
    let key = format!("/v1/api-keys/{key}");
    let nothing = json!({});
    let patch = |body: Value| (Method::PATCH, at(""), Some(body));
    let post = |path: String, body: Value| (Method::POST, path, Some(body));
    let changes = [
        (patch(json!({"owner": "sales"})), "agent.updated"),
        (post("/v1/tokens/revoke".into(), json!({"token_id": token})), "token.revoked"),
        (post(at("/rotate-key"), nothing.clone()), "agent.key_rotated"),
        (post("/v1/tokens".into(), json!({"agent_id": agent, "scope": ["a"]})), "token.issued"),
        (post(at("/revoke-tokens"), nothing.clone()), "agent.tokens_revoked"),
        (patch(json!({"status": "paused"})), "agent.paused"),
        (patch(json!({"status": "active"})), "agent.activated"),
        ((Method::PATCH, key.clone(), Some(json!({"enabled": false}))), "api_key.updated"),
        (post(format!("{key}/rotate"), nothing.clone()), "api_key.rotated"),
        ((Method::DELETE, key, None), "api_key.deleted"),
        ((Method::DELETE, at(""), None), "agent.revoked"),
    ];
    let mut expected = vec!["api_key.created", "agent.created", "token.issued", "api_key.created"];
    assert_eq!(names(caller).await, expected);
    for ((method, path, body), name) in changes {
        let answer = caller.send(method, &path, body.as_ref()).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
        expected.push(name);
        let happened = names(caller).await;
        assert_eq!(happened, expected, "after {path} {body:?}");
    }

    let token = json!({"agent_id": agent, "scope": ["a.read"]});
    caller.post("/v1/tokens", &token).await.expect_problem(409, "agent_revoked");
    caller.post("/v1/agents", &json!({"name": ""})).await.expect(422);
    caller.with_key(None).post("/v1/agents", &nothing).await.expect(401);
    caller.delete("/v1/agents/agent_00000000000000000000000000").await.expect(404);
    assert_eq!(names(caller).await, expected);
    node.stop().await;
}

type Matches = Box<dyn Fn(&Value) -> bool>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_select_and_offsets_count() {
    let node = TestNode::start().await;
    let caller = &node.api;
    let (one, other) = history(caller).await;
    let events = all(caller, "").await;
    let key = text(&events[2]["actor"], "id");
    let (token, at) = (text(&events[3], "token_id"), text(&events[9], "at"));
    let is = |field: &'static str, value: &str| {
        let value = value.to_owned();
        Box::new(move |event: &Value| event[field] == value) as Matches
    };
    let cases: [(String, Matches, bool); 9] = [
        ("event=token.issued".into(), is("event", "token.issued"), true),
        ("event=agent.paused".into(), is("event", "agent.paused"), true),
        (format!("agent_id={other}"), is("agent_id", &other), true),
        (
            format!("agent_id={one}&event=token.revoked"),
            Box::new(move |event| event["agent_id"] == one && event["event"] == "token.revoked"),
            true,
        ),
        (format!("token_id={token}"), is("token_id", &token), false),
        (format!("actor={key}"), Box::new(move |event| event["actor"]["id"] == key), false),
        ("actor=setup".into(), Box::new(|event| event["actor"]["id"] == "setup"), false),
        (
            format!("from={at}&event=token.issued"),
            {
                let at = at.clone();
                Box::new(move |event| event["event"] == "token.issued" && text(event, "at") >= at)
            },
            false,
        ),
        (format!("to={at}"), Box::new(move |event| text(event, "at") < at), false),
    ];
    for (filters, matches, counted) in cases {
        let expected: Vec<_> = events.iter().filter(|event| matches(event)).cloned().collect();
        assert_eq!(all(caller, &filters).await, expected, "{filters}");
        for offset in 0..=expected.len() {
            let path = format!("/v1/audit?{filters}&limit=1&offset={offset}");
            let page = caller.get(&path).await.expect(200);
            let shown = page["data"].as_array().expect("events");
            assert_eq!(shown.first(), expected.get(offset), "{path}");
            assert_eq!(page["has_more"], offset + 1 < expected.len(), "{path}");
            if counted {
                assert_eq!(page["total"], expected.len(), "{path}");
            }
        }
    }
    for (query, field) in [
        ("event=issued", "event"),
        ("agent_id=x", "agent_id"),
        ("token_id=x", "token_id"),
        ("actor=x", "actor"),
        ("from=yesterday", "from"),
        ("to=1", "to"),
        ("after_seq=-1", "after_seq"),
        ("limit=101", "limit"),
        ("order=desc", "order"),
    ] {
        let problem = caller.get(&format!("/v1/audit?{query}")).await;
        let problem = problem.expect_problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["field"], field, "{query}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_says_what_a_query_says_and_can_be_checked_offline() {
    let node = TestNode::start().await;
    let caller = &node.api;
    let (one, _) = history(caller).await;
    for filters in ["", &format!("agent_id={one}"), "event=token.issued&after_seq=5", "actor=1"] {
        let events = all(caller, filters).await;
        let json = caller.get(&format!("/v1/audit/export?{filters}")).await;
        assert_eq!(json.expect(200), Value::from(events.clone()), "{filters}");
        let csv = caller.get(&format!("/v1/audit/export?format=csv&{filters}")).await;
        assert_eq!(csv.status, 200);
        let mut rows = csv::Reader::from_reader(csv.text.as_bytes());
        let texts =
            rows.records().map(|row| row.expect("a row").iter().next_back().map(str::to_owned));
        let texts: Vec<Value> =
            texts.map(|text| serde_json::from_str(&text.expect("a cell")).expect("JSON")).collect();
        let mut bare = events;
        for event in &mut bare {
            let event = event.as_object_mut().expect("an object");
            event.retain(|field, _| field != "hash" && field != "prev_hash");
        }
        assert_eq!(texts, bare, "{filters}");
    }

    let verified = caller.get("/v1/audit/verify").await.expect(200);
    let length = verified["length"].as_u64().expect("a number");
    let head_hash = text(&verified, "head_hash");
    let head = offline::hash_from_hex(&head_hash).expect("a hash");
    assert_eq!(verified, json!({"ok": true, "length": length, "head_hash": head_hash}));
    for (format, kind) in [("json", "application/json"), ("csv", "text/csv")] {
        let export = caller.get(&format!("/v1/audit/export?format={format}")).await;
        let intact = offline::check(export.text.as_bytes(), None, Some(head)).expect("intact");
        assert_eq!(intact, Intact { length, head, vouched: Some(length) });
        let announced = format!("{length}:{head_hash}");
        assert_eq!(export.header("authrai-audit-head"), Some(announced.as_str()));
        assert!(export.header("content-type").is_some_and(|value| value.starts_with(kind)));
        let disposition = export.header("content-disposition").expect("a file name");
        assert!(disposition.ends_with(&format!(".{format}\"")), "{disposition}");
        check_with_the_command(&export.text, &head_hash);
    }
    node.stop().await;
}

/// `authrai audit verify` on the whole export, and on one with a changed and a missing row.
fn check_with_the_command(export: &str, head: &str) {
    let run = |text: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_authrai"))
            .args(["audit", "verify", "-", "--head", head])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        // A verdict may come before the end of the file.
        let _ = child.stdin.take().expect("piped").write_all(text.as_bytes());
        let output = child.wait_with_output().expect("an end");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    assert_eq!(run(export), (Some(0), String::new()));
    let (code, said) = run(&export.replacen("agent.created", "agent.creates", 2));
    assert!(code == Some(1) && said.contains("row 2"), "{code:?} {said}");
    let (code, said) = run(&export[..export.len() - 3]);
    assert!(code == Some(1) && said.contains("cut off"), "{code:?} {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_reads_its_own_chain_alone() {
    let node = TestNode::start().await;
    node.api.agent("mine").await;
    let (_, stranger) = node.tenant("stranger", "live").await;
    let test = node.key("test", &["audit:read"]).await;
    assert_eq!(names(&stranger).await, ["api_key.created"]);
    assert_eq!(names(&test).await, [""; 0]);
    let own = ["api_key.created", "agent.created", "api_key.created"];
    assert_eq!(names(&node.api).await, own, "the test key's creation stands in the live chain");
    let system = names(&node.operator).await;
    for name in ["operator_key.created", "organization.created", "signing_key.registered"] {
        assert!(system.iter().any(|event| event == name), "{name} is not in {system:?}");
    }
    let verified = node.operator.get("/v1/audit/verify").await.expect(200);
    assert_eq!((&verified["ok"], &verified["length"]), (&json!(true), &json!(system.len())));

    let blind = node.key("live", &["agents:read"]).await;
    for path in ["", "/export", "/verify", "/stream"] {
        let path = format!("/v1/audit{path}");
        blind.get(&path).await.expect_problem(403, "missing_permission");
        node.api.with_key(None).get(&path).await.expect_problem(401, "missing_api_key");
    }
    node.stop().await;
}

/// Events of a stream as they come.
struct Stream {
    bytes: BoxStream<'static, reqwest::Result<axum::body::Bytes>>,
    text: String,
}

impl Stream {
    async fn open(caller: &Caller, query: &str, last_event_id: Option<u64>) -> Self {
        let key = caller.key.as_deref().expect("a key");
        let url = format!("{}/v1/audit/stream{query}", caller.url);
        let mut request = caller.client.get(url).bearer_auth(key);
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id.to_string());
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Self { bytes: response.bytes_stream().boxed(), text: String::new() };
        let greeting = stream.block().await.expect("a greeting");
        assert!(greeting.starts_with(": after "), "{greeting}");
        stream
    }

    /// The next block of lines; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let more = tokio::time::timeout(PATIENCE, self.bytes.next()).await.expect("in time")?;
            self.text += std::str::from_utf8(&more.expect("bytes")).expect("text");
        }
    }

    /// (id, event, data) of the next event; `None` at the end.
    async fn event(&mut self) -> Option<(u64, String, Value)> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                let mut lines = block.lines();
                lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            let Some(data) = field("data") else { continue };
            let id = field("id").and_then(|id| id.parse().ok()).unwrap_or_default();
            let event = field("event").unwrap_or_default().to_owned();
            return Some((id, event, serde_json::from_str(data).expect("JSON")));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_follows_and_resumes_without_a_gap() {
    let node = TestNode::start().await;
    let caller = &node.api;
    caller.agent("before").await;
    let mut stream = Stream::open(caller, "", None).await;
    let agent = caller.agent("while open").await;
    let (id, event, data) = stream.event().await.expect("an event");
    assert_eq!((id, event.as_str()), (3, "agent.created"));
    assert_eq!((&data["agent_id"], &data["seq"]), (&json!(agent), &json!(3)));
    drop(stream);

    history(caller).await;
    let events = all(caller, "after_seq=3").await;
    let mut resumed = Stream::open(caller, "?after_seq=99", Some(3)).await;
    let mut from_place = Stream::open(caller, "?after_seq=3", None).await;
    for expected in &events {
        for stream in [&mut resumed, &mut from_place] {
            let (id, event, data) = stream.event().await.expect("an event");
            assert_eq!(data, *expected);
            assert_eq!((json!(id), json!(event)), (data["seq"].clone(), data["event"].clone()));
        }
    }
    let answer = caller.client.get(format!("{}/v1/audit/stream", caller.url));
    let answer = answer.bearer_auth(caller.key.as_deref().expect("a key"));
    let answer = answer.header("Last-Event-ID", "third").send().await.expect("an answer");
    assert_eq!(answer.status(), 422);

    let ends = tokio::spawn(async move { resumed.event().await });
    node.stop().await;
    assert_eq!(ends.await.expect("no panic"), None, "a node that stops ends its streams");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_when_its_key_dies_and_an_organisation_has_so_many() {
    let node = TestNode::start().await;
    let reader = node.key("live", &["audit:read"]).await;
    let key = text(&all(&node.api, "").await[1]["data"], "api_key_id");
    let mut streams = Vec::new();
    for _ in 0..authrai::limits::AUDIT_STREAMS_PER_ORGANIZATION_MAX {
        streams.push(Stream::open(&reader, "", None).await);
    }
    let refused = reader.get("/v1/audit/stream").await;
    refused.expect_problem(429, "limit_reached");
    assert!(refused.header("retry-after").is_some());
    Stream::open(&node.operator, "", None).await;

    node.api.delete(&format!("/v1/api-keys/{key}")).await.expect(200);
    node.api.agent("after the end").await;
    for mut stream in streams {
        assert_eq!(stream.event().await, None, "a dead key reads nothing more");
    }
    Stream::open(&node.api, "", None).await;
    node.stop().await;
}

/// A journal in which one event cannot be trusted.
struct Damaged {
    journal: authrai_cluster::Journal,
    seq: u64,
}

impl Records for Damaged {
    fn head(&self, chain: &[u8]) -> u64 {
        Records::head(&self.journal, chain)
    }

    fn read(
        &self,
        chain: &[u8],
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, Unread> {
        let mut records = Records::read(&self.journal, chain, from, max_records, max_bytes)?;
        for (_, record) in records.iter_mut().filter(|(seq, _)| *seq == self.seq) {
            record[40] ^= 1;
        }
        Ok(records)
    }

    fn count(&self, chain: &[u8], tag: &[u8]) -> Result<u64, Unread> {
        Records::count(&self.journal, chain, tag)
    }

    fn seqs(
        &self,
        chain: &[u8],
        tag: &[u8],
        after: u64,
        skip: u64,
        limit: usize,
    ) -> Result<Vec<u64>, Unread> {
        Records::seqs(&self.journal, chain, tag, after, skip, limit)
    }
}

/// The API of `node` over a journal in which event `seq` is damaged.
async fn damaged(node: &TestNode, seq: u64) -> Caller {
    let journal = node.server().app().handle.journal();
    let audit = AuditLog::new(Arc::new(Damaged { journal, seq }));
    let app = App { audit, ..node.server().app().clone() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    tokio::spawn(axum::serve(listener, api::router(app)).into_future());
    Caller { url: format!("http://{address}"), ..node.api.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_event_is_named_and_never_left_out() {
    let node = TestNode::start().await;
    history(&node.api).await;
    let caller = damaged(&node, 5).await;
    for path in ["?offset=3", "?event=token.revoked", "?actor=1", "/export", "/export?format=csv"] {
        let problem = caller.get(&format!("/v1/audit{path}")).await;
        let detail = text(&problem.expect_problem(500, "audit_damaged"), "detail");
        assert!(detail.contains("event 5 of the live chain of org_"), "{path}: {detail}");
    }
    caller.get("/v1/audit?limit=4").await.expect(200);
    let verified = caller.get("/v1/audit/verify").await.expect(200);
    assert_eq!((&verified["ok"], &verified["first_bad_seq"]), (&json!(false), &json!(5)));
    let mut stream = Stream::open(&caller, "?after_seq=3", None).await;
    let (_, event, data) = stream.event().await.expect("an event");
    assert_eq!((event.as_str(), &data["code"]), ("problem", &json!("audit_damaged")));
    assert_eq!(stream.event().await, None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_fails_in_the_middle_is_broken_off() {
    let node = TestNode::start().await;
    let agent = node.api.agent("busy").await;
    for _ in 0..320 {
        node.api.token(&agent, &["a.read"]).await;
    }
    let caller = damaged(&node, 300).await;
    for format in ["json", "csv"] {
        let key = caller.key.as_deref().expect("a key");
        let url = format!("{}/v1/audit/export?format={format}", caller.url);
        // The connection may break before or after the first part was on its way.
        let request = caller.client.get(url).bearer_auth(key).send();
        let whole = async { request.await?.bytes().await };
        let whole = tokio::time::timeout(Duration::from_secs(20), whole).await;
        whole.expect("in time").expect_err("half a document must not look whole");
    }
    node.stop().await;
}
