//! What a command costs does not grow with what is stored: each is decided and folded in within a
//! budget, in a state where its tenant, and the cluster, have as much as they may, or enough of it
//! for a walk over all of it to show.
//!
//! The budget is a ratio of two measurements of one run, each the least of several, so that a slow
//! or busy machine measures the same.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    domain::{
        tests::{
            dns_domain::new_domain,
            golden_plans::an_answer,
            golden_policy::an_approval,
            golden_webhook::{a_delivery, a_webhook},
            world::*,
        },
        *,
    },
    limits,
};

/// How many times as long as in a small state a command may take, or as half of all commands take
/// there. A map of a hundred thousand items is some four times as deep as one of ten, and colder.
const BUDGET: u32 = 16;
const TRIES: usize = 15;
const MANY: u128 = 30_000;

fn wh(n: u128) -> WebhookId {
    WebhookId::from_ulid(n)
}

fn new_webhook(n: u8) -> CreateWebhook {
    CreateWebhook {
        id: wh(n.into()),
        url: "https://a.example/".into(),
        events: [EVERY_EVENT.to_owned()].into(),
        description: None,
        sealed_secret: vec![n; 72],
    }
}

fn pol(n: u128) -> PolicyId {
    PolicyId::from_ulid(n)
}

fn apr(n: u128) -> ApprovalId {
    ApprovalId::from_ulid(n)
}

fn rule(effect: Effect) -> Rule {
    Rule {
        effect,
        scopes: None,
        agents: None,
        owners: None,
        target_services: None,
        model_providers: None,
        model_names: None,
        frameworks: None,
        signed: None,
        condition: None,
    }
}

/// As many throttles as a verdict may hold, and a rule that asks for approval.
fn rules() -> CheckedRules {
    let throttle =
        |limit| rule(Effect::Throttle(Throttle { limit, window_s: 60, per: Per::Agent }));
    let number = limits::THROTTLES_PER_VERDICT_MAX as u64;
    let mut rules: Vec<Rule> = (1..=number).map(throttle).collect();
    rules.push(rule(Effect::RequireApproval(RequireApproval { approval_ttl_s: 600 })));
    CheckedRules { rules, steps: 1 }
}

fn new_policy(n: u128) -> CreatePolicy {
    CreatePolicy {
        id: pol(n),
        name: "p".into(),
        description: None,
        priority: 100,
        rules: rules(),
        is_active: true,
    }
}

fn delivery(seq: u64) -> Arc<Delivery> {
    let id = DeliveryId::from_ulid(seq.into());
    Arc::new(Delivery { id, seq, status: DeliveryStatus::Failed, ..a_delivery() })
}

/// One of everything.
fn small() -> World {
    let mut world = World::new();
    let mut plans = new_plans();
    plans.push(new_plan("huge", 3, None));
    for (actor, action) in [
        (NODE, Action::SetPlans(plans)),
        (ALICE, Action::CreateApiKey(new_key(5, 1, Environment::Live))),
        (ALICE, Action::CreatePolicy(new_policy(1))),
        (ALICE, Action::CreateWebhook(new_webhook(1))),
        (ALICE, new_domain(1, "a.example")),
        (OPERATOR, Action::CreateOperatorKey(new_operator(2))),
        (NODE, Action::RegisterSigningKey(new_signing_key(2))),
        (NODE, Action::RegisterSigningKey(new_signing_key(3))),
    ] {
        world.ask(actor, action).expect("accepted");
    }
    world.state.put_approval(pending(1, agent(1)));
    world.state.change_outbox(wh(1), |outbox| outbox.log.push_back(delivery(1)));
    world
}

fn pending(n: u128, of: AgentId) -> Arc<Approval> {
    Arc::new(Approval {
        id: apr(n),
        agent: of,
        status: ApprovalStatus::Pending,
        created_at: T0,
        expires_at: T0 + 600_000,
        answered_by: None,
        answered_at: None,
        token: None,
        ..an_approval()
    })
}

fn hash_of(n: u128) -> Hash {
    let mut hash = [0xa5; 32];
    hash[..16]
        .copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes());
    hash
}

/// The same with much of everything, most of it of one tenant.
fn large() -> World {
    let mut world = small();
    let state = &mut world.state;
    let one = Arc::clone(&state.agents[&agent(1)]);
    let policy = Arc::clone(&state.policies[&pol(1)]);
    let signing_key = Arc::clone(state.signing_key(sig(2)).expect("registered"));
    let api_key = Arc::clone(&state.api_keys[&key(5)]);
    let home = Arc::clone(&state.organizations[&org(1)]);
    let place = |n: u128| 1_000 + n;
    for n in 0..MANY {
        let id = agent(place(n));
        state.put_agent(Arc::new(Agent { id, ..Agent::clone(&one) }));
        state.put_approval(pending(place(n), id));
        let hash = hash_of(n);
        let record = LiveToken {
            id: tok(place(n)),
            agent: agent(1),
            signing_key: 0,
            token_epoch: one.token_epoch,
            expires_at: (S0 + 3_600) as u32,
            revoked: false,
        };
        state.put_token(hash, record);
        state.list_token(Arc::new(TokenDetails {
            id: record.id,
            agent: agent(1),
            hash,
            signing_key: sig(1),
            scope: ["a".to_owned()].into(),
            target_service: "b".into(),
            intent: None,
            issued_at: S0,
            expires_at: S0 + 3_600,
        }));
        let window = Window { ends_at: T0 + 600_000, count: 1 };
        let counted = Counted::Agent(id);
        state.put_throttle_window(&ThrottleKey { policy: pol(1), rule: hash, counted }, window);
        state.put_answer(hash, Arc::new(IdempotencyRecord { expires_at: T0 + 9, ..an_answer() }));
        state.put_retired_secret(hash_of(n + MANY), T0 + 9);
    }
    for n in 0..limits::NONCES_PER_AGENT_MAX as u128 - 10 {
        state.put_nonce(agent(1), hash_of(n), T0 + 600_000);
    }
    for n in 0..limits::POLICIES_PER_TENANT_MAX as u128 - 2 {
        state.put_policy(Arc::new(Policy { id: pol(place(n)), ..Policy::clone(&policy) }));
    }
    for n in 0..limits::API_KEYS_PER_ORGANIZATION_MAX as u128 - 10 {
        let (id, secret_hash) = (key(place(n)), hash_of(n + 2 * MANY));
        state.put_api_key(Arc::new(ApiKey { id, secret_hash, ..ApiKey::clone(&api_key) }));
    }
    for n in 0..limits::SIGNING_KEYS_MAX as u128 - 10 {
        state.put_signing_key(Arc::new(SigningKey {
            id: sig(place(n)),
            number: place(n) as u32,
            public_key: hash_of(n + 3 * MANY),
            ..SigningKey::clone(&signing_key)
        }));
    }
    for n in 0..MANY {
        state.put_organization(Arc::new(Organization {
            id: org(place(n)),
            ..Organization::clone(&home)
        }));
    }
    for n in 0..limits::WEBHOOKS_PER_ORGANIZATION_MAX as u128 - 2 {
        state.put_webhook(Arc::new(Webhook {
            id: wh(place(n)),
            previous: None,
            disabled: None,
            ..a_webhook()
        }));
        state.put_outbox(wh(place(n)), Arc::new(Outbox::starting_after(0)));
    }
    world
}

/// A command for each action there is, which is accepted in both states.
fn commands(world: &World) -> Vec<(Actor, Action)> {
    let known = &world.state.agents[&agent(1)];
    let judged = |number: u16, end| Judged {
        verdict: Verdict {
            throttles: (0..number).map(|rule| RuleRef { policy: pol(1), rule }).collect(),
            end,
        },
        policy_epoch: world.state.policy_epoch(known.tenant),
        agent: known.policy_digest(),
        at: T0,
    };
    let most = limits::THROTTLES_PER_VERDICT_MAX as u16;
    let issue = IssueToken {
        judged: judged(most, End::Allow(None)),
        signed: Some(signed(9, S0)),
        ..new_token(9, 1, S0, 300)
    };
    let asks = End::RequireApproval(RuleRef { policy: pol(1), rule: most });
    let decline = DeclineToken {
        id: apr(9),
        agent: agent(1),
        scope: issue.scope.clone(),
        ttl_s: 300,
        target_service: "any".into(),
        intent: None,
        signed: None,
        judged: judged(most, asks),
    };
    let domain = &world.state.domains[&DomainId::from_ulid(1)];
    let check = RecordDomainCheck {
        id: [1; 16],
        domain: domain.id,
        challenge: domain.challenge,
        epoch: domain.epoch,
        seen: Seen::Texts(vec![domain.txt_value()]),
    };
    let approver = Actor::ApiKey(key(5));
    let told = RecordDeliveries {
        endpoints: vec![EndpointProgress { webhook: wh(1), position: 3, attempts: vec![] }],
    };
    let secret = SealedSecret { version: 2, sealed: vec![1; 72] };
    vec![
        (OPERATOR, Action::CreateOrganization(new_org(9))),
        (
            OPERATOR,
            Action::UpdateOrganization(UpdateOrganization {
                id: org(1),
                name: None,
                default_effect: Some(DefaultEffect::Deny),
            }),
        ),
        (ALICE, Action::CreateApiKey(new_key(9, 1, Environment::Live))),
        (
            ALICE,
            Action::UpdateApiKey(UpdateApiKey { id: key(4), name: None, enabled: Some(false) }),
        ),
        (
            ALICE,
            Action::RotateApiKey(RotateApiKey {
                id: key(4),
                secret_hash: hash(77),
                last_four: "abcd".into(),
                grace_s: 60,
            }),
        ),
        (ALICE, Action::DeleteApiKey(key(4))),
        (NODE, Action::TouchApiKeys(vec![(key(1), T0)])),
        (ALICE, Action::CreateAgent(new_agent(9))),
        (ALICE, Action::UpdateAgent(UpdateAgent { paused: Some(true), ..update_agent(1) })),
        (ALICE, Action::RotateAgentKey(RotateAgentKey { id: agent(1), public_key: [9; 32] })),
        (ALICE, Action::RevokeAgentTokens(agent(1))),
        (ALICE, Action::RevokeAgent(agent(1))),
        (ALICE, Action::IssueToken(hashed(issue))),
        (ALICE, Action::RevokeToken(TokenRef::Id(tok(1)))),
        (ALICE, Action::DeclineToken(decline)),
        (NODE, Action::RegisterSigningKey(new_signing_key(9))),
        (NODE, Action::RetireSigningKey(sig(2))),
        (OPERATOR, Action::RevokeSigningKey(sig(3))),
        (OPERATOR, Action::CreateOperatorKey(new_operator(9))),
        (OPERATOR, Action::DeleteOperatorKey(op(2))),
        (ALICE, Action::CreatePolicy(new_policy(9))),
        (
            ALICE,
            Action::UpdatePolicy(UpdatePolicy {
                id: pol(1),
                name: Some("q".into()),
                description: None,
                priority: None,
                rules: None,
                is_active: None,
            }),
        ),
        (ALICE, Action::DeletePolicy(pol(1))),
        (approver, Action::Approve(apr(1))),
        (approver, Action::Disapprove(apr(1))),
        (NODE, Action::Tick(())),
        (ALICE, Action::CreateWebhook(new_webhook(9))),
        (
            ALICE,
            Action::UpdateWebhook(UpdateWebhook {
                id: wh(1),
                url: None,
                events: None,
                description: None,
                enabled: Some(false),
            }),
        ),
        (ALICE, Action::DeleteWebhook(wh(1))),
        (
            ALICE,
            Action::RotateWebhookSecret(RotateWebhookSecret { id: wh(1), secret, grace_s: 60 }),
        ),
        (NODE, Action::RecordDeliveries(told)),
        (
            ALICE,
            Action::RetryDelivery(RetryDelivery {
                webhook: wh(1),
                delivery: DeliveryId::from_ulid(1),
            }),
        ),
        (ALICE, new_domain(9, "b.example")),
        (ALICE, Action::DeleteDomain(DomainId::from_ulid(1))),
        (ALICE, Action::RecordDomainCheck(check)),
        (NODE, Action::SetPlans(vec![new_plan("other", 7, None)])),
        (ALICE, Action::ChangePlan(ChangePlan { org: org(1), plan: "huge".into() })),
        (OPERATOR, Action::LiftSuspension(Suspension::All(()))),
        (NODE, Action::SetOperatorPlans(vec!["other".into()])),
    ]
}

/// Counts the actions there are: a new one does not compile until it has a number here, and the
/// test below fails until it is in [`commands`].
const fn number(action: &Action) -> usize {
    match action {
        Action::CreateOrganization(_) => 0,
        Action::UpdateOrganization(_) => 1,
        Action::CreateApiKey(_) => 2,
        Action::UpdateApiKey(_) => 3,
        Action::RotateApiKey(_) => 4,
        Action::DeleteApiKey(_) => 5,
        Action::TouchApiKeys(_) => 6,
        Action::CreateAgent(_) => 7,
        Action::UpdateAgent(_) => 8,
        Action::RotateAgentKey(_) => 9,
        Action::RevokeAgentTokens(_) => 10,
        Action::RevokeAgent(_) => 11,
        Action::IssueToken(_) => 12,
        Action::RevokeToken(_) => 13,
        Action::DeclineToken(_) => 14,
        Action::RegisterSigningKey(_) => 15,
        Action::RetireSigningKey(_) => 16,
        Action::RevokeSigningKey(_) => 17,
        Action::CreateOperatorKey(_) => 18,
        Action::DeleteOperatorKey(_) => 19,
        Action::CreatePolicy(_) => 20,
        Action::UpdatePolicy(_) => 21,
        Action::DeletePolicy(_) => 22,
        Action::Approve(_) => 23,
        Action::Disapprove(_) => 24,
        Action::Tick(()) => 25,
        Action::CreateWebhook(_) => 26,
        Action::UpdateWebhook(_) => 27,
        Action::DeleteWebhook(_) => 28,
        Action::RotateWebhookSecret(_) => 29,
        Action::RecordDeliveries(_) => 30,
        Action::RetryDelivery(_) => 31,
        Action::CreateDomain(_) => 32,
        Action::DeleteDomain(_) => 33,
        Action::RecordDomainCheck(_) => 34,
        Action::SetPlans(_) => 35,
        Action::ChangePlan(_) => 36,
        Action::LiftSuspension(_) => 37,
        Action::SetOperatorPlans(_) => 38,
        // The first command of a cluster that is founded from a backup: it takes all that the backup
        // holds in hand, once, before anybody is served.
        Action::Restore(_) => usize::MAX,
    }
}

/// The least time of several in which the command is decided and folded in.
fn time(world: &World, command: &Command) -> Duration {
    let tries = (0..TRIES).map(|_| {
        let mut world = world.clone();
        let began = Instant::now();
        let came = world.run(command);
        let took = began.elapsed();
        assert!(came.is_ok(), "{came:?}: {command:?}");
        took
    });
    tries.min().unwrap_or_default()
}

#[test]
fn what_a_command_costs_does_not_grow_with_what_is_stored() {
    let (small, large) = (small(), large());
    let (of_small, of_large) = (commands(&small), commands(&large));
    let numbers: Vec<usize> = of_small.iter().map(|(_, action)| number(action)).collect();
    assert_eq!(numbers, (0..39).collect::<Vec<_>>(), "an action is missing");
    let time_of = |world: &World, (actor, action): &(Actor, Action)| {
        time(world, &command(*actor, action.clone()))
    };
    let in_small: Vec<Duration> = of_small.iter().map(|one| time_of(&small, one)).collect();
    let mut sorted = in_small.clone();
    sorted.sort_unstable();
    let usual = sorted[sorted.len() / 2];
    let mut over = Vec::new();
    for (one, before) in of_large.iter().zip(&in_small) {
        let after = time_of(&large, one);
        if after > usual.max(*before) * BUDGET {
            over.push(format!("{:?}: {before:?}, then {after:?}", one.1));
        }
    }
    assert!(over.is_empty(), "dearer than {BUDGET} times {usual:?}:\n{}", over.join("\n"));
}
