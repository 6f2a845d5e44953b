//! Bad input never loses or corrupts anything, and every fault is named: the API as a stranger
//! would treat it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use authrai::limits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Caller, TestNode, text};

/// Sends these bytes as JSON.
async fn send_raw(caller: &Caller, path: &str, body: Vec<u8>) -> Answer {
    let request = caller.client.post(format!("{}{path}", caller.url)).body(body);
    let request = request.header("content-type", "application/json");
    let response = request
        .bearer_auth(caller.key.as_deref().unwrap_or_default())
        .send()
        .await
        .expect("an answer");
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        text: response.text().await.expect("a body"),
    }
}

/// The fields that a 422 names.
fn named(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    errors.iter().filter_map(|error| error["field"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_is_400_and_what_is_too_large_413() {
    let node = TestNode::start().await;
    for (body, status, code) in [
        (b"{\"name\":".to_vec(), 400, "invalid_json"),
        (b"".to_vec(), 400, "invalid_json"),
        (b"not json".to_vec(), 400, "invalid_json"),
        (b"{\"name\":\"\xff\xfe\",\"owner\":\"b\"}".to_vec(), 400, "invalid_json"),
        (b"{\"name\":\"a\",\"name\":\"b\",\"owner\":\"c\"}".to_vec(), 400, "invalid_json"),
        ([&b"["[..]; 5000].concat(), 400, "invalid_json"),
        (b"[]".to_vec(), 422, "validation_failed"),
        (b"null".to_vec(), 422, "validation_failed"),
        (vec![b' '; 2 << 20], 413, "body_too_large"),
    ] {
        send_raw(&node.api, "/v1/agents", body).await.expect_problem(status, code);
    }
    let form = node
        .api
        .client
        .post(format!("{}/v1/agents", node.api.url))
        .bearer_auth(node.api.key.as_deref().expect("a key"));
    let form = form.header("content-type", "application/x-www-form-urlencoded").body("name=a");
    let response = form.send().await.expect("an answer");
    assert_eq!(response.status(), 400);
    assert_eq!(node.api.get("/v1/agents").await.expect(200)["total"], 0, "nothing was made");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_valid_is_422_and_names_each_field() {
    let node = TestNode::start().await;
    let agent = node.api.agent("a").await;
    let token = |field: &str, value: Value| {
        let mut body = json!({"agent_id": agent, "scope": ["a"]});
        body[field] = value;
        body
    };
    let new = |field: &str, value: Value| {
        let mut body = json!({"name": "a", "owner": "b"});
        body[field] = value;
        body
    };
    let many: Vec<_> = (0..65).map(|number| format!("s{number}")).collect();
    for (path, body, fields) in [
        ("/v1/tokens", token("ttl", json!(0)), &["ttl"][..]),
        ("/v1/tokens", token("ttl", json!(-1)), &["ttl"]),
        ("/v1/tokens", token("ttl", json!(86_401)), &["ttl"]),
        ("/v1/tokens", token("ttl", json!(1.5)), &["ttl"]),
        ("/v1/tokens", token("ttl", json!("300")), &["ttl"]),
        ("/v1/tokens", token("ttl", json!(u64::MAX)), &["ttl"]),
        ("/v1/tokens", token("ttl", json!(1e300)), &["ttl"]),
        ("/v1/tokens", token("scope", json!([])), &["scope"]),
        ("/v1/tokens", token("scope", json!(["a", "a"])), &["scope[1]"]),
        ("/v1/tokens", token("scope", json!(["a b"])), &["scope[0]"]),
        ("/v1/tokens", token("scope", json!(many)), &["scope"]),
        ("/v1/tokens", token("scope", json!(["x".repeat(129)])), &["scope[0]"]),
        ("/v1/tokens", token("agent_id", json!("nobody")), &["agent_id"]),
        ("/v1/tokens", token("intent", json!("x".repeat(501))), &["intent"]),
        ("/v1/tokens", token("extra", json!(1)), &["extra"]),
        ("/v1/agents", new("name", json!("")), &["name"]),
        ("/v1/agents", new("name", json!("x".repeat(10_000))), &["name"]),
        ("/v1/agents", new("name", json!("a\u{0}b")), &["name"]),
        ("/v1/agents", new("owner", json!("a\nb")), &["owner"]),
        ("/v1/agents", new("name", json!(["a"])), &["name"]),
        ("/v1/agents", new("description", json!("x".repeat(1_001))), &["description"]),
        ("/v1/agents", new("metadata", json!({"k": 1})), &["metadata.k"]),
        ("/v1/agents", new("public_key", json!("AAAA")), &["public_key"]),
        ("/v1/agents", new("is_admin", json!(true)), &["is_admin"]),
        ("/v1/agents", json!({"nmae": 1}), &["name", "owner", "nmae"]),
        ("/v1/tokens/revoke", json!({}), &["token"]),
        ("/v1/tokens/verify", json!({"token": 1}), &["token"]),
        ("/v1/tokens/verify", json!({"token": "x", "environment": "prod"}), &["environment"]),
        ("/v1/tokens/verify/batch", json!({"tokens": []}), &["tokens"]),
        ("/v1/tokens/verify/batch", json!({"tokens": vec!["x"; 101]}), &["tokens"]),
        ("/v1/api-keys", json!({"name": "k"}), &["environment"]),
        (
            "/v1/api-keys",
            json!({"name": "k", "environment": "live", "expires_at": "2020-01-01T00:00:00Z"}),
            &["expires_at"],
        ),
    ] {
        let answer = node.api.post(path, &body).await;
        let problem = answer.expect_problem(422, "validation_failed");
        assert_eq!(named(&problem), fields, "{path} {problem}");
    }
    let huge = b"{\"agent_id\":\"a\",\"scope\":[\"a\"],\"ttl\":1e999}".to_vec();
    let problem = send_raw(&node.api, "/v1/tokens", huge).await;
    assert_eq!(named(&problem.expect_problem(422, "validation_failed")), ["ttl"]);
    assert_eq!(node.api.get("/v1/tokens").await.expect(200)["total"], 0, "nothing was issued");
    assert_eq!(node.api.get("/v1/agents").await.expect(200)["total"], 1, "nothing was made");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_any_script_comes_back_as_it_was_sent() {
    let node = TestNode::start().await;
    for name in ["שלום עולם", "مرحبا", "a\u{202e}b", "日本語", "👩‍🚀", "e\u{301}"]
    {
        let body = json!({"name": name, "owner": name, "metadata": {name: name}});
        let made = node.api.post("/v1/agents", &body).await.expect(201);
        let path = format!("/v1/agents/{}", text(&made, "id"));
        let read = node.api.get(&path).await.expect(200);
        assert_eq!((&read["name"], &read["metadata"][name]), (&json!(name), &json!(name)));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_paths_and_headers_are_checked_too() {
    let node = TestNode::start().await;
    for (path, status, code) in [
        ("/v1/agents?limit=0", 422, "validation_failed"),
        ("/v1/agents?limit=101", 422, "validation_failed"),
        ("/v1/agents?offset=-1", 422, "validation_failed"),
        ("/v1/agents?status=dead", 422, "validation_failed"),
        ("/v1/agents?stauts=active", 422, "validation_failed"),
        ("/v1/agents?limit=1&limit=2", 422, "validation_failed"),
        ("/v1/agents?limit=ten", 400, "invalid_query"),
        ("/v1/agents?status=%ff", 400, "invalid_query"),
        ("/v1/agents/agent_1", 404, "not_found"),
        ("/v1/agents/%ff", 404, "not_found"),
        ("/v1/tokens/tok_7zzzzzzzzzzzzzzzzzzzzzzzzz", 404, "not_found"),
        ("/v1/nothing", 404, "no_such_route"),
        ("/nothing", 404, "no_such_route"),
    ] {
        node.api.get(path).await.expect_problem(status, code);
    }
    let answer = node.api.send(Method::PUT, "/v1/agents", None).await;
    answer.expect_problem(405, "method_not_allowed");
    let allowed = answer.header("allow").unwrap_or_default();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_sent_request_changes_nothing_and_holds_nobody_up() {
    let node = TestNode::start().await;
    let address = node.api.url.trim_start_matches("http://").to_owned();
    let key = node.api.key.clone().expect("a key");
    let body = json!({"name": "half", "owner": "b"}).to_string();
    let head = format!(
        "POST /v1/agents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for cut in [head.len() / 2, head.len(), head.len() + body.len() - 1] {
        let whole = format!("{head}{body}");
        let mut stream = TcpStream::connect(&address).expect("a connection");
        stream.write_all(&whole.as_bytes()[..cut]).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("half closed");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    assert_eq!(node.api.get("/v1/agents").await.expect(200)["total"], 0);
    node.stop().await;
}

/// Sends this and nothing more, and returns what comes back until the node hangs up.
fn stall(address: &str, sent: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(sent.as_bytes()).expect("sent");
    let patience = limits::HEADER_READ_TIMEOUT_S.max(limits::BODY_TIMEOUT_S) + 15;
    stream.set_read_timeout(Some(Duration::from_secs(patience))).expect("a timeout");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the node hangs up");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_in_the_middle_of_a_request_is_let_go() {
    let node = TestNode::start().await;
    let address = node.api.url.trim_start_matches("http://").to_owned();
    let key = node.api.key.clone().expect("a key");
    let head = "POST /v1/agents HTTP/1.1\r\nHost: x\r\n".to_owned();
    let body = format!(
        "{head}Authorization: Bearer {key}\r\nContent-Type: application/json\r\nConnection: \
         close\r\nContent-Length: 100\r\n\r\n{{\"name\":"
    );
    let stalled = [head, body].map(|sent| {
        let address = address.clone();
        tokio::task::spawn_blocking(move || stall(&address, &sent))
    });
    let [head, body] = stalled;
    let (head, body) = (head.await.expect("ends"), body.await.expect("ends"));
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    node.stop().await;
}
