//! One node: what its disk keeps, what its memory holds, and its clocks.

use std::rc::Rc;
use std::sync::Arc;

use authrai_cluster::lease::{Answer, Boot, Gate, Granter, Holder, Params, Report, Request, Round};

use crate::clocks::{Clocks, DRIFT_PPM, LENGTH_TICKS, TICK_NS};
use crate::dice::Dice;
use crate::mutant::Mutant;

/// Most nodes in one run, learners included.
pub const NODES_MAX: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What a new leader appends first.
    Blank,
    /// A reign's barrier.
    Barrier(Boot),
    /// A revoke of the key with this number.
    Revoke(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub term: u64,
    pub kind: Kind,
}

/// What verifiers read: the keys revoked up to a log index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct View {
    pub index: usize,
    pub revoked: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Follower,
    Candidate,
    Leader,
}

/// A read-index round under way.
#[derive(Debug)]
pub struct ReadRound {
    pub round: Round,
    pub commit: usize,
    pub acks: u32,
}

/// A revoke that waits to be answered.
#[derive(Debug, Clone, Copy)]
pub struct Waiter {
    pub term: u64,
    pub index: usize,
    pub key: u32,
}

/// A node's own next step, taken at once or at any time later while this boot lives.
#[derive(Debug, Clone, Copy)]
pub enum Task {
    /// The granter looks at who leads.
    Notice,
    /// Apply and publish some of what is committed.
    Apply,
    /// Publish what was reported already; only without rule 6.
    Publish(usize),
    /// Propose the barrier of the reign in this term.
    ProposeBarrier(u64),
    /// Send the log to everyone.
    Replicate,
    BeginRound(Round),
    EndRound(Round, Option<u64>),
}

#[derive(Debug, Clone)]
pub enum Body {
    Vote {
        term: u64,
        last_term: u64,
        last_index: usize,
    },
    VoteYes {
        term: u64,
    },
    Append {
        term: u64,
        log: Rc<[Entry]>,
        commit: usize,
    },
    AppendOk {
        term: u64,
        index: usize,
    },
    Ping {
        term: u64,
        round: Round,
    },
    Pong {
        term: u64,
        round: Round,
    },
    /// The receiver's term is over.
    Newer {
        term: u64,
    },
    Request(Request),
    Answer(Answer),
    Report(Report),
    Local(Boot, Task),
}

#[derive(Debug, Clone)]
pub struct Envelope {
    pub from: usize,
    pub to: usize,
    pub body: Body,
}

pub struct Node {
    pub id: usize,
    pub clocks: Clocks,
    // Disk.
    pub term: u64,
    pub vote: Option<usize>,
    /// Whether this node won the election of `term`.
    pub led: bool,
    pub log: Vec<Entry>,
    pub saved_commit: usize,
    // Memory.
    pub up: bool,
    pub stalled: bool,
    pub boot: Boot,
    pub role: Role,
    pub leader: Option<usize>,
    pub votes: u32,
    pub matched: [usize; NODES_MAX],
    pub commit: usize,
    /// The first entry of this leader's term: a read index is never below it.
    pub first_own: usize,
    pub view: View,
    pub rounds: Vec<ReadRound>,
    pub waiters: Vec<Waiter>,
    pub holder: Holder,
    pub granter: Granter,
    pub gates: Vec<Arc<Gate>>,
    /// A reading that nobody took for the verification at hand; only without rule 5.
    pub stale: authrai_cluster::lease::Reading,
}

/// Leases of 100 ms on clocks that are up to a tenth off.
pub fn params() -> Params {
    let length_ns = LENGTH_TICKS * TICK_NS;
    Params::new(length_ns, length_ns / 4, DRIFT_PPM).expect("the model's parameters are in bounds")
}

impl Node {
    pub fn new(id: usize, nodes: usize, boot: Boot, mutant: Mutant, dice: &mut Dice) -> Node {
        let clocks = Clocks::new(dice);
        let (holder, granter) = lease_state(id, nodes, boot, mutant);
        Node {
            id,
            stale: clocks.now(),
            clocks,
            term: 0,
            vote: None,
            led: false,
            log: Vec::new(),
            saved_commit: 0,
            up: true,
            stalled: false,
            boot,
            role: Role::Follower,
            leader: None,
            votes: 0,
            matched: [0; NODES_MAX],
            commit: 0,
            first_own: 0,
            view: View::default(),
            rounds: Vec::new(),
            waiters: Vec::new(),
            gates: vec![holder.gate()],
            holder,
            granter,
        }
    }

    /// Memory is lost; the new process starts from the disk.
    pub fn restart(&mut self, nodes: usize, boot: Boot, mutant: Mutant) {
        let (holder, granter) = lease_state(self.id, nodes, boot, mutant);
        self.holder = holder;
        self.granter = granter;
        if mutant != Mutant::LeaseOnDisk {
            self.gates.clear();
        }
        self.gates.push(self.holder.gate());
        self.up = true;
        self.stalled = false;
        self.boot = boot;
        self.role = Role::Follower;
        self.leader = None;
        self.votes = 0;
        self.rounds.clear();
        self.waiters.clear();
        self.commit = self.saved_commit;
        self.view = self.view_at(self.saved_commit);
        self.holder.published(self.view.index as u64, false);
    }

    /// Whether it takes steps.
    pub fn runs(&self) -> bool {
        self.up && !self.stalled && !self.clocks.suspended
    }

    /// Whether a verifier that asks now, with a clock read at `now`, may answer.
    pub fn usable(&self, now: authrai_cluster::lease::Reading) -> bool {
        self.gates.iter().any(|gate| gate.usable(now))
    }

    pub fn last(&self) -> (u64, usize) {
        (self.log.last().map_or(0, |entry| entry.term), self.log.len())
    }

    pub fn view_at(&self, index: usize) -> View {
        let mut view = self.view;
        if index < view.index {
            view = View::default();
        }
        for entry in &self.log[view.index..index] {
            if let Kind::Revoke(key) = entry.kind {
                view.revoked |= 1 << key;
            }
        }
        View { index, ..view }
    }
}

fn lease_state(id: usize, nodes: usize, boot: Boot, mutant: Mutant) -> (Holder, Granter) {
    let holder = Holder::with_rules(mutant.rules(), params(), id as u64, boot);
    let mut granter = Granter::with_rules(mutant.rules(), params(), id as u64, boot);
    granter.members((0..nodes as u64).collect());
    (holder, granter)
}
