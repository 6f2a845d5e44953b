//! What a command puts out has a largest size, from the level that says so on.

use super::{super::*, world::*};
use crate::{codec, limits};

fn pol(n: u128) -> PolicyId {
    PolicyId::from_ulid(n)
}

fn rule(effect: Effect) -> Rule {
    Rule {
        effect,
        scopes: None,
        agents: None,
        owners: None,
        target_services: None,
        model_providers: None,
        model_names: None,
        frameworks: None,
        signed: None,
        condition: None,
    }
}

/// A policy of about so many bytes, each of which an event writes as six.
fn policy_of(bytes: usize) -> CreatePolicy {
    let full = Rule {
        condition: Some("\u{1}".repeat(limits::CONDITION_MAX_BYTES)),
        ..rule(Effect::Deny(()))
    };
    let number = bytes / codec::encoded_len(&full);
    let rules = CheckedRules { rules: vec![full; number], steps: 1 };
    CreatePolicy {
        id: pol(1),
        name: "p".into(),
        description: None,
        priority: 100,
        rules,
        is_active: true,
    }
}

fn patch(description: &str) -> UpdatePolicy {
    UpdatePolicy {
        id: pol(1),
        name: None,
        description: Some(Some(description.into())),
        priority: None,
        rules: None,
        is_active: None,
    }
}

fn refused_field(world: &World, action: Action) -> String {
    invalid_field(world.state.decide(T0, &command(ALICE, action)))
}

/// How long the longest event is as text, of those that the action makes.
fn longest_event(world: &World, action: Action) -> usize {
    let decision = world.state.decide(T0, &command(ALICE, action)).expect("accepted");
    let text = |event: &Event| serde_json::to_string(&event.fact.data()).expect("text").len();
    decision.events.iter().map(text).max().unwrap_or(0)
}

#[test]
fn a_policy_is_bounded_whichever_way_it_grows() {
    let mut world = World::new();
    let large = Action::CreatePolicy(policy_of(limits::POLICY_MAX_BYTES + 4_096));
    assert_eq!(refused_field(&world, large.clone()), "rules");
    let nearly = policy_of(limits::POLICY_MAX_BYTES - 600);
    let text = longest_event(&world, Action::CreatePolicy(nearly.clone()));
    assert!(text > 5 * limits::POLICY_MAX_BYTES && text < limits::EVENT_MAX_BYTES, "{text}");
    world.events(ALICE, Action::CreatePolicy(nearly));
    let grown = Action::UpdatePolicy(patch(&"é".repeat(limits::DESCRIPTION_MAX_CHARS)));
    assert_eq!(refused_field(&world, grown), "rules");
    let rules = Some(policy_of(limits::POLICY_MAX_BYTES + 4_096).rules);
    let other = UpdatePolicy { description: None, rules, ..patch("") };
    assert_eq!(refused_field(&world, Action::UpdatePolicy(other)), "rules");
    assert_eq!(world.events(ALICE, Action::UpdatePolicy(patch("d"))), ["policy.updated"]);
}

/// Replicas of an older build decide with this one at the first level.
#[test]
fn at_the_first_level_a_policy_is_as_large_as_it_was_and_later_it_can_go() {
    let mut world = World::new();
    world.state.level = Level::FIRST;
    let large = policy_of(limits::RULES_MAX * 1_000);
    assert!(codec::encoded_len(&large) > limits::POLICY_MAX_BYTES);
    let events = world.events(ALICE, Action::CreatePolicy(large));
    assert_eq!(events, ["policy.created"]);
    let text = longest_event(&world, Action::DeletePolicy(pol(1)));
    assert!(text > limits::EVENT_MAX_BYTES, "{text}");
    assert_eq!(world.events(ALICE, Action::UpdatePolicy(patch("d"))), ["policy.updated"]);
    world.state.level = Level::BOUNDED;
    assert_eq!(refused_field(&world, Action::UpdatePolicy(patch("e"))), "rules");
    let off = UpdatePolicy { description: None, is_active: Some(false), ..patch("") };
    let off = Action::UpdatePolicy(off);
    assert!(longest_event(&world, off.clone()) < 1_000);
    assert_eq!(world.events(ALICE, off), ["policy.deactivated"]);
    let text = longest_event(&world, Action::DeletePolicy(pol(1)));
    assert!(text < limits::EVENT_MAX_BYTES, "{text}");
    assert_eq!(world.events(ALICE, Action::DeletePolicy(pol(1))), ["policy.deleted"]);
}

#[test]
fn a_rule_costs_a_step_though_it_holds_nothing() {
    let mut world = World::new();
    let create = |n: u128| {
        let rules = vec![rule(Effect::Deny(())); limits::RULES_MAX];
        let rules = CheckedRules { rules, steps: 0 };
        Action::CreatePolicy(CreatePolicy { id: pol(n), rules, ..policy_of(0) })
    };
    for n in 1..=3 {
        world.events(ALICE, create(n));
    }
    let all = |world: &World| world.state.policy_steps.get(&ALICE_TENANT).copied();
    let of_one = limits::RULES_MAX as u64 * limits::RULE_STEPS;
    assert_eq!(all(&world), Some(3 * of_one));
    let off = UpdatePolicy { description: None, is_active: Some(false), ..patch("") };
    world.events(ALICE, Action::UpdatePolicy(off));
    assert_eq!(all(&world), Some(2 * of_one));
    world.events(ALICE, Action::DeletePolicy(pol(2)));
    assert_eq!(all(&world), Some(of_one));
    world.events(ALICE, Action::DeletePolicy(pol(3)));
    assert_eq!(all(&world), None);
    // What one costs beyond its rules counts as stated.
    let rules = vec![rule(Effect::Deny(()))];
    let rules = CheckedRules { rules, steps: limits::POLICY_STEPS_PER_TENANT_MAX };
    let dear = CreatePolicy { id: pol(4), rules, ..policy_of(0) };
    world.events(ALICE, Action::CreatePolicy(dear));
    let refusal = Refusal::PoliciesTooExpensive(limits::POLICY_STEPS_PER_TENANT_MAX);
    world.refuses(vec![("one step more", ALICE, create(5), refusal)]);
}

#[test]
fn a_verdict_holds_a_bounded_number_of_throttles() {
    let mut world = World::new();
    let throttle =
        |limit| rule(Effect::Throttle(Throttle { limit, window_s: 60, per: Per::Agent }));
    let number = limits::THROTTLES_PER_VERDICT_MAX as u64 + 1;
    let rules = CheckedRules { rules: (1..=number).map(throttle).collect(), steps: 1 };
    world.events(ALICE, Action::CreatePolicy(CreatePolicy { rules, ..policy_of(0) }));
    let issue = |world: &World, number: u64| {
        let place = |rule: u64| RuleRef { policy: pol(1), rule: rule as u16 };
        let known = &world.state.agents[&agent(1)];
        let verdict =
            Verdict { throttles: (0..number).map(place).collect(), end: End::Allow(None) };
        let judged = Judged {
            verdict,
            policy_epoch: world.state.policy_epoch(known.tenant),
            agent: known.policy_digest(),
            at: T0,
        };
        Action::IssueToken(hashed(IssueToken { judged, ..new_token(9, 1, S0, 300) }))
    };
    assert_eq!(refused_field(&world, issue(&world, number)), "judged");
    world.state.level = Level::FIRST;
    let many = issue(&world, number);
    assert!(world.state.decide(T0, &command(ALICE, many)).is_ok(), "an older build accepts it");
    world.state.level = Level::BOUNDED;
    let most = issue(&world, number - 1);
    assert_eq!(world.events(ALICE, most).last(), Some(&"token.issued"));
    // Nothing is hashed for a request: the digests are those of the rules as they were written.
    let windows: Vec<Hash> = world.state.throttle_windows.keys().map(|key| key.rule).collect();
    assert!(windows.contains(&throttle(1).digest()));
    assert_eq!(windows.len(), limits::THROTTLES_PER_VERDICT_MAX);
}

#[test]
fn an_answer_that_is_remembered_is_bounded() {
    let mut world = World::new();
    let sealed = vec![7; limits::IDEMPOTENCY_ANSWER_BOUNDED_MAX_BYTES as usize];
    let claim = IdempotencyClaim { record: hash(1), request: hash(2), sealed };
    let action = Action::CreateAgent(new_agent(9));
    let command = Command { idempotency: Some(claim), ..command(ALICE, action) };
    assert_eq!(invalid_field(world.state.decide(T0, &command)), "Idempotency-Key");
    world.state.level = Level::FIRST;
    assert!(world.run(&command).is_ok(), "an older build accepts it");
}
