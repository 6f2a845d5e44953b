//! Starting and stopping a node: the only place that puts the parts together.
//!
//! A start reads and checks everything that the node stands on before anything runs, and names
//! what is wrong with it. A shutdown makes everything durable and lets go of the directory. Must
//! not know what the machine does.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use openraft::async_runtime::WatchReceiver;
use openraft::{BasicNode, Raft};
use tokio::sync::watch;
use tokio::task;

use crate::Machine;
use crate::admission::Admission;
use crate::config::Config;
use crate::error::{Fatal, StartError};
use crate::handle::{Core, Handle};
use crate::limits::{READY_ATTEMPT, RETRY_PAUSE};
use crate::network::NoPeers;
use crate::open::{Opened, Parts, open};
use crate::store::apply::Apply;
use crate::store::archive;
use crate::store::identity::Identity;
use crate::store::log::Log;
use crate::store::scrub::{Pace, Scrub};
use crate::types::TypeConfig;

/// A running node. End it with [`Node::shutdown`]: one that is only dropped goes on until the
/// runtime ends.
pub struct Node<M: Machine> {
    core: Arc<Core<M>>,
    opened: Opened,
    scrub_thread: JoinHandle<()>,
    archive_thread: JoinHandle<()>,
    tasks: Vec<task::JoinHandle<()>>,
}

impl<M: Machine> fmt::Debug for Node<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.core.identity.node).finish_non_exhaustive()
    }
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
        let (opened, parts) = parts;
        let Parts { identity, log, apply, journal, snapshots, progress, fatal } = parts;
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
        let (scrub, scrub_thread) = Scrub::spawn(&journal, pace);
        let archive_thread = archive::spawn(&journal, opened.writer());
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
        Ok(Node { core, opened, scrub_thread, archive_thread, tasks })
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
        let Node { core, opened, scrub_thread, archive_thread, tasks } = self;
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
        core.journal.bell.stop();
        let closed = task::spawn_blocking(move || {
            let closed = opened.close();
            if scrub_thread.join().is_err() {
                tracing::error!("the background check panicked");
            }
            if archive_thread.join().is_err() {
                tracing::error!("the journal's archive panicked");
            }
            closed
        });
        let closed = closed.await.unwrap_or(Err(Fatal::Closed));
        core.fatal.get().map_or(closed, Err)
    }
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
        tokio::time::sleep(RETRY_PAUSE).await;
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
