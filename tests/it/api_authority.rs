//! What is no key, what a key stops with, and what a key can make. Which routes take which keys is in
//! `api_matrix.rs`.

use authrai::api::route_table;
use reqwest::Method;
use serde_json::json;

use crate::harness::{Caller, TestNode, text};

/// Every permission there is, as an API key holds them.
pub const PERMISSIONS: &[&str] = &[
    "agents:read",
    "agents:write",
    "tokens:issue",
    "tokens:read",
    "tokens:revoke",
    "policies:read",
    "policies:write",
    "approvals:read",
    "approvals:write",
    "audit:read",
    "api_keys:read",
    "api_keys:write",
    "webhooks:read",
    "webhooks:write",
    "domains:read",
    "domains:write",
    "billing:read",
    "billing:write",
];

#[test]
fn only_these_routes_take_no_key() {
    let public: Vec<_> = route_table()
        .into_iter()
        .filter(|route| route.access.is_public())
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert_eq!(
        public,
        [
            "GET /.well-known/jwks.json",
            "GET /healthz",
            "GET /readyz",
            "POST /v1/tokens/verify",
            "POST /v1/tokens/verify/batch",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_at_all_is_told_apart_and_never_echoed() {
    let node = TestNode::start().await;
    let good = node.api.key.clone().expect("a key");
    let agent = node.api.agent("a").await;
    let (token, _) = node.api.token(&agent, &["a"]).await;
    let made = node.api.post("/v1/agents", &json!({"name": "b", "owner": "o"})).await.expect(201);
    let secret_key = made["secret_key"].as_str().expect("a secret key").to_owned();
    let mut mistyped = good.clone();
    mistyped.replace_range(20..21, if &good[20..21] == "x" { "y" } else { "x" });
    for (presented, said) in [
        (mistyped.as_str(), "checksum"),
        (&good[..good.len() - 1], "49 characters"),
        ("hunter2hunter2", "starts with"),
        (token.as_str(), "agent's token"),
        (secret_key.as_str(), "agent's secret key"),
    ] {
        let answer = node.api.with_key(Some(presented)).get("/v1/agents").await;
        let body = answer.expect_problem(401, "invalid_api_key");
        let detail = body["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(said), "{detail}");
        assert!(!answer.text.contains(presented), "the answer repeats what was presented");
    }
    for header in ["Basic dXNlcjpwYXNz", "Bearer", "token"] {
        let request = node.api.client.get(format!("{}/v1/agents", node.api.url));
        let answer = request.header("authorization", header).send().await.expect("an answer");
        assert_eq!(answer.status(), 401, "{header}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stops_when_it_is_disabled_rotated_or_deleted() {
    let node = TestNode::start().await;
    let create = json!({"name": "k", "environment": "live", "permissions": ["agents:read"]});
    let made = node.api.post("/v1/api-keys", &create).await.expect(201);
    let path = format!("/v1/api-keys/{}", made["id"].as_str().expect("an id"));
    let first = node.api.with_key(made["key"].as_str());
    first.get("/v1/agents").await.expect(200);

    node.api.patch(&path, &json!({"enabled": false})).await.expect(200);
    first.get("/v1/agents").await.expect_problem(401, "invalid_api_key");
    node.api.patch(&path, &json!({"enabled": true})).await.expect(200);
    first.get("/v1/agents").await.expect(200);

    let grace = json!({"grace_seconds": 600});
    let rotated = node.api.post(&format!("{path}/rotate"), &grace).await.expect(200);
    let second = node.api.with_key(rotated["key"].as_str());
    assert!(rotated["previous_key_expires_at"].is_string());
    first.get("/v1/agents").await.expect(200);
    second.get("/v1/agents").await.expect(200);

    let rotate = node.api.send(Method::POST, &format!("{path}/rotate"), None).await;
    let third = node.api.with_key(rotate.expect(200)["key"].as_str());
    first.get("/v1/agents").await.expect_problem(401, "invalid_api_key");
    second.get("/v1/agents").await.expect_problem(401, "invalid_api_key");
    third.get("/v1/agents").await.expect(200);

    let deleted = node.api.delete(&path).await.expect(200);
    assert_eq!(deleted, json!({"id": made["id"], "deleted": true}));
    third.get("/v1/agents").await.expect_problem(401, "invalid_api_key");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_grants_nothing_that_it_does_not_hold_and_is_shown_once() {
    let node = TestNode::start().await;
    let limited = node.key("live", &["api_keys:write", "api_keys:read"]).await;
    let more = json!({"name": "x", "environment": "live", "permissions": ["agents:read"]});
    limited.post("/v1/api-keys", &more).await.expect_problem(403, "forbidden");
    let same = json!({"name": "x", "environment": "live"});
    let made = limited.post("/v1/api-keys", &same).await.expect(201);
    assert_eq!(made["permissions"], json!(["api_keys:read", "api_keys:write"]));
    let key = made["key"].as_str().expect("a key");
    let masked = format!("rai_pk_live_…{}", &key[key.len() - 4..]);
    let listed = limited.get("/v1/api-keys").await;
    assert_eq!(listed.expect(200)["data"][0]["key"], masked);
    assert!(!listed.text.contains(key));
    let id = made["id"].as_str().expect("an id");
    assert_eq!(limited.get(&format!("/v1/api-keys/{id}")).await.expect(200)["key"], masked);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stops_with_the_key_that_created_it() {
    let node = TestNode::start().await;
    let all = json!({"name": "k", "environment": "live"});
    let first = node.api.post("/v1/api-keys", &all).await.expect(201);
    let path = format!("/v1/api-keys/{}", text(&first, "id"));
    let maker = node.api.with_key(first["key"].as_str());
    let second = maker.post("/v1/api-keys", &all).await.expect(201);
    assert_eq!(second["created_by"], first["id"]);
    let made = maker.with_key(second["key"].as_str());
    let third = made.post("/v1/api-keys", &all).await.expect(201);
    let last = made.with_key(third["key"].as_str());
    last.get("/v1/agents").await.expect(200);

    node.api.patch(&path, &json!({"enabled": false})).await.expect(200);
    for stopped in [&maker, &made, &last] {
        stopped.get("/v1/agents").await.expect_problem(401, "invalid_api_key");
    }
    node.api.patch(&path, &json!({"enabled": true})).await.expect(200);
    last.get("/v1/agents").await.expect(200);
    let rotated = node.api.send(Method::POST, &format!("{path}/rotate"), None).await.expect(200);
    last.get("/v1/agents").await.expect(200);

    // A restart reads it back from the disk.
    let node = node.restart().await;
    let here = |caller: &Caller| node.api.with_key(caller.key.as_deref());
    here(&last).get("/v1/agents").await.expect(200);
    let listed = node.api.get(&format!("/v1/api-keys/{}", text(&third, "id"))).await.expect(200);
    assert_eq!(listed["created_by"], second["id"]);
    node.api.delete(&path).await.expect(200);
    for stopped in [&maker.with_key(rotated["key"].as_str()), &made, &last] {
        here(stopped).get("/v1/agents").await.expect_problem(401, "invalid_api_key");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_no_key_that_is_more_than_itself() {
    let node = TestNode::start().await;
    let end = "2100-01-01T00:00:00Z";
    let until = |end: Option<&str>| match end {
        Some(end) => json!({"name": "k", "environment": "live", "expires_at": end}),
        None => json!({"name": "k", "environment": "live"}),
    };
    let short = node.api.post("/v1/api-keys", &until(Some(end))).await.expect(201);
    let short = node.api.with_key(short["key"].as_str());
    let answer = short.post("/v1/api-keys", &until(Some("2100-01-01T00:00:01Z"))).await;
    let body = answer.expect_problem(422, "validation_failed");
    assert_eq!(body["errors"][0]["field"], "expires_at");
    let inherited = short.post("/v1/api-keys", &until(None)).await.expect(201);
    assert_eq!(inherited["expires_at"], end);

    let test = node.key("test", PERMISSIONS).await;
    test.post("/v1/api-keys", &until(None)).await.expect_problem(403, "forbidden");
    let same = json!({"name": "k", "environment": "test"});
    let same = test.post("/v1/api-keys", &same).await.expect(201);
    test.delete(&format!("/v1/api-keys/{}", text(&same, "id"))).await.expect(200);

    let strong = node.api.post("/v1/api-keys", &until(None)).await.expect(201);
    let path = format!("/v1/api-keys/{}", text(&strong, "id"));
    let clerk = node.key("live", &["api_keys:write"]).await;
    let rotate = format!("{path}/rotate");
    clerk.send(Method::POST, &rotate, None).await.expect_problem(403, "forbidden");
    clerk.patch(&path, &json!({"enabled": false})).await.expect_problem(403, "forbidden");
    clerk.delete(&path).await.expect_problem(403, "forbidden");
    short.send(Method::POST, &rotate, None).await.expect_problem(403, "forbidden");
    let strong = node.api.with_key(strong["key"].as_str());
    strong.get("/v1/agents").await.expect(200);
    node.stop().await;
}
