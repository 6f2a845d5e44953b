//! Tokens.

use super::{super::*, world::*};
use crate::limits;

const KIND: Kind = Kind::Token(());

fn issue(change: impl FnOnce(&mut IssueToken)) -> Action {
    let mut new = new_token(2, 1, S0, 300);
    change(&mut new);
    Action::IssueToken(hashed(new))
}

#[test]
fn a_token_is_issued_once_and_found_by_its_bytes_and_id() {
    let mut world = World::new();
    let new = new_token(2, 1, S0, 300);
    let (first, events) = world.ask(ALICE, Action::IssueToken(new.clone())).expect("accepted");
    assert_eq!(events, ["token.issued"]);
    let record = world.state.tokens[&new.hash];
    assert_eq!((record.id, record.agent, record.revoked), (tok(2), agent(1), false));
    assert_eq!(u64::from(record.expires_at), S0 + 300);
    assert_eq!(world.state.token(ALICE_TENANT, tok(2)).map(|token| token.hash), Some(new.hash));
    assert_eq!(world.state.token(Tenant::live(org(2)), tok(2)), None);
    assert_eq!(world.state.signing_key(sig(1)).map(|key| key.last_expiry), Some(S0 + 300));
    assert_eq!(world.ask(ALICE, Action::IssueToken(new.clone())), Ok((first.clone(), vec![])));
    // Whatever has become of it since, it was issued.
    world.events(ALICE, Action::RevokeToken(TokenRef::Id(tok(2))));
    assert_eq!(world.ask(ALICE, Action::IssueToken(new)), Ok((first, vec![])));
}

#[test]
fn a_token_is_refused() {
    let world = World::new();
    let known = new_token(1, 1, S0, 300);
    let other_bytes = new_token(1, 1, S0, 299);
    let other_id = IssueToken { id: tok(2), ..known.clone() };
    let other_words = IssueToken { intent: Some("else".into()), ..known };
    let taken = Refusal::IdTaken(KIND);
    let off = Refusal::IssuedAtOff(S0);
    let at = |iat: Seconds, ttl: Seconds| Action::IssueToken(new_token(2, 1, iat, ttl));
    world.refuses(vec![
        ("other bytes under that id", ALICE, Action::IssueToken(other_bytes), taken.clone()),
        ("those bytes under another id", ALICE, Action::IssueToken(other_id), taken.clone()),
        ("other words for those bytes", ALICE, Action::IssueToken(other_words), taken),
        ("unknown key", ALICE, issue(|new| new.signing_key = sig(9)), Refusal::SigningKeyDead(())),
        ("too late", ALICE, at(S0 - 6, 300), off.clone()),
        ("too early", ALICE, at(S0 + 6, 300), off.clone()),
        ("over already", ALICE, at(S0 - 5, 5), off.clone()),
        ("from another age", ALICE, at(0, 300), off),
        ("too long", ALICE, at(S0, limits::TTL_MAX_S + 1), Refusal::TtlTooLong(86_400)),
        ("for ever", ALICE, at(S0, u64::MAX), Refusal::TtlTooLong(86_400)),
        (
            "signed with another key",
            ALICE,
            issue(|new| new.signed_by_key_epoch = Some(1)),
            Refusal::AgentKeyReplaced(()),
        ),
    ]);
    for good in [at(S0 - 5, 6), at(S0 + 5, 1), at(S0, limits::TTL_MAX_S)] {
        assert!(world.state.decide(T0, &command(ALICE, good)).is_ok());
    }
    let long = "x".repeat(limits::SCOPE_MAX_BYTES + 1);
    let many = (0..=limits::SCOPES_MAX).map(|n| format!("s{n}"));
    for (field, action) in [
        ("ttl", at(S0, 0)),
        ("ttl", issue(|new| new.expires_at = S0 - 1)),
        ("scope", issue(|new| new.scope.clear())),
        ("scope", issue(|new| new.scope = many.collect())),
        ("scope", issue(|new| new.scope = vec![long])),
        ("scope", issue(|new| new.scope = vec!["a b".into()])),
        ("scope", issue(|new| new.scope = vec!["*.a".into()])),
        ("scope", issue(|new| new.scope = vec!["a".into(), "b".into(), "a".into()])),
        ("target_service", issue(|new| new.target_service.clear())),
        ("target_service", issue(|new| new.target_service = "x".repeat(201))),
        ("intent", issue(|new| new.intent = Some("x".repeat(501)))),
        ("intent", issue(|new| new.intent = Some("\u{7}".into()))),
    ] {
        assert_eq!(invalid_field(world.state.decide(T0, &command(ALICE, action))), field);
    }
}

#[test]
fn a_token_ends_before_its_record_can_no_longer_say_so() {
    let late = u64::from(u32::MAX);
    let world = World::new().at(late * 1000);
    let came = |ttl| {
        let new = Action::IssueToken(new_token(2, 1, late - 1, ttl));
        world.state.decide(late * 1000, &command(ALICE, new))
    };
    assert_eq!(invalid_field(came(2)), "ttl");
}

#[test]
fn a_paused_agent_gets_no_token() {
    let mut world = World::new();
    let pause = UpdateAgent { paused: Some(true), ..update_agent(1) };
    world.events(ALICE, Action::UpdateAgent(pause));
    world.refuses(vec![(
        "paused",
        ALICE,
        issue(|_| {}),
        Refusal::AgentNotActive(AgentStatus::Paused),
    )]);
}

#[test]
fn an_agent_that_must_sign_gets_no_token_unsigned() {
    let mut world = World::new();
    let must_sign = UpdateAgent { require_signature: Some(true), ..update_agent(1) };
    world.events(ALICE, Action::UpdateAgent(must_sign));
    world.refuses(vec![("unsigned", ALICE, issue(|_| {}), Refusal::SignatureRequired(()))]);
    assert_eq!(
        world.events(ALICE, issue(|new| new.signed_by_key_epoch = Some(0))),
        ["token.issued"]
    );
    let rotate = RotateAgentKey { id: agent(1), public_key: [50; 32] };
    world.events(ALICE, Action::RotateAgentKey(rotate));
    let signed_before = issue(|new| {
        new.id = tok(3);
        new.signed_by_key_epoch = Some(0);
    });
    world.refuses(vec![("old key", ALICE, signed_before, Refusal::AgentKeyReplaced(()))]);
}

#[test]
fn a_retired_or_revoked_key_signs_nothing() {
    for end in [Action::RetireSigningKey(sig(1)), Action::RevokeSigningKey(sig(1))] {
        let mut world = World::new();
        world.events(OPERATOR, end);
        world.refuses(vec![("dead key", ALICE, issue(|_| {}), Refusal::SigningKeyDead(()))]);
    }
}

#[test]
fn a_token_is_revoked_for_good_and_again_with_the_same_answer() {
    let known = new_token(1, 1, S0, 300);
    for name in [TokenRef::Id(tok(1)), TokenRef::Hash(known.hash)] {
        let mut world = World::new();
        let outcome = Outcome::TokenRevoked(TokenRevoked { id: tok(1), at: T0 });
        let first = world.ask(ALICE, Action::RevokeToken(name));
        assert_eq!(first, Ok((outcome.clone(), vec!["token.revoked"])));
        let mut world = world.at(T0 + 1000);
        assert_eq!(world.ask(ALICE, Action::RevokeToken(name)), Ok((outcome, vec![])));
        assert!(world.state.tokens[&known.hash].revoked);
        assert_eq!(world.state.token(ALICE_TENANT, tok(1)), None);
        for actor in [BOB, ALICE_TEST] {
            world.refuses(vec![(
                "another's",
                actor,
                Action::RevokeToken(name),
                Refusal::NotFound(KIND),
            )]);
        }
    }
    World::new().refuses(vec![
        ("unknown id", ALICE, Action::RevokeToken(TokenRef::Id(tok(9))), Refusal::NotFound(KIND)),
        (
            "unknown bytes",
            ALICE,
            Action::RevokeToken(TokenRef::Hash(hash(9))),
            Refusal::NotFound(KIND),
        ),
    ]);
}

#[test]
fn live_tokens_are_bounded() {
    let world = World::new();
    for (set, what) in [
        (0, "live tokens in this environment"),
        (1, "live tokens in the cluster"),
        (2, "unexpired tokens, revoked ones included, in this environment"),
    ] {
        let mut full = world.clone();
        match set {
            0 => {
                full.state.token_lists.pretend(ALICE_TENANT, limits::LIVE_TOKENS_PER_TENANT_MAX, 0);
            }
            1 => full.state.token_lists.pretend(ALICE_TENANT, 0, limits::LIVE_TOKENS_MAX),
            _ => {
                let records = limits::TOKEN_RECORDS_PER_TENANT_MAX;
                full.state.token_records.insert(ALICE_TENANT, records);
            }
        }
        let came = full.state.decide(T0, &command(ALICE, issue(|_| {})));
        assert!(matches!(&came, Err(Refusal::TooMany(limit)) if limit.what == what), "{came:?}");
    }
}

#[test]
fn live_tokens_are_listed_newest_first_across_agents_and_keys() {
    let mut world = World::new();
    world.events(NODE, Action::RegisterSigningKey(new_signing_key(2)));
    world.events(ALICE, Action::CreateAgent(new_agent(4)));
    for n in 2..12u128 {
        let mut new = new_token(n, if n % 3 == 0 { 4 } else { 1 }, S0, 300);
        new.signing_key = sig(1 + n % 2);
        world.events(ALICE, Action::IssueToken(hashed(new)));
    }
    world.events(BOB, Action::IssueToken(new_token(20, 3, S0, 300)));
    world.events(ALICE, Action::RevokeToken(TokenRef::Id(tok(11))));
    let page = |world: &World, agent, offset, limit| -> (Vec<TokenId>, u64) {
        let (page, total) = world.state.tokens_page(ALICE_TENANT, agent, offset, limit);
        (page.iter().map(|token| token.id).collect(), total)
    };
    let ids = |ids: &[u128]| ids.iter().map(|n| tok(*n)).collect::<Vec<_>>();
    assert_eq!(page(&world, None, 0, 4), (ids(&[10, 9, 8, 7]), 10));
    assert_eq!(page(&world, None, 7, 9), (ids(&[3, 2, 1]), 10));
    assert_eq!(page(&world, Some(agent(4)), 0, 9), (ids(&[9, 6, 3]), 3));
    assert_eq!(page(&world, Some(agent(3)), 0, 9), (vec![], 0), "another's agent");
    world.events(OPERATOR, Action::RevokeSigningKey(sig(2)));
    assert_eq!(page(&world, None, 0, 9), (ids(&[10, 8, 6, 4, 2, 1]), 6));
    assert_eq!(page(&world, Some(agent(1)), 1, 2), (ids(&[8, 4]), 5));
    assert_eq!(world.state.token_lists.total(), 7);
}
