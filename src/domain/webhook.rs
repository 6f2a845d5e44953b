//! Webhook endpoints: where a tenant wants to be told of its events.
//!
//! An endpoint names the events that it wants, and has a secret that signs what it is sent: the
//! core keeps it sealed, and after a rotation the one before for a while. What was delivered to it
//! stands in [`super::Outbox`]. Must not know HTTP, addresses, or how a secret is opened.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    CreateWebhook, Decision, Event, Fact, Hash, Kind, Level, Millis, OrgId, Outbox, Outcome, Quota,
    Refusal, RotateWebhookSecret, State, Tenant, UpdateWebhook, WebhookId, billing, caller::Caller,
    change::set, event_names, text, text::invalid,
};
use crate::{codec::stored_tags, limits};

/// What stands for every event.
pub const EVERY_EVENT: &str = "*";

stored_tags! {
    /// Why an endpoint is sent nothing.
    pub enum DisabledReason {
        /// Somebody switched it off.
        1 => Requested = "requested",
        /// For days every attempt failed.
        2 => Failing = "failing",
        /// The cluster was restored from a backup.
        3 => Restored = "restored",
    }
}

/// A signing secret as the state keeps it: sealed outside the core, for this endpoint and version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    /// Counts the endpoint's secrets, from 1.
    pub version: u32,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
}

/// The secret before the last rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSigningSecret {
    /// The secret.
    pub secret: SealedSecret,
    /// Until when it signs too.
    pub works_until: Millis,
}

/// What an endpoint wanted at a time that is over; nothing, while it was disabled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastChoice {
    /// Names of events, or [`EVERY_EVENT`].
    pub events: BTreeSet<String>,
    /// Holds for events up to this place in the chain that no earlier choice holds for.
    pub through: u64,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose it is, and whose events it is sent.
    pub tenant: Tenant,
    /// Where to.
    pub url: String,
    /// Names of events, or [`EVERY_EVENT`] alone.
    pub events: BTreeSet<String>,
    /// What it wanted of events that happened before and that it may not have been sent yet, the
    /// oldest choice first.
    pub past: Vec<PastChoice>,
    /// What it is for.
    pub description: Option<String>,
    /// What signs.
    pub secret: SealedSecret,
    /// What signs too, after a rotation.
    pub previous: Option<PreviousSigningSecret>,
    /// Why it is sent nothing, and since when; `None` while it is.
    pub disabled: Option<(DisabledReason, Millis)>,
    /// When it was created.
    pub created_at: Millis,
    /// When it was last changed.
    pub updated_at: Millis,
}

const KIND: Kind = Kind::Webhook(());

impl Webhook {
    /// Whether it wanted to be told of the event of this name, at this place in the chain, when that
    /// happened.
    pub fn wants(&self, seq: u64, event: &str) -> bool {
        let past = self.past.iter().find(|past| seq <= past.through);
        let events = past.map_or(&self.events, |past| &past.events);
        events.contains(EVERY_EVENT) || events.contains(event)
    }

    /// Remembers what it wants up to `through`, before that changes, of an endpoint that has come to
    /// `position`. Too many changes at once are taken together: rather sent too much than too little.
    pub(super) fn remember_choice(&mut self, through: u64, position: u64) {
        self.past.retain(|past| past.through > position);
        let enabled = self.disabled.is_none();
        let events = if enabled { self.events.clone() } else { BTreeSet::new() };
        self.past.push(PastChoice { events, through });
        if self.past.len() > limits::WEBHOOK_PAST_CHOICES_MAX {
            let oldest = self.past.remove(0);
            self.past[0].events.extend(oldest.events);
        }
    }

    /// The secrets that sign at `at`: the newest first.
    pub fn secrets_at(&self, at: Millis) -> impl Iterator<Item = &SealedSecret> {
        let previous = self.previous.as_ref().filter(|previous| at < previous.works_until);
        std::iter::once(&self.secret).chain(previous.map(|previous| &previous.secret))
    }
}

pub(super) fn create(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    new: &CreateWebhook,
) -> Result<Decision, Refusal> {
    let tenant = caller.tenant()?;
    let webhook = Webhook {
        id: new.id,
        tenant,
        url: new.url.clone(),
        events: new.events.clone(),
        past: Vec::new(),
        description: new.description.clone(),
        secret: SealedSecret { version: 1, sealed: new.sealed_secret.clone() },
        previous: None,
        disabled: None,
        created_at: at,
        updated_at: at,
    };
    check(&webhook)?;
    if let Some(known) = state.webhooks.get(&new.id) {
        return made_before(known, &webhook);
    }
    if state.is_retired(&trace(&webhook.secret)) {
        return Err(Refusal::IdTaken(KIND));
    }
    billing::check(state, at, tenant.org, Quota::Webhooks)?;
    if state.webhooks_of_org(tenant.org) >= limits::WEBHOOKS_PER_ORGANIZATION_MAX {
        return Err(Refusal::too_many(
            "webhooks in this organisation",
            limits::WEBHOOKS_PER_ORGANIZATION_MAX as u64,
        ));
    }
    if state.level >= Level::BOUNDED && state.webhooks.len() >= limits::WEBHOOKS_MAX {
        return Err(Refusal::too_many("webhooks in the cluster", limits::WEBHOOKS_MAX as u64));
    }
    let webhook = Arc::new(webhook);
    // What happened before is not sent, and neither is the creation itself, which comes next.
    let outbox = Outbox::starting_after(state.chain_end(tenant).saturating_add(1));
    let fact = Fact::WebhookCreated(Arc::clone(&webhook), Arc::new(outbox));
    Ok(Decision::one(tenant, fact, Outcome::Webhook(webhook)))
}

/// The answer to a command that is proposed again. Once the endpoint has been changed, only its
/// tenant can tell.
fn made_before(known: &Arc<Webhook>, new: &Webhook) -> Result<Decision, Refusal> {
    let as_of_then =
        Webhook { created_at: known.created_at, updated_at: known.updated_at, ..new.clone() };
    let changed_since = known.updated_at != known.created_at;
    if known.tenant == new.tenant && (changed_since || **known == as_of_then) {
        return Ok(Decision::unchanged(Outcome::Webhook(Arc::clone(known))));
    }
    Err(Refusal::IdTaken(KIND))
}

/// What is remembered of the secret of an endpoint that is gone.
fn trace(secret: &SealedSecret) -> Hash {
    Sha256::digest(&secret.sealed).into()
}

fn check(webhook: &Webhook) -> Result<(), Refusal> {
    let url = &webhook.url;
    if url.is_empty() || url.len() > limits::WEBHOOK_URL_MAX_BYTES {
        return Err(invalid(
            "url",
            format!("must have 1 to {} bytes", limits::WEBHOOK_URL_MAX_BYTES),
        ));
    }
    if url.chars().any(char::is_control) {
        return Err(invalid("url", "contains a control character"));
    }
    text::description("description", webhook.description.as_deref())?;
    check_secret(&webhook.secret)?;
    let all = webhook.events.contains(EVERY_EVENT);
    if webhook.events.is_empty() || all && webhook.events.len() > 1 {
        return Err(invalid("events", "must be some names of events, or \"*\" alone"));
    }
    match webhook.events.iter().find(|name| !all && !event_names::is_known(name)) {
        Some(_) => Err(invalid("events", "must be names of events in the audit log")),
        None => Ok(()),
    }
}

fn check_secret(secret: &SealedSecret) -> Result<(), Refusal> {
    if secret.sealed.is_empty() || secret.sealed.len() > limits::WEBHOOK_SEALED_SECRET_MAX_BYTES {
        return Err(invalid("secret", "is not sealed as a secret is"));
    }
    Ok(())
}

/// The endpoint, if the caller's tenant has it.
pub(super) fn find<'a>(
    state: &'a State,
    caller: Caller<'_>,
    id: WebhookId,
) -> Result<&'a Arc<Webhook>, Refusal> {
    state.webhook(caller.tenant()?, id).ok_or(Refusal::NotFound(KIND))
}

pub(super) fn update(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    change: &UpdateWebhook,
) -> Result<Decision, Refusal> {
    let old = find(state, caller, change.id)?;
    let outbox = state.outboxes.get(&old.id).ok_or(Refusal::NotFound(KIND))?;
    let (end, position) = (state.chain_end(old.tenant), outbox.progress.position);
    let mut webhook = Webhook::clone(old);
    if change.events.as_ref().is_some_and(|events| *events != old.events) {
        webhook.remember_choice(end, position);
    }
    let changed = change_fields(&mut webhook, change);
    check(&webhook)?;
    let mut facts = Vec::new();
    if !changed.is_empty() {
        webhook.updated_at = at;
        facts.push(Fact::WebhookUpdated(Arc::new(webhook.clone()), changed));
    }
    let end = end.saturating_add(facts.len() as u64);
    let is_enabled = webhook.disabled.is_none();
    match change.enabled.unwrap_or(is_enabled) {
        // The event that says so is not sent either.
        true if !is_enabled => {
            webhook.remember_choice(end.saturating_add(1), position);
            webhook = Webhook { disabled: None, updated_at: at, ..webhook };
            let outbox = Arc::new(outbox.well_again());
            facts.push(Fact::WebhookEnabled(Arc::new(webhook.clone()), outbox));
        }
        false if is_enabled => {
            webhook.remember_choice(end, position);
            webhook.disabled = Some((DisabledReason::Requested, at));
            webhook.updated_at = at;
            facts.push(Fact::WebhookDisabled(Arc::new(webhook.clone())));
        }
        _ => {}
    }
    let chain = webhook.tenant;
    Ok(Decision {
        events: facts.into_iter().map(|fact| Event { chain, fact }).collect(),
        outcome: Outcome::Webhook(Arc::new(webhook)),
    })
}

fn change_fields(webhook: &mut Webhook, change: &UpdateWebhook) -> Vec<&'static str> {
    let mut changed = Vec::new();
    if let Some(value) = &change.url {
        set(&mut webhook.url, value, "url", &mut changed);
    }
    if let Some(value) = &change.events {
        set(&mut webhook.events, value, "events", &mut changed);
    }
    if let Some(value) = &change.description {
        set(&mut webhook.description, value, "description", &mut changed);
    }
    changed
}

pub(super) fn rotate_secret(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    change: &RotateWebhookSecret,
) -> Result<Decision, Refusal> {
    let old = find(state, caller, change.id)?;
    check_secret(&change.secret)?;
    if old.secret == change.secret {
        return Ok(Decision::unchanged(Outcome::Webhook(Arc::clone(old))));
    }
    if change.secret.version != old.secret.version.saturating_add(1) {
        return Err(Refusal::WebhookSecretMoved(()));
    }
    if change.grace_s > limits::ROTATION_GRACE_MAX_S {
        let most = limits::ROTATION_GRACE_MAX_S;
        return Err(invalid("grace_seconds", format!("must be at most {most}")));
    }
    let previous = (change.grace_s > 0).then(|| PreviousSigningSecret {
        secret: old.secret.clone(),
        works_until: at.saturating_add(change.grace_s * 1000),
    });
    let webhook = Arc::new(Webhook {
        secret: change.secret.clone(),
        previous,
        updated_at: at,
        ..Webhook::clone(old)
    });
    let fact = Fact::WebhookSecretRotated(Arc::clone(&webhook));
    Ok(Decision::one(webhook.tenant, fact, Outcome::Webhook(webhook)))
}

pub(super) fn delete(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    id: WebhookId,
) -> Result<Decision, Refusal> {
    let webhook = find(state, caller, id)?;
    let fact = Fact::WebhookDeleted(Arc::clone(webhook), at);
    Ok(Decision::one(webhook.tenant, fact, Outcome::Deleted(())))
}

impl State {
    /// The endpoint, if `tenant` has it.
    pub fn webhook(&self, tenant: Tenant, id: WebhookId) -> Option<&Arc<Webhook>> {
        self.webhooks.get(&id).filter(|webhook| webhook.tenant == tenant)
    }

    /// A page of a tenant's endpoints, newest first, and how many there are.
    pub fn webhooks_page(
        &self,
        tenant: Tenant,
        offset: usize,
        limit: usize,
    ) -> (Vec<Arc<Webhook>>, u64) {
        let Some(ids) = self.webhooks_by_tenant.get(&tenant) else { return (Vec::new(), 0) };
        let newest = ids.iter().rev().skip(offset).take(limit);
        let page = newest.filter_map(|id| self.webhooks.get(id).cloned()).collect();
        (page, ids.len() as u64)
    }

    /// How many endpoints an organisation has, in both environments.
    pub fn webhooks_of_org(&self, org: OrgId) -> usize {
        let of_environment =
            |environment| self.webhooks_by_tenant.get(&Tenant { org, environment });
        let environments = super::Environment::ALL.into_iter();
        environments.filter_map(of_environment).map(imbl::OrdSet::len).sum()
    }

    /// Place of the last event in a tenant's chain.
    pub(super) fn chain_end(&self, tenant: Tenant) -> u64 {
        self.heads.get(&tenant).map_or(0, |head| head.seq)
    }

    pub(crate) fn put_webhook(&mut self, webhook: Arc<Webhook>) {
        let id = webhook.id;
        self.unlist_previous_signing_secret(id);
        let old = self.webhooks.get(&id).cloned();
        self.item_bytes.replace(webhook.tenant.org, old.as_deref(), Some(&*webhook));
        if let Some(previous) = &webhook.previous {
            self.previous_signing_secrets.insert((previous.works_until, id));
        }
        self.webhooks_by_tenant.entry(webhook.tenant).or_default().insert(id);
        self.webhooks.insert(id, webhook);
    }

    pub(super) fn drop_webhook(&mut self, id: WebhookId, at: Millis) {
        self.unlist_previous_signing_secret(id);
        self.outboxes.remove(&id);
        let Some(webhook) = self.webhooks.remove(&id) else { return };
        self.item_bytes.replace(webhook.tenant.org, Some(&*webhook), None);
        self.retire_secret(trace(&webhook.secret), at);
        if let Some(ids) = self.webhooks_by_tenant.get_mut(&webhook.tenant) {
            ids.remove(&id);
            if ids.is_empty() {
                self.webhooks_by_tenant.remove(&webhook.tenant);
            }
        }
    }

    fn unlist_previous_signing_secret(&mut self, id: WebhookId) {
        let previous = self.webhooks.get(&id).and_then(|webhook| webhook.previous.as_ref());
        if let Some(works_until) = previous.map(|previous| previous.works_until) {
            self.previous_signing_secrets.remove(&(works_until, id));
        }
    }

    /// Rotated endpoints whose old secret has stopped.
    pub(super) fn stopped_signing_secrets(&self, at: Millis) -> impl Iterator<Item = Fact> {
        let ended = self
            .previous_signing_secrets
            .iter()
            .take_while(move |(works_until, _)| *works_until <= at);
        ended.map(|(_, id)| Fact::PreviousSigningSecretForgotten(*id))
    }

    pub(super) fn forget_previous_signing_secret(&mut self, id: WebhookId) {
        if let Some(webhook) = self.webhooks.get(&id) {
            self.put_webhook(Arc::new(Webhook { previous: None, ..Webhook::clone(webhook) }));
        }
    }
}
