//! What time alone does: expired tokens leave the lists, dead records go.
//!
//! Expiry itself needs no tick – verification compares times – so a late tick costs only memory. A
//! tick is proposed when one is due, and removes a bounded number of things; what is left makes the
//! next one due at once. Must not know clocks.

use super::{
    Decision, Event, Fact, Hash, Millis, Outcome, Seconds, SigningKey, State, Tenant,
    state::seconds,
};
use crate::limits;

/// Every second up to this one has passed at `at`, as the records count seconds.
fn passed(at: Millis) -> u32 {
    u32::try_from(seconds(at)).unwrap_or(u32::MAX)
}

const LAST_HASH: Hash = [u8::MAX; 32];

pub(super) fn tick(state: &State, at: Millis) -> Decision {
    let system = |fact| Event { chain: Tenant::SYSTEM, fact };
    let mut events: Vec<Event> = state
        .expired(at)
        .chain(state.forgettable_tokens(at))
        .chain(state.stopped_secrets(at))
        .chain(state.ended_windows(at))
        .chain(state.orphans())
        .chain(state.stale_nonces(at))
        .chain(state.old_declined(at))
        .chain(state.stopped_signing_secrets(at))
        .chain(state.old_answers(at))
        .map(system)
        .chain(state.due_approvals(at))
        .take(limits::PRUNE_BATCH_MAX)
        .collect();
    // A key goes after the last token that it signed, so never in a tick that left some.
    let room = limits::PRUNE_BATCH_MAX - events.len();
    let keys = state
        .retired_keys()
        .filter(|key| is_forgettable(key, at))
        .map(|key| Fact::SigningKeyForgotten(key.id))
        .take(room);
    events.extend(keys.map(system));
    Decision { events, outcome: Outcome::Done(()) }
}

/// Whether nothing needs this key any more. A revoked one is kept for good, there are few: its node
/// may be away for long, and must find it revoked when it comes back.
fn is_forgettable(key: &SigningKey, at: Millis) -> bool {
    let Some(retired_at) = key.retired_at else { return false };
    let last_needed: Seconds = key.last_expiry.max(seconds(retired_at));
    key.revoked_at.is_none() && last_needed.saturating_add(limits::EXPIRY_MARGIN_S) < seconds(at)
}

impl State {
    /// Whether a [`super::Action::Tick`] at `at` would do anything.
    pub fn is_tick_due(&self, at: Millis) -> bool {
        self.expired(at).next().is_some()
            || self.forgettable_tokens(at).next().is_some()
            || self.stopped_secrets(at).next().is_some()
            || self.ended_windows(at).next().is_some()
            || self.orphans().next().is_some()
            || self.stale_nonces(at).next().is_some()
            || self.old_declined(at).next().is_some()
            || self.old_answers(at).next().is_some()
            || self.due_approvals(at).next().is_some()
            || self.stopped_signing_secrets(at).next().is_some()
            || self.retired_keys().any(|key| is_forgettable(key, at))
    }

    fn retired_keys(&self) -> impl Iterator<Item = &SigningKey> {
        let keys = self.retired_signing_keys.iter();
        keys.filter_map(|number| self.signing_keys.get(number).map(AsRef::as_ref))
    }

    fn expired(&self, at: Millis) -> impl Iterator<Item = Fact> {
        use std::ops::Bound::{Excluded, Included};
        let until = (passed(at), LAST_HASH).max(self.expired_through);
        self.token_expiry.range((Excluded(self.expired_through), Included(until))).filter_map(
            |(_, hash)| {
                let record = self.tokens.get(hash)?;
                Some(Fact::TokenExpired(record.agent, record.id, *hash))
            },
        )
    }

    fn forgettable_tokens(&self, at: Millis) -> impl Iterator<Item = Fact> {
        let margin_ms = limits::EXPIRY_MARGIN_S * 1000;
        // No record expires in second 0, so that before the margin has passed once none goes.
        let until = passed(at.saturating_sub(margin_ms));
        self.token_expiry.range(..=(until, LAST_HASH)).filter_map(|(_, hash)| {
            let record = self.tokens.get(hash)?;
            Some(Fact::TokenForgotten(record.id, *hash))
        })
    }

    fn stopped_secrets(&self, at: Millis) -> impl Iterator<Item = Fact> {
        let previous = self
            .previous_secrets
            .iter()
            .take_while(move |(end, _)| *end <= at)
            .map(|(_, id)| Fact::PreviousSecretForgotten(*id));
        let retired = self
            .retired_secrets_by_end
            .iter()
            .take_while(move |(end, _)| *end <= at)
            .map(|(_, hash)| Fact::RetiredSecretForgotten(*hash));
        previous.chain(retired)
    }
}
