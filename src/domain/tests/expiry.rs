//! What time alone does.

use super::{super::*, world::*};
use crate::limits;

const MARGIN_MS: Millis = limits::EXPIRY_MARGIN_S * 1000;

fn tick(world: &mut World, at: Millis) -> usize {
    let due = world.state.is_tick_due(at);
    world.state.clock = at;
    let events = world.events(NODE, Action::Tick(()));
    assert!(events.iter().all(|name| *name == "-"), "bookkeeping only");
    assert_eq!(due, !events.is_empty(), "a tick is due exactly when it does something");
    events.len()
}

#[test]
fn an_expired_token_leaves_the_lists_and_later_its_record_goes() {
    let mut world = World::new();
    let end = (S0 + 300) * 1000;
    let listed = |world: &World| world.state.tokens_page(ALICE_TENANT, None, 0, 9).1;
    assert_eq!(tick(&mut world, end - 1), 0);
    assert_eq!((tick(&mut world, end), listed(&world), world.state.tokens.len()), (1, 0, 1));
    assert_eq!(tick(&mut world, end + MARGIN_MS - 1), 0, "a revocation is not forgotten early");
    assert_eq!(tick(&mut world, end + MARGIN_MS), 1);
    let state = &world.state;
    assert!(state.tokens.is_empty() && state.token_ids.is_empty() && state.token_expiry.is_empty());
    assert!(state.token_records.is_empty());
    assert_eq!(tick(&mut world, end + MARGIN_MS), 0);
}

#[test]
fn a_revoked_token_is_remembered_as_long() {
    let mut world = World::new();
    world.events(ALICE, Action::RevokeToken(TokenRef::Id(tok(1))));
    let end = (S0 + 300) * 1000;
    tick(&mut world, end + MARGIN_MS - 1);
    assert_eq!(world.state.token_revoked_at.len(), 1);
    tick(&mut world, end + MARGIN_MS);
    assert!(world.state.token_revoked_at.is_empty() && world.state.tokens.is_empty());
}

#[test]
fn one_tick_removes_a_bounded_number() {
    let mut world = World::new();
    for n in 2..=limits::PRUNE_BATCH_MAX as u128 + 5 {
        world.events(ALICE, Action::IssueToken(new_token(n, 1, S0, 10)));
    }
    world.events(NODE, Action::RetireSigningKey(sig(1)));
    let at = (S0 + 1_000) * 1000;
    let all = limits::PRUNE_BATCH_MAX + 5;
    assert_eq!(tick(&mut world, at), limits::PRUNE_BATCH_MAX);
    assert_eq!(tick(&mut world, at), limits::PRUNE_BATCH_MAX);
    assert!(world.state.signing_key(sig(1)).is_some(), "its tokens go first");
    assert_eq!(tick(&mut world, at), 2 * (all - limits::PRUNE_BATCH_MAX) + 1);
    assert!(world.state.signing_key(sig(1)).is_none() && world.state.tokens.is_empty());
    assert_eq!(tick(&mut world, at), 0);
}

#[test]
fn a_retired_signing_key_is_forgotten_and_a_revoked_one_is_not() {
    let mut world = World::new();
    world.events(NODE, Action::RegisterSigningKey(new_signing_key(2)));
    world.events(NODE, Action::RetireSigningKey(sig(1)));
    world.events(OPERATOR, Action::RevokeSigningKey(sig(2)));
    tick(&mut world, (S0 + 300) * 1000 + MARGIN_MS);
    assert!(world.state.signing_key(sig(1)).is_some());
    tick(&mut world, (S0 + 301) * 1000 + MARGIN_MS);
    assert!(world.state.signing_key(sig(1)).is_none());
    tick(&mut world, u64::MAX);
    assert!(world.state.signing_key(sig(2)).is_some());
    world.events(NODE, Action::RegisterSigningKey(new_signing_key(3)));
    assert_eq!(world.state.signing_key(sig(3)).map(|key| key.number), Some(2), "numbers are new");
}

#[test]
fn old_secrets_are_forgotten() {
    let mut world = World::new();
    let rotate =
        RotateApiKey { id: key(3), secret_hash: hash(50), last_four: "abcd".into(), grace_s: 100 };
    world.events(BOB, Action::RotateApiKey(rotate));
    let memory_ms = limits::RETIRED_SECRET_MEMORY_S * 1000;
    assert_eq!(tick(&mut world, T0 + memory_ms - 1), 0);
    assert_eq!(tick(&mut world, T0 + memory_ms), 1);
    assert!(world.state.retired_secrets.is_empty());
    assert_eq!(tick(&mut world, T0 + 99_999), 0);
    assert_eq!(tick(&mut world, T0 + 100_000), 1);
    assert_eq!(world.state.api_keys[&key(3)].previous, None);
    assert!(!world.state.api_keys_by_hash.contains_key(&hash(3)));
    assert!(world.state.api_keys_by_hash.contains_key(&hash(50)));
}
