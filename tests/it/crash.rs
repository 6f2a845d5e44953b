//! What was acknowledged survives a crash at any moment, and nothing revoked comes back to life.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use authrai::secrets::{KeyKind, Secret};
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{Caller, DevProcess};

const CLIENTS: usize = 8;

/// What a client was told.
#[derive(Default)]
struct Acknowledged {
    agents: Vec<String>,
    live: Vec<(String, String)>,
    revoked: Vec<String>,
}

/// How often the node is killed: a few times by default, more by hand.
fn cycles() -> usize {
    std::env::var("AUTHRAI_KILL_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_to_a_kill_and_nothing_revoked_verifies() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = Secret::mint(KeyKind::ApiLive);
    let mut node = DevProcess::start(folder.path(), key.expose());
    let told = Arc::new(Mutex::new(Acknowledged::default()));
    for cycle in 0..cycles() {
        node.ready().await;
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(work(node.caller(), Arc::clone(&told)));
        }
        // The moment of the crash, spread over what a client does.
        let pause = 40 + (cycle as u64 * 37) % 360;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        node.kill();
        clients.join_all().await;
        node.start_again();
        node.ready().await;
        check(&node.caller(), &told).await;
    }
    let told = told.lock().expect("no client panicked");
    println!(
        "{} kills: {} agents, {} live tokens and {} revocations acknowledged, none lost",
        cycles(),
        told.agents.len(),
        told.live.len(),
        told.revoked.len()
    );
    assert!(!told.agents.is_empty() && !told.live.is_empty() && !told.revoked.is_empty());
}

/// Registers an agent, issues it tokens and revokes every other one, until the node is gone.
async fn work(caller: Caller, told: Arc<Mutex<Acknowledged>>) {
    while let Some(agent) = create(&caller).await {
        told.lock().expect("unpoisoned").agents.push(agent.clone());
        for number in 0..6 {
            let Some((token, id)) = issue(&caller, &agent).await else { return };
            if number % 2 == 0 {
                told.lock().expect("unpoisoned").live.push((token, id));
                continue;
            }
            if !revoke(&caller, &id).await {
                return;
            }
            told.lock().expect("unpoisoned").revoked.push(token);
        }
    }
}

async fn post(caller: &Caller, path: &str, body: serde_json::Value) -> Option<serde_json::Value> {
    let url = format!("{}{path}", caller.url);
    let key = caller.key.as_deref().expect("a key");
    let response = caller.client.post(url).bearer_auth(key).json(&body).send().await.ok()?;
    response.status().is_success().then_some(())?;
    response.json().await.ok()
}

async fn create(caller: &Caller) -> Option<String> {
    let body = json!({"name": "crash", "owner": "tests"});
    Some(post(caller, "/v1/agents", body).await?["id"].as_str()?.to_owned())
}

async fn issue(caller: &Caller, agent: &str) -> Option<(String, String)> {
    let body = json!({"agent_id": agent, "scope": ["a.b"], "ttl": 86400});
    let answer = post(caller, "/v1/tokens", body).await?;
    Some((answer["token"].as_str()?.to_owned(), answer["token_id"].as_str()?.to_owned()))
}

async fn revoke(caller: &Caller, id: &str) -> bool {
    post(caller, "/v1/tokens/revoke", json!({"token_id": id})).await.is_some()
}

async fn check(caller: &Caller, told: &Mutex<Acknowledged>) {
    let (agents, live, revoked) = {
        let told = told.lock().expect("unpoisoned");
        (told.agents.clone(), told.live.clone(), told.revoked.clone())
    };
    for agent in &agents {
        let answer = caller.get(&format!("/v1/agents/{agent}")).await;
        assert_eq!(answer.status.as_u16(), 200, "agent {agent} is lost");
    }
    for batch in live.chunks(100) {
        for (verdict, (_, id)) in
            verdicts(caller, batch.iter().map(|(token, _)| token)).await.iter().zip(batch)
        {
            assert_eq!(verdict, "valid", "token {id} is lost");
        }
    }
    for batch in revoked.chunks(100) {
        for verdict in verdicts(caller, batch.iter()).await {
            assert_eq!(verdict, "revoked");
        }
    }
    let chain = caller.get("/v1/audit/verify").await.expect(200);
    assert_eq!(chain["ok"], true, "{chain}");
}

async fn verdicts(caller: &Caller, tokens: impl Iterator<Item = &String>) -> Vec<String> {
    let body = json!({"tokens": tokens.collect::<Vec<_>>()});
    let answer = caller.with_key(None).post("/v1/tokens/verify/batch", &body).await.expect(200);
    let results = answer["results"].as_array().expect("results");
    let verdict = |result: &serde_json::Value| match result["valid"].as_bool() {
        Some(true) => "valid".to_owned(),
        _ => result["reason"].as_str().unwrap_or("no reason").to_owned(),
    };
    results.iter().map(verdict).collect()
}
