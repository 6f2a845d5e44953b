//! Tenants and environments: what a key makes and sees stays inside both.

use serde_json::json;

use crate::harness::{Caller, TestNode, text};

/// What one key made: an agent, a live token of it, and that token's id.
struct Made {
    agent: String,
    token: String,
    token_id: String,
}

async fn make(caller: &Caller) -> Made {
    let agent = caller.agent("hidden").await;
    let (token, token_id) = caller.token(&agent, &["a"]).await;
    Made { agent, token, token_id }
}

/// Nothing that `made` names is there for `outsider`.
async fn cannot_reach(outsider: &Caller, made: &Made) {
    let Made { agent, token, token_id } = made;
    for path in [format!("/v1/agents/{agent}"), format!("/v1/tokens/{token_id}")] {
        outsider.get(&path).await.expect_problem(404, "not_found");
    }
    let patch = json!({"name": "mine now"});
    outsider.patch(&format!("/v1/agents/{agent}"), &patch).await.expect_problem(404, "not_found");
    outsider.delete(&format!("/v1/agents/{agent}")).await.expect_problem(404, "not_found");
    for action in ["rotate-key", "revoke-tokens"] {
        let path = format!("/v1/agents/{agent}/{action}");
        outsider.post(&path, &json!({})).await.expect_problem(404, "not_found");
    }
    let request = json!({"agent_id": agent, "scope": ["a"]});
    outsider.post("/v1/tokens", &request).await.expect_problem(404, "not_found");
    for body in [json!({"token": token}), json!({"token_id": token_id})] {
        outsider.post("/v1/tokens/revoke", &body).await.expect_problem(404, "not_found");
    }
    assert_eq!(outsider.get("/v1/agents").await.expect(200)["total"], 0);
    assert_eq!(outsider.get("/v1/tokens").await.expect(200)["total"], 0);
    let filtered = outsider.get(&format!("/v1/tokens?agent_id={agent}")).await;
    assert_eq!(filtered.expect(200)["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_and_touches_nothing_of_another() {
    let node = TestNode::start().await;
    let made = make(&node.api).await;
    let (_, other) = node.tenant("other", "live").await;
    cannot_reach(&other, &made).await;

    let keys = other.get("/v1/api-keys").await.expect(200);
    assert_eq!(keys["total"], 1, "its own key, and no other: {keys}");
    let ours = node.api.get("/v1/api-keys").await.expect(200);
    let path = format!("/v1/api-keys/{}", text(&ours["data"][0], "id"));
    other.get(&path).await.expect_problem(404, "not_found");
    other.delete(&path).await.expect_problem(404, "not_found");
    let rename = json!({"name": "x"});
    other.patch(&path, &rename).await.expect_problem(404, "not_found");
    other.post(&format!("{path}/rotate"), &json!({})).await.expect_problem(404, "not_found");

    assert_eq!(node.api.verdict(&made.token).await, "valid", "nothing happened to the token");
    let agent = node.api.get(&format!("/v1/agents/{}", made.agent)).await.expect(200);
    assert_eq!(
        (agent["name"].as_str(), agent["status"].as_str()),
        (Some("hidden"), Some("active"))
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_and_test_are_two_worlds_of_one_organization() {
    let node = TestNode::start().await;
    let everything = json!({"name": "test", "environment": "test"});
    let made = node.api.post("/v1/api-keys", &everything).await.expect(201);
    let test = node.api.with_key(made["key"].as_str());
    let in_live = make(&node.api).await;
    cannot_reach(&test, &in_live).await;

    let in_test = make(&test).await;
    assert!(in_test.token.starts_with("rai_test_"));
    assert!(in_live.token.starts_with("rai_live_"));
    let created = test.post("/v1/agents", &json!({"name": "b", "owner": "o"})).await.expect(201);
    assert!(text(&created, "secret_key").starts_with("sk_test_"));
    assert_eq!(created["environment"], "test");
    node.api.get(&format!("/v1/agents/{}", in_test.agent)).await.expect_problem(404, "not_found");

    for (token, environment, verdict) in [
        (&in_live.token, "live", json!(null)),
        (&in_live.token, "test", json!("wrong_environment")),
        (&in_test.token, "test", json!(null)),
        (&in_test.token, "live", json!("wrong_environment")),
    ] {
        let question = json!({"token": token, "environment": environment});
        let answer = node.api.with_key(None).post("/v1/tokens/verify", &question).await.expect(200);
        assert_eq!(answer["reason"], verdict, "{answer}");
    }

    // A live key sees the keys of both.
    assert_eq!(test.get("/v1/api-keys").await.expect(200)["total"], 1);
    assert_eq!(node.api.get("/v1/api-keys").await.expect(200)["total"], 2);
    node.stop().await;
}
