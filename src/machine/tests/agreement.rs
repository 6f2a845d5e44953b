//! Random commands: three machines agree whatever they are restored from, and what is revoked stays
//! revoked.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::{
    commands::{Step, policy_world, step},
    restoration_commands::suspensions_are_sound,
    webhook_commands::outboxes_are_sound,
    *,
};
use crate::{
    audit::chain,
    domain::{tests::world::*, *},
};

/// Three machines that are fed the same, and the history that they wrote.
pub(super) struct Replicas {
    /// Never restored.
    pub(super) first: AuthMachine,
    /// Restored from its own snapshots.
    second: AuthMachine,
    /// Restored from the first one's.
    third: AuthMachine,
    pub(super) stamp: Millis,
    index: u64,
    chain_ends: BTreeMap<Vec<u8>, Hash>,
}

impl Replicas {
    pub(super) fn new() -> Self {
        let mut replicas = Self {
            first: AuthMachine::default(),
            second: AuthMachine::default(),
            third: AuthMachine::default(),
            stamp: T0,
            index: 0,
            chain_ends: BTreeMap::new(),
        };
        for command in genesis() {
            replicas.apply(&command).expect("the world can be made");
        }
        replicas
    }

    pub(super) fn apply(&mut self, command: &Command) -> Reply {
        self.index += 1;
        let before = self.first.state().clone();
        let applied = apply(&mut self.first, self.index, self.stamp, command);
        if applied.reply.is_err() {
            let changed = State { clock: self.first.state().clock, ..before };
            assert_eq!(*self.first.state(), changed, "a refusal moves nothing but the clock");
            assert!(applied.records.is_empty());
        }
        for other in [&mut self.second, &mut self.third] {
            let same = apply(other, self.index, self.stamp, command);
            assert_eq!(same.reply, applied.reply);
            assert_eq!(same.records, applied.records);
        }
        for record in &applied.records {
            let bytes = record.bytes.len();
            assert!(bytes <= crate::limits::EVENT_MAX_BYTES, "{bytes} bytes: {command:?}");
        }
        let bytes = AuthMachine::encode_reply(&applied.reply);
        assert_eq!(AuthMachine::decode_reply(&bytes), Ok(applied.reply.clone()));
        self.check_chain(&applied.records);
        applied.reply
    }

    /// Applied twice, a command writes once.
    fn apply_again(&mut self, command: &Command) {
        self.index += 1;
        for machine in [&mut self.first, &mut self.second, &mut self.third] {
            let again = apply(machine, self.index, self.stamp, command);
            assert_eq!(again.records, [], "written twice: {command:?}");
        }
    }

    fn check_chain(&mut self, records: &[Record]) {
        for record in records {
            let end = self.chain_ends.entry(record.chain.clone()).or_default();
            *end = chain::check(end, &record.bytes).expect("linked to the one before");
        }
        let heads: BTreeMap<_, _> = self
            .first
            .state()
            .heads
            .iter()
            .map(|(tenant, head)| (tenant.chain_key(), head.hash))
            .collect();
        assert_eq!(heads, self.chain_ends);
    }

    pub(super) fn restore(&mut self, which: u8) {
        match which {
            0 => self.second = restored(&snapshot(&self.second)),
            1 => self.third = restored(&snapshot(&self.first)),
            _ => {}
        }
    }

    pub(super) fn agree(&self) {
        let bytes = snapshot(&self.first);
        for other in [&self.second, &self.third] {
            assert_eq!(other.state(), self.first.state());
            assert_eq!(other.heads(), self.first.heads());
            assert_eq!(snapshot(other), bytes);
        }
        assert_eq!(restored(&bytes).state(), self.first.state());
    }
}

/// What a verifier would say of a token's bytes, written from the guarantee and not from the code.
fn is_live(state: &State, hash: &Hash) -> bool {
    let Some(token) = state.tokens.get(hash) else { return false };
    let agent = &state.agents[&token.agent];
    let key = state.signing_keys.get(&token.signing_key);
    !token.revoked
        && agent.status == AgentStatus::Active
        && agent.token_epoch == token.token_epoch
        && key.is_some_and(|key| key.revoked_at.is_none())
        && u64::from(token.expires_at) * 1000 > state.clock
}

/// The tokens that a command which succeeded promised to be dead from now on.
fn promised_dead(before: &State, action: &Action) -> Vec<Hash> {
    let those = |dead: &dyn Fn(&LiveToken) -> bool| {
        before.tokens.iter().filter(|(_, token)| dead(token)).map(|(hash, _)| *hash).collect()
    };
    match action {
        Action::RevokeToken(TokenRef::Id(id)) => those(&|token| token.id == *id),
        Action::RevokeToken(TokenRef::Hash(hash)) => vec![*hash],
        Action::RevokeAgent(agent) | Action::RevokeAgentTokens(agent) => {
            those(&|token| token.agent == *agent)
        }
        Action::RevokeSigningKey(id) => {
            let number = before.signing_key_numbers.get(id);
            those(&|token| Some(&token.signing_key) == number)
        }
        Action::Restore(_) => those(&|_| true),
        _ => Vec::new(),
    }
}

/// The secrets that a command which succeeded promised to open nothing from now on.
fn promised_shut(before: &State, action: &Action) -> Vec<Hash> {
    let key = |id: &ApiKeyId| before.api_keys.get(id).map(|key| key.secret_hash);
    match action {
        Action::DeleteApiKey(id) => key(id).into_iter().collect(),
        Action::RotateApiKey(change) if change.grace_s == 0 => {
            key(&change.id).into_iter().filter(|old| *old != change.secret_hash).collect()
        }
        _ => Vec::new(),
    }
}

fn lists_hold_exactly_the_live_tokens(state: &State) {
    let listed: BTreeSet<Hash> = state.token_lists.iter().map(|token| token.hash).collect();
    let not_over = |hash: &Hash| {
        let token = &state.tokens[hash];
        (token.expires_at, *hash) > state.expired_through
    };
    let unpaused = |hash: &Hash| {
        let token = &state.tokens[hash];
        let agent = &state.agents[&token.agent];
        let key = &state.signing_keys[&token.signing_key];
        !token.revoked
            && agent.status != AgentStatus::Revoked
            && agent.token_epoch == token.token_epoch
            && key.revoked_at.is_none()
    };
    let expected: BTreeSet<Hash> =
        state.tokens.keys().filter(|hash| not_over(hash) && unpaused(hash)).copied().collect();
    assert_eq!(listed, expected);
    assert_eq!(state.token_lists.total(), expected.len() as u64);
}

fn a_domain_has_one_holder_and_is_shown_as_its(state: &State) {
    let mut held = BTreeMap::new();
    let mut shown: BTreeMap<OrgId, BTreeSet<&str>> = BTreeMap::new();
    let verified = |domain: &&std::sync::Arc<DnsDomain>| domain.status == DomainStatus::Verified;
    for domain in state.domains.values().filter(verified) {
        let holder = held.insert(&*domain.name, domain.org);
        assert_eq!(holder, None, "{} is held twice", domain.name);
        shown.entry(domain.org).or_default().insert(&domain.name);
    }
    for org in state.organizations.keys() {
        let names = state.verified_domains(*org);
        let names: BTreeSet<&str> = names.iter().flat_map(|all| all.iter().map(|n| &**n)).collect();
        assert_eq!(names, shown.remove(org).unwrap_or_default());
    }
}

fn run(steps: &[(Step, u8)]) {
    let mut replicas = Replicas::new();
    let mut dead = BTreeSet::new();
    let mut shut: BTreeMap<Hash, Millis> = BTreeMap::new();
    for (step, chance) in steps {
        replicas.stamp = step.jump.from(replicas.stamp);
        let command = step.command_in(replicas.first.state(), replicas.stamp);
        let before = replicas.first.state().clone();
        let reply = replicas.apply(&command);
        // What is replayed was promised by the command that was carried out.
        if reply.is_ok_and(|outcome| !matches!(outcome, Outcome::Replayed(_))) {
            dead.extend(promised_dead(&before, &command.action));
            let now = replicas.first.state().clock;
            shut.extend(promised_shut(&before, &command.action).into_iter().map(|h| (h, now)));
            replicas.apply_again(&command);
        }
        let state = replicas.first.state();
        for hash in &dead {
            assert!(!is_live(state, hash), "a revoked token lives again");
        }
        let memory_ms = crate::limits::RETIRED_SECRET_MEMORY_S * 1000;
        for (hash, since) in &shut {
            let remembered = state.clock < since.saturating_add(memory_ms);
            let opens = state.api_key_by_secret_hash(hash, state.clock).is_some();
            assert!(!(remembered && opens), "a stopped secret opens again");
        }
        lists_hold_exactly_the_live_tokens(state);
        outboxes_are_sound(state);
        suspensions_are_sound(state);
        a_domain_has_one_holder_and_is_shown_as_its(state);
        replicas.restore(chance % 16);
        if chance / 16 == 0 {
            replicas.agree();
        }
    }
    replicas.agree();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn replicas_agree_and_what_is_revoked_stays_revoked(
        steps in vec((step(), any::<u8>()), 1..120),
    ) {
        run(&steps);
    }
}

/// The random commands would prove little if all were refused.
#[test]
fn random_commands_reach_every_event_and_every_refusal() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    /// Names of events, and the one that bookkeeping has in common.
    const EVENTS: usize = 50;
    let expected = [
        "AgentKeyReplaced",
        "AgentNotActive",
        "AgentSuspended",
        "ApprovalNot",
        "ApprovalStale",
        "CallerSuspended",
        "CallerUnknown",
        "DomainCheckStale",
        "DomainHeld",
        "DomainListed",
        "Forbidden",
        "IdTaken",
        "IdempotencyKeyReused",
        "Invalid",
        "IssuedAtOff",
        "LastOne",
        "NonceUsed",
        "NotFound",
        "PlanLimitReached",
        "PlanNotSelfService",
        "PlanTooSmall",
        "SignatureOutOfTime",
        "SignatureRequired",
        "SigningKeyDead",
        "Stale",
        "TtlTooLong",
        "WebhookDisabled",
        "WebhookSecretMoved",
    ];
    let mut runner = TestRunner::deterministic();
    let mut events = BTreeSet::new();
    let mut refusals = BTreeSet::new();
    for _ in 0..2_000 {
        if events.len() == EVENTS && refusals.len() == expected.len() {
            break;
        }
        let steps = vec(step(), 120).new_tree(&mut runner).expect("steps").current();
        let mut world = World::new();
        for command in policy_world() {
            world.run(&command).expect("accepted");
        }
        let mut at = T0;
        for step in steps {
            at = step.jump.from(at).min(crate::rfc3339::LAST_MS);
            world.state.clock = at.max(world.state.clock);
            match world.run(&step.command_in(&world.state, at)) {
                Ok((_, names)) => events.extend(names),
                Err(refusal) => {
                    let text = format!("{refusal:?}");
                    refusals.insert(text.split('(').next().unwrap_or_default().to_owned());
                }
            }
        }
    }
    assert_eq!(events.len(), EVENTS, "{events:?}");
    for event in events.iter().filter(|name| **name != "-") {
        assert!(is_event_name(event), "{event} cannot be asked for by a webhook");
    }
    assert_eq!(refusals.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
