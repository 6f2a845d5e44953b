//! One attempt: a place among those under way, the event's text, the present secrets, the POST, and
//! when to try again.
//!
//! It starts only while this node may deliver, as the last thing that is asked. Must not know what
//! else the endpoint has in hand.

use std::sync::Arc;

use metrics::{counter, histogram};
use tracing::error;

use super::{Shared, Tools, desk::Start};
use crate::{
    clock,
    domain::{
        AttemptResult, DeliveryAttempt, DeliveryFault, FailedAttempt, Millis, OrgId, Webhook,
        WebhookId,
    },
    fair::{Supply, Turn, Turns},
    limits, secrets,
    webhooks::{Answer, Message, Parcel, SigningSecret},
};

/// Attempts at endpoints, by how they ended.
pub const ATTEMPTS_METRIC: &str = "authrai_webhook_attempts_total";
/// How long attempts took, seconds.
pub const ATTEMPT_SECONDS_METRIC: &str = "authrai_webhook_attempt_seconds";

/// The places of a node for attempts, given to organisations in turn. Endpoints that fail or are
/// slow have a bounded number of their own, so that they can wait only for each other.
pub(super) struct Lanes {
    well: Turns<OrgId>,
    struggling: Turns<OrgId>,
}

impl Default for Lanes {
    fn default() -> Self {
        let lane = |total| Turns::new(Supply::new(total, total / limits::WEBHOOK_ATTEMPTS_SHARE));
        Self {
            well: lane(limits::WEBHOOK_ATTEMPTS_MAX),
            struggling: lane(limits::WEBHOOK_STRUGGLING_ATTEMPTS_MAX),
        }
    }
}

impl Lanes {
    async fn enter(&self, org: OrgId, struggling: bool) -> Turn<OrgId> {
        let lane = if struggling { &self.struggling } else { &self.well };
        lane.take(org, 1).await
    }
}

/// Why an attempt was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotMade {
    /// This node may not deliver at the moment, or the endpoint is not to be sent anything.
    NotNow,
    /// What it takes cannot be read; the log says why.
    Unreadable,
}

/// Makes an attempt.
pub(super) async fn make(
    shared: &Shared,
    id: WebhookId,
    start: &Start,
    struggling: bool,
) -> Result<DeliveryAttempt, NotMade> {
    let work = &shared.tools;
    let org = work.views.load().state.webhooks.get(&id).map(|webhook| webhook.tenant.org);
    let _place = shared.lanes.enter(org.ok_or(NotMade::NotNow)?, struggling).await;
    let view = work.views.load_full();
    let enabled = |webhook: &&Arc<Webhook>| webhook.disabled.is_none();
    let webhook = view.state.webhooks.get(&id).filter(enabled).ok_or(NotMade::NotNow)?;
    let message = read(work, webhook, start).await.ok_or(NotMade::Unreadable)?;
    let at = clock::now_ms();
    let secrets = open_secrets(work, webhook, at.max(view.state.clock));
    let secrets = secrets.ok_or(NotMade::Unreadable)?;
    if !shared.may_deliver() {
        return Err(NotMade::NotNow);
    }
    let parcel = Parcel {
        url: &webhook.url,
        id: &message.event.to_string(),
        timestamp_s: at / 1000,
        secrets: &secrets,
        body: &message.body,
    };
    let answer = work.deliverer.post(parcel).await;
    count(&answer);
    Ok(outcome(work, start, message, at, answer))
}

async fn read(work: &Tools, webhook: &Webhook, start: &Start) -> Option<Message> {
    let fetched;
    let text = match &start.text {
        Some(text) => text,
        None => {
            let before = start.seq.saturating_sub(1);
            let found = work.audit.few_after(webhook.tenant, before, 1, usize::MAX).await;
            let entries = found
                .inspect_err(|error| error!(%error, webhook = %webhook.id, "cannot read an event"))
                .ok()?;
            fetched = entries.into_iter().next()?.text;
            &fetched
        }
    };
    Message::of(webhook.tenant, text)
        .inspect_err(|error| error!(%error, webhook = %webhook.id, seq = start.seq, "cannot send"))
        .ok()
}

fn open_secrets(work: &Tools, webhook: &Webhook, at: Millis) -> Option<Vec<SigningSecret>> {
    let open = |sealed| SigningSecret::open(&work.keys, webhook.tenant, webhook.id, sealed);
    let opened: Result<Vec<_>, _> = webhook.secrets_at(at).map(open).collect();
    opened
        .inspect_err(|error| {
            error!(
                %error, webhook = %webhook.id,
                "the signing secret does not open; is this the secrets.key_file of this cluster?"
            );
        })
        .ok()
}

fn outcome(
    work: &Tools,
    start: &Start,
    message: Message,
    at: Millis,
    answer: Answer,
) -> DeliveryAttempt {
    let failed = answer.fault.is_some();
    let retry_at = failed
        .then(|| due_at(&work.schedule, start.number, clock::now_ms(), *secrets::random()))
        .flatten();
    DeliveryAttempt {
        seq: start.seq,
        event: message.event,
        event_name: message.name,
        number: start.number,
        at,
        latency_ms: answer.latency_ms,
        result: result(answer),
        retry_at,
    }
}

fn result(answer: Answer) -> AttemptResult {
    match (answer.fault, answer.status) {
        (None, Some(status)) => AttemptResult::Delivered(status),
        (fault, status) => AttemptResult::Failed(FailedAttempt {
            fault: fault.unwrap_or(DeliveryFault::Unreachable),
            status,
            body: status.map(|_| answer.body),
        }),
    }
}

/// When to try again after attempt `number` failed at `now`; never, if the schedule is over. Up to a
/// fifth is taken off each step, so that what failed together does not come back together.
fn due_at(schedule: &[u64], number: u32, now: Millis, chance: [u8; 2]) -> Option<Millis> {
    let place = usize::try_from(number).ok()?.checked_sub(1)?;
    let step_ms = schedule.get(place)?.saturating_mul(1000);
    let chance = u64::from(u16::from_be_bytes(chance));
    let off = (step_ms / 5).saturating_mul(chance) / u64::from(u16::MAX);
    Some(now.saturating_add(step_ms - off))
}

fn count(answer: &Answer) {
    let outcome = answer.fault.map_or("delivered", DeliveryFault::as_str);
    counter!(ATTEMPTS_METRIC, "outcome" => outcome).increment(1);
    histogram!(ATTEMPT_SECONDS_METRIC).record(f64::from(answer.latency_ms) / 1000.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fair::check::turns_are_shared;

    #[test]
    fn one_organisation_does_not_keep_the_others_webhooks_from_being_sent() {
        let [attacker, other] = [1, 2].map(OrgId::from_ulid);
        let lanes = Lanes::default();
        for lane in [&lanes.well, &lanes.struggling] {
            turns_are_shared(lane, attacker, other);
        }
    }

    #[test]
    fn the_schedule_is_followed_with_up_to_a_fifth_off_each_step() {
        let schedule = [5, 300, 1_800];
        for (number, earliest, latest) in
            [(1, 4_000, 5_000), (2, 240_000, 300_000), (3, 1_440_000, 1_800_000)]
        {
            assert_eq!(due_at(&schedule, number, 7, [255, 255]), Some(7 + earliest));
            assert_eq!(due_at(&schedule, number, 7, [0, 0]), Some(7 + latest));
        }
        assert_eq!(due_at(&schedule, 4, 7, [0, 0]), None, "the schedule is over");
        assert_eq!(due_at(&[], 1, 7, [0, 0]), None);
        assert_eq!(due_at(&[0], 1, 7, [9, 9]), Some(7));
    }
}
