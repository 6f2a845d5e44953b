//! Operator keys: who may manage tenants and the cluster itself. They see no tenant's data beyond
//! the organisation. Knows nothing of how a secret is spelled.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    CreateOperatorKey, Decision, Fact, Hash, Kind, Millis, OperatorKeyId, Outcome, Refusal, State,
    Tenant, caller::Caller, text,
};
use crate::limits;

/// An operator key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorKey {
    /// Its id.
    pub id: OperatorKeyId,
    /// Its name, for people.
    pub name: String,
    /// SHA-256 of the secret.
    pub secret_hash: Hash,
    /// The secret's last four characters, for the masked form.
    pub last_four: String,
    /// When it was created.
    pub created_at: Millis,
}

const KIND: Kind = Kind::OperatorKey(());

pub(super) fn create(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    new: &CreateOperatorKey,
) -> Result<Decision, Refusal> {
    text::name("name", &new.name)?;
    text::last_four(&new.last_four)?;
    if let Some(key) = state.operator_keys.get(&new.id) {
        let same = key.name == new.name
            && key.secret_hash == new.secret_hash
            && key.last_four == new.last_four;
        return if same {
            Ok(Decision::unchanged(Outcome::OperatorKey(Arc::clone(key))))
        } else {
            Err(Refusal::IdTaken(KIND))
        };
    }
    if matches!(caller, Caller::Setup) && !state.operator_keys.is_empty() {
        return Err(Refusal::Forbidden("the cluster has an operator key already".into()));
    }
    if state.operator_keys_by_hash.contains_key(&new.secret_hash)
        || state.is_retired(&new.secret_hash)
    {
        return Err(Refusal::IdTaken(KIND));
    }
    if state.operator_keys.len() >= limits::OPERATOR_KEYS_MAX {
        return Err(Refusal::too_many("operator keys", limits::OPERATOR_KEYS_MAX as u64));
    }
    let key = Arc::new(OperatorKey {
        id: new.id,
        name: new.name.clone(),
        secret_hash: new.secret_hash,
        last_four: new.last_four.clone(),
        created_at: at,
    });
    Ok(Decision::one(
        Tenant::SYSTEM,
        Fact::OperatorKeyCreated(Arc::clone(&key)),
        Outcome::OperatorKey(key),
    ))
}

pub(super) fn delete(state: &State, at: Millis, id: OperatorKeyId) -> Result<Decision, Refusal> {
    let key = state.operator_keys.get(&id).ok_or(Refusal::NotFound(KIND))?;
    if state.operator_keys.len() == 1 {
        return Err(Refusal::LastOne(KIND));
    }
    Ok(Decision::one(
        Tenant::SYSTEM,
        Fact::OperatorKeyDeleted(Arc::clone(key), at),
        Outcome::Deleted(()),
    ))
}

impl State {
    pub(crate) fn put_operator_key(&mut self, key: Arc<OperatorKey>) {
        self.operator_keys_by_hash.insert(key.secret_hash, key.id);
        self.operator_keys.insert(key.id, key);
    }

    pub(super) fn drop_operator_key(&mut self, id: OperatorKeyId) {
        if let Some(key) = self.operator_keys.remove(&id) {
            self.operator_keys_by_hash.remove(&key.secret_hash);
        }
    }

    /// The operator key that the secret with this hash opens.
    pub fn operator_by_secret_hash(&self, hash: &Hash) -> Option<&Arc<OperatorKey>> {
        self.operator_keys.get(self.operator_keys_by_hash.get(hash)?)
    }

    /// A page of operator keys, newest first, and how many there are.
    pub fn operator_keys_page(&self, offset: usize, limit: usize) -> (Vec<Arc<OperatorKey>>, u64) {
        let page = self.operator_keys.values().rev().skip(offset).take(limit).cloned().collect();
        (page, self.operator_keys.len() as u64)
    }
}
