//! What nodes say to each other about the membership: joining, leaving, handing over, how they are.
//!
//! Must not know how the membership changes.

use serde::{Deserialize, Serialize};

use super::wire::{Message, plain, plain_from_wire, plain_to_wire, unknown};
use crate::codec::CodecError;
use crate::lease::Reason;
use crate::status::Role;
use crate::types::Incarnation;

/// A node asks to be taken in, or to be known under another address; again and again, until it is
/// what it wants to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Join {
    /// Who asks. Must be what the peer's certificate says.
    pub node: u64,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// Where peers reach it.
    pub address: String,
    /// Whether it wants to vote.
    pub voter: bool,
    /// The newest level of rules that its build knows.
    pub level: u32,
}

/// What became of a [`Join`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JoinAnswer {
    /// Tag 1: it is a member, without a vote so far.
    Learner,
    /// Tag 2: it is a member with a vote.
    Voter,
    /// Tag 3: ask this one, if any.
    NotLeader(Option<(u64, String)>),
    /// Tag 4: another change is under way, or no quorum: ask again.
    Busy,
    /// Tag 5.
    Refused(Refusal),
}

/// Why a change of the membership is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Refusal {
    #[error(
        "its id belongs to a node that was removed, and ids are never used again; give it a new id and certificate"
    )]
    /// It was a member and was removed.
    Removed = 1,
    #[error(
        "its id belongs to a member with another data directory; remove that member and give this node a new id and certificate"
    )]
    /// It is a member with another data directory.
    Taken = 2,
    #[error("there is no such member")]
    /// There is no such member.
    NoMember = 3,
    #[error("it is the only voter that is left")]
    /// Nobody could decide any more.
    LastVoter = 4,
    #[error("too few voters would be left that answer")]
    /// Those that are left could not decide.
    QuorumLost = 5,
    #[error("it has no vote or has not caught up")]
    /// It has no vote, or lags, or does not answer.
    CannotLead = 6,
    #[error("the address is empty or too long")]
    /// No peer could reach it.
    Address = 7,
    #[error("a node that has no peer address cannot have peers; start it with one first")]
    /// The cluster is one of a single node without an address.
    NoPeers = 8,
    #[error(
        "its program does not know the level that the cluster's machine was raised to; install the version that the members run"
    )]
    /// Its machine would not decide as the members do.
    TooOld = 9,
    #[error("not every member says which level its machine knows; all of them must be up")]
    /// A member does not answer.
    LevelUnknown = 10,
}

impl Refusal {
    fn from_tag(tag: u8) -> Option<Refusal> {
        [
            Refusal::Removed,
            Refusal::Taken,
            Refusal::NoMember,
            Refusal::LastVoter,
            Refusal::QuorumLost,
            Refusal::CannotLead,
            Refusal::Address,
            Refusal::NoPeers,
            Refusal::TooOld,
            Refusal::LevelUnknown,
        ]
        .into_iter()
        .find(|refusal| *refusal as u8 == tag)
    }
}

#[derive(Serialize, Deserialize)]
struct StoredJoinAnswer {
    tag: u8,
    leader: Option<(u64, String)>,
    refusal: u8,
}

impl Message for JoinAnswer {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        let (tag, leader, refusal) = match self {
            JoinAnswer::Learner => (1, None, 0),
            JoinAnswer::Voter => (2, None, 0),
            JoinAnswer::NotLeader(leader) => (3, leader.clone(), 0),
            JoinAnswer::Busy => (4, None, 0),
            JoinAnswer::Refused(refusal) => (5, None, *refusal as u8),
        };
        plain_to_wire(&StoredJoinAnswer { tag, leader, refusal })
    }

    fn from_wire(bytes: &[u8]) -> Result<JoinAnswer, CodecError> {
        let StoredJoinAnswer { tag, leader, refusal } = plain_from_wire(bytes)?;
        match tag {
            1 => Ok(JoinAnswer::Learner),
            2 => Ok(JoinAnswer::Voter),
            3 => Ok(JoinAnswer::NotLeader(leader)),
            4 => Ok(JoinAnswer::Busy),
            5 => Refusal::from_tag(refusal)
                .map(JoinAnswer::Refused)
                .ok_or_else(|| unknown("refusal", refusal)),
            tag => Err(unknown("answer", tag)),
        }
    }
}

/// A change of the membership or of the leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Tag 1: this node is a member no more.
    Remove(u64),
    /// Tag 2: this node leads from now on.
    Transfer(u64),
    /// Tag 3: the newest level holds that every member knows.
    RaiseLevel,
}

/// What became of a [`Change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeAnswer {
    /// Tag 1.
    Done,
    /// Tag 2: ask the leader, or again: nothing has changed for good.
    Retry,
    /// Tag 3.
    Refused(Refusal),
}

#[derive(Serialize, Deserialize)]
struct StoredChange {
    tag: u8,
    node: u64,
}

impl Message for Change {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        let (tag, node) = match *self {
            Change::Remove(node) => (1, node),
            Change::Transfer(node) => (2, node),
            Change::RaiseLevel => (3, 0),
        };
        plain_to_wire(&StoredChange { tag, node })
    }

    fn from_wire(bytes: &[u8]) -> Result<Change, CodecError> {
        let StoredChange { tag, node } = plain_from_wire(bytes)?;
        match tag {
            1 => Ok(Change::Remove(node)),
            2 => Ok(Change::Transfer(node)),
            3 => Ok(Change::RaiseLevel),
            tag => Err(unknown("change", tag)),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredChangeAnswer {
    tag: u8,
    refusal: u8,
}

impl Message for ChangeAnswer {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        let (tag, refusal) = match *self {
            ChangeAnswer::Done => (1, 0),
            ChangeAnswer::Retry => (2, 0),
            ChangeAnswer::Refused(refusal) => (3, refusal as u8),
        };
        plain_to_wire(&StoredChangeAnswer { tag, refusal })
    }

    fn from_wire(bytes: &[u8]) -> Result<ChangeAnswer, CodecError> {
        let StoredChangeAnswer { tag, refusal } = plain_from_wire(bytes)?;
        match tag {
            1 => Ok(ChangeAnswer::Done),
            2 => Ok(ChangeAnswer::Retry),
            3 => Refusal::from_tag(refusal)
                .map(ChangeAnswer::Refused)
                .ok_or_else(|| unknown("refusal", refusal)),
            tag => Err(unknown("answer", tag)),
        }
    }
}

/// Asks a node about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskStatus {}

/// What a node says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatusAnswer {
    pub role: Role,
    pub term: u64,
    pub last_log_index: u64,
    pub applied_index: u64,
    /// What is left of its lease, milliseconds; 0 without one.
    pub lease_left_ms: u64,
    /// Why its last request for a lease was refused; none if it was granted.
    pub lease_refused: Option<Reason>,
    /// The newest level of rules that its build knows.
    pub newest_level: u32,
    /// Why it is not ready, as [`crate::Unready`] numbers the reasons; 0 if it is, or if its build
    /// does not say.
    pub unready: u8,
}

#[derive(Serialize, Deserialize)]
struct StoredStatusAnswer {
    role: u8,
    term: u64,
    last_log_index: u64,
    applied_index: u64,
    lease_left_ms: u64,
    /// The low byte: 0 for none. The high byte says why the node is not ready: a build that does not
    /// know that takes both for a reason that it cannot name.
    lease_refused: u16,
    newest_level: u32,
}

const ROLES: [(u8, Role); 5] = [
    (1, Role::Learner),
    (2, Role::Follower),
    (3, Role::Candidate),
    (4, Role::Leader),
    (5, Role::Stopped),
];

impl Message for StatusAnswer {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        let StatusAnswer { role, term, last_log_index, applied_index, lease_left_ms, .. } = *self;
        let tag = ROLES.into_iter().find(|(_, known)| *known == role).map_or(0, |(tag, _)| tag);
        plain_to_wire(&StoredStatusAnswer {
            role: tag,
            term,
            last_log_index,
            applied_index,
            lease_left_ms,
            lease_refused: self.lease_refused.map_or(0, |reason| reason as u16)
                | u16::from(self.unready) << 8,
            newest_level: self.newest_level,
        })
    }

    fn from_wire(bytes: &[u8]) -> Result<StatusAnswer, CodecError> {
        let stored: StoredStatusAnswer = plain_from_wire(bytes)?;
        let StoredStatusAnswer { term, last_log_index, applied_index, lease_left_ms, .. } = stored;
        let role = ROLES.into_iter().find(|(known, _)| *known == stored.role);
        let (_, role) = role.ok_or_else(|| unknown("role", stored.role))?;
        // One that a newer build gives is a refusal all the same, but not one that can be named.
        let [reason, unready] = stored.lease_refused.to_le_bytes();
        let lease_refused = Reason::from_tag(reason.into());
        let newest_level = stored.newest_level;
        Ok(StatusAnswer {
            role,
            term,
            last_log_index,
            applied_index,
            lease_left_ms,
            lease_refused,
            newest_level,
            unready,
        })
    }
}

plain!(Join, AskStatus);

#[cfg(test)]
#[path = "wire_members_tests.rs"]
mod tests;
