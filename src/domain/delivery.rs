//! Deliveries: what an endpoint was sent, and what it is still owed.
//!
//! The tenant's audit chain is the outbox. An endpoint has a place in it, the position: of every
//! event up to there it was either sent or did not want it, or the event stands among the open
//! retries, a bounded set. Nodes post; what came of it arrives here, many outcomes in one command.
//! An outcome counts once, by the number of its attempt, however often it is proposed. Must not
//! know when to retry, nor how to post.

use std::{collections::BTreeSet, sync::Arc};

use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    AttemptResult, Decision, DeliveryAttempt, DeliveryId, DisabledReason, EndpointProgress, Event,
    EventId, Fact, Kind, Millis, Outcome, RecordDeliveries, Refusal, RetryDelivery, State, Webhook,
    WebhookId, caller::Caller, text::invalid, webhook,
};
use crate::{codec::stored_tags, limits};

stored_tags! {
    /// How far a delivery has come.
    pub enum DeliveryStatus {
        /// It failed so far, and will be tried again.
        1 => Pending = "pending",
        /// The endpoint took it.
        2 => Delivered = "delivered",
        /// It failed for the last time, unless somebody asks for another.
        3 => Failed = "failed",
    }
}

stored_tags! {
    /// Why an attempt failed.
    pub enum DeliveryFault {
        /// The endpoint answered with something else than 2xx.
        1 => Status = "bad_status",
        /// It did not answer in time.
        2 => Timeout = "timed_out",
        /// No connection to it could be made, or it broke.
        3 => Unreachable = "unreachable",
        /// Its address is one that webhooks may not go to.
        4 => Forbidden = "forbidden_address",
        /// Its name does not resolve.
        5 => Unresolved = "name_not_resolved",
    }
}

/// One event on its way to one endpoint, after its last attempt so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its id, a function of the endpoint's and the event's.
    pub id: DeliveryId,
    /// The event's place in its chain.
    pub seq: u64,
    /// The event.
    pub event: EventId,
    /// The event's name.
    pub event_name: String,
    /// How far it has come.
    pub status: DeliveryStatus,
    /// How many attempts there were.
    pub attempts: u32,
    /// When the last one began.
    pub last_attempt_at: Millis,
    /// When the next one is due.
    pub next_attempt_at: Option<Millis>,
    /// How long the last one took.
    pub latency_ms: u32,
    /// The HTTP status that it was answered with.
    pub response_status: Option<u16>,
    /// Why it failed.
    pub fault: Option<DeliveryFault>,
    /// The beginning of the answer's body, of a failure.
    pub response_body: Option<String>,
}

/// An event that an endpoint is still owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRetry {
    /// How many attempts there were.
    pub attempts: u32,
    /// When the next one is due.
    pub due_at: Millis,
}

/// How far an endpoint has come in its tenant's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Every event up to this place is dealt with: sent, not wanted, or among the open retries.
    pub position: u64,
    /// Events beyond it that are dealt with too.
    pub ahead: BTreeSet<u64>,
    /// Since when every attempt has failed.
    pub failing_since: Option<Millis>,
}

/// What an endpoint was sent and is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// How far it has come.
    pub progress: Progress,
    /// What it is still owed, by the event's place in the chain.
    pub open: OrdMap<u64, OpenRetry>,
    /// The deliveries attempted last, the latest at the end.
    pub log: Vector<Arc<Delivery>>,
}

impl Outbox {
    /// Of an endpoint that is sent what comes after this place.
    pub(crate) fn starting_after(position: u64) -> Self {
        let progress = Progress { position, ahead: BTreeSet::new(), failing_since: None };
        Self { progress, open: OrdMap::new(), log: Vector::new() }
    }

    /// The same, of an endpoint whose failures are forgotten. What it is owed, it still is.
    pub(super) fn well_again(&self) -> Self {
        let progress = Progress { failing_since: None, ..self.progress.clone() };
        Self { progress, ..self.clone() }
    }

    /// Whether the event at this place was dealt with, apart from retries.
    pub fn is_dealt_with(&self, seq: u64) -> bool {
        seq <= self.progress.position || self.progress.ahead.contains(&seq)
    }

    /// The logged delivery with this id.
    pub fn delivery(&self, id: DeliveryId) -> Option<&Arc<Delivery>> {
        self.log.iter().find(|delivery| delivery.id == id)
    }

    /// How many attempts at the event there were, if this one is still of interest.
    fn attempts_before(&self, seq: u64) -> Option<u32> {
        match self.open.get(&seq) {
            Some(open) => Some(open.attempts),
            None => (!self.is_dealt_with(seq)).then_some(0),
        }
    }

    fn take(&mut self, at: Millis, webhook: WebhookId, attempt: &DeliveryAttempt) {
        let before = self.attempts_before(attempt.seq);
        if before.and_then(|before| before.checked_add(1)) != Some(attempt.number) {
            return;
        }
        self.progress.ahead.insert(attempt.seq);
        let failed = matches!(attempt.result, AttemptResult::Failed(_));
        let known = self.open.remove(&attempt.seq).is_some();
        let has_room = known || self.open.len() < limits::WEBHOOK_OPEN_RETRIES_HARD_MAX;
        let retry_at = attempt.retry_at.filter(|_| failed && has_room);
        if let Some(due_at) = retry_at {
            self.open.insert(attempt.seq, OpenRetry { attempts: attempt.number, due_at });
        }
        self.progress.failing_since = failed.then(|| self.progress.failing_since.unwrap_or(at));
        self.note(delivery(webhook, attempt, retry_at));
    }

    /// Puts a delivery at the end of the log.
    fn note(&mut self, delivery: Delivery) {
        if let Some(place) = self.log.iter().position(|known| known.seq == delivery.seq) {
            self.log.remove(place);
        }
        self.log.push_back(Arc::new(delivery));
        while self.log.len() > limits::WEBHOOK_DELIVERIES_KEPT {
            self.log.pop_front();
        }
    }

    /// Moves the position on, and over what lies ahead of it. Forgetting the furthest of a set that
    /// no node makes so large costs at most a second delivery.
    fn move_to(&mut self, position: u64) {
        let progress = &mut self.progress;
        progress.position = progress.position.max(position);
        while progress.ahead.remove(&progress.position.saturating_add(1)) {
            progress.position = progress.position.saturating_add(1);
        }
        progress.ahead = progress.ahead.split_off(&progress.position.saturating_add(1));
        while progress.ahead.len() > limits::WEBHOOK_AHEAD_KEPT_MAX {
            progress.ahead.pop_last();
        }
    }
}

fn delivery(webhook: WebhookId, attempt: &DeliveryAttempt, retry_at: Option<Millis>) -> Delivery {
    let (status, response_status, fault, response_body) = match &attempt.result {
        AttemptResult::Delivered(code) => (DeliveryStatus::Delivered, Some(*code), None, None),
        AttemptResult::Failed(failure) => {
            let status = match retry_at {
                Some(_) => DeliveryStatus::Pending,
                None => DeliveryStatus::Failed,
            };
            (status, failure.status, Some(failure.fault), failure.body.clone())
        }
    };
    Delivery {
        id: delivery_id(webhook, attempt.event),
        seq: attempt.seq,
        event: attempt.event,
        event_name: attempt.event_name.clone(),
        status,
        attempts: attempt.number,
        last_attempt_at: attempt.at,
        next_attempt_at: retry_at,
        latency_ms: attempt.latency_ms,
        response_status,
        fault,
        response_body,
    }
}

/// The time of the event and a digest, so that every attempt's record has the same id.
fn delivery_id(webhook: WebhookId, event: EventId) -> DeliveryId {
    let digest = Sha256::new().chain_update(webhook.0).chain_update(event.0).finalize();
    let mut id = event.0;
    id[6..].copy_from_slice(&digest[..10]);
    DeliveryId(id)
}

/// Takes down what came of attempts. Endpoints that are gone by now are passed over.
pub(super) fn record(
    state: &State,
    at: Millis,
    told: &RecordDeliveries,
) -> Result<Decision, Refusal> {
    let mut seen = BTreeSet::new();
    let mut events = Vec::new();
    for progress in &told.endpoints {
        check(progress)?;
        if !seen.insert(progress.webhook) {
            return Err(invalid("endpoints", "holds an endpoint twice"));
        }
        let webhook = state.webhooks.get(&progress.webhook);
        let (Some(webhook), Some(old)) = (webhook, state.outboxes.get(&progress.webhook)) else {
            continue;
        };
        let mut outbox = Outbox::clone(old);
        let chain_end = state.chain_end(webhook.tenant);
        for attempt in progress.attempts.iter().filter(|attempt| attempt.seq <= chain_end) {
            outbox.take(at, webhook.id, attempt);
        }
        outbox.move_to(progress.position.min(chain_end));
        let chain = webhook.tenant;
        let disabled = given_up(webhook, &outbox, at, chain_end);
        if outbox != **old {
            let fact = Fact::DeliveriesRecorded(webhook.id, Arc::new(outbox));
            events.push(Event { chain, fact });
        }
        events.extend(disabled.map(|fact| Event { chain, fact }));
    }
    Ok(Decision { events, outcome: Outcome::Done(()) })
}

fn check(progress: &EndpointProgress) -> Result<(), Refusal> {
    if progress.attempts.len() > limits::WEBHOOK_RECORD_ATTEMPTS_MAX {
        return Err(invalid("attempts", "holds more than one command may"));
    }
    let fits = |attempt: &DeliveryAttempt| {
        let body = match &attempt.result {
            AttemptResult::Failed(failure) => failure.body.as_ref().map_or(0, String::len),
            AttemptResult::Delivered(_) => 0,
        };
        body <= limits::WEBHOOK_BODY_KEPT_BYTES
            && attempt.event_name.len() <= limits::EVENT_NAME_MAX_BYTES
    };
    if progress.attempts.iter().all(fits) {
        return Ok(());
    }
    Err(invalid("attempts", "holds more than is kept of an attempt"))
}

/// The end of an endpoint that has done nothing but fail for too long.
fn given_up(webhook: &Webhook, outbox: &Outbox, at: Millis, chain_end: u64) -> Option<Fact> {
    let since = outbox.progress.failing_since?;
    let patience_ms = limits::WEBHOOK_FAILING_MAX_S * 1000;
    if webhook.disabled.is_some() || at < since.saturating_add(patience_ms) {
        return None;
    }
    let mut webhook = webhook.clone();
    webhook.remember_choice(chain_end, outbox.progress.position);
    webhook.disabled = Some((DisabledReason::Failing, at));
    webhook.updated_at = at;
    Some(Fact::WebhookDisabled(Arc::new(webhook)))
}

/// Makes a delivery due now, whatever came of it before.
pub(super) fn retry(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    asked: RetryDelivery,
) -> Result<Decision, Refusal> {
    let webhook = webhook::find(state, caller, asked.webhook)?;
    let missing = Refusal::NotFound(Kind::Delivery(()));
    let outbox = state.outboxes.get(&webhook.id).ok_or(missing.clone())?;
    let known = outbox.delivery(asked.delivery).ok_or(missing)?;
    if webhook.disabled.is_some() {
        return Err(Refusal::WebhookDisabled(()));
    }
    let is_open = outbox.open.contains_key(&known.seq);
    if !is_open && outbox.open.len() >= limits::WEBHOOK_OPEN_RETRIES_MAX {
        return Err(Refusal::too_many(
            "open retries of a webhook",
            limits::WEBHOOK_OPEN_RETRIES_MAX as u64,
        ));
    }
    let mut outbox = Outbox::clone(outbox);
    let delivery = Delivery {
        status: DeliveryStatus::Pending,
        next_attempt_at: Some(at),
        ..Delivery::clone(known)
    };
    let open = OpenRetry { attempts: delivery.attempts, due_at: at };
    outbox.open.insert(delivery.seq, open);
    let shown = Arc::new(delivery.clone());
    outbox.note(delivery);
    let fact = Fact::DeliveriesRecorded(webhook.id, Arc::new(outbox));
    Ok(Decision::one(webhook.tenant, fact, Outcome::Delivery(shown)))
}

impl State {
    /// Changes an endpoint's outbox in place, for a snapshot that is read record by record.
    pub(crate) fn change_outbox(&mut self, webhook: WebhookId, change: impl FnOnce(&mut Outbox)) {
        if let Some(outbox) = self.outboxes.get_mut(&webhook) {
            change(Arc::make_mut(outbox));
        }
    }

    pub(crate) fn put_outbox(&mut self, webhook: WebhookId, outbox: Arc<Outbox>) {
        if self.webhooks.contains_key(&webhook) {
            self.outboxes.insert(webhook, outbox);
        }
    }
}
