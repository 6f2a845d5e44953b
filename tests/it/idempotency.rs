//! `Idempotency-Key` from the outside: a creating request is carried out once and answered the same,
//! secrets included, by whichever process is there to answer.

use std::collections::BTreeSet;

use authrai::secrets::{KeyKind, Secret};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Answer, Caller, DevProcess, TestNode, text};

/// A POST under this name.
async fn post(api: &Caller, path: &str, body: Option<&Value>, name: &str) -> Answer {
    api.send_with(Method::POST, path, body, &[("idempotency-key", name)]).await
}

fn an_agent() -> Value {
    json!({"name": "a", "owner": "o"})
}

#[track_caller]
fn assert_replayed(first: &Answer, again: &Answer) {
    assert!(first.status.is_success(), "{} {}", first.status, first.text);
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
}

/// The routes that take the header, as the description has them.
async fn described(api: &Caller) -> BTreeSet<String> {
    let document = api.get("/openapi.json").await.expect(200);
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let parameters = item["post"]["parameters"].as_array().map(Vec::as_slice);
        let reference = json!({"$ref": "#/components/parameters/IdempotencyKey"});
        if parameters.unwrap_or_default().contains(&reference) {
            routes.insert(path.clone());
        }
    }
    routes
}

#[tokio::test]
async fn every_route_that_makes_something_makes_it_once_and_answers_the_same() {
    let node = TestNode::start().await;
    let agent = node.api.agent("a").await;
    let (organization, _) = node.tenant("b", "live").await;
    let key = json!({"name": "k", "environment": "live", "permissions": ["agents:read"]});
    let rotated = text(&node.api.post("/v1/api-keys", &key).await.expect(201), "id");
    let policy = json!({"name": "p", "rules": [{"effect": "allow"}]});
    let token = json!({"agent_id": agent, "scope": ["a"]});
    let hook = json!({"url": "http://127.0.0.1:9/", "events": ["*"], "description": "d"});
    let webhook = text(&node.api.post("/v1/webhooks", &hook).await.expect(201), "id");
    let mut tried = BTreeSet::new();
    for (caller, route, id, body) in [
        (&node.api, "/v1/agents", "", Some(an_agent())),
        (&node.api, "/v1/tokens", "", Some(token)),
        (&node.api, "/v1/policies", "", Some(policy)),
        (&node.api, "/v1/domains", "", Some(json!({"domain": "a.example"}))),
        (&node.api, "/v1/api-keys", "", Some(key.clone())),
        (&node.api, "/v1/webhooks", "", Some(hook)),
        (&node.api, "/v1/webhooks/{id}/rotate-secret", webhook.as_str(), None),
        (&node.api, "/v1/agents/{id}/rotate-key", agent.as_str(), None),
        (&node.api, "/v1/api-keys/{id}/rotate", rotated.as_str(), None),
        (&node.operator, "/v1/organizations", "", Some(json!({"name": "c"}))),
        (&node.operator, "/v1/organizations/{id}/api-keys", organization.as_str(), Some(key)),
        (&node.operator, "/v1/cluster/operator-keys", "", Some(json!({"name": "d"}))),
    ] {
        let path = route.replace("{id}", id);
        let first = post(caller, &path, body.as_ref(), "once").await;
        let again = post(caller, &path, body.as_ref(), "once").await;
        assert_replayed(&first, &again);
        if let Some(mut changed) = body.clone() {
            let fields = ["name", "domain", "description", "intent"];
            let field = fields.into_iter().find(|name| changed[name].is_string());
            changed[field.unwrap_or("intent")] = json!("b.example");
            let reused = post(caller, &path, Some(&changed), "once").await;
            reused.expect_problem(422, "idempotency_key_reused");
        }
        // An organisation has a domain once.
        let body = if route == "/v1/domains" { Some(json!({"domain": "c.example"})) } else { body };
        let other = post(caller, &path, body.as_ref(), "twice").await;
        assert_eq!((other.status, other.header("idempotent-replayed")), (first.status, None));
        assert_ne!(other.text, first.text, "{route}");
        tried.insert(route.to_owned());
    }
    assert_eq!(tried, described(&node.api).await, "each of them is tried here");
    assert_eq!(node.api.get("/v1/agents").await.expect(200)["total"], 3);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_equal_requests_at_once_make_one() {
    let node = TestNode::start().await;
    let agent = node.api.agent("a").await;
    let token = json!({"agent_id": agent, "scope": ["a"]});
    for (path, body) in [("/v1/agents", an_agent()), ("/v1/tokens", token)] {
        let mut requests = JoinSet::new();
        for _ in 0..20 {
            let (api, body) = (node.api.clone(), body.clone());
            requests.spawn(async move { post(&api, path, Some(&body), "race").await });
        }
        let answers = requests.join_all().await;
        let texts: BTreeSet<&str> = answers.iter().map(|answer| answer.text.as_str()).collect();
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(answers.iter().all(|answer| answer.status == 201));
        let firsts = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_none());
        assert_eq!(firsts.count(), 1);
    }
    assert_eq!(node.api.get("/v1/agents").await.expect(200)["total"], 2);
    let tokens = node.api.get("/v1/tokens").await.expect(200);
    assert_eq!(tokens["total"], 1);
    for event in ["agent.created", "token.issued"] {
        let page = node.api.get(&format!("/v1/audit?event={event}")).await.expect(200);
        assert_eq!(page["total"], if event == "agent.created" { 2 } else { 1 }, "{event}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_key_stands_for_one_body_of_one_caller_and_has_to_be_readable() {
    let node = TestNode::start().await;
    let first = post(&node.api, "/v1/agents", Some(&an_agent()), "k").await;
    // The order of members does not matter; what they say does.
    let reordered = reqwest::Body::from(r#" {"owner": "o", "name": "a"} "#);
    let request = node.api.client.post(format!("{}/v1/agents", node.api.url));
    let request = request.bearer_auth(node.api.key.as_deref().unwrap_or_default());
    let request = request.header("idempotency-key", "k").header("content-type", "application/json");
    let again = request.body(reordered).send().await.expect("an answer");
    assert_eq!(again.text().await.expect("a body"), first.text);
    let other = json!({"name": "b", "owner": "o"});
    let reused = post(&node.api, "/v1/agents", Some(&other), "k").await;
    reused.expect_problem(422, "idempotency_key_reused");
    let colleague = node.key("live", &["agents:write"]).await;
    let theirs = post(&colleague, "/v1/agents", Some(&other), "k").await;
    assert_eq!((theirs.status.as_u16(), theirs.header("idempotent-replayed")), (201, None));

    for name in ["", "with space", &"x".repeat(256)] {
        let answer = post(&node.api, "/v1/agents", Some(&other), name).await;
        answer.expect_problem(400, "invalid_header");
    }
    assert_eq!(node.api.get("/v1/agents").await.expect(200)["total"], 2);
    node.stop().await;
}

#[tokio::test]
async fn what_was_refused_is_tried_anew() {
    let node = TestNode::start().await;
    let agent = node.api.agent("a").await;
    let rule = json!({"name": "p", "rules": [{"effect": "deny"}]});
    let policy = text(&node.api.post("/v1/policies", &rule).await.expect(201), "id");
    let ask = json!({"agent_id": agent, "scope": ["a"]});
    post(&node.api, "/v1/tokens", Some(&ask), "k").await.expect_problem(403, "policy_denied");
    node.api.delete(&format!("/v1/policies/{policy}")).await.expect(200);
    let granted = post(&node.api, "/v1/tokens", Some(&ask), "k").await;
    granted.expect(201);
    // What was granted is replayed, whatever the policies say now.
    node.api.post("/v1/policies", &rule).await.expect(201);
    assert_replayed(&granted, &post(&node.api, "/v1/tokens", Some(&ask), "k").await);
    node.stop().await;
}

#[tokio::test]
async fn an_approval_that_was_asked_for_is_replayed() {
    let node = TestNode::start().await;
    let agent = node.api.agent("a").await;
    let rule = json!({"name": "p", "rules": [{"effect": "require_approval"}]});
    node.api.post("/v1/policies", &rule).await.expect(201);
    let ask = json!({"agent_id": agent, "scope": ["a"]});
    let pending = post(&node.api, "/v1/tokens", Some(&ask), "k").await;
    let approval = text(&pending.expect(202), "approval_id");
    let approver = node.key("live", &["approvals:write"]).await;
    let path = format!("/v1/approvals/{approval}/approve");
    approver.send(Method::POST, &path, None).await.expect(200);
    assert_replayed(&pending, &post(&node.api, "/v1/tokens", Some(&ask), "k").await);
    let collect = json!({"agent_id": agent, "scope": ["a"], "approval_id": approval});
    let issued = post(&node.api, "/v1/tokens", Some(&collect), "collect").await;
    issued.expect(201);
    // Collected once, and told as often as it is asked for.
    assert_replayed(&issued, &post(&node.api, "/v1/tokens", Some(&collect), "collect").await);
    node.stop().await;
}

#[tokio::test]
async fn after_a_rotation_a_secret_cannot_be_shown_again_and_nothing_is_made() {
    let node = TestNode::start().await;
    let body = json!({"name": "k", "environment": "live"});
    let made = node.api.post("/v1/api-keys", &body).await.expect(201);
    let before = node.api.with_key(made["key"].as_str());
    let first = post(&before, "/v1/agents", Some(&an_agent()), "k").await;
    let policy = json!({"name": "p", "rules": [{"effect": "allow"}]});
    let open = post(&before, "/v1/policies", Some(&policy), "k").await;

    let rotate = format!("/v1/api-keys/{}/rotate", text(&made, "id"));
    let grace = json!({"grace_seconds": 600});
    let rotated = node.api.post(&rotate, &grace).await.expect(200);
    let after = node.api.with_key(rotated["key"].as_str());
    let lost = post(&after, "/v1/agents", Some(&an_agent()), "k").await;
    lost.expect_problem(409, "idempotency_unrecoverable");
    assert_replayed(&open, &post(&after, "/v1/policies", Some(&policy), "k").await);
    // In its grace the old secret still opens what it sealed.
    assert_replayed(&first, &post(&before, "/v1/agents", Some(&an_agent()), "k").await);
    assert_eq!(node.api.get("/v1/agents").await.expect(200)["total"], 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_outlives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = Secret::mint(KeyKind::ApiLive);
    let mut process = DevProcess::start(folder.path(), key.expose());
    process.ready().await;
    let api = process.caller();
    let agent = post(&api, "/v1/agents", Some(&an_agent()), "k").await;
    let ask = json!({"agent_id": text(&agent.expect(201), "id"), "scope": ["a"]});
    let token = post(&api, "/v1/tokens", Some(&ask), "k").await;
    process.kill();
    process.start_again();
    process.ready().await;
    let api = process.caller();
    assert_replayed(&agent, &post(&api, "/v1/agents", Some(&an_agent()), "k").await);
    let again = post(&api, "/v1/tokens", Some(&ask), "k").await;
    assert_replayed(&token, &again);
    assert_eq!(api.verdict(&text(&again.json(), "token")).await, "valid");
    assert_eq!(api.get("/v1/agents").await.expect(200)["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_table_takes_no_more_keys_and_everything_else_goes_on() {
    let node = TestNode::start().await;
    // A policy of some 50 KB, which its answer repeats: 64 MiB hold some 1,300 of them, more than a
    // tenant can have policies.
    let patterns: Vec<String> = (0..64).map(|place| format!("{place:0>200}")).collect();
    let rule = json!({"effect": "deny", "owners": patterns, "agents": patterns});
    let rules = vec![rule; 2];
    let large = json!({"name": "large", "is_active": false, "rules": rules});
    let mut remembered = 0;
    let full = loop {
        let answer = post(&node.api, "/v1/policies", Some(&large), &format!("k{remembered}")).await;
        if answer.status != 201 {
            break answer;
        }
        remembered += 1;
        let made = format!("/v1/policies/{}", text(&answer.json(), "id"));
        node.api.delete(&made).await.expect(200);
        assert!(remembered < 1_600, "the table is not bounded");
    };
    full.expect_problem(429, "limit_reached");
    assert!(full.header("retry-after").is_some());
    assert!(remembered > 1_000, "{remembered} answers were remembered");
    assert_eq!(node.api.get("/v1/policies?limit=1").await.expect(200)["total"], 0);
    // What is remembered is replayed, and without a key there is no bound.
    let again = post(&node.api, "/v1/policies", Some(&large), "k0").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    node.api.post("/v1/policies", &large).await.expect(201);
    let (_, other) = node.tenant("other", "live").await;
    post(&other, "/v1/policies", Some(&large), "k0").await.expect(201);
    node.stop().await;
}
