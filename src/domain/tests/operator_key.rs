//! Operator keys.

use super::{super::*, world::*};

const KIND: Kind = Kind::OperatorKey(());

#[test]
fn setup_makes_the_first_operator_key_and_no_other() {
    let mut world = World { state: State::default() };
    let first = Action::CreateOperatorKey(new_operator(1));
    assert_eq!(world.events(SETUP, first.clone()), ["operator_key.created"]);
    assert!(world.events(SETUP, first).is_empty(), "asked again, it is the same one");
    let second = world.ask(SETUP, Action::CreateOperatorKey(new_operator(2)));
    assert!(matches!(second, Err(Refusal::Forbidden(_))));
}

#[test]
fn an_operator_key_is_found_by_its_secret_until_it_goes() {
    let mut world = World::new();
    world.events(OPERATOR, Action::CreateOperatorKey(new_operator(2)));
    let found = world.state.operator_by_secret_hash(&hash(102)).map(|key| key.id);
    assert_eq!(found, Some(op(2)));
    assert_eq!(world.state.operator_keys_page(0, 1).0[0].id, op(2));
    assert_eq!(
        world.state.operator_keys_page(1, 1),
        (vec![world.state.operator_keys[&op(1)].clone()], 2)
    );
    assert_eq!(
        world.ask(OPERATOR, Action::DeleteOperatorKey(op(2))),
        Ok((Outcome::Deleted(()), vec!["operator_key.deleted"]))
    );
    assert!(world.state.operator_by_secret_hash(&hash(102)).is_none());
    world.refuses(vec![(
        "made again by a command that came late",
        OPERATOR,
        Action::CreateOperatorKey(new_operator(2)),
        Refusal::IdTaken(KIND),
    )]);
}

#[test]
fn an_operator_key_is_refused() {
    let mut world = World::new();
    let other = CreateOperatorKey { name: "Other".into(), ..new_operator(1) };
    let same_secret = CreateOperatorKey { secret_hash: hash(101), ..new_operator(2) };
    world.refuses(vec![
        ("another of that id", OPERATOR, Action::CreateOperatorKey(other), Refusal::IdTaken(KIND)),
        (
            "a secret that opens another",
            OPERATOR,
            Action::CreateOperatorKey(same_secret),
            Refusal::IdTaken(KIND),
        ),
        ("unknown", OPERATOR, Action::DeleteOperatorKey(op(9)), Refusal::NotFound(KIND)),
        ("the last one", OPERATOR, Action::DeleteOperatorKey(op(1)), Refusal::LastOne(KIND)),
    ]);
    let nameless = CreateOperatorKey { name: String::new(), ..new_operator(2) };
    let short = CreateOperatorKey { last_four: "abc".into(), ..new_operator(2) };
    for (new, field) in [(nameless, "name"), (short, "last_four")] {
        let came = world.state.decide(T0, &command(OPERATOR, Action::CreateOperatorKey(new)));
        assert_eq!(invalid_field(came), field);
    }
    for n in 2..=crate::limits::OPERATOR_KEYS_MAX as u8 {
        let mut new = new_operator(0);
        new.id = op(n.into());
        new.secret_hash = [n, 7].repeat(16).try_into().expect("32 bytes");
        world.events(OPERATOR, Action::CreateOperatorKey(new));
    }
    let full = world.ask(OPERATOR, Action::CreateOperatorKey(new_operator(120)));
    assert!(matches!(full, Err(Refusal::TooMany(_))), "{full:?}");
}
