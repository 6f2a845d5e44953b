//! Opening a data directory: everything that a node stands on is read and checked here, before
//! anything runs.
//!
//! What is wrong is named. What peers hold a copy of is put aside and fetched from them; nothing else
//! is mended. Must not know how the parts work together once
//! they run.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::Machine;
use crate::backup;
use crate::config::Config;
use crate::error::{Fatal, StartError, What};
use crate::fatal::FatalCell;
use crate::roster::Roster;
use crate::runtime::{Worker, spawn_blocking};
use crate::store::apply::{Apply, Progress};
use crate::store::clock_record::{ClockFile, ClockRecord};
use crate::store::identity::{self, Fresh, Identity};
use crate::store::journal::JournalShared;
use crate::store::levels;
use crate::store::log::{Log, LogShared, Outside};
use crate::store::renewal;
use crate::store::segments::Segments;
use crate::store::snapshot::Snapshots;
use crate::store::writer::{self, Job, WriterHandle};
use crate::store::{DataDir, Store};
use crate::types::LogId;

/// What is open on disk, and the thread that writes to it.
pub(crate) struct Opened {
    pub store: Arc<Store>,
    writer: WriterHandle,
    writer_thread: Worker,
    /// Let go of last.
    _dir: DataDir,
}

impl Opened {
    /// A way to the writer.
    pub(crate) fn writer(&self) -> WriterHandle {
        self.writer.clone()
    }

    /// Makes everything durable and lets go of the directory.
    pub(crate) async fn close(self) -> Result<(), Fatal> {
        let (done, result) = tokio::sync::oneshot::channel();
        self.writer.send(Job::Barrier(done));
        self.writer.send(Job::Stop);
        self.writer_thread.ended("the writer").await;
        let closing = spawn_blocking(move || {
            self.store.close();
            drop(self._dir);
        });
        if closing.await.is_err() {
            tracing::error!("closing the store panicked");
        }
        result.await.unwrap_or(Err(Fatal::Closed))
    }
}

/// What may become of a directory that holds no node yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Nothing: it is an error.
    None,
    /// A new cluster of one.
    Found,
    /// A node that joins a cluster.
    Join,
}

/// Everything that a node is made of, before it runs.
pub(crate) struct Parts<M: Machine> {
    pub identity: Identity,
    pub newest_level: u32,
    pub log: Log,
    pub apply: Apply<M>,
    pub journal: Arc<JournalShared>,
    pub snapshots: Arc<Snapshots>,
    pub progress: Arc<Progress>,
    pub roster: Arc<Roster>,
    pub fatal: FatalCell,
    pub clock_file: ClockFile,
    /// What it held.
    pub clock_record: Option<ClockRecord>,
    /// Whether the other members are filling this node again.
    pub renewing: bool,
    /// The other voters, as far as this node knew when it stopped.
    pub others: Vec<(u64, String)>,
}

/// Reads and checks everything on disk.
pub(crate) fn open<M: Machine>(
    config: &Config,
    machine: M,
    beginning: Beginning,
) -> Result<(Opened, Parts<M>), StartError> {
    let path = &config.data_dir;
    if beginning == Beginning::None && !identity::exists(path) {
        return Err(StartError::NotInitialised { dir: path.clone() });
    }
    let dir = DataDir::lock(path)?;
    if backup::is_under_way(path) {
        return Err(StartError::RestoreUnfinished { dir: path.clone() });
    }
    let io = |e: io::Error| StartError::io(path, path, "putting damaged files aside in", &e);
    if let Some(why) = renewal::due(path).map_err(io)? {
        renewal::begin(path, &why).map_err(io)?;
    }
    let ground = match Ground::read(config, &machine, beginning) {
        Err(error @ StartError::Damaged { .. }) => {
            if !renewal::begin(path, &error.to_string()).map_err(io)? {
                return Err(error);
            }
            Ground::read(config, &machine, beginning)?
        }
        read => read?,
    };
    let renewing = renewal::under_way(path);
    let store = ground.store.clone();
    match assemble(path, ground, machine) {
        Ok((mut parts, writer_thread)) => {
            parts.renewing = renewing;
            let writer = parts.log.writer.clone();
            Ok((Opened { store, writer, writer_thread, _dir: dir }, parts))
        }
        Err(error) => {
            store.close();
            if let StartError::Damaged { what, place, detail } = &error {
                // The machine has seen it: the next start does without.
                renewal::note(path, &Fatal::damaged(*what, place.clone(), detail.clone()));
            }
            Err(error)
        }
    }
}

/// What is on disk, each part checked by itself.
struct Ground {
    store: Arc<Store>,
    identity: Identity,
    newest_level: u32,
    snapshots: Snapshots,
    log: LogShared,
    outside: Outside,
    journal: JournalShared,
    fatal: FatalCell,
}

impl Ground {
    fn read<M: Machine>(
        config: &Config,
        machine: &M,
        beginning: Beginning,
    ) -> Result<Ground, StartError> {
        let store = Arc::new(Store::open(&config.data_dir, config.cache_bytes)?);
        Ground::on(config, &store, machine, beginning).inspect_err(|_| store.close())
    }

    fn on<M: Machine>(
        config: &Config,
        store: &Arc<Store>,
        machine: &M,
        beginning: Beginning,
    ) -> Result<Ground, StartError> {
        let path = &config.data_dir;
        let named = |e| StartError::fatal(path, e);
        let fatal = FatalCell::new();
        let fresh = Fresh {
            node: config.node_id,
            cluster: config.cluster_id,
            joined: beginning == Beginning::Join,
        };
        let identity = identity::check_or_write(path, store, fresh)?;
        let (level, newest_level) = (levels::read(store).map_err(named)?, machine.newest_level());
        if level > newest_level {
            return Err(named(Fatal::LevelUnknown { level, newest: newest_level }));
        }
        let snapshots = Snapshots::open(path, identity.cluster)?;
        let (log, outside) = LogShared::open(path, store.clone(), fatal.clone())?;
        let newest = snapshots.newest().and_then(|(meta, _)| meta.last_log_id);
        check_reach(&log, newest.as_ref()).map_err(named)?;
        if !outside.ballot.others().is_empty() {
            // Before the machine takes it in, for it can be had from a peer.
            snapshots.check_newest().map_err(named)?;
        }
        let segments = Segments::open(path)
            .map_err(|e| StartError::io(path, &path.join("journal"), "creating", &e))?;
        let journal = JournalShared::open(store.clone(), segments).map_err(named)?;
        if let Some(stale) = &outside.stale {
            journal.damage.found(stale, None);
        }
        let store = store.clone();
        Ok(Ground { store, identity, newest_level, snapshots, log, outside, journal, fatal })
    }
}

fn assemble<M: Machine>(
    path: &Path,
    ground: Ground,
    machine: M,
) -> Result<(Parts<M>, Worker), StartError> {
    let Ground { identity, newest_level, snapshots, log, outside, journal, fatal, .. } = ground;
    let (snapshots, shared, journal) = (Arc::new(snapshots), Arc::new(log), Arc::new(journal));
    let (clock_file, clock_record) = ClockFile::open(path)
        .map_err(|e| StartError::io(path, &path.join("clock"), "opening", &e))?;
    let progress = Arc::new(Progress::new());
    let roster = Arc::new(Roster::new(identity.node));
    let others = outside.ballot.others().to_vec();
    let (writer, thread) = writer::spawn(shared.clone(), outside);
    let mut apply = Apply::new(
        machine,
        journal.clone(),
        snapshots.clone(),
        writer.clone(),
        progress.clone(),
        roster.clone(),
        fatal.clone(),
    );
    if let Err(e) = apply.restore_newest() {
        // It is idle, and why the restore failed is what matters.
        writer.send(Job::Stop);
        return Err(StartError::fatal(path, e));
    }
    let log = Log { shared, writer };
    let renewing = false;
    Ok((
        Parts {
            identity,
            newest_level,
            log,
            apply,
            journal,
            snapshots,
            progress,
            roster,
            fatal,
            clock_file,
            clock_record,
            renewing,
            others,
        },
        thread,
    ))
}

/// Checks that log and snapshot together hold everything that is known to be committed.
fn check_reach(log: &LogShared, snapshot: Option<&LogId>) -> Result<(), Fatal> {
    let index = |id: Option<&LogId>| id.map_or(0, LogId::index);
    let committed = index(log.committed().as_ref());
    let purged = index(log.purged().as_ref());
    let reach = log.last_index().max(index(snapshot));
    if committed > reach {
        let detail = format!("it ends there, although index {committed} is committed");
        return Err(Fatal::damaged(What::Log, format!("index {reach}"), detail));
    }
    if log.purged().is_none() && log.opened_at().is_some_and(|first| first > 0) {
        return Err(Fatal::damaged(What::Log, "index 0", "an entry is missing"));
    }
    if purged > index(snapshot) {
        let place = snapshot.map_or("no file".into(), |id| format!("index {}", id.index()));
        let detail = format!("the log begins after index {purged}");
        return Err(Fatal::damaged(What::Snapshot, place, detail));
    }
    Ok(())
}
