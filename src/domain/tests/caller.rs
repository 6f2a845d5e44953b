//! Who may do what.

use super::{
    super::{caller::admit, *},
    dns_domain::new_domain,
    restoration::new_restore,
    webhook::new_webhook,
    world::*,
};

/// Who may take an action: an API key with all of these permissions, and of the letters an
/// (o)perator, a (n)ode, the (s)etup.
type May = (&'static [Permission], &'static str);

/// The matrix. A new kind of action has to say here who may take it, and to have a sample below.
fn may(action: &Action) -> May {
    use Permission::{
        AgentsWrite, ApiKeysWrite, ApprovalsWrite, AuditRead, BillingWrite, DomainsWrite,
        PoliciesWrite, TokensIssue, TokensRevoke, WebhooksWrite,
    };
    match action {
        Action::CreateOrganization(_) | Action::CreateOperatorKey(_) => (&[], "os"),
        Action::UpdateOrganization(_)
        | Action::RevokeSigningKey(_)
        | Action::DeleteOperatorKey(_)
        | Action::LiftSuspension(_) => (&[], "o"),
        Action::CreateApiKey(_) => (&[ApiKeysWrite], "os"),
        Action::UpdateApiKey(_) | Action::RotateApiKey(_) | Action::DeleteApiKey(_) => {
            (&[ApiKeysWrite], "o")
        }
        Action::CreateAgent(_)
        | Action::UpdateAgent(_)
        | Action::RotateAgentKey(_)
        | Action::RevokeAgentTokens(_)
        | Action::RevokeAgent(_) => (&[AgentsWrite], ""),
        Action::IssueToken(_) | Action::DeclineToken(_) => (&[TokensIssue], ""),
        Action::RevokeToken(_) => (&[TokensRevoke], ""),
        Action::CreatePolicy(_) | Action::UpdatePolicy(_) | Action::DeletePolicy(_) => {
            (&[PoliciesWrite], "")
        }
        Action::Approve(_) | Action::Disapprove(_) => (&[ApprovalsWrite], ""),
        Action::RetireSigningKey(_) => (&[], "on"),
        Action::RegisterSigningKey(_)
        | Action::TouchApiKeys(_)
        | Action::Tick(())
        | Action::RecordDeliveries(_) => (&[], "n"),
        Action::CreateWebhook(_) | Action::UpdateWebhook(_) => (&[WebhooksWrite, AuditRead], ""),
        Action::DeleteWebhook(_) | Action::RotateWebhookSecret(_) | Action::RetryDelivery(_) => {
            (&[WebhooksWrite], "")
        }
        Action::CreateDomain(_) | Action::DeleteDomain(_) => (&[DomainsWrite], ""),
        Action::RecordDomainCheck(_) => (&[DomainsWrite], "n"),
        Action::SetPlans(_) | Action::SetOperatorPlans(_) => (&[], "ns"),
        Action::Restore(_) => (&[], "s"),
        Action::ChangePlan(_) => (&[BillingWrite], "os"),
    }
}

fn policy_actions() -> Vec<Action> {
    let id = PolicyId::from_ulid(1);
    let rules = CheckedRules { rules: Vec::new(), steps: 0 };
    let new = CreatePolicy {
        id,
        name: "p".into(),
        description: None,
        priority: 1,
        rules,
        is_active: true,
    };
    let change = UpdatePolicy {
        id,
        name: None,
        description: None,
        priority: None,
        rules: None,
        is_active: None,
    };
    let declined = DeclineToken {
        id: ApprovalId::from_ulid(1),
        agent: agent(1),
        scope: vec!["a".into()],
        ttl_s: 60,
        target_service: "any".into(),
        intent: None,
        signed: None,
        judged: judged(1, S0, End::Deny(None)),
    };
    vec![
        Action::CreatePolicy(new),
        Action::UpdatePolicy(change),
        Action::DeletePolicy(id),
        Action::DeclineToken(declined),
        Action::Approve(ApprovalId::from_ulid(1)),
        Action::Disapprove(ApprovalId::from_ulid(1)),
    ]
}

fn webhook_actions() -> Vec<Action> {
    let id = WebhookId::from_ulid(1);
    let change =
        UpdateWebhook { id, url: None, events: None, description: None, enabled: Some(true) };
    let secret = SealedSecret { version: 2, sealed: vec![1; 72] };
    let delivery = DeliveryId::from_ulid(1);
    vec![
        Action::CreateWebhook(new_webhook(1)),
        Action::UpdateWebhook(change),
        Action::DeleteWebhook(id),
        Action::RotateWebhookSecret(RotateWebhookSecret { id, secret, grace_s: 0 }),
        Action::RetryDelivery(RetryDelivery { webhook: id, delivery }),
        Action::RecordDeliveries(RecordDeliveries { endpoints: Vec::new() }),
    ]
}

fn key_actions() -> Vec<Action> {
    let rename = UpdateApiKey { id: key(2), name: Some("New".into()), enabled: None };
    let rotate =
        RotateApiKey { id: key(2), secret_hash: hash(50), last_four: "abcd".into(), grace_s: 0 };
    vec![
        Action::CreateApiKey(new_key(9, 1, Environment::Live)),
        Action::UpdateApiKey(rename),
        Action::RotateApiKey(rotate),
        Action::DeleteApiKey(key(2)),
        Action::TouchApiKeys(vec![(key(1), T0)]),
        Action::RegisterSigningKey(new_signing_key(9)),
        Action::RetireSigningKey(sig(1)),
        Action::RevokeSigningKey(sig(1)),
        Action::CreateOperatorKey(new_operator(9)),
        Action::DeleteOperatorKey(op(2)),
    ]
}

/// One action of each kind.
fn actions() -> Vec<Action> {
    let org_change =
        UpdateOrganization { id: org(1), name: Some("New".into()), default_effect: None };
    let look = RecordDomainCheck {
        id: [1; 16],
        domain: DomainId::from_ulid(1),
        challenge: [1; 32],
        epoch: 0,
        seen: Seen::NoName(()),
    };
    let mut actions = vec![
        Action::CreateOrganization(new_org(9)),
        Action::UpdateOrganization(org_change),
        Action::CreateAgent(new_agent(9)),
        Action::UpdateAgent(update_agent(1)),
        Action::RotateAgentKey(RotateAgentKey { id: agent(1), public_key: [50; 32] }),
        Action::RevokeAgentTokens(agent(1)),
        Action::RevokeAgent(agent(1)),
        Action::IssueToken(new_token(9, 1, S0, 300)),
        Action::RevokeToken(TokenRef::Id(tok(1))),
        Action::Tick(()),
        new_domain(9, "b.example"),
        Action::DeleteDomain(DomainId::from_ulid(1)),
        Action::RecordDomainCheck(look),
        Action::SetPlans(new_plans()),
        Action::SetOperatorPlans(vec!["big".into()]),
        Action::ChangePlan(ChangePlan { org: org(1), plan: "big".into() }),
        Action::Restore(new_restore(1)),
        Action::LiftSuspension(Suspension::All(())),
    ];
    actions.extend(policy_actions());
    actions.extend(webhook_actions());
    actions.extend(key_actions());
    actions
}

/// What the gate says, before the action is looked at.
fn gate(world: &World, actor: Actor, action: &Action) -> Result<(), Refusal> {
    admit(&world.state, world.state.clock, &command(actor, action.clone())).map(|_| ())
}

fn is_forbidden(came: &Result<(), Refusal>) -> bool {
    matches!(came, Err(Refusal::Forbidden(_)))
}

fn with_permissions(mut world: World, of: u128, permissions: Permissions) -> World {
    let mut own = ApiKey::clone(&world.state.api_keys[&key(of)]);
    own.permissions = permissions;
    world.state.put_api_key(std::sync::Arc::new(own));
    world
}

#[test]
fn the_samples_are_of_every_kind_of_action() {
    const KINDS: usize = 40;
    let kinds: std::collections::HashSet<_> =
        actions().iter().map(std::mem::discriminant).collect();
    assert_eq!((kinds.len(), actions().len()), (KINDS, KINDS));
}

#[test]
fn an_action_takes_exactly_the_rights_that_are_its_own() {
    let world = World::new();
    for action in actions() {
        let (needed, others) = may(&action);
        for (letter, actor) in [('o', OPERATOR), ('n', NODE), ('s', SETUP)] {
            let came = gate(&world, actor, &action);
            assert_eq!(came.is_ok(), others.contains(letter), "{actor:?}: {action:?}");
            assert_eq!(is_forbidden(&came), !others.contains(letter), "{actor:?}: {action:?}");
        }
        let came = gate(&world, ALICE, &action);
        assert_eq!((came.is_ok(), is_forbidden(&came)), (!needed.is_empty(), needed.is_empty()));
        let only = with_permissions(world.clone(), 1, needed.iter().copied().collect());
        assert_eq!(gate(&only, ALICE, &action).is_ok(), !needed.is_empty(), "{action:?}");
        for missing in needed {
            let others = Permission::ALL.iter().copied().filter(|other| other != missing).collect();
            let text = format!("this takes the permission {}", missing.as_str());
            let without = with_permissions(world.clone(), 1, others);
            assert_eq!(gate(&without, ALICE, &action), Err(Refusal::Forbidden(text)));
        }
    }
}

#[test]
fn a_test_key_changes_nothing_that_belongs_to_the_whole_organization() {
    let mut world = World::new();
    let mut bound = 0;
    for action in actions() {
        let (needed, _) = may(&action);
        let whole = needed.iter().any(|permission| {
            [Permission::DomainsWrite, Permission::BillingWrite].contains(permission)
        });
        bound += usize::from(whole);
        let came = gate(&world, ALICE_TEST, &action);
        assert_eq!(came.is_ok(), !needed.is_empty() && !whole, "{action:?}: {came:?}");
        assert_eq!(is_forbidden(&came), needed.is_empty() || whole);
        world.state.level = Level::FIRST;
        assert_eq!(gate(&world, ALICE_TEST, &action).is_ok(), !needed.is_empty(), "{action:?}");
        world.state.level = Level::NEWEST;
    }
    assert_eq!(bound, 4);
}

/// A caller that is dead, how it died, and the world in which it is.
fn dead() -> Vec<(&'static str, World, Actor)> {
    let (made, maker) = (Actor::ApiKey(key(10)), key(9));
    let mut line = World::new();
    line.events(ALICE, Action::CreateApiKey(new_key(9, 1, Environment::Live)));
    line.events(Actor::ApiKey(maker), Action::CreateApiKey(new_key(10, 1, Environment::Live)));
    let disable = |id| UpdateApiKey { id, name: None, enabled: Some(false) };
    let after = |world: &World, actor, action| {
        let mut world = world.clone();
        world.events(actor, action);
        world
    };
    let disabled = |id| after(&line, OPERATOR, Action::UpdateApiKey(disable(id)));
    let deleted = |id| after(&line, OPERATOR, Action::DeleteApiKey(id));
    let mut ended = line.clone();
    let end = ApiKey { expires_at: Some(T0), ..ApiKey::clone(&ended.state.api_keys[&maker]) };
    ended.state.put_api_key(std::sync::Arc::new(end));
    let operators = after(&line, OPERATOR, Action::CreateOperatorKey(new_operator(2)));
    let gone = after(&operators, OPERATOR, Action::DeleteOperatorKey(op(2)));
    vec![
        ("disabled", disabled(key(10)), made),
        ("deleted", deleted(key(10)), made),
        ("expired", ended.clone(), Actor::ApiKey(maker)),
        ("made by one that is disabled", disabled(maker), made),
        ("made by one that is deleted", deleted(maker), made),
        ("made by one that is expired", ended, made),
        ("below one that is deleted", deleted(key(1)), made),
        ("never there", line, Actor::ApiKey(key(99))),
        ("an operator that never was", World::new(), Actor::Operator(op(99))),
        ("an operator that is gone", gone, Actor::Operator(op(2))),
    ]
}

#[test]
fn a_dead_caller_takes_no_action() {
    for (how, world, actor) in dead() {
        for action in actions() {
            let came = gate(&world, actor, &action);
            assert_eq!(came, Err(Refusal::CallerUnknown(())), "{how}: {action:?}");
        }
    }
    let mut restored = World::new();
    restored.events(SETUP, Action::Restore(new_restore(1)));
    for action in actions() {
        let came = gate(&restored, ALICE, &action);
        assert_eq!(came, Err(Refusal::CallerSuspended(())), "suspended: {action:?}");
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
