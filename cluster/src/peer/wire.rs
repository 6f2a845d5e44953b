//! What nodes say to each other besides consensus, and its form on the wire.
//!
//! Plain records behind a version byte; kinds carry explicit tags, and an unknown one is refused.
//! The path of a request says which message it carries, the protocol's version first. Must not
//! know what a message leads to.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::codec::{self, CodecError};

/// The version of the wire form, the first byte of every message.
pub(super) const VERSION: u8 = 1;

/// The kinds of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rpc {
    Append,
    Vote,
    PreVote,
    Snapshot,
    TransferLeader,
    Propose,
    ReadIndex,
    Lease,
    LeaseReport,
    Join,
    Change,
    Status,
    Chains,
    Records,
    Question,
}

impl Rpc {
    pub(crate) const ALL: [Rpc; 15] = [
        Rpc::Append,
        Rpc::Vote,
        Rpc::PreVote,
        Rpc::Snapshot,
        Rpc::TransferLeader,
        Rpc::Propose,
        Rpc::ReadIndex,
        Rpc::Lease,
        Rpc::LeaseReport,
        Rpc::Join,
        Rpc::Change,
        Rpc::Status,
        Rpc::Chains,
        Rpc::Records,
        Rpc::Question,
    ];

    /// Where it is sent to.
    pub(super) fn path(self) -> &'static str {
        match self {
            Rpc::Append => "/1/append",
            Rpc::Vote => "/1/vote",
            Rpc::PreVote => "/1/pre-vote",
            Rpc::Snapshot => "/1/snapshot",
            Rpc::TransferLeader => "/1/transfer-leader",
            Rpc::Propose => "/1/propose",
            Rpc::ReadIndex => "/1/read-index",
            Rpc::Lease => "/1/lease",
            Rpc::LeaseReport => "/1/lease-report",
            Rpc::Join => "/1/join",
            Rpc::Change => "/1/change",
            Rpc::Status => "/1/status",
            Rpc::Chains => "/1/chains",
            Rpc::Records => "/1/records",
            Rpc::Question => "/1/question",
        }
    }

    /// What it is called where messages are counted.
    pub(crate) fn name(self) -> &'static str {
        self.path().trim_start_matches("/1/")
    }

    pub(super) fn at(path: &str) -> Option<Rpc> {
        Rpc::ALL.into_iter().find(|rpc| rpc.path() == path)
    }
}

/// A message's form on the wire.
pub(crate) trait Message: Sized {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError>;
    fn from_wire(bytes: &[u8]) -> Result<Self, CodecError>;
}

/// Messages that are records as they are.
pub(super) fn plain_to_wire<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    codec::encode(VERSION, message)
}

pub(super) fn plain_from_wire<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    codec::decode(VERSION, bytes)
}

macro_rules! plain {
    ($($message:ty),+ $(,)?) => { $(
        impl $crate::peer::wire::Message for $message {
            fn to_wire(&self) -> Result<Vec<u8>, $crate::codec::CodecError> {
                $crate::peer::wire::plain_to_wire(self)
            }

            fn from_wire(bytes: &[u8]) -> Result<Self, $crate::codec::CodecError> {
                $crate::peer::wire::plain_from_wire(bytes)
            }
        }
    )+ };
}
pub(super) use plain;

pub(super) fn unknown(what: &str, tag: u8) -> CodecError {
    CodecError::Malformed(format!("unknown {what} {tag}"))
}

/// A command for the leader to append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Propose {
    /// Whether it is answered only once no node can answer from a view before it.
    pub everywhere: bool,
    /// How long the sender waits, milliseconds.
    pub wait_ms: u32,
    /// The command, in the machine's encoding.
    #[serde(with = "codec::bytes")]
    pub command: Vec<u8>,
}

/// What became of a [`Propose`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProposeAnswer {
    /// Tag 1.
    Committed {
        index: u64,
        /// In the machine's encoding.
        reply: Vec<u8>,
    },
    /// Tag 2: it was not appended and never will be.
    NotAppended,
    /// Tag 3: nor was it here, for too many are in flight.
    Overloaded,
    /// Tag 4.
    Unknown,
    /// Tag 5: it was appended, but the reign that stamped it ended before every node had seen it:
    /// propose it again.
    ReignOver {
        /// In the machine's encoding.
        reply: Vec<u8>,
    },
}

#[derive(Serialize, Deserialize)]
struct StoredProposeAnswer {
    tag: u8,
    index: u64,
    #[serde(with = "codec::bytes")]
    reply: Vec<u8>,
}

impl Message for ProposeAnswer {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        let (tag, index, reply) = match self {
            ProposeAnswer::Committed { index, reply } => (1, *index, reply.clone()),
            ProposeAnswer::NotAppended => (2, 0, Vec::new()),
            ProposeAnswer::Overloaded => (3, 0, Vec::new()),
            ProposeAnswer::Unknown => (4, 0, Vec::new()),
            ProposeAnswer::ReignOver { reply } => (5, 0, reply.clone()),
        };
        plain_to_wire(&StoredProposeAnswer { tag, index, reply })
    }

    fn from_wire(bytes: &[u8]) -> Result<ProposeAnswer, CodecError> {
        let StoredProposeAnswer { tag, index, reply } = plain_from_wire(bytes)?;
        match tag {
            1 => Ok(ProposeAnswer::Committed { index, reply }),
            2 => Ok(ProposeAnswer::NotAppended),
            3 => Ok(ProposeAnswer::Overloaded),
            4 => Ok(ProposeAnswer::Unknown),
            5 => Ok(ProposeAnswer::ReignOver { reply }),
            tag => Err(unknown("answer", tag)),
        }
    }
}

/// Asks the leader how far the log is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReadIndex {
    /// How long the sender waits, milliseconds.
    pub wait_ms: u32,
}

/// The leader's answer to a [`ReadIndex`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadIndexAnswer {
    /// Tag 1: everything acknowledged before the question is at `index` or below it; the log ends
    /// at `last`.
    Confirmed { index: u64, last: u64 },
    /// Tag 2.
    NotLeader,
    /// Tag 3: no quorum confirmed the leader.
    NoQuorum,
}

#[derive(Serialize, Deserialize)]
struct StoredReadIndexAnswer {
    tag: u8,
    index: u64,
    last: u64,
}

impl Message for ReadIndexAnswer {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        let (tag, index, last) = match *self {
            ReadIndexAnswer::Confirmed { index, last } => (1, index, last),
            ReadIndexAnswer::NotLeader => (2, 0, 0),
            ReadIndexAnswer::NoQuorum => (3, 0, 0),
        };
        plain_to_wire(&StoredReadIndexAnswer { tag, index, last })
    }

    fn from_wire(bytes: &[u8]) -> Result<ReadIndexAnswer, CodecError> {
        let StoredReadIndexAnswer { tag, index, last } = plain_from_wire(bytes)?;
        match tag {
            1 => Ok(ReadIndexAnswer::Confirmed { index, last }),
            2 => Ok(ReadIndexAnswer::NotLeader),
            3 => Ok(ReadIndexAnswer::NoQuorum),
            tag => Err(unknown("answer", tag)),
        }
    }
}

plain!(Propose, ReadIndex);

#[cfg(test)]
#[path = "wire_tests.rs"]
pub(super) mod tests;
