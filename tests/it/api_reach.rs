//! How far a key reaches: every route of the API's description, taken by keys of the other
//! environment, of another organisation, and by one that was deleted. Live and test are two worlds.

use authrai::api::{Route, route_table};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    dns::DnsServer,
    harness::{Caller, TestNode, text},
};

/// To whom the things of a noun belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belongs {
    /// To one environment of an organisation.
    ToEnvironment,
    /// To one environment, whose keys and the organisation's live keys see them.
    BelowLive,
    /// To the organisation, so that either environment's key sees them.
    ToOrganization,
}

fn noun(route: &Route) -> &str {
    route.path.split('/').nth(2).unwrap_or_default()
}

/// A new noun has to be put where it belongs.
fn belongs(route: &Route) -> Belongs {
    match noun(route) {
        "agents" | "tokens" | "policies" | "approvals" | "audit" | "webhooks" => {
            Belongs::ToEnvironment
        }
        "api-keys" => Belongs::BelowLive,
        "domains" | "billing" => Belongs::ToOrganization,
        other => panic!("say to whom {other} belong"),
    }
}

/// One thing of every noun, made by one key.
struct Things {
    owner: Caller,
    token: String,
    /// Each thing's noun and id.
    ids: Vec<(&'static str, String)>,
}

impl Things {
    async fn make(node: &TestNode, owner: &Caller, environment: &str) -> Self {
        let agent = owner.agent("hidden").await;
        let (token, token_id) = owner.token(&agent, &["a"]).await;
        let made = async |path: &str, body: Value| {
            let answer = owner.post(path, &body).await;
            text(&answer.expect(201), "id")
        };
        let rules = json!([{"effect": "require_approval", "scopes": ["guarded"]}]);
        let policy = made("/v1/policies", json!({"name": "hidden", "rules": rules})).await;
        let guarded = json!({"agent_id": agent, "scope": ["guarded"]});
        let asked = owner.post("/v1/tokens", &guarded).await.expect(202);
        let key = made("/v1/api-keys", json!({"name": "hidden", "environment": environment})).await;
        let name = format!("{}.example", agent.replace('_', "-"));
        // A test key makes none; the domain belongs to the organisation all the same.
        let changer = if is_test_key(owner) { &node.api } else { owner };
        let added = changer.post("/v1/domains", &json!({"domain": name})).await;
        let domain = text(&added.expect(201), "id");
        let mut ids = vec![
            ("agents", agent),
            ("tokens", token_id),
            ("policies", policy),
            ("approvals", text(&asked, "approval_id")),
            ("api-keys", key),
            ("domains", domain),
        ];
        if route_table().iter().any(|route| route.path == "/v1/webhooks") {
            let body = json!({"url": format!("{}/hook", node.api.url), "events": ["*"]});
            ids.push(("webhooks", made("/v1/webhooks", body).await));
        }
        Self { owner: owner.clone(), token, ids }
    }

    fn id(&self, noun: &str) -> &str {
        let found = self.ids.iter().find(|(known, _)| *known == noun);
        &found.unwrap_or_else(|| panic!("make one of {noun} too")).1
    }

    /// The path of a route, with the thing that it names.
    fn path(&self, route: &Route) -> String {
        let part = |part: &str| match part.strip_prefix('{') {
            Some("dlv}") => "dlv_01j1qz4zk8e6m2v7x9c3b5n0ah".to_owned(),
            Some(_) => self.id(noun(route)).to_owned(),
            None => part.to_owned(),
        };
        route.path.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    /// Everything as its owner sees it.
    async fn seen_by_owner(&self) -> Vec<Value> {
        let mut seen = Vec::new();
        for (noun, id) in &self.ids {
            seen.push(self.owner.get(&format!("/v1/{noun}/{id}")).await.expect(200));
        }
        seen
    }

    /// Ids in `text` that belong as `which` says.
    fn shown_in(&self, text: &str, which: &[Belongs]) -> Vec<&str> {
        let of_kind = |noun: &str| {
            let path = format!("/v1/{noun}");
            let route = Route { method: "GET".into(), path, access: Default::default() };
            which.contains(&belongs(&route))
        };
        let ids = self.ids.iter().filter(|(noun, id)| of_kind(noun) && text.contains(id.as_str()));
        ids.map(|(_, id)| id.as_str()).collect()
    }
}

/// The routes that an API key takes.
fn keyed_routes() -> impl Iterator<Item = Route> {
    route_table().into_iter().filter(|route| !route.access.permissions.is_empty())
}

/// A body that passes validation, where a route that names a thing takes one.
fn body_of(route: &Route) -> Option<Value> {
    match (route.method.as_str(), noun(route)) {
        ("PATCH", "webhooks") => Some(json!({"description": "mine now"})),
        ("PATCH", _) => Some(json!({"name": "mine now"})),
        _ => None,
    }
}

async fn take(caller: &Caller, route: &Route, path: &str) -> crate::harness::Answer {
    let method: Method = route.method.parse().expect("a method");
    caller.send(method, path, body_of(route).as_ref()).await
}

/// Whether the route changes what belongs to the organisation, which takes a live key.
fn is_for_live_keys(route: &Route) -> bool {
    let named = &route.access.permissions;
    named.iter().any(|permission| permission == "domains:write" || permission == "billing:write")
}

fn is_test_key(caller: &Caller) -> bool {
    caller.key.as_deref().is_some_and(|key| key.starts_with("rai_pk_test_"))
}

/// Nothing of `things` that belongs as `hidden` says is there for `outsider`, on any route.
async fn reaches_nothing(outsider: &Caller, things: &Things, hidden: &[Belongs]) {
    let before = things.seen_by_owner().await;
    let mut routes = 0;
    for route in keyed_routes() {
        let name = format!("{} {}", route.method, route.path);
        if route.path.contains('{') {
            if hidden.contains(&belongs(&route)) {
                let answer = take(outsider, &route, &things.path(&route)).await;
                let refused =
                    if is_for_live_keys(&route) && is_test_key(outsider) { 403 } else { 404 };
                assert_eq!(answer.status, refused, "{name}: {}", answer.text);
                routes += 1;
            } else if route.method == "GET" {
                take(outsider, &route, &things.path(&route)).await.expect(200);
            }
        } else if route.method == "GET" && !route.path.ends_with("/stream") {
            let answer = outsider.get(&route.path).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text);
            let shown = things.shown_in(&answer.text, hidden);
            assert!(shown.is_empty(), "{name} shows {shown:?}");
            routes += 1;
        }
    }
    assert!(routes > 15, "{routes} routes were tried");
    names_nothing(outsider, things).await;
    let streamed = first_of_stream(outsider).await;
    assert_eq!(things.shown_in(&streamed, hidden), [""; 0], "the stream shows it");
    assert_eq!(things.seen_by_owner().await, before, "nothing happened to any of it");
    assert_eq!(things.owner.verdict(&things.token).await, "valid");
}

/// Requests that name a thing in their body, or in their query.
async fn names_nothing(outsider: &Caller, things: &Things) {
    let (agent, token_id) = (things.id("agents"), things.id("tokens"));
    let request = json!({"agent_id": agent, "scope": ["a"]});
    let approved =
        json!({"agent_id": agent, "scope": ["a"], "approval_id": things.id("approvals")});
    for (path, body) in [
        ("/v1/tokens", &request),
        ("/v1/tokens", &approved),
        ("/v1/policies/simulate", &request),
        ("/v1/tokens/revoke", &json!({"token": things.token})),
        ("/v1/tokens/revoke", &json!({"token_id": token_id})),
    ] {
        outsider.post(path, body).await.expect_problem(404, "not_found");
    }
    for query in [
        format!("/v1/tokens?agent_id={agent}"),
        format!("/v1/audit?agent_id={agent}&token_id={token_id}"),
    ] {
        assert_eq!(outsider.get(&query).await.expect(200)["data"], json!([]), "{query}");
    }
}

/// What an audit stream says first, from the chain's beginning.
async fn first_of_stream(caller: &Caller) -> String {
    let request = caller
        .client
        .get(format!("{}/v1/audit/stream", caller.url))
        .bearer_auth(caller.key.as_deref().unwrap_or_default())
        .header("last-event-id", "0");
    let mut response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let chunk = response.chunk().await.expect("a chunk").expect("an event");
    String::from_utf8_lossy(&chunk).into_owned()
}

/// An organisation's key of every permission for `environment`, which has made something.
async fn everything(node: &TestNode, environment: &str) -> Caller {
    let body = json!({"name": "all", "environment": environment});
    let key = text(&node.api.post("/v1/api-keys", &body).await.expect(201), "key");
    let caller = node.api.with_key(Some(&key));
    caller.agent("own").await;
    caller
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_reaches_its_own_environment_and_its_own_organisation() {
    let dns = DnsServer::start().await;
    let node = TestNode::start_with(&[("dns.servers", &dns.setting())]).await;
    let (live, test) = (everything(&node, "live").await, everything(&node, "test").await);
    let from_test = [Belongs::ToEnvironment, Belongs::BelowLive].as_slice();
    for (owner, of, other_half, hidden) in
        [(&live, "live", &test, from_test), (&test, "test", &live, &[Belongs::ToEnvironment])]
    {
        let things = Things::make(&node, owner, of).await;
        reaches_nothing(other_half, &things, hidden).await;
        for environment in ["live", "test"] {
            let (_, stranger) = node.tenant("stranger", environment).await;
            stranger.agent("own").await;
            let all = [Belongs::ToEnvironment, Belongs::BelowLive, Belongs::ToOrganization];
            reaches_nothing(&stranger, &things, &all).await;
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_takes_no_route() {
    let node = TestNode::start().await;
    let things = Things::make(&node, &node.api, "live").await;
    let made = node.api.post("/v1/api-keys", &json!({"name": "x", "environment": "live"})).await;
    let made = made.expect(201);
    let dead = node.api.with_key(made["key"].as_str());
    dead.get("/v1/agents").await.expect(200);
    node.api.delete(&format!("/v1/api-keys/{}", text(&made, "id"))).await.expect(200);
    for route in keyed_routes() {
        let answer = take(&dead, &route, &things.path(&route)).await;
        answer.expect_problem(401, "invalid_api_key");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_test_token_says_so_and_never_verifies_where_live_is_demanded() {
    let node = TestNode::start().await;
    let test = everything(&node, "test").await;
    let agent = test.agent("a").await;
    let (token, _) = test.token(&agent, &["a"]).await;
    let bare = token.strip_prefix("rai_test_").expect("its prefix says so");
    let disguised = format!("rai_live_{bare}");
    let anybody = node.api.with_key(None);
    let demands = |token: &str, environment: &str| json!({"token": token, "required_scope": ["a"], "environment": environment});
    let (live, in_test) = (demands(&token, "live"), demands(&token, "test"));
    for (question, reason) in [
        (json!({"token": token}), None),
        (in_test.clone(), None),
        (live.clone(), Some("wrong_environment")),
        (demands(&disguised, "live"), Some("not_issued")),
        (json!({"token": disguised}), Some("not_issued")),
        (json!({"token": bare}), Some("malformed")),
    ] {
        let answer = anybody.post("/v1/tokens/verify", &question).await.expect(200);
        assert_eq!(answer["reason"].as_str(), reason, "{question}");
        assert_eq!(answer["valid"], reason.is_none());
    }
    let batch = json!({"tokens": [live, in_test, token]});
    let batch = anybody.post("/v1/tokens/verify/batch", &batch).await.expect(200);
    let reasons: Vec<_> = (0..3).map(|at| batch["results"][at]["reason"].clone()).collect();
    assert_eq!(reasons, [json!("wrong_environment"), Value::Null, Value::Null]);
    node.stop().await;
}

#[tokio::test]
async fn policies_of_one_environment_say_nothing_in_the_other() {
    let node = TestNode::start().await;
    let test = everything(&node, "test").await;
    for (owner, other) in [(&node.api, &test), (&test, &node.api)] {
        let deny = json!({"name": "p", "rules": [{"effect": "deny", "scopes": ["x"]}]});
        let path = text(&owner.post("/v1/policies", &deny).await.expect(201), "id");
        let ask = async |api: &Caller| {
            let body = json!({"agent_id": api.agent("a").await, "scope": ["x"]});
            api.post("/v1/tokens", &body).await.status.as_u16()
        };
        assert_eq!((ask(owner).await, ask(other).await), (403, 201));
        owner.delete(&format!("/v1/policies/{path}")).await.expect(200);
    }
    node.stop().await;
}
