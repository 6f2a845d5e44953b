//! Domains: names, proofs, who holds one, and checks that come too late.

use std::sync::Arc;

use super::{super::*, golden::check, world::*};
use crate::limits;

fn dom(n: u128) -> DomainId {
    DomainId::from_ulid(n)
}

pub(crate) fn new_domain(n: u8, name: &str) -> Action {
    Action::CreateDomain(CreateDomain { id: dom(n.into()), name: name.into(), challenge: [n; 32] })
}

/// What a node that looks at domain `n` now would propose; `check` is minted.
fn look(world: &World, n: u128, check: u8, seen: Seen) -> RecordDomainCheck {
    let domain = &world.state.domains[&dom(n)];
    RecordDomainCheck {
        id: [check; 16],
        domain: domain.id,
        challenge: domain.challenge,
        epoch: domain.epoch,
        seen,
    }
}

/// Its record is there, among others.
fn found(world: &World, n: u128) -> Seen {
    Seen::Texts(vec!["v=spf1 -all".into(), world.state.domains[&dom(n)].txt_value()])
}

fn verify(world: &World, n: u128, check: u8) -> Action {
    Action::RecordDomainCheck(look(world, n, check, found(world, n)))
}

fn miss(world: &World, n: u128, check: u8) -> Action {
    Action::RecordDomainCheck(look(world, n, check, Seen::NoName(())))
}

/// Domain 1 is Alice's `a.example`, domain 2 Bob's.
fn world() -> World {
    let mut world = World::new();
    assert_eq!(world.events(ALICE, new_domain(1, "a.example")), ["domain.created"]);
    assert_eq!(world.events(BOB, new_domain(2, "a.example")), ["domain.created"]);
    world
}

fn shown(world: &World, of: u128) -> Vec<String> {
    let names = world.state.verified_domains(org(of));
    names.into_iter().flat_map(|names| names.iter()).map(ToString::to_string).collect()
}

#[test]
fn a_check_changes_the_status_and_tells_of_changes_alone() {
    let (proved, missing) = (true, false);
    for (before, finds, after, told) in [
        (DomainStatus::Pending, proved, DomainStatus::Verified, "domain.verified"),
        (DomainStatus::Pending, missing, DomainStatus::Failed, "domain.failed"),
        (DomainStatus::Verified, proved, DomainStatus::Verified, "-"),
        (DomainStatus::Verified, missing, DomainStatus::Failed, "domain.lost"),
        (DomainStatus::Failed, proved, DomainStatus::Verified, "domain.verified"),
        (DomainStatus::Failed, missing, DomainStatus::Failed, "-"),
    ] {
        let mut world = world();
        match before {
            DomainStatus::Pending => {}
            DomainStatus::Verified => drop(world.events(ALICE, verify(&world, 1, 1))),
            DomainStatus::Failed => drop(world.events(ALICE, miss(&world, 1, 1))),
        }
        let world = &mut world.at(T0 + 7);
        let action = if finds { verify(world, 1, 2) } else { miss(world, 1, 2) };
        assert_eq!(world.events(NODE, action), [told], "{before:?}");
        let domain = &world.state.domains[&dom(1)];
        assert_eq!((domain.status, domain.last_checked_at), (after, Some(T0 + 7)), "{before:?}");
        let expected: &[&str] = if finds { &["a.example"] } else { &[] };
        assert_eq!(shown(world, 1), expected);
    }
}

#[test]
fn only_the_exact_value_proves_a_domain() {
    let world = world();
    let domain = &world.state.domains[&dom(1)];
    assert_eq!(domain.txt_name(), "_authrai-challenge.a.example");
    let value = domain.txt_value();
    assert_eq!(value, "authrai-verification=AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE");
    let others = world.state.domains[&dom(2)].txt_value();
    for text in [format!("{value} "), value[1..].to_owned(), value.to_lowercase(), others] {
        let check = look(&world, 1, 1, Seen::Texts(vec![text]));
        let mut world = world.clone();
        let came = world.events(ALICE, Action::RecordDomainCheck(check));
        assert_eq!(came, ["domain.failed"]);
    }
}

#[test]
fn a_check_that_another_has_overtaken_counts_nothing() {
    let mut world = world();
    let slow = look(&world, 1, 1, Seen::NoName(()));
    world.events(ALICE, verify(&world, 1, 2));
    let stale = Err(Refusal::DomainCheckStale(()));
    assert_eq!(world.ask(ALICE, Action::RecordDomainCheck(slow.clone())), stale);
    assert_eq!(shown(&world, 1), ["a.example"]);

    // The id is that of a domain that was deleted and, by somebody's hand, made again.
    world.events(ALICE, Action::DeleteDomain(dom(1)));
    let again = CreateDomain { id: dom(1), name: "a.example".into(), challenge: [9; 32] };
    world.events(ALICE, Action::CreateDomain(again));
    assert_eq!(world.ask(ALICE, Action::RecordDomainCheck(slow)), stale);
}

#[test]
fn a_check_that_is_proposed_again_is_answered_and_counts_once() {
    let mut world = world();
    let action = verify(&world, 1, 1);
    let first = world.ask(ALICE, action.clone()).expect("accepted");
    let second = world.ask(ALICE, action).expect("accepted");
    assert_eq!((first.1.as_slice(), second.1.as_slice()), (&["domain.verified"][..], &[][..]));
    assert_eq!(first.0, second.0);

    let create = new_domain(1, "a.example");
    let (outcome, events) = world.ask(ALICE, create).expect("accepted");
    assert_eq!((outcome, events), (first.0, vec![]));
    let other = new_domain(1, "b.example");
    assert_eq!(world.ask(ALICE, other), Err(Refusal::IdTaken(Kind::Domain(()))));
}

#[test]
fn one_organisation_at_a_time_holds_a_name() {
    let mut world = world();
    world.events(ALICE, verify(&world, 1, 1));
    let held = Err(Refusal::DomainHeld(()));
    assert_eq!(world.ask(BOB, verify(&world, 2, 1)), held);
    assert_eq!((shown(&world, 1), shown(&world, 2)), (vec!["a.example".into()], vec![]));
    world.events(BOB, miss(&world, 2, 1));
    assert_eq!(world.ask(BOB, verify(&world, 2, 2)), held, "whatever its status");

    world.events(ALICE, miss(&world, 1, 2));
    world.events(BOB, verify(&world, 2, 3));
    assert_eq!(world.ask(NODE, verify(&world, 1, 3)), held, "nor by itself");
    world.events(BOB, Action::DeleteDomain(dom(2)));
    assert_eq!(world.events(NODE, verify(&world, 1, 4)), ["domain.verified"]);
}

#[test]
fn domains_are_looked_at_again_once_they_were_verified_the_oldest_look_first() {
    let mut world = World::new();
    let due = |world: &World, by| -> Vec<DomainId> {
        let all = world.state.domains_to_recheck((0, dom(0)), by);
        all.map(|(_, domain)| domain.id).collect()
    };
    for (n, at) in [(3, T0), (1, T0 + 1), (2, T0 + 2)] {
        world = world.at(at);
        world.events(ALICE, new_domain(n, &format!("{n}.example")));
        world.events(ALICE, miss(&world, n.into(), 1));
        assert_eq!(due(&world, T0 + 9).len(), usize::from(n % 3), "never verified: {n}");
        world.events(ALICE, verify(&world, n.into(), 2));
    }
    assert_eq!(due(&world, T0 + 9), [dom(3), dom(1), dom(2)]);
    assert_eq!(due(&world, T0 + 1), [dom(3), dom(1)]);
    let (place, _) = world.state.domains_to_recheck((0, dom(0)), T0).next().expect("due");
    let rest: Vec<_> = world.state.domains_to_recheck(place, T0 + 9).collect();
    assert_eq!(rest.len(), 2, "from behind a place on");

    world = world.at(T0 + 5);
    world.events(NODE, miss(&world, 3, 3));
    assert_eq!(due(&world, T0 + 9), [dom(1), dom(2), dom(3)], "also after it was lost");
    world.events(ALICE, Action::DeleteDomain(dom(1)));
    assert_eq!(due(&world, T0 + 9), [dom(2), dom(3)]);
}

#[test]
fn what_is_refused_of_domains() {
    let mut world = world();
    let name = |name: &str| new_domain(7, name);
    for bad in [
        "",
        "a",
        "a.",
        ".a",
        "a..b",
        "A.example",
        "é.example",
        "a_b.example",
        "-a.example",
        "a-.example",
        "*.example",
        "a b.example",
        "192.0.2.1",
        "a.1",
        &format!("{}.example", "a".repeat(64)),
        &format!("{}example", "a.".repeat(120)),
    ] {
        let came = world.state.decide(T0, &command(ALICE, name(bad)));
        assert_eq!(invalid_field(came), "domain", "{bad}");
    }
    let long = Seen::Texts(vec!["x".repeat(limits::DOMAIN_SEEN_MAX_CHARS + 1)]);
    let many = Seen::Texts(vec![String::new(); limits::DOMAIN_SEEN_MAX + 1]);
    let raw = Seen::Texts(vec!["\u{0}".into()]);
    for seen in [long, many, raw] {
        let check = Action::RecordDomainCheck(look(&world, 1, 1, seen));
        assert_eq!(invalid_field(world.state.decide(T0, &command(NODE, check))), "seen");
    }
    let unknown = Refusal::NotFound(Kind::Domain(()));
    let of_bob = Action::RecordDomainCheck(look(&world, 2, 1, Seen::NoName(())));
    world.refuses(vec![
        ("a name twice", ALICE, name("a.example"), Refusal::DomainListed(dom(1))),
        ("another's", ALICE, Action::DeleteDomain(dom(2)), unknown.clone()),
        ("none", ALICE, Action::DeleteDomain(dom(9)), unknown.clone()),
        ("a look at another's", ALICE, of_bob, unknown),
    ]);
    for n in 0..limits::DOMAINS_PER_ORGANIZATION_MAX - 1 {
        let id = dom(1_000 + n as u128);
        let new = CreateDomain { id, name: format!("{n}.example"), challenge: [1; 32] };
        world.events(ALICE, Action::CreateDomain(new));
    }
    let came = world.ask(ALICE, name("one-more.example"));
    assert!(matches!(came, Err(Refusal::TooMany(_))), "{came:?}");
    world.events(BOB, name("one-more.example"));
}

#[test]
fn events_of_domains_stand_in_the_live_chain_and_tell_what_was_seen() {
    let mut world = world();
    let verified = verify(&world, 1, 1);
    let decision = world.state.decide(T0, &command(ALICE, verified)).expect("accepted");
    assert_eq!(decision.events[0].chain, ALICE_TENANT);
    let decision = world.state.decide(T0, &command(ALICE, miss(&world, 1, 1))).expect("accepted");
    assert_eq!(
        serde_json::Value::from(decision.events[0].fact.data()),
        serde_json::json!({
            "domain_id": dom(1).to_string(),
            "domain": "a.example",
            "status": "failed",
            "seen": ["NXDOMAIN: the name does not exist"],
        })
    );
    world.events(ALICE, Action::DeleteDomain(dom(1)));
}

pub(crate) fn a_domain() -> DnsDomain {
    DnsDomain {
        id: dom(1),
        org: org(1),
        name: "a.b".into(),
        challenge: [2; 32],
        status: DomainStatus::Verified,
        seen: Some(Seen::Texts(vec!["c".into()])),
        last_check: Some([3; 16]),
        last_checked_at: Some(4),
        epoch: 5,
        created_at: 6,
        verified_at: Some(7),
        lost_at: None,
    }
}

#[test]
fn everything_stored_of_domains_keeps_its_meaning() {
    let record = RecordDomainCheck {
        id: [1; 16],
        domain: dom(2),
        challenge: [3; 32],
        epoch: 4,
        seen: Seen::NoTexts(()),
    };
    check(&[
        (
            new_domain(1, "a.b"),
            "01780000000000000000000000000000000103612e620101010101010101010101010101010101010101010101010101010101010101",
        ),
        (Action::DeleteDomain(dom(1)), "017900000000000000000000000000000001"),
        (
            Action::RecordDomainCheck(record),
            "017a010101010101010101010101010101010000000000000000000000000000000203030303030303030303030303030303030303030303030303030303030303030402",
        ),
    ]);
    check(&[(
        Outcome::Domain(Arc::new(a_domain())),
        "0123000000000000000000000000000000010000000000000000000000000000000103612e620202020202020202020202020202020202020202020202020202020202020202020101010163010303030303030303030303030303030301040506010700",
    )]);
    check(&[
        (Refusal::NotFound(Kind::Domain(())), "01020a"),
        (Refusal::DomainListed(dom(1)), "012300000000000000000000000000000001"),
        (Refusal::DomainHeld(()), "0124"),
        (Refusal::DomainCheckStale(()), "0125"),
    ]);
    check(&[
        (Seen::Texts(vec!["a".into()]), "0101010161"),
        (Seen::NoTexts(()), "0102"),
        (Seen::NoName(()), "0103"),
    ]);
    check(&[
        (DomainStatus::Pending, "0101"),
        (DomainStatus::Verified, "0102"),
        (DomainStatus::Failed, "0103"),
    ]);
}
