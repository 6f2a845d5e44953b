//! Where whatever finds damage says so, while the node goes on: what is damaged, and what helps.
//!
//! A node with damage answers reads and acknowledges no write of a client. The first damage is kept
//! until it is mended. Must not mend anything, and must not know who looks.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::error::{Fatal, What};

/// Damage that a node has found in what it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What is damaged.
    pub what: What,
    /// Where.
    pub place: String,
    /// What was found.
    pub detail: String,
    /// What becomes of it.
    pub remedy: Remedy,
}

/// What becomes of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The node fetches what is damaged from the other members, while it runs.
    Fetching,
    /// The node stops, and fetches everything from the other members when it starts again.
    Restart,
    /// No other node holds what is damaged: an operator founds the cluster again from a backup.
    Backup,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Remedy::Fetching => "the node fetches it from the other members",
            Remedy::Restart => {
                "the node stops; start it again, and it fetches everything from the other members"
            }
            Remedy::Backup => {
                "no other node holds it: the node answers reads and takes no write; check the disk, \
                 and restore a backup into a new data directory"
            }
        })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { what, place, detail, remedy } = self;
        write!(f, "damaged {what} at {place}: {detail}; {remedy}")
    }
}

/// A block of a chain of the journal, in a segment.
pub(crate) type Block = (Vec<u8>, u64);

/// What was found, before anybody knows what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub fatal: Fatal,
    /// Where it is, if it is in a segment.
    pub block: Option<Block>,
}

/// A place for the first damage; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct DamageCell(Arc<watch::Sender<Option<Found>>>);

impl DamageCell {
    pub(crate) fn new() -> DamageCell {
        DamageCell(Arc::new(watch::Sender::new(None)))
    }

    /// Notes `fatal` if it says that something is damaged.
    pub(crate) fn found(&self, fatal: &Fatal, block: Option<Block>) {
        if !matches!(fatal, Fatal::Damaged { .. }) {
            return;
        }
        self.0.send_if_modified(|found| {
            let first = found.is_none();
            if first {
                tracing::error!(damage = %fatal, "this node has found damage, and acknowledges no write");
                *found = Some(Found { fatal: fatal.clone(), block });
            }
            first
        });
    }

    /// `block` is whole again.
    pub(crate) fn mended(&self, block: &Block) {
        self.0.send_if_modified(|found| {
            let mended = found.as_ref().is_some_and(|found| found.block.as_ref() == Some(block));
            if mended {
                *found = None;
            }
            mended
        });
    }

    pub(crate) fn get(&self) -> Option<Found> {
        self.0.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Found>> {
        self.0.subscribe()
    }
}

impl Found {
    /// The same for whoever looks; `others` says whether other members hold what this node holds.
    pub(crate) fn damage(&self, others: bool) -> Option<Damage> {
        let Fatal::Damaged { what, place, detail } = self.fatal.clone() else { return None };
        let remedy = match (&self.block, others) {
            (_, false) => Remedy::Backup,
            (Some(_), true) => Remedy::Fetching,
            (None, true) => Remedy::Restart,
        };
        Some(Damage { what, place, detail, remedy })
    }
}
