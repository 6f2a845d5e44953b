//! Signing keys: the public halves of the keys with which nodes sign tokens.
//!
//! A key signs from its registration until it is retired or revoked. A retired key is published
//! until the last token signed with it has expired; a revoked one is gone at once, and every token
//! that it signed is dead. Numbers stand for keys in token records, to keep those small, and are
//! never reused. Knows nothing of private halves.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Decision, Fact, Kind, Millis, Outcome, Refusal, RegisterSigningKey, Seconds, SigningKeyId,
    State, Tenant, caller::Caller,
};
use crate::limits;

/// A registered signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// Its id, the `kid` of what it signs.
    pub id: SigningKeyId,
    /// What token records call it.
    pub number: u32,
    /// The node that holds the private half.
    pub node: u64,
    /// The public half.
    pub public_key: [u8; 32],
    /// When it was registered.
    pub created_at: Millis,
    /// From when on it no longer signs.
    pub retired_at: Option<Millis>,
    /// When it was declared compromised.
    pub revoked_at: Option<Millis>,
    /// The latest `exp` of a token that it signed; 0 when it signed none.
    pub last_expiry: Seconds,
}

impl SigningKey {
    /// Whether a token may still be issued under it.
    pub fn may_sign(&self) -> bool {
        self.retired_at.is_none() && self.revoked_at.is_none()
    }
}

const KIND: Kind = Kind::SigningKey(());

pub(super) fn register(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    new: &RegisterSigningKey,
) -> Result<Decision, Refusal> {
    let Caller::Node(node) = caller else {
        return Err(Refusal::Forbidden("a signing key is registered by its node".into()));
    };
    if let Some(key) = state.signing_key(new.id) {
        return if key.node == node && key.public_key == new.public_key {
            Ok(Decision::unchanged(Outcome::SigningKey(Arc::clone(key))))
        } else {
            Err(Refusal::IdTaken(KIND))
        };
    }
    if state.signing_keys_by_public.contains_key(&new.public_key) {
        return Err(Refusal::IdTaken(KIND));
    }
    if state.signing_keys.len() >= limits::SIGNING_KEYS_MAX || state.next_signing_key == u32::MAX {
        return Err(Refusal::too_many("signing keys", limits::SIGNING_KEYS_MAX as u64));
    }
    let key = Arc::new(SigningKey {
        id: new.id,
        number: state.next_signing_key,
        node,
        public_key: new.public_key,
        created_at: at,
        retired_at: None,
        revoked_at: None,
        last_expiry: 0,
    });
    Ok(Decision::one(
        Tenant::SYSTEM,
        Fact::SigningKeyRegistered(Arc::clone(&key)),
        Outcome::SigningKey(key),
    ))
}

/// A node retires its own keys, an operator any.
pub(super) fn retire(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    id: SigningKeyId,
) -> Result<Decision, Refusal> {
    let old = state
        .signing_key(id)
        .filter(|key| !matches!(caller, Caller::Node(node) if node != key.node))
        .ok_or(Refusal::NotFound(KIND))?;
    if !old.may_sign() {
        return Ok(Decision::unchanged(Outcome::SigningKey(Arc::clone(old))));
    }
    let key = Arc::new(SigningKey { retired_at: Some(at), ..SigningKey::clone(old) });
    Ok(Decision::one(
        Tenant::SYSTEM,
        Fact::SigningKeyRetired(Arc::clone(&key)),
        Outcome::SigningKey(key),
    ))
}

pub(super) fn revoke(state: &State, at: Millis, id: SigningKeyId) -> Result<Decision, Refusal> {
    let old = state.signing_key(id).ok_or(Refusal::NotFound(KIND))?;
    if old.revoked_at.is_some() {
        return Ok(Decision::unchanged(Outcome::SigningKey(Arc::clone(old))));
    }
    let key = Arc::new(SigningKey { revoked_at: Some(at), ..SigningKey::clone(old) });
    Ok(Decision::one(
        Tenant::SYSTEM,
        Fact::SigningKeyRevoked(Arc::clone(&key)),
        Outcome::SigningKey(key),
    ))
}

impl State {
    /// The signing key with this id, dead or not.
    pub fn signing_key(&self, id: SigningKeyId) -> Option<&Arc<SigningKey>> {
        self.signing_keys.get(self.signing_key_numbers.get(&id)?)
    }

    /// The keys to publish at `at`: those that sign, and those of which a token can still live.
    pub fn jwks_keys(&self, at: Millis) -> impl Iterator<Item = &Arc<SigningKey>> {
        self.signing_keys.values().filter(move |key| {
            key.revoked_at.is_none()
                && (key.retired_at.is_none() || key.last_expiry.saturating_mul(1000) > at)
        })
    }

    pub(crate) fn put_signing_key(&mut self, key: Arc<SigningKey>) {
        self.next_signing_key = self.next_signing_key.max(key.number.saturating_add(1));
        self.signing_key_numbers.insert(key.id, key.number);
        self.signing_keys_by_public.insert(key.public_key, key.number);
        match key.retired_at.is_some() && key.revoked_at.is_none() {
            true => self.retired_signing_keys.insert(key.number),
            false => self.retired_signing_keys.remove(&key.number),
        };
        self.signing_keys.insert(key.number, key);
    }

    pub(super) fn put_revoked_signing_key(&mut self, key: Arc<SigningKey>) {
        let agents = &self.agents;
        self.token_lists
            .remove_signing_key(key.number, |agent| agents.get(&agent).map(|agent| agent.tenant));
        self.put_signing_key(key);
    }

    pub(super) fn note_signed(&mut self, number: u32, expires_at: Seconds) {
        if let Some(key) = self.signing_keys.get_mut(&number)
            && key.last_expiry < expires_at
        {
            Arc::make_mut(key).last_expiry = expires_at;
        }
    }

    pub(super) fn drop_signing_key(&mut self, id: SigningKeyId) {
        if let Some(number) = self.signing_key_numbers.remove(&id) {
            self.retired_signing_keys.remove(&number);
            if let Some(key) = self.signing_keys.remove(&number) {
                self.signing_keys_by_public.remove(&key.public_key);
            }
        }
    }
}
