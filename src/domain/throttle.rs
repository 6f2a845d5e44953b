//! Throttles: how many tokens were issued under a rule lately.
//!
//! A window opens at the first counted request and ends a fixed time later; only issued tokens
//! count. The counter is part of the state and moves in the same step as the token is issued, so
//! that a limit is exact however many ask at once. It belongs to what the rule says, not to where
//! it stands. Must not know why a rule matched.

use serde::{Deserialize, Serialize};

use super::{
    Agent, AgentId, Effect, Fact, Hash, Millis, Per, PolicyId, Refusal, Rule, RuleRef, State,
    Throttled, Verdict,
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
    /// [`Rule::digest`] of the throttle.
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
    let mut counted: Vec<Fact> = Vec::with_capacity(verdict.throttles.len());
    let mut opened = 0;
    for place in &verdict.throttles {
        let rule = state.rule(agent.tenant, *place).ok_or(Refusal::Stale(()))?;
        let Effect::Throttle(throttle) = rule.effect else { return Err(Refusal::Stale(())) };
        let key = key(*place, rule, throttle.per, agent);
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
    Ok(Passage::Through(counted))
}

fn key(place: RuleRef, rule: &Rule, per: Per, agent: &Agent) -> ThrottleKey {
    let counted = match per {
        Per::Agent => Counted::Agent(agent.id),
        Per::Owner => Counted::Owner(agent.owner.clone()),
        Per::Organization => Counted::Organization(()),
    };
    ThrottleKey { policy: place.policy, rule: rule.digest(), counted }
}

impl State {
    pub(crate) fn put_throttle_window(&mut self, key: &ThrottleKey, window: Window) {
        self.drop_throttle_window(key);
        self.throttle_window_ends.insert((window.ends_at, key.clone()));
        self.throttle_windows.insert(key.clone(), window);
    }

    pub(super) fn drop_throttle_window(&mut self, key: &ThrottleKey) {
        if let Some(old) = self.throttle_windows.remove(key) {
            self.throttle_window_ends.remove(&(old.ends_at, key.clone()));
        }
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
