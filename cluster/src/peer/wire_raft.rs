//! The consensus engine's messages on the wire.
//!
//! Records of our own, apart from the engine's types, so that a new version of the engine cannot
//! change what bytes between two versions of this program mean. Must not know who sends them.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use super::wire::{Message, plain_from_wire, plain_to_wire, unknown};
use crate::codec::{self, CodecError};
use crate::store::stored::{StoredLogId, StoredMembership, StoredVote, decode_entry, encode_entry};
use crate::types::{LogId, SnapshotMeta, StoredMembership as MembershipAt, TypeConfig, Vote};

pub(crate) type Append = AppendEntriesRequest<TypeConfig>;
pub(crate) type AppendAnswer = AppendEntriesResponse<TypeConfig>;
pub(crate) type AskVote = VoteRequest<TypeConfig>;
pub(crate) type VoteAnswer = VoteResponse<TypeConfig>;
pub(crate) type Transfer = TransferLeaderRequest<TypeConfig>;
pub(crate) type SnapshotAnswer = SnapshotResponse<TypeConfig>;

/// One log entry, in its stored form.
#[derive(Serialize, Deserialize)]
struct Entry(#[serde(with = "codec::bytes")] Vec<u8>);

#[derive(Serialize, Deserialize)]
struct StoredAppend {
    vote: StoredVote,
    previous: Option<StoredLogId>,
    committed: Option<StoredLogId>,
    entries: Vec<Entry>,
}

fn stored(id: Option<&LogId>) -> Option<StoredLogId> {
    id.map(Into::into)
}

impl Message for Append {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        let entries = self.entries.iter().map(|entry| encode_entry(entry).map(Entry));
        plain_to_wire(&StoredAppend {
            vote: (&self.vote).into(),
            previous: stored(self.prev_log_id.as_ref()),
            committed: stored(self.leader_commit.as_ref()),
            entries: entries.collect::<Result<_, _>>()?,
        })
    }

    fn from_wire(bytes: &[u8]) -> Result<Append, CodecError> {
        let StoredAppend { vote, previous, committed, entries } = plain_from_wire(bytes)?;
        let entries = entries.iter().map(|Entry(bytes)| decode_entry(bytes));
        Ok(AppendEntriesRequest {
            vote: vote.vote(),
            prev_log_id: previous.map(Into::into),
            entries: entries.collect::<Result<_, _>>()?,
            leader_commit: committed.map(Into::into),
        })
    }
}

/// Tags: 1 all stored, 2 stored up to `at`, 3 conflict, 4 `vote` is higher.
#[derive(Serialize, Deserialize)]
struct StoredAppendAnswer {
    tag: u8,
    at: Option<StoredLogId>,
    vote: Option<StoredVote>,
}

impl Message for AppendAnswer {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        let (tag, at, vote) = match self {
            AppendEntriesResponse::Success => (1, None, None),
            AppendEntriesResponse::PartialSuccess(at) => (2, stored(at.as_ref()), None),
            AppendEntriesResponse::Conflict => (3, None, None),
            AppendEntriesResponse::HigherVote(vote) => (4, None, Some(vote.into())),
        };
        plain_to_wire(&StoredAppendAnswer { tag, at, vote })
    }

    fn from_wire(bytes: &[u8]) -> Result<AppendAnswer, CodecError> {
        let StoredAppendAnswer { tag, at, vote } = plain_from_wire(bytes)?;
        match (tag, vote) {
            (1, None) => Ok(AppendEntriesResponse::Success),
            (2, None) => Ok(AppendEntriesResponse::PartialSuccess(at.map(Into::into))),
            (3, None) => Ok(AppendEntriesResponse::Conflict),
            (4, Some(vote)) => Ok(AppendEntriesResponse::HigherVote(vote.vote())),
            (tag, _) => Err(unknown("answer", tag)),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredVoteRequest {
    vote: StoredVote,
    last: Option<StoredLogId>,
    transfer: bool,
}

impl Message for AskVote {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        plain_to_wire(&StoredVoteRequest {
            vote: (&self.vote).into(),
            last: stored(self.last_log_id.as_ref()),
            transfer: self.leadership_transfer,
        })
    }

    fn from_wire(bytes: &[u8]) -> Result<AskVote, CodecError> {
        let StoredVoteRequest { vote, last, transfer } = plain_from_wire(bytes)?;
        Ok(VoteRequest {
            vote: vote.vote(),
            last_log_id: last.map(Into::into),
            leadership_transfer: transfer,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredVoteAnswer {
    vote: StoredVote,
    granted: bool,
    last: Option<StoredLogId>,
}

impl Message for VoteAnswer {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        plain_to_wire(&StoredVoteAnswer {
            vote: (&self.vote).into(),
            granted: self.vote_granted,
            last: stored(self.last_log_id.as_ref()),
        })
    }

    fn from_wire(bytes: &[u8]) -> Result<VoteAnswer, CodecError> {
        let StoredVoteAnswer { vote, granted, last } = plain_from_wire(bytes)?;
        Ok(VoteResponse {
            vote: vote.vote(),
            vote_granted: granted,
            last_log_id: last.map(Into::into),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredTransfer {
    from: StoredVote,
    to: u64,
    last: Option<StoredLogId>,
}

impl Message for Transfer {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        plain_to_wire(&StoredTransfer {
            from: self.from_leader().into(),
            to: *self.to_node_id(),
            last: stored(self.last_log_id()),
        })
    }

    fn from_wire(bytes: &[u8]) -> Result<Transfer, CodecError> {
        let StoredTransfer { from, to, last } = plain_from_wire(bytes)?;
        Ok(TransferLeaderRequest::new(from.vote(), to, last.map(Into::into)))
    }
}

/// What became of a [`Transfer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransferAnswer {
    /// Tag 1.
    Taken,
    /// Tag 2: the one asked knows another vote, or has not stored the log that far.
    Declined,
}

#[derive(Serialize, Deserialize)]
struct StoredTag {
    tag: u8,
}

impl Message for TransferAnswer {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        let tag = match self {
            TransferAnswer::Taken => 1,
            TransferAnswer::Declined => 2,
        };
        plain_to_wire(&StoredTag { tag })
    }

    fn from_wire(bytes: &[u8]) -> Result<TransferAnswer, CodecError> {
        match plain_from_wire(bytes)? {
            StoredTag { tag: 1 } => Ok(TransferAnswer::Taken),
            StoredTag { tag: 2 } => Ok(TransferAnswer::Declined),
            StoredTag { tag } => Err(unknown("answer", tag)),
        }
    }
}

/// What goes before the bytes of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotHead {
    pub vote: Vote,
    pub meta: SnapshotMeta,
}

#[derive(Serialize, Deserialize)]
struct StoredSnapshotHead {
    vote: StoredVote,
    last: Option<StoredLogId>,
    membership_at: Option<StoredLogId>,
    membership: StoredMembership,
}

impl Message for SnapshotHead {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        let SnapshotMeta { last_log_id, last_membership } = &self.meta;
        plain_to_wire(&StoredSnapshotHead {
            vote: (&self.vote).into(),
            last: stored(last_log_id.as_ref()),
            membership_at: stored(last_membership.log_id().as_ref()),
            membership: last_membership.membership().into(),
        })
    }

    fn from_wire(bytes: &[u8]) -> Result<SnapshotHead, CodecError> {
        let StoredSnapshotHead { vote, last, membership_at, membership } = plain_from_wire(bytes)?;
        let membership = MembershipAt::new(membership_at.map(Into::into), membership.try_into()?);
        let meta = SnapshotMeta { last_log_id: last.map(Into::into), last_membership: membership };
        Ok(SnapshotHead { vote: vote.vote(), meta })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredSnapshotAnswer {
    vote: StoredVote,
}

impl Message for SnapshotAnswer {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        plain_to_wire(&StoredSnapshotAnswer { vote: (&self.vote).into() })
    }

    fn from_wire(bytes: &[u8]) -> Result<SnapshotAnswer, CodecError> {
        let StoredSnapshotAnswer { vote } = plain_from_wire(bytes)?;
        Ok(SnapshotResponse::new(vote.vote()))
    }
}

#[cfg(test)]
#[path = "wire_raft_tests.rs"]
mod tests;
