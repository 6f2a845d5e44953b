//! API keys made by API keys: a key stays within the environment, the rights and the life of its
//! creator.

use super::{super::*, world::*};
use crate::limits;

const KIND: Kind = Kind::ApiKey(());

fn by(n: u128) -> Actor {
    Actor::ApiKey(key(n))
}

fn live(n: u8) -> CreateApiKey {
    new_key(n, 1, Environment::Live)
}

fn enable(n: u128, enabled: bool) -> Action {
    Action::UpdateApiKey(UpdateApiKey { id: key(n), name: None, enabled: Some(enabled) })
}

fn rename(n: u128) -> Action {
    Action::UpdateApiKey(UpdateApiKey { id: key(n), name: Some("New".into()), enabled: None })
}

fn rotate(n: u128, grace_s: u64) -> Action {
    Action::RotateApiKey(RotateApiKey {
        id: key(n),
        secret_hash: hash(90 + n as u8),
        last_four: "new4".into(),
        grace_s,
    })
}

/// Whether key `n` opens with the secret that it was made with, and can act.
fn acts(world: &World, n: u8) -> bool {
    let at = world.state.clock;
    let opens = world.state.api_key_by_secret_hash(&hash(n), at).is_some();
    let touch = Action::RevokeAgentTokens(agent(1));
    let decided = world.state.decide(at, &command(by(n.into()), touch));
    assert_eq!(opens, decided != Err(Refusal::CallerUnknown(())), "{decided:?}");
    opens
}

/// ALICE made key 9, which made 10, which made 11.
fn line() -> World {
    let mut world = World::new();
    world.events(ALICE, Action::CreateApiKey(live(9)));
    world.events(by(9), Action::CreateApiKey(live(10)));
    world.events(by(10), Action::CreateApiKey(live(11)));
    assert!([9, 10, 11].iter().all(|n| acts(&world, *n)));
    world
}

#[test]
fn a_key_stops_with_any_key_above_it() {
    let mut disabled = line();
    disabled.events(ALICE, enable(9, false));
    assert!([9, 10, 11].iter().all(|n| !acts(&disabled, *n)) && acts(&disabled, 1));
    disabled.events(ALICE, enable(9, true));
    assert!([9, 10, 11].iter().all(|n| acts(&disabled, *n)), "a disabled one suspends");

    let mut deleted = line();
    deleted.events(ALICE, Action::DeleteApiKey(key(10)));
    assert!(acts(&deleted, 9) && !acts(&deleted, 10) && !acts(&deleted, 11));
    assert_eq!(deleted.state.api_key_creator(key(10)), None, "nothing is kept of what is gone");
    assert_eq!(deleted.state.api_key_creator(key(11)), Some(key(10)));
    deleted.refuses(vec![("a dead caller", by(11), rename(11), Refusal::CallerUnknown(()))]);

    let mut rotated = line();
    rotated.events(ALICE, rotate(9, 0));
    assert!([10, 11].iter().all(|n| acts(&rotated, *n)), "a new secret ends no line");
}

#[test]
fn a_key_ends_no_later_than_the_key_that_creates_it() {
    let mut world = World::new();
    let until = |n: u8, end| CreateApiKey { expires_at: end, ..live(n) };
    world.events(ALICE, Action::CreateApiKey(until(9, Some(T0 + 2_000))));
    for (later, end) in [("by a ms", T0 + 2_001), ("by far", crate::rfc3339::LAST_MS)] {
        let came =
            world.state.decide(T0, &command(by(9), Action::CreateApiKey(until(10, Some(end)))));
        assert_eq!(invalid_field(came), "expires_at", "{later}");
    }
    world.events(by(9), Action::CreateApiKey(until(10, Some(T0 + 2_000))));
    world.events(by(9), Action::CreateApiKey(until(11, None)));
    assert_eq!(world.state.api_keys[&key(11)].expires_at, Some(T0 + 2_000), "inherited");
    assert!(world.events(by(9), Action::CreateApiKey(until(11, None))).is_empty(), "again");
    world.events(by(11), Action::CreateApiKey(until(12, None)));
    let world = world.at(T0 + 2_000);
    assert!([9, 10, 11, 12].iter().all(|n| !acts(&world, *n)));
}

#[test]
fn a_test_key_makes_sees_and_changes_test_keys_only() {
    let mut world = World::new();
    world.events(ALICE, Action::CreateApiKey(new_key(9, 1, Environment::Test)));
    let more = Refusal::Forbidden(
        "a test key creates test keys only; create this one with a live key".into(),
    );
    let unseen = Refusal::NotFound(KIND);
    world.refuses(vec![
        ("creating a live one", ALICE_TEST, Action::CreateApiKey(live(10)), more),
        ("renaming a live one", ALICE_TEST, rename(1), unseen.clone()),
        ("disabling a live one", ALICE_TEST, enable(1, false), unseen.clone()),
        ("rotating a live one", ALICE_TEST, rotate(1, 0), unseen.clone()),
        ("deleting a live one", ALICE_TEST, Action::DeleteApiKey(key(1)), unseen),
    ]);
    world.events(ALICE_TEST, Action::CreateApiKey(new_key(10, 1, Environment::Test)));
    world.events(ALICE_TEST, rename(9));
    world.events(ALICE_TEST, Action::DeleteApiKey(key(9)));
    let ids = |tenant| -> Vec<ApiKeyId> {
        let (page, total) = world.state.api_keys_page(tenant, 0, 10);
        assert_eq!(page.len() as u64, total);
        page.iter().map(|key| key.id).collect()
    };
    assert_eq!(ids(Tenant { environment: Environment::Test, ..ALICE_TENANT }), [key(10), key(2)]);
    assert_eq!(ids(ALICE_TENANT), [key(10), key(4), key(2), key(1)]);
    world.events(ALICE, rotate(10, 0));
}

#[test]
fn a_key_takes_over_no_key_that_is_more_than_itself() {
    let mut world = line();
    let short = CreateApiKey { expires_at: Some(T0 + 2_000), ..live(12) };
    world.events(ALICE, Action::CreateApiKey(short));
    let mightier = Refusal::Forbidden(
        "an API key cannot change a key that holds permissions which it does not hold".into(),
    );
    let grants =
        Refusal::Forbidden("an API key cannot grant permissions that it does not hold".into());
    let above = Refusal::Forbidden("an API key cannot rotate a key from which it descends".into());
    let longer =
        Refusal::Forbidden("an API key cannot rotate a key that works longer than itself".into());
    world.refuses(vec![
        ("a mightier one's name", CLERK, rename(9), mightier.clone()),
        ("a mightier one's end", CLERK, enable(9, false), mightier.clone()),
        ("a mightier one's life", CLERK, Action::DeleteApiKey(key(9)), mightier),
        ("a mightier one's secret", CLERK, rotate(9, 0), grants),
        ("its creator's secret", by(9), rotate(1, 0), above.clone()),
        ("the secret of one far above", by(11), rotate(9, 0), above),
        ("the secret of one that works longer", by(12), rotate(9, 0), longer),
    ]);
    world.events(by(9), rotate(11, 0));
    world.events(by(12), rotate(12, 0));
    world.events(CLERK, rotate(4, 0));
    world.events(OPERATOR, rotate(1, 0));
}

#[test]
fn a_line_of_keys_is_bounded() {
    let mut world = World::new();
    let mut last = ALICE;
    for n in 20..20 + limits::API_KEY_GENERATIONS_MAX as u8 - 1 {
        world.events(last, Action::CreateApiKey(live(n)));
        assert!(acts(&world, n));
        last = by(n.into());
    }
    let came = world.ask(last, Action::CreateApiKey(live(40)));
    assert!(matches!(came, Err(Refusal::Forbidden(_))), "{came:?}");
    world.events(ALICE, enable(1, false));
    let at = world.state.clock;
    assert_eq!(
        world.state.api_key_by_secret_hash(&hash(26), at),
        None,
        "the longest line ends too"
    );
    // What no command makes is dead, and looking at it ends.
    let mut circle = line();
    circle.state.put_api_key_creator(key(9), key(11));
    assert!([9, 10, 11].iter().all(|n| !acts(&circle, *n)));
}

#[test]
fn before_the_level_of_lines_nothing_is_noted_or_refused() {
    let mut world = World::new();
    world.state.level = Level::FIRST;
    world.events(ALICE_TEST, Action::CreateApiKey(live(9)));
    assert_eq!(world.state.api_key_creator(key(9)), None);
    world.events(CLERK, rename(1));
    world.events(ALICE_TEST, Action::DeleteApiKey(key(2)));
    assert!(acts(&world, 9));
}
