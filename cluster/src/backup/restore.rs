//! Founding a new cluster from a backup.
//!
//! Whatever the backup's cluster promised after it was made is not in it, so the new cluster is
//! another one: with an id of its own, this node as its only member, and a first command, which the
//! machine applies to the state before anybody can see that. Journal, state and command become
//! durable in a directory that a marker keeps any node from starting in; the marker goes last. So a
//! restore that was interrupted has happened either not at all or as a whole, and is begun anew by
//! asking for it again. Must not know what the command does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::walk;
use super::{BackupError, Contents};
use crate::config::Config;
use crate::error::{Fatal, StartError};
use crate::peer::tls::Credentials;
use crate::store::disk::sync_dir;
use crate::store::identity::{self, ClusterId, Fresh, Identity};
use crate::store::journal::JournalShared;
use crate::store::segments::Segments;
use crate::store::snapshot::Snapshots;
use crate::store::stored::StoredLogId;
use crate::store::{DataDir, Store, replace_file};
use crate::types::{LogId, Member, Membership, SnapshotMeta, StoredMembership};
use crate::{Machine, Stamp, wall_clock};

/// There while a restore is under way.
const MARKER: &str = "restoring";
/// What a node keeps in its directory: see [`crate::store`].
const OWN: [&str; 9] =
    ["identity", "mark", "store", "journal", "snapshots", RUN, "renewing", "renew", "damaged"];
/// What a node has in its directory as soon as it runs, and a restore never makes.
const RUN: &str = "ballot";

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory holds a node.
    #[error(
        "{} already holds a node; a backup is restored into an empty directory only: choose another \
         data directory", dir.display()
    )]
    NotEmpty {
        /// The data directory.
        dir: PathBuf,
    },
    /// The certificate is one of the cluster that the backup is of.
    #[error(
        "{} names cluster {cluster}, which the backup is of. What is restored is a new cluster, so \
         that nothing of the old one is taken for its own: make it certificates for a new id",
        path.display()
    )]
    SameCluster {
        /// The certificate.
        path: PathBuf,
        /// The cluster, in hex.
        cluster: String,
    },
    /// The backup is not what it should be.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The caller, or the machine, does not go along.
    #[error("{0}")]
    Declined(String),
    /// The directory cannot be used, or the certificate.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A cluster that was founded from a backup.
#[derive(Debug)]
pub struct Restored<R> {
    /// What the backup held.
    pub contents: Contents,
    /// The new cluster.
    pub cluster: ClusterId,
    /// What the first command came to.
    pub reply: R,
}

/// Whether a restore into `data_dir` was begun and has not ended.
pub(crate) fn is_under_way(data_dir: &Path) -> bool {
    data_dir.join(MARKER).exists()
}

/// Founds a cluster in `config.data_dir` from the backup that `from` yields. `first` makes the
/// command that is applied to the state, for a cluster of this id; it is the place to look at the
/// state and to decline. Blocks.
pub fn restore<M: Machine>(
    config: &Config,
    mut machine: M,
    from: impl Read,
    first: impl FnOnce(&M, &Contents, ClusterId) -> Result<M::Command, String>,
) -> Result<Restored<M::Reply>, RestoreError> {
    let dir = &config.data_dir;
    let cluster = match &config.peers {
        Some(peers) => Some(Credentials::of_node(peers, config.node_id)?.cluster),
        None => config.cluster_id,
    };
    let _lock = DataDir::lock(dir)?;
    let io = |e: io::Error| StartError::io(dir, &dir.join(MARKER), "marking", &e);
    // Whatever the marker says: where a node has run, it was not an interrupted restore that left this.
    let interrupted = is_under_way(dir) && !dir.join(RUN).exists();
    if interrupted {
        clear(dir).map_err(io)?;
    } else if OWN.iter().any(|name| dir.join(name).exists()) {
        return Err(RestoreError::NotEmpty { dir: dir.clone() });
    }
    replace_file(&dir.join(MARKER), b"").map_err(io)?;
    let store = Arc::new(Store::open(dir, config.cache_bytes)?);
    let seeded = seed(config, cluster, &store, &mut machine, from, first);
    store.close();
    if seeded.is_err() {
        // What it came to is what counts; the next attempt clears what is left.
        let _ = clear(dir);
    }
    let restored = seeded?;
    fs::remove_file(dir.join(MARKER)).and_then(|()| sync_dir(dir)).map_err(io)?;
    Ok(restored)
}

/// Removes what an attempt left, the marker last.
fn clear(dir: &Path) -> io::Result<()> {
    for name in OWN {
        let path = dir.join(name);
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    sync_dir(dir)?;
    match fs::remove_file(dir.join(MARKER)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// An error while the journal is taken in.
enum Stopped {
    Backup(BackupError),
    Disk(Fatal),
}

impl From<BackupError> for Stopped {
    fn from(error: BackupError) -> Stopped {
        Stopped::Backup(error)
    }
}

fn seed<M: Machine>(
    config: &Config,
    cluster: Option<ClusterId>,
    store: &Arc<Store>,
    machine: &mut M,
    from: impl Read,
    first: impl FnOnce(&M, &Contents, ClusterId) -> Result<M::Command, String>,
) -> Result<Restored<M::Reply>, RestoreError> {
    let dir = &config.data_dir;
    let fatal = |e| StartError::fatal(dir, e);
    let fresh = Fresh { node: config.node_id, cluster, joined: false };
    let identity = identity::check_or_write(dir, store, fresh)?;
    let segments = Segments::open(dir)
        .map_err(|e| StartError::io(dir, &dir.join("journal"), "creating", &e))?;
    let journal = JournalShared::open(store.clone(), segments).map_err(fatal)?;
    let contents = walk::<M, Stopped>(from, machine, |records| {
        journal.append(records).and_then(|()| archive(store, &journal)).map_err(Stopped::Disk)
    });
    let contents = contents.map_err(|stopped| match stopped {
        Stopped::Backup(error) => RestoreError::Backup(error),
        Stopped::Disk(error) => fatal(error).into(),
    })?;
    if let Some(peers) =
        config.peers.as_ref().filter(|_| identity.cluster == contents.origin.cluster)
    {
        let cluster = contents.origin.cluster_hex();
        return Err(RestoreError::SameCluster { path: peers.certificate.clone(), cluster });
    }
    let command = first(machine, &contents, identity.cluster).map_err(RestoreError::Declined)?;
    let index = contents.origin.index.saturating_add(1);
    machine.at_level(contents.origin.level);
    let applied = machine.apply(Stamp { index, at_ms: wall_clock::now_ms() }, command);
    journal.append(applied.records).and_then(|()| store.sync()).map_err(fatal)?;
    let snapshots = Snapshots::open(dir, identity.cluster)?;
    snapshots
        .take::<M>(&machine.freeze(), &founding(config, identity, index), contents.origin.level)
        .map_err(fatal)?;
    Ok(Restored { contents, cluster: identity.cluster, reply: applied.reply })
}

/// Moves complete blocks out of the store, which keeps in memory what it holds.
fn archive(store: &Store, journal: &JournalShared) -> Result<(), Fatal> {
    let due = journal.due();
    if due.is_empty() {
        return Ok(());
    }
    // A segment must never know of records that the store may lose.
    store.sync()?;
    for (chain, blocks) in due {
        for block in blocks {
            journal.archive(&chain, block)?;
        }
    }
    Ok(())
}

/// What the engine finds: a state that holds the first command, and one member. Its term is the one
/// before every election.
fn founding(config: &Config, identity: Identity, index: u64) -> SnapshotMeta {
    let at: LogId = StoredLogId { term: 0, node: identity.node, index }.into();
    let address = config.peers.as_ref().map_or_else(String::new, |peers| {
        // The node says where it is reached when it starts; this is what is known before.
        let listen = || peers.listen.to_string();
        if peers.advertise.is_empty() { listen() } else { peers.advertise.clone() }
    });
    let member = Member { address, incarnation: identity.incarnation };
    let voters = vec![BTreeSet::from([identity.node])];
    let nodes = BTreeMap::from([(identity.node, member)]);
    // It fails only where a voter is no member.
    let membership = Membership::new(voters, nodes).unwrap_or_default();
    SnapshotMeta {
        last_log_id: Some(at),
        last_membership: StoredMembership::new(Some(at), membership),
    }
}
