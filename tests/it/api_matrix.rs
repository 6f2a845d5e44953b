//! Who may take which route: every route that the API's description lists, taken by every kind of
//! caller that there is.

use authrai::{
    api::{Access, Route, route_table},
    secrets::{KeyKind, Secret},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api_authority::PERMISSIONS,
    harness::{Answer, Caller, TestNode, text, until},
};

/// A path of this route; what it names does not exist.
fn path(route: &Route) -> String {
    let ulid = "01j1qz4zk8e6m2v7x9c3b5n0ah";
    let prefix = match route.path.split('/').nth(2) {
        Some("agents") => "agent",
        Some("tokens") => "tok",
        Some("api-keys") => "key",
        Some("organizations") => "org",
        Some("webhooks") => "wh",
        Some("policies") => "pol",
        Some("approvals") => "apr",
        Some("domains") => "dom",
        _ if route.path.contains("{kid}") => "sig",
        _ => "op",
    };
    let parts = route.path.split('/').map(|part| match part.starts_with('{') {
        true => format!("{prefix}_{ulid}"),
        false => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

async fn take(caller: &Caller, route: &Route) -> Answer {
    let method: Method = route.method.parse().expect("a method");
    caller.send(method, &path(route), None).await
}

/// The status alone: some answers never end.
async fn status(caller: &Caller, route: &Route) -> StatusCode {
    let method: Method = route.method.parse().expect("a method");
    let mut request = caller.client.request(method, format!("{}{}", caller.url, path(route)));
    if let Some(key) = &caller.key {
        request = request.bearer_auth(key);
    }
    request.send().await.expect("an answer").status()
}

/// A new API key that `maker` makes, and its path.
async fn key_of(maker: &Caller, more: &Value) -> (String, Caller) {
    let mut body = json!({"name": "k", "environment": "live"});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let made = maker.post("/v1/api-keys", &body).await.expect(201);
    (format!("/v1/api-keys/{}", text(&made, "id")), maker.with_key(made["key"].as_str()))
}

/// A key that has run out.
async fn expired(node: &TestNode) -> Caller {
    let end = authrai::rfc3339::seconds(authrai::clock::now_ms() / 1000 + 2);
    let (_, key) = key_of(&node.api, &json!({"expires_at": end})).await;
    until("the key's end", || async {
        (key.get("/v1/agents").await.status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    key
}

/// What is presented as a key and opens nothing, by what it is.
async fn dead_callers(node: &TestNode) -> Vec<(&'static str, Caller)> {
    let (api, all) = (&node.api, json!({}));
    let disable = json!({"enabled": false});
    let (deleted, deleted_key) = key_of(api, &all).await;
    let (_, below_deleted) = key_of(&deleted_key, &all).await;
    let (_, far_below_deleted) = key_of(&below_deleted, &all).await;
    api.delete(&deleted).await.expect(200);
    let (disabled, disabled_key) = key_of(api, &all).await;
    let (_, below_disabled) = key_of(&disabled_key, &all).await;
    api.patch(&disabled, &disable).await.expect(200);
    let (own, own_key) = key_of(api, &all).await;
    api.patch(&own, &disable).await.expect(200);
    let (rotated, rotated_key) = key_of(api, &all).await;
    api.send(Method::POST, &format!("{rotated}/rotate"), None).await.expect(200);

    let operators = "/v1/cluster/operator-keys";
    let made = node.operator.post(operators, &json!({"name": "gone"})).await.expect(201);
    let gone = api.with_key(made["key"].as_str());
    node.operator.delete(&format!("{operators}/{}", text(&made, "id"))).await.expect(200);

    let made = api.post("/v1/agents", &json!({"name": "a", "owner": "o"})).await.expect(201);
    let agent = text(&made, "id");
    let (token, _) = api.token(&agent, &["a"]).await;
    let strange = |kind| api.with_key(Some(Secret::mint(kind).expose()));
    vec![
        ("an API key that was never made here", strange(KeyKind::ApiLive)),
        ("a test key that was never made here", strange(KeyKind::ApiTest)),
        ("an operator key that was never made here", strange(KeyKind::Operator)),
        ("an agent's token", api.with_key(Some(&token))),
        ("an agent's secret key", api.with_key(made["secret_key"].as_str())),
        ("no key at all", api.with_key(Some("hunter2"))),
        ("a deleted key", deleted_key),
        ("a key below a deleted one", below_deleted),
        ("a key far below a deleted one", far_below_deleted),
        ("a disabled key", own_key),
        ("a key below a disabled one", below_disabled),
        ("a rotated key's old secret", rotated_key),
        ("a key that has run out", expired(node).await),
        ("an operator key that was deleted", gone),
    ]
}

/// Whether a test key of the right permissions may take the route: what belongs to the whole
/// organisation is changed by live keys only.
fn takes_a_test_key(permissions: &[String]) -> bool {
    !permissions.iter().any(|held| held == "domains:write" || held == "billing:write")
}

async fn is_admitted(caller: &Caller, route: &Route, who: &str) {
    let status = status(caller, route).await;
    assert!(status != 401 && status != 403, "{} {}, {who}: {status}", route.method, route.path);
}

/// API keys of every right set and environment.
async fn api_keys_are_told_apart(node: &TestNode, route: &Route, permissions: &[String]) {
    let Some(_) = permissions.first() else {
        for environment in ["live", "test"] {
            let all = node.key(environment, PERMISSIONS).await;
            take(&all, route).await.expect_problem(403, "wrong_kind_of_key");
        }
        return;
    };
    for (environment, permission) in
        permissions.iter().flat_map(|missing| [("live", missing), ("test", missing)])
    {
        let others: Vec<_> =
            PERMISSIONS.iter().copied().filter(|held| held != permission).collect();
        let without = node.key(environment, &others).await;
        let body = take(&without, route).await.expect_problem(403, "missing_permission");
        let detail = body["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(permission.as_str()), "{} {}: {detail}", route.method, route.path);
    }
    let named: Vec<_> = permissions.iter().map(String::as_str).collect();
    is_admitted(&node.key("live", &named).await, route, "a live key with just its rights").await;
    let test = node.key("test", &named).await;
    if takes_a_test_key(permissions) {
        is_admitted(&test, route, "a test key with just its rights").await;
    } else {
        take(&test, route).await.expect_problem(403, "wrong_kind_of_key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_taken_by_those_only_whom_its_description_names() {
    let node = TestNode::start().await;
    let nobody = node.api.with_key(None);
    let dead = dead_callers(&node).await;
    let (mut cells, mut routes) = (0, 0);
    for route in route_table() {
        let Access { permissions, operator } = &route.access;
        if route.access.is_public() {
            is_admitted(&nobody, &route, "nobody").await;
            continue;
        }
        let name = format!("{} {}", route.method, route.path);
        let answer = take(&nobody, &route).await;
        answer.expect_problem(401, "missing_api_key");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"authrai\""), "{name}");
        for (what, caller) in &dead {
            let answer = take(caller, &route).await;
            assert_eq!(answer.status, 401, "{name}, {what}: {}", answer.text);
            answer.expect_problem(401, "invalid_api_key");
        }
        api_keys_are_told_apart(&node, &route, permissions).await;
        if *operator {
            is_admitted(&node.operator, &route, "an operator").await;
        } else {
            take(&node.operator, &route).await.expect_problem(403, "wrong_kind_of_key");
        }
        routes += 1;
        cells += dead.len() + 4 + 2 * permissions.len();
    }
    assert!(routes > 50 && cells > 1_000, "{routes} routes, {cells} cells");
    node.stop().await;
}
