//! The stored forms of what the consensus engine keeps: log entries, votes, log ids, memberships.
//!
//! Plain structs with explicit tags, apart from the engine's own types, so that a new version of
//! the engine cannot change what old bytes mean. Must not know where they are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::lease::Boot;
use crate::types::{self, Command, Member, Membership, Proposed};

const VERSION: u8 = 1;

/// Tags of [`StoredEntry::kind`].
mod kind {
    pub(super) const BLANK: u8 = 0;
    pub(super) const COMMAND: u8 = 1;
    pub(super) const MEMBERSHIP: u8 = 2;
    pub(super) const COMMAND_EVERYWHERE: u8 = 3;
    pub(super) const BARRIER: u8 = 4;
    pub(super) const LEVEL: u8 = 5;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredLogId {
    pub term: u64,
    pub node: u64,
    pub index: u64,
}

impl From<&types::LogId> for StoredLogId {
    fn from(id: &types::LogId) -> StoredLogId {
        let leader = id.committed_leader_id();
        StoredLogId { term: leader.term, node: leader.node_id, index: id.index() }
    }
}

impl From<StoredLogId> for types::LogId {
    fn from(id: StoredLogId) -> types::LogId {
        types::LogId::new(RaftLeaderId::new(id.term, id.node), id.index)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredVote {
    term: u64,
    node: u64,
    committed: bool,
}

impl From<&types::Vote> for StoredVote {
    fn from(vote: &types::Vote) -> StoredVote {
        let leader = vote.leader_id();
        StoredVote { term: leader.term, node: leader.node_id, committed: vote.is_committed() }
    }
}

impl StoredVote {
    pub(crate) fn vote(self) -> types::Vote {
        if self.committed {
            types::Vote::new_committed(self.term, self.node)
        } else {
            types::Vote::new(self.term, self.node)
        }
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMembership {
    voters: Vec<BTreeSet<u64>>,
    /// Every node, learners too.
    nodes: BTreeMap<u64, StoredMember>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredMember {
    address: String,
    incarnation: u64,
}

/// The reign that a barrier begins.
#[derive(Serialize, Deserialize)]
struct StoredBarrier {
    term: u64,
    boot: Boot,
}

impl From<&Membership> for StoredMembership {
    fn from(membership: &Membership) -> StoredMembership {
        StoredMembership {
            voters: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, node)| (*id, StoredMember::from(node))).collect(),
        }
    }
}

impl From<&Member> for StoredMember {
    fn from(member: &Member) -> StoredMember {
        StoredMember { address: member.address.clone(), incarnation: member.incarnation }
    }
}

impl From<StoredMember> for Member {
    fn from(stored: StoredMember) -> Member {
        Member { address: stored.address, incarnation: stored.incarnation }
    }
}

impl TryFrom<StoredMembership> for Membership {
    type Error = CodecError;

    fn try_from(stored: StoredMembership) -> Result<Membership, CodecError> {
        if stored.voters.is_empty() && stored.nodes.is_empty() {
            return Ok(Membership::default());
        }
        let nodes = stored.nodes.into_iter().map(|(id, member)| (id, member.into()));
        Membership::new(stored.voters, nodes.collect::<BTreeMap<_, _>>())
            .map_err(|e| CodecError::Malformed(e.to_string()))
    }
}

#[derive(Serialize, Deserialize)]
struct StoredEntry {
    id: StoredLogId,
    kind: u8,
    at_ms: u64,
    /// The command, or the membership behind a version byte of its own.
    #[serde(with = "codec::bytes")]
    bytes: Vec<u8>,
}

pub(crate) fn encode_entry(entry: &types::Entry) -> Result<Vec<u8>, CodecError> {
    let (kind, at_ms, bytes) = match &entry.payload {
        EntryPayload::Blank => (kind::BLANK, 0, Vec::new()),
        EntryPayload::Normal(Proposed::Command(command)) => {
            let kind = if command.everywhere { kind::COMMAND_EVERYWHERE } else { kind::COMMAND };
            (kind, command.at_ms, command.bytes.to_vec())
        }
        EntryPayload::Normal(Proposed::Barrier { term, boot }) => {
            let barrier = StoredBarrier { term: *term, boot: *boot };
            (kind::BARRIER, 0, codec::encode(VERSION, &barrier)?)
        }
        EntryPayload::Normal(Proposed::Level(level)) => {
            (kind::LEVEL, 0, codec::encode(VERSION, level)?)
        }
        EntryPayload::Membership(membership) => {
            (kind::MEMBERSHIP, 0, codec::encode(VERSION, &StoredMembership::from(membership))?)
        }
    };
    codec::encode(VERSION, &StoredEntry { id: (&entry.log_id).into(), kind, at_ms, bytes })
}

pub(crate) fn decode_entry(bytes: &[u8]) -> Result<types::Entry, CodecError> {
    let stored: StoredEntry = codec::decode(VERSION, bytes)?;
    let payload = match stored.kind {
        kind::BLANK if stored.bytes.is_empty() => EntryPayload::Blank,
        kind::COMMAND | kind::COMMAND_EVERYWHERE => {
            EntryPayload::Normal(Proposed::Command(Command {
                at_ms: stored.at_ms,
                everywhere: stored.kind == kind::COMMAND_EVERYWHERE,
                bytes: Arc::from(stored.bytes),
            }))
        }
        kind::BARRIER => {
            let StoredBarrier { term, boot } = codec::decode(VERSION, &stored.bytes)?;
            EntryPayload::Normal(Proposed::Barrier { term, boot })
        }
        kind::LEVEL => {
            EntryPayload::Normal(Proposed::Level(codec::decode(VERSION, &stored.bytes)?))
        }
        kind::MEMBERSHIP => {
            let membership: StoredMembership = codec::decode(VERSION, &stored.bytes)?;
            EntryPayload::Membership(membership.try_into()?)
        }
        unknown => {
            return Err(CodecError::Malformed(format!("an entry of unknown kind {unknown}")));
        }
    };
    Ok(types::Entry { log_id: stored.id.into(), payload })
}

pub(crate) fn encode_vote(vote: &types::Vote) -> Result<Vec<u8>, CodecError> {
    codec::encode(VERSION, &StoredVote::from(vote))
}

pub(crate) fn decode_vote(bytes: &[u8]) -> Result<types::Vote, CodecError> {
    codec::decode(VERSION, bytes).map(StoredVote::vote)
}

pub(crate) fn encode_index(index: u64) -> Result<Vec<u8>, CodecError> {
    codec::encode(VERSION, &index)
}

pub(crate) fn decode_index(bytes: &[u8]) -> Result<u64, CodecError> {
    codec::decode(VERSION, bytes)
}

pub(crate) fn encode_log_id(id: Option<&types::LogId>) -> Result<Vec<u8>, CodecError> {
    codec::encode(VERSION, &id.map(StoredLogId::from))
}

pub(crate) fn decode_log_id(bytes: &[u8]) -> Result<Option<types::LogId>, CodecError> {
    Ok(codec::decode::<Option<StoredLogId>>(VERSION, bytes)?.map(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(address: &str, incarnation: u64) -> Member {
        Member { address: address.into(), incarnation }
    }

    fn id(index: u64) -> types::LogId {
        StoredLogId { term: 2, node: 3, index }.into()
    }

    fn entries() -> [(types::Entry, &'static [u8]); 6] {
        let membership = Membership::new(
            vec![BTreeSet::from([1])],
            BTreeMap::from([(1, member("a:1", 5)), (2, member("b", 6))]),
        );
        let command = |everywhere| {
            let bytes = Arc::from(b"hi".as_slice());
            Proposed::Command(Command { at_ms: 300, everywhere, bytes })
        };
        let barrier = Proposed::Barrier { term: 2, boot: Boot(8) };
        let payloads: [(_, &[u8]); 6] = [
            (EntryPayload::Blank, &[1, 2, 3, 7, 0, 0, 0]),
            (EntryPayload::Normal(command(false)), &[1, 2, 3, 7, 1, 251, 44, 1, 2, b'h', b'i']),
            (EntryPayload::Normal(command(true)), &[1, 2, 3, 7, 3, 251, 44, 1, 2, b'h', b'i']),
            (EntryPayload::Normal(barrier), &[1, 2, 3, 7, 4, 0, 3, 1, 2, 8]),
            (EntryPayload::Normal(Proposed::Level(2)), &[1, 2, 3, 7, 5, 0, 2, 1, 2]),
            (
                EntryPayload::Membership(membership.expect("valid")),
                &[1, 2, 3, 7, 2, 0, 15, 1, 1, 1, 1, 2, 1, 3, b'a', b':', b'1', 5, 2, 1, b'b', 6],
            ),
        ];
        payloads.map(|(payload, bytes)| (types::Entry { log_id: id(7), payload }, bytes))
    }

    #[test]
    fn the_stored_form_of_an_entry_does_not_change() {
        for (entry, bytes) in entries() {
            assert_eq!(encode_entry(&entry).as_deref(), Ok(bytes), "{entry:?}");
            let back = decode_entry(bytes).expect("decodes");
            assert_eq!((back.log_id, back.payload), (entry.log_id, entry.payload));
        }
    }

    #[test]
    fn the_stored_form_of_votes_and_marks_does_not_change() {
        let vote = types::Vote::new_committed(2, 3);
        assert_eq!(encode_vote(&vote).as_deref(), Ok([1, 2, 3, 1].as_slice()));
        assert_eq!(decode_vote(&[1, 2, 3, 1]), Ok(vote));
        assert_eq!(decode_vote(&[1, 2, 3, 0]), Ok(types::Vote::new(2, 3)));
        assert_eq!(encode_log_id(Some(&id(9))).as_deref(), Ok([1, 1, 2, 3, 9].as_slice()));
        assert_eq!(decode_log_id(&[1, 1, 2, 3, 9]), Ok(Some(id(9))));
        assert_eq!(decode_log_id(&[1, 0]), Ok(None));
    }

    #[test]
    fn an_unknown_version_or_kind_is_refused() {
        assert_eq!(
            decode_entry(&[2, 2, 3, 7, 0, 0, 0]).map(|_| ()),
            Err(CodecError::Version { found: 2, supported: 1 })
        );
        let unknown = decode_entry(&[1, 2, 3, 7, 6, 0, 0]).map(|_| ());
        assert!(matches!(unknown, Err(CodecError::Malformed(_))), "{unknown:?}");
    }
}
