//! What can go wrong, one enum an operation, each saying what was found, where, and what to do.
//!
//! [`Fatal`] is also the error inside the crate: whatever keeps a node from going on. Must not
//! name a type of openraft or sled.

use std::io;
use std::path::{Path, PathBuf};

use crate::peer::wire_members::Refusal as MemberRefusal;
use crate::stamping::ClockFault;

/// What was found damaged, or written by another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The replicated log.
    Log,
    /// The vote, the commit mark or the mark of what is synced.
    Mark,
    /// A snapshot file.
    Snapshot,
    /// The journal's records.
    Journal,
    /// The journal's posting lists.
    Postings,
    /// The identity of node and cluster.
    Identity,
    /// The store that holds all of these.
    Store,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            What::Log => "log",
            What::Mark => "mark",
            What::Snapshot => "snapshot",
            What::Journal => "journal",
            What::Postings => "journal index",
            What::Identity => "identity",
            What::Store => "store",
        })
    }
}

/// Why a node can not go on. The process should stop with a non-zero status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The disk refused. After a failed sync nothing may be assumed about what it holds.
    #[error("the disk failed while {doing}: {detail}")]
    Disk {
        /// What was being done.
        doing: String,
        /// What the system said.
        detail: String,
        /// Whether the disk is full.
        full: bool,
    },
    /// Stored bytes are not what was written.
    #[error("damaged {what} at {place}: {detail}")]
    Damaged {
        /// What is damaged.
        what: What,
        /// Where.
        place: String,
        /// What was found.
        detail: String,
    },
    /// Stored bytes of a version that this program does not know.
    #[error("{what} at {place} is of version {found}, this program reads version {supported}")]
    Version {
        /// What was found.
        what: What,
        /// Where.
        place: String,
        /// Its version.
        found: u8,
        /// The version that this program reads.
        supported: u8,
    },
    /// A committed command does not decode. It is never skipped.
    #[error("the command at log index {index} does not decode: {detail}")]
    Undecodable {
        /// Its place in the log.
        index: u64,
        /// What the machine said.
        detail: String,
    },
    /// The cluster was raised to a level that this build of the machine does not know.
    #[error(
        "the cluster's machine was raised to level {level}, and this program knows levels up to {newest}; start the version that the other nodes run, or a newer one"
    )]
    LevelUnknown {
        /// The cluster's.
        level: u32,
        /// The newest that this program knows.
        newest: u32,
    },
    /// The machine wrote a record that differs from the one that the journal holds.
    #[error(
        "the machine rewrote record {seq} of chain {chain}: it no longer yields the same history"
    )]
    JournalRewritten {
        /// The chain, escaped for printing.
        chain: String,
        /// The record's position.
        seq: u64,
    },
    /// The machine skipped a position of a chain.
    #[error("chain {chain} goes on at {expected}, the machine wrote record {found}")]
    JournalGap {
        /// The chain, escaped for printing.
        chain: String,
        /// The next position.
        expected: u64,
        /// The position that the machine wrote.
        found: u64,
    },
    /// The machine wrote a record over a limit.
    #[error("the machine wrote a record over the limits to chain {chain} at {seq}: {detail}")]
    RecordTooLarge {
        /// The chain, escaped for printing.
        chain: String,
        /// The record's position.
        seq: u64,
        /// Which limit.
        detail: String,
    },
    /// The machine panicked while it applied a command.
    #[error("the machine panicked at log index {index}")]
    MachinePanicked {
        /// The command's place in the log.
        index: u64,
    },
    /// The consensus engine stopped.
    #[error("consensus stopped: {detail}")]
    Consensus {
        /// What it said.
        detail: String,
    },
    /// The store has been closed by a shutdown.
    #[error("the store is closed")]
    Closed,
}

impl Fatal {
    pub(crate) fn disk(doing: impl Into<String>, error: &io::Error) -> Fatal {
        Fatal::Disk {
            doing: doing.into(),
            detail: error.to_string(),
            full: error.kind() == io::ErrorKind::StorageFull,
        }
    }

    pub(crate) fn damaged(
        what: What,
        place: impl Into<String>,
        detail: impl Into<String>,
    ) -> Fatal {
        Fatal::Damaged { what, place: place.into(), detail: detail.into() }
    }

    /// An error of the store underneath, met while reading or writing `what`.
    pub(crate) fn sled(what: What, doing: &str, error: sled::Error) -> Fatal {
        match error {
            sled::Error::Io(e) => Fatal::disk(doing, &e),
            sled::Error::Corruption { at, .. } => {
                let place = at.map_or_else(|| "an unknown offset".into(), |at| format!("{at:?}"));
                Fatal::damaged(what, place, format!("found while {doing}"))
            }
            other => Fatal::damaged(What::Store, doing, other.to_string()),
        }
    }

    pub(crate) fn codec(
        what: What,
        place: impl Into<String>,
        error: crate::codec::CodecError,
    ) -> Fatal {
        match error {
            crate::codec::CodecError::Version { found, supported } => {
                Fatal::Version { what, place: place.into(), found, supported }
            }
            other => Fatal::damaged(what, place, other.to_string()),
        }
    }
}

impl From<Fatal> for io::Error {
    fn from(fatal: Fatal) -> io::Error {
        io::Error::other(fatal)
    }
}

/// Why a node did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The directory holds no node, and none was to be founded.
    #[error("{} holds no node yet; initialise one there, or point to the right data directory", dir.display())]
    NotInitialised {
        /// The data directory.
        dir: PathBuf,
    },
    /// A backup was being restored into the directory, and that did not end.
    #[error("a backup was being restored into {}, and that was interrupted; restore it again, into the same directory", dir.display())]
    RestoreUnfinished {
        /// The data directory.
        dir: PathBuf,
    },
    /// Another process runs on the directory.
    #[error("{} is in use by another process; stop that one first, or choose another data directory", dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// The directory can not be written to.
    #[error("{} cannot be written to ({detail}); give this user write access to it", path.display())]
    Unwritable {
        /// What could not be written.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// The disk is full.
    #[error("the disk that holds {} is full; free some space and start again", dir.display())]
    DiskFull {
        /// The data directory.
        dir: PathBuf,
    },
    /// The directory was written by another version of this program.
    #[error(
        "{what} at {place} is of version {found}, this program reads version {supported}; start the version that wrote it, or upgrade"
    )]
    Version {
        /// What was found.
        what: What,
        /// Where.
        place: String,
        /// Its version.
        found: u8,
        /// The version that this program reads.
        supported: u8,
    },
    /// The directory belongs to another node.
    #[error("{} belongs to node {stored}, but this is node {configured}; correct the node id or the data directory", dir.display())]
    ForeignNode {
        /// The data directory.
        dir: PathBuf,
        /// Whose it is.
        stored: u64,
        /// Who asked.
        configured: u64,
    },
    /// Something in the directory belongs to another cluster.
    #[error("{} belongs to cluster {found}, but cluster {expected} was expected; it was copied from elsewhere: remove it or restore the right data directory", path.display())]
    ForeignCluster {
        /// What belongs to it.
        path: PathBuf,
        /// The cluster it belongs to, in hex.
        found: String,
        /// The cluster that was expected, in hex.
        expected: String,
    },
    /// A certificate, its key or the CA that the peers trust cannot be used.
    #[error(
        "{} cannot be used between peers: {detail}; point to the file that was made for this node of this cluster, readable by this user",
        path.display()
    )]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The address for peers cannot be had.
    #[error(
        "cannot listen for peers on {address}: {detail}; stop what holds it, or choose another address"
    )]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        detail: String,
    },
    /// The node has not been taken into the cluster that it joins.
    #[error("the cluster does not take this node in: {detail}")]
    NotTakenIn {
        /// Why not, and what to do.
        detail: String,
    },
    /// Something in the directory is damaged.
    #[error(
        "damaged {what} at {place}: {detail}; this node will not start on it: check the disk, then let a new node join in its stead, or, if no other is left, restore a backup"
    )]
    Damaged {
        /// What is damaged.
        what: What,
        /// Where.
        place: String,
        /// What was found.
        detail: String,
    },
    /// Something else that keeps a node from going on.
    #[error(transparent)]
    Fatal(Fatal),
}

impl StartError {
    /// `error`, met while touching `path` in `dir`, in words for whoever starts the node.
    pub(crate) fn io(dir: &Path, path: &Path, doing: &str, error: &io::Error) -> StartError {
        use io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem, StorageFull};
        match error.kind() {
            StorageFull => StartError::DiskFull { dir: dir.into() },
            PermissionDenied | ReadOnlyFilesystem | NotADirectory => {
                StartError::Unwritable { path: path.into(), detail: error.to_string() }
            }
            _ => StartError::Fatal(Fatal::disk(format!("{doing} {}", path.display()), error)),
        }
    }

    pub(crate) fn fatal(dir: &Path, fatal: Fatal) -> StartError {
        match fatal {
            Fatal::Disk { full: true, .. } => StartError::DiskFull { dir: dir.into() },
            Fatal::Damaged { what, place, detail } => StartError::Damaged { what, place, detail },
            Fatal::Version { what, place, found, supported } => {
                StartError::Version { what, place, found, supported }
            }
            other => StartError::Fatal(other),
        }
    }
}

/// Why a proposal was not answered with a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// The command is over the limit. It was not appended.
    #[error("the command has {bytes} bytes, {limit} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The command counts as more than the limit where it is read back. It was not appended.
    #[error("the command counts as more than {limit} bytes")]
    CountsTooMuch {
        /// The limit.
        limit: usize,
    },
    /// The command would not read back from the log. It was not appended.
    #[error("the command cannot be stored: {detail}")]
    Unreadable {
        /// What is wrong with it.
        detail: String,
    },
    /// Too many proposals are in flight. It was not appended.
    #[error("too many proposals are in flight")]
    Overloaded,
    /// No leader was found in time. It was not appended.
    #[error("no quorum")]
    NoQuorum,
    /// It may or may not have been appended, and may yet take effect.
    #[error("the outcome is not known")]
    OutcomeUnknown,
    /// The cluster has not been raised to the level that the command needs. It was not appended.
    #[error("the command needs machine level {needs}, the cluster is at {level}")]
    AboveLevel {
        /// What it needs.
        needs: u32,
        /// What the cluster is at.
        level: u32,
    },
    /// The wall clock is not to be trusted. It was not appended.
    #[error(transparent)]
    Clock(ClockFault),
    /// The node is shutting down. It was not appended.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The node can not go on. It was not appended.
    #[error(transparent)]
    Fatal(Fatal),
}

/// Why a wait or a read was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The deadline passed.
    #[error("timed out")]
    Timeout,
    /// No quorum confirmed the read.
    #[error("no quorum")]
    NoQuorum,
    /// The index waited for is beyond the log.
    #[error("the log ends at {last}")]
    Beyond {
        /// Where the log ends.
        last: u64,
    },
    /// The node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The node can not go on.
    #[error(transparent)]
    Fatal(Fatal),
}

/// Why the cluster was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// It must not be done.
    #[error("the cluster refuses: {0}")]
    Refused(MemberRefusal),
    /// No leader did it in time. It may yet happen; asking again does no harm.
    #[error("no leader did it in time; see the cluster's status and try again")]
    NoQuorum,
    /// The node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The node can not go on.
    #[error(transparent)]
    Fatal(Fatal),
}

/// Why the journal did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A record, or the index that leads to it, is damaged or missing.
    #[error("damaged record {seq} of chain {}", chain.escape_ascii())]
    Damaged {
        /// The chain.
        chain: Vec<u8>,
        /// The first position that could not be read.
        seq: u64,
    },
    /// The disk refused.
    #[error("the disk failed while reading the journal: {detail}")]
    Disk {
        /// What the system said.
        detail: String,
    },
    /// The node has been shut down.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    /// `fatal`, met while reading `chain` at `seq`.
    pub(crate) fn at(chain: &[u8], seq: u64, fatal: Fatal) -> JournalError {
        match fatal {
            Fatal::Closed => JournalError::Closed,
            Fatal::Disk { detail, .. } => JournalError::Disk { detail },
            _ => JournalError::Damaged { chain: chain.to_vec(), seq },
        }
    }
}
