//! What callers do with a running node: propose, wait, read.
//!
//! Only an answer that the proposal was to be forwarded means that it was not appended; whatever
//! else goes wrong leaves its outcome unknown. Every wait has a deadline. Must not know how the
//! log or the journal is kept.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::admission::Admission;
use crate::electorate::Electorate;
use crate::error::{Fatal, ProposeError, Unavailable};
use crate::fatal::FatalCell;
use crate::forward::{Attempt, Read, Writing};
use crate::joining::Wanted;
use crate::lease::{LeaseClock, Moment, SystemClock};
use crate::leasing::Leasing;
use crate::limits::{COMMAND_MAX_BYTES, RETRY_PAUSE, RETRY_PAUSE_MAX};
use crate::peer::link::Links;
use crate::questions::Answerer;
use crate::readiness::{Unready, Watch};
use crate::roster::Roster;
use crate::runtime::spawn_blocking;
use crate::stamping::{ClockFault, Stamping};
use crate::store::Store;
use crate::store::apply::{Apply, Progress};
use crate::store::clock_record::ClockFile;
use crate::store::identity::Identity;
use crate::store::journal::{Journal, JournalShared};
use crate::store::log::LogShared;
use crate::store::scrub::Scrub;
use crate::store::snapshot::Snapshots;
use crate::types::TypeConfig;
use crate::{Machine, Status, Unproposable};

/// What a running node consists of.
pub(crate) struct Core<M: Machine> {
    pub raft: Raft<TypeConfig, Apply<M>>,
    pub store: Arc<Store>,
    pub log: Arc<LogShared>,
    pub journal: Arc<JournalShared>,
    pub snapshots: Arc<Snapshots>,
    pub progress: Arc<Progress>,
    pub roster: Arc<Roster>,
    pub electorate: Arc<Electorate>,
    pub scrub: Scrub,
    pub fatal: FatalCell,
    pub identity: Identity,
    /// The newest level of rules that this build of the machine knows.
    pub newest_level: u32,
    /// What this node wants to be to its peers.
    pub wanted: Wanted,
    /// Until a shutdown begins or the node can not go on.
    pub serving: AtomicBool,
    pub ready: Arc<watch::Sender<bool>>,
    pub stopping: watch::Sender<bool>,
    pub admission: Admission,
    pub leasing: Leasing,
    pub stamping: Arc<Stamping>,
    /// None where the node has no peers.
    pub links: Option<Links>,
    /// What answers other nodes' questions, once there is something.
    pub answerer: Mutex<Option<Arc<dyn Answerer>>>,
    /// One change of the membership at a time.
    pub changes: tokio::sync::Mutex<()>,
    pub clock_file: ClockFile,
    pub watch: Watch,
    pub data_dir: PathBuf,
    /// While the other members fill this node again.
    pub renewing: watch::Sender<bool>,
    /// Members whose logs have lost entries that they had acknowledged to this leader.
    pub set_back: watch::Sender<BTreeSet<u64>>,
}

impl<M: Machine> Core<M> {
    pub(crate) fn check_running(&self) -> Result<(), Unavailable> {
        if let Some(fatal) = self.fatal.get() {
            return Err(Unavailable::Fatal(fatal));
        }
        if *self.stopping.borrow() {
            return Err(Unavailable::ShuttingDown);
        }
        Ok(())
    }

    /// The cluster's time, as far as this node can tell.
    pub(crate) fn moment(&self) -> Moment {
        self.leasing.gate().moment(SystemClock.read())
    }

    /// Writes down what a restart must not forget of the clocks.
    pub(crate) async fn note_clock(self: &Arc<Self>) {
        let record = self.stamping.record(self.moment());
        let core = self.clone();
        let written = spawn_blocking(move || core.clock_file.write(&record)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "what the clocks say was not written down");
        }
    }

    /// Whether a client's write may be appended here: not on a store that is known to be damaged.
    pub(crate) fn check_writable(&self) -> Result<(), Unavailable> {
        self.check_running()?;
        self.journal.damage.get().map_or(Ok(()), |found| Err(Unavailable::Fatal(found.fatal)))
    }

    pub(crate) fn is_renewing(&self) -> bool {
        *self.renewing.borrow()
    }

    pub(crate) fn has_other_voters(&self) -> bool {
        !self.voters().is_empty()
    }
}

/// A committed command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed<R> {
    /// Its place in the log.
    pub index: u64,
    /// What the machine answered.
    pub reply: R,
    /// Whether it was proposed before with an unknown outcome: then `reply` may be to the second
    /// time that it was applied.
    pub again: bool,
}

/// A way to a running node. Clones share it; they do not keep it running.
pub struct Handle<M: Machine> {
    core: Arc<Core<M>>,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Handle { core: self.core.clone() }
    }
}

impl<M: Machine> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("node", &self.core.identity.node).finish_non_exhaustive()
    }
}

impl<M: Machine> Handle<M> {
    pub(crate) fn new(core: Arc<Core<M>>) -> Handle<M> {
        Handle { core }
    }

    pub(crate) fn core(&self) -> &Arc<Core<M>> {
        &self.core
    }

    /// Appends `command` to the log and answers when it is committed, applied and published here.
    /// Any node takes it; the leader appends it.
    pub async fn propose(
        &self,
        command: M::Command,
        deadline: Duration,
    ) -> Result<Committed<M::Reply>, ProposeError> {
        self.propose_as(&command, false, deadline).await
    }

    /// The same, but answers only when no node of the cluster can answer from a view before it any
    /// more: for revokes. Where a leader fails meanwhile the command is appended again, so it must
    /// be one that may be applied twice. One that changes nothing any more waits like the first.
    pub async fn propose_everywhere(
        &self,
        command: M::Command,
        deadline: Duration,
    ) -> Result<Committed<M::Reply>, ProposeError> {
        self.propose_as(&command, true, deadline).await
    }

    async fn propose_as(
        &self,
        command: &M::Command,
        everywhere: bool,
        deadline: Duration,
    ) -> Result<Committed<M::Reply>, ProposeError> {
        let (needs, level) = (M::level_of(command), self.core.roster.known().level);
        if needs > level {
            return Err(ProposeError::AboveLevel { needs, level });
        }
        let bytes: Arc<[u8]> = M::encode_command(command).into();
        check_command::<M>(&bytes)?;
        let mut admitted = Some(self.core.admission.admit(bytes.len())?);
        let writing = Writing { bytes, everywhere, until: Instant::now() + deadline };
        let mut appended = false;
        let mut first = None;
        let mut again = false;
        let mut retry = Retry::new(&self.core);
        loop {
            self.core.check_writable().map_err(|unavailable| match unavailable {
                _ if appended => ProposeError::OutcomeUnknown,
                Unavailable::Fatal(fatal) => ProposeError::Fatal(fatal),
                _ => ProposeError::ShuttingDown,
            })?;
            match self.core.write(&writing, &mut admitted).await {
                Attempt::Committed { index, reply } => {
                    let applied = self.wait_until(index, writing.until).await;
                    applied.map_err(|_| ProposeError::OutcomeUnknown)?;
                    return Ok(Committed { index, reply: first.unwrap_or(reply), again });
                }
                Attempt::Unknown if !everywhere => return Err(ProposeError::OutcomeUnknown),
                Attempt::Overloaded if !appended => return Err(ProposeError::Overloaded),
                // It may be applied twice, and so it is proposed again; what it came to first is
                // what it came to.
                Attempt::ReignOver(reply) => {
                    appended = true;
                    first.get_or_insert(reply);
                }
                // Where there are other voters, one with a better clock will lead; alone, a node
                // agrees with itself as soon as it knows that it leads.
                Attempt::Clock(fault)
                    if !appended
                        && fault != ClockFault::Astray
                        && self.core.roster.known().votes_alone() =>
                {
                    return Err(ProposeError::Clock(fault));
                }
                Attempt::Unknown => {
                    appended = true;
                    again |= first.is_none();
                }
                Attempt::NotAppended | Attempt::Overloaded | Attempt::Clock(_) => {}
            }
            if !retry.wait(writing.until).await {
                return Err(match appended {
                    true => ProposeError::OutcomeUnknown,
                    false => ProposeError::NoQuorum,
                });
            }
        }
    }

    /// An index that reflects everything committed before the call, applied here when it returns.
    pub async fn read_index(&self, deadline: Duration) -> Result<u64, Unavailable> {
        let until = Instant::now() + deadline;
        let mut retry = Retry::new(&self.core);
        loop {
            self.core.check_running()?;
            match self.core.read(until).await {
                Read::Confirmed { index, .. } => {
                    self.wait_until(index, until).await?;
                    return Ok(index);
                }
                Read::NotLeader if retry.wait(until).await => {}
                Read::NotLeader | Read::NoQuorum => return Err(Unavailable::NoQuorum),
                Read::Failed(unavailable) => return Err(unavailable),
            }
        }
    }

    /// Waits until `index` is applied and published here. [`Unavailable::Beyond`] only if the
    /// leader's log, too, ends before it.
    pub async fn wait_applied(&self, index: u64, deadline: Duration) -> Result<(), Unavailable> {
        if self.applied_index() >= index {
            return Ok(());
        }
        let until = Instant::now() + deadline;
        if index > self.last_log_index() {
            let last = match self.core.leader_elsewhere() {
                Some(_) => match self.core.read(until).await {
                    Read::Confirmed { last, .. } => Some(last),
                    _ => None,
                },
                None => Some(self.last_log_index()),
            };
            if let Some(last) = last.filter(|last| index > *last) {
                return Err(Unavailable::Beyond { last });
            }
        }
        self.wait_until(index, until).await
    }

    async fn wait_until(&self, index: u64, until: Instant) -> Result<(), Unavailable> {
        if self.applied_index() >= index {
            return Ok(());
        }
        let mut applied = self.applied_watch();
        let mut stopping = self.core.stopping.subscribe();
        let result = tokio::select! {
            biased;
            result = timeout_at(until, applied.wait_for(|applied| *applied >= index)) => {
                result.map(|_| ()).map_err(|_| Unavailable::Timeout)
            }
            fatal = self.core.fatal.wait() => Err(Unavailable::Fatal(fatal)),
            _ = stopping.wait_for(|stopping| *stopping) => Err(Unavailable::ShuttingDown),
        };
        result
    }

    /// The last index that is applied and published here.
    pub fn applied_index(&self) -> u64 {
        self.core.progress.published()
    }

    /// The last index of the log, committed or not.
    pub fn last_log_index(&self) -> u64 {
        self.core.log.last_index()
    }

    /// Whether what this node shows is fit to be served: it holds a lease, so no revoke that it
    /// has not applied can have been answered. Load the view after this, never before. False while
    /// the leader cannot be reached for longer than a lease, and once a shutdown began or the node
    /// can not go on. Two clock readings and a few atomic loads.
    pub fn may_serve(&self) -> bool {
        self.core.serving.load(Ordering::Acquire)
            && self.core.leasing.gate().usable(SystemClock.read())
    }

    /// The cluster's time, if this node may serve: what [`Handle::may_serve`] asks, and by when
    /// expiry is to be judged. What expires no later than `surely_ms` is expired at every node from
    /// now on, and what lasts longer than `at_most_ms` is expired at none yet.
    pub fn serves_at(&self) -> Option<Moment> {
        let now = SystemClock.read();
        let gate = self.core.leasing.gate();
        // Bounds first: they hold for as long as the lease that they came with.
        let moment = gate.moment(now);
        (self.core.serving.load(Ordering::Acquire) && gate.usable(now)).then_some(moment)
    }

    /// Whether this node leads, as far as it knows, and may serve: whoever works for the whole
    /// cluster should be this one. Two nodes may both believe it, for no longer than a lease.
    pub fn leads(&self) -> bool {
        self.core.is_leader() && self.may_serve()
    }

    /// Whether `node` has a vote, as far as this node has applied.
    pub fn is_voter(&self, node: u64) -> bool {
        self.core.roster.known().is_voter(node)
    }

    /// Resolves when [`Handle::may_serve`] first becomes true; never, if the node can not go on
    /// before that, so wait for [`crate::Node::fatal`] beside it.
    pub async fn ready(&self) {
        // The sender lives in the core, so this cannot fail.
        let _ = self.core.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// An operator says that this node's wall clock is right as it is, though it has jumped.
    pub async fn confirm_clock(&self) {
        self.core.stamping.confirm(self.core.progress.newest_ms());
        self.core.note_clock().await;
    }

    /// Why this node is not ready, the gravest reason first; none if it verifies and takes writes.
    pub fn unready(&self) -> Option<Unready> {
        self.core.unready()
    }

    /// The journal.
    pub fn journal(&self) -> Journal {
        Journal::new(self.core.journal.clone(), self.core.progress.clone())
    }

    /// What the node tells about itself.
    pub fn status(&self) -> Status {
        let core = &self.core;
        let metrics = core.raft.metrics().borrow_watched().clone();
        let newest = core.snapshots.newest();
        Status {
            cluster_id: core.identity.cluster,
            node_id: core.identity.node,
            role: metrics.state.into(),
            term: metrics.current_term,
            leader: metrics.current_leader,
            last_log_index: self.last_log_index(),
            purged_index: core.log.purged().map(|id| id.index()),
            applied_index: self.applied_index(),
            snapshot_index: core.snapshots.last_index(),
            snapshot_bytes: newest.map_or(0, |(_, bytes)| bytes),
            store_bytes: core.store.size_bytes(),
            lease_left_ms: core.leasing.gate().left_ns(SystemClock.read()) / 1_000_000,
            lease_refused: core.leasing.refused(),
            level: core.roster.known().level,
            newest_level: core.newest_level,
            scrub: core.scrub.report(),
            removed: core.roster.known().removed.iter().copied().collect(),
            damage: core.journal.damage.get().and_then(|f| f.damage(core.has_other_voters())),
            renewing: core.is_renewing(),
            set_back: core.set_back.borrow().clone(),
        }
    }

    /// The applied index, as it grows.
    pub fn applied_watch(&self) -> watch::Receiver<u64> {
        self.core.progress.subscribe()
    }

    /// Writes a snapshot that contains at least what is applied now.
    pub async fn snapshot_now(&self) -> Result<(), Unavailable> {
        let target = self.applied_index();
        let mut metrics = self.core.raft.metrics();
        loop {
            self.core.check_running()?;
            let before = self.core.snapshots.last_index();
            if before.is_some_and(|index| index >= target) {
                return Ok(());
            }
            let triggered = self.core.raft.trigger().snapshot().await;
            if let Err(e) = triggered {
                self.core.check_running()?;
                return Err(Unavailable::Fatal(Fatal::Consensus { detail: e.to_string() }));
            }
            // One that was already being written may turn out too old: then once more.
            while self.core.snapshots.last_index() == before {
                if metrics.changed().await.is_err() {
                    self.core.check_running()?;
                    return Err(Unavailable::ShuttingDown);
                }
                self.core.check_running()?;
            }
        }
    }
}

/// Whether a command, as encoded, may be appended: what is in the log must be readable by every node
/// for ever.
pub(crate) fn check_command<M: Machine>(bytes: &[u8]) -> Result<(), ProposeError> {
    if bytes.len() > COMMAND_MAX_BYTES {
        let limit = COMMAND_MAX_BYTES;
        return Err(ProposeError::TooLarge { bytes: bytes.len(), limit });
    }
    M::check_command(bytes).map_err(|why| match why {
        Unproposable::TooLarge { limit } => ProposeError::CountsTooMuch { limit },
        Unproposable::Unreadable(detail) => ProposeError::Unreadable { detail },
    })
}

/// Pauses between tries that found no leader: longer each time, but over at once when there is a
/// new one.
struct Retry<'a, M: Machine> {
    core: &'a Core<M>,
    pause: Duration,
}

impl<'a, M: Machine> Retry<'a, M> {
    fn new(core: &'a Core<M>) -> Self {
        Retry { core, pause: RETRY_PAUSE }
    }

    /// False if there is no time left for another try.
    async fn wait(&mut self, until: Instant) -> bool {
        let again = Instant::now() + self.pause;
        if again >= until {
            return false;
        }
        self.pause = (self.pause * 2).min(RETRY_PAUSE_MAX);
        let mut metrics = self.core.raft.server_metrics();
        let leader = metrics.borrow_and_update().current_leader;
        let changed = async {
            while metrics.borrow_and_update().current_leader == leader {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        // A read or a write that failed at once must not spin.
        tokio::time::sleep(RETRY_PAUSE).await;
        // Past its end is another try as well.
        let _ = timeout_at(again, changed).await;
        true
    }
}
