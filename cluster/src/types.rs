//! The types that the consensus engine is built over.
//!
//! A command is opaque bytes and the leader's stamp; a reply is whatever the machine returned,
//! still in memory. Nothing here is public, and nothing here knows the machine.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use openraft::alias;

use crate::lease::Boot;
use crate::store::disk::File;

/// What is proposed: a command of the machine's, or an entry of this crate's own.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Proposed {
    /// For the machine.
    Command(Command),
    /// The first entry of a reign of the leases: nothing is granted before it is applied.
    Barrier {
        /// The reign's term.
        term: u64,
        /// The leader's process.
        boot: Boot,
    },
    /// The machine's rules of this level hold from here on.
    Level(u32),
}

/// A command on its way through the log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// The leader's wall clock when it took the proposal.
    pub at_ms: u64,
    /// Whether it is answered only once no node can answer from a view before it.
    pub everywhere: bool,
    /// The machine's own encoding.
    pub bytes: Arc<[u8]>,
}

impl fmt::Debug for Proposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proposed::Command(command) => {
                write!(f, "Proposed({} bytes at {})", command.bytes.len(), command.at_ms)
            }
            Proposed::Barrier { term, .. } => write!(f, "Proposed(barrier of term {term})"),
            Proposed::Level(level) => write!(f, "Proposed(level {level})"),
        }
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

/// What the membership says of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Member {
    /// Where its peers reach it; empty where it has none.
    pub address: String,
    /// Which data directory speaks for it: a node whose directory was wiped is another one.
    pub incarnation: Incarnation,
}

/// A number drawn when a data directory is made.
pub(crate) type Incarnation = u64;

/// A complete snapshot file, open for reading from its start.
pub(crate) struct SnapshotData {
    pub file: File,
}

openraft::declare_raft_types!(
    pub(crate) TypeConfig:
        D = Proposed,
        R = Outcome,
        NodeId = u64,
        Node = Member,
        AsyncRuntime = crate::runtime::Engine,
);

pub(crate) type Entry = alias::EntryOf<TypeConfig>;
pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Member>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = alias::SnapshotOf<TypeConfig, SnapshotData>;
