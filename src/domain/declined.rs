//! Refusals by policy, remembered for a while.
//!
//! A command whose outcome was unknown is proposed again. One that was declined must come to the
//! same again and be told of once, so what it came to is remembered by its id, longer than any
//! proposal lives. Must not know why it was declined.

use super::{DenialReason, Fact, Millis, Outcome, State};
use crate::limits;

/// What tells a token request apart from every other: the id that was minted for it.
pub type RequestId = [u8; 16];

/// Until when a refusal at `at` is remembered.
pub(super) fn remembered_until(at: Millis) -> Millis {
    at.saturating_add(limits::DECLINED_MEMORY_S * 1000)
}

impl State {
    /// What this request came to, if it was declined lately.
    pub(super) fn declined_before(&self, id: &RequestId) -> Option<Outcome> {
        Some(match self.declined.get(id)?.0 {
            DenialReason::Policy(rule) => Outcome::TokenDenied(rule),
            DenialReason::Throttled(by) => Outcome::TokenThrottled(by),
        })
    }

    pub(crate) fn put_declined(&mut self, id: RequestId, reason: DenialReason, until: Millis) {
        self.drop_declined(&id);
        self.declined.insert(id, (reason, until));
        self.declined_ends.insert((until, id));
    }

    pub(super) fn drop_declined(&mut self, id: &RequestId) {
        if let Some((_, until)) = self.declined.remove(id) {
            self.declined_ends.remove(&(until, *id));
        }
    }

    pub(super) fn old_declined(&self, at: Millis) -> impl Iterator<Item = Fact> {
        self.declined_ends
            .iter()
            .take_while(move |(until, _)| *until <= at)
            .map(|(_, id)| Fact::DeclinedForgotten(*id))
    }
}
