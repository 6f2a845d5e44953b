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
