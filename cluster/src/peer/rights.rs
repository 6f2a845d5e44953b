//! Who may make which request of a peer: one table of every kind of request and every standing.
//!
//! A certificate says which node of the cluster speaks; what that node may do follows from the
//! membership alone. Consensus messages are heard from voters, for the engine believes any sender
//! that claims to lead a higher term. What a member without a vote may ask is what it needs to follow
//! and to answer; a node that is no member may ask to become one. Must not know how a standing is
//! found: that is for `electorate`.

use super::wire::Rpc;

/// What a node is to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has a vote in the newest membership.
    Voter,
    /// It has a vote in a membership whose change this node has not seen finished: before the
    /// change, after it, or both.
    Changing,
    /// A member without a vote.
    Learner,
    /// No member: it waits to be admitted, or is unknown, or speaks for another data directory than
    /// the member of its id.
    Stranger,
    /// The membership that this node knows does not give it a vote, but a seed or a voter that this
    /// node knows says that it leads: to a node that joins, or was away while the members changed.
    Named,
    /// It was a member and was removed.
    Removed,
}

impl Standing {
    /// Every standing, in the order of the table's columns.
    #[cfg(test)]
    pub(crate) const ALL: [Standing; 6] = [
        Standing::Voter,
        Standing::Changing,
        Standing::Learner,
        Standing::Stranger,
        Standing::Named,
        Standing::Removed,
    ];
}

/// Whether a node of this standing may make a request of this kind.
pub(crate) const fn may(standing: Standing, rpc: Rpc) -> bool {
    const YES: bool = true;
    const NO: bool = false;
    let [voter, changing, learner, stranger, named, removed] = match rpc {
        Rpc::Append | Rpc::Vote | Rpc::PreVote | Rpc::Snapshot | Rpc::TransferLeader => {
            [YES, YES, NO, NO, YES, NO]
        }
        Rpc::Propose | Rpc::Change => [YES, YES, NO, NO, NO, NO],
        Rpc::ReadIndex
        | Rpc::Lease
        | Rpc::LeaseReport
        | Rpc::Question
        | Rpc::Chains
        | Rpc::Records => [YES, YES, YES, NO, NO, NO],
        Rpc::Status => [YES, YES, YES, NO, YES, NO],
        Rpc::Join => [YES, YES, YES, YES, YES, NO],
    };
    match standing {
        Standing::Voter => voter,
        Standing::Changing => changing,
        Standing::Learner => learner,
        Standing::Stranger => stranger,
        Standing::Named => named,
        Standing::Removed => removed,
    }
}

/// Whether a request of this kind speaks for the consensus engine.
pub(crate) const fn is_consensus(rpc: Rpc) -> bool {
    match rpc {
        Rpc::Append | Rpc::Vote | Rpc::PreVote | Rpc::Snapshot | Rpc::TransferLeader => true,
        Rpc::Propose
        | Rpc::ReadIndex
        | Rpc::Lease
        | Rpc::LeaseReport
        | Rpc::Join
        | Rpc::Change
        | Rpc::Status
        | Rpc::Chains
        | Rpc::Records
        | Rpc::Question => false,
    }
}
