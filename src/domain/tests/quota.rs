//! Quotas in bytes: what they stop, what they never stop, and what counts.

use super::{super::*, world::*};
use crate::limits;

const DAY_MS: u64 = 86_400_000;

fn on_tiny() -> World {
    let mut world = World::new();
    let plan = ChangePlan { org: org(1), plan: "tiny".into() };
    world.ask(OPERATOR, Action::ChangePlan(plan)).expect("accepted");
    world
}

fn limits_of(world: &World) -> PlanLimits {
    world.state.plan_of(org(1)).expect("a plan").limits.clone()
}

fn large_policy(n: u128) -> Action {
    let rule = Rule {
        effect: Effect::Deny(()),
        scopes: None,
        agents: None,
        owners: None,
        target_services: None,
        model_providers: None,
        model_names: None,
        frameworks: None,
        signed: None,
        condition: Some("x".repeat(limits::CONDITION_MAX_BYTES)),
    };
    let rules = CheckedRules { rules: vec![rule; 60], steps: 1 };
    Action::CreatePolicy(CreatePolicy {
        id: PolicyId::from_ulid(n),
        name: "p".into(),
        description: None,
        priority: 100,
        rules,
        is_active: true,
    })
}

fn new_webhook() -> Action {
    Action::CreateWebhook(CreateWebhook {
        id: WebhookId::from_ulid(1),
        url: "https://example.com/".into(),
        events: [EVERY_EVENT.to_owned()].into(),
        description: None,
        sealed_secret: vec![1],
    })
}

fn token(n: u128) -> Action {
    let new = new_token(n, 1, S0, 300);
    Action::IssueToken(new)
}

/// The same request, judged by the policies as they are.
fn judged_now(world: &World, action: Action) -> Action {
    let Action::IssueToken(mut new) = action else { return action };
    let known = &world.state.agents[&new.agent];
    new.judged.policy_epoch = world.state.policy_epoch(known.tenant);
    new.judged.agent = known.policy_digest();
    Action::IssueToken(hashed(new))
}

fn rotate(n: u8) -> Action {
    Action::RotateApiKey(RotateApiKey {
        id: key(4),
        secret_hash: hash(n),
        last_four: "abcd".into(),
        grace_s: 0,
    })
}

fn pause() -> Action {
    Action::UpdateAgent(UpdateAgent { paused: Some(true), ..update_agent(1) })
}

fn rename() -> Action {
    Action::UpdateAgent(UpdateAgent { name: Some("a much longer name".into()), ..update_agent(1) })
}

fn switch(n: u128, is_active: bool) -> Action {
    Action::UpdatePolicy(UpdatePolicy {
        id: PolicyId::from_ulid(n),
        name: None,
        description: None,
        priority: None,
        rules: None,
        is_active: Some(is_active),
    })
}

fn disable_key() -> Action {
    Action::UpdateApiKey(UpdateApiKey { id: key(4), name: None, enabled: Some(false) })
}

fn disable_webhook() -> Action {
    Action::UpdateWebhook(UpdateWebhook {
        id: WebhookId::from_ulid(1),
        url: None,
        events: None,
        description: None,
        enabled: Some(false),
    })
}

/// Everything that takes a right away, in an order in which each is possible.
fn security_actions() -> Vec<Action> {
    vec![
        switch(1, false),
        disable_key(),
        disable_webhook(),
        Action::RevokeToken(TokenRef::Id(tok(1))),
        pause(),
        Action::RevokeAgentTokens(agent(1)),
        Action::RevokeAgent(agent(1)),
        Action::DeletePolicy(PolicyId::from_ulid(1)),
        Action::DeleteWebhook(WebhookId::from_ulid(1)),
        Action::DeleteApiKey(key(4)),
    ]
}

#[test]
fn a_full_state_stops_what_adds_and_nothing_else() {
    let mut world = on_tiny();
    world.events(ALICE, new_webhook());
    let limit = limits_of(&world).state_bytes();
    let mut full = 0;
    for n in 1..1_000 {
        // Each on a day of its own, as far as the other quota can tell.
        world.state.event_days.clear();
        match world.ask(ALICE, large_policy(n)) {
            Ok(_) => full = n,
            Err(refusal) => {
                assert_eq!(quota_of(&refusal), Some(Quota::StateBytes), "{refusal:?}");
                break;
            }
        }
    }
    let used = world.state.usage(org(1), T0).state_bytes;
    assert!(used >= limit && used < limit + limits::ITEM_MAX_BYTES as u64, "{used} of {limit}");
    assert!(full > 200, "{full} policies");
    let adding = [
        large_policy(1_000),
        judged_now(&world, token(20)),
        rename(),
        Action::CreateApiKey(new_key(9, 1, Environment::Live)),
    ];
    for action in adding.clone() {
        let refusal = world.ask(ALICE, action.clone()).expect_err("it adds");
        assert_eq!(quota_of(&refusal), Some(Quota::StateBytes), "{action:?}");
    }
    world.ask(BOB, large_policy(2_000)).expect("another organisation");
    let operators = Action::CreateApiKey(new_key(8, 1, Environment::Live));
    world.ask(OPERATOR, operators).expect("an operator");
    world.events(ALICE, rotate(77));
    for action in security_actions() {
        let came = world.ask(ALICE, action.clone());
        assert!(came.is_ok_and(|(_, events)| !events.is_empty() || is_repeat(&action)));
    }
    for n in 2..6 {
        world.events(ALICE, Action::DeletePolicy(PolicyId::from_ulid(n)));
    }
    world.ask(ALICE, large_policy(3_000)).expect("deleting frees");
    // An older build knows no quota.
    world.state.level = Level::FIRST;
    for n in 4_000..4_010 {
        world.ask(ALICE, large_policy(n)).expect("no quota");
    }
}

/// Whether another action before it took the right away too.
fn is_repeat(action: &Action) -> bool {
    matches!(action, Action::RevokeAgentTokens(_))
}

fn quota_of(refusal: &Refusal) -> Option<Quota> {
    match refusal {
        Refusal::PlanLimitReached(reached) => Some(reached.quota),
        _ => None,
    }
}

#[test]
fn what_is_deleted_counts_no_more() {
    let mut world = World::new();
    let before = world.state.state_bytes(org(1));
    world.events(ALICE, large_policy(1));
    world.events(ALICE, new_webhook());
    let with_both = world.state.state_bytes(org(1));
    let least = 60 * limits::CONDITION_MAX_BYTES as u64 + limits::OUTBOX_BYTES;
    assert!(with_both > before + least, "{before} {with_both}");
    let issue = judged_now(&world, token(20));
    world.events(ALICE, issue);
    assert!(world.state.state_bytes(org(1)) > with_both + limits::TOKEN_RECORD_BYTES);
    world.events(ALICE, Action::DeletePolicy(PolicyId::from_ulid(1)));
    world.events(ALICE, Action::DeleteWebhook(WebhookId::from_ulid(1)));
    // The world's own token goes too.
    let mut world = world.at(T0 + 400_000);
    world.events(NODE, Action::Tick(()));
    world.events(NODE, Action::Tick(()));
    let left = world.state.state_bytes(org(1));
    assert!(left < before && left > before - 1_024, "{before} {left}");
}

/// The world with organisation 1's events of today at this many bytes.
fn spent(bytes: u64) -> World {
    let mut world = on_tiny();
    world.events(ALICE, new_webhook());
    world.events(ALICE, large_policy(1));
    world.state.event_days.insert(org(1), EventDay { day: T0 / DAY_MS, bytes });
    world
}

#[test]
fn a_spent_day_stops_what_is_told_and_nothing_that_takes_a_right_away() {
    let limit = limits_of(&on_tiny()).event_bytes_per_day();
    let world = spent(limit);
    let retry_after_s = (DAY_MS - T0 % DAY_MS) / 1000;
    let refusal = |usage| {
        Refusal::EventsSpent(EventsSpent { limit, usage, plan: "tiny".into(), retry_after_s })
    };
    let told = [
        judged_now(&world, token(20)),
        rename(),
        large_policy(2),
        Action::UpdateApiKey(UpdateApiKey { id: key(4), name: Some("n".into()), enabled: None }),
    ];
    for action in told.clone() {
        world.refuses(vec![("told", ALICE, action, refusal(limit))]);
    }
    let again = Action::CreateAgent(new_agent(1));
    let came = world.state.decide(T0, &command(ALICE, again)).expect("nothing is told");
    assert_eq!(came.events, []);
    // In an emergency a secret is rotated, up to twice the quota.
    let plan = Action::ChangePlan(ChangePlan { org: org(1), plan: "big".into() });
    for late in [rotate(77), plan.clone()] {
        world.clone().events(ALICE, late.clone());
        let world = spent(2 * limit);
        world.refuses(vec![("late", ALICE, late, refusal(2 * limit))]);
    }
    world.clone().ask(OPERATOR, plan).expect("an operator");
    let mut far_beyond = spent(100 * limit);
    for action in security_actions() {
        let came = far_beyond.ask(ALICE, action.clone());
        assert!(came.is_ok_and(|(_, events)| !events.is_empty() || is_repeat(&action)));
    }
    // The next day is another one, and an older build knows no quota.
    let mut tomorrow = spent(limit).at(T0 + DAY_MS);
    assert_eq!(tomorrow.events(ALICE, rename()), ["agent.updated"]);
    let counted = tomorrow.state.usage(org(1), T0 + DAY_MS).event_bytes_today;
    assert!(counted > 0 && counted < 10_000, "{counted}");
    let mut older = spent(limit);
    older.state.level = Level::FIRST;
    assert_eq!(older.events(ALICE, rename()), ["agent.updated"]);
    assert_eq!(older.state.event_bytes_on(org(1), T0), limit, "it does not count either");
}

#[test]
fn every_shipped_plan_has_quotas() {
    let plan = |agents, tokens_per_month, webhooks| PlanLimits {
        agents,
        tokens_per_month,
        webhooks,
        requests_per_second: 1,
    };
    for (limits, state, events) in [
        (plan(Some(25), Some(10_000), Some(2)), 22_495_232, 37_257_216),
        (plan(Some(500), Some(1_000_000), Some(20)), 536_805_376, 2_064_777_216),
        (plan(Some(100_000), Some(100_000_000), Some(500)), 4 << 30, 64 << 30),
        (plan(None, None, None), 4 << 30, 64 << 30),
    ] {
        assert_eq!((limits.state_bytes(), limits.event_bytes_per_day()), (state, events));
    }
}

#[test]
fn windows_and_nonces_are_bounded_for_each_tenant() {
    let mut world = World::new();
    let rule = Rule {
        effect: Effect::Throttle(Throttle { limit: 9, window_s: 60, per: Per::Agent }),
        scopes: None,
        agents: None,
        owners: None,
        target_services: None,
        model_providers: None,
        model_names: None,
        frameworks: None,
        signed: None,
        condition: None,
    };
    let rules = CheckedRules { rules: vec![rule], steps: 1 };
    let Action::CreatePolicy(policy) = large_policy(1) else { panic!("a policy") };
    world.events(ALICE, Action::CreatePolicy(CreatePolicy { rules, ..policy }));
    let throttled = |world: &World, n: u128| {
        let Action::IssueToken(mut new) = judged_now(world, token(n)) else { panic!("a token") };
        new.judged.verdict.throttles = vec![RuleRef { policy: PolicyId::from_ulid(1), rule: 0 }];
        Action::IssueToken(hashed(new))
    };
    let issue = throttled(&world, 20);
    let most = limits::THROTTLE_WINDOWS_PER_TENANT_MAX;
    world.state.windows_of_tenant.insert(ALICE_TENANT, most);
    let refusal = Refusal::too_many("windows of throttles in this environment", most);
    world.refuses(vec![("full", ALICE, issue.clone(), refusal)]);
    world.state.windows_of_tenant.insert(ALICE_TENANT, most - 1);
    world.events(ALICE, issue);
    assert_eq!(world.state.windows_of_tenant.get(&ALICE_TENANT), Some(&most));
    let one_more_in_it = throttled(&world, 21);
    world.events(ALICE, one_more_in_it);
    // A policy that goes takes its windows with it, by and by.
    world.state.windows_of_tenant.insert(ALICE_TENANT, 1);
    world.events(ALICE, Action::DeletePolicy(PolicyId::from_ulid(1)));
    assert_eq!(world.state.windows_of_tenant.get(&ALICE_TENANT), None);
    assert_eq!(world.state.throttle_windows.len(), 1);
    assert!(world.state.is_tick_due(T0));
    assert_eq!(world.events(NODE, Action::Tick(())), ["-"]);
    assert!(world.state.throttle_windows.is_empty() && world.state.orphaned_windows.is_empty());
    assert!(!world.state.is_tick_due(T0));

    let most = limits::NONCES_PER_TENANT_MAX;
    world.state.nonces_of_tenant.insert(ALICE_TENANT, most);
    let signed = |world: &World| {
        let Action::IssueToken(new) = judged_now(world, token(30)) else { panic!("a token") };
        Action::IssueToken(IssueToken { signed: Some(signed(1, S0)), ..new })
    };
    let issue = signed(&world);
    let what = "signed requests of this environment in the last minutes";
    world.refuses(vec![("full", ALICE, issue.clone(), Refusal::too_many(what, most))]);
    world.state.nonces_of_tenant.remove(&ALICE_TENANT);
    world.events(ALICE, issue);
    assert_eq!(world.state.nonces_of_tenant.get(&ALICE_TENANT), Some(&1));
}
