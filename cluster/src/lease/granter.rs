//! The granter's half: one node's time as leader, its grants, and when a revoke may be answered.
//!
//! A **reign** is (term, leader, boot): a leader restarted in its own term begins a new one. A
//! reign notes when it took office, proposes a barrier entry, grants nothing before that entry has
//! been applied (rule 1), puts each grant on record before it asks for the read index that the
//! lease is bound to (rule 3), and acknowledges only revokes that it stamped itself, once no
//! lease can still answer from an older view (rule 7). A pure state machine: inputs in, actions
//! out; whoever drives it performs them in order and calls back.
//!
//! Must not know how rounds are made, how messages travel, or what is revoked.

use std::collections::{BTreeSet, VecDeque};

use super::clock::Reading;
use super::messages::{Answer, Boot, Grant, NodeId, Reason, Report, Request};
use super::params::{Params, WAITING_REQUESTS_MAX, WALL_SKEW_MAX_MS};
use super::rules::{Rule, Rules};
use super::table::{GrantId, HolderId, LeaseStatus, Table};
use super::wall::WallClocks;

/// A read-index round of one granter; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Round(u64);

/// What the driver is to do, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Propose an entry that names this reign, again until it is applied or the reign is over,
    /// and call [`Granter::barrier_applied`] once it has been applied here.
    ProposeBarrier {
        /// The reign's term.
        term: u64,
        /// The reign's process.
        boot: Boot,
    },
    /// Begin a read-index round now – nothing that was under way before – bound it by a timeout,
    /// and call [`Granter::round_done`].
    StartRound(Round),
    /// Send this answer.
    Answer {
        /// To whom.
        to: NodeId,
        /// What.
        answer: Answer,
    },
}

/// Who stamped a log entry: its leader id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamper {
    /// The term in which it was appended.
    pub term: u64,
    /// The leader that appended it.
    pub node: NodeId,
}

/// Whether a revoke may be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AckWait {
    /// No node can answer from a view before it any more.
    Ready,
    /// Not yet: ask again after any report, any change of reign, and after this long.
    WaitUntil {
        /// How long at most, nanoseconds by the granter's clock; `None` while this node has not
        /// yet noticed that it leads: then only the proposer's deadline bounds the wait.
        left_ns: Option<u64>,
        /// The nodes waited for; empty while it is for the leases of earlier reigns.
        holders: Vec<NodeId>,
    },
    /// Another reign stamped it, or the one that did is over: never to be answered by this wait.
    /// Propose again.
    ReignOver,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    holder: HolderId,
    nonce: u64,
    /// On record already; `None` only in a model that breaks rule 3.
    grant: Option<GrantId>,
}

/// What a round once confirmed as committed.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Reading,
    commit: u64,
}

#[derive(Debug)]
struct Reign {
    term: u64,
    office: Reading,
    barrier_applied: bool,
    table: Table,
    /// The round under way and whom it serves.
    round: Option<(Round, Vec<Waiting>)>,
    /// Whom the next round serves.
    next: Vec<Waiting>,
    marks: VecDeque<Mark>,
}

/// The granter of one process; at most one reign at a time.
#[derive(Debug)]
pub struct Granter {
    params: Params,
    node: NodeId,
    boot: Boot,
    members: BTreeSet<NodeId>,
    sole: bool,
    reign: Option<Reign>,
    /// The newest term that this process began a reign in.
    newest_term: u64,
    next_round: u64,
    wall: WallClocks,
    rules: Rules,
}

impl Granter {
    /// A granter that does not reign, and knows no member.
    #[must_use]
    pub fn new(params: Params, node: NodeId, boot: Boot) -> Granter {
        Granter::keeping(Rules::ALL, params, node, boot)
    }

    /// The same, keeping only `rules`.
    #[cfg(feature = "model")]
    #[must_use]
    pub fn with_rules(rules: Rules, params: Params, node: NodeId, boot: Boot) -> Granter {
        Granter::keeping(rules, params, node, boot)
    }

    fn keeping(rules: Rules, params: Params, node: NodeId, boot: Boot) -> Granter {
        Granter {
            params,
            node,
            boot,
            members: BTreeSet::new(),
            sole: false,
            reign: None,
            newest_term: 0,
            next_round: 1,
            wall: WallClocks::default(),
            rules,
        }
    }

    /// Who may hold leases from now on: voters and learners. Grants of others run out.
    pub fn members(&mut self, members: BTreeSet<NodeId>) {
        self.wall.retain(|node| members.contains(&node));
        self.members = members;
    }

    /// Whether no other node has ever been a member, by the applied log. Then nobody but this
    /// process can hold a lease of an earlier reign, and this process has forgotten its own.
    pub fn sole(&mut self, sole: bool) {
        self.sole = sole;
    }

    /// This node sees itself lead in `term`. Begins a reign unless it is the current one or an
    /// older one: all grants and reports are forgotten, every wait of an earlier reign fails.
    pub fn lead(&mut self, now: Reading, term: u64) -> Vec<Action> {
        if term < self.newest_term || self.reign() == Some(term) {
            return Vec::new();
        }
        let mut actions = self.end();
        self.newest_term = term;
        self.forget_wall_clocks();
        self.reign = Some(Reign {
            term,
            office: now,
            barrier_applied: !self.rules.keep(Rule::Barrier),
            table: Table::new(&self.params, self.rules),
            round: None,
            next: Vec::new(),
            marks: VecDeque::new(),
        });
        actions.push(Action::ProposeBarrier { term, boot: self.boot });
        actions
    }

    /// This node sees that it does not lead. Every wait fails.
    pub fn follow(&mut self) -> Vec<Action> {
        self.end()
    }

    /// The barrier of the reign (`term`, `boot`) has been applied here and its view published.
    pub fn barrier_applied(&mut self, term: u64, boot: Boot) {
        if let Some(reign) = self.reign.as_mut().filter(|reign| reign.term == term) {
            reign.barrier_applied |= boot == self.boot;
        }
    }

    /// A request came in from the peer that is certainly `from`; this node's own verifier goes
    /// the same way.
    pub fn request(
        &mut self,
        now: Reading,
        wall_ms: u64,
        from: NodeId,
        request: &Request,
    ) -> Vec<Action> {
        let Request { node, boot, nonce, published, .. } = *request;
        let refuse = |reason| vec![refusal((from, boot), nonce, reason)];
        if node != from || !self.members.contains(&from) {
            return refuse(Reason::NotMember);
        }
        self.wall.note(node, request.wall_ms, wall_ms);
        let Some(reign) = self.reign.as_mut() else {
            return refuse(Reason::NotLeader);
        };
        if !reign.barrier_applied {
            return refuse(Reason::TakingOffice);
        }
        let holder = (node, boot);
        reign.table.report(holder, published);
        if reign.lags(now, published, &self.params) {
            return refuse(Reason::Lagging);
        }
        if reign.next.len() >= WAITING_REQUESTS_MAX {
            return refuse(Reason::TooMany);
        }
        let mut grant = None;
        if self.rules.keep(Rule::RecordedFirst) {
            let Ok(recorded) = reign.table.record(now, holder) else {
                return refuse(Reason::TooMany);
            };
            reign.table.report(holder, published);
            grant = Some(recorded);
        }
        let waiting = Waiting { holder, nonce, grant };
        match &mut reign.round {
            Some((_, served)) if !self.rules.keep(Rule::RoundAfterRequest) => served.push(waiting),
            _ => reign.next.push(waiting),
        }
        self.start_round()
    }

    /// A round is over: with the index up to which everything acknowledged before it began is
    /// committed, or without, for want of a quorum or of time.
    pub fn round_done(
        &mut self,
        now: Reading,
        wall_ms: u64,
        round: Round,
        commit: Option<u64>,
    ) -> Vec<Action> {
        let Some(reign) = self.reign.as_mut() else {
            return Vec::new();
        };
        let Some((_, served)) = reign.round.take_if(|(current, _)| *current == round) else {
            return Vec::new();
        };
        let mut actions = Vec::with_capacity(served.len());
        for waiting in served {
            actions.push(match commit {
                Some(commit) => reign.grant(now, wall_ms, waiting, commit),
                None => reign.refuse(waiting, Reason::NoQuorum),
            });
        }
        if let Some(commit) = commit {
            reign.mark(now, commit, &self.params);
        }
        actions.extend(self.start_round());
        actions
    }

    /// A report came in from the peer that is certainly `from`.
    pub fn report(&mut self, from: NodeId, report: &Report) {
        let Some(reign) = self.reign.as_mut().filter(|_| report.node == from) else {
            return;
        };
        let holder = (report.node, report.boot);
        if report.released {
            reign.table.release(holder);
        } else {
            reign.table.report(holder, report.published);
        }
    }

    /// Whether the revoke at log index `index`, stamped by `stamper` and applied and published
    /// here, may be answered. Asked by whoever proposed it, with the leader id that the entry
    /// was given, until it is ready or the reign is over.
    #[must_use]
    pub fn ack_wait(&self, now: Reading, stamper: Stamper, index: u64) -> AckWait {
        let stamping = self.rules.keep(Rule::StampingReign);
        if stamping && stamper.node == self.node && stamper.term > self.newest_term {
            return AckWait::WaitUntil { left_ns: None, holders: Vec::new() };
        }
        let own = |reign: &&Reign| stamper == Stamper { term: reign.term, node: self.node };
        let Some(reign) = self.reign.as_ref().filter(|reign| own(reign) || !stamping) else {
            return AckWait::ReignOver;
        };
        let office_ns = if self.rules.keep(Rule::OfficeWait) && !self.sole {
            reign.table.left_ns(now, reign.office)
        } else {
            0
        };
        let (holders, grants_ns) = reign.table.blockers(now, index);
        match office_ns.max(grants_ns) {
            0 => AckWait::Ready,
            left_ns => AckWait::WaitUntil { left_ns: Some(left_ns), holders },
        }
    }

    /// The term of the current reign.
    #[must_use]
    pub fn reign(&self) -> Option<u64> {
        self.reign.as_ref().map(|reign| reign.term)
    }

    /// Every holder with an unexpired grant of the current reign.
    #[must_use]
    pub fn leases(&self, now: Reading) -> Vec<LeaseStatus> {
        self.reign.as_ref().map(|reign| reign.table.status(now)).unwrap_or_default()
    }

    /// Whether this node's wall clock is near enough to the median of `voters` for it to stamp
    /// commands; if not it hands leadership over. `None` while too few have been heard.
    #[must_use]
    pub fn wall_clock_agrees(&self, voters: &[NodeId]) -> Option<bool> {
        let offset_ms = self.wall.median_offset_ms(self.node, voters)?;
        Some(offset_ms.unsigned_abs() <= WALL_SKEW_MAX_MS)
    }

    /// This node's wall clock is not what it was: what was heard of others' says nothing now.
    pub fn forget_wall_clocks(&mut self) {
        self.wall = WallClocks::default();
    }

    fn end(&mut self) -> Vec<Action> {
        let Some(reign) = self.reign.take() else {
            return Vec::new();
        };
        let served = reign.round.map(|(_, served)| served).unwrap_or_default();
        let all = served.into_iter().chain(reign.next);
        all.map(|waiting| refusal(waiting.holder, waiting.nonce, Reason::NotLeader)).collect()
    }

    fn start_round(&mut self) -> Vec<Action> {
        let Some(reign) = self.reign.as_mut() else {
            return Vec::new();
        };
        if reign.round.is_some() || reign.next.is_empty() {
            return Vec::new();
        }
        let round = Round(self.next_round);
        self.next_round += 1;
        reign.round = Some((round, std::mem::take(&mut reign.next)));
        vec![Action::StartRound(round)]
    }
}

impl Reign {
    fn grant(&mut self, now: Reading, wall_ms: u64, waiting: Waiting, commit: u64) -> Action {
        let Waiting { holder, nonce, grant } = waiting;
        let Some(id) = grant.or_else(|| self.table.record(now, holder).ok()) else {
            return refusal(holder, nonce, Reason::TooMany);
        };
        self.table.settle(holder, id, commit);
        let grant = Grant { boot: holder.1, nonce, commit, wall_ms };
        Action::Answer { to: holder.0, answer: Answer::Granted(grant) }
    }

    fn refuse(&mut self, waiting: Waiting, reason: Reason) -> Action {
        if let Some(id) = waiting.grant {
            self.table.withdraw(waiting.holder, id);
        }
        refusal(waiting.holder, waiting.nonce, reason)
    }

    /// Whether a holder at `published` has not yet seen what was committed half a lease ago.
    fn lags(&self, now: Reading, published: u64, params: &Params) -> bool {
        let old = |mark: &&Mark| now.shortest_since(mark.at) >= params.lag_max_ns();
        self.marks.iter().rev().find(old).is_some_and(|mark| published < mark.commit)
    }

    /// Remembers what was committed when, coarsely: the newest mark older than the allowed lag
    /// is all that is ever asked for.
    fn mark(&mut self, now: Reading, commit: u64, params: &Params) {
        let lag_ns = params.lag_max_ns();
        while self.marks.get(1).is_some_and(|second| now.shortest_since(second.at) >= lag_ns) {
            self.marks.pop_front();
        }
        let apart = |last: &Mark| now.shortest_since(last.at) >= lag_ns / 4;
        if self.marks.back().is_none_or(apart) {
            self.marks.push_back(Mark { at: now, commit });
        }
    }
}

fn refusal((to, boot): HolderId, nonce: u64, reason: Reason) -> Action {
    Action::Answer { to, answer: Answer::Refused { boot, nonce, reason } }
}

#[cfg(test)]
mod tests;
