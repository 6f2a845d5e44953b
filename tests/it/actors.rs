//! An actor may die at any time: the node goes on, and nothing acknowledged is lost.

use crate::harness::{TestNode, until};

#[tokio::test]
async fn a_killed_agents_actor_is_started_again_and_loses_nothing() {
    let node = TestNode::start().await;
    let agent = node.api.agent("before").await;
    let (token, _) = node.api.token(&agent, &["db.read"]).await;
    for _ in 0..5 {
        node.server().supervisor().kill_agents();
        until("the agents actor", || async {
            let body = serde_json::json!({"agent_id": agent, "scope": ["db.read"]});
            let answer = node.api.post("/v1/tokens", &body).await;
            assert!(matches!(answer.status.as_u16(), 201 | 503), "{}", answer.text);
            (answer.status == 201).then_some(())
        })
        .await;
    }
    assert_eq!(node.api.verdict(&token).await, "valid");
    let after = node.api.agent("after").await;
    assert_ne!(agent, after);
    node.stop().await;
}

#[tokio::test]
async fn a_killed_keys_actor_goes_on_with_the_same_signing_key() {
    let node = TestNode::start().await;
    let agent = node.api.agent("signer").await;
    let (before, _) = node.api.token(&agent, &["db.read"]).await;
    node.server().supervisor().kill_keys();
    let rotated = until("the keys actor", || async {
        let answer =
            node.operator.send(reqwest::Method::POST, "/v1/cluster/keys/rotate", None).await;
        (answer.status == 200 || answer.status == 201).then(|| answer.json())
    })
    .await;
    let (after, _) = node.api.token(&agent, &["db.read"]).await;
    let jwks = node.api.with_key(None).get("/.well-known/jwks.json").await.expect(200);
    assert_eq!(jwks["keys"].as_array().map(Vec::len), Some(2), "{rotated} {jwks}");
    for token in [before, after] {
        assert_eq!(node.api.verdict(&token).await, "valid");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_restart_on_the_same_data_keeps_everything_and_signs_with_the_same_key() {
    let node = TestNode::start().await;
    let agent = node.api.agent("kept").await;
    let (live, _) = node.api.token(&agent, &["db.read"]).await;
    let (dead, dead_id) = node.api.token(&agent, &["db.read"]).await;
    let revoke = serde_json::json!({"token_id": dead_id});
    node.api.post("/v1/tokens/revoke", &revoke).await.expect(200);
    let jwks = node.api.get("/.well-known/jwks.json").await.expect(200);
    let keys = std::fs::read_dir(node.folder().join("data/signing-keys")).expect("a folder");
    assert_eq!(keys.count(), 1, "one private half, and nothing else");
    let node = node.restart().await;
    assert_eq!(node.api.verdict(&live).await, "valid");
    assert_eq!(node.api.verdict(&dead).await, "revoked");
    assert_eq!(node.api.get("/.well-known/jwks.json").await.expect(200), jwks);
    let chain = node.api.get("/v1/audit/verify").await.expect(200);
    assert_eq!((&chain["ok"], &chain["length"]), (&true.into(), &5.into()), "{chain}");
    node.stop().await;
}
