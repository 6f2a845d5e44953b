//! Random commands, valid and hostile: from few ids, so that they meet; with dead and unknown
//! actors, other tenants, huge texts and numbers, times that jump.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};

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
                *new = hashed(new.clone());
            }
            Action::RevokeToken(TokenRef::Hash(hash)) => {
                let count = state.tokens.len().max(1);
                let some = state.tokens.keys().nth(usize::from(hash[0]) % count);
                *hash = some.copied().unwrap_or(*hash);
            }
            _ => {}
        }
        command
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

fn text() -> impl Strategy<Value = String> {
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
            Action::CreateOrganization(CreateOrganization { id: org(id), name, default_effect })
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
    (0u128..24, small(), 1u8..4, lateness, ttl, words).prop_map(
        |(id, of, signed_by, lateness, ttl, (scope, target_service, intent, epoch))| {
            let new = new_token(id, of.into(), S0 - lateness, ttl);
            let signing_key = sig(signed_by.into());
            Action::IssueToken(hashed(IssueToken {
                scope,
                target_service,
                intent,
                signing_key,
                signed_by_key_epoch: epoch,
                ..new
            }))
        },
    )
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
        | Action::DeleteOperatorKey(_) => vec![OPERATOR],
        Action::TouchApiKeys(_)
        | Action::RegisterSigningKey(_)
        | Action::RetireSigningKey(_)
        | Action::Tick(()) => vec![NODE],
        _ => vec![ALICE, ALICE, ALICE_TEST, BOB],
    };
    (prop_oneof![5 => select(likely), 1 => actor()], Just(action))
}

/// One step.
pub(super) fn step() -> BoxedStrategy<Step> {
    let action = prop_oneof![
        1 => organizations().boxed(),
        3 => api_keys().boxed(),
        6 => agents().boxed(),
        9 => issue().boxed(),
        7 => others().boxed(),
    ];
    let request_id = prop_oneof![20 => Just("req".to_owned()), 1 => text()];
    (jump(), action.prop_flat_map(asked_by).boxed(), request_id)
        .prop_map(|(jump, (actor, action), request_id)| Step {
            jump,
            command: Command { actor, request_id, action },
        })
        .boxed()
}
