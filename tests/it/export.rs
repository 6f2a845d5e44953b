//! An export through a real node, and what it adds to the memory of the process.
//!
//! So few events as by default cannot reach the limit: the test then shows that exports are whole.
//! The limit is tried by hand, with a million. That an export is made a bounded piece at a time is
//! a test beside the code.

use std::time::{Duration, Instant};

use authrai::secrets::{KeyKind, Secret};
use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::harness::{Caller, DevProcess};

/// What an export may add to the memory of the process.
const GROWTH_MAX_KIB: u64 = 64 * 1024;
const CLIENTS: usize = 64;

/// How many events are exported: some by default, a million by hand.
fn events() -> usize {
    std::env::var("AUTHRAI_EXPORT_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(8_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_whole_adds_at_most_64_mib_and_a_kill_loses_none_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = Secret::mint(KeyKind::ApiLive);
    let mut node = DevProcess::start(folder.path(), key.expose());
    node.ready().await;
    let caller = node.caller();
    fill(&caller, events()).await;
    for format in ["json", "csv"] {
        let before = node.resident_kib();
        let (bytes, peak) = drain(&node, &caller, format).await;
        println!(
            "{format}: {bytes} bytes of {} events, from {before} KiB to at most {peak} KiB",
            events()
        );
        assert!(bytes > events() * 300, "the {format} export is too short: {bytes} bytes");
        assert!(peak < before + GROWTH_MAX_KIB, "{format}: {before} KiB grew to {peak} KiB");
    }
    node.kill();
    let killed = Instant::now();
    node.start_again();
    node.ready().await;
    println!("ready {:?} after a kill, with {} events", killed.elapsed(), events());
    let verified = node.caller().get("/v1/audit/verify").await.expect(200);
    assert_eq!(verified["ok"], true);
    assert!(verified["length"].as_u64() >= Some(events() as u64), "{verified}");
}

/// Issues tokens until there are `count` events.
async fn fill(caller: &Caller, count: usize) {
    let agent = caller.agent("exporter").await;
    let body = json!({"agent_id": agent, "scope": ["audit.read"], "ttl": 60});
    stream::iter(1..count)
        .for_each_concurrent(CLIENTS, |_| async {
            caller.post("/v1/tokens", &body).await.expect(201);
        })
        .await;
}

/// Reads a whole export, watching the node's memory meanwhile.
async fn drain(node: &DevProcess, caller: &Caller, format: &str) -> (usize, u64) {
    let url = format!("{}/v1/audit/export?format={format}", caller.url);
    let key = caller.key.as_deref().expect("a key");
    let patient = Duration::from_secs(600);
    let request = caller.client.get(url).bearer_auth(key).timeout(patient);
    let mut body = request.send().await.expect("an export").bytes_stream();
    let (mut bytes, mut peak, mut chunks) = (0, 0, 0usize);
    while let Some(chunk) = body.next().await {
        bytes += chunk.expect("the whole export").len();
        chunks += 1;
        if chunks.is_multiple_of(16) {
            peak = peak.max(node.resident_kib());
        }
    }
    (bytes, peak.max(node.resident_kib()))
}
