//! Webhooks from the outside: what arrives at a receiver, how it is signed, and what becomes of what
//! does not arrive.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use authrai::limits;
use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::{Caller, PATIENCE, TestNode, free_address, text, until},
    receiver::{Arrived, Manner, Receiver, deliveries, register},
};

/// Retries after one second, many times.
const IMPATIENT: &[(&str, &str)] =
    &[("webhooks.retry_schedule", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1")];

async fn audit(api: &Caller) -> BTreeMap<String, Value> {
    let page = api.get("/v1/audit?limit=100").await.expect(200);
    let events = page["data"].as_array().cloned().expect("events");
    events.into_iter().map(|event| (text(&event, "id"), event)).collect()
}

async fn agents(api: &Caller, number: usize) -> BTreeSet<String> {
    let calls = (0..number).map(|_| async { api.agent("told of").await });
    stream::iter(calls).buffer_unordered(16).collect().await
}

/// The agents that messages tell of.
fn told_of(arrived: &[Arrived]) -> BTreeSet<String> {
    arrived.iter().map(|one| text(&one.body()["data"], "agent_id")).collect()
}

#[tokio::test]
async fn every_event_arrives_as_promised_with_a_signature_that_verifies() {
    let node = TestNode::start_with(&[("dev.plan", "free")]).await;
    let receiver = Receiver::start().await;
    node.api.agent("before").await;
    let (webhook, secret) = register(&node.api, &receiver.url(), &["*"]).await;

    let agent = node.api.agent("watched").await;
    let (_, token) = node.api.token(&agent, &["db.read"]).await;
    let rule = json!({"effect": "deny", "scopes": ["db.write"]});
    let policy = json!({"name": "p", "rules": [rule]});
    let policy = text(&node.api.post("/v1/policies", &policy).await.expect(201), "id");
    let write = json!({"agent_id": agent, "scope": ["db.write"]});
    node.api.post("/v1/tokens", &write).await.expect_problem(403, "policy_denied");
    let path = format!("/v1/policies/{policy}");
    node.api.patch(&path, &json!({"is_active": false})).await.expect(200);
    node.api.post("/v1/tokens/revoke", &json!({"token_id": token})).await.expect(200);
    node.api.delete(&format!("/v1/agents/{agent}")).await.expect(200);
    node.api.put("/v1/billing/plan", &json!({"plan": "team"})).await.expect(200);

    let expected = [
        "agent.created",
        "token.issued",
        "policy.created",
        "token.denied",
        "policy.deactivated",
        "token.revoked",
        "agent.revoked",
        "billing.plan_upgraded",
    ];
    let arrived = receiver.until_arrived(expected.len()).await;
    let mut kinds: Vec<_> = arrived.iter().map(Arrived::kind).collect();
    kinds.sort_unstable();
    let mut sorted = expected;
    sorted.sort_unstable();
    assert_eq!(kinds, sorted, "all that happened since, once, and nothing from before");
    let told = audit(&node.api).await;
    for message in &arrived {
        assert!(message.is_signed_with(&secret) && message.signatures.len() == 1);
        let body = message.body();
        let event = &told[&message.id];
        let mut data = event["data"].clone();
        for subject in ["agent_id", "token_id", "policy_id"] {
            if !event[subject].is_null() {
                data[subject] = event[subject].clone();
            }
        }
        assert_eq!(
            body,
            json!({
                "id": message.id, "type": event["event"], "timestamp": event["at"],
                "organization_id": body["organization_id"], "environment": "live", "data": data,
            })
        );
        assert!(text(&body, "organization_id").starts_with("org_"));
    }
    let of_kind = |kind: &str| arrived.iter().find(|one| one.kind() == kind).expect(kind).body();
    let denied = of_kind("token.denied");
    assert_eq!(denied["data"]["reason"], "policy_denied");
    assert_eq!(
        (&denied["data"]["policy_id"], &denied["data"]["agent_id"]),
        (&json!(policy), &json!(agent))
    );
    assert_eq!(of_kind("token.revoked")["data"]["token_id"], token);

    let log = until("the log of deliveries", || async {
        let log = deliveries(&node.api, &webhook).await;
        (log.len() == expected.len()).then_some(log)
    })
    .await;
    for delivery in log {
        assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!("delivered"), &json!(1)));
        assert_eq!((&delivery["response_status"], &delivery["error"]), (&json!(204), &Value::Null));
        assert!(text(&delivery, "id").starts_with("dlv_"));
    }
    let metrics = node.api.get("/metrics").await.text;
    for series in [
        r#"authrai_webhook_attempts_total{outcome="delivered"} "#,
        r#"authrai_webhook_attempt_seconds_bucket{le="0.005"} "#,
        "authrai_webhook_open_retries ",
    ] {
        assert!(metrics.contains(series), "{series} in {metrics}");
    }
    node.stop().await;
}

#[tokio::test]
async fn an_endpoint_is_sent_the_events_that_it_asked_for_of_its_own_tenant() {
    let node = TestNode::start().await;
    let receiver = Receiver::start().await;
    let test_key =
        node.key("test", &["agents:write", "webhooks:write", "webhooks:read", "audit:read"]).await;
    let (_, other) = node.tenant("Other", "live").await;
    let (webhook, secret) = register(&node.api, &receiver.url(), &["agent.revoked"]).await;
    for api in [&node.api, &test_key, &other] {
        let agent = api.agent("x").await;
        api.delete(&format!("/v1/agents/{agent}")).await.expect(200);
    }
    let path = format!("/v1/webhooks/{webhook}");
    let patched = node.api.patch(&path, &json!({"events": ["agent.paused"]})).await.expect(200);
    assert_eq!(patched["events"], json!(["agent.paused"]));
    let agent = node.api.agent("y").await;
    let pause = json!({"status": "paused"});
    node.api.patch(&format!("/v1/agents/{agent}"), &pause).await.expect(200);
    let arrived = receiver.until_arrived(2).await;
    let kinds: BTreeSet<_> = arrived.iter().map(Arrived::kind).collect();
    assert_eq!(kinds, ["agent.paused".to_owned(), "agent.revoked".to_owned()].into());
    assert_eq!(arrived.len(), 2, "nothing of another tenant");

    for stranger in [&test_key, &other] {
        stranger.get(&path).await.expect_problem(404, "not_found");
        stranger.delete(&path).await.expect_problem(404, "not_found");
        assert_eq!(stranger.get("/v1/webhooks").await.expect(200)["total"], 0);
    }
    let listed = node.api.get("/v1/webhooks").await;
    assert_eq!(listed.expect(200)["data"][0]["id"], webhook);
    assert!(!listed.text.contains(&secret), "a secret is shown once");
    assert!(!node.api.get("/v1/audit?limit=100").await.text.contains(&secret));
    assert_eq!(node.api.delete(&path).await.expect(200), json!({"id": webhook, "deleted": true}));
    node.api.get(&path).await.expect_problem(404, "not_found");
    node.stop().await;
}

#[tokio::test]
async fn a_failed_delivery_is_retried_with_the_same_id_and_the_answer_is_kept() {
    let node = TestNode::start_with(IMPATIENT).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(Manner { body: "x".repeat(5_000), ..Manner::status(500) });
    let (webhook, secret) = register(&node.api, &receiver.url(), &["agent.created"]).await;
    node.api.agent("x").await;
    let failed = until("the failure in the log", || async {
        deliveries(&node.api, &webhook).await.into_iter().next()
    })
    .await;
    assert_eq!((&failed["status"], &failed["error"]), (&json!("pending"), &json!("bad_status")));
    assert_eq!(failed["response_status"], 500);
    assert_eq!(text(&failed, "response_body"), "x".repeat(1_024));
    assert!(failed["next_attempt_at"].is_string());
    until("a second attempt", || async { (receiver.arrived().len() >= 2).then_some(()) }).await;
    receiver.answer_with(Manner::status(200));
    let delivered = until("the delivery", || async {
        let log = deliveries(&node.api, &webhook).await;
        log.into_iter().find(|delivery| delivery["status"] == "delivered")
    })
    .await;
    assert_eq!(delivered["id"], failed["id"]);
    assert_eq!(delivered["response_body"], Value::Null);
    let arrived = receiver.arrived();
    assert_eq!(delivered["attempts"], arrived.len());
    assert_eq!(receiver.ids().len(), 1, "every attempt has the same id");
    assert!(arrived.iter().all(|one| one.raw == arrived[0].raw && one.is_signed_with(&secret)));
    node.stop().await;
}

#[tokio::test]
async fn a_delivery_whose_schedule_is_over_has_failed_and_can_be_retried_by_hand() {
    let node = TestNode::start_with(&[("webhooks.retry_schedule", "1")]).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(Manner::status(410));
    let (webhook, _) = register(&node.api, &receiver.url(), &["agent.created"]).await;
    node.api.agent("x").await;
    let failed = until("the end of the schedule", || async {
        let log = deliveries(&node.api, &webhook).await;
        log.into_iter().find(|delivery| delivery["status"] == "failed")
    })
    .await;
    assert_eq!((&failed["attempts"], &failed["next_attempt_at"]), (&json!(2), &Value::Null));
    receiver.answer_with(Manner::status(204));
    let base = format!("/v1/webhooks/{webhook}/deliveries");
    let retry = format!("{base}/{}/retry", text(&failed, "id"));
    let due = node.api.send(Method::POST, &retry, None).await.expect(200);
    assert_eq!((&due["id"], &due["status"]), (&failed["id"], &json!("pending")));
    until("the retry", || async {
        let log = deliveries(&node.api, &webhook).await;
        (log[0]["status"] == "delivered" && log[0]["attempts"] == 3).then_some(())
    })
    .await;
    assert_eq!(receiver.ids().into_values().collect::<Vec<_>>(), [3]);
    // A delivery that was taken can be asked for again too.
    node.api.send(Method::POST, &retry, None).await.expect(200);
    until("once more", || async { (receiver.arrived().len() == 4).then_some(()) }).await;
    let unknown = format!("{base}/dlv_01j1qz4zk8e6m2v7x9c3b5n0ah/retry");
    node.api.send(Method::POST, &unknown, None).await.expect_problem(404, "not_found");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_down_gets_everything_once_it_is_back() {
    let node = TestNode::start_with(IMPATIENT).await;
    let address = free_address();
    let url = format!("http://{address}/hook");
    let (webhook, _) = register(&node.api, &url, &["agent.created"]).await;
    let made = agents(&node.api, 150).await;
    until("failures", || async {
        let log = deliveries(&node.api, &webhook).await;
        let down = log.iter().all(|delivery| delivery["error"] == "unreachable");
        (log.len() == 100 && down).then_some(())
    })
    .await;
    let receiver = Receiver::start_at(address).await;
    let back = Instant::now();
    let arrived = receiver.until_arrived(made.len()).await;
    println!("{} events {:?} after the target was back", made.len(), back.elapsed());
    assert!(back.elapsed() < Duration::from_secs(3), "a step of a second, and what it takes");
    assert_eq!(told_of(&arrived), made);
    assert!(receiver.ids().values().all(|times| *times == 1));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_events_than_an_endpoint_may_be_owed_wait_and_arrive_too() {
    // Time enough for a slow machine to attempt each event once before the first is due again.
    let node = TestNode::start_with(&[("webhooks.retry_schedule", "6,6,6,6,6,6,6,6,6,6")]).await;
    let address = free_address();
    register(&node.api, &format!("http://{address}/hook"), &["agent.created"]).await;
    let made = agents(&node.api, limits::WEBHOOK_OPEN_RETRIES_MAX + 200).await;
    let full = format!("authrai_webhook_open_retries {}\n", limits::WEBHOOK_OPEN_RETRIES_MAX);
    until("the open retries to be full", || async {
        node.api.get("/metrics").await.text.contains(&full).then_some(())
    })
    .await;
    let receiver = Receiver::start_at(address).await;
    let arrived = receiver.until_arrived(made.len()).await;
    assert_eq!(told_of(&arrived), made);
    assert!(receiver.ids().values().all(|times| *times == 1));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_dead_endpoint_delays_no_other() {
    let node = TestNode::start().await;
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    slow.answer_with(Manner { delay: PATIENCE, ..Manner::status(200) });
    for _ in 0..3 {
        register(&node.api, &slow.url(), &["*"]).await;
        register(&node.api, &format!("http://{}/", free_address()), &["*"]).await;
    }
    register(&node.api, &quick.url(), &["agent.created"]).await;
    let began = Instant::now();
    agents(&node.api, 200).await;
    let all_made = began.elapsed();
    quick.until_arrived(200).await;
    println!("made in {all_made:?}, arrived {:?} after", began.elapsed() - all_made);
    assert!(began.elapsed() - all_made < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(!slow.arrived().is_empty(), "the slow ones were tried");
    node.stop().await;
}

#[tokio::test]
async fn a_disabled_endpoint_is_sent_nothing_and_nothing_later() {
    let node = TestNode::start().await;
    let receiver = Receiver::start().await;
    let (webhook, _) = register(&node.api, &receiver.url(), &["agent.created"]).await;
    let first = node.api.agent("first").await;
    receiver.until_arrived(1).await;
    let path = format!("/v1/webhooks/{webhook}");
    let delivery = until("the log", || async {
        Some(text(deliveries(&node.api, &webhook).await.first()?, "id"))
    })
    .await;
    let off = node.api.patch(&path, &json!({"enabled": false})).await.expect(200);
    assert_eq!(
        (&off["status"], &off["disabled_reason"]),
        (&json!("disabled"), &json!("requested"))
    );
    assert!(off["disabled_at"].is_string());
    let retry = format!("{path}/deliveries/{delivery}/retry");
    let refused = node.api.send(Method::POST, &retry, None).await;
    refused.expect_problem(409, "webhook_disabled");
    node.api.agent("unseen").await;
    let on = node.api.patch(&path, &json!({"enabled": true})).await.expect(200);
    assert_eq!((&on["status"], &on["disabled_at"]), (&json!("enabled"), &Value::Null));
    let last = node.api.agent("last").await;
    let arrived = receiver.until_arrived(2).await;
    let told: Vec<_> = arrived.iter().map(|one| text(&one.body()["data"], "agent_id")).collect();
    assert_eq!(told, [first, last]);
    let events = audit(&node.api).await;
    let named: BTreeSet<_> = events.values().map(|event| text(event, "event")).collect();
    assert!(named.contains("webhook.disabled") && named.contains("webhook.enabled"));
    node.stop().await;
}

#[tokio::test]
async fn after_a_rotation_both_secrets_sign_until_the_old_one_stops() {
    let node = TestNode::start().await;
    let receiver = Receiver::start().await;
    let (webhook, first) = register(&node.api, &receiver.url(), &["agent.created"]).await;
    let path = format!("/v1/webhooks/{webhook}/rotate-secret");
    let rotated = node.api.send(Method::POST, &path, None).await.expect(200);
    let second = text(&rotated, "secret");
    assert_ne!(first, second);
    assert!(rotated["previous_secret_expires_at"].is_string());
    node.api.agent("x").await;
    let both = receiver.until_arrived(1).await.remove(0);
    assert_eq!(both.signatures.len(), 2);
    assert!(both.is_signed_with(&first) && both.is_signed_with(&second));
    let again = node.api.post(&path, &json!({"grace_seconds": 0})).await.expect(200);
    let third = text(&again, "secret");
    assert_eq!(again["previous_secret_expires_at"], Value::Null);
    node.api.agent("y").await;
    let one = receiver.until_arrived(2).await.remove(1);
    assert_eq!(one.signatures.len(), 1);
    assert!(one.is_signed_with(&third) && !one.is_signed_with(&second));
    let far = json!({"grace_seconds": 10_000_000});
    node.api.post(&path, &far).await.expect_problem(422, "validation_failed");
    node.stop().await;
}

#[tokio::test]
async fn a_plan_bounds_the_endpoints_of_both_environments_together() {
    let node = TestNode::start_with(&[("dev.plan", "free")]).await;
    let test_key = node.key("test", &["webhooks:write", "audit:read"]).await;
    let url = "http://127.0.0.1:9/";
    register(&node.api, url, &["*"]).await;
    let (second, _) = register(&test_key, url, &["*"]).await;
    let body = json!({"url": url, "events": ["*"]});
    let over = node.api.post("/v1/webhooks", &body).await;
    let over = over.expect_problem(402, "plan_limit_reached");
    assert_eq!((&over["quota"], &over["usage"]), (&json!("webhooks"), &json!(2)));
    assert_eq!(node.api.get("/v1/billing").await.expect(200)["usage"]["webhooks"], 2);
    test_key.delete(&format!("/v1/webhooks/{second}")).await.expect(200);
    register(&node.api, url, &["*"]).await;
    node.stop().await;
}

#[tokio::test]
async fn a_test_says_what_the_target_answered() {
    let node = TestNode::start().await;
    let receiver = Receiver::start().await;
    let (webhook, secret) = register(&node.api, &receiver.url(), &["agent.created"]).await;
    receiver.answer_with(Manner { body: "thanks".into(), ..Manner::status(202) });
    let path = format!("/v1/webhooks/{webhook}/test");
    let came = node.api.send(Method::POST, &path, None).await.expect(200);
    assert_eq!((&came["delivered"], &came["response_status"]), (&json!(true), &json!(202)));
    assert_eq!(came["response_body"], "thanks");
    assert!(came["latency_ms"].is_u64());
    let message = receiver.arrived().remove(0);
    assert!(message.is_signed_with(&secret));
    assert_eq!(message.kind(), "webhook.test");
    receiver.answer_with(Manner { body: "oops".into(), ..Manner::status(500) });
    let failed = node.api.send(Method::POST, &path, None).await;
    let failed = failed.expect_problem(502, "webhook_test_failed");
    assert_eq!(failed["target"]["response_status"], 500);
    assert_eq!(failed["target"]["response_body"], "oops");
    drop(receiver);
    let dead = format!("http://{}/", free_address());
    let (dead, _) = register(&node.api, &dead, &["*"]).await;
    let unreachable = node.api.send(Method::POST, &format!("/v1/webhooks/{dead}/test"), None).await;
    let unreachable = unreachable.expect_problem(502, "webhook_test_failed");
    assert_eq!(unreachable["target"]["error"], "unreachable");
    assert_eq!(deliveries(&node.api, &webhook).await.len(), 0, "a test is no delivery");
    node.stop().await;
}

#[tokio::test]
async fn without_private_addresses_an_endpoint_leads_to_the_public_internet() {
    let node = TestNode::start_with(&[("webhooks.allow_private", "false")]).await;
    let receiver = Receiver::start().await;
    let port = receiver.address.port();
    for url in [
        receiver.url(),
        format!("https://127.0.0.1:{port}/"),
        format!("https://2130706433:{port}/"),
        format!("https://0x7f.1:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://10.0.0.1/".to_owned(),
        "https://localhost/".to_owned(),
        "nonsense".to_owned(),
    ] {
        let body = json!({"url": url, "events": ["*"]});
        let problem = node.api.post("/v1/webhooks", &body).await;
        let problem = problem.expect_problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["field"], "url", "{url}: {problem}");
    }
    // A name is judged where it is connected to.
    let name = format!("https://localhost.localdomain.invalid:{port}/");
    let (webhook, _) = register(&node.api, &name, &["agent.created"]).await;
    let test = node.api.send(Method::POST, &format!("/v1/webhooks/{webhook}/test"), None).await;
    test.expect_problem(502, "webhook_test_failed");
    assert!(receiver.arrived().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_twice_when_a_node_stops_in_order_or_its_actors_die() {
    let node = TestNode::start().await;
    let receiver = Receiver::start().await;
    register(&node.api, &receiver.url(), &["agent.created"]).await;
    let mut made = agents(&node.api, 20).await;
    receiver.until_arrived(20).await;
    let node = node.restart().await;
    made.extend(agents(&node.api, 20).await);
    receiver.until_arrived(40).await;
    assert!(receiver.ids().values().all(|times| *times == 1), "{:?}", receiver.ids());
    node.server().supervisor().kill_webhooks();
    made.extend(agents(&node.api, 20).await);
    let arrived = receiver.until_arrived(60).await;
    assert_eq!(told_of(&arrived), made);
    node.stop().await;
}
