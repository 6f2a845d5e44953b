//! A request that is sent twice is carried out once.

use std::sync::Arc;

use super::{super::*, world::*};
use crate::limits;

fn claim(record: u8, request: u8) -> IdempotencyClaim {
    IdempotencyClaim { record: hash(record), request: hash(request), sealed: vec![record] }
}

/// A command with this claim.
fn once(actor: Actor, action: Action, claim: IdempotencyClaim) -> Command {
    Command { idempotency: Some(claim), ..command(actor, action) }
}

/// What is replayed: the outcome, and the sealed part.
fn replayed(came: Came) -> (Outcome, Vec<u8>) {
    match came {
        Ok((Outcome::Replayed(answer), events)) => {
            assert!(events.is_empty(), "a replay changes nothing: {events:?}");
            (answer.outcome().expect("own bytes"), answer.sealed)
        }
        other => panic!("not a replay: {other:?}"),
    }
}

#[test]
fn the_first_to_be_applied_answers_all() {
    let mut world = World::new();
    let first = once(ALICE, Action::CreateAgent(new_agent(10)), claim(1, 2));
    let (outcome, events) = world.run(&first).expect("accepted");
    assert_eq!(events, ["agent.created", "-"]);
    // A racing request minted another id, another key, and sealed that.
    let sealed_otherwise = IdempotencyClaim { sealed: vec![9], ..claim(1, 2) };
    let second = once(ALICE, Action::CreateAgent(new_agent(11)), sealed_otherwise);
    assert_eq!(replayed(world.run(&second)), (outcome.clone(), vec![1]));
    assert!(!world.state.agents.contains_key(&agent(11)));
    // So does the same command, proposed again because its fate was not known.
    assert_eq!(replayed(world.run(&first)), (outcome.clone(), vec![1]));
    // What was made has changed since; the answer has not.
    world.ask(ALICE, Action::RevokeAgent(agent(10))).expect("accepted");
    assert_eq!(replayed(world.run(&second)), (outcome, vec![1]));
}

#[test]
fn another_request_under_the_same_key_is_refused() {
    let mut world = World::new();
    world.run(&once(ALICE, Action::CreateAgent(new_agent(10)), claim(1, 2))).expect("accepted");
    let reused = Err(Refusal::IdempotencyKeyReused(()));
    for (why, actor, claim) in [
        ("another body", ALICE, claim(1, 3)),
        ("another organisation, which cannot be", BOB, claim(1, 2)),
    ] {
        let other = once(actor, Action::CreateAgent(new_agent(11)), claim);
        assert_eq!(world.run(&other), reused, "{why}");
    }
    let other = once(ALICE, Action::CreateAgent(new_agent(11)), claim(2, 2));
    assert_eq!(world.run(&other).expect("another key").1, ["agent.created", "-"]);
}

#[test]
fn who_may_not_ask_is_not_replayed_to() {
    let mut world = World::new();
    world.run(&once(ALICE, Action::CreateAgent(new_agent(10)), claim(1, 2))).expect("accepted");
    let disable = UpdateApiKey { id: key(1), name: None, enabled: Some(false) };
    world.ask(OPERATOR, Action::UpdateApiKey(disable)).expect("accepted");
    let again = once(ALICE, Action::CreateAgent(new_agent(10)), claim(1, 2));
    assert_eq!(world.run(&again), Err(Refusal::CallerUnknown(())));
}

#[test]
fn a_refusal_is_not_remembered() {
    let mut world = World::new();
    let nameless = CreateAgent { name: String::new(), ..new_agent(10) };
    let first = once(ALICE, Action::CreateAgent(nameless), claim(1, 2));
    assert!(world.run(&first).is_err());
    let denied = DeclineToken {
        id: ApprovalId::from_ulid(1),
        agent: agent(1),
        scope: vec!["a".into()],
        ttl_s: 60,
        target_service: "any".into(),
        intent: None,
        signed: None,
        judged: judged(1, S0, End::Deny(None)),
    };
    let second = once(ALICE, Action::DeclineToken(denied), claim(2, 2));
    assert_eq!(world.run(&second).expect("decided").0, Outcome::TokenDenied(None));
    assert!(world.state.answers.is_empty());
    let again = once(ALICE, Action::CreateAgent(new_agent(10)), claim(1, 2));
    assert_eq!(world.run(&again).expect("accepted").1, ["agent.created", "-"]);
}

#[test]
fn an_answer_is_remembered_for_a_day_and_then_forgotten() {
    let mut world = World::new();
    let first = once(ALICE, Action::CreateAgent(new_agent(10)), claim(1, 2));
    world.run(&first).expect("accepted");
    let end = T0 + limits::IDEMPOTENCY_MEMORY_S * 1000;
    let mut world = world.at(end - 1);
    world.ask(NODE, Action::Tick(())).expect("accepted");
    replayed(world.run(&first));
    // Over is over, with or without a tick.
    let mut late = world.clone().at(end);
    let anew = once(ALICE, Action::CreateAgent(new_agent(11)), claim(1, 3));
    assert_eq!(late.run(&anew).expect("accepted").1, ["agent.created", "-"]);
    assert_eq!(late.state.answers_remembered_in_all.records, 1);

    let mut world = world.at(end);
    assert!(world.state.is_tick_due(end));
    world.ask(NODE, Action::Tick(())).expect("accepted");
    assert!(world.state.answers.is_empty() && world.state.answer_ends.is_empty());
    assert!(world.state.answers_remembered.is_empty());
    assert_eq!(world.state.answers_remembered_in_all, Remembered::default());
}

#[test]
fn a_tick_forgets_a_bounded_number() {
    let mut world = World::new();
    let answer = Answered { outcome: vec![1], sealed: Vec::new() };
    let record = IdempotencyRecord { org: org(1), request: hash(1), answer, expires_at: T0 };
    let record = Arc::new(record);
    for n in 0..limits::PRUNE_BATCH_MAX as u64 + 1 {
        let mut id = hash(0);
        id[..8].copy_from_slice(&n.to_be_bytes());
        world.state.put_answer(id, Arc::clone(&record));
    }
    world.ask(NODE, Action::Tick(())).expect("accepted");
    assert_eq!(world.state.answers.len(), 1);
    assert!(world.state.is_tick_due(T0), "the rest is due at once");
}

#[test]
fn what_is_remembered_is_bounded_for_an_organization_and_in_all() {
    let ask = |world: &World, actor| {
        let new = once(actor, Action::CreateAgent(new_agent(10)), claim(1, 2));
        world.state.decide(T0, &new).map(|_| ())
    };
    let table: [(Remembered, Remembered, &str, u64); 4] = [
        (
            Remembered { records: limits::IDEMPOTENCY_KEYS_PER_ORGANIZATION_MAX, bytes: 0 },
            Remembered::default(),
            "idempotency keys of this organisation in 24 hours",
            limits::IDEMPOTENCY_KEYS_PER_ORGANIZATION_MAX,
        ),
        (
            Remembered { records: 1, bytes: limits::IDEMPOTENCY_BYTES_PER_ORGANIZATION_MAX },
            Remembered::default(),
            "bytes of answers remembered for idempotency keys of this organisation",
            limits::IDEMPOTENCY_BYTES_PER_ORGANIZATION_MAX,
        ),
        (
            Remembered::default(),
            Remembered { records: limits::IDEMPOTENCY_KEYS_MAX, bytes: 0 },
            "idempotency keys in the cluster in 24 hours",
            limits::IDEMPOTENCY_KEYS_MAX,
        ),
        (
            Remembered::default(),
            Remembered { records: 1, bytes: limits::IDEMPOTENCY_BYTES_MAX },
            "bytes of answers remembered for idempotency keys in the cluster",
            limits::IDEMPOTENCY_BYTES_MAX,
        ),
    ];
    for (own, all, what, limit) in table {
        let mut world = World::new();
        world.state.answers_remembered.insert(org(1), own);
        world.state.answers_remembered_in_all = all;
        assert_eq!(ask(&world, ALICE), Err(Refusal::too_many(what, limit)), "{what}");
        if all == Remembered::default() {
            assert_eq!(ask(&world, BOB), Ok(()), "another organisation");
        }
        let plain = command(ALICE, Action::CreateAgent(new_agent(10)));
        assert!(world.state.decide(T0, &plain).is_ok(), "without a key there is no bound");
    }
}

#[test]
fn an_answer_that_is_too_large_to_remember_is_refused() {
    let world = World::new();
    let sealed = vec![0; limits::IDEMPOTENCY_ANSWER_MAX_BYTES as usize];
    let large = IdempotencyClaim { sealed, ..claim(1, 2) };
    let came = world.state.decide(T0, &once(ALICE, Action::CreateAgent(new_agent(10)), large));
    assert_eq!(invalid_field(came), "Idempotency-Key");
}

#[test]
fn an_operators_answers_are_the_clusters() {
    let mut world = World::new();
    let first = once(OPERATOR, Action::CreateOrganization(new_org(7)), claim(1, 2));
    let (outcome, events) = world.run(&first).expect("accepted");
    assert_eq!(events, ["organization.created", "-"]);
    let second = once(OPERATOR, Action::CreateOrganization(new_org(8)), claim(1, 2));
    assert_eq!(replayed(world.run(&second)).0, outcome);
    assert_eq!(world.state.answers_remembered[&OrgId::SYSTEM].records, 1);
}
