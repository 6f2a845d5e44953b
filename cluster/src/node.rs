//! Starting and stopping a node: the only place that puts the parts together.
//!
//! A start reads and checks everything that the node stands on before anything runs, and names
//! what is wrong with it. A shutdown makes everything durable and lets go of the directory. Must
//! not know what the machine does.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;

use crate::Machine;
use crate::admission::Admission;
use crate::config::Config;
use crate::electorate::Electorate;
use crate::error::{Fatal, StartError};
use crate::front::Front;
use crate::handle::{Core, Handle};
use crate::joining::{self, Wanted};
use crate::lease::Boot;
use crate::leasing;
use crate::level;
use crate::limits::CLOCK_RECORD_EVERY;
use crate::members;
use crate::mending;
use crate::open::{Beginning, Opened, Parts, open};
use crate::peer::link::Links;
use crate::peer::network::Network;
use crate::readiness::{self, Watch};
use crate::recovering;
use crate::runtime::{JoinHandle, Worker, spawn, spawn_blocking};
use crate::stamping::Stamping;
use crate::store::apply::Apply;
use crate::store::archive;
use crate::store::clock_record::BootId;
use crate::store::identity::{self, Identity};
use crate::store::log::Log;
use crate::store::renewal;
use crate::store::scrub::{Pace, Scrub};
use crate::types::{Member, TypeConfig};

pub use crate::joining::Seed;

/// A running node. End it with [`Node::shutdown`]: one that is only dropped goes on until the
/// runtime ends.
pub struct Node<M: Machine> {
    core: Arc<Core<M>>,
    opened: Opened,
    scrub_thread: Worker,
    archive_thread: Worker,
    leasing: JoinHandle<()>,
    server: Option<JoinHandle<()>>,
    peer_address: Option<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
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
        let beginning = if found { Beginning::Found } else { Beginning::None };
        Node::begin(config, machine, beginning, Vec::new()).await
    }

    /// Opens the node in `config.data_dir`, as a new one of the cluster that `seeds` are members
    /// of, or as one that was on its way there. Returns once the cluster has taken it in; it
    /// catches up, and gets its vote, while it runs.
    pub async fn join(config: Config, machine: M, seeds: Vec<Seed>) -> Result<Node<M>, StartError> {
        if config.peers.is_none() {
            let detail = "it has no certificate and no address for peers; configure both".into();
            return Err(StartError::NotTakenIn { detail });
        }
        let node = Node::begin(config, machine, Beginning::Join, seeds.clone()).await?;
        if let Err(error) = joining::until_taken_in(&node.core, &seeds).await {
            // Why it was not taken in is what counts.
            let _ = node.shutdown().await;
            return Err(error);
        }
        Ok(node)
    }

    async fn begin(
        mut config: Config,
        machine: M,
        beginning: Beginning,
        seeds: Vec<Seed>,
    ) -> Result<Node<M>, StartError> {
        let dir = config.data_dir.clone();
        let front = Front::new(&mut config).await?;
        let boot = draw_boot(&dir)?;
        let opening = config.clone();
        let parts = spawn_blocking(move || open(&opening, machine, beginning)).await;
        let parts = parts.map_err(|e| {
            StartError::Fatal(Fatal::Consensus { detail: format!("opening panicked: {e}") })
        })??;
        let (opened, parts) = parts;
        let Parts {
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
        } = parts;
        // Whoever is filled again knows nobody else.
        let others = others.into_iter().map(|(node, address)| Seed { node, address });
        let seeds = if seeds.is_empty() && renewing { others.collect() } else { seeds };
        let shared = log.shared.clone();
        let electorate = Arc::new(Electorate::new(roster.clone()));
        seeds.iter().for_each(|seed| roster.name(seed.node));
        let links = front.as_ref().map(|front| front.links(identity.incarnation));
        let address = front.as_ref().map_or_else(String::new, Front::address);
        let started = start_raft(
            &config,
            identity,
            log,
            apply,
            Start {
                founding: beginning == Beginning::Found,
                address: address.clone(),
                links: links.clone(),
                renewing,
                electorate: electorate.clone(),
            },
        );
        let raft = match started.await {
            Ok(raft) => raft,
            Err(error) => {
                let reason = fatal.get().map_or(error, |f| StartError::fatal(&dir, f));
                // What went wrong matters more than whether closing went well.
                let _ = opened.close().await;
                return Err(reason);
            }
        };
        let pace =
            Pace { bytes_per_second: config.scrub_bytes_per_second, between: config.scrub_pause };
        let (scrub, scrub_thread) = Scrub::spawn(&journal, pace);
        let archive_thread = archive::spawn(&journal, opened.writer());
        let ready = Arc::new(watch::Sender::new(false));
        let unfit = Arc::new(watch::Sender::new(false));
        let stamping =
            Stamping::new(config.wall_clock.clone(), BootId::read(), clock_record.as_ref());
        let stamping = Arc::new(stamping);
        let (leasing, leasing_task) = leasing::spawn(leasing::Parts {
            node: identity.node,
            boot,
            params: config.lease,
            raft: raft.clone(),
            progress: progress.clone(),
            roster: roster.clone(),
            links: links.clone(),
            stamping: stamping.clone(),
            unfit: unfit.clone(),
            ready: ready.clone(),
        });
        let core = Arc::new(Core {
            raft,
            store: opened.store.clone(),
            log: shared,
            journal,
            snapshots,
            progress,
            roster,
            electorate,
            scrub,
            fatal,
            identity,
            newest_level,
            wanted: Wanted { address, voter: config.voter },
            serving: AtomicBool::new(true),
            ready,
            stopping: watch::Sender::new(false),
            admission: Admission::new(),
            leasing,
            stamping,
            links,
            answerer: Mutex::default(),
            clock_file,
            watch: Watch::default(),
            changes: tokio::sync::Mutex::new(()),
            data_dir: dir.clone(),
            renewing: watch::Sender::new(renewing),
            set_back: watch::Sender::default(),
        });
        let peer_address = front.as_ref().and_then(Front::listens_at);
        let server = front.map(|front| front.serve(&core, &config));
        let tasks = vec![
            spawn(stop_serving_on_fatal(core.clone())),
            spawn(watch_consensus(core.clone())),
            spawn(snapshot_by_bytes(core.clone(), config.snapshot_every_bytes)),
            spawn(joining::keep_known(core.clone(), seeds.clone())),
            spawn(joining::find_leader(core.clone(), seeds)),
            spawn(level::raise_alone(core.clone())),
            spawn(members::lead_only_when_fit(core.clone(), unfit.subscribe())),
            spawn(readiness::watch(core.clone())),
            spawn(keep_clock(core.clone())),
            spawn(members::lead_only_when_whole(core.clone())),
            spawn(members::note_others(core.clone(), opened.writer())),
            spawn(members::watch_logs(core.clone())),
            spawn(mending::mend(core.clone())),
            spawn(mending::check_snapshots(core.clone(), config.scrub_pause)),
            spawn(recovering::until_filled(core.clone())),
        ];
        let leasing = leasing_task;
        Ok(Node {
            core,
            opened,
            scrub_thread,
            archive_thread,
            leasing,
            server,
            peer_address,
            tasks,
        })
    }

    /// The address on which it listens for peers, if it does.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.peer_address
    }

    /// A way to the running node.
    pub fn handle(&self) -> Handle<M> {
        Handle::new(self.core.clone())
    }

    /// Resolves when the node can not go on. The process should then stop with a non-zero status.
    pub async fn fatal(&self) -> Fatal {
        self.core.fatal.wait().await
    }

    /// Stops: everything is durable and the directory is free when it returns. A leader hands over
    /// first, if there is a member that can lead.
    pub async fn shutdown(self) -> Result<(), Fatal> {
        let Node { core, opened, scrub_thread, archive_thread, leasing, server, tasks, .. } = self;
        core.step_aside().await;
        // No answer from here on; then the leader is told that nothing waits for this node.
        core.serving.store(false, Ordering::Release);
        core.leasing.shut(leasing).await;
        core.note_clock().await;
        core.stopping.send_replace(true);
        for task in &tasks {
            task.abort();
        }
        if let Some(server) = server
            && let Err(error) = server.await
        {
            tracing::error!(%error, "the task that takes peers' connections panicked");
        }
        // It fails only if the engine's task panicked; then it has stopped all the same.
        if let Err(e) = core.raft.shutdown().await {
            tracing::warn!(error = %e, "the consensus engine did not stop cleanly");
        }
        // It holds what holds this node.
        core.answer_with(None);
        if let Some(links) = &core.links {
            links.close();
        }
        core.scrub.stop();
        core.journal.bell.stop();
        let closed = opened.close().await;
        scrub_thread.ended("the background check").await;
        archive_thread.ended("the journal's archive").await;
        core.fatal.get().map_or(closed, Err)
    }
}

/// How the engine starts.
struct Start {
    /// Whether a cluster may be founded.
    founding: bool,
    address: String,
    links: Option<Links>,
    /// Whether the node has yet to catch up before it may vote.
    renewing: bool,
    electorate: Arc<Electorate>,
}

/// Starts the engine, founding the cluster if need be.
async fn start_raft<M: Machine>(
    config: &Config,
    identity: Identity,
    log: Log,
    apply: Apply<M>,
    start: Start,
) -> Result<Raft<TypeConfig, Apply<M>>, StartError> {
    let consensus =
        |e: &dyn fmt::Display| StartError::Fatal(Fatal::Consensus { detail: e.to_string() });
    let settings = config.raft().validate().map_err(|e| consensus(&e))?;
    let electorate = start.electorate.clone();
    let links = start.links.clone();
    let network = Network { own: identity.node, links, electorate: electorate.clone() };
    let raft = Raft::new(identity.node, Arc::new(settings), network, log, apply)
        .await
        .map_err(|e| consensus(&e))?;
    if start.renewing {
        raft.runtime_config().elect(false);
    }
    let metrics = raft.server_metrics();
    electorate.watch(move || {
        let now = metrics.borrow_watched();
        [now.membership_config.clone(), now.committed_membership_config.clone()]
    });
    let started = found_or_elect(&raft, identity, &config.data_dir, start).await;
    if let Err(error) = started {
        // The reason why it did not start is what counts.
        let _ = raft.shutdown().await;
        return Err(error);
    }
    Ok(raft)
}

async fn found_or_elect<M: Machine>(
    raft: &Raft<TypeConfig, Apply<M>>,
    identity: Identity,
    dir: &Path,
    start: Start,
) -> Result<(), StartError> {
    let consensus =
        |e: &dyn fmt::Display| StartError::Fatal(Fatal::Consensus { detail: e.to_string() });
    let Identity { node, incarnation, joined, .. } = identity;
    if !raft.is_initialized().await.map_err(|e| consensus(&e))? {
        if joined {
            // The leader sends it the log.
            return Ok(());
        }
        if !start.founding {
            return Err(StartError::NotInitialised { dir: dir.into() });
        }
        let member = Member { address: start.address, incarnation };
        raft.initialize(BTreeMap::from([(node, member)])).await.map_err(|e| consensus(&e))?;
    }
    // Whoever decides alone need not wait for others to stay silent.
    if raft.voter_ids().eq([node]) {
        raft.trigger().elect(false).await.map_err(|e| consensus(&e))?;
    }
    Ok(())
}

async fn stop_serving_on_fatal<M: Machine>(core: Arc<Core<M>>) {
    let fatal = core.fatal.wait().await;
    core.serving.store(false, Ordering::Release);
    // The next start may find nothing wrong, where nothing but a read did.
    if matches!(fatal, Fatal::Damaged { .. }) && core.has_other_voters() {
        let dir = core.data_dir.clone();
        // A failure is told there.
        let _ = spawn_blocking(move || renewal::note(&dir, &fatal)).await;
    }
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

/// Keeps on disk what a restart must not forget of the clocks.
async fn keep_clock<M: Machine>(core: Arc<Core<M>>) {
    loop {
        tokio::time::sleep(CLOCK_RECORD_EVERY).await;
        core.note_clock().await;
    }
}

/// A fresh name for this process.
fn draw_boot(dir: &Path) -> Result<Boot, StartError> {
    identity::draw(dir).map(|bytes| Boot(u64::from_le_bytes(bytes)))
}
