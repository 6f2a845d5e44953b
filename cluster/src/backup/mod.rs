//! Backups: one file that holds the machine's state at one index and the whole journal up to there.
//!
//! A running node makes one as a stream ([`crate::Handle::backup`]); [`check`] reads one without a
//! node, and [`restore`] founds a new cluster from one. Everything in it is checked on the way in, and
//! the first bad place is named. Must not know what the state or a record means.

mod check;
mod create;
mod file;
mod restore;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::store::identity::{ClusterId, hex};

pub use check::{check, check_frames};
pub use create::{Backup, BackupBroken};
pub(crate) use restore::is_under_way;
pub use restore::{RestoreError, Restored, restore};

/// Where and when a backup was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The cluster that it is of.
    pub cluster: ClusterId,
    /// The log index that the state has reached: it holds every command up to there.
    pub index: u64,
    /// The wall clock of the node that made it, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The program that made it, for people.
    pub program: String,
    /// Which of the machine's rules held.
    pub level: u32,
}

impl Origin {
    /// The cluster's id as people see it.
    pub fn cluster_hex(&self) -> String {
        hex(&self.cluster)
    }
}

/// What a backup that was read to its end holds besides the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Where and when it was made.
    pub origin: Origin,
    /// How many chains the journal has.
    pub chains: u64,
    /// How many records they hold together.
    pub records: u64,
    /// SHA-256 of the file up to its last frame, which holds it.
    pub sha256: [u8; 32],
    /// The file's size.
    pub bytes: u64,
}

/// Why a backup was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The disk refused.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// It is no backup at all.
    #[error("it is no backup of AuthRAI")]
    NotABackup,
    /// It was written by another version of this program.
    #[error("it is a backup of version {found}; this program reads version {supported}")]
    Version {
        /// Its version.
        found: u8,
        /// The version that this program reads.
        supported: u8,
    },
    /// Its state was made by rules that this program does not know.
    #[error(
        "it is of machine level {found}; this program knows levels up to {newest}: use a newer one"
    )]
    Level {
        /// Its level.
        found: u32,
        /// The newest level that this program knows.
        newest: u32,
    },
    /// It is not what was written.
    #[error("damaged in frame {frame}, which begins at byte {offset}: {detail}")]
    Damaged {
        /// Which frame, from 1.
        frame: u64,
        /// Its first byte, from 0.
        offset: u64,
        /// What is wrong with it.
        detail: String,
    },
}
