//! Who may do what.

use super::{super::*, dns_domain::new_domain, world::*};

/// One action of each kind, with the permission that an API key needs for it and whether an
/// operator, a node, and setup may take it.
fn actions() -> Vec<(Action, Option<Permission>, bool, bool, bool)> {
    use Permission::{AgentsWrite, ApiKeysWrite, DomainsWrite, TokensIssue, TokensRevoke};
    let rename = UpdateApiKey { id: key(2), name: Some("New".into()), enabled: None };
    let rotate =
        RotateApiKey { id: key(2), secret_hash: hash(50), last_four: "abcd".into(), grace_s: 0 };
    let org_change =
        UpdateOrganization { id: org(1), name: Some("New".into()), default_effect: None };
    let agent_key = RotateAgentKey { id: agent(1), public_key: [50; 32] };
    let look = RecordDomainCheck {
        id: [1; 16],
        domain: DomainId::from_ulid(1),
        challenge: [1; 32],
        epoch: 0,
        seen: Seen::NoName(()),
    };
    vec![
        (Action::CreateOrganization(new_org(9)), None, true, false, true),
        (Action::UpdateOrganization(org_change), None, true, false, false),
        (
            Action::CreateApiKey(new_key(9, 1, Environment::Live)),
            Some(ApiKeysWrite),
            true,
            false,
            true,
        ),
        (Action::UpdateApiKey(rename), Some(ApiKeysWrite), true, false, false),
        (Action::RotateApiKey(rotate), Some(ApiKeysWrite), true, false, false),
        (Action::DeleteApiKey(key(2)), Some(ApiKeysWrite), true, false, false),
        (Action::TouchApiKeys(vec![(key(1), T0)]), None, false, true, false),
        (Action::CreateAgent(new_agent(9)), Some(AgentsWrite), false, false, false),
        (Action::UpdateAgent(update_agent(1)), Some(AgentsWrite), false, false, false),
        (Action::RotateAgentKey(agent_key), Some(AgentsWrite), false, false, false),
        (Action::RevokeAgentTokens(agent(1)), Some(AgentsWrite), false, false, false),
        (Action::RevokeAgent(agent(1)), Some(AgentsWrite), false, false, false),
        (Action::IssueToken(new_token(9, 1, S0, 300)), Some(TokensIssue), false, false, false),
        (Action::RevokeToken(TokenRef::Id(tok(1))), Some(TokensRevoke), false, false, false),
        (Action::RegisterSigningKey(new_signing_key(9)), None, false, true, false),
        (Action::RetireSigningKey(sig(1)), None, true, true, false),
        (Action::RevokeSigningKey(sig(1)), None, true, false, false),
        (Action::CreateOperatorKey(new_operator(9)), None, true, false, false),
        (Action::DeleteOperatorKey(op(2)), None, true, false, false),
        (Action::Tick(()), None, false, true, false),
        (new_domain(9, "b.example"), Some(DomainsWrite), false, false, false),
        (Action::DeleteDomain(DomainId::from_ulid(1)), Some(DomainsWrite), false, false, false),
        (Action::RecordDomainCheck(look), Some(DomainsWrite), false, true, false),
    ]
}

/// A world with two operator keys, so that one can go, and a domain.
fn world() -> World {
    let mut world = World::new();
    world.events(OPERATOR, Action::CreateOperatorKey(new_operator(2)));
    world.events(ALICE, new_domain(1, "a.example"));
    world
}

fn with_permissions(mut world: World, permissions: Permissions) -> World {
    let mut own = ApiKey::clone(&world.state.api_keys[&key(1)]);
    own.permissions = permissions;
    world.state.put_api_key(std::sync::Arc::new(own));
    world
}

#[test]
fn an_action_takes_exactly_the_right_that_is_its_own() {
    for (action, permission, operator, node, setup) in actions() {
        let world = world();
        let came = |actor| world.state.decide(T0, &command(actor, action.clone()));
        let forbidden =
            |came: Result<Decision, Refusal>| matches!(came, Err(Refusal::Forbidden(_)));
        assert_eq!(came(ALICE).is_ok(), permission.is_some(), "API key: {action:?}");
        assert_eq!(forbidden(came(ALICE)), permission.is_none(), "API key: {action:?}");
        for (actor, may) in [(OPERATOR, operator), (NODE, node), (SETUP, setup)] {
            assert_eq!(came(actor).is_ok(), may, "{actor:?}: {action:?}");
            assert_eq!(forbidden(came(actor)), !may, "{actor:?}: {action:?}");
        }
        let Some(permission) = permission else { continue };
        let others = Permission::ALL.iter().copied().filter(|other| *other != permission).collect();
        let world = with_permissions(world.clone(), others);
        let text = format!("this takes the permission {}", permission.as_str());
        assert_eq!(world.state.decide(T0, &command(ALICE, action)), Err(Refusal::Forbidden(text)));
    }
}

#[test]
fn a_dead_caller_decides_nothing() {
    let issue = Action::IssueToken(new_token(9, 1, S0, 300));
    let by = |world: &World, at| world.state.decide(at, &command(ALICE, issue.clone()));
    assert!(by(&World::new(), T0).is_ok());

    let mut disabled = World::new();
    let change = UpdateApiKey { id: key(1), name: None, enabled: Some(false) };
    disabled.events(OPERATOR, Action::UpdateApiKey(change));
    assert_eq!(by(&disabled, T0), Err(Refusal::CallerUnknown(())));

    let mut deleted = World::new();
    deleted.events(OPERATOR, Action::DeleteApiKey(key(1)));
    assert_eq!(by(&deleted, T0), Err(Refusal::CallerUnknown(())));

    let mut world = World::new();
    let mut own = ApiKey::clone(&world.state.api_keys[&key(1)]);
    own.expires_at = Some(T0 + 1);
    world.state.put_api_key(std::sync::Arc::new(own));
    assert!(by(&world, T0).is_ok());
    assert_eq!(by(&world, T0 + 1), Err(Refusal::CallerUnknown(())));

    let unknown = [Actor::ApiKey(key(99)), Actor::Operator(op(99))];
    for actor in unknown {
        let came = world.state.decide(T0, &command(actor, issue.clone()));
        assert_eq!(came, Err(Refusal::CallerUnknown(())));
    }
}

#[test]
fn a_request_id_is_fenced() {
    let world = World::new();
    for bad in ["x".repeat(129), "a\nb".into()] {
        let command =
            Command { request_id: bad, ..command(ALICE, Action::CreateAgent(new_agent(9))) };
        assert_eq!(invalid_field(world.state.decide(T0, &command)), "request_id");
    }
}
