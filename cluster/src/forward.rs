//! One attempt at a write or a read: here if this node leads, else at the leader, one hop away.
//!
//! Only "it was not appended" lets a caller try again without thinking; whatever else goes wrong
//! leaves the outcome unknown. Must not retry: that is for whoever has the deadline.

use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use tokio::time::{Instant, timeout_at};

use crate::admission::{Admitted, InFlight};
use crate::error::{Fatal, Unavailable};
use crate::handle::Core;
use crate::lease::Stamper;
use crate::leasing::Acked;
use crate::limits::FORWARD_WAIT_MAX;
use crate::peer::link::{CallError, Lane, Target};
use crate::peer::wire::{Message, Propose, ProposeAnswer, ReadIndex, ReadIndexAnswer, Rpc};
use crate::stamping::ClockFault;
use crate::types::{Command, Proposed};
use crate::{Machine, meters};

/// What one attempt at a write came to.
pub(crate) enum Attempt<R> {
    /// It took effect at `index`, and this is what it came to.
    Committed { index: u64, reply: R },
    /// It was not appended and never will be.
    NotAppended,
    /// Nor was it here, for the leader has too many in flight.
    Overloaded,
    /// Nor was it here, for the leader's wall clock is not to be trusted.
    Clock(ClockFault),
    /// It may take effect or not.
    Unknown,
    /// It took effect with this reply, but must be proposed again to be sure that every node sees
    /// it.
    ReignOver(R),
}

/// What one attempt at a linearizable read came to.
pub(crate) enum Read {
    /// Everything acknowledged before is at `index` or below; the leader's log ends at `last`.
    Confirmed {
        index: u64,
        last: u64,
    },
    NotLeader,
    NoQuorum,
    Failed(Unavailable),
}

/// A command on its way.
#[derive(Clone)]
pub(crate) struct Writing {
    pub bytes: Arc<[u8]>,
    /// Whether it is answered only once no node can answer from a view before it.
    pub everywhere: bool,
    pub until: Instant,
}

impl<M: Machine> Core<M> {
    /// The leader, if it is known and another node.
    pub(crate) fn leader_elsewhere(&self) -> Option<Target> {
        let leader = self.raft.metrics().borrow_watched().current_leader?;
        if leader == self.identity.node {
            return None;
        }
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let member = metrics.membership_config.membership().get_node(&leader)?;
        Some(Target::member(leader, member))
    }

    /// Proposes where the leader is.
    pub(crate) async fn write(
        &self,
        writing: &Writing,
        admitted: &mut Option<Admitted>,
    ) -> Attempt<M::Reply> {
        let Some(leader) = self.leader_elsewhere() else {
            return self.append(writing, admitted).await;
        };
        if !writing.everywhere {
            return self.forward(&leader, writing).await;
        }
        // A leader that is gone need not be waited for: what may be applied twice is proposed again.
        tokio::select! {
            biased;
            attempt = self.forward(&leader, writing) => attempt,
            () = self.leader_changes(leader.node) => Attempt::Unknown,
        }
    }

    /// Resolves when another node than `leader` leads.
    async fn leader_changes(&self, leader: u64) {
        let mut metrics = self.raft.server_metrics();
        loop {
            let current = metrics.borrow_and_update().current_leader;
            if current.is_some_and(|current| current != leader) || metrics.changed().await.is_err()
            {
                return;
            }
        }
    }

    /// Proposes here; also for a peer that forwards.
    pub(crate) async fn append(
        &self,
        Writing { bytes, everywhere, until }: &Writing,
        admitted: &mut Option<Admitted>,
    ) -> Attempt<M::Reply> {
        let at_ms = match self.stamping.stamp(self.progress.newest_ms()) {
            Ok(at_ms) => at_ms,
            // A node that does not lead has no say in this.
            Err(_) if !self.is_leader() => return Attempt::NotAppended,
            Err(fault) => return Attempt::Clock(fault),
        };
        let command = Command { at_ms, everywhere: *everywhere, bytes: bytes.clone() };
        let raft = self.raft.clone();
        let write = async move { raft.client_write(Proposed::Command(command)).await };
        let mut attempt = InFlight::new(write, admitted.take());
        let response = match timeout_at(*until, &mut attempt).await {
            Ok(Ok(response)) => response,
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                *admitted = attempt.give_back();
                return Attempt::NotAppended;
            }
            Ok(Err(_)) | Err(_) => return Attempt::Unknown,
        };
        let index = response.log_id.index();
        let reply = response.data.0.and_then(|r| r.downcast::<M::Reply>().ok());
        // A command is always answered by its machine.
        let Some(reply) = reply else { return Attempt::Unknown };
        if *everywhere {
            let leader = response.log_id.committed_leader_id();
            let stamper = Stamper { term: leader.term, node: leader.node_id };
            let applied = Instant::now();
            match timeout_at(*until, self.leasing.acked(stamper, index)).await {
                Ok(Acked::Everywhere) => meters::revoke_waited(applied.elapsed()),
                Ok(Acked::ReignOver) => {
                    *admitted = attempt.give_back();
                    return Attempt::ReignOver(*reply);
                }
                Err(_) => return Attempt::Unknown,
            }
        }
        Attempt::Committed { index, reply: *reply }
    }

    async fn forward(&self, leader: &Target, writing: &Writing) -> Attempt<M::Reply> {
        let Writing { bytes, everywhere, until } = writing;
        let message =
            Propose { everywhere: *everywhere, wait_ms: wait_ms(*until), command: bytes.to_vec() };
        match self.ask(leader, Rpc::Propose, &message, *until).await {
            Ok(ProposeAnswer::Committed { index, reply }) => {
                replied::<M>(leader, &reply, |reply| Attempt::Committed { index, reply })
            }
            Ok(ProposeAnswer::ReignOver { reply }) => {
                replied::<M>(leader, &reply, Attempt::ReignOver)
            }
            Ok(ProposeAnswer::NotAppended) | Err(CallError::NotSent(_)) => Attempt::NotAppended,
            Ok(ProposeAnswer::Overloaded) => Attempt::Overloaded,
            Ok(ProposeAnswer::Unknown) => Attempt::Unknown,
            Err(error) => {
                tracing::debug!(%error, node = leader.node, "a write has no answer");
                Attempt::Unknown
            }
        }
    }

    /// Asks the leader how far the log is committed.
    pub(crate) async fn read(&self, until: Instant) -> Read {
        let Some(leader) = self.leader_elsewhere() else {
            return self.read_here(until).await;
        };
        let message = ReadIndex { wait_ms: wait_ms(until) };
        match self.ask(&leader, Rpc::ReadIndex, &message, until).await {
            Ok(ReadIndexAnswer::Confirmed { index, last }) => Read::Confirmed { index, last },
            Ok(ReadIndexAnswer::NotLeader) => Read::NotLeader,
            Ok(ReadIndexAnswer::NoQuorum) => Read::NoQuorum,
            // A read changes nothing: it can always be asked again.
            Err(error) => {
                tracing::debug!(%error, node = leader.node, "a read has no answer");
                Read::NotLeader
            }
        }
    }

    /// Confirms here that this node leads; also for a peer that asks.
    pub(crate) async fn read_here(&self, until: Instant) -> Read {
        let read = self.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match timeout_at(until, read).await {
            Err(_) => Read::Failed(Unavailable::Timeout),
            Ok(Ok(confirmed)) => {
                let index = confirmed.read_log_id().index();
                Read::Confirmed { index, last: self.log.last_index().max(index) }
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_)))) => {
                Read::NotLeader
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => {
                Read::NoQuorum
            }
            Ok(Err(RaftError::Fatal(e))) => {
                let fatal = self.fatal.get();
                let engine = || Fatal::Consensus { detail: e.to_string() };
                Read::Failed(Unavailable::Fatal(fatal.unwrap_or_else(engine)))
            }
        }
    }

    /// Asks a peer.
    pub(crate) async fn ask<Q: Message, A: Message>(
        &self,
        target: &Target,
        rpc: Rpc,
        question: &Q,
        until: Instant,
    ) -> Result<A, CallError> {
        let Some(links) = &self.links else {
            return Err(CallError::NotSent("this node has no peers".into()));
        };
        let message = question.to_wire().map_err(|e| CallError::NotSent(e.to_string()))?;
        let deadline = until.saturating_duration_since(Instant::now());
        let answer = links.call(target, Lane::Calls, rpc, message, deadline).await?;
        A::from_wire(&answer).map_err(|e| CallError::Unanswered(e.to_string()))
    }
}

/// What the leader answered, with the reply that it sent along.
fn replied<M: Machine>(
    leader: &Target,
    reply: &[u8],
    then: impl FnOnce(M::Reply) -> Attempt<M::Reply>,
) -> Attempt<M::Reply> {
    match M::decode_reply(reply) {
        Ok(reply) => then(reply),
        Err(error) => {
            tracing::error!(%error, node = leader.node, "a reply does not decode");
            Attempt::Unknown
        }
    }
}

pub(crate) fn wait_ms(until: Instant) -> u32 {
    let wait = until.saturating_duration_since(Instant::now()).min(FORWARD_WAIT_MAX);
    u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
}

/// Until when to work for a peer that waits `wait_ms`.
pub(crate) fn until(wait_ms: u32) -> Instant {
    Instant::now() + Duration::from_millis(wait_ms.into()).min(FORWARD_WAIT_MAX)
}
