//! Webhooks: the work of delivering events, on the node whose work it is.
//!
//! One actor an endpoint, kept by the one here: it starts them where the state has endpoints that
//! are enabled, tells them when something changed, and stops them when they are gone or the node
//! may no longer deliver. What they did is recorded by the state, so any node goes on where another
//! ended. Must not know what is sent.

mod attempt;
mod desk;
mod endpoint;
mod handle;
mod recorder;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use metrics::gauge;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

pub use attempt::{ATTEMPT_SECONDS_METRIC, ATTEMPTS_METRIC};
pub use handle::{NewWebhook, WebhookWithSecret, Webhooks};

use super::Proposals;
use crate::{
    audit::AuditLog,
    domain::{OrgId, Outbox, State, Webhook, WebhookId},
    fair::Turns,
    limits,
    secrets::KeyFile,
    verify::Views,
    webhooks::Deliverer,
};
use attempt::Lanes;
use endpoint::EndpointActor;
use recorder::Report;

/// Events that endpoints are owed after a failure.
pub const OPEN_RETRIES_METRIC: &str = "authrai_webhook_open_retries";

/// How often endpoints are gone through without a change.
const ROUND_EVERY: Duration = Duration::from_secs(1);

/// What delivering takes.
pub(super) struct Tools {
    pub(super) node: u64,
    pub(super) proposals: Proposals,
    pub(super) views: Views,
    /// Changes when a new view was published.
    pub(super) applied: watch::Receiver<u64>,
    pub(super) audit: AuditLog,
    pub(super) keys: Arc<KeyFile>,
    pub(super) deliverer: Deliverer,
    /// After how many seconds each further attempt is made.
    pub(super) schedule: Arc<[u64]>,
    /// Whether an attempt may start on this node. On one node: while it may serve. Of many nodes
    /// only the leader may, and only under a reign that was confirmed within a lease's length.
    pub(super) may_deliver: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// What the actor is started with, and again after a crash. Clones share it.
#[derive(Clone)]
pub(super) struct Arguments(Arc<Shared>);

/// What all endpoints of a node share.
struct Shared {
    tools: Tools,
    lanes: Lanes,
    /// Places among the outcomes that wait to be recorded.
    unrecorded: Turns<OrgId>,
    /// Attempts, from their start until the state knows of them.
    under_way: TaskTracker,
    draining: CancellationToken,
}

impl Shared {
    fn may_deliver(&self) -> bool {
        !self.draining.is_cancelled() && (self.tools.may_deliver)()
    }
}

impl Arguments {
    pub(super) fn new(tools: Tools) -> Self {
        Self(Arc::new(Shared {
            tools,
            lanes: Lanes::default(),
            unrecorded: recorder::places(),
            under_way: TaskTracker::new(),
            draining: CancellationToken::new(),
        }))
    }

    /// Typed access for callers.
    pub(super) fn handle(&self) -> Webhooks {
        let Tools { proposals, views, keys, deliverer, .. } = &self.0.tools;
        Webhooks::new(proposals.clone(), views.clone(), Arc::clone(keys), deliverer.clone())
    }

    /// Starts no further attempt, and waits, bounded, until what is under way is recorded.
    pub(super) async fn drain(&self) {
        self.0.draining.cancel();
        self.0.under_way.close();
        let wait = Duration::from_millis(limits::WEBHOOK_DRAIN_MS);
        if timeout(wait, self.0.under_way.wait()).await.is_err() {
            warn!("deliveries of webhooks were still under way; they will be made again");
        }
    }
}

/// Go through the endpoints.
pub(super) struct Round {
    /// Cleared when it is taken up, so that one waits at most.
    waiting: Option<Arc<AtomicBool>>,
}

/// The actor that keeps the endpoints' actors.
pub(super) struct WebhooksActor;

/// Its state.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    reports: mpsc::Sender<Report>,
    endpoints: BTreeMap<WebhookId, Kept>,
    /// The recorder and the watch for changes; aborted when this is dropped.
    helpers: JoinSet<()>,
}

/// A running endpoint, and what it was last told of.
struct Kept {
    actor: ActorRef<endpoint::Message>,
    seen: Seen,
}

/// What an endpoint's work depends on.
#[derive(Clone)]
struct Seen {
    chain_end: u64,
    webhook: Arc<Webhook>,
    outbox: Arc<Outbox>,
}

impl Seen {
    fn of(state: &State, webhook: &Arc<Webhook>) -> Option<Self> {
        let outbox = state.outboxes.get(&webhook.id)?;
        Some(Self {
            chain_end: state.heads.get(&webhook.tenant).map_or(0, |head| head.seq),
            webhook: Arc::clone(webhook),
            outbox: Arc::clone(outbox),
        })
    }

    fn is_same(&self, other: &Self) -> bool {
        self.chain_end == other.chain_end
            && Arc::ptr_eq(&self.webhook, &other.webhook)
            && Arc::ptr_eq(&self.outbox, &other.outbox)
    }
}

impl Actor for WebhooksActor {
    type Msg = Round;
    type State = Keeper;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Round>,
        Arguments(shared): Arguments,
    ) -> Result<Keeper, ActorProcessingErr> {
        myself.send_interval(ROUND_EVERY, || Round { waiting: None });
        let (reports, told) = mpsc::channel(limits::WEBHOOK_REPORTS_WAITING_MAX);
        let Tools { node, proposals, applied, .. } = &shared.tools;
        let mut helpers = JoinSet::new();
        helpers.spawn(recorder::run(*node, proposals.clone(), told));
        helpers.spawn(watch_changes(applied.clone(), myself));
        Ok(Keeper { shared, reports, endpoints: BTreeMap::new(), helpers })
    }

    async fn handle(
        &self,
        myself: ActorRef<Round>,
        round: Round,
        keeper: &mut Keeper,
    ) -> Result<(), ActorProcessingErr> {
        match round.waiting {
            Some(waiting) => waiting.store(false, Ordering::Release),
            None => keeper.measure(),
        }
        if keeper.helpers.try_join_next().is_some() {
            return Err("a helper of the webhooks actor died".into());
        }
        keeper.round(&myself).await;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Round>,
        event: SupervisionEvent,
        keeper: &mut Keeper,
    ) -> Result<(), ActorProcessingErr> {
        let (who, why) = match &event {
            SupervisionEvent::ActorTerminated(who, _, _) => (who, None),
            SupervisionEvent::ActorFailed(who, why) => (who, Some(why.to_string())),
            _ => return Ok(()),
        };
        let died = who.get_id();
        if let Some(why) = why {
            warn!(%why, "an endpoint's actor died; it is started again with the next round");
        }
        keeper.endpoints.retain(|_, kept| kept.actor.get_id() != died);
        Ok(())
    }
}

/// Has a round made soon after each change.
async fn watch_changes(mut applied: watch::Receiver<u64>, keeper: ActorRef<Round>) {
    let waiting = Arc::new(AtomicBool::new(false));
    while applied.changed().await.is_ok() {
        if !waiting.swap(true, Ordering::AcqRel) {
            let round = Round { waiting: Some(Arc::clone(&waiting)) };
            if keeper.send_message(round).is_err() {
                return;
            }
        }
        sleep(Duration::from_millis(limits::WEBHOOK_NUDGE_MS)).await;
    }
}

impl Keeper {
    async fn round(&mut self, myself: &ActorRef<Round>) {
        let view = self.shared.tools.views.load_full();
        let state = &view.state;
        let may_deliver = self.shared.may_deliver();
        self.endpoints.retain(|id, kept| {
            let wanted = state.webhooks.get(id).is_some_and(|known| known.disabled.is_none());
            // What is under way when a node stops is still to be recorded.
            let kept_on = wanted && (may_deliver || self.shared.draining.is_cancelled());
            if !kept_on {
                kept.actor.stop(None);
            }
            kept_on
        });
        if !may_deliver {
            return;
        }
        for webhook in state.webhooks.values().filter(|webhook| webhook.disabled.is_none()) {
            let Some(seen) = Seen::of(state, webhook) else { continue };
            match self.endpoints.get_mut(&webhook.id) {
                Some(kept) if kept.seen.is_same(&seen) => {}
                Some(kept) => {
                    kept.seen = seen;
                    // One that has died is started again when its death is known.
                    let _ = kept.actor.send_message(endpoint::Message::Look);
                }
                None => self.start(myself, seen).await,
            }
        }
    }

    async fn start(&mut self, myself: &ActorRef<Round>, seen: Seen) {
        let id = seen.webhook.id;
        let arguments = (Arc::clone(&self.shared), self.reports.clone(), id);
        match Actor::spawn_linked(None, EndpointActor, arguments, myself.get_cell()).await {
            Ok((actor, _)) => {
                self.endpoints.insert(id, Kept { actor, seen });
            }
            Err(error) => warn!(webhook = %id, %error, "an endpoint's actor does not start"),
        }
    }

    fn measure(&self) {
        let view = self.shared.tools.views.load();
        let open: usize = view.state.outboxes.values().map(|outbox| outbox.open.len()).sum();
        gauge!(OPEN_RETRIES_METRIC).set(open as f64);
    }
}
