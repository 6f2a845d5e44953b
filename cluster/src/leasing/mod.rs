//! The task that drives the leases of one node: the one place where holder and granter meet the
//! engine, the network and the clocks.
//!
//! This is the way to the task, [`driver`] the task itself. Must not know what a command means.

mod agreement;
mod driver;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use openraft::Raft;
use tokio::sync::{mpsc, oneshot, watch};

use crate::Machine;
use crate::lease::{
    Answer, Boot, Gate, Granter, Holder, LeaseStatus, NodeId, Params, Reason, Report, Request,
    Round, Stamper,
};
use crate::limits::LEASE_EVENTS_MAX;
use crate::peer::link::Links;
use crate::roster::Roster;
use crate::runtime::{self, JoinHandle};
use crate::stamping::Stamping;
use crate::store::apply::{Apply, Progress};
use crate::types::TypeConfig;
use driver::Driver;

/// Whether a revoke may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acked {
    /// No node can answer from a view before it any more.
    Everywhere,
    /// The reign that stamped it is over: it must be proposed again.
    ReignOver,
}

enum Event {
    Request {
        from: NodeId,
        request: Request,
        answer: oneshot::Sender<Answer>,
    },
    Report {
        from: NodeId,
        report: Report,
    },
    /// The leader's answer to a request of this node; `None` if it was lost.
    Answered(Option<Answer>),
    Reported,
    RoundDone(Round, Option<u64>),
    Ack {
        stamper: Stamper,
        index: u64,
        done: oneshot::Sender<Acked>,
    },
    Leases(oneshot::Sender<Vec<LeaseStatus>>),
    Shut,
}

/// A way to the task.
#[derive(Clone)]
pub(crate) struct Leasing {
    events: mpsc::Sender<Event>,
    gate: Arc<Gate>,
    refused: Arc<AtomicU16>,
}

impl Leasing {
    /// What verifiers ask.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Why this node's last request was refused; none if it was granted.
    pub(crate) fn refused(&self) -> Option<Reason> {
        Reason::from_tag(self.refused.load(Ordering::Relaxed))
    }

    /// A peer asks for a lease. `None` once this node stops.
    pub(crate) async fn request(&self, from: NodeId, request: Request) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.events.send(Event::Request { from, request, answer }).await.ok()?;
        answered.await.ok()
    }

    /// A peer reports.
    pub(crate) async fn report(&self, from: NodeId, report: Report) {
        // Nobody is left to tell once this node stops.
        let _ = self.events.send(Event::Report { from, report }).await;
    }

    /// Waits until the entry at `index`, stamped by `stamper` and published here, is seen by every
    /// node that may answer.
    pub(crate) async fn acked(&self, stamper: Stamper, index: u64) -> Acked {
        let (done, acked) = oneshot::channel();
        if self.events.send(Event::Ack { stamper, index, done }).await.is_err() {
            return Acked::ReignOver;
        }
        acked.await.unwrap_or(Acked::ReignOver)
    }

    /// Every holder with an unexpired lease, as far as this node grants leases.
    pub(crate) async fn leases(&self) -> Vec<LeaseStatus> {
        let (done, leases) = oneshot::channel();
        if self.events.send(Event::Leases(done)).await.is_err() {
            return Vec::new();
        }
        leases.await.unwrap_or_default()
    }

    /// Gives this node's leases up and tells the leader.
    pub(crate) async fn shut(&self, task: JoinHandle<()>) {
        let _ = self.events.send(Event::Shut).await;
        if let Err(error) = task.await {
            tracing::error!(%error, "the task that drives the leases panicked");
        }
    }
}

/// What the task stands on.
pub(crate) struct Parts<M: Machine> {
    pub node: NodeId,
    pub boot: Boot,
    pub params: Params,
    pub raft: Raft<TypeConfig, Apply<M>>,
    pub progress: Arc<Progress>,
    pub roster: Arc<Roster>,
    pub links: Option<Links>,
    /// The wall clock.
    pub stamping: Arc<Stamping>,
    /// Whether this node should not lead, though it does.
    pub unfit: Arc<watch::Sender<bool>>,
    /// Becomes true with the first lease.
    pub ready: Arc<watch::Sender<bool>>,
}

/// Starts the task.
pub(crate) fn spawn<M: Machine>(parts: Parts<M>) -> (Leasing, JoinHandle<()>) {
    let (events, inbox) = mpsc::channel(LEASE_EVENTS_MAX);
    let Parts { node, boot, params, .. } = parts;
    let (holder, granter) = (Holder::new(params, node, boot), Granter::new(params, node, boot));
    #[cfg(test)]
    let (holder, granter) = crate::sim::leases(params, node, boot).unwrap_or((holder, granter));
    let refused = Arc::new(AtomicU16::new(0));
    let leasing = Leasing { events: events.clone(), gate: holder.gate(), refused: refused.clone() };
    (leasing, runtime::spawn(Driver::new(parts, holder, granter, refused, events).run(inbox)))
}
