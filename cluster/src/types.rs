//! The types that the consensus engine is built over.
//!
//! A command is opaque bytes and the leader's stamp; a reply is whatever the machine returned,
//! still in memory. Nothing here is public, and nothing here knows the machine.

use std::any::Any;
use std::fmt;
use std::fs::File;
use std::sync::Arc;

use openraft::alias;

/// A command on its way through the log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proposed {
    /// The leader's wall clock when it took the proposal.
    pub at_ms: u64,
    /// The machine's own encoding.
    pub bytes: Arc<[u8]>,
}

impl fmt::Debug for Proposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposed({} bytes at {})", self.bytes.len(), self.at_ms)
    }
}

impl fmt::Display for Proposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry came to: the machine's reply, or nothing for entries without a command.
pub(crate) struct Outcome(pub Option<Box<dyn Any + Send + Sync>>);

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Outcome(reply)" } else { "Outcome(none)" })
    }
}

/// A complete snapshot file, open for reading from its start.
pub(crate) struct SnapshotData {
    pub file: File,
}

openraft::declare_raft_types!(
    pub(crate) TypeConfig:
        D = Proposed,
        R = Outcome,
        NodeId = u64,
        Node = openraft::BasicNode,
);

pub(crate) type Entry = alias::EntryOf<TypeConfig>;
pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, openraft::BasicNode>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = alias::SnapshotOf<TypeConfig, SnapshotData>;
