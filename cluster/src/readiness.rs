//! Why a node is not ready: one list of reasons, the gravest first, for whoever asks and for the log.
//!
//! A node that refuses writes says so before it is asked to write. What is judged are facts that
//! other parts keep; here is only their order, and the notice that a node makes no progress. Must
//! not know who asks.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use openraft::async_runtime::WatchReceiver;
use tokio::time::{Instant, sleep};

use crate::Machine;
use crate::error::Fatal;
use crate::handle::Core;
use crate::lease::{LeaseClock, Reason, SystemClock};
use crate::limits::{READINESS_LOOK_EVERY, STUCK_AFTER};
use crate::stamping::ClockFault;

/// Why a node does not verify, or takes no writes. In this order: of several that hold, the first is
/// told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unready {
    /// It is being stopped.
    Stopping,
    /// It can not go on, and its process is about to end.
    Failed(Fatal),
    /// Stored bytes are known to be damaged.
    Damaged(String),
    /// It is no member of the cluster any more.
    Removed,
    /// Its state has parted from the leader's.
    Diverged,
    /// Its wall clock is not to be trusted.
    Clock(ClockFault),
    /// It knows no leader.
    NoLeader,
    /// It knows a leader, but gets no lease and applies nothing.
    Stuck {
        /// The last entry that it has applied.
        applied_index: u64,
        /// For how long.
        seconds: u64,
    },
    /// It has no lease: it has not caught up yet, or the leader is out of reach.
    CatchingUp,
}

/// The name of each reason, by its tag between nodes.
const NAMES: [(u8, &str); 13] = [
    (1, "stopping"),
    (2, "disk_full"),
    (3, "disk_failed"),
    (4, "failed"),
    (5, "damaged"),
    (6, "removed"),
    (7, "diverged"),
    (8, "clock_jumped"),
    (9, "clock_behind"),
    (10, "clock_astray"),
    (11, "no_leader"),
    (12, "stuck"),
    (13, "catching_up"),
];

/// What is said of a member that does not answer.
pub(crate) const UNREACHABLE: &str = "unreachable";

impl Unready {
    /// Every name, and what is said of a member that does not answer.
    pub const NAMES: [&'static str; NAMES.len() + 1] = {
        let mut names = [UNREACHABLE; NAMES.len() + 1];
        let mut place = 0;
        while place < NAMES.len() {
            names[place] = NAMES[place].1;
            place += 1;
        }
        names
    };

    /// Its name for programs, which never changes.
    #[must_use]
    pub fn name(&self) -> &'static str {
        Self::name_of(self.tag()).unwrap_or_default()
    }

    /// The name that belongs to `tag`, if this build knows it.
    pub(crate) fn name_of(tag: u8) -> Option<&'static str> {
        NAMES.into_iter().find(|(known, _)| *known == tag).map(|(_, name)| name)
    }

    /// Its number between nodes, which never changes.
    pub(crate) fn tag(&self) -> u8 {
        match self {
            Unready::Stopping => 1,
            Unready::Failed(Fatal::Disk { full: true, .. }) => 2,
            Unready::Failed(Fatal::Disk { full: false, .. }) => 3,
            Unready::Failed(Fatal::Damaged { .. }) | Unready::Damaged(_) => 5,
            Unready::Failed(
                Fatal::Version { .. }
                | Fatal::Undecodable { .. }
                | Fatal::LevelUnknown { .. }
                | Fatal::JournalRewritten { .. }
                | Fatal::JournalGap { .. }
                | Fatal::RecordTooLarge { .. }
                | Fatal::MachinePanicked { .. }
                | Fatal::Consensus { .. }
                | Fatal::Closed,
            ) => 4,
            Unready::Removed => 6,
            Unready::Diverged => 7,
            Unready::Clock(ClockFault::Jumped { .. }) => 8,
            Unready::Clock(ClockFault::Behind { .. }) => 9,
            Unready::Clock(ClockFault::Astray) => 10,
            Unready::NoLeader => 11,
            Unready::Stuck { .. } => 12,
            Unready::CatchingUp => 13,
        }
    }
}

/// What happened, and what to do.
impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unready::Stopping => f.write_str("This node is being stopped. Ask another node."),
            Unready::Failed(Fatal::Disk { full: true, doing, .. }) => write!(
                f,
                "This node's disk is full ({doing}), and its process ends. Free some space and start \
                 it again."
            ),
            Unready::Failed(fatal) => write!(
                f,
                "This node cannot go on, and its process ends: {fatal}. Its log says more."
            ),
            Unready::Damaged(what) => write!(
                f,
                "This node has found damage in what it keeps, and takes no write: {what}."
            ),
            Unready::Removed => f.write_str(
                "This node was removed from the cluster for good. Stop it; to use the machine again, \
                 let a new node join with a new id, a new certificate and an empty data directory.",
            ),
            Unready::Diverged => f.write_str(
                "This node's state has parted from the leader's. Remove it from the cluster, and let \
                 a new node join.",
            ),
            Unready::Clock(fault) => write!(
                f,
                "This node takes no writes: {fault}. Set its clock right. If it is right now, run \
                 `authrai cluster confirm-clock` at this node."
            ),
            Unready::NoLeader => f.write_str(
                "This node knows no leader: a majority of the voters is down or out of its reach. \
                 Look at the other nodes and at the network between them.",
            ),
            Unready::Stuck { applied_index, seconds } => write!(
                f,
                "This node is stuck: for {seconds} s it has got no lease from the leader, and applied \
                 nothing after entry {applied_index}. Its log may say why; restart it, and if that \
                 does not help, replace it."
            ),
            Unready::CatchingUp => f.write_str(
                "This node has not yet caught up with what was committed, or does not hear from the \
                 leader. Ask another node meanwhile.",
            ),
        }
    }
}

/// What the reasons are found from, each fact by itself.
#[derive(Debug, Clone, Default)]
struct Facts {
    stopping: bool,
    fatal: Option<Fatal>,
    damage: Option<String>,
    removed: bool,
    diverged: bool,
    clock: Option<ClockFault>,
    has_leader: bool,
    has_lease: bool,
    stuck: Option<(u64, u64)>,
}

fn judge(facts: Facts) -> Option<Unready> {
    let Facts { stopping, fatal, damage, removed, diverged, clock, has_leader, has_lease, stuck } =
        facts;
    let stuck = stuck.filter(|_| !has_lease);
    stopping
        .then_some(Unready::Stopping)
        .or(fatal.map(Unready::Failed))
        .or(damage.map(Unready::Damaged))
        .or(removed.then_some(Unready::Removed))
        .or((diverged && !has_lease).then_some(Unready::Diverged))
        .or(clock.map(Unready::Clock))
        .or((!has_leader).then_some(Unready::NoLeader))
        .or(stuck.map(|(applied_index, seconds)| Unready::Stuck { applied_index, seconds }))
        .or((!has_lease).then_some(Unready::CatchingUp))
}

/// Since when the node makes no progress.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<Idle>);

/// The last look at a node that has no lease.
#[derive(Debug, Default)]
struct Idle {
    since: Option<(Instant, u64)>,
}

impl Idle {
    /// The node has applied up to `applied_index`; whether it knows a leader and holds no lease.
    fn look(&mut self, now: Instant, applied_index: u64, waits: bool) {
        let same = self.since.filter(|(_, before)| *before == applied_index);
        self.since = waits.then(|| same.unwrap_or((now, applied_index)));
    }

    /// What was applied last and for how many seconds nothing has been, if that is too long.
    fn stuck(&self, now: Instant) -> Option<(u64, u64)> {
        let (since, applied_index) = self.since?;
        let idle = now.saturating_duration_since(since);
        (idle >= STUCK_AFTER).then_some((applied_index, idle.as_secs()))
    }
}

impl<M: Machine> Core<M> {
    pub(crate) fn unready(&self) -> Option<Unready> {
        let (id, known) = (self.identity.node, self.roster.known());
        let (leader, leads) = (self.leader(), self.is_leader());
        let has_lease = self.leasing.gate().usable(SystemClock.read());
        let clock = match (leads, has_lease) {
            (true, _) => self.stamping.fault(self.progress.newest_ms()),
            (false, true) => self.stamping.fault_beside(self.moment()),
            // There is nothing to compare it with.
            (false, false) => None,
        };
        let watch = self.watch.0.lock().unwrap_or_else(PoisonError::into_inner);
        judge(Facts {
            stopping: *self.stopping.borrow(),
            fatal: self.fatal.get(),
            damage: self
                .journal
                .damage
                .get()
                .and_then(|found| found.damage(self.has_other_voters()))
                .map(|damage| damage.to_string()),
            removed: known.removed.contains(&id),
            diverged: self.leasing.refused() == Some(Reason::Diverged),
            clock,
            has_leader: leader.is_some(),
            has_lease,
            stuck: watch.stuck(Instant::now()),
        })
    }

    fn leader(&self) -> Option<u64> {
        self.raft.metrics().borrow_watched().current_leader
    }
}

/// Looks every second, and says in the log when a reason begins or ends.
pub(crate) async fn watch<M: Machine>(core: Arc<Core<M>>) {
    let mut told = None;
    loop {
        sleep(READINESS_LOOK_EVERY).await;
        let waits = core.leader().is_some() && !core.leasing.gate().usable(SystemClock.read());
        let applied_index = core.progress.published();
        core.watch.0.lock().unwrap_or_else(PoisonError::into_inner).look(
            Instant::now(),
            applied_index,
            waits,
        );
        let reason = core.unready();
        let name = reason.as_ref().map(Unready::name);
        if name != told {
            match &reason {
                Some(reason) => tracing::warn!(reason = reason.name(), "not ready: {reason}"),
                None => tracing::info!("ready"),
            }
            told = name;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_several_reasons_the_gravest_is_told() {
        let full = Fatal::Disk { doing: "syncing".into(), detail: "no space".into(), full: true };
        let mut facts = Facts {
            stopping: true,
            fatal: Some(full.clone()),
            damage: Some("row 7".into()),
            removed: true,
            diverged: true,
            clock: Some(ClockFault::Astray),
            has_leader: false,
            has_lease: false,
            stuck: Some((9, 20)),
        };
        type Mend = fn(&mut Facts);
        let in_order: [(Unready, Mend); 9] = [
            (Unready::Stopping, |facts| facts.stopping = false),
            (Unready::Failed(full), |facts| facts.fatal = None),
            (Unready::Damaged("row 7".into()), |facts| facts.damage = None),
            (Unready::Removed, |facts| facts.removed = false),
            (Unready::Diverged, |facts| facts.diverged = false),
            (Unready::Clock(ClockFault::Astray), |facts| facts.clock = None),
            (Unready::NoLeader, |facts| facts.has_leader = true),
            (Unready::Stuck { applied_index: 9, seconds: 20 }, |facts| facts.stuck = None),
            (Unready::CatchingUp, |facts| facts.has_lease = true),
        ];
        for (reason, mend) in in_order {
            assert_eq!(judge(facts.clone()), Some(reason));
            mend(&mut facts);
        }
        assert_eq!(judge(facts.clone()), None);
        // A lease is proof that the node is neither stuck nor parted from the leader.
        let leased = Facts { diverged: true, stuck: Some((9, 20)), ..facts };
        assert_eq!(judge(leased), None);
    }

    #[test]
    fn every_reason_has_a_name_of_its_own_and_says_what_to_do() {
        let disk = |full| {
            Unready::Failed(Fatal::Disk { doing: "syncing".into(), detail: "no".into(), full })
        };
        let reasons = [
            Unready::Stopping,
            disk(true),
            disk(false),
            Unready::Failed(Fatal::MachinePanicked { index: 7 }),
            Unready::Damaged("row 7".into()),
            Unready::Removed,
            Unready::Diverged,
            Unready::Clock(ClockFault::Jumped { by_ms: 7_000 }),
            Unready::Clock(ClockFault::Behind { by_ms: 7_000 }),
            Unready::Clock(ClockFault::Astray),
            Unready::NoLeader,
            Unready::Stuck { applied_index: 9, seconds: 20 },
            Unready::CatchingUp,
        ];
        for (number, reason) in reasons.iter().enumerate() {
            assert_eq!(usize::from(reason.tag()), number + 1, "{reason:?}");
            assert_eq!(reason.name(), NAMES[number].1);
            assert!(reason.to_string().ends_with('.'), "{reason}");
        }
    }

    #[test]
    fn a_node_is_stuck_when_it_waits_for_a_lease_and_applies_nothing() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut idle = Idle::default();
        idle.look(at(0), 5, true);
        idle.look(at(14), 5, true);
        assert_eq!(idle.stuck(at(14)), None);
        assert_eq!(idle.stuck(at(16)), Some((5, 16)));
        // It applies something, or gets a lease.
        for (applied_index, waits) in [(6, true), (6, false)] {
            idle.look(at(17), applied_index, waits);
            assert_eq!(idle.stuck(at(18)), None, "{applied_index} {waits}");
        }
        idle.look(at(20), 6, true);
        assert_eq!(idle.stuck(at(34)), None, "counted from when it began to wait");
        assert_eq!(idle.stuck(at(35)), Some((6, 15)));
    }
}
