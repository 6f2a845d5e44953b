//! Plans from the outside: what they allow is exact, and who is over is told what would do.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Caller, TestNode, text};

/// Small plans, with rates that no test reaches.
const PLANS: &str = "\
    tiny self_service agents=2 tokens_per_month=3 requests_per_second=100000 price=Free, \
    free self_service agents=25 tokens_per_month=100 webhooks=1 requests_per_second=100000 price=Free, \
    team self_service agents=30 tokens_per_month=1000 requests_per_second=100000 price=49 USD a month";

#[tokio::test]
async fn a_plan_that_is_not_self_service_is_given_by_an_operator_alone() {
    let node = TestNode::start_with(&[("dev.plan", "free")]).await;
    let plans = node.api.get("/v1/billing/plans").await.expect(200);
    let chosen: Vec<_> = plans["data"].as_array().expect("plans").iter().collect();
    let named = |name: &str| chosen.iter().find(|plan| plan["name"] == name).expect("a plan");
    assert_eq!(named("team")["self_service"], true);
    for name in ["enterprise", "unlimited"] {
        assert_eq!(named(name)["self_service"], false, "{name}");
        let refused = node.api.put("/v1/billing/plan", &json!({"plan": name})).await;
        let problem = refused.expect_problem(403, "plan_not_self_service");
        assert!(text(&problem, "detail").contains("operator"), "{problem}");
    }
    assert_eq!(node.api.get("/v1/billing").await.expect(200)["plan"], "free");
    node.api.put("/v1/billing/plan", &json!({"plan": "team"})).await.expect(200);

    let id = text(&node.api.get("/v1/billing").await.expect(200), "organization_id");
    let path = format!("/v1/organizations/{id}");
    let given = node.operator.patch(&path, &json!({"plan": "enterprise"})).await.expect(200);
    assert_eq!(given["plan"], "enterprise");
    assert_eq!(node.api.get("/v1/billing").await.expect(200)["plan"], "enterprise");
    let both = node.operator.patch(&path, &json!({"plan": "free", "name": "x"})).await;
    assert_eq!(both.expect_problem(422, "validation_failed")["errors"][0]["field"], "plan");
    let node = node.restart_with(&[]).await;
    let again = node.api.put("/v1/billing/plan", &json!({"plan": "unlimited"})).await;
    again.expect_problem(403, "plan_not_self_service");
    node.stop().await;
}

async fn node_on(plan: &str) -> TestNode {
    TestNode::start_with(&[("plans.offered", PLANS), ("dev.plan", plan)]).await
}

async fn count(api: &Caller, event: &str) -> u64 {
    let page = api.get(&format!("/v1/audit?event={event}&limit=1")).await.expect(200);
    page["total"].as_u64().unwrap_or_else(|| panic!("no total in {page}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_at_once_get_exactly_as_many_agents_as_the_plan_allows() {
    let node = node_on("free").await;
    let mut clients = JoinSet::new();
    for client in 0..50 {
        let api = node.api.clone();
        clients.spawn(async move {
            let mut statuses = Vec::new();
            for number in 0..4 {
                let body = json!({"name": format!("{client}-{number}"), "owner": "o"});
                statuses.push(api.post("/v1/agents", &body).await.status.as_u16());
            }
            statuses
        });
    }
    let statuses: Vec<u16> = clients.join_all().await.concat();
    let of = |status| statuses.iter().filter(|known| **known == status).count();
    assert_eq!((of(201), of(402)), (25, 175));
    assert_eq!(node.api.get("/v1/agents").await.expect(200)["total"], 25);
    assert_eq!(node.api.get("/v1/billing").await.expect(200)["usage"]["agents"], 25);
    assert_eq!(count(&node.api, "agent.created").await, 25, "a 402 is no event");
    node.stop().await;
}

#[tokio::test]
async fn who_is_over_the_plan_is_told_the_limit_the_usage_and_the_plan_that_would_do() {
    let node = node_on("tiny").await;
    let test = node.key("test", &["agents:write", "tokens:issue"]).await;
    let first = node.api.agent("live").await;
    test.agent("test").await;
    for api in [&node.api, &test] {
        let over = api.post("/v1/agents", &json!({"name": "x", "owner": "o"})).await;
        let body = over.expect_problem(402, "plan_limit_reached");
        let said = ["quota", "limit", "usage", "plan", "upgrade_to"].map(|name| body[name].clone());
        assert_eq!(said, [json!("agents"), json!(2), json!(2), json!("tiny"), json!("free")]);
    }
    node.api.delete(&format!("/v1/agents/{first}")).await.expect(200);
    let agent = node.api.agent("in its place").await;
    for _ in 0..3 {
        node.api.token(&agent, &["a"]).await;
    }
    let ask = json!({"agent_id": agent, "scope": ["a"]});
    let body = node.api.post("/v1/tokens", &ask).await.expect_problem(402, "plan_limit_reached");
    assert_eq!((&body["quota"], &body["limit"]), (&json!("tokens_per_month"), &json!(3)));
    assert_eq!(body["upgrade_to"], "free");

    node.api.put("/v1/billing/plan", &json!({"plan": "free"})).await.expect(200);
    node.api.token(&agent, &["a"]).await;
    node.stop().await;
}

#[tokio::test]
async fn a_plan_is_seen_by_either_environments_key_and_changed_by_a_live_one() {
    let node = node_on("tiny").await;
    let test = node.key("test", &["billing:read", "billing:write"]).await;
    let billing = test.get("/v1/billing").await.expect(200);
    assert_eq!(billing, node.api.get("/v1/billing").await.expect(200));
    assert_eq!((&billing["plan"], &billing["price"]), (&json!("tiny"), &json!("Free")));
    let limits = json!({
        "agents": 2, "tokens_per_month": 3, "webhooks": null, "requests_per_second": 100_000,
        // 16 MiB, 8 KiB an agent, 512 bytes a token, 192 KiB for each of 100 webhooks.
        "state_bytes": 16_777_216 + 2 * 8_192 + 3 * 512 + 100 * 196_608,
        // 16 MiB, 2 KiB a token.
        "event_bytes_per_day": 16_777_216 + 3 * 2_048,
    });
    assert_eq!(billing["limits"], limits);
    let usage = &billing["usage"];
    let counts = ["agents", "tokens_this_month", "webhooks"].map(|name| usage[name].clone());
    assert_eq!(counts, [0, 0, 0]);
    let bytes = |of: &Value, name: &str| of[name].as_u64().unwrap_or_else(|| panic!("{of}"));
    assert!(bytes(usage, "state_bytes") > 0, "the keys count: {usage}");
    assert!(bytes(&billing["limits"], "state_bytes") > bytes(usage, "state_bytes"));
    bytes(usage, "event_bytes_today");
    assert!(text(&billing["period"], "starts_at").ends_with("-01T00:00:00Z"), "{billing}");

    let plans = test.get("/v1/billing/plans").await.expect(200);
    let names: Vec<&Value> =
        plans["data"].as_array().expect("plans").iter().map(|plan| &plan["name"]).collect();
    assert_eq!(names, ["tiny", "free", "team"]);
    assert_eq!(
        (&plans["total"], &plans["data"][2]["price"]),
        (&json!(3), &json!("49 USD a month"))
    );

    let change = |plan: &str| json!({"plan": plan});
    let refused = test.put("/v1/billing/plan", &change("team")).await;
    refused.expect_problem(403, "wrong_kind_of_key");
    let changed = node.api.put("/v1/billing/plan", &change("team")).await.expect(200);
    assert_eq!((&changed["plan"], &changed["limits"]["agents"]), (&json!("team"), &json!(30)));
    node.api.put("/v1/billing/plan", &change("team")).await.expect(200);
    node.api.put("/v1/billing/plan", &change("free")).await.expect(200);
    let unknown = node.api.put("/v1/billing/plan", &change("gold")).await;
    assert_eq!(unknown.expect_problem(422, "validation_failed")["errors"][0]["field"], "plan");
    for (event, from, to) in
        [("billing.plan_upgraded", "tiny", "team"), ("billing.plan_downgraded", "team", "free")]
    {
        let page = node.api.get(&format!("/v1/audit?event={event}")).await.expect(200);
        assert_eq!(page["total"], 1, "{event} stands once in the live chain");
        let data = &page["data"][0]["data"];
        assert_eq!((&data["from"], &data["to"]), (&json!(from), &json!(to)));
    }
    node.stop().await;
}

#[tokio::test]
async fn a_downgrade_below_what_is_in_use_says_what_to_remove() {
    let node = node_on("free").await;
    let mut agents = Vec::new();
    for name in ["a", "b", "c", "d"] {
        agents.push(node.api.agent(name).await);
    }
    let down = json!({"plan": "tiny"});
    let body = node.api.put("/v1/billing/plan", &down).await.expect_problem(409, "plan_too_small");
    assert_eq!(
        body["errors"],
        json!([{"field": "agents", "message": "4 agents are in use and 2 are allowed: revoke 2"}])
    );
    for agent in &agents[..2] {
        node.api.delete(&format!("/v1/agents/{agent}")).await.expect(200);
    }
    node.api.put("/v1/billing/plan", &down).await.expect(200);
    node.stop().await;
}

#[tokio::test]
async fn a_new_organisation_is_on_the_configured_plan_unless_it_names_one() {
    let node = TestNode::start().await;
    assert_eq!(node.api.get("/v1/billing").await.expect(200)["plan"], "unlimited", "of dev");
    let (first, named, unknown) = (
        organization(&node.operator, json!({"name": "a"})).await,
        organization(&node.operator, json!({"name": "b", "plan": "free"})).await,
        node.operator.post("/v1/organizations", &json!({"name": "c", "plan": "gold"})).await,
    );
    assert_eq!((text(&first, "plan"), text(&named, "plan")), ("unlimited".into(), "free".into()));
    assert_eq!(unknown.expect_problem(422, "validation_failed")["errors"][0]["field"], "plan");

    let node = node.restart_with(&[("plans.default", "team")]).await;
    let third = organization(&node.operator, json!({"name": "d"})).await;
    assert_eq!(third["plan"], "team");
    node.stop().await;
}

async fn organization(operator: &Caller, body: Value) -> Value {
    operator.post("/v1/organizations", &body).await.expect(201)
}

#[tokio::test]
async fn a_changed_configuration_is_in_force_after_a_restart_for_every_organisation() {
    let node = node_on("tiny").await;
    node.api.agent("a").await;
    let changed = PLANS.replace("agents=2 ", "agents=1 ");
    let node =
        node.restart_with(&[("plans.offered", changed.as_str()), ("plans.default", "free")]).await;
    crate::harness::until("the new limit", || async {
        let billing = node.api.get("/v1/billing").await.expect(200);
        (billing["limits"]["agents"] == 1).then_some(())
    })
    .await;
    let over = node.api.post("/v1/agents", &json!({"name": "x", "owner": "o"})).await;
    assert_eq!(over.expect_problem(402, "plan_limit_reached")["limit"], 1);

    let without = PLANS.split_once(", ").expect("plans").1;
    let node = node.restart_with(&[("plans.offered", without), ("plans.default", "free")]).await;
    crate::harness::until("the new catalogue", || async {
        let plans = node.api.get("/v1/billing/plans").await.expect(200);
        (plans["total"] == 2).then_some(())
    })
    .await;
    assert_eq!(node.api.get("/v1/billing").await.expect(200)["plan"], "tiny", "it stays");
    node.stop().await;
}
