//! Agents.

use std::collections::BTreeMap;

use super::{super::*, world::*};
use crate::limits;

const KIND: Kind = Kind::Agent(());

fn update(change: impl FnOnce(&mut UpdateAgent)) -> Action {
    let mut update = update_agent(1);
    change(&mut update);
    Action::UpdateAgent(update)
}

fn rotate(n: u128, public_key: u8) -> Action {
    Action::RotateAgentKey(RotateAgentKey { id: agent(n), public_key: [public_key; 32] })
}

#[test]
fn an_agent_is_made_once() {
    let mut world = World::new();
    assert_eq!(world.events(ALICE, Action::CreateAgent(new_agent(9))), ["agent.created"]);
    assert!(world.events(ALICE, Action::CreateAgent(new_agent(9))).is_empty());
    let made = &world.state.agents[&agent(9)];
    assert_eq!((made.tenant, made.status), (ALICE_TENANT, AgentStatus::Active));
    let mut world = world.at(T0 + 1);
    world.events(ALICE, rotate(9, 77));
    // Changed since: still the one that this command made.
    assert!(world.events(ALICE, Action::CreateAgent(new_agent(9))).is_empty());
}

#[test]
fn a_patch_tells_what_it_changed_and_nothing_else() {
    let mut world = World::new();
    assert_eq!(world.events(ALICE, update(|_| {})), [""; 0]);
    let same = update(|change| {
        change.name = Some("Agent 1".into());
        change.description = Some(None);
        change.paused = Some(false);
        change.metadata = Some(Some(BTreeMap::from([("team".into(), Some("blue".into()))])));
    });
    assert_eq!(world.events(ALICE, same), [""; 0]);
    let both = update(|change| {
        change.description = Some(Some("Reads".into()));
        change.model_provider = Some(None);
        change.require_signature = Some(true);
        change.metadata =
            Some(Some(BTreeMap::from([("team".into(), None), ("tier".into(), Some("1".into()))])));
        change.paused = Some(true);
    });
    let decision = world.state.decide(T0 + 5, &command(ALICE, both.clone())).expect("accepted");
    let Fact::AgentUpdated(_, changed) = &decision.events[0].fact else { panic!("not an update") };
    assert_eq!(*changed, ["description", "model_provider", "metadata", "require_signature"]);
    assert_eq!(world.events(ALICE, both), ["agent.updated", "agent.paused"]);
    let now = &world.state.agents[&agent(1)];
    assert_eq!(now.description.as_deref(), Some("Reads"));
    assert_eq!(now.model_provider, None);
    assert_eq!(now.metadata, BTreeMap::from([("tier".into(), "1".into())]));
    assert_eq!(now.status, AgentStatus::Paused);
    let clear = update(|change| change.metadata = Some(None));
    assert_eq!(world.events(ALICE, clear), ["agent.updated"]);
    assert!(world.state.agents[&agent(1)].metadata.is_empty());
    let wake = update(|change| change.paused = Some(false));
    assert_eq!(world.events(ALICE, wake), ["agent.activated"]);
}

#[test]
fn a_replaced_key_moves_the_epoch_and_does_not_come_back() {
    let mut world = World::new();
    assert!(world.events(ALICE, rotate(1, 1)).is_empty(), "the same key is no change");
    assert_eq!(world.events(ALICE, rotate(1, 50)), ["agent.key_rotated"]);
    assert_eq!(world.state.agents[&agent(1)].key_epoch, 1);
    let late = world.state.decide(T0, &command(ALICE, rotate(1, 1)));
    assert_eq!(invalid_field(late), "public_key");
}

#[test]
fn all_tokens_of_an_agent_die_at_once_and_the_agent_lives() {
    let mut world = World::new();
    world.events(ALICE, Action::IssueToken(new_token(2, 1, S0, 300)));
    let died = |tokens_invalidated| {
        Outcome::AgentTokensRevoked(AgentTokensRevoked {
            agent: agent(1),
            at: T0,
            tokens_invalidated,
        })
    };
    let revoke = Action::RevokeAgentTokens(agent(1));
    assert_eq!(world.ask(ALICE, revoke.clone()), Ok((died(2), vec!["agent.tokens_revoked"])));
    assert_eq!(world.ask(ALICE, revoke), Ok((died(0), vec![])));
    let now = &world.state.agents[&agent(1)];
    assert_eq!((now.token_epoch, now.status), (1, AgentStatus::Active));
    assert_eq!(world.state.tokens_page(ALICE_TENANT, None, 0, 10), (vec![], 0));
    assert_eq!(world.events(ALICE, Action::IssueToken(new_token(3, 1, S0, 300))), ["token.issued"]);
}

#[test]
fn a_revoked_agent_is_final_and_revoking_it_again_succeeds() {
    let mut world = World::new();
    let revoke = Action::RevokeAgent(agent(1));
    let gone = |tokens_invalidated| {
        Outcome::AgentTokensRevoked(AgentTokensRevoked {
            agent: agent(1),
            at: T0,
            tokens_invalidated,
        })
    };
    assert_eq!(world.ask(ALICE, revoke.clone()), Ok((gone(1), vec!["agent.revoked"])));
    let mut world = world.at(T0 + 60_000);
    assert_eq!(world.ask(ALICE, revoke), Ok((gone(0), vec![])));
    let tokens = world.ask(ALICE, Action::RevokeAgentTokens(agent(1)));
    assert_eq!(tokens.map(|(_, events)| events), Ok(vec![]));
    let revoked = Refusal::AgentNotActive(AgentStatus::Revoked);
    world.refuses(vec![
        ("patched", ALICE, update(|_| {}), revoked.clone()),
        ("woken", ALICE, update(|change| change.paused = Some(false)), revoked.clone()),
        ("given a key", ALICE, rotate(1, 50), revoked.clone()),
        ("given a token", ALICE, Action::IssueToken(new_token(2, 1, S0 + 60, 9)), revoked),
    ]);
}

#[test]
fn an_agent_of_another_tenant_is_not_there() {
    let world = World::new();
    let gone = Refusal::NotFound(KIND);
    for actor in [BOB, ALICE_TEST] {
        world.refuses(vec![
            ("patch", actor, update(|_| {}), gone.clone()),
            ("rotate", actor, rotate(1, 50), gone.clone()),
            ("revoke tokens", actor, Action::RevokeAgentTokens(agent(1)), gone.clone()),
            ("revoke", actor, Action::RevokeAgent(agent(1)), gone.clone()),
            ("issue", actor, Action::IssueToken(new_token(2, 1, S0, 9)), gone.clone()),
            ("made again", actor, Action::CreateAgent(new_agent(1)), Refusal::IdTaken(KIND)),
        ]);
    }
    world.refuses(vec![
        ("unknown", ALICE, Action::RevokeAgent(agent(99)), gone),
        (
            "other content",
            ALICE,
            Action::CreateAgent(CreateAgent { name: "Other".into(), ..new_agent(1) }),
            Refusal::IdTaken(KIND),
        ),
    ]);
}

#[test]
fn every_text_of_an_agent_is_fenced() {
    let world = World::new();
    let long = || Some("x".repeat(limits::DESCRIPTION_MAX_CHARS + 1));
    let crowd = (0..=limits::METADATA_ENTRIES_MAX).map(|n| (n.to_string(), String::new()));
    let change = |change: &dyn Fn(&mut CreateAgent)| {
        let mut new = new_agent(9);
        change(&mut new);
        invalid_field(world.state.decide(T0, &command(ALICE, Action::CreateAgent(new))))
    };
    assert_eq!(change(&|new| new.name.clear()), "name");
    assert_eq!(change(&|new| new.owner = "x".repeat(10_000)), "owner");
    assert_eq!(change(&|new| new.description = long()), "description");
    assert_eq!(change(&|new| new.model_provider = long()), "model_provider");
    assert_eq!(change(&|new| new.model_name = Some("\u{1}".into())), "model_name");
    assert_eq!(change(&|new| new.framework = Some("\u{9f}".into())), "framework");
    assert_eq!(change(&|new| new.metadata = crowd.clone().collect()), "metadata");
    let patched = |change: UpdateAgent| {
        invalid_field(world.state.decide(T0, &command(ALICE, Action::UpdateAgent(change))))
    };
    let many = crowd.clone().map(|(key, value)| (key, Some(value))).collect();
    assert_eq!(patched(UpdateAgent { name: Some(String::new()), ..update_agent(1) }), "name");
    assert_eq!(patched(UpdateAgent { metadata: Some(Some(many)), ..update_agent(1) }), "metadata");
}

#[test]
fn agents_are_listed_newest_first_by_status_or_all() {
    let mut world = World::new();
    for n in 10..16 {
        world.events(ALICE, Action::CreateAgent(new_agent(n)));
    }
    let pause = UpdateAgent { paused: Some(true), ..update_agent(12) };
    world.events(ALICE, Action::UpdateAgent(pause));
    world.events(ALICE, Action::RevokeAgent(agent(14)));
    let page = |status, offset, limit| -> (Vec<AgentId>, u64) {
        let (page, total) = world.state.agents_page(ALICE_TENANT, status, offset, limit);
        (page.iter().map(|agent| agent.id).collect(), total)
    };
    let ids = |ids: &[u128]| ids.iter().map(|n| agent(*n)).collect::<Vec<_>>();
    assert_eq!(page(None, 0, 4), (ids(&[15, 14, 13, 12]), 7));
    assert_eq!(page(None, 4, 9), (ids(&[11, 10, 1]), 7));
    assert_eq!(page(Some(AgentStatus::Active), 1, 2), (ids(&[13, 11]), 5));
    assert_eq!(page(Some(AgentStatus::Paused), 0, 9), (ids(&[12]), 1));
    assert_eq!(page(Some(AgentStatus::Revoked), 0, 9), (ids(&[14]), 1));
    assert_eq!(page(None, 100, 9), (vec![], 7));
}

#[test]
fn who_lifts_the_duty_to_sign_or_replaces_the_key_may_write_api_keys() {
    let mut world = World::new();
    let but_keys = Permission::ALL.iter().copied().filter(|held| *held != Permission::ApiKeysWrite);
    let weak = CreateApiKey { permissions: but_keys.collect(), ..new_key(9, 1, Environment::Live) };
    world.events(ALICE, Action::CreateApiKey(weak));
    let weak = Actor::ApiKey(key(9));
    let duty = |must| {
        Action::UpdateAgent(UpdateAgent { require_signature: Some(must), ..update_agent(1) })
    };
    let new_key = |n| Action::RotateAgentKey(RotateAgentKey { id: agent(1), public_key: [n; 32] });
    world.events(weak, new_key(70));
    world.events(weak, duty(true));
    let needs = Refusal::Forbidden(
        "this agent must sign its token requests; lifting that, or replacing its key, takes the \
         permission api_keys:write too"
            .into(),
    );
    world.refuses(vec![
        ("lifting", weak, duty(false), needs.clone()),
        ("replacing", weak, new_key(71), needs),
    ]);
    let mut before = world.clone();
    before.state.level = Level::FIRST;
    before.events(weak, new_key(71));
    before.events(weak, duty(false));
    assert_eq!(world.events(weak, duty(true)), [""; 0]);
    world.events(ALICE, new_key(71));
    assert_eq!(world.events(ALICE, duty(false)), ["agent.updated"]);
}
