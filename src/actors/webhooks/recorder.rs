//! The recorder: outcomes of all endpoints of this node, gathered for a moment, in one command.
//!
//! An entry of the log for each delivery would make webhooks cost as much as tokens. What waits here
//! is bounded, and organisations wait in turn: of each, no more waits here than fits one command. A command that the cluster did not take is proposed
//! again: outcomes count once. Must not know what the outcomes are.

use std::{collections::BTreeMap, time::Duration};

use ractor::ActorRef;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::warn;

use super::endpoint::Message;
use crate::{
    actors::{Call, Proposals},
    domain::{Action, DeliveryAttempt, EndpointProgress, OrgId, RecordDeliveries, WebhookId},
    fair::{Supply, Turn, Turns},
    limits,
};

const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);

/// What an endpoint tells.
pub(super) struct Report {
    pub(super) webhook: WebhookId,
    pub(super) position: u64,
    /// What came of an attempt, if it is not the position alone that is told.
    pub(super) attempt: Option<DeliveryAttempt>,
    /// Whom to tell once it is in the state.
    pub(super) from: ActorRef<Message>,
    /// Held until then.
    pub(super) under_way: Option<TaskTrackerToken>,
    /// The place of its organisation that it takes until then.
    pub(super) place: Turn<OrgId>,
}

/// Outcomes for one command, and whom to tell.
#[derive(Default)]
struct Batch {
    endpoints: BTreeMap<WebhookId, EndpointProgress>,
    told_by: Vec<(ActorRef<Message>, Option<u64>)>,
    under_way: Vec<TaskTrackerToken>,
    places: Vec<Turn<OrgId>>,
    attempts: usize,
}

impl Batch {
    fn add(&mut self, report: Report) {
        let Report { webhook, position, attempt, from, under_way, place } = report;
        let progress = self.endpoints.entry(webhook).or_insert_with(|| EndpointProgress {
            webhook,
            position,
            attempts: Vec::new(),
        });
        progress.position = progress.position.max(position);
        self.attempts += 1;
        self.told_by.push((from, attempt.as_ref().map(|attempt| attempt.seq)));
        progress.attempts.extend(attempt);
        self.under_way.extend(under_way);
        self.places.push(place);
    }

    fn is_full(&self) -> bool {
        self.attempts >= limits::WEBHOOK_RECORD_ATTEMPTS_MAX
    }

    fn action(&self) -> Action {
        let endpoints = self.endpoints.values().cloned().collect();
        Action::RecordDeliveries(RecordDeliveries { endpoints })
    }

    fn confirm(self) {
        for (endpoint, seq) in self.told_by {
            // An endpoint that is gone by now has nothing in hand either.
            let _ = endpoint.send_message(Message::Recorded(seq));
        }
    }
}

/// Places among the outcomes that wait: of each organisation, as many as fit one command.
pub(super) fn places() -> Turns<OrgId> {
    Turns::new(Supply::new(
        limits::WEBHOOK_REPORTS_WAITING_MAX,
        limits::WEBHOOK_RECORD_ATTEMPTS_MAX,
    ))
}

/// Records what is told, until nobody can tell any more.
pub(super) async fn run(node: u64, proposals: Proposals, mut told: mpsc::Receiver<Report>) {
    while let Some(first) = told.recv().await {
        let mut batch = Batch::default();
        batch.add(first);
        let until = Instant::now() + Duration::from_millis(limits::WEBHOOK_GATHER_MS);
        while !batch.is_full()
            && let Ok(Some(report)) = timeout_at(until, told.recv()).await
        {
            batch.add(report);
        }
        record(node, &proposals, batch).await;
    }
}

async fn record(node: u64, proposals: &Proposals, batch: Batch) {
    loop {
        match proposals.propose(Call::of_node(node), batch.action()).await {
            Ok(_) => return batch.confirm(),
            Err(error) => warn!(%error, "outcomes of webhooks are not recorded yet"),
        }
        sleep(PAUSE_AFTER_FAILURE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fair::check::turns_are_shared;

    #[test]
    fn one_organisation_does_not_keep_the_others_outcomes_from_being_recorded() {
        let [attacker, other] = [1, 2].map(OrgId::from_ulid);
        turns_are_shared(&places(), attacker, other);
    }
}
