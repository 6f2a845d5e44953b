//! Starting and stopping a node: the only place that puts the parts together.
//!
//! A start reads and checks everything that the node stands on before anything runs, and names
//! what is wrong with it. A shutdown makes everything durable and lets go of the directory. Must
//! not know what the machine does.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{BasicNode, Raft, SnapshotPolicy};
use tokio::sync::watch;
use tokio::task;

use crate::Machine;
use crate::error::{Fatal, StartError, What};
use crate::fatal::FatalCell;
use crate::handle::{Admission, Core, Handle};
use crate::limits::READY_ATTEMPT;
use crate::network::NoPeers;
use crate::store::apply::{Apply, Progress};
use crate::store::identity::{self, ClusterId, Identity};
use crate::store::journal::JournalShared;
use crate::store::log::{Log, LogShared};
use crate::store::scrub::{Pace, Scrub};
use crate::store::snapshot::Snapshots;
use crate::store::writer::{self, Job, WriterHandle};
use crate::store::{DataDir, Store};
use crate::types::{LogId, TypeConfig};

/// Where a node lives and how it behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The directory that holds everything.
    pub data_dir: PathBuf,
    /// This node; never given to another one.
    pub node_id: u64,
    /// The cluster that the directory must belong to, if the caller knows. A cluster founded here
    /// gets this id, or else a random one.
    pub cluster_id: Option<ClusterId>,
    /// A snapshot is written after this many log entries.
    pub snapshot_every_entries: u64,
    /// A snapshot is written after this many bytes of commands.
    pub snapshot_every_bytes: u64,
    /// Log entries kept behind a snapshot, for members that lag a little.
    pub log_keep_entries: u64,
    /// Cache of the store.
    pub cache_bytes: u64,
    /// How fast the background check reads the journal.
    pub scrub_bytes_per_second: u64,
    /// How long the background check rests between two passes.
    pub scrub_pause: Duration,
}

impl Config {
    /// Node 1 in `data_dir`, with what suits most.
    pub fn new(data_dir: impl Into<PathBuf>) -> Config {
        Config {
            data_dir: data_dir.into(),
            node_id: 1,
            cluster_id: None,
            snapshot_every_entries: 100_000,
            snapshot_every_bytes: 256 * 1024 * 1024,
            log_keep_entries: 10_000,
            cache_bytes: 512 * 1024 * 1024,
            scrub_bytes_per_second: 4 * 1024 * 1024,
            scrub_pause: Duration::from_secs(6 * 60 * 60),
        }
    }

    /// The consensus engine's settings.
    fn raft(&self) -> openraft::Config {
        openraft::Config {
            cluster_name: "authrai".into(),
            heartbeat_interval: 150,
            election_timeout_min: 450,
            election_timeout_max: 900,
            // The default, 200 ms, is no time to write a whole state.
            install_snapshot_timeout: 60_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every_entries.max(1)),
            max_in_snapshot_log_to_keep: self.log_keep_entries,
            purge_batch_size: 1,
            replication_lag_threshold: self.log_keep_entries.max(5_000),
            enable_pre_vote: Some(true),
            // A leader that restarts must be elected again: it has forgotten what it granted.
            enable_leader_restore: Some(false),
            ..openraft::Config::default()
        }
    }
}

/// A running node.
pub struct Node<M: Machine> {
    core: Arc<Core<M>>,
    opened: Opened,
    scrub_thread: JoinHandle<()>,
    tasks: Vec<task::JoinHandle<()>>,
}

impl<M: Machine> fmt::Debug for Node<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.core.identity.node).finish_non_exhaustive()
    }
}

/// What is open on disk, and the thread that writes to it.
struct Opened {
    _dir: DataDir,
    store: Arc<Store>,
    writer: WriterHandle,
    writer_thread: Option<JoinHandle<()>>,
}

impl Opened {
    /// Makes everything durable and lets go of the directory.
    fn close(mut self) -> Result<(), Fatal> {
        let (done, result) = tokio::sync::oneshot::channel();
        self.writer.send(Job::Barrier(done));
        self.writer.send(Job::Stop);
        if let Some(thread) = self.writer_thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer panicked");
        }
        self.store.close();
        result.blocking_recv().unwrap_or(Err(Fatal::Closed))
    }
}

/// Everything that a node is made of, before it runs.
struct Parts<M: Machine> {
    opened: Opened,
    identity: Identity,
    log: Log,
    apply: Apply<M>,
    journal: Arc<JournalShared>,
    snapshots: Arc<Snapshots>,
    progress: Arc<Progress>,
    fatal: FatalCell,
}

impl<M: Machine> Node<M> {
    /// Opens the node in `config.data_dir`. `found` says whether a directory without one may
    /// become a new cluster with this node as its only member.
    pub async fn start(config: Config, machine: M, found: bool) -> Result<Node<M>, StartError> {
        let dir = config.data_dir.clone();
        let opening = config.clone();
        let parts = task::spawn_blocking(move || open(&opening, machine, found)).await;
        let parts = parts.map_err(|e| {
            StartError::Fatal(Fatal::Consensus { detail: format!("opening panicked: {e}") })
        })??;
        let Parts { opened, identity, log, apply, journal, snapshots, progress, fatal } = parts;
        let shared = log.shared.clone();
        let raft = match start_raft(&config, identity, log, apply, found).await {
            Ok(raft) => raft,
            Err(error) => {
                let reason = fatal.get().map_or(error, |f| StartError::fatal(&dir, f));
                // What went wrong matters more than whether closing went well.
                let _ = task::spawn_blocking(move || opened.close()).await;
                return Err(reason);
            }
        };
        let pace =
            Pace { bytes_per_second: config.scrub_bytes_per_second, between: config.scrub_pause };
        let (scrub, scrub_thread) = Scrub::spawn(journal.clone(), pace);
        let core = Arc::new(Core {
            raft,
            store: opened.store.clone(),
            log: shared,
            journal,
            snapshots,
            progress,
            scrub,
            fatal,
            identity,
            serving: AtomicBool::new(false),
            ready: watch::Sender::new(false),
            stopping: watch::Sender::new(false),
            admission: Admission::new(),
        });
        let tasks = vec![
            task::spawn(become_ready(core.clone())),
            task::spawn(stop_serving_on_fatal(core.clone())),
            task::spawn(watch_consensus(core.clone())),
            task::spawn(snapshot_by_bytes(core.clone(), config.snapshot_every_bytes)),
        ];
        Ok(Node { core, opened, scrub_thread, tasks })
    }

    /// A way to the running node.
    pub fn handle(&self) -> Handle<M> {
        Handle::new(self.core.clone())
    }

    /// Resolves when the node can not go on. The process should then stop with a non-zero status.
    pub async fn fatal(&self) -> Fatal {
        self.core.fatal.wait().await
    }

    /// Stops: everything is durable and the directory is free when it returns.
    pub async fn shutdown(self) -> Result<(), Fatal> {
        let Node { core, opened, scrub_thread, tasks } = self;
        core.stopping.send_replace(true);
        core.serving.store(false, Ordering::Release);
        for task in &tasks {
            task.abort();
        }
        // It fails only if the engine's task panicked; then it has stopped all the same.
        if let Err(e) = core.raft.shutdown().await {
            tracing::warn!(error = %e, "the consensus engine did not stop cleanly");
        }
        core.scrub.stop();
        let closed = task::spawn_blocking(move || {
            let closed = opened.close();
            if scrub_thread.join().is_err() {
                tracing::error!("the background check panicked");
            }
            closed
        });
        let closed = closed.await.unwrap_or(Err(Fatal::Closed));
        core.fatal.get().map_or(closed, Err)
    }
}

/// Reads and checks everything on disk.
fn open<M: Machine>(config: &Config, machine: M, found: bool) -> Result<Parts<M>, StartError> {
    let path = &config.data_dir;
    if !found && !identity::exists(path) {
        return Err(StartError::NotInitialised { dir: path.clone() });
    }
    let dir = DataDir::lock(path)?;
    let store = Arc::new(Store::open(path, config.cache_bytes)?);
    let fatal = FatalCell::new();
    let opened = open_store(config, &store, machine, &fatal);
    match opened {
        Ok((identity, writer, writer_thread, log, apply, journal, snapshots, progress)) => {
            let opened = Opened { _dir: dir, store, writer, writer_thread: Some(writer_thread) };
            Ok(Parts { opened, identity, log, apply, journal, snapshots, progress, fatal })
        }
        Err(error) => {
            store.close();
            Err(error)
        }
    }
}

type OpenedStore<M> = (
    Identity,
    WriterHandle,
    JoinHandle<()>,
    Log,
    Apply<M>,
    Arc<JournalShared>,
    Arc<Snapshots>,
    Arc<Progress>,
);

fn open_store<M: Machine>(
    config: &Config,
    store: &Arc<Store>,
    machine: M,
    fatal: &FatalCell,
) -> Result<OpenedStore<M>, StartError> {
    let path = &config.data_dir;
    let named = |e| StartError::fatal(path, e);
    let identity = identity::check_or_write(path, store, config.node_id, config.cluster_id)?;
    let snapshots = Arc::new(Snapshots::open(path, identity.cluster)?);
    let (shared, mark) = LogShared::open(path, store.clone(), fatal.clone())?;
    let shared = Arc::new(shared);
    let newest = snapshots.newest().and_then(|(meta, _)| meta.last_log_id);
    check_reach(&shared, newest.as_ref()).map_err(named)?;
    let journal = Arc::new(JournalShared::open(store.clone()).map_err(named)?);
    let progress = Arc::new(Progress::new());
    let (writer, thread) = writer::spawn(shared.clone(), mark);
    let mut apply = Apply::new(
        machine,
        journal.clone(),
        snapshots.clone(),
        writer.clone(),
        progress.clone(),
        fatal.clone(),
    );
    if let Err(e) = apply.restore_newest() {
        writer.send(Job::Stop);
        let _ = thread.join();
        return Err(named(e));
    }
    let log = Log { shared, writer: writer.clone() };
    Ok((identity, writer, thread, log, apply, journal, snapshots, progress))
}

/// Checks that log and snapshot together hold everything that is known to be committed.
fn check_reach(log: &LogShared, snapshot: Option<&LogId>) -> Result<(), Fatal> {
    let index = |id: Option<&LogId>| id.map_or(0, |id| id.index());
    let (committed, purged) = (log.committed(), log.purged());
    let reach = log.last_index().max(index(snapshot));
    if index(committed.as_ref()) > reach {
        let detail =
            format!("it ends there, although index {} is committed", index(committed.as_ref()));
        return Err(Fatal::damaged(What::Log, format!("index {reach}"), detail));
    }
    if index(purged.as_ref()) > index(snapshot) {
        let detail = format!("the log begins after index {}", index(purged.as_ref()));
        let place = snapshot.map_or("no file".into(), |id| format!("index {}", id.index()));
        return Err(Fatal::damaged(What::Snapshot, place, detail));
    }
    Ok(())
}

/// Starts the engine, founding the cluster if need be.
async fn start_raft<M: Machine>(
    config: &Config,
    identity: Identity,
    log: Log,
    apply: Apply<M>,
    found: bool,
) -> Result<Raft<TypeConfig, Apply<M>>, StartError> {
    let consensus =
        |e: &dyn fmt::Display| StartError::Fatal(Fatal::Consensus { detail: e.to_string() });
    let settings = config.raft().validate().map_err(|e| consensus(&e))?;
    let raft = Raft::new(identity.node, Arc::new(settings), NoPeers, log, apply)
        .await
        .map_err(|e| consensus(&e))?;
    let started = found_or_elect(&raft, identity.node, &config.data_dir, found).await;
    if let Err(error) = started {
        // The reason why it did not start is what counts.
        let _ = raft.shutdown().await;
        return Err(error);
    }
    Ok(raft)
}

async fn found_or_elect<M: Machine>(
    raft: &Raft<TypeConfig, Apply<M>>,
    node: u64,
    dir: &Path,
    found: bool,
) -> Result<(), StartError> {
    let consensus =
        |e: &dyn fmt::Display| StartError::Fatal(Fatal::Consensus { detail: e.to_string() });
    if !raft.is_initialized().await.map_err(|e| consensus(&e))? {
        if !found {
            return Err(StartError::NotInitialised { dir: dir.into() });
        }
        let members = BTreeMap::from([(node, BasicNode::new(""))]);
        raft.initialize(members).await.map_err(|e| consensus(&e))?;
    }
    // Whoever decides alone need not wait for others to stay silent.
    if raft.voter_ids().eq([node]) {
        raft.trigger().elect(false).await.map_err(|e| consensus(&e))?;
    }
    Ok(())
}

/// Lets the node serve once it has confirmed and applied a linearizable read: then this leader's
/// first entry, and everything before it, is applied.
async fn become_ready<M: Machine>(core: Arc<Core<M>>) {
    let handle = Handle::new(core.clone());
    while handle.read_index(READY_ATTEMPT).await.is_err() {
        if *core.stopping.borrow() || core.fatal.get().is_some() {
            return;
        }
        task::yield_now().await;
    }
    core.serving.store(true, Ordering::Release);
    // A shutdown that began meanwhile has the last word.
    if *core.stopping.borrow() || core.fatal.get().is_some() {
        core.serving.store(false, Ordering::Release);
        return;
    }
    core.ready.send_replace(true);
}

async fn stop_serving_on_fatal<M: Machine>(core: Arc<Core<M>>) {
    core.fatal.wait().await;
    core.serving.store(false, Ordering::Release);
}

/// The engine stops by itself only when it can not go on.
async fn watch_consensus<M: Machine>(core: Arc<Core<M>>) {
    let mut metrics = core.raft.metrics();
    let detail = loop {
        if let Err(e) = &metrics.borrow_and_update().running_state {
            break e.to_string();
        }
        if metrics.changed().await.is_err() {
            break "its task ended".to_owned();
        }
    };
    if !*core.stopping.borrow() {
        core.fatal.fail(Fatal::Consensus { detail });
    }
}

/// Asks for a snapshot when enough bytes have been applied since the last.
async fn snapshot_by_bytes<M: Machine>(core: Arc<Core<M>>, every_bytes: u64) {
    let mut applied = core.progress.subscribe();
    while applied.changed().await.is_ok() {
        if core.progress.since_snapshot_bytes.load(Ordering::Relaxed) >= every_bytes {
            core.progress.since_snapshot_bytes.store(0, Ordering::Relaxed);
            // A failure stops the engine, which is watched.
            let _ = core.raft.trigger().snapshot().await;
        }
    }
}
