//! Signed token requests, made by the shell example of `docs/agent-signatures.md`.

use std::process::Command;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use crate::harness::{Answer, Caller, TestNode, text};

const PAGE: &str = include_str!("../../docs/agent-signatures.md");

/// The headers that the page's shell example makes for `body`.
fn signed(agent: &str, key: &str, body: &str) -> HeaderMap {
    let (_, after) = PAGE.split_once("```bash\n").expect("an example");
    let (script, _) = after.split_once("```").expect("its end");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("body");
    std::fs::write(&file, body).expect("written");
    let output = Command::new("bash")
        .arg("-c")
        .arg(script)
        .envs([("AGENT_ID", agent), ("AGENT_KEY", key)])
        .env("BODY", &file)
        .output()
        .expect("bash is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a header");
        let name: HeaderName = name.parse().expect("a name");
        (name, HeaderValue::from_str(value).expect("a value"))
    };
    lines.lines().map(header).collect()
}

async fn send(api: &Caller, headers: HeaderMap, body: &str) -> Answer {
    let request = api
        .client
        .post(format!("{}/v1/tokens", api.url))
        .bearer_auth(api.key.as_deref().unwrap_or_default())
        .headers(headers)
        .header("content-type", "application/json")
        .body(body.to_owned());
    let response = request.send().await.expect("an answer");
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        text: response.text().await.expect("a body"),
    }
}

async fn agent(node: &TestNode) -> (String, String) {
    let body = json!({"name": "signer", "owner": "engineering", "require_signature": true});
    let made = node.api.post("/v1/agents", &body).await.expect(201);
    (text(&made, "id"), text(&made, "secret_key"))
}

#[tokio::test]
async fn the_shell_example_signs_a_request_that_counts_once() {
    let node = TestNode::start().await;
    let (agent, key) = agent(&node).await;
    let body = json!({"agent_id": agent, "scope": ["db.read"]}).to_string();
    let headers = signed(&agent, &key, &body);
    let issued = send(&node.api, headers.clone(), &body).await.expect(201);
    assert_eq!(node.api.verdict(&text(&issued, "token")).await, "valid");
    send(&node.api, headers, &body).await.expect_problem(401, "nonce_used");
    node.stop().await;
}

#[tokio::test]
async fn a_signature_counts_only_for_its_agent_and_body_and_its_nonce_once_whatever_comes_of_it() {
    let node = TestNode::start().await;
    let (agent, key) = agent(&node).await;
    let other = node.api.agent("other").await;
    let request = |agent: &str| json!({"agent_id": agent, "scope": ["db.read"]}).to_string();
    let body = request(&agent);
    let fresh = || signed(&agent, &key, &body);
    send(&node.api, HeaderMap::new(), &body).await.expect_problem(401, "signature_required");
    send(&node.api, fresh(), &request(&other)).await.expect_problem(401, "invalid_signature");
    for claimed in [&other, &agent] {
        let impostor = signed(claimed, &key, &request(&other));
        let answer = send(&node.api, impostor, &request(&other)).await;
        answer.expect_problem(401, "invalid_signature");
    }
    let mut cut = fresh();
    cut.remove("signature");
    send(&node.api, cut, &body).await.expect_problem(401, "invalid_signature");

    let deny = json!({"name": "p", "rules": [{"effect": "deny", "signed": true}]});
    let policy = text(&node.api.post("/v1/policies", &deny).await.expect(201), "id");
    let headers = fresh();
    send(&node.api, headers.clone(), &body).await.expect_problem(403, "policy_denied");
    node.api.delete(&format!("/v1/policies/{policy}")).await.expect(200);
    send(&node.api, headers, &body).await.expect_problem(401, "nonce_used");

    let pause = json!({"status": "paused"});
    let path = format!("/v1/agents/{agent}");
    node.api.patch(&path, &pause).await.expect(200);
    let headers = fresh();
    send(&node.api, headers.clone(), &body).await.expect_problem(409, "agent_paused");
    node.api.patch(&path, &json!({"status": "active"})).await.expect(200);
    send(&node.api, headers, &body).await.expect_problem(401, "nonce_used");

    send(&node.api, fresh(), &body).await.expect(201);
    let rotate = format!("{path}/rotate-key");
    node.api.send(reqwest::Method::POST, &rotate, None).await.expect(200);
    let problem = send(&node.api, fresh(), &body).await.expect_problem(401, "invalid_signature");
    assert!(text(&problem, "detail").contains("does not verify"), "{problem}");
    node.stop().await;
}
