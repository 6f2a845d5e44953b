//! What nodes say to each other about leases, and its form on the wire.
//!
//! Plain records of their own, each behind a version byte; kinds carry explicit tags, and an
//! unknown one is refused. No reading of a lease clock is ever sent: they mean nothing elsewhere.
//! Must not know what a message leads to.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::codec::{self, CodecError};

/// A node's id in its cluster; never reused.
pub type NodeId = u64;

/// One process of a node: a random number drawn at its start. What one boot did, another one
/// knows nothing of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Boot(pub u64);

/// The version of the wire form, the first byte of every message.
pub const VERSION: u8 = 1;

/// Longest message, bytes.
const MESSAGE_MAX_BYTES: usize = 128;

/// A node asks the leader for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who asks. Must be what the peer's certificate says.
    pub node: NodeId,
    /// Its process.
    pub boot: Boot,
    /// Which of its requests: never used twice in one boot.
    pub nonce: u64,
    /// The log index that its published view has reached.
    pub published: u64,
    /// What its machine has written up to there, digested.
    pub digest: u64,
    /// Its wall clock, milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

/// The leader grants what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The process that asked.
    pub boot: Boot,
    /// Which of its requests.
    pub nonce: u64,
    /// The log index that its view must have reached before it uses the lease.
    pub commit: u64,
    /// The cluster's time by the leader, milliseconds since the Unix epoch: its wall clock, but
    /// never earlier than the cluster's time was before.
    pub wall_ms: u64,
}

/// Why a lease was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u16)]
pub enum Reason {
    /// The node that was asked leads no cluster that it knows of.
    #[error("the node asked is not the leader")]
    NotLeader = 1,
    /// The leader is new and has applied nothing of its own yet.
    #[error("the leader has just taken office")]
    TakingOffice = 2,
    /// The node that asks is no member and no learner, or said it was another.
    #[error("not a member of the cluster")]
    NotMember = 3,
    /// Its view is so far behind that its lease would hold every revoke up.
    #[error("the view lags too far behind")]
    Lagging = 4,
    /// No quorum confirmed the leader in time.
    #[error("no quorum confirmed the leader")]
    NoQuorum = 5,
    /// It holds as many unexpired grants as one node may, or too many requests wait.
    #[error("too many requests")]
    TooMany = 6,
    /// Its state is not the leader's at the same log index: one of the two machines is wrong.
    #[error("the node's state has parted from the leader's")]
    Diverged = 7,
}

impl Reason {
    /// For a label, or for programs to branch on.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Reason::NotLeader => "not_leader",
            Reason::TakingOffice => "taking_office",
            Reason::NotMember => "not_member",
            Reason::Lagging => "lagging",
            Reason::NoQuorum => "no_quorum",
            Reason::TooMany => "too_many",
            Reason::Diverged => "diverged",
        }
    }

    pub(crate) fn from_tag(tag: u16) -> Option<Reason> {
        [
            Reason::NotLeader,
            Reason::TakingOffice,
            Reason::NotMember,
            Reason::Lagging,
            Reason::NoQuorum,
            Reason::TooMany,
            Reason::Diverged,
        ]
        .into_iter()
        .find(|reason| *reason as u16 == tag)
    }
}

/// The leader's answer to a [`Request`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Tag 1.
    Granted(Grant),
    /// Tag 2.
    Refused {
        /// The process that asked.
        boot: Boot,
        /// Which of its requests.
        nonce: u64,
        /// Why not.
        reason: Reason,
    },
}

/// A holder tells the leader how far its view is, or that it gave its leases up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who reports. Must be what the peer's certificate says.
    pub node: NodeId,
    /// Its process.
    pub boot: Boot,
    /// The log index that its published view has reached.
    pub published: u64,
    /// Whether this process has given up its leases and will use none any more.
    pub released: bool,
}

/// Why bytes are no such message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a lease message: {0}")]
pub struct BadMessage(CodecError);

/// A message's form on the wire.
pub trait Wire: Sized {
    /// The bytes of this message.
    fn to_bytes(&self) -> Result<Vec<u8>, BadMessage>;
    /// Reads a message back; the whole of `bytes` must be that message.
    fn from_bytes(bytes: &[u8]) -> Result<Self, BadMessage>;
}

macro_rules! plain {
    ($($message:ty),+) => { $(
        impl Wire for $message {
            fn to_bytes(&self) -> Result<Vec<u8>, BadMessage> {
                encode(self)
            }

            fn from_bytes(bytes: &[u8]) -> Result<Self, BadMessage> {
                decode(bytes)
            }
        }
    )+ };
}

plain!(Request, Report);

/// An answer as it is sent: the tag says which of the rest means anything.
#[derive(Serialize, Deserialize)]
struct StoredAnswer {
    tag: u16,
    boot: Boot,
    nonce: u64,
    /// Commit index, or the reason's tag.
    detail: u64,
    /// Zero in a refusal.
    wall_ms: u64,
}

const GRANTED: u16 = 1;
const REFUSED: u16 = 2;

impl Wire for Answer {
    fn to_bytes(&self) -> Result<Vec<u8>, BadMessage> {
        encode(&match *self {
            Answer::Granted(Grant { boot, nonce, commit, wall_ms }) => {
                StoredAnswer { tag: GRANTED, boot, nonce, detail: commit, wall_ms }
            }
            Answer::Refused { boot, nonce, reason } => StoredAnswer {
                tag: REFUSED,
                boot,
                nonce,
                detail: u64::from(reason as u16),
                wall_ms: 0,
            },
        })
    }

    fn from_bytes(bytes: &[u8]) -> Result<Answer, BadMessage> {
        let StoredAnswer { tag, boot, nonce, detail, wall_ms } = decode(bytes)?;
        match tag {
            GRANTED => Ok(Answer::Granted(Grant { boot, nonce, commit: detail, wall_ms })),
            REFUSED => u16::try_from(detail)
                .ok()
                .and_then(Reason::from_tag)
                .map(|reason| Answer::Refused { boot, nonce, reason })
                .ok_or_else(|| malformed(format!("unknown reason {detail}"))),
            other => Err(malformed(format!("unknown answer {other}"))),
        }
    }
}

fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, BadMessage> {
    codec::encode(VERSION, message).map_err(BadMessage)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadMessage> {
    if bytes.len() > MESSAGE_MAX_BYTES {
        return Err(BadMessage(CodecError::TooLong {
            bytes: bytes.len(),
            limit: MESSAGE_MAX_BYTES,
        }));
    }
    codec::decode(VERSION, bytes).map_err(BadMessage)
}

fn malformed(what: String) -> BadMessage {
    BadMessage(CodecError::Malformed(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request = Request {
        node: 3,
        boot: Boot(300),
        nonce: 7,
        published: 250,
        digest: 5,
        wall_ms: 1_700_000_000_000,
    };

    fn golden<M: Wire + PartialEq + std::fmt::Debug>(message: &M, bytes: &[u8]) {
        assert_eq!(message.to_bytes().as_deref(), Ok(bytes));
        assert_eq!(M::from_bytes(bytes).as_ref(), Ok(message));
        for cut in 0..bytes.len() {
            assert!(M::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let more = [bytes, &[0]].concat();
        assert_eq!(M::from_bytes(&more), Err(BadMessage(CodecError::Leftover { bytes: 1 })));
        let newer = [&[VERSION + 1], &bytes[1..]].concat();
        let version = CodecError::Version { found: VERSION + 1, supported: VERSION };
        assert_eq!(M::from_bytes(&newer), Err(BadMessage(version)));
    }

    #[test]
    fn messages_keep_their_bytes() {
        let wall = [253, 0, 104, 229, 207, 139, 1, 0, 0];
        golden(&REQUEST, &[&[1, 3, 251, 44, 1, 7, 250, 5][..], &wall].concat());
        golden(
            &Answer::Granted(Grant {
                boot: Boot(300),
                nonce: 7,
                commit: 9,
                wall_ms: 1_700_000_000_000,
            }),
            &[&[1, 1, 251, 44, 1, 7, 9][..], &wall].concat(),
        );
        for (tag, reason) in [
            (1, Reason::NotLeader),
            (2, Reason::TakingOffice),
            (3, Reason::NotMember),
            (4, Reason::Lagging),
            (5, Reason::NoQuorum),
            (6, Reason::TooMany),
            (7, Reason::Diverged),
        ] {
            golden(&Answer::Refused { boot: Boot(2), nonce: 7, reason }, &[1, 2, 2, 7, tag, 0]);
        }
        for released in [false, true] {
            golden(
                &Report { node: 3, boot: Boot(2), published: 9, released },
                &[1, 3, 2, 9, u8::from(released)],
            );
        }
    }

    #[test]
    fn what_no_node_sends_is_refused() {
        for bytes in [&[1, 3, 2, 7, 1, 0][..], &[1, 2, 2, 7, 0, 0], &[1, 2, 2, 7, 8, 0]] {
            let read = Answer::from_bytes(bytes);
            assert!(matches!(read, Err(BadMessage(CodecError::Malformed(_)))), "{bytes:?}");
        }
        let long = [1; MESSAGE_MAX_BYTES + 1];
        let too_long = CodecError::TooLong { bytes: long.len(), limit: MESSAGE_MAX_BYTES };
        assert_eq!(Report::from_bytes(&long), Err(BadMessage(too_long)));
    }
}
