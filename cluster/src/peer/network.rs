//! The consensus engine's way to its peers.
//!
//! A peer that could not be asked is reported unreachable, so that the engine backs off; one that
//! may have been asked and did not answer is reported as a timeout or a network error, so that the
//! engine asks again at once. A node without peers reaches nobody, pre-votes included: the
//! engine's default would count a peer that cannot be asked as one that grants. Must not know what
//! the entries mean.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{RPCOption, RPCTypes};
use openraft::raft::{TransferLeaderError, TransferLeaderResponse};
use openraft::{RaftNetworkFactory, RaftNetworkV2};

use super::link::{CallError, Lane, Links, Target};
use super::rights::Standing;
use super::snapshot;
use super::wire::{Message, Rpc};
use super::wire_raft::{
    Append, AppendAnswer, AskVote, SnapshotAnswer, SnapshotHead, Transfer, TransferAnswer,
    VoteAnswer,
};
use crate::electorate::{Electorate, plausible};
use crate::limits::{APPEND_ANSWER_MAX, SNAPSHOT_TRANSFER_MAX};
use crate::types::{Member, Snapshot, SnapshotData, TypeConfig, Vote};

/// Makes ways to peers.
pub(crate) struct Network {
    pub own: u64,
    /// None where the node has no peers.
    pub links: Option<Links>,
    pub electorate: Arc<Electorate>,
}

impl Network {
    fn to(&self, node: u64, member: &Member, lane: Lane) -> Peer {
        let target = Target::member(node, member);
        let (links, electorate) = (self.links.clone(), self.electorate.clone());
        Peer { own: self.own, links, electorate, target, lane }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Member) -> Peer {
        self.to(target, node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> Peer {
        self.to(target, node, Lane::Pulse)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Member) -> Peer {
        self.to(target, node, Lane::Bulk)
    }
}

/// A way to one peer.
pub(crate) struct Peer {
    own: u64,
    links: Option<Links>,
    electorate: Arc<Electorate>,
    target: Target,
    lane: Lane,
}

impl Peer {
    async fn ask<Q: Message, A: Message>(
        &self,
        lane: Lane,
        rpc: Rpc,
        question: &Q,
        deadline: Duration,
    ) -> Result<A, CallError> {
        let Some(links) = &self.links else {
            return Err(CallError::NotSent("this node has no peers".into()));
        };
        let message = question.to_wire().map_err(|e| CallError::NotSent(e.to_string()))?;
        let answer = links.call(&self.target, lane, rpc, message, deadline).await?;
        A::from_wire(&answer).map_err(|e| CallError::Unanswered(e.to_string()))
    }

    /// Whether the engine may hear of the vote `said` in an answer to a message of the term `sent`: a
    /// leader that hears of a higher one steps down. A member without a vote has no say in that, and
    /// a term that nobody can have reached is believed of none.
    fn heed(&self, sent: u64, said: &Vote) -> Result<(), CallError> {
        let said = said.leader_id().term;
        if said <= sent {
            return Ok(());
        }
        let node = self.target.node;
        if self.electorate.has_vote(node) && plausible(Standing::Voter, sent, said) {
            return Ok(());
        }
        tracing::warn!(node, term = said, "an answer with a higher term is not believed");
        Err(CallError::Unanswered("a term that it cannot speak of".into()))
    }

    fn error(&self, action: RPCTypes, timeout: Duration, e: &CallError) -> RPCError<TypeConfig> {
        let said = || format!("node {}: {e}", self.target.node);
        match e {
            CallError::NotSent(_) => RPCError::Unreachable(Unreachable::from_string(said())),
            CallError::Unanswered(_) => RPCError::Network(NetworkError::from_string(said())),
            CallError::TimedOut => {
                let (id, target) = (self.own, self.target.node);
                RPCError::Timeout(Timeout { action, id, target, timeout })
            }
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: Append,
        option: RPCOption,
    ) -> Result<AppendAnswer, RPCError<TypeConfig>> {
        // Storing entries may take longer than a heartbeat; a probe notices a dead connection.
        let deadline = match self.lane {
            Lane::Pulse => option.soft_ttl(),
            Lane::Log | Lane::Bulk | Lane::Calls => APPEND_ANSWER_MAX,
        };
        let sent = rpc.vote.leader_id().term;
        let answer: Result<AppendAnswer, _> =
            self.ask(self.lane, Rpc::Append, &rpc, deadline).await;
        let answer = answer.and_then(|answer| {
            if let AppendAnswer::HigherVote(vote) = &answer {
                self.heed(sent, vote)?;
            }
            Ok(answer)
        });
        answer.map_err(|e| self.error(RPCTypes::AppendEntries, deadline, &e))
    }

    async fn vote(
        &mut self,
        rpc: AskVote,
        option: RPCOption,
    ) -> Result<VoteAnswer, RPCError<TypeConfig>> {
        let deadline = option.soft_ttl();
        let sent = rpc.vote.leader_id().term;
        let answer: Result<VoteAnswer, _> = self.ask(Lane::Pulse, Rpc::Vote, &rpc, deadline).await;
        let answer = answer.and_then(|answer| self.heed(sent, &answer.vote).map(|()| answer));
        answer.map_err(|e| self.error(RPCTypes::Vote, deadline, &e))
    }

    async fn pre_vote(
        &mut self,
        rpc: AskVote,
        option: RPCOption,
    ) -> Result<VoteAnswer, RPCError<TypeConfig>> {
        let deadline = option.soft_ttl();
        let sent = rpc.vote.leader_id().term;
        let answer: Result<VoteAnswer, _> =
            self.ask(Lane::Pulse, Rpc::PreVote, &rpc, deadline).await;
        let answer = answer.and_then(|answer| self.heed(sent, &answer.vote).map(|()| answer));
        answer.map_err(|e| self.error(RPCTypes::Vote, deadline, &e))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotAnswer, StreamingError<TypeConfig>> {
        let unreachable = |why: String| StreamingError::Unreachable(Unreachable::from_string(why));
        let Some(links) = &self.links else {
            return Err(unreachable("this node has no peers".into()));
        };
        let sent = vote.leader_id().term;
        let head = SnapshotHead { vote, meta: snapshot.meta };
        let body = snapshot::outgoing(&head, snapshot.snapshot.file)
            .map_err(|e| StreamingError::Network(NetworkError::new(&e)))?;
        let sending = links.call_streaming(
            &self.target,
            Lane::Bulk,
            Rpc::Snapshot,
            body,
            SNAPSHOT_TRANSFER_MAX,
        );
        let answer = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = sending => answer,
        };
        let answer = answer.map_err(|e| unreachable(format!("node {}: {e}", self.target.node)))?;
        let answer = SnapshotAnswer::from_wire(&answer).map_err(|e| unreachable(e.to_string()))?;
        self.heed(sent, &answer.vote).map_err(|e| unreachable(e.to_string()))?;
        Ok(answer)
    }

    async fn transfer_leader(
        &mut self,
        req: Transfer,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let deadline = option.soft_ttl();
        match self.ask(Lane::Pulse, Rpc::TransferLeader, &req, deadline).await {
            Ok(TransferAnswer::Taken) => Ok(Ok(())),
            Ok(TransferAnswer::Declined) => {
                let expected = req.last_log_id().copied();
                Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual: None }))
            }
            Err(e) => Err(self.error(RPCTypes::TransferLeader, deadline, &e)),
        }
    }
}
