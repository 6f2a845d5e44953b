//! Rates from the outside: a key's, which the plan sets, and an address's, which is off by default.

use std::time::Instant;

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{Answer, Caller, TestNode, until};

const PLANS: &str = "\
    slow self_service requests_per_second=5 price=Free, \
    quick self_service requests_per_second=100000 price=Free";

async fn node_on(plan: &str) -> TestNode {
    TestNode::start_with(&[("plans.offered", PLANS), ("dev.plan", plan)]).await
}

/// What `RateLimit` says is left, and of how many.
fn standing(answer: &Answer) -> (u64, u64) {
    let number = |header: &str, name: &str| {
        let text = answer.header(header).unwrap_or_else(|| panic!("no {header}"));
        let rest = text.strip_prefix("\"requests\";").unwrap_or_else(|| panic!("{text}"));
        let value = rest.split(';').find_map(|parameter| parameter.strip_prefix(name));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
    };
    assert_eq!(number("ratelimit-policy", "w="), 1);
    (number("ratelimit", "r="), number("ratelimit-policy", "q="))
}

#[tokio::test]
async fn every_answer_to_a_key_says_how_it_stands_and_no_other_does() {
    let node = node_on("quick").await;
    let limited = node.key("live", &["agents:read"]).await;
    for (what, answer) in [
        ("a success", limited.get("/v1/agents").await),
        ("a 403", limited.get("/v1/tokens").await),
        ("a 403 for the wrong kind of key", limited.get("/v1/organizations").await),
        ("a 404", limited.get("/v1/agents/agent_x").await),
        ("a 400", limited.get("/v1/agents?limit=x").await),
        ("a 422", node.api.post("/v1/agents", &json!({})).await),
    ] {
        let (left, most) = standing(&answer);
        assert!(most == 100_000 && left < most, "{what}: {left} of {most}");
    }
    let (_, most) = standing(&node.operator.get("/v1/organizations").await);
    assert_eq!(most, 10_000, "an operator's key has a rate of its own");
    let nobody = node.api.with_key(None);
    for answer in [
        nobody.get("/v1/agents").await,
        nobody.with_key(Some("rai_pk_live_x")).get("/v1/agents").await,
        nobody.get("/healthz").await,
        nobody.post("/v1/tokens/verify", &json!({"token": "x"})).await,
    ] {
        assert_eq!(answer.header("ratelimit"), None, "{}", answer.status);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_over_its_rate_waits_and_no_other_does() {
    let node = node_on("slow").await;
    // What was asked to get ready counted, too.
    let other = node.api.clone();
    until("a bucket that is full again", || async {
        (standing(&other.get("/v1/agents").await).0 == 4).then_some(())
    })
    .await;
    let began = Instant::now();
    let mut requests = JoinSet::new();
    for _ in 0..40 {
        let api = node.api.clone();
        requests.spawn(async move { api.get("/v1/agents").await });
    }
    let answers = requests.join_all().await;
    let most = 5 + 5 * (began.elapsed().as_secs() as usize + 1);
    let granted = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((4..=most).contains(&granted), "{granted} of 40 within {:?}", began.elapsed());
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.expect_problem(429, "rate_limited");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(standing(answer), (0, 5));
    }
    // Whether it may do this at all is asked later.
    let empty = until("an empty bucket", || async {
        let answer = node.api.get("/v1/organizations").await;
        (answer.status == 429).then_some(answer)
    })
    .await;
    empty.expect_problem(429, "rate_limited");
    node.operator.get("/v1/organizations").await.expect(200);
    node.api.with_key(Some("rai_pk_live_x")).get("/v1/agents").await.expect(401);
    until("a turn", || async { (node.api.get("/v1/agents").await.status == 200).then_some(()) })
        .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_keys_of_one_organisation_get_no_more() {
    let node = TestNode::start_with(&[("plans.offered", PLANS), ("plans.default", "slow")]).await;
    let (organization, first) = node.tenant("Many keys", "live").await;
    let path = format!("/v1/organizations/{organization}/api-keys");
    let mut keys = vec![first];
    for number in 0..11 {
        let body = json!({"name": format!("{number}"), "environment": "live"});
        let made = node.operator.post(&path, &body).await.expect(201);
        keys.push(node.api.with_key(made["key"].as_str()));
    }
    let began = Instant::now();
    let mut requests = JoinSet::new();
    for key in &keys {
        for _ in 0..5 {
            let key = key.clone();
            requests.spawn(async move { key.get("/v1/agents").await });
        }
    }
    let answers = requests.join_all().await;
    let most = 5 + 5 * (began.elapsed().as_secs() as usize + 1);
    let granted = answers.iter().filter(|answer| answer.status == 200).count();
    let none_had_too_many = keys.len() * 5;
    assert!(granted <= most, "{granted} of {none_had_too_many} within {:?}", began.elapsed());
    let over = answers.iter().find(|answer| answer.status != 200).expect("some are over");
    let detail = over.expect_problem(429, "rate_limited")["detail"].to_string();
    assert!(detail.contains("All keys of this organisation together"), "{detail}");
    assert_eq!(over.header("retry-after"), Some("1"));
    assert_eq!(standing(over), (0, 5));
    // It is nobody else's business.
    let (_, other) = node.tenant("Other", "live").await;
    other.get("/v1/agents").await.expect(200);
    node.stop().await;
}

#[tokio::test]
async fn a_rate_follows_the_plan_at_once() {
    let node = node_on("slow").await;
    until("a turn", || async {
        let answer = node.api.put("/v1/billing/plan", &json!({"plan": "quick"})).await;
        (answer.status == 200).then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(standing(&node.api.get("/v1/agents").await).1, 100_000);
    }
    node.stop().await;
}

async fn verify(node: &Caller) -> Answer {
    let body = json!({"token": "rai_live_x"});
    node.with_key(None).send(Method::POST, "/v1/tokens/verify", Some(&body)).await
}

#[tokio::test]
async fn an_address_is_limited_only_where_the_operator_says_so() {
    let node = TestNode::start_with(&[("rate_limits.verify_per_address", "3")]).await;
    let over = until("more than three in a second", || async {
        let answer = verify(&node.api).await;
        let (left, most) = standing(&answer);
        assert!(most == 3 && left < 3);
        (answer.status == 429).then_some(answer)
    })
    .await;
    over.expect_problem(429, "rate_limited");
    assert_eq!(over.header("retry-after"), Some("1"));
    let batch = node.api.with_key(None);
    let batch = until("the batch route to share the limit", || async {
        let answer = batch.post("/v1/tokens/verify/batch", &json!({"tokens": ["x"]})).await;
        (answer.status == 429).then_some(answer)
    })
    .await;
    batch.expect_problem(429, "rate_limited");
    // Other routes are none of its business.
    node.api.get("/v1/agents").await.expect(200);
    node.stop().await;

    let node = TestNode::start().await;
    for _ in 0..50 {
        let answer = verify(&node.api).await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (200, None));
    }
    node.stop().await;
}
