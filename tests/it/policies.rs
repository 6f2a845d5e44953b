//! Policies from the outside: what they grant, refuse, count, and ask somebody about.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{Answer, Caller, TestNode, text, until};

async fn policy(api: &Caller, rule: Value) -> String {
    let body = json!({"name": "p", "rules": [rule]});
    text(&api.post("/v1/policies", &body).await.expect(201), "id")
}

async fn ask(api: &Caller, agent: &str, scope: &str) -> Answer {
    api.post("/v1/tokens", &json!({"agent_id": agent, "scope": [scope]})).await
}

async fn count(api: &Caller, event: &str) -> u64 {
    let page = api.get(&format!("/v1/audit?event={event}&limit=1")).await.expect(200);
    page["total"].as_u64().unwrap_or_else(|| panic!("no total in {page}"))
}

async fn events(api: &Caller, event: &str) -> Vec<Value> {
    let page = api.get(&format!("/v1/audit?event={event}&limit=100")).await.expect(200);
    page["data"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_policy_denies_one_owner_and_says_so() {
    let node = TestNode::start().await;
    let body = json!({"name": "x", "owner": "sales"});
    let sales = text(&node.api.post("/v1/agents", &body).await.expect(201), "id");
    let engineering = node.api.agent("y").await;
    let rule = json!({"effect": "deny", "owners": ["sales"], "scopes": ["db.write"]});
    let id = policy(&node.api, rule.clone()).await;
    let denied = ask(&node.api, &sales, "db.write").await.expect_problem(403, "policy_denied");
    assert_eq!(denied["policy_id"], id);
    ask(&node.api, &sales, "db.*").await.expect_problem(403, "policy_denied");
    ask(&node.api, &sales, "db.read").await.expect(201);
    ask(&node.api, &engineering, "db.write").await.expect(201);
    let told = events(&node.api, "token.denied").await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[0]["data"]["reason"], "policy_denied");
    assert_eq!(told[0]["policy_id"], id);
    assert_eq!(told[0]["agent_id"], sales);

    let path = format!("/v1/policies/{id}");
    let stored = node.api.get(&path).await.expect(200);
    assert_eq!((&stored["rules"][0], &stored["priority"]), (&rule, &json!(100)));
    assert_eq!(stored["is_active"], true);
    node.api.patch(&path, &json!({"is_active": false})).await.expect(200);
    ask(&node.api, &sales, "db.write").await.expect(201);
    node.api.patch(&path, &json!({"is_active": true, "name": "q"})).await.expect(200);
    ask(&node.api, &sales, "db.write").await.expect_problem(403, "policy_denied");
    node.api.delete(&path).await.expect(200);
    node.api.delete(&path).await.expect_problem(404, "not_found");
    ask(&node.api, &sales, "db.write").await.expect(201);
    for event in [
        "policy.created",
        "policy.deactivated",
        "policy.activated",
        "policy.updated",
        "policy.deleted",
    ] {
        assert_eq!(count(&node.api, event).await, 1, "{event}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_wrong_condition_is_a_422_with_its_place() {
    let node = TestNode::start().await;
    for (condition, said) in [
        ("agent.nmae == 'x'", "line 1, column 6"),
        ("agent.owner ==", "line 1, column 15"),
        ("request.ttl", "bool"),
    ] {
        let rules = json!([{"effect": "deny"}, {"effect": "deny", "condition": condition}]);
        let body = json!({"name": "p", "rules": rules});
        let problem = node.api.post("/v1/policies", &body).await;
        let problem = problem.expect_problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["field"], "rules[1].condition", "{problem}");
        assert!(text(&problem["errors"][0], "message").contains(said), "{problem}");
    }
    let deep = format!("{}true{}", "(".repeat(400), ")".repeat(400));
    let body = json!({"name": "p", "rules": [{"effect": "deny", "condition": deep}]});
    node.api.post("/v1/policies", &body).await.expect_problem(422, "validation_failed");
    let agent = node.api.agent("x").await;
    policy(&node.api, json!({"effect": "deny", "condition": "request.ttl > 300"})).await;
    ask(&node.api, &agent, "a").await.expect(201);
    let long = json!({"agent_id": agent, "scope": ["a"], "ttl": 301});
    node.api.post("/v1/tokens", &long).await.expect_problem(403, "policy_denied");
    node.stop().await;
}

#[tokio::test]
async fn a_simulation_explains_and_changes_nothing() {
    let node = TestNode::start().await;
    let agent = node.api.agent("x").await;
    let throttle = json!({"effect": "throttle", "limit": 1, "window_seconds": 3600});
    let throttle = policy(&node.api, throttle).await;
    let rules = json!([{"effect": "deny", "scopes": ["b"]}]);
    let denies = json!({"name": "low", "priority": 1, "rules": rules});
    let deny = text(&node.api.post("/v1/policies", &denies).await.expect(201), "id");
    let simulate = async |scope: &str| {
        let body = json!({"agent_id": agent, "scope": [scope], "signed": false});
        node.api.post("/v1/policies/simulate", &body).await.expect(200)
    };
    for _ in 0..3 {
        let said = simulate("b").await;
        assert_eq!((&said["decision"], &said["policy_id"]), (&json!("deny"), &json!(deny)));
        assert_eq!(said["matched"].as_array().map(Vec::len), Some(2), "{said}");
        let said = simulate("a").await;
        assert_eq!((&said["decision"], &said["policy_id"]), (&json!("allow"), &Value::Null));
    }
    ask(&node.api, &agent, "a").await.expect(201);
    let said = simulate("a").await;
    assert_eq!((&said["decision"], &said["policy_id"]), (&json!("throttle"), &json!(throttle)));
    assert_eq!(count(&node.api, "token.denied").await, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_is_exact_however_many_ask_at_once() {
    let node = TestNode::start().await;
    let agent = node.api.agent("busy").await;
    let rule = json!({"effect": "throttle", "limit": 100, "window_seconds": 3600});
    let id = policy(&node.api, rule).await;
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let api = Caller { client: crate::harness::client(), ..node.api.clone() };
            let agent = agent.clone();
            tokio::spawn(async move {
                let asked = (0..20).map(|_| ask(&api, &agent, "db.read"));
                futures_util::future::join_all(asked).await
            })
        })
        .collect();
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for client in clients {
        for answer in client.await.expect("a client") {
            *statuses.entry(answer.status.as_u16()).or_default() += 1;
            if answer.status == 429 {
                let problem = answer.expect_problem(429, "policy_throttled");
                assert_eq!(problem["policy_id"], id);
                let wait = answer.header("retry-after").and_then(|s| s.parse().ok());
                assert!(wait.is_some_and(|s: u64| (3_000..=3_600).contains(&s)), "{wait:?}");
            }
        }
    }
    assert_eq!(statuses, BTreeMap::from([(201, 100), (429, 900)]));
    assert_eq!(count(&node.api, "token.issued").await, 100);
    assert_eq!(count(&node.api, "token.denied").await, 900);
    node.stop().await;
}

/// How often the policies change while tokens are asked for.
const CHANGES: usize = 40;

/// Every event of the chain, oldest first.
async fn whole_chain(api: &Caller) -> Vec<Value> {
    let all = api.get("/v1/audit/export?format=json").await.expect(200);
    all.as_array().cloned().expect("an array")
}

#[tokio::test(flavor = "multi_thread")]
async fn once_a_policy_change_has_answered_no_token_is_issued_under_the_older_set() {
    let node = TestNode::start().await;
    let agent = node.api.agent("racer").await;
    let done = CancellationToken::new();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (api, agent, done) = (node.api.clone(), agent.clone(), done.clone());
            tokio::spawn(async move {
                while !done.is_cancelled() {
                    let status = ask(&api, &agent, "db.write").await.status.as_u16();
                    assert!([201, 403].contains(&status), "{status}");
                }
            })
        })
        .collect();
    let rule = json!({"effect": "deny", "scopes": ["db.write"]});
    for _ in 0..CHANGES {
        let id = policy(&node.api, rule.clone()).await;
        ask(&node.api, &agent, "db.write").await.expect_problem(403, "policy_denied");
        node.api.delete(&format!("/v1/policies/{id}")).await.expect(200);
        ask(&node.api, &agent, "db.write").await.expect(201);
    }
    done.cancel();
    for client in clients {
        client.await.expect("no client saw anything else");
    }
    // The chain has everything in the order in which it happened.
    let (mut is_denied, mut issued, mut denied) = (false, 0, 0);
    for event in whole_chain(&node.api).await {
        match event["event"].as_str().expect("a name") {
            "policy.created" => is_denied = true,
            "policy.deleted" => is_denied = false,
            "token.issued" => {
                assert!(!is_denied, "issued under the older set: {event}");
                issued += 1;
            }
            "token.denied" => {
                assert!(is_denied, "denied under the older set: {event}");
                denied += 1;
            }
            _ => {}
        }
    }
    assert!(issued > 2 * CHANGES && denied > 2 * CHANGES, "too few: {issued}, {denied}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_given_by_another_and_collected_once() {
    let node = TestNode::start().await;
    let agent = node.api.agent("careful").await;
    let rule = json!({"effect": "require_approval", "scopes": ["db.write"]});
    let id = policy(&node.api, rule).await;
    ask(&node.api, &agent, "db.read").await.expect(201);
    let pending = ask(&node.api, &agent, "db.write").await.expect(202);
    assert_eq!(pending["status"], "pending_approval");
    let approval = text(&pending, "approval_id");
    let again = ask(&node.api, &agent, "db.write").await.expect(202);
    assert_eq!(again["approval_id"], approval, "an equal request gets the same approval");

    let path = format!("/v1/approvals/{approval}");
    let shown = node.api.get(&path).await.expect(200);
    assert_eq!(shown["request"]["agent_id"], agent);
    assert_eq!(shown["request"]["scope"], json!(["db.write"]));
    assert_eq!(shown["status"], "pending");
    node.api.post(&format!("{path}/approve"), &json!({})).await.expect_problem(403, "forbidden");
    let collect = json!({"agent_id": agent, "scope": ["db.write"], "approval_id": approval});
    let early = node.api.post("/v1/tokens", &collect).await.expect(202);
    assert_eq!(early["approval_id"], approval);

    let approver = node.key("live", &["approvals:read", "approvals:write"]).await;
    let approved = approver.post(&format!("{path}/approve"), &json!({})).await.expect(200);
    assert_eq!(approved["status"], "approved");
    let mut other = collect.clone();
    other["ttl"] = json!(9);
    node.api.post("/v1/tokens", &other).await.expect_problem(422, "validation_failed");
    let racing = (0..10).map(|_| node.api.post("/v1/tokens", &collect));
    let answers = futures_util::future::join_all(racing).await;
    let issued: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(issued.len(), 1);
    for late in answers.iter().filter(|answer| answer.status != 201) {
        late.expect_problem(409, "approval_consumed");
    }
    let token = issued[0].json();
    assert_eq!(node.api.verdict(&text(&token, "token")).await, "valid");
    let shown = approver.get(&path).await.expect(200);
    assert_eq!((&shown["status"], &shown["token_id"]), (&json!("consumed"), &token["token_id"]));
    let list = approver.get("/v1/approvals?status=consumed").await.expect(200);
    assert_eq!(list["total"], 1);
    let told = events(&node.api, "approval.requested").await;
    assert_eq!((told.len(), &told[0]["policy_id"]), (1, &json!(id)));
    assert_eq!(count(&node.api, "approval.approved").await, 1);
    assert_eq!(count(&node.api, "approval.consumed").await, 1);
    node.stop().await;
}

#[tokio::test]
async fn an_approval_dies_with_the_rule_that_asked_and_with_its_time() {
    let node = TestNode::start().await;
    let agent = node.api.agent("careful").await;
    let approver = node.key("live", &["approvals:read", "approvals:write"]).await;
    let rule = json!({"effect": "require_approval", "approval_ttl": 600});
    let id = policy(&node.api, rule).await;
    let approval = text(&ask(&node.api, &agent, "a").await.expect(202), "approval_id");
    let path = format!("/v1/approvals/{approval}");
    approver.post(&format!("{path}/approve"), &json!({})).await.expect(200);
    let collect = json!({"agent_id": agent, "scope": ["a"], "approval_id": approval});
    let policy_path = format!("/v1/policies/{id}");
    let changed = json!({"rules": [{"effect": "require_approval", "approval_ttl": 1}]});
    node.api.patch(&policy_path, &changed).await.expect(200);
    node.api.post("/v1/tokens", &collect).await.expect_problem(409, "approval_stale");
    let denies = json!({"rules": [{"effect": "deny"}]});
    node.api.patch(&policy_path, &denies).await.expect(200);
    node.api.post("/v1/tokens", &collect).await.expect_problem(403, "policy_denied");
    node.api.patch(&policy_path, &changed).await.expect(200);
    let short = text(&ask(&node.api, &agent, "a").await.expect(202), "approval_id");
    let short = format!("/v1/approvals/{short}");
    until("the approval to run out", || async {
        (approver.get(&short).await.expect(200)["status"] == "expired").then_some(())
    })
    .await;
    let late = approver.post(&format!("{short}/approve"), &json!({})).await;
    late.expect_problem(409, "approval_expired");
    let long = json!({"rules": [{"effect": "require_approval"}]});
    node.api.patch(&policy_path, &long).await.expect(200);
    let denied = text(&ask(&node.api, &agent, "b").await.expect(202), "approval_id");
    approver.post(&format!("/v1/approvals/{denied}/deny"), &json!({})).await.expect(200);
    let collect = json!({"agent_id": agent, "scope": ["b"], "approval_id": denied});
    node.api.post("/v1/tokens", &collect).await.expect_problem(409, "approval_denied");
    let test_key = node.key("test", &["approvals:read"]).await;
    test_key.get(&path).await.expect_problem(404, "not_found");
    node.stop().await;
}

#[tokio::test]
async fn policies_and_what_they_counted_survive_a_restart_and_a_killed_actor() {
    let node = TestNode::start().await;
    let agent = node.api.agent("x").await;
    let rule = json!({"effect": "throttle", "limit": 2, "window_seconds": 3600,
                      "condition": "agent.owner == 'engineering'"});
    policy(&node.api, rule).await;
    ask(&node.api, &agent, "a").await.expect(201);
    let node = node.restart().await;
    node.server().supervisor().kill_policies();
    until("the policies actor", || async {
        let answer = ask(&node.api, &agent, "a").await;
        assert!(matches!(answer.status.as_u16(), 201 | 503), "{}", answer.text);
        (answer.status == 201).then_some(())
    })
    .await;
    ask(&node.api, &agent, "a").await.expect_problem(429, "policy_throttled");
    node.stop().await;
}

#[tokio::test]
async fn the_default_of_the_organisation_decides_where_no_rule_matches() {
    let node = TestNode::start().await;
    let (organization, api) = node.tenant("Strict", "live").await;
    let agent = api.agent("x").await;
    ask(&api, &agent, "a").await.expect(201);
    let path = format!("/v1/organizations/{organization}");
    node.operator.patch(&path, &json!({"default_effect": "deny"})).await.expect(200);
    let problem = ask(&api, &agent, "a").await.expect_problem(403, "policy_denied");
    assert_eq!(problem["policy_id"], Value::Null);
    policy(&api, json!({"effect": "allow", "scopes": ["a"], "max_ttl": 300})).await;
    ask(&api, &agent, "a").await.expect(201);
    ask(&api, &agent, "*").await.expect_problem(403, "policy_denied");
    let long = json!({"agent_id": agent, "scope": ["a"], "ttl": 301});
    api.post("/v1/tokens", &long).await.expect_problem(403, "policy_denied");
    node.stop().await;
}
