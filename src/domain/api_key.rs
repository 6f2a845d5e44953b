//! API keys: who may call the API for one environment of one organisation.
//!
//! Only a hash of the secret is held. A key authenticates while it exists, is enabled and has not
//! expired, and while the same holds of the key that created it (see [`super::api_key_line`]); a
//! rotated key's old secret goes on for a stated grace. What a key may do never changes, so a key
//! that was made with no more than its creator holds never has more. Knows nothing of headers or
//! of how a secret is spelled.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    ApiKeyId, CreateApiKey, Decision, Environment, Event, Fact, Hash, Kind, Level, Millis, OrgId,
    Outcome, Permissions, Refusal, RotateApiKey, State, Tenant, UpdateApiKey, caller::Caller,
    change::set, text,
};
use crate::{limits, rfc3339};

/// The secret that a rotation replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// SHA-256 of the old secret.
    pub hash: Hash,
    /// Until when it still authenticates.
    pub works_until: Millis,
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// The organisation and environment that it opens.
    pub tenant: Tenant,
    /// Its name, for people.
    pub name: String,
    /// What it may do.
    pub permissions: Permissions,
    /// SHA-256 of the secret.
    pub secret_hash: Hash,
    /// The secret's last four characters, for the masked form.
    pub last_four: String,
    /// The secret that the last rotation replaced, while it still works.
    pub previous: Option<PreviousSecret>,
    /// A disabled key does not authenticate.
    pub enabled: bool,
    /// When it was created.
    pub created_at: Millis,
    /// From when on it no longer authenticates, if ever.
    pub expires_at: Option<Millis>,
    /// About when it was last used, exact to the minute.
    pub last_used_at: Option<Millis>,
}

impl ApiKey {
    /// Whether the key itself may act at `at`, whatever became of its creator.
    pub fn is_alive(&self, at: Millis) -> bool {
        self.enabled && self.expires_at.is_none_or(|end| at < end)
    }

    /// Whether the secret with this hash is the key's at `at`.
    fn has_secret(&self, hash: &Hash, at: Millis) -> bool {
        self.secret_hash == *hash
            || self.previous.as_ref().is_some_and(|old| old.hash == *hash && at < old.works_until)
    }

    /// Whether a key of `from` sees this one: a live key sees all keys of its organisation, a test
    /// key those of its environment.
    pub fn is_seen_from(&self, from: Tenant) -> bool {
        self.tenant == from || from == Tenant::live(self.tenant.org)
    }
}

const KIND: Kind = Kind::ApiKey(());

pub(super) fn create(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    new: &CreateApiKey,
) -> Result<Decision, Refusal> {
    if !caller.sees(new.org) || !state.organizations.contains_key(&new.org) {
        return Err(Refusal::NotFound(Kind::Organization(())));
    }
    text::name("name", &new.name)?;
    text::last_four(&new.last_four)?;
    let creator = creator(state, caller);
    let expires_at = new.expires_at.or(creator.and_then(|creator| state.api_key_end(creator)));
    if let Some(key) = state.api_keys.get(&new.id) {
        return if is_made_by(key, new, expires_at) {
            Ok(Decision::unchanged(Outcome::ApiKey(Arc::clone(key))))
        } else {
            Err(Refusal::IdTaken(KIND))
        };
    }
    check_grant(caller, new.permissions)?;
    if let Some(creator) = creator {
        check_line(state, creator, new)?;
    }
    check_new_secret(state, &new.secret_hash)?;
    if let Some(end) = new.expires_at
        && !(at.saturating_add(1)..=rfc3339::LAST_MS).contains(&end)
    {
        return Err(text::invalid("expires_at", "must lie in the future, before the year 10000"));
    }
    if state.api_keys_of_org(new.org) >= limits::API_KEYS_PER_ORGANIZATION_MAX as u64 {
        return Err(Refusal::too_many(
            "API keys of this organization",
            limits::API_KEYS_PER_ORGANIZATION_MAX as u64,
        ));
    }
    let key = Arc::new(ApiKey {
        id: new.id,
        tenant: Tenant { org: new.org, environment: new.environment },
        name: new.name.clone(),
        permissions: new.permissions,
        secret_hash: new.secret_hash,
        last_four: new.last_four.clone(),
        previous: None,
        enabled: true,
        created_at: at,
        expires_at,
        last_used_at: None,
    });
    Ok(Decision::one(
        Tenant::live(new.org),
        Fact::ApiKeyCreated(Arc::clone(&key), creator.map(|creator| creator.id)),
        Outcome::ApiKey(key),
    ))
}

/// Whether `key` is what `new` made: by all that no later command can change, and the secret. The
/// name can be changed, so it tells nothing.
fn is_made_by(key: &ApiKey, new: &CreateApiKey, expires_at: Option<Millis>) -> bool {
    key.tenant == (Tenant { org: new.org, environment: new.environment })
        && key.permissions == new.permissions
        && key.expires_at == expires_at
        && key.secret_hash == new.secret_hash
}

/// A caller cannot hand out, with a secret, what it does not hold.
fn check_grant(caller: Caller<'_>, granted: Permissions) -> Result<(), Refusal> {
    match caller.api_key() {
        Some(own) if !own.permissions.covers(granted) => Err(Refusal::Forbidden(
            "an API key cannot grant permissions that it does not hold".into(),
        )),
        _ => Ok(()),
    }
}

/// The API key from which a key that `caller` creates descends.
fn creator<'a>(state: &State, caller: Caller<'a>) -> Option<&'a ApiKey> {
    caller.api_key().filter(|_| state.level >= Level::BOUNDED)
}

/// What a key creates stays within its environment and its time, and its line is not too long.
fn check_line(state: &State, creator: &ApiKey, new: &CreateApiKey) -> Result<(), Refusal> {
    let forbidden = |why: &str| Err(Refusal::Forbidden(why.to_owned()));
    if creator.tenant.environment == Environment::Test && new.environment != Environment::Test {
        return forbidden("a test key creates test keys only; create this one with a live key");
    }
    if !state.can_api_key_create(creator.id) {
        return Err(Refusal::Forbidden(format!(
            "this key is the last of a line of {} keys, each created by the one before, and no line \
             is longer; use a key further up",
            limits::API_KEY_GENERATIONS_MAX
        )));
    }
    match (state.api_key_end(creator), new.expires_at) {
        (Some(own), Some(asked)) if asked > own => Err(text::invalid(
            "expires_at",
            format!(
                "must be no later than the end of the key that creates it, {}",
                rfc3339::seconds(own / 1000)
            ),
        )),
        _ => Ok(()),
    }
}

/// Who changes or ends a key holds all that it may do.
fn check_control(state: &State, caller: Caller<'_>, key: &ApiKey) -> Result<(), Refusal> {
    match caller.api_key() {
        Some(own) if state.level >= Level::BOUNDED && !own.permissions.covers(key.permissions) => {
            Err(Refusal::Forbidden(
                "an API key cannot change a key that holds permissions which it does not hold"
                    .into(),
            ))
        }
        _ => Ok(()),
    }
}

/// A new secret gives whoever asks for it the key: one that acts no longer than its own, and none
/// from which its own descends.
fn check_takeover(state: &State, caller: Caller<'_>, key: &ApiKey) -> Result<(), Refusal> {
    let Some(own) = caller.api_key().filter(|_| state.level >= Level::BOUNDED) else {
        return Ok(());
    };
    if state.api_key_descends_from(own.id, key.id) {
        return Err(Refusal::Forbidden(
            "an API key cannot rotate a key from which it descends".into(),
        ));
    }
    let end = |key| state.api_key_end(key).unwrap_or(Millis::MAX);
    if end(key) > end(own) {
        return Err(Refusal::Forbidden(
            "an API key cannot rotate a key that works longer than itself".into(),
        ));
    }
    Ok(())
}

fn check_new_secret(state: &State, hash: &Hash) -> Result<(), Refusal> {
    if state.api_keys_by_hash.contains_key(hash) || state.is_retired(hash) {
        return Err(Refusal::IdTaken(KIND));
    }
    Ok(())
}

fn find<'a>(
    state: &'a State,
    caller: Caller<'_>,
    id: ApiKeyId,
) -> Result<&'a Arc<ApiKey>, Refusal> {
    let is_seen = |key: &ApiKey| match caller.api_key() {
        Some(own) if state.level >= Level::BOUNDED => key.is_seen_from(own.tenant),
        _ => caller.sees(key.tenant.org),
    };
    state.api_keys.get(&id).filter(|key| is_seen(key)).ok_or(Refusal::NotFound(KIND))
}

pub(super) fn update(
    state: &State,
    caller: Caller<'_>,
    change: &UpdateApiKey,
) -> Result<Decision, Refusal> {
    let old = find(state, caller, change.id)?;
    check_control(state, caller, old)?;
    let mut new = ApiKey::clone(old);
    let mut changed = Vec::new();
    if let Some(name) = &change.name {
        text::name("name", name)?;
        set(&mut new.name, name, "name", &mut changed);
    }
    if let Some(enabled) = &change.enabled {
        set(&mut new.enabled, enabled, "enabled", &mut changed);
    }
    if changed.is_empty() {
        return Ok(Decision::unchanged(Outcome::ApiKey(Arc::clone(old))));
    }
    if new.enabled && !old.enabled {
        check_grant(caller, new.permissions)?;
    }
    let key = Arc::new(new);
    Ok(Decision::one(
        Tenant::live(key.tenant.org),
        Fact::ApiKeyUpdated(Arc::clone(&key), changed),
        Outcome::ApiKey(key),
    ))
}

pub(super) fn rotate(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    change: &RotateApiKey,
) -> Result<Decision, Refusal> {
    let old = find(state, caller, change.id)?;
    if old.secret_hash == change.secret_hash {
        return Ok(Decision::unchanged(Outcome::ApiKey(Arc::clone(old))));
    }
    text::last_four(&change.last_four)?;
    if change.grace_s > limits::ROTATION_GRACE_MAX_S {
        return Err(text::invalid(
            "grace_seconds",
            format!("must be at most {}", limits::ROTATION_GRACE_MAX_S),
        ));
    }
    check_grant(caller, old.permissions)?;
    check_takeover(state, caller, old)?;
    check_new_secret(state, &change.secret_hash)?;
    let mut new = ApiKey::clone(old);
    new.secret_hash = change.secret_hash;
    new.last_four.clone_from(&change.last_four);
    new.previous = (change.grace_s > 0).then(|| PreviousSecret {
        hash: old.secret_hash,
        works_until: at.saturating_add(change.grace_s * 1000),
    });
    let key = Arc::new(new);
    Ok(Decision::one(
        Tenant::live(key.tenant.org),
        Fact::ApiKeyRotated { key: Arc::clone(&key), old_hash: old.secret_hash, at },
        Outcome::ApiKey(key),
    ))
}

pub(super) fn delete(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    id: ApiKeyId,
) -> Result<Decision, Refusal> {
    let key = find(state, caller, id)?;
    check_control(state, caller, key)?;
    Ok(Decision::one(
        Tenant::live(key.tenant.org),
        Fact::ApiKeyDeleted(Arc::clone(key), at),
        Outcome::Deleted(()),
    ))
}

/// Notes when keys were last used; a use that is older than the one known says nothing.
pub(super) fn touch(state: &State, at: Millis, used: &[(ApiKeyId, Millis)]) -> Decision {
    let events = used
        .iter()
        .map(|(id, used_at)| (*id, (*used_at).min(at)))
        .filter(|(id, used_at)| {
            state.api_keys.get(id).is_some_and(|key| key.last_used_at < Some(*used_at))
        })
        .map(|(id, used_at)| Event { chain: Tenant::SYSTEM, fact: Fact::ApiKeyUsed(id, used_at) })
        .collect();
    Decision { events, outcome: Outcome::Done(()) }
}

impl State {
    pub(crate) fn put_api_key(&mut self, key: Arc<ApiKey>) {
        self.drop_api_key(key.id);
        self.api_keys_by_hash.insert(key.secret_hash, key.id);
        if let Some(previous) = &key.previous {
            self.api_keys_by_hash.insert(previous.hash, key.id);
            self.previous_secrets.insert((previous.works_until, key.id));
        }
        self.api_keys_by_org.insert((key.tenant.org, key.id));
        *self.api_key_counts.entry(key.tenant.org).or_default() += 1;
        self.api_keys.insert(key.id, key);
    }

    pub(super) fn drop_api_key(&mut self, id: ApiKeyId) {
        let Some(key) = self.api_keys.remove(&id) else { return };
        self.api_keys_by_hash.remove(&key.secret_hash);
        if let Some(previous) = &key.previous {
            self.api_keys_by_hash.remove(&previous.hash);
            self.previous_secrets.remove(&(previous.works_until, id));
        }
        self.api_keys_by_org.remove(&(key.tenant.org, id));
        match self.api_keys_of_org(key.tenant.org).saturating_sub(1) {
            0 => self.api_key_counts.remove(&key.tenant.org),
            left => self.api_key_counts.insert(key.tenant.org, left),
        };
    }

    /// How many API keys an organisation has.
    pub(super) fn api_keys_of_org(&self, org: OrgId) -> u64 {
        self.api_key_counts.get(&org).copied().unwrap_or(0)
    }

    pub(super) fn note_api_key_used(&mut self, id: ApiKeyId, at: Millis) {
        if let Some(key) = self.api_keys.get_mut(&id) {
            let key = Arc::make_mut(key);
            key.last_used_at = key.last_used_at.max(Some(at));
        }
    }

    pub(super) fn forget_previous_secret(&mut self, id: ApiKeyId) {
        if let Some(key) = self.api_keys.get(&id) {
            let mut key = ApiKey::clone(key);
            let previous = key.previous.take();
            // The indexes go by the key as it was.
            if previous.is_some() {
                self.put_api_key(Arc::new(key));
            }
        }
    }

    /// The API key that the secret with this hash opens at `at`.
    pub fn api_key_by_secret_hash(&self, hash: &Hash, at: Millis) -> Option<&Arc<ApiKey>> {
        let key = self.api_keys.get(self.api_keys_by_hash.get(hash)?)?;
        (key.has_secret(hash, at) && self.is_api_key_alive(key, at)).then_some(key)
    }

    fn api_keys_of(&self, org: OrgId) -> impl DoubleEndedIterator<Item = &(OrgId, ApiKeyId)> {
        self.api_keys_by_org.range((org, ApiKeyId([0; 16]))..=(org, ApiKeyId([u8::MAX; 16])))
    }

    /// A page of the API keys that a key of `tenant` sees, newest first, and how many those are.
    pub fn api_keys_page(
        &self,
        tenant: Tenant,
        offset: usize,
        limit: usize,
    ) -> (Vec<Arc<ApiKey>>, u64) {
        let known =
            || self.api_keys_of(tenant.org).rev().filter_map(|(_, id)| self.api_keys.get(id));
        let seen = || known().filter(|key| key.is_seen_from(tenant));
        (seen().skip(offset).take(limit).cloned().collect(), seen().count() as u64)
    }
}
