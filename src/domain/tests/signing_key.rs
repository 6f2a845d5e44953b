//! Signing keys.

use super::{super::*, world::*};

const KIND: Kind = Kind::SigningKey(());

fn published(world: &World, at: Millis) -> Vec<SigningKeyId> {
    world.state.jwks_keys(at).map(|key| key.id).collect()
}

#[test]
fn a_signing_key_is_published_until_its_last_token_is_over() {
    let mut world = World::new();
    let second = Action::RegisterSigningKey(new_signing_key(2));
    assert_eq!(world.events(NODE, second.clone()), ["signing_key.registered"]);
    assert!(world.events(NODE, second).is_empty());
    assert_eq!(world.state.signing_key(sig(2)).map(|key| key.number), Some(1));
    assert_eq!(published(&world, T0), [sig(1), sig(2)]);
    for key in [sig(1), sig(2)] {
        assert_eq!(world.events(NODE, Action::RetireSigningKey(key)), ["signing_key.retired"]);
        assert!(world.events(NODE, Action::RetireSigningKey(key)).is_empty());
    }
    assert_eq!(published(&world, T0), [sig(1)], "the second signed nothing");
    assert_eq!(published(&world, T0 + 299_999), [sig(1)]);
    assert_eq!(published(&world, T0 + 300_000), []);
}

#[test]
fn a_revoked_signing_key_is_gone_at_once_with_all_that_it_signed() {
    let mut world = World::new();
    let revoke = Action::RevokeSigningKey(sig(1));
    assert_eq!(world.events(OPERATOR, revoke.clone()), ["signing_key.revoked"]);
    assert!(world.events(OPERATOR, revoke).is_empty());
    assert_eq!(published(&world, T0), []);
    assert_eq!(world.state.tokens_page(ALICE_TENANT, None, 0, 9), (vec![], 0));
    let record = world.state.signing_key(sig(1)).expect("kept");
    assert_eq!((record.revoked_at, record.last_expiry), (Some(T0), S0 + 300));
    assert!(world.events(NODE, Action::RetireSigningKey(sig(1))).is_empty());
}

#[test]
fn a_signing_key_is_refused() {
    let world = World::new();
    let other = RegisterSigningKey { public_key: [9; 32], ..new_signing_key(1) };
    let same_key = RegisterSigningKey { id: sig(9), ..new_signing_key(1) };
    let taken = Refusal::IdTaken(KIND);
    let unknown = Refusal::NotFound(KIND);
    let node_2 = Actor::Node(2);
    world.refuses(vec![
        ("another of that id", NODE, Action::RegisterSigningKey(other), taken.clone()),
        ("that key under another id", NODE, Action::RegisterSigningKey(same_key), taken.clone()),
        ("another node's", node_2, Action::RegisterSigningKey(new_signing_key(1)), taken),
        ("another node's to retire", node_2, Action::RetireSigningKey(sig(1)), unknown.clone()),
        ("unknown to retire", OPERATOR, Action::RetireSigningKey(sig(9)), unknown.clone()),
        ("unknown to revoke", OPERATOR, Action::RevokeSigningKey(sig(9)), unknown),
    ]);
    let mut full = world.clone();
    full.state.next_signing_key = u32::MAX;
    let came = full.ask(NODE, Action::RegisterSigningKey(new_signing_key(2)));
    assert!(matches!(came, Err(Refusal::TooMany(_))), "{came:?}");
}
