//! API keys.

use super::{super::*, world::*};
use crate::{limits, rfc3339};

const KIND: Kind = Kind::ApiKey(());

fn rotate(n: u128, secret: u8, grace_s: u64) -> Action {
    Action::RotateApiKey(RotateApiKey {
        id: key(n),
        secret_hash: hash(secret),
        last_four: "new4".into(),
        grace_s,
    })
}

fn update(n: u128, name: Option<&str>, enabled: Option<bool>) -> Action {
    Action::UpdateApiKey(UpdateApiKey { id: key(n), name: name.map(Into::into), enabled })
}

#[test]
fn an_api_key_opens_with_its_secret_while_it_lives() {
    let mut world = World::new();
    let new = CreateApiKey { expires_at: Some(T0 + 10), ..new_key(9, 1, Environment::Live) };
    assert_eq!(world.events(ALICE, Action::CreateApiKey(new.clone())), ["api_key.created"]);
    assert!(world.events(ALICE, Action::CreateApiKey(new)).is_empty());
    let opens = |world: &World, at| {
        world.state.api_key_by_secret_hash(&hash(9), at).is_some_and(|found| found.id == key(9))
    };
    assert!(opens(&world, T0 + 9) && !opens(&world, T0 + 10));
    assert_eq!(world.events(ALICE, update(9, Some("Key 9"), Some(true))), [""; 0]);
    assert_eq!(world.events(ALICE, update(9, Some("N"), Some(false))), ["api_key.updated"]);
    assert!(!opens(&world, T0));
    assert_eq!(world.events(ALICE, update(9, None, Some(true))), ["api_key.updated"]);
    assert!(opens(&world, T0));
    assert_eq!(
        world.ask(ALICE, Action::DeleteApiKey(key(9))),
        Ok((Outcome::Deleted(()), vec!["api_key.deleted"]))
    );
    assert!(!opens(&world, T0));
}

#[test]
fn a_rotated_key_opens_with_its_old_secret_for_the_grace_only() {
    let mut world = World::new();
    assert_eq!(world.events(BOB, rotate(3, 50, 10)), ["api_key.rotated"]);
    assert!(world.events(BOB, rotate(3, 50, 10)).is_empty(), "asked again, it is the same one");
    let opens =
        |world: &World, secret, at| world.state.api_key_by_secret_hash(&hash(secret), at).is_some();
    assert!(opens(&world, 3, T0 + 9_999) && !opens(&world, 3, T0 + 10_000));
    assert!(opens(&world, 50, T0 + 10_000));
    assert_eq!(world.events(BOB, rotate(3, 51, 0)), ["api_key.rotated"]);
    assert!(!opens(&world, 3, T0) && !opens(&world, 50, T0) && opens(&world, 51, T0));
    assert_eq!(world.state.api_keys_by_hash.len(), 4, "no hash of a dead secret is left");
}

#[test]
fn a_command_that_comes_late_revives_no_secret() {
    let taken = Refusal::IdTaken(KIND);
    let mut world = World::new();
    world.events(OPERATOR, rotate(3, 50, 0));
    world.events(OPERATOR, rotate(3, 51, 0));
    world.events(OPERATOR, Action::DeleteApiKey(key(2)));
    world.refuses(vec![
        ("an older rotation", OPERATOR, rotate(3, 50, 0), taken.clone()),
        (
            "the creation of a deleted key",
            OPERATOR,
            Action::CreateApiKey(new_key(2, 1, Environment::Test)),
            taken,
        ),
    ]);
}

#[test]
fn an_api_key_is_refused() {
    let world = World::new();
    let live = |n| new_key(n, 1, Environment::Live);
    let create = Action::CreateApiKey;
    let taken = Refusal::IdTaken(KIND);
    let unknown = Refusal::NotFound(KIND);
    let no_org = Refusal::NotFound(Kind::Organization(()));
    let cannot =
        Refusal::Forbidden("an API key cannot grant permissions that it does not hold".into());
    world.refuses(vec![
        (
            "unknown organisation",
            OPERATOR,
            create(new_key(9, 9, Environment::Live)),
            no_org.clone(),
        ),
        ("another's organisation", BOB, create(live(9)), no_org),
        (
            "another secret under that id",
            ALICE,
            create(CreateApiKey { secret_hash: hash(77), ..live(1) }),
            taken.clone(),
        ),
        (
            "other permissions under that id",
            ALICE,
            create(CreateApiKey { permissions: Permissions::NONE, ..live(1) }),
            taken.clone(),
        ),
        (
            "another environment under that id",
            ALICE,
            create(new_key(1, 1, Environment::Test)),
            taken.clone(),
        ),
        (
            "a secret that opens another",
            ALICE,
            create(CreateApiKey { secret_hash: hash(3), ..live(9) }),
            taken.clone(),
        ),
        ("granting more than it holds", CLERK, create(live(9)), cannot.clone()),
        ("the secret of a mightier key", CLERK, rotate(1, 50, 0), cannot),
        ("rotating to another's secret", ALICE, rotate(1, 3, 0), taken),
        ("updating another's", BOB, update(1, Some("N"), None), unknown.clone()),
        ("rotating another's", BOB, rotate(1, 50, 0), unknown.clone()),
        ("deleting another's", BOB, Action::DeleteApiKey(key(1)), unknown.clone()),
        ("deleting one that is not there", OPERATOR, Action::DeleteApiKey(key(99)), unknown),
    ]);
    let long = "x".repeat(limits::NAME_MAX_CHARS + 1);
    for (field, action) in [
        ("name", create(CreateApiKey { name: String::new(), ..live(9) })),
        ("name", update(1, Some(&long), None)),
        ("last_four", create(CreateApiKey { last_four: "a\u{7f}cd".into(), ..live(9) })),
        ("expires_at", create(CreateApiKey { expires_at: Some(T0), ..live(9) })),
        ("expires_at", create(CreateApiKey { expires_at: Some(rfc3339::LAST_MS + 1), ..live(9) })),
        ("grace_seconds", rotate(1, 50, limits::ROTATION_GRACE_MAX_S + 1)),
        ("grace_seconds", rotate(1, 50, u64::MAX)),
    ] {
        assert_eq!(invalid_field(world.state.decide(T0, &command(ALICE, action))), field);
    }
}

#[test]
fn a_weak_key_does_not_wake_a_mightier_one() {
    let mut world = World::new();
    world.events(ALICE, update(2, None, Some(false)));
    let wake = world.ask(CLERK, update(2, None, Some(true)));
    assert!(matches!(wake, Err(Refusal::Forbidden(_))), "{wake:?}");
}

#[test]
fn an_organization_has_a_bounded_number_of_keys() {
    let mut world = World::new();
    for n in 0..limits::API_KEYS_PER_ORGANIZATION_MAX - 3 {
        let mut new = new_key(0, 1, Environment::Live);
        new.id = key(1000 + n as u128);
        new.secret_hash[..8].copy_from_slice(&(1000 + n as u64).to_be_bytes());
        world.events(OPERATOR, Action::CreateApiKey(new));
    }
    let one_more = Action::CreateApiKey(new_key(9, 1, Environment::Live));
    let came = world.ask(OPERATOR, one_more);
    assert!(matches!(came, Err(Refusal::TooMany(_))), "{came:?}");
    assert_eq!(world.state.api_keys_page(ALICE_TENANT, 0, 1).1, 1000);
}

#[test]
fn uses_are_noted_forwards_only_and_silently() {
    let mut world = World::new();
    let touch = |uses: &[(u128, Millis)]| {
        Action::TouchApiKeys(uses.iter().map(|(n, at)| (key(*n), *at)).collect())
    };
    assert_eq!(world.events(NODE, touch(&[(1, T0 - 5), (99, T0), (3, u64::MAX)])), ["-", "-"]);
    assert!(world.events(NODE, touch(&[(1, T0 - 6)])).is_empty());
    assert_eq!(world.state.api_keys[&key(1)].last_used_at, Some(T0 - 5));
    assert_eq!(world.state.api_keys[&key(3)].last_used_at, Some(T0), "none in the future");
}

#[test]
fn keys_of_an_organization_are_listed_newest_first() {
    let world = World::new();
    let ids = |offset, limit| -> Vec<ApiKeyId> {
        world.state.api_keys_page(ALICE_TENANT, offset, limit).0.iter().map(|key| key.id).collect()
    };
    assert_eq!(ids(0, 10), [key(4), key(2), key(1)]);
    assert_eq!(ids(1, 1), [key(2)]);
    assert_eq!(world.state.api_keys_page(ALICE_TENANT, 0, 1).1, 3);
}
