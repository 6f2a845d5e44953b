//! The nodes of one run: starting them, what becomes of those that die, and starting them again.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use authrai_cluster::{ClusterId, Config, Fatal, Handle, Node, PeerConfig, Seed, StartError};

use super::clocks::{Clocks, RATE_ERROR_MAX_PPM};
use super::disk::{Disk, data_dir};
use super::executor::{OUTSIDE, Simulation, as_node};
use super::history::History;
use super::runs::Mutant;
use super::tasks::spawn_on;
use super::vault::{Vault, View};

const CLUSTER: ClusterId = [0x51; 16];

/// One node's place.
#[derive(Default)]
pub struct Place {
    pub handle: Option<Handle<Vault>>,
    pub view: View,
    stop: Option<oneshot::Sender<()>>,
    /// Its disk was told to fail: it may stop.
    pub faulted: bool,
    /// What was damaged while it was down: it must not start again, unless it has mended that.
    pub damaged: Option<String>,
    /// It did not start because of that, as it should.
    pub refused: bool,
    /// Whether it is down because someone said so.
    pub resting: bool,
}

enum Notice {
    Running(u64, Handle<Vault>, View, oneshot::Sender<()>),
    NotStarted(u64, StartError),
    Ended(u64, Option<Fatal>),
}

#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    simulation: Arc<Simulation>,
    places: Mutex<BTreeMap<u64, Place>>,
    history: Mutex<History>,
    notices: Mutex<VecDeque<Notice>>,
    pub mutant: Option<Mutant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    Found,
    Join,
    Again,
}

impl Cluster {
    pub fn new(simulation: Arc<Simulation>, mutant: Option<Mutant>) -> Cluster {
        Cluster(Arc::new(Inner {
            simulation,
            places: Mutex::default(),
            history: Mutex::default(),
            notices: Mutex::default(),
            mutant,
        }))
    }

    pub fn simulation(&self) -> &Simulation {
        &self.0.simulation
    }

    pub fn mutant(&self) -> Option<Mutant> {
        self.0.mutant
    }

    pub fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().expect("not poisoned")
    }

    pub fn places(&self) -> MutexGuard<'_, BTreeMap<u64, Place>> {
        self.0.places.lock().expect("not poisoned")
    }

    pub fn disk(&self, node: u64) -> Disk {
        self.simulation().world.disk(node)
    }

    pub fn ids(&self) -> Vec<u64> {
        self.places().keys().copied().collect()
    }

    pub fn is_up(&self, node: u64) -> bool {
        self.places().get(&node).is_some_and(|place| place.handle.is_some())
    }

    /// Founds a cluster of `size` voters and waits until all of them serve.
    pub async fn found(&self, size: u64) {
        if let Some(Mutant::WithoutRule(rule)) = self.mutant() {
            self.simulation().world.without(rule);
        }
        spawn_on(OUTSIDE, self.clone().keep());
        for node in 1..=size {
            let clocks = self.simulation().chance(|dice| {
                let mut rate = || {
                    1_000_000 - RATE_ERROR_MAX_PPM
                        + dice.below(2 * RATE_ERROR_MAX_PPM as usize + 1) as u64
                };
                let (boottime_ppm, raw_ppm) = (rate(), rate());
                let origin_ns = dice.below(1_000_000_000) as u64;
                Clocks { boottime_ppm, raw_ppm, origin_ns, wall_ahead_ms: dice.below(500) as u64 }
            });
            self.simulation().set_clocks(node, clocks);
            self.places().insert(node, Place::default());
            self.start(node, if node == 1 { Begin::Found } else { Begin::Join });
            self.until("a node serves", |cluster| {
                let places = cluster.places();
                places[&node].handle.as_ref().is_some_and(|handle| handle.applied_index() > 0)
            })
            .await;
        }
        self.until("all vote and hold a lease", |cluster| {
            cluster.places().iter().all(|(id, place)| {
                let Some(handle) = &place.handle else { return false };
                handle.core().roster.known().is_voter(*id) && as_node(*id, || handle.may_serve())
            })
        })
        .await;
        if self.mutant() == Some(Mutant::SyncThatLies) {
            self.ids().iter().for_each(|node| self.disk(*node).set(|faults| faults.lies = true));
        }
    }

    /// Waits for `condition`, which must come true within bounds.
    pub async fn until(&self, what: &str, condition: impl Fn(&Cluster) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !condition(self) {
            if Instant::now() >= end {
                self.history().violates(format!("not within a minute: {what}"));
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn config(node: u64) -> Config {
        let unused = || "unused".into();
        Config {
            node_id: node,
            cluster_id: Some(CLUSTER),
            snapshot_every_entries: 60,
            log_keep_entries: 10,
            peers: Some(PeerConfig {
                listen: ([127, 0, 0, 1], 0).into(),
                advertise: format!("node-{node}:1"),
                connect_from: None,
                ca: unused(),
                certificate: unused(),
                key: unused(),
            }),
            ..Config::new(data_dir(node))
        }
    }

    fn start(&self, node: u64, begin: Begin) {
        self.simulation().note(format_args!("start {node}"));
        let cluster = self.clone();
        let seeds = self.ids().into_iter().filter(|id| *id != node);
        let seeds: Vec<Seed> =
            seeds.map(|id| Seed { node: id, address: format!("node-{id}:1") }).collect();
        spawn_on(node, async move {
            let (vault, config) = (Vault::default(), Cluster::config(node));
            let view = vault.view.clone();
            let started = match begin {
                Begin::Found => Node::start(config, vault, true).await,
                Begin::Join => Node::join(config, vault, seeds).await,
                Begin::Again => Node::start(config, vault, false).await,
            };
            let running = match started {
                Ok(running) => running,
                Err(error) => return cluster.notice(Notice::NotStarted(node, error)),
            };
            let (stop, stopped) = oneshot::channel();
            cluster.notice(Notice::Running(node, running.handle(), view, stop));
            let fatal = tokio::select! {
                biased;
                fatal = running.fatal() => Some(fatal),
                _ = stopped => running.shutdown().await.err(),
            };
            cluster.notice(Notice::Ended(node, fatal));
        });
    }

    fn notice(&self, notice: Notice) {
        self.0.notices.lock().expect("not poisoned").push_back(notice);
        self.simulation().world.news.notify_one();
    }

    /// Looks after the nodes, for as long as the run lasts.
    async fn keep(self) {
        loop {
            for node in self.simulation().world.take_crashed() {
                self.history().count("died in an operation of the disk");
                self.gone(node);
            }
            loop {
                let notice = self.0.notices.lock().expect("not poisoned").pop_front();
                let Some(notice) = notice else { break };
                self.take(notice);
            }
            self.simulation().world.news.notified().await;
        }
    }

    fn take(&self, notice: Notice) {
        match notice {
            Notice::Running(node, handle, view, stop) => {
                let mut places = self.places();
                let place = places.entry(node).or_default();
                (place.handle, place.view, place.stop) = (Some(handle), view, Some(stop));
                if place.damaged.is_some() && self.disk(node).is_mended() {
                    place.damaged = None;
                    self.history().count("damage that a start mended");
                }
                let unnoticed = place.damaged.clone();
                drop(places);
                if let Some(what) = unnoticed {
                    self.history().violates(format!("node {node} starts over damage: {what}"));
                }
            }
            Notice::NotStarted(node, error) => {
                self.simulation().note(format_args!("{node} does not start: {error}"));
                let (faulted, damaged) = {
                    let places = self.places();
                    (places[&node].faulted, places[&node].damaged.is_some())
                };
                if damaged {
                    self.history().count("damage that stopped a start");
                    self.places().entry(node).or_default().refused = true;
                    self.simulation().kill(node);
                    return;
                }
                if !faulted {
                    self.history().violates(format!("node {node} does not start: {error}"));
                }
                self.gone(node);
            }
            Notice::Ended(node, fatal) => {
                if let Some(fatal) = fatal {
                    self.simulation().note(format_args!("{node} stops: {fatal}"));
                    self.history().count("stopped by an error of the disk");
                    if !self.places()[&node].faulted {
                        self.history().violates(format!("node {node} stops: {fatal}"));
                    }
                }
                self.gone(node);
            }
        }
    }

    /// `node` dies, if it runs, with what it had not synced.
    pub fn kill(&self, node: u64) {
        self.simulation().note(format_args!("kill {node}"));
        self.simulation().kill(node);
        self.gone(node);
    }

    /// Shuts `node` down as an operator would.
    pub fn stop(&self, node: u64) {
        let stop = self.places().get_mut(&node).and_then(|place| place.stop.take());
        if let Some(stop) = stop {
            // The node may have ended by itself.
            let _ = stop.send(());
        }
    }

    /// What is left of a node that ended, and when it starts again.
    fn gone(&self, node: u64) {
        self.simulation().kill(node);
        let closed = self.simulation().world.wires().close(node);
        drop(closed);
        let handle = {
            let mut places = self.places();
            let place = places.entry(node).or_default();
            place.stop = None;
            place.handle.take()
        };
        drop(handle);
        let disk = self.disk(node);
        self.simulation().chance(|dice| disk.crash(dice));
        let already = std::mem::replace(&mut self.places().entry(node).or_default().resting, true);
        if already {
            return;
        }
        let cluster = self.clone();
        let ms = self.simulation().chance(|dice| dice.below(1_500)) as u64;
        spawn_on(OUTSIDE, async move {
            sleep(Duration::from_millis(ms)).await;
            cluster.disk(node).set(|faults| faults.full = false);
            {
                let mut places = cluster.places();
                let place = places.entry(node).or_default();
                (place.resting, place.faulted) = (false, false);
            }
            cluster.start(node, Begin::Again);
        });
    }

    /// Flips a bit on the disk of a node that is down.
    pub fn damage(&self, node: u64) {
        let disk = self.disk(node);
        if let Some(what) = self.simulation().chance(|dice| disk.damage(dice)) {
            self.simulation().note(format_args!("damage {node} {what}"));
            self.places().entry(node).or_default().damaged = Some(what);
        }
    }

    /// Runs `work` as a task of `node`; `None` if it is down or dies meanwhile.
    pub async fn on<T, F>(
        &self,
        node: u64,
        work: impl FnOnce(Handle<Vault>, View) -> F,
    ) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (handle, view) = {
            let places = self.places();
            let place = places.get(&node)?;
            (place.handle.clone()?, place.view.clone())
        };
        spawn_on(node, work(handle, view)).await.ok()
    }
}
