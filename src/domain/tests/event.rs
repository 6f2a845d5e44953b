//! What readers are told.

use serde_json::json;

use super::{super::*, world::*};

/// Names and data of everything that one action makes happen.
fn told(world: &mut World, actor: Actor, action: Action) -> Vec<(&'static str, serde_json::Value)> {
    let decision =
        world.state.decide(world.state.clock, &command(actor, action)).expect("accepted");
    let told = decision
        .events
        .iter()
        .filter_map(|event| Some((event.fact.name()?, event.fact.data().into())))
        .collect();
    decision.events.iter().for_each(|event| world.state.evolve(event));
    told
}

#[test]
fn an_issue_tells_all_that_the_token_says() {
    let mut world = World::new();
    let mut new = new_token(2, 1, S0, 300);
    new.intent = Some("nightly".into());
    let told = told(&mut world, ALICE, Action::IssueToken(hashed(new)));
    let data = json!({
        "scope": ["db.read", "mail.*"],
        "target_service": "any",
        "intent": "nightly",
        "ttl": 300,
        "expires_at": "2026-07-01T14:05:00Z",
        "kid": sig(1).to_string(),
    });
    assert_eq!(told, [("token.issued", data)]);
}

#[test]
fn an_update_tells_the_changed_fields_only() {
    let mut world = World::new();
    let change = UpdateAgent { owner: Some("ops".into()), paused: Some(true), ..update_agent(1) };
    assert_eq!(
        told(&mut world, ALICE, Action::UpdateAgent(change)),
        [
            ("agent.updated", json!({ "owner": "ops" })),
            ("agent.paused", json!({ "name": "Agent 1", "status": "paused" })),
        ]
    );
    let change = UpdateApiKey { id: key(1), name: None, enabled: Some(false) };
    assert_eq!(
        told(&mut world, OPERATOR, Action::UpdateApiKey(change)),
        [("api_key.updated", json!({ "api_key_id": key(1).to_string(), "enabled": false }))]
    );
}

#[test]
fn an_event_stands_in_the_chain_of_whom_it_concerns() {
    let world = World::new();
    let chain = |actor, action| {
        world.state.decide(T0, &command(actor, action)).expect("accepted").events[0].chain
    };
    let test_key = Action::CreateApiKey(new_key(9, 1, Environment::Test));
    let test_tenant = Tenant { org: org(1), environment: Environment::Test };
    for (actor, action, expected) in [
        (OPERATOR, Action::CreateOrganization(new_org(9)), Tenant::SYSTEM),
        (OPERATOR, Action::CreateOperatorKey(new_operator(9)), Tenant::SYSTEM),
        (OPERATOR, Action::RevokeSigningKey(sig(1)), Tenant::SYSTEM),
        (NODE, Action::RegisterSigningKey(new_signing_key(9)), Tenant::SYSTEM),
        (ALICE, test_key.clone(), ALICE_TENANT),
        (OPERATOR, test_key, ALICE_TENANT),
        (ALICE_TEST, Action::RevokeAgent(agent(2)), test_tenant),
        (ALICE, Action::RevokeToken(TokenRef::Id(tok(1))), ALICE_TENANT),
    ] {
        assert_eq!(chain(actor, action.clone()), expected, "{action:?}");
    }
}

#[test]
fn no_event_shows_what_stands_for_a_secret() {
    let mut world = World { state: State { clock: T0, ..State::default() } };
    let mut actions = genesis();
    actions.push(command(
        BOB,
        Action::RotateApiKey(RotateApiKey {
            id: key(3),
            secret_hash: hash(50),
            last_four: "abcd".into(),
            grace_s: 9,
        }),
    ));
    actions.push(command(OPERATOR, Action::DeleteApiKey(key(2))));
    let secrets = (0..=255u8).map(|n| hex::encode(hash(n))).collect::<Vec<_>>();
    for Command { actor, action, .. } in actions {
        let is_signing_key = matches!(action, Action::RegisterSigningKey(_));
        for (name, data) in told(&mut world, actor, action) {
            let text = data.to_string();
            let shown = secrets.iter().any(|secret| text.contains(secret));
            assert_eq!(shown, is_signing_key, "{name}: only the public key of a signing key");
        }
    }
}

#[test]
fn an_actor_reads_as_type_and_id() {
    for (actor, expected) in [
        (ALICE, json!({ "type": "api_key", "id": key(1).to_string() })),
        (OPERATOR, json!({ "type": "operator_key", "id": op(1).to_string() })),
        (Actor::Node(u64::MAX), json!({ "type": "node", "id": "18446744073709551615" })),
        (SETUP, json!({ "type": "setup", "id": "setup" })),
    ] {
        assert_eq!(actor.to_json(), expected);
    }
}
