//! Organisations.

use super::{super::*, world::*};

#[test]
fn an_organization_is_made_once_and_changed_by_what_differs() {
    let mut world = World::new();
    assert_eq!(
        world.events(OPERATOR, Action::CreateOrganization(new_org(5))),
        ["organization.created"]
    );
    assert!(world.events(OPERATOR, Action::CreateOrganization(new_org(5))).is_empty());
    let change = |name: &str, effect| {
        Action::UpdateOrganization(UpdateOrganization {
            id: org(5),
            name: Some(name.into()),
            default_effect: effect,
        })
    };
    assert!(world.events(OPERATOR, change("Org 5", Some(DefaultEffect::Allow))).is_empty());
    let mut world = world.at(T0 + 1);
    assert_eq!(
        world.events(OPERATOR, change("New", Some(DefaultEffect::Deny))),
        ["organization.updated"]
    );
    let now = &world.state.organizations[&org(5)];
    assert_eq!((now.name.as_str(), now.default_effect), ("New", DefaultEffect::Deny));
    assert_eq!((now.created_at, now.updated_at), (T0, T0 + 1));
    // Made long ago and changed since: still the one that this command made.
    assert!(world.events(OPERATOR, Action::CreateOrganization(new_org(5))).is_empty());
}

#[test]
fn an_organization_is_refused() {
    let world = World::new();
    let taken = Refusal::IdTaken(Kind::Organization(()));
    let renamed = CreateOrganization { name: "Other".into(), ..new_org(1) };
    let system = CreateOrganization { id: OrgId::SYSTEM, ..new_org(1) };
    let nowhere = UpdateOrganization { id: org(99), name: None, default_effect: None };
    world.refuses(vec![
        ("another of that id", OPERATOR, Action::CreateOrganization(renamed), taken.clone()),
        ("the cluster's own id", OPERATOR, Action::CreateOrganization(system), taken),
        (
            "unknown",
            OPERATOR,
            Action::UpdateOrganization(nowhere),
            Refusal::NotFound(Kind::Organization(())),
        ),
    ]);
    let nameless =
        Action::CreateOrganization(CreateOrganization { name: " ".into(), ..new_org(8) });
    let renaming = Action::UpdateOrganization(UpdateOrganization {
        id: org(1),
        name: Some("a\0".into()),
        default_effect: None,
    });
    for action in [nameless, renaming] {
        let came = world.state.decide(T0, &command(OPERATOR, action));
        assert_eq!(invalid_field(came), "name");
    }
}

#[test]
fn organizations_are_listed_newest_first() {
    let world = World::new();
    let (page, total) = world.state.organizations_page(0, 1);
    assert_eq!((page[0].id, page.len(), total), (org(2), 1, 2));
    assert_eq!(world.state.organizations_page(1, 10).0[0].id, org(1));
    assert!(world.state.organizations_page(2, 10).0.is_empty());
}
