//! What callers do with a running node: propose, wait, read.
//!
//! Only an answer that the proposal was to be forwarded means that it was not appended; whatever
//! else goes wrong leaves its outcome unknown. Every wait has a deadline. Must not know how the
//! log or the journal is kept.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use openraft::{Raft, ReadPolicy, ServerState};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::admission::{Admission, InFlight};
use crate::error::{Fatal, ProposeError, Unavailable};
use crate::fatal::FatalCell;
use crate::limits::{COMMAND_MAX_BYTES, RETRY_PAUSE};
use crate::store::Store;
use crate::store::apply::{Apply, Progress};
use crate::store::identity::Identity;
use crate::store::journal::{Journal, JournalShared};
use crate::store::log::LogShared;
use crate::store::scrub::Scrub;
use crate::store::snapshot::Snapshots;
use crate::types::{Proposed, TypeConfig};
use crate::{Machine, Role, Status};

/// What a running node consists of.
pub(crate) struct Core<M: Machine> {
    pub raft: Raft<TypeConfig, Apply<M>>,
    pub store: Arc<Store>,
    pub log: Arc<LogShared>,
    pub journal: Arc<JournalShared>,
    pub snapshots: Arc<Snapshots>,
    pub progress: Arc<Progress>,
    pub scrub: Scrub,
    pub fatal: FatalCell,
    pub identity: Identity,
    pub serving: AtomicBool,
    pub ready: watch::Sender<bool>,
    pub stopping: watch::Sender<bool>,
    pub admission: Admission,
}

/// A committed command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed<R> {
    /// Its place in the log.
    pub index: u64,
    /// What the machine answered.
    pub reply: R,
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

    /// Appends `command` to the log and answers when it is committed, applied and published here.
    pub async fn propose(
        &self,
        command: M::Command,
        deadline: Duration,
    ) -> Result<Committed<M::Reply>, ProposeError> {
        let bytes: Arc<[u8]> = M::encode_command(&command).into();
        drop(command);
        if bytes.len() > COMMAND_MAX_BYTES {
            let limit = COMMAND_MAX_BYTES;
            return Err(ProposeError::TooLarge { bytes: bytes.len(), limit });
        }
        let mut admitted = Some(self.core.admission.admit(bytes.len())?);
        let until = Instant::now() + deadline;
        loop {
            if let Some(fatal) = self.core.fatal.get() {
                return Err(ProposeError::Fatal(fatal));
            }
            if *self.core.stopping.borrow() {
                return Err(ProposeError::ShuttingDown);
            }
            let proposed = Proposed { at_ms: wall_clock_ms(), bytes: bytes.clone() };
            let raft = self.core.raft.clone();
            let write = async move { raft.client_write(proposed).await };
            let mut attempt = InFlight::new(write, admitted.take());
            match timeout_at(until, &mut attempt).await {
                Ok(Ok(response)) => {
                    let reply = response.data.0.and_then(|r| r.downcast::<M::Reply>().ok());
                    // A command is always answered by its machine.
                    let reply = *reply.ok_or(ProposeError::OutcomeUnknown)?;
                    return Ok(Committed { index: response.log_id.index(), reply });
                }
                Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                    admitted = attempt.give_back();
                    let again = Instant::now() + RETRY_PAUSE;
                    if again >= until {
                        return Err(ProposeError::NoQuorum);
                    }
                    sleep_until(again).await;
                }
                Ok(Err(_)) | Err(_) => return Err(ProposeError::OutcomeUnknown),
            }
        }
    }

    /// An index that reflects everything committed before the call, applied here when it returns.
    pub async fn read_index(&self, deadline: Duration) -> Result<u64, Unavailable> {
        let until = Instant::now() + deadline;
        loop {
            self.check_running()?;
            let read = self.core.raft.get_read_linearizer(ReadPolicy::ReadIndex);
            match timeout_at(until, read).await {
                Err(_) => return Err(Unavailable::Timeout),
                Ok(Ok(linearizer)) => {
                    let index = linearizer.read_log_id().index();
                    self.wait_until(index, until).await?;
                    return Ok(index);
                }
                Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_)))) => {
                    let again = Instant::now() + RETRY_PAUSE;
                    if again >= until {
                        return Err(Unavailable::NoQuorum);
                    }
                    sleep_until(again).await;
                }
                Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => {
                    return Err(Unavailable::NoQuorum);
                }
                Ok(Err(RaftError::Fatal(e))) => {
                    self.check_running()?;
                    return Err(Unavailable::Fatal(Fatal::Consensus { detail: e.to_string() }));
                }
            }
        }
    }

    /// Waits until `index` is applied and published here.
    pub async fn wait_applied(&self, index: u64, deadline: Duration) -> Result<(), Unavailable> {
        if self.applied_index() >= index {
            return Ok(());
        }
        let last = self.last_log_index();
        if index > last {
            return Err(Unavailable::Beyond { last });
        }
        self.wait_until(index, Instant::now() + deadline).await
    }

    async fn wait_until(&self, index: u64, until: Instant) -> Result<(), Unavailable> {
        let mut applied = self.applied_watch();
        let mut stopping = self.core.stopping.subscribe();
        let result = tokio::select! {
            result = timeout_at(until, applied.wait_for(|applied| *applied >= index)) => {
                result.map(|_| ()).map_err(|_| Unavailable::Timeout)
            }
            fatal = self.core.fatal.wait() => Err(Unavailable::Fatal(fatal)),
            _ = stopping.wait_for(|stopping| *stopping) => Err(Unavailable::ShuttingDown),
        };
        result
    }

    fn check_running(&self) -> Result<(), Unavailable> {
        if let Some(fatal) = self.core.fatal.get() {
            return Err(Unavailable::Fatal(fatal));
        }
        if *self.core.stopping.borrow() {
            return Err(Unavailable::ShuttingDown);
        }
        Ok(())
    }

    /// The last index that is applied and published here.
    pub fn applied_index(&self) -> u64 {
        self.core.progress.published()
    }

    /// The last index of the log, committed or not.
    pub fn last_log_index(&self) -> u64 {
        self.core.log.last_index()
    }

    /// Whether what this node shows is fit to be served: everything committed before its start is
    /// applied again, and so is this leader's own first entry. False again once a shutdown began
    /// or the node can not go on. One atomic load.
    pub fn may_serve(&self) -> bool {
        self.core.serving.load(Ordering::Acquire)
    }

    /// Resolves when [`Handle::may_serve`] first becomes true; never, if the node can not go on
    /// before that, so wait for [`crate::Node::fatal`] beside it.
    pub async fn ready(&self) {
        // The sender lives in the core, so this cannot fail.
        let _ = self.core.ready.subscribe().wait_for(|ready| *ready).await;
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
            role: match metrics.state {
                ServerState::Learner => Role::Learner,
                ServerState::Follower => Role::Follower,
                ServerState::Candidate => Role::Candidate,
                ServerState::Leader => Role::Leader,
                ServerState::Shutdown => Role::Stopped,
            },
            term: metrics.current_term,
            leader: metrics.current_leader,
            last_log_index: self.last_log_index(),
            purged_index: core.log.purged().map(|id| id.index()),
            applied_index: self.applied_index(),
            snapshot_index: core.snapshots.last_index(),
            snapshot_bytes: newest.map_or(0, |(_, bytes)| bytes),
            store_bytes: core.store.size_bytes(),
            scrub: core.scrub.report(),
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
            self.check_running()?;
            let before = self.core.snapshots.last_index();
            if before.is_some_and(|index| index >= target) {
                return Ok(());
            }
            let triggered = self.core.raft.trigger().snapshot().await;
            if let Err(e) = triggered {
                self.check_running()?;
                return Err(Unavailable::Fatal(Fatal::Consensus { detail: e.to_string() }));
            }
            // One that was already being written may turn out too old: then once more.
            while self.core.snapshots.last_index() == before {
                if metrics.changed().await.is_err() {
                    self.check_running()?;
                    return Err(Unavailable::ShuttingDown);
                }
                self.check_running()?;
            }
        }
    }
}

/// The leader's wall clock.
fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
