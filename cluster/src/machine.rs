//! The contract between this crate and the state machine that it replicates.
//!
//! A machine is deterministic: the same stamped commands in the same order give the same state,
//! replies and records on every node. This crate moves a machine's commands and replies about as
//! bytes and never looks inside them; it must not know what they mean.

use std::io;

/// What a command that does not decode was wrong about. Stored bytes that a machine cannot read
/// are never skipped: the node stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode: {0}")]
pub struct Undecodable(pub String);

/// Why a command must not be proposed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproposable {
    /// It is larger than the machine takes, as the machine counts it.
    #[error("it counts as more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// What was encoded does not decode to what it was made of.
    #[error("it does not read back: {0}")]
    Unreadable(String),
}

/// Where and when a command stands in the replicated log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Raft log index.
    pub index: u64,
    /// The leader's wall clock when it took the proposal, milliseconds since the Unix epoch. It can
    /// run backwards between leaders; the machine clamps it.
    pub at_ms: u64,
}

/// One record for the journal: append-only history that a machine writes and does not keep in
/// memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The chain that the record belongs to, at most [`crate::limits::CHAIN_KEY_MAX_BYTES`].
    pub chain: Vec<u8>,
    /// Position in its chain, from 1, without gaps.
    pub seq: u64,
    /// What the record can be found by besides its position, at most
    /// [`crate::limits::RECORD_TAGS_MAX`] of [`crate::limits::TAG_MAX_BYTES`] each.
    pub tags: Vec<Vec<u8>>,
    /// The record itself, opaque.
    pub bytes: Vec<u8>,
}

/// What applying one command came to.
#[derive(Debug)]
pub struct Applied<R> {
    /// The answer for whoever proposed the command.
    pub reply: R,
    /// History to append, in order.
    pub records: Vec<Record>,
}

/// A deterministic state machine.
pub trait Machine: Send + Sync + 'static {
    /// What can be proposed.
    type Command: Send + Sync + 'static;
    /// What a proposal is answered with.
    type Reply: Send + Sync + 'static;
    /// A cheap, immutable copy of the state, from which a snapshot is written while the machine
    /// goes on.
    type Frozen: Send + Sync + 'static;

    /// The stored form of a command.
    fn encode_command(command: &Self::Command) -> Vec<u8>;
    /// Reads a stored command back.
    fn decode_command(bytes: &[u8]) -> Result<Self::Command, Undecodable>;
    /// Whether every node will be able to read `bytes`, which [`Machine::encode_command`] made of a
    /// command that is about to be proposed. Asked of every command before it is appended. Limits
    /// here must be far stricter than those of [`Machine::decode_command`].
    fn check_command(bytes: &[u8]) -> Result<(), Unproposable> {
        match Self::decode_command(bytes) {
            Ok(command) if Self::encode_command(&command) == bytes => Ok(()),
            Ok(_) => Err(Unproposable::Unreadable("it reads back as another command".into())),
            Err(Undecodable(why)) => Err(Unproposable::Unreadable(why)),
        }
    }
    /// The form in which a reply crosses from the leader to the node that was asked.
    fn encode_reply(reply: &Self::Reply) -> Vec<u8>;
    /// Reads a reply back.
    fn decode_reply(bytes: &[u8]) -> Result<Self::Reply, Undecodable>;

    /// Folds one command in. Must survive every command that decodes: a panic here would take
    /// every replica down at the same entry.
    fn apply(&mut self, stamp: Stamp, command: Self::Command) -> Applied<Self::Reply>;

    /// The newest level of rules that this build of the machine knows; see [`Machine::at_level`].
    fn newest_level(&self) -> u32 {
        1
    }

    /// The least level of the cluster at which `command` may be proposed: below it, members of an
    /// older build would not know what to make of it.
    fn level_of(command: &Self::Command) -> u32 {
        let _ = command;
        1
    }

    /// From the next entry on the rules of `level` hold. Every node is told at the same entry; after
    /// a restore, before anything is applied. What is decided in a new way is decided so only from
    /// its level on.
    fn at_level(&mut self, level: u32) {
        let _ = level;
    }

    /// Makes everything up to log index `index` visible to readers on this node. Called after
    /// every applied batch, before any of its proposers is answered; also for entries that carry
    /// no command (`index` then just advances), and once after a restore.
    fn publish(&mut self, index: u64);

    /// A copy to write a snapshot from.
    fn freeze(&self) -> Self::Frozen;
    /// Writes a snapshot of `frozen`; the same state gives the same bytes on every node.
    fn write_snapshot(frozen: &Self::Frozen, out: &mut dyn io::Write) -> io::Result<()>;
    /// Replaces the whole state by what [`Machine::write_snapshot`] wrote.
    fn restore(&mut self, from: &mut dyn io::Read) -> Result<(), Undecodable>;
    /// For each journal chain, the position of its last record, as the state knows it.
    fn heads(&self) -> Vec<(Vec<u8>, u64)>;

    /// Whether a record may follow `previous` in its chain; `None` before the first. Asked of
    /// records that came from a peer instead of from this machine. A machine that links its
    /// records says what it knows; one that does not has nothing to say.
    fn follows(previous: Option<&[u8]>, record: &[u8]) -> bool {
        let _ = (previous, record);
        true
    }

    /// Whether `record` is the one that the state knows as the last of `chain`. Asked after a
    /// restore.
    fn ends_with(&self, chain: &[u8], record: &[u8]) -> bool {
        let _ = (chain, record);
        true
    }
}
