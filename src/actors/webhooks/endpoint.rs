//! An endpoint's actor: reads its tenant's events from where it stands, has attempts made, and
//! reports what came of them.
//!
//! Each endpoint has one, so that a slow or dead one holds up no other. The state says how far it
//! has come; when this dies, it goes on from there. Must not know HTTP.

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{error, warn};

use super::{
    Seen, Shared,
    attempt::{self, NotMade},
    desk::{Desk, Start},
    recorder::Report,
};
use crate::{
    clock,
    domain::{AttemptResult, DeliveryAttempt, OrgId, WebhookId},
    limits, webhooks,
};

const PAUSE: Duration = Duration::from_millis(limits::WEBHOOK_PAUSE_MS);
/// The same, when what it takes cannot be read.
const PAUSE_UNREADABLE: Duration = Duration::from_millis(limits::WEBHOOK_PAUSE_UNREADABLE_MS);
/// Longest that a timer runs, so that a clock that was set is noticed.
const TIMER_MAX: Duration = Duration::from_secs(60);

/// What the actor is told.
pub(super) enum Message {
    /// Something may have changed.
    Look,
    /// An attempt has ended, or was not made.
    Ended(Box<Ended>),
    /// The state knows what was reported, of this event or of the position alone.
    Recorded(Option<u64>),
}

/// An attempt that is over.
pub(super) struct Ended {
    start: Start,
    outcome: Result<DeliveryAttempt, NotMade>,
    under_way: TaskTrackerToken,
}

pub(super) struct EndpointActor;

/// The actor's state.
pub(super) struct Endpoint {
    shared: Arc<Shared>,
    reports: mpsc::Sender<Report>,
    id: WebhookId,
    org: OrgId,
    desk: Desk,
    /// Aborted when this is dropped.
    attempts: JoinSet<()>,
    /// Whether the last attempt failed or took long.
    struggling: bool,
    /// The position that was last reported, so that none is twice.
    reported: u64,
    timer: Option<AbortHandle>,
    /// Nothing is started before.
    rests_until: Instant,
}

impl Actor for EndpointActor {
    type Msg = Message;
    type State = Endpoint;
    type Arguments = (Arc<Shared>, mpsc::Sender<Report>, WebhookId);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (shared, reports, id): (Arc<Shared>, mpsc::Sender<Report>, WebhookId),
    ) -> Result<Endpoint, ActorProcessingErr> {
        let view = shared.tools.views.load_full();
        let known = view.state.webhooks.get(&id).zip(view.state.outboxes.get(&id));
        let (webhook, outbox) = known.ok_or("the endpoint is gone already")?;
        myself.send_message(Message::Look)?;
        Ok(Endpoint {
            id,
            org: webhook.tenant.org,
            desk: Desk::new(outbox),
            attempts: JoinSet::new(),
            struggling: outbox.progress.failing_since.is_some(),
            reported: outbox.progress.position,
            timer: None,
            rests_until: Instant::now(),
            shared,
            reports,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        endpoint: &mut Endpoint,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Look => {}
            Message::Recorded(seq) => endpoint.desk.recorded(seq.as_slice()),
            Message::Ended(ended) => endpoint.take_back(*ended, &myself).await?,
        }
        endpoint.look(&myself).await
    }
}

impl Endpoint {
    fn now_in_state(&self) -> Option<Seen> {
        let view = self.shared.tools.views.load();
        Seen::of(&view.state, view.state.webhooks.get(&self.id)?)
    }

    /// Starts what is to be started, and sees to it that this is called again in time.
    async fn look(&mut self, myself: &ActorRef<Message>) -> Result<(), ActorProcessingErr> {
        while self.attempts.try_join_next().is_some() {}
        // Gone or disabled: the keeper stops this actor.
        let Some(seen) = self.now_in_state() else { return Ok(()) };
        if seen.webhook.disabled.is_some() {
            return Ok(());
        }
        if self.has_more_to_read(&seen) && !self.is_resting() {
            self.read(myself, &seen).await?;
        }
        let outbox = &seen.outbox;
        if self.is_resting() {
            self.wake_in(myself, self.rests_until.saturating_duration_since(Instant::now()));
            return Ok(());
        }
        for start in self.desk.start(outbox, clock::now_ms()) {
            self.attempt(myself, start);
        }
        if let Some(due_at) = self.desk.next_due(outbox) {
            let wait = Duration::from_millis(due_at.saturating_sub(clock::now_ms()));
            // What is due and could not be started is looked at again when something ends.
            self.wake_in(myself, wait.clamp(PAUSE, TIMER_MAX));
        }
        Ok(())
    }

    fn has_more_to_read(&self, seen: &Seen) -> bool {
        self.desk.wants_more() && self.desk.read_to() < seen.chain_end
    }

    fn is_resting(&self) -> bool {
        Instant::now() < self.rests_until
    }

    fn rest(&mut self, pause: Duration) {
        self.rests_until = Instant::now() + pause;
    }

    /// Reads the next events, some at a time, and none that the endpoint as it was seen cannot judge:
    /// it may have changed before they happened.
    async fn read(
        &mut self,
        myself: &ActorRef<Message>,
        seen: &Seen,
    ) -> Result<(), ActorProcessingErr> {
        let Seen { chain_end, webhook, outbox } = seen;
        let (records, bytes) = (limits::WEBHOOK_QUEUE_MAX_RECORDS, limits::WEBHOOK_QUEUE_MAX_BYTES);
        let after = self.desk.read_to();
        let found = self.shared.tools.audit.few_after(webhook.tenant, after, records, bytes).await;
        let entries = match found {
            Ok(entries) => entries,
            Err(error) => {
                // Never passed over: whoever reads this log has to act first.
                error!(%error, webhook = %self.id, "cannot read the events to send");
                self.rest(PAUSE_UNREADABLE);
                return Ok(());
            }
        };
        for entry in entries.into_iter().take_while(|entry| entry.seq <= *chain_end) {
            let name = webhooks::Message::name_of(&entry.text)?;
            let wanted = webhook.wants(entry.seq, &name).then_some(entry.text);
            self.desk.take_in(outbox, entry.seq, wanted);
        }
        if self.desk.read_to() == after {
            // The journal of this node is a moment behind its state.
            self.rest(PAUSE);
        } else if self.has_more_to_read(seen) {
            // None of them was wanted: go on after others had their turn.
            myself.send_message(Message::Look)?;
        }
        let passed_over = self.desk.position().saturating_sub(self.reported);
        if passed_over >= limits::WEBHOOK_PASSED_OVER_MAX {
            self.report(myself, None, None).await?;
        }
        Ok(())
    }

    fn attempt(&mut self, myself: &ActorRef<Message>, start: Start) {
        let (shared, id, struggling) = (Arc::clone(&self.shared), self.id, self.struggling);
        let under_way = shared.under_way.token();
        let myself = myself.clone();
        self.attempts.spawn(async move {
            let outcome = attempt::make(&shared, id, &start, struggling).await;
            let ended = Ended { start, outcome, under_way };
            if myself.send_message(Message::Ended(Box::new(ended))).is_err() {
                warn!(webhook = %id, "an endpoint stopped before its attempt ended");
            }
        });
    }

    async fn take_back(
        &mut self,
        ended: Ended,
        myself: &ActorRef<Message>,
    ) -> Result<(), ActorProcessingErr> {
        let Ended { start, outcome, under_way } = ended;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(why) => {
                self.desk.put_back(start);
                self.rest(match why {
                    NotMade::NotNow => PAUSE,
                    NotMade::Unreadable => PAUSE_UNREADABLE,
                });
                return Ok(());
            }
        };
        let failed = matches!(outcome.result, AttemptResult::Failed(_));
        self.struggling = failed || outcome.latency_ms >= limits::WEBHOOK_SLOW_MS;
        self.desk.ended(start.seq, failed);
        self.report(myself, Some(outcome), Some(under_way)).await
    }

    async fn report(
        &mut self,
        myself: &ActorRef<Message>,
        attempt: Option<DeliveryAttempt>,
        under_way: Option<TaskTrackerToken>,
    ) -> Result<(), ActorProcessingErr> {
        let place = self.shared.unrecorded.take(self.org, 1).await;
        self.reported = self.desk.position();
        let report = Report {
            webhook: self.id,
            position: self.reported,
            attempt,
            from: myself.clone(),
            under_way,
            place,
        };
        self.reports.send(report).await.map_err(|_| "nobody records".into())
    }

    /// One timer at a time: the latest.
    fn wake_in(&mut self, myself: &ActorRef<Message>, wait: Duration) {
        let timer = myself.send_after(wait, || Message::Look);
        if let Some(old) = self.timer.replace(timer.abort_handle()) {
            old.abort();
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.abort();
        }
    }
}
