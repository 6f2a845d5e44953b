//! The form of answers: fields, statuses, headers, pages, and the API's own description of them.

use std::collections::BTreeSet;

use authrai::api::route_table;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Caller, TestNode, text};

async fn get_with(caller: &Caller, path: &str, name: &str, value: &str) -> Answer {
    let request = caller.client.get(format!("{}{path}", caller.url)).header(name, value);
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

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_lives_from_its_creation_to_its_revocation() {
    let node = TestNode::start().await;
    let body = json!({"name": "data-processor", "owner": "engineering", "framework": "langchain"});
    let answer = node.api.post("/v1/agents", &body).await;
    let made = answer.expect(201);
    let secret = text(&made, "secret_key");
    assert!(secret.starts_with("sk_live_"));
    let path = format!("/v1/agents/{}", text(&made, "id"));
    let read = node.api.get(&path).await;
    assert!(!read.text.contains(&secret), "the secret key is shown once");
    let read = read.expect(200);
    assert_eq!(
        (read["framework"].as_str(), read["model_name"].clone()),
        (Some("langchain"), Value::Null)
    );

    let rotated = node.api.post(&format!("{path}/rotate-key"), &json!({})).await.expect(200);
    assert_ne!(text(&rotated, "secret_key"), secret);
    assert_ne!(rotated["public_key"], made["public_key"]);

    let patch = json!({"framework": null, "description": "x", "status": "paused"});
    let patched = node.api.patch(&path, &patch).await.expect(200);
    assert_eq!(
        (&patched["framework"], &patched["description"], &patched["status"]),
        (&Value::Null, &json!("x"), &json!("paused"))
    );
    let request = json!({"agent_id": made["id"], "scope": ["a"]});
    node.api.post("/v1/tokens", &request).await.expect_problem(409, "agent_paused");
    node.api.patch(&path, &json!({"status": "active"})).await.expect(200);
    let (token, _) = node.api.token(&text(&made, "id"), &["a"]).await;

    let revoked = node.api.delete(&path).await.expect(200);
    assert_eq!(
        (&revoked["id"], &revoked["status"], &revoked["tokens_invalidated"]),
        (&made["id"], &json!("revoked"), &json!(1))
    );
    assert_eq!(node.api.verdict(&token).await, "agent_revoked");
    let again = node.api.delete(&path).await.expect(200);
    assert_eq!(
        (&again["status"], &again["revoked_at"]),
        (&json!("revoked"), &revoked["revoked_at"])
    );
    node.api.patch(&path, &json!({"status": "active"})).await.expect_problem(409, "agent_revoked");
    node.api.post("/v1/tokens", &request).await.expect_problem(409, "agent_revoked");
    for (status, total) in [("active", 0), ("paused", 0), ("revoked", 1)] {
        let listed = node.api.get(&format!("/v1/agents?status={status}")).await.expect(200);
        assert_eq!(listed["total"], total, "{status}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_brings_its_own_key_is_given_none() {
    let node = TestNode::start().await;
    let key = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let body = json!({"name": "a", "owner": "b", "public_key": key});
    let made = node.api.post("/v1/agents", &body).await.expect(201);
    assert_eq!((made["public_key"].as_str(), made.get("secret_key")), (Some(key), None));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_issued_listed_verified_and_revoked() {
    let node = TestNode::start().await;
    let agent = node.api.agent("a").await;
    let body = json!({
        "agent_id": agent, "scope": ["db.*", "secrets.read"], "ttl": 60,
        "target_service": "billing", "intent": "close the books",
    });
    let issued = node.api.post("/v1/tokens", &body).await.expect(201);
    let token = text(&issued, "token");
    let path = format!("/v1/tokens/{}", text(&issued, "token_id"));
    let read = node.api.get(&path).await;
    assert!(!read.text.contains(&token));
    let read = read.expect(200);
    for field in
        ["token_id", "agent_id", "scope", "target_service", "intent", "issued_at", "expires_at"]
    {
        assert_eq!(read[field], issued[field], "{field}");
    }

    let question = json!({
        "token": token, "required_scope": ["db.read.rows"], "target_service": "billing",
        "environment": "live",
    });
    let verdict = node.api.with_key(None).post("/v1/tokens/verify", &question).await.expect(200);
    assert_eq!(verdict["valid"], true, "{verdict}");
    for field in
        ["token_id", "agent_id", "scope", "target_service", "intent", "issued_at", "expires_at"]
    {
        assert_eq!(verdict[field], issued[field], "{field}");
    }
    assert_eq!(
        (&verdict["owner"], &verdict["verified_domains"]),
        (&json!("engineering"), &json!([]))
    );

    let batch = json!({
        "tokens": [
            token, "nonsense", "x".repeat(9_000),
            {"token": token, "required_scope": ["admin"]},
            {"token": token, "target_service": "other"},
        ],
        "required_scope": ["secrets.read"],
    });
    let batch = node.api.with_key(None).post("/v1/tokens/verify/batch", &batch).await.expect(200);
    let reasons: Vec<_> = batch["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|verdict| verdict["reason"].as_str().unwrap_or("valid"))
        .collect();
    assert_eq!(reasons, ["valid", "malformed", "malformed", "insufficient_scope", "wrong_target"]);

    let revoked = node.api.post("/v1/tokens/revoke", &json!({"token": token})).await.expect(200);
    assert_eq!((&revoked["token_id"], &revoked["revoked"]), (&issued["token_id"], &json!(true)));
    assert_eq!(node.api.verdict(&token).await, "revoked");
    node.api.get(&path).await.expect_problem(404, "not_found");
    let again = json!({"token_id": issued["token_id"]});
    assert_eq!(node.api.post("/v1/tokens/revoke", &again).await.expect(200)["revoked"], true);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_newest_first_and_paged() {
    let node = TestNode::start().await;
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(node.api.agent(&format!("a{number}")).await);
    }
    made.reverse();
    let mut seen = Vec::new();
    for offset in [0, 2, 4] {
        let page = node.api.get(&format!("/v1/agents?limit=2&offset={offset}")).await.expect(200);
        assert_eq!(
            (&page["total"], &page["limit"], &page["offset"]),
            (&json!(5), &json!(2), &json!(offset))
        );
        assert_eq!(page["has_more"], offset < 4);
        seen.extend(page["data"].as_array().expect("data").iter().map(|one| text(one, "id")));
    }
    assert_eq!(seen, made);
    let page = node.api.get("/v1/agents").await.expect(200);
    assert_eq!((&page["limit"], &page["offset"]), (&json!(20), &json!(0)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_stand_where_the_contract_has_them() {
    let node = TestNode::start().await;
    let made = node.api.post("/v1/agents", &json!({"name": "a", "owner": "b"})).await;
    let index: u64 = made.header("authrai-log-index").expect("an index").parse().expect("a number");
    assert!(index > 0);
    for answer in [
        &made,
        &node.api.get("/v1/agents").await,
        &node.api.get("/v1/agents/agent_1").await,
        &node.api.with_key(None).get("/v1/agents").await,
        &node.api.with_key(None).post("/v1/tokens/verify", &json!({"token": "x"})).await,
    ] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
    }
    let mine = get_with(&node.api, "/v1/agents/agent_1", "x-request-id", "mine-1").await;
    assert_eq!(mine.header("x-request-id"), Some("mine-1"));
    assert_eq!(mine.expect_problem(404, "not_found")["request_id"], "mine-1");
    let insane = get_with(&node.api, "/v1/agents", "x-request-id", "not sane").await;
    assert_ne!(insane.header("x-request-id"), Some("not sane"));

    let named = |value: String| {
        let api = &node.api;
        async move { get_with(api, "/v1/agents", "authrai-min-index", &value).await }
    };
    named(index.to_string()).await.expect(200);
    named("x".into()).await.expect_problem(400, "invalid_header");
    named((index + 1_000).to_string()).await.expect_problem(422, "index_unknown");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_an_index_reveals_nothing_of_the_log() {
    let node = TestNode::start().await;
    let nobody = node.api.with_key(None);
    let made = node.api.post("/v1/agents", &json!({"name": "a", "owner": "b"})).await;
    let agent = text(&made.expect(201), "id");
    let issue = json!({"agent_id": agent, "scope": ["a"]});
    let issued = node.api.post("/v1/tokens", &issue).await;
    let index: u64 = issued.header("authrai-log-index").expect("one").parse().expect("a number");
    let token = text(&issued.expect(201), "token");
    let verify = |value: String, key: &Caller| {
        let (key, body) = (key.clone(), json!({"token": token}));
        async move {
            let header = [("authrai-min-index", value.as_str())];
            key.send_with(Method::POST, "/v1/tokens/verify", Some(&body), &header).await
        }
    };
    // One byte for another the same, however near to the end of the log it is.
    let known = verify("1".into(), &nobody).await;
    for named in [index - 1, index, index + 1, index + 2, index + 1_000, 1_000_000] {
        let answer = verify(named.to_string(), &nobody).await;
        assert_eq!(answer.expect(200), known.expect(200), "{named}");
    }
    // Out of all proportion, it is refused, without a number of ours.
    let far = verify(u64::MAX.to_string(), &nobody).await.expect_problem(422, "index_unknown");
    let detail = text(&far, "detail");
    assert!(!detail.contains(|c: char| c.is_ascii_digit()), "{detail}");
    verify("x".into(), &nobody).await.expect_problem(400, "invalid_header");
    // With a key it is as with a read; with a dead one as without.
    verify((index + 1_000).to_string(), &node.api).await.expect_problem(422, "index_unknown");
    let dead = node.api.with_key(Some("rai_pk_live_x"));
    verify((index + 1_000).to_string(), &dead).await.expect(200);
    // Elsewhere it counts only for a key.
    for path in ["/v1/agents", "/v1/audit", "/healthz", "/.well-known/jwks.json"] {
        for value in ["x".to_owned(), (index + 1_000).to_string(), u64::MAX.to_string()] {
            let answer = get_with(&nobody, path, "authrai-min-index", &value).await;
            let plain = nobody.get(path).await;
            assert_eq!(answer.status, plain.status, "{path} {value}");
            assert_eq!(answer.header("authrai-log-index"), None);
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_manage_tenants_keys_and_the_cluster() {
    let node = TestNode::start().await;
    let operator = &node.operator;
    let made = operator.post("/v1/organizations", &json!({"name": "acme"})).await.expect(201);
    assert_eq!(made["default_effect"], "allow");
    let path = format!("/v1/organizations/{}", text(&made, "id"));
    let patched = operator.patch(&path, &json!({"default_effect": "deny"})).await.expect(200);
    assert_eq!(patched, operator.get(&path).await.expect(200));
    assert_eq!(operator.get("/v1/organizations").await.expect(200)["data"][0], patched);
    operator.get("/v1/organizations/org_system").await.expect_problem(404, "not_found");

    let cluster = operator.get("/v1/cluster").await.expect(200);
    assert_eq!(
        (&cluster["node"]["role"], &cluster["node"]["may_serve"]),
        (&json!("leader"), &json!(true))
    );

    let agent = node.api.agent("a").await;
    let (token, _) = node.api.token(&agent, &["a"]).await;
    let old = text(&operator.get("/v1/cluster/keys").await.expect(200)["data"][0], "kid");
    let new = operator.post("/v1/cluster/keys/rotate", &json!({})).await.expect(200);
    assert_ne!(text(&new, "kid"), old);
    assert_eq!(node.api.verdict(&token).await, "valid", "a retired key's tokens live on");
    let revoked = operator.post(&format!("/v1/cluster/keys/{old}/revoke"), &json!({})).await;
    assert_eq!(revoked.expect(200)["status"], "revoked");
    assert_eq!(node.api.verdict(&token).await, "revoked");
    let jwks = node.api.get("/.well-known/jwks.json").await.expect(200);
    let kids: BTreeSet<_> =
        jwks["keys"].as_array().expect("keys").iter().map(|key| text(key, "kid")).collect();
    assert!(!kids.contains(&old), "a revoked key is gone at once");

    let only = operator.get("/v1/cluster/operator-keys").await.expect(200);
    let path = format!("/v1/cluster/operator-keys/{}", text(&only["data"][0], "id"));
    operator.delete(&path).await.expect_problem(409, "last_one");
    let made = operator.post("/v1/cluster/operator-keys", &json!({"name": "2"})).await.expect(201);
    let second = operator.with_key(made["key"].as_str());
    second.delete(&path).await.expect(200);
    operator.get("/v1/cluster").await.expect_problem(401, "invalid_api_key");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_reached_is_a_429_that_says_when_to_come_back() {
    let node = TestNode::start().await;
    let mut made = 1;
    let answer = loop {
        let answer = node.operator.post("/v1/cluster/operator-keys", &json!({"name": "k"})).await;
        if answer.status != 201 {
            break answer;
        }
        made += 1;
    };
    assert_eq!(made, authrai::limits::OPERATOR_KEYS_MAX);
    answer.expect_problem(429, "limit_reached");
    assert!(answer.header("retry-after").is_some());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_complete_and_the_explorer_works_offline() {
    let node = TestNode::start().await;
    let document = node.api.with_key(None).get("/openapi.json").await.expect(200);
    assert!(text(&document, "openapi").starts_with("3.1"));
    let mut operations = BTreeSet::new();
    for route in route_table() {
        let operation = &document["paths"][&route.path][route.method.to_lowercase()];
        let id = text(operation, "operationId");
        assert!(operations.insert(id.clone()), "{id} names two operations");
        assert!(operation["summary"].is_string() && operation["tags"].is_array(), "{id}");
        assert!(operation["security"].is_array() || route.path.starts_with('/'), "{id}");
    }
    check_references(&document, &document);
    let page = node.api.get("/docs/").await;
    assert_eq!(page.status, 200);
    for (place, _) in page.text.match_indices("src=\"").chain(page.text.match_indices("href=\"")) {
        let target = page.text[place..].split('"').nth(1).unwrap_or_default();
        assert!(!target.contains("://"), "{target} is fetched from elsewhere");
        let path = format!("/docs/{}", target.trim_start_matches("./"));
        let answer = node.api.client.get(format!("{}{path}", node.api.url)).send().await;
        assert_eq!(answer.expect("an answer").status(), 200, "{path}");
    }
    let redirected = node.api.send(Method::GET, "/docs", None).await;
    assert_eq!(redirected.status, 200);
    node.stop().await;
}

/// Every `$ref` leads somewhere.
fn check_references(document: &Value, part: &Value) {
    match part {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                let target = document.pointer(reference.trim_start_matches('#'));
                assert!(target.is_some(), "{reference} leads nowhere");
            }
            members.values().for_each(|member| check_references(document, member));
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(document, item)),
        _ => {}
    }
}

/// What the description says of limits is what the limits are.
#[tokio::test(flavor = "multi_thread")]
async fn the_description_states_the_limits_that_hold() {
    use authrai::limits;
    let node = TestNode::start().await;
    let document = node.api.get("/openapi.json").await.expect(200);
    let schemas = "/components/schemas";
    let parameters = document["paths"]["/v1/agents"]["get"]["parameters"].clone();
    for (found, limit) in [
        (document.pointer(&format!("{schemas}/Name/maxLength")), limits::NAME_MAX_CHARS as u64),
        (document.pointer(&format!("{schemas}/TtlSeconds/maximum")), limits::TTL_MAX_S),
        (document.pointer(&format!("{schemas}/Scopes/maxItems")), limits::SCOPES_MAX as u64),
        (
            document.pointer(&format!("{schemas}/VerifyBatch/properties/tokens/maxItems")),
            limits::VERIFY_BATCH_MAX as u64,
        ),
        (parameters.pointer("/0/schema/maximum"), limits::PAGE_MAX),
        (parameters.pointer("/0/schema/default"), limits::PAGE_DEFAULT),
        (parameters.pointer("/1/schema/maximum"), limits::OFFSET_MAX),
    ] {
        assert_eq!(found.and_then(Value::as_f64), Some(limit as f64));
    }
    node.stop().await;
}
