//! Throttles: how many tokens were issued under a rule lately.
//!
//! A window opens at the first counted request and ends a fixed time later; only issued tokens
//! count. The counter is part of the state and moves in the same step as the token is issued, so
//! that a limit is exact however many ask at once. It belongs to what the rule says, not to where
//! it stands. Must not know why a rule matched.

use serde::{Deserialize, Serialize};

use super::{
    Agent, AgentId, Effect, Fact, Hash, Level, Millis, Per, PolicyId, Refusal, RuleRef, State,
    Tenant, Throttled, Verdict, text::invalid,
};
use crate::{codec::stored_enum, limits};

stored_enum! {
    /// Whose tokens a window counts.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Counted {
        /// One agent's.
        1 => Agent(AgentId),
        /// Those of the agents of one owner.
        2 => Owner(String),
        /// All of the environment.
        3 => Organization(()),
    }
}

/// What a window counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ThrottleKey {
    /// The policy that the throttle stands in.
    pub policy: PolicyId,
    /// [`super::Rule::digest`] of the throttle.
    pub rule: Hash,
    /// Whose tokens.
    pub counted: Counted,
}

impl ThrottleKey {
    /// Bytes that sort as the keys do.
    pub fn place(&self) -> Vec<u8> {
        let (kind, counted): (u8, &[u8]) = match &self.counted {
            Counted::Agent(id) => (1, &id.0),
            Counted::Owner(owner) => (2, owner.as_bytes()),
            Counted::Organization(()) => (3, &[]),
        };
        [&self.policy.0, self.rule.as_slice(), &[kind], counted].concat()
    }
}

/// A window that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When it ends.
    pub ends_at: Millis,
    /// How many tokens were issued in it.
    pub count: u64,
}

/// What the throttles of a verdict say.
pub(super) enum Passage {
    /// They let the request through; what they count if it is granted.
    Through(Vec<Fact>),
    /// This one does not.
    Stopped(Throttled),
}

/// Asks the throttles of `verdict` in order.
///
/// # Errors
///
/// [`Refusal::Stale`] when one of them is none: it was made from other policies.
pub(super) fn ask(
    state: &State,
    at: Millis,
    agent: &Agent,
    verdict: &Verdict,
) -> Result<Passage, Refusal> {
    if state.level >= Level::BOUNDED && verdict.throttles.len() > limits::THROTTLES_PER_VERDICT_MAX
    {
        return Err(invalid("judged", "holds more throttles than a verdict may"));
    }
    let mut counted: Vec<Fact> = Vec::new();
    let mut opened: u64 = 0;
    for place in &verdict.throttles {
        let rule = state.rule(agent.tenant, *place).ok_or(Refusal::Stale(()))?;
        let Effect::Throttle(throttle) = rule.effect else { return Err(Refusal::Stale(())) };
        let digest = state.rule_digest(*place).ok_or(Refusal::Stale(()))?;
        let key = key(*place, digest, throttle.per, agent);
        let known = state.throttle_windows.get(&key).filter(|window| at < window.ends_at);
        let window = match known {
            Some(window) if window.count >= throttle.limit => {
                return Ok(Passage::Stopped(Throttled {
                    rule: *place,
                    until: window.ends_at,
                    retry_after_s: (window.ends_at - at).div_ceil(1000).max(1),
                }));
            }
            Some(window) => Window { count: window.count.saturating_add(1), ..*window },
            None => {
                opened += 1;
                Window {
                    ends_at: at.saturating_add(throttle.window_s.saturating_mul(1000)),
                    count: 1,
                }
            }
        };
        // Two equal throttles of one policy share a window and count a token once.
        if !counted.iter().any(|fact| matches!(fact, Fact::ThrottleCounted(k, _) if *k == key)) {
            counted.push(Fact::ThrottleCounted(key, window));
        }
    }
    if opened > 0 && state.throttle_windows.len() >= limits::THROTTLE_WINDOWS_MAX {
        return Err(Refusal::too_many(
            "windows of throttles in the cluster",
            limits::THROTTLE_WINDOWS_MAX as u64,
        ));
    }
    if opened > 0 && state.level >= Level::BOUNDED {
        check_room(state, agent.tenant, opened)?;
    }
    Ok(Passage::Through(counted))
}

fn check_room(state: &State, tenant: Tenant, opened: u64) -> Result<(), Refusal> {
    let open = state.windows_of(tenant);
    if open.saturating_add(opened) > limits::THROTTLE_WINDOWS_PER_TENANT_MAX {
        return Err(Refusal::too_many(
            "windows of throttles in this environment",
            limits::THROTTLE_WINDOWS_PER_TENANT_MAX,
        ));
    }
    Ok(())
}

fn key(place: RuleRef, rule: Hash, per: Per, agent: &Agent) -> ThrottleKey {
    let counted = match per {
        Per::Agent => Counted::Agent(agent.id),
        Per::Owner => Counted::Owner(agent.owner.clone()),
        Per::Organization => Counted::Organization(()),
    };
    ThrottleKey { policy: place.policy, rule, counted }
}

impl State {
    pub(crate) fn put_throttle_window(&mut self, key: &ThrottleKey, window: Window) {
        self.drop_throttle_window(key);
        self.count_window(key.policy, |number| number.saturating_add(1));
        self.throttle_window_ends.insert((window.ends_at, key.clone()));
        self.throttle_windows.insert(key.clone(), window);
    }

    pub(super) fn drop_throttle_window(&mut self, key: &ThrottleKey) {
        if let Some(old) = self.throttle_windows.remove(key) {
            self.throttle_window_ends.remove(&(old.ends_at, key.clone()));
            self.count_window(key.policy, |number| number.saturating_sub(1));
        }
    }

    /// How many windows are open of the tenant's policies.
    pub(super) fn windows_of(&self, tenant: Tenant) -> u64 {
        self.windows_of_tenant.get(&tenant).copied().unwrap_or(0)
    }

    fn windows_of_policy(&self, policy: PolicyId) -> u64 {
        self.windows_of_policy.get(&policy).copied().unwrap_or(0)
    }

    fn set_windows_of(&mut self, tenant: Tenant, number: u64) {
        match number {
            0 => self.windows_of_tenant.remove(&tenant),
            _ => self.windows_of_tenant.insert(tenant, number),
        };
    }

    fn count_window(&mut self, policy: PolicyId, count: impl Fn(u64) -> u64) {
        let left = count(self.windows_of_policy(policy));
        match left {
            0 => self.windows_of_policy.remove(&policy),
            _ => self.windows_of_policy.insert(policy, left),
        };
        match self.policies.get(&policy).map(|policy| policy.tenant) {
            Some(tenant) => self.set_windows_of(tenant, count(self.windows_of(tenant))),
            None if left == 0 => {
                self.orphaned_windows.remove(&policy);
            }
            None => {
                self.orphaned_windows.insert(policy);
            }
        }
    }

    /// The windows of a policy that is new count as its tenant's.
    pub(super) fn adopt_windows(&mut self, tenant: Tenant, policy: PolicyId) {
        self.orphaned_windows.remove(&policy);
        let number = self.windows_of_policy(policy);
        self.set_windows_of(tenant, self.windows_of(tenant).saturating_add(number));
    }

    /// The windows of a policy that goes count as nobody's, until a tick drops them.
    pub(super) fn orphan_windows(&mut self, tenant: Tenant, policy: PolicyId) {
        let number = self.windows_of_policy(policy);
        self.set_windows_of(tenant, self.windows_of(tenant).saturating_sub(number));
        if number > 0 {
            self.orphaned_windows.insert(policy);
        }
    }

    /// The windows of policies that are gone.
    pub(super) fn orphans(&self) -> impl Iterator<Item = Fact> {
        let is_bounded = self.level >= Level::BOUNDED;
        let policies = self.orphaned_windows.iter().filter(move |_| is_bounded);
        policies.flat_map(|policy| {
            let first = Counted::Agent(AgentId([0; 16]));
            let first = ThrottleKey { policy: *policy, rule: [0; 32], counted: first };
            let last = Counted::Organization(());
            let last = ThrottleKey { policy: *policy, rule: [u8::MAX; 32], counted: last };
            let windows = self.throttle_windows.range(first..=last);
            windows.map(|(key, _)| Fact::ThrottleForgotten(key.clone()))
        })
    }

    /// The throttle of `verdict` that would let no request of `agent` through at `at`.
    pub fn throttled(&self, at: Millis, agent: &Agent, verdict: &Verdict) -> Option<Throttled> {
        match ask(self, at, agent, verdict) {
            Ok(Passage::Stopped(by)) => Some(by),
            Ok(Passage::Through(_)) | Err(_) => None,
        }
    }

    pub(super) fn ended_windows(&self, at: Millis) -> impl Iterator<Item = Fact> {
        self.throttle_window_ends
            .iter()
            .take_while(move |(ends_at, _)| *ends_at <= at)
            .map(|(_, key)| Fact::ThrottleForgotten(key.clone()))
    }
}
