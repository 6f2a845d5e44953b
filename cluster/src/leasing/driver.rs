//! The task: both halves of the protocol, told what happened, and what they say done in order.
//!
//! Timers only wake it: what is decided is decided by the lease clocks. Every step it takes is short;
//! rounds, messages and proposals run beside it and come back as events. Must not know what a
//! command means.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{ReadPolicy, ServerState};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::agreement::Agreement;
use super::{Acked, Event, Parts};
use crate::Machine;
use crate::lease::{
    AckWait, Action, Answer, Boot, Granter, Holder, LeaseClock, NodeId, Reason, Report, Request,
    Round, Stamper, SystemClock, Wire,
};
use crate::limits::{LEASE_RETRY_PAUSE, RETRY_PAUSE};
use crate::meters;
use crate::peer::link::{Lane, Target};
use crate::peer::wire::Rpc;
use crate::roster::Known;
use crate::runtime::spawn;
use crate::store::apply::{Barrier, Marks};
use crate::store::digest::Digest;
use crate::types::Proposed;

pub(super) struct Driver<M: Machine> {
    parts: Parts<M>,
    holder: Holder,
    granter: Granter,
    agreement: Agreement,
    /// The jump of the wall clock that the others' have not been compared with yet.
    jumped_ms: Option<i64>,
    /// The tag of the last refusal; 0 after a grant.
    refused: Arc<AtomicU16>,
    leader: Option<NodeId>,
    /// The term that this node reigns in, for the proposal of its barrier.
    reign: watch::Sender<Option<u64>>,
    known: Arc<Known>,
    marks: Marks,
    /// Revokes that wait, by index.
    acks: BTreeMap<u64, Vec<(Stamper, oneshot::Sender<Acked>)>>,
    /// Requests of peers that wait for a round.
    pending: HashMap<(NodeId, Boot, u64), oneshot::Sender<Answer>>,
    /// When to ask again after a request came to nothing.
    retry_at: Option<Instant>,
    /// Whether a report is on its way; the next waits for it.
    reporting: bool,
    to_report: Option<Report>,
    events: mpsc::Sender<Event>,
}

impl<M: Machine> Driver<M> {
    pub(super) fn new(
        parts: Parts<M>,
        holder: Holder,
        granter: Granter,
        refused: Arc<AtomicU16>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Driver {
            granter,
            holder,
            agreement: Agreement::default(),
            jumped_ms: None,
            refused,
            leader: None,
            reign: watch::Sender::new(None),
            known: Arc::default(),
            marks: Marks::default(),
            acks: BTreeMap::new(),
            pending: HashMap::new(),
            retry_at: None,
            reporting: false,
            to_report: None,
            events,
            parts,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Event>) {
        let mut metrics = self.parts.raft.metrics();
        let mut roster = self.parts.roster.subscribe();
        let mut marks = self.parts.progress.marks();
        loop {
            // What was published goes before anything that rests on it.
            self.members(&roster.borrow_and_update().clone());
            let (state, term, leader) = {
                let metrics = metrics.borrow_and_update();
                (metrics.state, metrics.current_term, metrics.current_leader)
            };
            self.notice(state, term, leader);
            let newest = *marks.borrow_and_update();
            self.published(newest);
            self.ask_if_due();
            let acks_due = self.settle();
            self.tell_ready();
            let due = [self.renewal_due(), acks_due].into_iter().flatten().min();
            let wake = due.unwrap_or_else(|| Instant::now() + self.length());
            tokio::select! {
                biased;
                event = inbox.recv() => match event {
                    None | Some(Event::Shut) => break,
                    Some(event) => self.handle(event),
                },
                _ = marks.changed() => {}
                changed = metrics.changed() => if changed.is_err() {
                    // The engine has stopped, and with it this node.
                    break;
                },
                _ = roster.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
        self.shut().await;
    }

    fn handle(&mut self, event: Event) {
        let now = SystemClock.read();
        match event {
            Event::Request { from, request, answer } => {
                self.pending.insert((from, request.boot, request.nonce), answer);
                self.requested(from, &request);
            }
            Event::Report { from, report } => self.granter.report(from, &report),
            Event::Answered(answer) => self.answered(answer),
            Event::Reported => {
                self.reporting = false;
                if let Some(report) = self.to_report.take() {
                    self.send_report(report);
                }
            }
            Event::RoundDone(round, commit) => {
                let time_ms = self.parts.stamping.time_ms();
                let actions = self.granter.round_done(now, time_ms, round, commit);
                self.perform(actions);
            }
            Event::Ack { stamper, index, done } => {
                self.acks.entry(index).or_default().push((stamper, done));
            }
            Event::Leases(done) => {
                // Whoever asked may have gone.
                let _ = done.send(self.granter.leases(now));
            }
            // Ends the loop before it gets here.
            Event::Shut => {}
        }
    }

    /// The applied membership says who may hold leases.
    fn members(&mut self, known: &Arc<Known>) {
        if !Arc::ptr_eq(known, &self.known) {
            self.known = known.clone();
            self.granter.members(known.ids());
            self.granter.sole(known.only_ever(self.parts.node));
        }
    }

    /// The engine says who leads. The clock is read after it took office.
    fn notice(&mut self, state: ServerState, term: u64, leader: Option<NodeId>) {
        let now = SystemClock.read();
        let leads = state == ServerState::Leader;
        self.parts.stamping.leads(leads, self.holder.gate().moment(now));
        let actions = if leads {
            self.granter.lead(now, term)
        } else {
            self.agreement.forget();
            self.granter.follow()
        };
        self.judge_itself();
        self.reign.send_if_modified(|reign| {
            let before = std::mem::replace(reign, self.granter.reign());
            before != *reign
        });
        self.perform(actions);
        if leader != self.leader {
            self.leader = leader;
            // A new leader is asked at once.
            self.retry_at = leader.map(|_| Instant::now());
        }
    }

    fn published(&mut self, marks: Marks) {
        if marks == self.marks {
            return;
        }
        let everywhere = marks.everywhere > self.marks.everywhere;
        if marks.barrier != self.marks.barrier
            && let Some(Barrier { term, boot, .. }) = marks.barrier
        {
            self.granter.barrier_applied(term, boot);
            if self.leader == Some(self.parts.node) {
                self.retry_at = Some(Instant::now());
            }
        }
        self.marks = marks;
        self.holder.digested(marks.digest.0);
        if let Some(report) = self.holder.published(marks.published, everywhere) {
            self.send_report(report);
        }
    }

    fn renewal_due(&self) -> Option<Instant> {
        self.leader?;
        let due_ns = self.holder.due_in_ns(SystemClock.read());
        let due = Instant::now() + Duration::from_nanos(due_ns);
        Some(self.retry_at.map_or(due, |retry| retry.min(due)))
    }

    fn ask_if_due(&mut self) {
        let Some(leader) = self.leader else { return };
        if self.renewal_due().is_some_and(|due| due > Instant::now()) {
            return;
        }
        self.retry_at = None;
        let now = SystemClock.read();
        let Some(request) = self.holder.request(now, self.parts.stamping.wall_ms()) else { return };
        if leader == self.parts.node {
            self.requested(leader, &request);
            return;
        }
        let (events, deadline) = (self.events.clone(), self.length());
        let asking = self.message(leader, Rpc::Lease, &request, deadline);
        spawn(async move {
            let answer = asking.await.and_then(|answer| Answer::from_bytes(&answer).ok());
            // The task may have ended.
            let _ = events.send(Event::Answered(answer)).await;
        });
    }

    /// A node, this one or a peer, asks this one for a lease.
    fn requested(&mut self, from: NodeId, request: &Request) {
        let Request { boot, nonce, published, digest, .. } = *request;
        let agrees = if from == self.parts.node {
            let voters: Vec<_> = self.known.membership.membership().voter_ids().collect();
            !self.agreement.outnumbered(&voters)
        } else {
            let own = &self.parts.progress.recent;
            self.agreement.holds(from, published, Digest(digest), own)
        };
        let actions = if agrees || self.granter.reign().is_none() {
            self.granter.request(SystemClock.read(), self.parts.stamping.wall_ms(), from, request)
        } else {
            let answer = Answer::Refused { boot, nonce, reason: Reason::Diverged };
            vec![Action::Answer { to: from, answer }]
        };
        self.judge_itself();
        self.perform(actions);
    }

    /// Whether another node should lead, and whether this one may stamp what it appends.
    fn judge_itself(&mut self) {
        let stamping = self.parts.stamping.clone();
        let jumped_ms = stamping.jumped_ms();
        if jumped_ms != self.jumped_ms {
            self.jumped_ms = jumped_ms;
            self.granter.forget_wall_clocks();
        }
        let voters: Vec<_> = self.known.membership.membership().voter_ids().collect();
        let reigns = self.granter.reign().is_some();
        let agrees = self.granter.wall_clock_agrees(&voters).filter(|_| reigns);
        stamping.agrees(agrees == Some(true), voters.len() > 1, self.parts.progress.newest_ms());
        let unfit = reigns && (agrees == Some(false) || self.agreement.outnumbered(&voters));
        self.parts.unfit.send_if_modified(|before| std::mem::replace(before, unfit) != unfit);
    }

    fn answered(&mut self, answer: Option<Answer>) {
        let now = SystemClock.read();
        let again = match answer {
            Some(Answer::Granted(grant)) => {
                self.holder.granted(now, &grant);
                self.refused.store(0, Ordering::Relaxed);
                false
            }
            Some(Answer::Refused { nonce, reason, .. }) => {
                meters::lease_refused(Some(reason));
                let before = self.refused.swap(reason as u16, Ordering::Relaxed);
                if reason == Reason::Diverged && before != reason as u16 {
                    tracing::error!(
                        leader = self.leader,
                        "this node's state has parted from the leader's, so it gets no lease and \
                         answers nothing: remove it from the cluster, and let a new node join"
                    );
                }
                self.holder.refused(nonce);
                true
            }
            None => {
                meters::lease_refused(None);
                true
            }
        };
        if again && self.retry_at.is_none() {
            self.retry_at = Some(Instant::now() + LEASE_RETRY_PAUSE);
        }
    }

    fn send_report(&mut self, report: Report) {
        let Some(leader) = self.leader else { return };
        if leader == self.parts.node {
            self.granter.report(leader, &report);
        } else if self.reporting {
            self.to_report = Some(report);
        } else {
            self.reporting = true;
            let events = self.events.clone();
            let telling = self.message(leader, Rpc::LeaseReport, &report, self.length());
            spawn(async move {
                telling.await;
                let _ = events.send(Event::Reported).await;
            });
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::ProposeBarrier { term, boot } => self.propose_barrier(term, boot),
                Action::StartRound(round) => self.start_round(round),
                Action::Answer { to, answer } if to == self.parts.node => {
                    self.answered(Some(answer));
                }
                Action::Answer { to, answer } => {
                    let key = match &answer {
                        Answer::Granted(grant) => (to, grant.boot, grant.nonce),
                        Answer::Refused { boot, nonce, .. } => (to, *boot, *nonce),
                    };
                    if let Some(waiting) = self.pending.remove(&key) {
                        // Whoever asked may have given up; its lease then just runs out.
                        let _ = waiting.send(answer);
                    }
                }
            }
        }
    }

    fn propose_barrier(&self, term: u64, boot: Boot) {
        let (raft, reign) = (self.parts.raft.clone(), self.reign.subscribe());
        spawn(async move {
            while *reign.borrow() == Some(term) {
                match raft.client_write(Proposed::Barrier { term, boot }).await {
                    Ok(_) => return,
                    Err(error) => tracing::debug!(%error, term, "the barrier was not committed"),
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        });
    }

    /// A round of its own, begun after it was asked for and bounded by half a lease.
    fn start_round(&self, round: Round) {
        let (raft, events, within) =
            (self.parts.raft.clone(), self.events.clone(), self.length() / 2);
        spawn(async move {
            let confirmed = timeout(within, raft.get_read_linearizer(ReadPolicy::ReadIndex)).await;
            let commit = confirmed.ok().and_then(Result::ok).map(|c| c.read_log_id().index());
            let _ = events.send(Event::RoundDone(round, commit)).await;
        });
    }

    /// Answers every revoke that may be answered; when to look again at the others.
    fn settle(&mut self) -> Option<Instant> {
        while let Some(mut first) = self.acks.first_entry() {
            let index = *first.key();
            let mut wait = None;
            let mut left = Vec::new();
            for (stamper, done) in std::mem::take(first.get_mut()) {
                let now = SystemClock.read();
                let acked = match self.granter.ack_wait(now, stamper, index) {
                    AckWait::Ready => Acked::Everywhere,
                    AckWait::ReignOver => Acked::ReignOver,
                    AckWait::WaitUntil { left_ns, .. } => {
                        wait = Some(left_ns);
                        left.push((stamper, done));
                        continue;
                    }
                };
                // Whoever asked may have given up.
                let _ = done.send(acked);
            }
            left.retain(|(_, done)| !done.is_closed());
            if left.is_empty() {
                first.remove();
                continue;
            }
            *first.get_mut() = left;
            // What stands behind it waits at least as long.
            let left_ns = wait.flatten()?;
            return Some(Instant::now() + Duration::from_nanos(left_ns));
        }
        None
    }

    fn tell_ready(&self) {
        if !*self.parts.ready.borrow() && self.holder.gate().usable(SystemClock.read()) {
            self.parts.ready.send_replace(true);
        }
    }

    async fn shut(mut self) {
        let report = self.holder.shut();
        if let Some(leader) = self.leader.filter(|leader| *leader != self.parts.node) {
            self.message(leader, Rpc::LeaseReport, &report, self.length() / 4).await;
        }
    }

    /// Sends `message` to `to`; `None` if no answer came.
    fn message(
        &self,
        to: NodeId,
        rpc: Rpc,
        message: &impl Wire,
        deadline: Duration,
    ) -> impl Future<Output = Option<hyper::body::Bytes>> + Send + 'static {
        let target = self.known.member(to).map(|member| Target::member(to, member));
        let (links, message) = (self.parts.links.clone(), message.to_bytes().ok());
        async move {
            let answer = links?.call(&target?, Lane::Pulse, rpc, message?, deadline).await;
            answer.inspect_err(|error| tracing::debug!(node = to, %error, "leases")).ok()
        }
    }

    fn length(&self) -> Duration {
        Duration::from_nanos(self.parts.params.length_ns())
    }
}
