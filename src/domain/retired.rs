//! Secrets that have stopped, remembered for a while.
//!
//! A command whose outcome was unknown is proposed again. If a key was deleted or rotated in
//! between, that must not bring its secret back: what stands for the secret – its hash, of an agent
//! its public key – is remembered longer than any proposal lives. Must not know whose it was.

use super::{Hash, Millis, State};
use crate::limits;

impl State {
    /// Whether what stands for this secret stopped lately.
    pub(super) fn is_retired(&self, secret: &Hash) -> bool {
        self.retired_secrets.contains_key(secret)
    }

    pub(super) fn retire_secret(&mut self, secret: Hash, at: Millis) {
        self.put_retired_secret(secret, at.saturating_add(limits::RETIRED_SECRET_MEMORY_S * 1000));
    }

    pub(crate) fn put_retired_secret(&mut self, secret: Hash, until: Millis) {
        self.forget_retired_secret(secret);
        self.retired_secrets.insert(secret, until);
        self.retired_secrets_by_end.insert((until, secret));
    }

    pub(super) fn forget_retired_secret(&mut self, secret: Hash) {
        if let Some(until) = self.retired_secrets.remove(&secret) {
            self.retired_secrets_by_end.remove(&(until, secret));
        }
    }
}
