//! What this node answers its peers: the other side of everything that `peer` sends.
//!
//! Who may make which request is decided before, by the table in `peer::rights`. Whatever a message
//! claims about its sender must be what the sender's certificate says, and the engine hears of no
//! term that nobody can have reached. Must not know how messages travel.

use std::sync::Arc;

use hyper::body::Bytes;
use openraft::async_runtime::WatchReceiver;

use crate::Machine;
use crate::electorate::plausible;
use crate::forward::{Attempt, Read, Writing, until};
use crate::handle::{Core, check_command};
use crate::lease::{Report, Request, Wire};
use crate::peer::link::Target;
use crate::peer::server::{Asker, Nothing, Service};
use crate::peer::wire::{Message, Propose, ProposeAnswer, ReadIndex, ReadIndexAnswer, Rpc};
use crate::peer::wire_members::{AskStatus, Change, Join};
use crate::peer::wire_raft::{Append, AskVote, SnapshotHead, Transfer, TransferAnswer};
use crate::runtime::spawn_blocking;
use crate::store::disk::File;
use crate::store::snapshot;
use crate::types::{LogId, Snapshot, SnapshotData, Vote};

/// A running node, as its peers see it.
pub(crate) struct Answers<M: Machine>(pub Arc<Core<M>>);

/// `message` as a `T`, if it is one.
fn read<T: Message>(message: &[u8]) -> Result<T, Nothing> {
    T::from_wire(message).map_err(|error| {
        tracing::warn!(%error, "a peer sent a message that does not decode");
        Nothing
    })
}

fn written(answer: &impl Message) -> Result<Vec<u8>, Nothing> {
    answer.to_wire().map_err(|error| {
        tracing::error!(%error, "an answer to a peer does not encode");
        Nothing
    })
}

/// A peer votes and leads for itself only, in a term that it can have reached; and what it has stored
/// is of no later one.
fn own_vote<'a>(
    from: Asker,
    own_term: u64,
    vote: &Vote,
    stored: impl IntoIterator<Item = &'a LogId>,
) -> Result<(), Nothing> {
    claimed(from, vote.leader_id().node_id)?;
    let term = vote.leader_id().term;
    let later = stored.into_iter().any(|id| id.committed_leader_id().term > term);
    if !later && plausible(from.standing, own_term, term) {
        return Ok(());
    }
    tracing::warn!(
        node = from.node,
        term,
        own_term,
        "a peer speaks of a term that is not believed"
    );
    Err(Nothing)
}

fn claimed(from: Asker, node: u64) -> Result<(), Nothing> {
    if node == from.node {
        return Ok(());
    }
    tracing::warn!(node = from.node, claimed = node, "a peer speaks for another");
    Err(Nothing)
}

impl<M: Machine> Service for Answers<M> {
    async fn answer(&self, from: Asker, rpc: Rpc, message: Bytes) -> Result<Vec<u8>, Nothing> {
        match rpc {
            Rpc::Append | Rpc::Vote | Rpc::PreVote | Rpc::TransferLeader => {
                self.consensus(from, rpc, &message).await
            }
            Rpc::Propose => self.propose(from, &message).await,
            Rpc::ReadIndex => self.read_index(&message).await,
            Rpc::Lease | Rpc::LeaseReport => self.lease(from, rpc, &message).await,
            Rpc::Join => {
                let join: Join = read(&message)?;
                claimed(from, join.node)?;
                written(&self.0.take_in(&join).await)
            }
            Rpc::Change => {
                let change: Change = read(&message)?;
                written(&self.0.change(change).await)
            }
            Rpc::Status => {
                let AskStatus {} = read(&message)?;
                written(&self.0.own_status())
            }
            Rpc::Chains => written(&self.0.chains_after(&read(&message)?)),
            Rpc::Records => written(&self.0.records_from(read(&message)?).await),
            Rpc::Question => written(&self.0.answer_question(from.node, read(&message)?).await?),
            // It comes as a stream.
            Rpc::Snapshot => Err(Nothing),
        }
    }

    async fn snapshot(
        &self,
        from: Asker,
        SnapshotHead { vote, meta }: SnapshotHead,
        mut file: File,
    ) -> Result<Vec<u8>, Nothing> {
        own_vote(from, self.own_term(), &vote, &meta.last_log_id)?;
        let members = meta.last_membership.membership();
        let sender = members.get_node(&from.node).ok_or(Nothing)?;
        let sender = Target::member(from.node, sender);
        // A damaged one is no reason for this node to stop, which it is once the engine has it.
        let checked = spawn_blocking(move || snapshot::check(&mut file).map(|()| file)).await;
        let file = checked.map_err(|_| Nothing)?.map_err(|error| {
            tracing::warn!(node = from.node, %error, "a snapshot arrived damaged");
            Nothing
        })?;
        if let Err(error) = self.0.fill(&sender).await {
            tracing::warn!(node = from.node, %error, "the journal lacks records");
            return Err(Nothing);
        }
        let snapshot = Snapshot { meta, snapshot: SnapshotData { file } };
        let installed = self.0.raft.install_full_snapshot(vote, snapshot).await;
        written(&installed.map_err(|_| Nothing)?)
    }
}

impl<M: Machine> Answers<M> {
    /// The newest term that this node has taken in.
    fn own_term(&self) -> u64 {
        self.0.raft.server_metrics().borrow_watched().vote.leader_id().term
    }

    async fn consensus(&self, from: Asker, rpc: Rpc, message: &[u8]) -> Result<Vec<u8>, Nothing> {
        let raft = &self.0.raft;
        // It may have lost entries that it had acknowledged: see `recovering`.
        if self.0.is_renewing() && matches!(rpc, Rpc::Vote | Rpc::PreVote | Rpc::TransferLeader) {
            return Err(Nothing);
        }
        match rpc {
            Rpc::Append => {
                let append: Append = read(message)?;
                let Append { vote, prev_log_id, entries, leader_commit } = &append;
                let stored = entries.iter().map(|entry| &entry.log_id);
                let stored = stored.chain(prev_log_id).chain(leader_commit);
                own_vote(from, self.own_term(), vote, stored)?;
                written(&raft.append_entries(append).await.map_err(|_| Nothing)?)
            }
            Rpc::Vote => {
                let ask: AskVote = read(message)?;
                own_vote(from, self.own_term(), &ask.vote, &ask.last_log_id)?;
                written(&raft.vote(ask).await.map_err(|_| Nothing)?)
            }
            Rpc::PreVote => {
                let ask: AskVote = read(message)?;
                own_vote(from, self.own_term(), &ask.vote, &ask.last_log_id)?;
                written(&raft.pre_vote(ask).await.map_err(|_| Nothing)?)
            }
            Rpc::TransferLeader => {
                let transfer: Transfer = read(message)?;
                let (vote, last) = (transfer.from_leader(), transfer.last_log_id());
                own_vote(from, self.own_term(), vote, last)?;
                let taken = raft.handle_transfer_leader(transfer).await.map_err(|_| Nothing)?;
                written(&taken.map_or(TransferAnswer::Declined, |()| TransferAnswer::Taken))
            }
            _ => Err(Nothing),
        }
    }

    async fn propose(&self, from: Asker, message: &[u8]) -> Result<Vec<u8>, Nothing> {
        let Propose { everywhere, wait_ms, command } = read(message)?;
        if let Err(error) = check_command::<M>(&command) {
            tracing::warn!(node = from.node, %error, "a peer forwarded a command that is refused");
            return Err(Nothing);
        }
        if self.0.check_writable().is_err() {
            return written(&ProposeAnswer::NotAppended);
        }
        let Ok(admitted) = self.0.admission.admit(command.len()) else {
            return written(&ProposeAnswer::Overloaded);
        };
        let writing = Writing { bytes: command.into(), everywhere, until: until(wait_ms) };
        let attempt = self.0.append(&writing, &mut Some(admitted)).await;
        written(&match attempt {
            Attempt::Committed { index, reply } => {
                ProposeAnswer::Committed { index, reply: M::encode_reply(&reply) }
            }
            Attempt::NotAppended | Attempt::Clock(_) => ProposeAnswer::NotAppended,
            Attempt::Overloaded => ProposeAnswer::Overloaded,
            Attempt::Unknown => ProposeAnswer::Unknown,
            Attempt::ReignOver(reply) => {
                ProposeAnswer::ReignOver { reply: M::encode_reply(&reply) }
            }
        })
    }

    async fn read_index(&self, message: &[u8]) -> Result<Vec<u8>, Nothing> {
        let ReadIndex { wait_ms } = read(message)?;
        written(&match self.0.read_here(until(wait_ms)).await {
            Read::Confirmed { index, last } => ReadIndexAnswer::Confirmed { index, last },
            Read::NotLeader => ReadIndexAnswer::NotLeader,
            Read::NoQuorum | Read::Failed(_) => ReadIndexAnswer::NoQuorum,
        })
    }

    /// The granter itself looks at whether the asker is a member.
    async fn lease(&self, from: Asker, rpc: Rpc, message: &[u8]) -> Result<Vec<u8>, Nothing> {
        let leasing = &self.0.leasing;
        if rpc == Rpc::LeaseReport {
            let report = Report::from_bytes(message).map_err(|_| Nothing)?;
            claimed(from, report.node)?;
            leasing.report(from.node, report).await;
            return Ok(Vec::new());
        }
        let request = Request::from_bytes(message).map_err(|_| Nothing)?;
        claimed(from, request.node)?;
        let answer = leasing.request(from.node, request).await.ok_or(Nothing)?;
        answer.to_bytes().map_err(|_| Nothing)
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId;

    use super::*;
    use crate::peer::rights::Standing;

    #[test]
    fn a_peer_that_speaks_for_another_is_not_heard() {
        let from = Asker { node: 7, standing: Standing::Voter };
        for (node, heard) in [(7, Ok(())), (1, Err(Nothing)), (0, Err(Nothing))] {
            assert_eq!(claimed(from, node), heard, "{node}");
            let vote = Vote::new_committed(3, node);
            assert_eq!(own_vote(from, 3, &vote, []), heard, "{node}");
        }
        let later = LogId::new(RaftLeaderId::new(4, 7), 1);
        assert_eq!(own_vote(from, 3, &Vote::new_committed(3, 7), [&later]), Err(Nothing));
        assert_eq!(own_vote(from, 3, &Vote::new(u64::MAX, 7), []), Err(Nothing));
    }
}
