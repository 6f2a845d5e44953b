//! Random commands, valid and hostile: from few ids, so that they meet; with dead and unknown
//! actors, other tenants, huge texts and numbers, times that jump.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{domain_commands, plan_commands, restoration_commands, webhook_commands};
use crate::domain::{tests::world::*, *};

/// A command, and how far the leader's clock jumps before it.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) jump: Jump,
    pub(super) command: Command,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Jump {
    Forward(u64),
    Back(u64),
    Far,
}

impl Jump {
    /// The stamp after one of `at`.
    pub(super) fn from(self, at: Millis) -> Millis {
        match self {
            Self::Forward(by) => at.saturating_add(by),
            Self::Back(by) => at.saturating_sub(by),
            Self::Far => u64::MAX,
        }
    }
}

impl Step {
    /// The command with its times moved from the world's beginning to what the log has come to, and
    /// with the bytes of a token that is there, where it names some.
    pub(super) fn command_in(&self, state: &State, at: Millis) -> Command {
        let mut command = self.command.clone();
        match &mut command.action {
            Action::IssueToken(new) => {
                let passed = at.max(state.clock) / 1000 - S0;
                new.issued_at = new.issued_at.saturating_add(passed);
                new.expires_at = new.expires_at.saturating_add(passed);
                collect_some(state, new);
                move_on(state, new.agent, at, &mut new.judged, new.signed.as_mut());
                *new = hashed(new.clone());
            }
            Action::DeclineToken(new) => {
                move_on(state, new.agent, at, &mut new.judged, new.signed.as_mut());
            }
            Action::Approve(id) | Action::Disapprove(id) => {
                let count = state.approvals.len().max(1);
                let some = state.approvals.keys().nth(usize::from(id.0[15]) % count);
                *id = some.copied().unwrap_or(*id);
            }
            Action::RevokeToken(TokenRef::Hash(hash)) => {
                let count = state.tokens.len().max(1);
                let some = state.tokens.keys().nth(usize::from(hash[0]) % count);
                *hash = some.copied().unwrap_or(*hash);
            }
            Action::RecordDomainCheck(check) => domain_commands::look_at_some(state, check),
            other => webhook_commands::made_to_fit(state, other),
        }
        command
    }
}

/// Where an approval is named, makes it one that is there, and the request its own.
fn collect_some(state: &State, new: &mut IssueToken) {
    let Some(id) = new.approval else { return };
    let count = state.approvals.len().max(1);
    let Some(some) = state.approvals.values().nth(usize::from(id.0[15]) % count) else { return };
    new.approval = Some(some.id);
    new.agent = some.agent;
    new.scope.clone_from(&some.scope);
    new.target_service.clone_from(&some.target_service);
    new.intent.clone_from(&some.intent);
    new.expires_at = new.issued_at.saturating_add(some.ttl_s);
    new.judged.verdict.end = End::RequireApproval(some.rule);
}

/// Moves what a request was judged by, and its signature, to what the log has come to; now and then
/// they stay behind.
fn move_on(
    state: &State,
    agent: AgentId,
    at: Millis,
    judged: &mut Judged,
    signed: Option<&mut SignedRequest>,
) {
    let now = at.max(state.clock);
    if let Some(agent) = state.agents.get(&agent) {
        judged.policy_epoch += state.policy_epoch(agent.tenant);
        judged.agent = agent.policy_digest();
        let places = |effect: &'static str| {
            state.policies_of(agent.tenant).flat_map(move |policy| {
                let of_effect = move |rule: &Rule| rule.effect.as_str() == effect;
                let rules = policy.rules.iter().enumerate();
                rules
                    .filter(move |(_, rule)| of_effect(rule))
                    .map(|(place, _)| RuleRef { policy: policy.id, rule: place as u16 })
            })
        };
        judged.verdict.throttles = places("throttle").collect();
        if let (End::RequireApproval(place), Some(known)) =
            (&mut judged.verdict.end, places("require_approval").next())
        {
            *place = known;
        }
    }
    judged.at = now;
    if let Some(signed) = signed {
        signed.created_s += now / 1000 - S0;
    }
}

fn jump() -> impl Strategy<Value = Jump> {
    prop_oneof![
        400 => (0u64..3_000).prop_map(Jump::Forward),
        40 => (0u64..90_000).prop_map(Jump::Forward),
        60 => (0u64..10_000).prop_map(Jump::Back),
        1 => Just(Jump::Far),
    ]
}

pub(super) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-z]{1,8}",
        1 => Just(String::new()),
        1 => "\\PC{0,12}",
        1 => Just("\u{202e}\u{0}".to_owned()),
        1 => Just("x".repeat(10_000)),
    ]
}

fn small() -> impl Strategy<Value = u8> {
    1u8..7
}

fn actor() -> impl Strategy<Value = Actor> {
    prop_oneof![
        12 => small().prop_map(|n| Actor::ApiKey(key(n.into()))),
        3 => (1u8..4).prop_map(|n| Actor::Operator(op(n.into()))),
        3 => (1u64..3).prop_map(Actor::Node),
        1 => Just(SETUP),
    ]
}

fn permissions() -> impl Strategy<Value = Permissions> {
    prop_oneof![
        3 => Just(Permissions::all()),
        1 => vec(select(Permission::ALL), 0..4).prop_map(|some| some.into_iter().collect()),
    ]
}

fn environment() -> impl Strategy<Value = Environment> {
    select(vec![Environment::Live, Environment::Live, Environment::Test])
}

fn secret() -> impl Strategy<Value = Hash> {
    (1u8..12).prop_map(hash)
}

fn times() -> impl Strategy<Value = Option<Millis>> {
    option::of(prop_oneof![T0 - 10..T0 + 60_000, Just(u64::MAX)])
}

fn organizations() -> impl Strategy<Value = Action> {
    let effect = || select(vec![DefaultEffect::Allow, DefaultEffect::Deny]);
    prop_oneof![
        (0u128..4, text(), effect()).prop_map(|(id, name, default_effect)| {
            Action::CreateOrganization(CreateOrganization { name, default_effect, ..new_org(id) })
        }),
        (1u128..4, option::of(text()), option::of(effect())).prop_map(
            |(id, name, default_effect)| {
                Action::UpdateOrganization(UpdateOrganization { id: org(id), name, default_effect })
            }
        ),
    ]
}

fn api_keys() -> impl Strategy<Value = Action> {
    let create = (small(), 1u128..4, environment(), text(), permissions(), secret(), times());
    prop_oneof![
        create.prop_map(|(id, of, environment, name, permissions, secret_hash, expires_at)| {
            let made = new_key(id, of, environment);
            Action::CreateApiKey(CreateApiKey {
                name,
                permissions,
                secret_hash,
                expires_at,
                ..made
            })
        }),
        (small(), option::of(text()), option::of(any::<bool>())).prop_map(|(id, name, enabled)| {
            Action::UpdateApiKey(UpdateApiKey { id: key(id.into()), name, enabled })
        }),
        (small(), secret(), prop_oneof![Just(0), 1u64..100, Just(u64::MAX)]).prop_map(
            |(id, secret_hash, grace_s)| {
                let last_four = "abcd".into();
                let id = key(id.into());
                Action::RotateApiKey(RotateApiKey { id, secret_hash, last_four, grace_s })
            }
        ),
        small().prop_map(|id| Action::DeleteApiKey(key(id.into()))),
        vec((small(), prop_oneof![T0..T0 + 60_000, Just(u64::MAX)]), 0..4).prop_map(|uses| {
            Action::TouchApiKeys(uses.into_iter().map(|(id, at)| (key(id.into()), at)).collect())
        }),
    ]
}

fn agents() -> impl Strategy<Value = Action> {
    let metadata = vec(("[a-c]", option::of(text())), 0..4)
        .prop_map(|entries| entries.into_iter().collect::<BTreeMap<_, _>>());
    let create = (small(), text(), option::of(text()), 0u8..8, any::<bool>());
    let update = (
        small(),
        option::of(text()),
        option::of(option::of(text())),
        option::of(option::of(metadata)),
        option::of(any::<bool>()),
        option::of(any::<bool>()),
    );
    prop_oneof![
        3 => small().prop_map(|id| Action::CreateAgent(new_agent(id))),
        1 => create.prop_map(|(id, name, description, public_key, require_signature)| {
            let public_key = [public_key; 32];
            let made = new_agent(id);
            Action::CreateAgent(CreateAgent {
                name, description, public_key, require_signature, ..made
            })
        }),
        3 => update.prop_map(|(id, name, description, metadata, require_signature, paused)| {
            let same = update_agent(id.into());
            Action::UpdateAgent(UpdateAgent {
                name, description, metadata, require_signature, paused, ..same
            })
        }),
        1 => (small(), any::<bool>()).prop_map(|(id, paused)| {
            let same = update_agent(id.into());
            Action::UpdateAgent(UpdateAgent { paused: Some(paused), ..same })
        }),
        1 => (small(), 0u8..8).prop_map(|(id, public_key)| {
            let public_key = [public_key; 32];
            Action::RotateAgentKey(RotateAgentKey { id: agent(id.into()), public_key })
        }),
        1 => small().prop_map(|id| Action::RevokeAgentTokens(agent(id.into()))),
        1 => small().prop_map(|id| Action::RevokeAgent(agent(id.into()))),
    ]
}

fn issue() -> impl Strategy<Value = Action> {
    let lateness = prop_oneof![8 => 0u64..4, 1 => 0u64..20];
    let ttl = prop_oneof![8 => 1u64..90, 1 => select(vec![0, 86_400, 86_401, u64::MAX])];
    let scope = prop_oneof![
        6 => Just(vec!["db.read".to_owned(), "mail.*".to_owned()]),
        1 => vec(text(), 0..4),
    ];
    let words = (scope, text(), option::of(text()), option::weighted(0.2, 0u32..3));
    let collected = option::weighted(0.3, (0u128..12).prop_map(ApprovalId::from_ulid));
    (0u128..24, small(), 1u8..4, lateness, ttl, words, end(), collected).prop_map(
        |(id, of, signed_by, lateness, ttl, words, end, approval)| {
            let (scope, target_service, intent, epoch) = words;
            let new = new_token(id, of.into(), S0 - lateness, ttl);
            let signing_key = sig(signed_by.into());
            Action::IssueToken(hashed(IssueToken {
                scope,
                target_service,
                intent,
                signing_key,
                approval,
                judged: judged(of.into(), S0, end),
                signed: epoch.map(|key_epoch| SignedRequest { key_epoch, ..signed(1, S0) }),
                ..new
            }))
        },
    )
}

/// Somebody who can answer approvals, and a policy that asks for them and counts.
pub(super) fn policy_world() -> Vec<Command> {
    let effects = [
        Effect::Throttle(Throttle { limit: 2, window_s: 60, per: Per::Agent }),
        Effect::RequireApproval(RequireApproval { approval_ttl_s: 3_600 }),
    ];
    let rules = effects.map(|effect| rule(effect, None)).to_vec();
    let policy = CreatePolicy {
        id: PolicyId::from_ulid(9),
        name: "p".into(),
        description: None,
        priority: 100,
        rules: CheckedRules { rules, steps: 10 },
        is_active: true,
    };
    vec![
        command(ALICE, Action::CreateApiKey(new_key(5, 1, Environment::Live))),
        command(ALICE, Action::CreatePolicy(policy)),
    ]
}

fn policies() -> impl Strategy<Value = Action> {
    let id = || (7u128..11).prop_map(PolicyId::from_ulid);
    let effect = prop_oneof![
        1 => Just(Effect::Allow(Allow { max_ttl_s: None })),
        1 => Just(Effect::Deny(())),
        2 => (0u64..3, 0u64..60, select(vec![Per::Agent, Per::Owner, Per::Organization]))
            .prop_map(|(limit, window_s, per)| Effect::Throttle(Throttle { limit, window_s, per })),
        3 => (0u64..600).prop_map(|approval_ttl_s| {
            Effect::RequireApproval(RequireApproval { approval_ttl_s })
        }),
    ];
    let rules = || {
        vec((effect.clone(), option::weighted(0.2, text())), 0..4).prop_map(|rules| CheckedRules {
            rules: rules.into_iter().map(|(effect, text)| rule(effect, text)).collect(),
            steps: 10,
        })
    };
    prop_oneof![
        4 => (id(), text(), rules(), any::<bool>()).prop_map(|(id, name, rules, is_active)| {
            Action::CreatePolicy(CreatePolicy {
                id, name, description: None, priority: 100, rules, is_active
            })
        }),
        2 => (id(), option::of(rules()), option::of(any::<bool>())).prop_map(
            |(id, rules, is_active)| Action::UpdatePolicy(UpdatePolicy {
                id, name: None, description: None, priority: None, rules, is_active
            })
        ),
        1 => id().prop_map(Action::DeletePolicy),
    ]
}

fn rule(effect: Effect, text: Option<String>) -> Rule {
    Rule {
        effect,
        scopes: None,
        agents: None,
        owners: text.map(|text| vec![text]),
        target_services: None,
        model_providers: None,
        model_names: None,
        frameworks: None,
        signed: None,
        condition: None,
    }
}

fn end() -> impl Strategy<Value = End> {
    let place = || {
        (7u128..11, 0u16..4)
            .prop_map(|(policy, rule)| RuleRef { policy: PolicyId::from_ulid(policy), rule })
    };
    prop_oneof![
        3 => Just(End::Allow(None)),
        1 => place().prop_map(|place| End::Deny(Some(place))),
        4 => place().prop_map(End::RequireApproval),
    ]
}

fn approvals() -> impl Strategy<Value = Action> {
    let id = || (0u128..12).prop_map(ApprovalId::from_ulid);
    let decline =
        (id(), small(), end(), option::weighted(0.2, 0u8..5)).prop_map(|(id, of, end, nonce)| {
            Action::DeclineToken(DeclineToken {
                id,
                agent: agent(of.into()),
                scope: vec!["db.read".into(), "mail.*".into()],
                ttl_s: 60,
                target_service: "any".into(),
                intent: None,
                signed: nonce.map(|nonce| signed(nonce, S0)),
                judged: judged(of.into(), S0, end),
            })
        });
    prop_oneof![
        4 => decline,
        3 => id().prop_map(Action::Approve),
        1 => id().prop_map(Action::Disapprove),
    ]
}

fn others() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (0u128..24).prop_map(|id| Action::RevokeToken(TokenRef::Id(tok(id)))),
        1 => (0u8..8).prop_map(|n| Action::RevokeToken(TokenRef::Hash(hash(n)))),
        2 => (1u8..4).prop_map(|n| Action::RegisterSigningKey(new_signing_key(n))),
        1 => (1u8..4).prop_map(|n| Action::RetireSigningKey(sig(n.into()))),
        1 => (1u8..4).prop_map(|n| Action::RevokeSigningKey(sig(n.into()))),
        1 => (1u8..4).prop_map(|n| Action::CreateOperatorKey(new_operator(n))),
        1 => (1u8..4).prop_map(|n| Action::DeleteOperatorKey(op(n.into()))),
        4 => Just(Action::Tick(())),
    ]
}

/// Whoever is likely to be let do this, mostly; anyone, now and then.
fn asked_by(action: Action) -> impl Strategy<Value = (Actor, Action)> {
    let likely = match &action {
        Action::CreateOrganization(_)
        | Action::UpdateOrganization(_)
        | Action::RevokeSigningKey(_)
        | Action::CreateOperatorKey(_)
        | Action::DeleteOperatorKey(_)
        | Action::LiftSuspension(_) => vec![OPERATOR],
        Action::Restore(_) => vec![SETUP],
        Action::Approve(_) | Action::Disapprove(_) => {
            vec![Actor::ApiKey(key(5))]
        }
        Action::TouchApiKeys(_)
        | Action::RegisterSigningKey(_)
        | Action::RetireSigningKey(_)
        | Action::RecordDeliveries(_)
        | Action::SetPlans(_)
        | Action::SetOperatorPlans(_)
        | Action::Tick(()) => vec![NODE],
        Action::RecordDomainCheck(_) => vec![ALICE, BOB, NODE],
        _ => vec![ALICE, ALICE, ALICE_TEST, BOB],
    };
    (prop_oneof![5 => select(likely), 1 => actor()], Just(action))
}

/// One step.
pub(super) fn step() -> BoxedStrategy<Step> {
    let action = prop_oneof![
        1 => organizations().boxed(),
        3 => api_keys().boxed(),
        8 => agents().boxed(),
        9 => issue().boxed(),
        4 => policies().boxed(),
        12 => approvals().boxed(),
        7 => others().boxed(),
        8 => webhook_commands::webhooks().boxed(),
        6 => webhook_commands::outcomes().boxed(),
        8 => domain_commands::domains().boxed(),
        3 => plan_commands::plans().boxed(),
        3 => restoration_commands::restorations().boxed(),
    ];
    let request_id = prop_oneof![20 => Just("req".to_owned()), 1 => text()];
    (
        jump(),
        action.prop_flat_map(asked_by).boxed(),
        request_id,
        option::weighted(0.3, plan_commands::claim()),
    )
        .prop_map(|(jump, (actor, action), request_id, idempotency)| Step {
            jump,
            command: Command { actor, request_id, action, idempotency },
        })
        .boxed()
}
