//! A cluster of real nodes in one process, over real TLS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use authrai_cluster::{
    ClusterId, Config, Handle, Node, PeerConfig, ProposeError, Role, Seed, StartError, WallClock,
};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::certs::Ca;
use crate::toy::{Counter, add};
use crate::wires::{Wires, address_of};

/// How long anything may take that a test waits for.
pub const DEADLINE: Duration = Duration::from_secs(30);
pub const CLUSTER: ClusterId = [0xc1; 16];
/// How long leases last by default.
pub const LEASE: Duration = Duration::from_secs(2);

/// One node's place: where it lives, whether it runs or not.
pub struct Place {
    pub address: SocketAddr,
    listens: watch::Sender<Option<SocketAddr>>,
    pub node: Option<Node<Counter>>,
    pub machine: Counter,
}

pub struct Cluster {
    pub dir: TempDir,
    pub ca: Ca,
    pub wires: Wires,
    pub places: BTreeMap<u64, Place>,
    /// What each node's wall clock is ahead of this machine's, milliseconds.
    pub ahead_ms: BTreeMap<u64, Arc<AtomicI64>>,
    /// A snapshot after this many entries, with a tenth of them kept in the log.
    pub snapshot_every: Option<u64>,
}

impl Cluster {
    /// Nodes 1 to `size`, all voters.
    pub async fn start(size: u64) -> Cluster {
        let mut cluster = Cluster::new();
        cluster.found(1).await;
        for id in 2..=size {
            cluster.join(id, |_| {}).await.expect("joins");
        }
        for id in 1..=size {
            cluster.ready(id).await;
        }
        cluster.voters(size as usize).await;
        cluster
    }

    pub fn new() -> Cluster {
        let dir = tempfile::tempdir().expect("a directory");
        let ca = Ca::new(dir.path(), "ca");
        Cluster {
            dir,
            ca,
            wires: Wires::new(),
            places: BTreeMap::new(),
            ahead_ms: (1..=9).map(|id| (id, Arc::default())).collect(),
            snapshot_every: None,
        }
    }

    pub fn data_dir(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("node-{id}"))
    }

    /// The settings of a node that its peers reach at `address`.
    pub fn config(&self, id: u64, address: SocketAddr) -> Config {
        let files = self.ca.issue(self.dir.path(), &CLUSTER, id);
        let defaults = Config::new(self.data_dir(id));
        let every = self.snapshot_every;
        let ahead_ms = self.ahead_ms.get(&id).cloned().unwrap_or_default();
        let wall_clock = move || now_ms().saturating_add_signed(ahead_ms.load(Ordering::SeqCst));
        Config {
            node_id: id,
            wall_clock: WallClock::new(wall_clock),
            snapshot_every_entries: every.unwrap_or(defaults.snapshot_every_entries),
            log_keep_entries: every.map_or(defaults.log_keep_entries, |every| every / 10),
            peers: Some(PeerConfig {
                listen: (address_of(id), 0).into(),
                advertise: address.to_string(),
                connect_from: Some(address_of(id)),
                ca: self.ca.path.clone(),
                certificate: files.certificate,
                key: files.key,
            }),
            ..defaults
        }
    }

    async fn place(&mut self, id: u64) -> SocketAddr {
        let (address, listens) = self.wires.before(id).await;
        let place = Place { address, listens, node: None, machine: Counter::default() };
        self.places.entry(id).or_insert(place).address
    }

    fn runs(&mut self, id: u64, node: Node<Counter>, machine: Counter) {
        let place = self.places.get_mut(&id).expect("placed");
        place.listens.send_replace(node.peer_address());
        place.node = Some(node);
        place.machine = machine;
    }

    pub async fn found(&mut self, id: u64) {
        let address = self.place(id).await;
        let machine = Counter::default();
        let node = Node::start(self.config(id, address), machine.clone(), true).await;
        self.runs(id, node.expect("founds"), machine);
    }

    /// Starts `id` as a new node.
    pub async fn join(
        &mut self,
        id: u64,
        change: impl FnOnce(&mut Config),
    ) -> Result<(), StartError> {
        let seeds = self.places.iter().filter(|(_, place)| place.node.is_some());
        let seeds = seeds.map(|(id, p)| Seed { node: *id, address: p.address.to_string() });
        let seeds = seeds.collect();
        let address = self.place(id).await;
        let mut config = self.config(id, address);
        change(&mut config);
        let machine = Counter::default();
        let node = Node::join(config, machine.clone(), seeds).await?;
        self.runs(id, node, machine);
        Ok(())
    }

    /// Starts a node again that was stopped.
    pub async fn restart(&mut self, id: u64) {
        self.restart_with(id, self.config(id, self.places[&id].address)).await;
    }

    /// The same, with these settings.
    pub async fn restart_with(&mut self, id: u64, config: Config) {
        self.restart_on(id, config, Counter::default()).await.expect("starts");
    }

    /// The same, on this machine: another build of the program.
    pub async fn restart_on(
        &mut self,
        id: u64,
        config: Config,
        machine: Counter,
    ) -> Result<(), StartError> {
        let node = Node::start(config, machine.clone(), false).await?;
        self.runs(id, node, machine);
        Ok(())
    }

    pub async fn stop(&mut self, id: u64) {
        let node = self.places.get_mut(&id).and_then(|place| place.node.take());
        node.expect("it runs").shutdown().await.expect("stops");
    }

    pub async fn stop_all(&mut self) {
        let nodes = self.places.values_mut().filter_map(|place| place.node.take());
        let stopping = nodes.map(|node| tokio::spawn(node.shutdown())).collect::<Vec<_>>();
        for stopped in stopping {
            stopped.await.expect("ends").expect("stops");
        }
    }

    pub fn handle(&self, id: u64) -> Handle<Counter> {
        self.places[&id].node.as_ref().expect("it runs").handle()
    }

    pub fn running(&self) -> Vec<u64> {
        self.places.iter().filter(|(_, place)| place.node.is_some()).map(|(id, _)| *id).collect()
    }

    pub async fn ready(&self, id: u64) {
        let handle = self.handle(id);
        let ready = tokio::time::timeout(DEADLINE, handle.ready()).await;
        assert!(ready.is_ok(), "node {id} ready in time: {:?}", handle.status());
    }

    /// Waits until node 1's membership has `count` voters, and every node has applied it.
    pub async fn voters(&self, count: usize) {
        for id in self.running() {
            let handle = self.handle(id);
            until_async(&format!("node {id} sees {count} voters"), async || {
                handle.members().await.iter().filter(|m| m.voter).count() == count
            })
            .await;
        }
    }

    /// The one leader among `ids`, once there is one.
    pub async fn leader_among(&self, ids: &[u64]) -> u64 {
        let mut leader = None;
        until("a leader", || {
            leader = ids.iter().copied().find(|id| self.handle(*id).status().role == Role::Leader);
            leader.is_some()
        })
        .await;
        leader.expect("found")
    }

    pub async fn leader(&self) -> u64 {
        self.leader_among(&self.running()).await
    }

    /// A verification at `id`: the index of the view that it was answered from, if it was.
    pub fn verify(&self, id: u64) -> Option<u64> {
        let place = &self.places[&id];
        let serves = place.node.as_ref().expect("it runs").handle().may_serve();
        serves.then(|| place.machine.published.load(Ordering::SeqCst))
    }
}

/// This machine's wall clock.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_millis() as u64
}

/// Waits for `condition`, which must come true before the deadline.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    until_async(what, async || condition()).await;
}

/// The same for a condition that takes a while to find out.
pub async fn until_async(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < end, "{what} in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Proposes and expects an answer.
pub async fn propose(handle: &Handle<Counter>, id: u64) -> u64 {
    handle.propose(add(1, id), DEADLINE).await.expect("commits").index
}

/// Proposes as a client does that asks again when it got no answer.
pub async fn propose_again(handle: &Handle<Counter>, id: u64) -> u64 {
    let end = Instant::now() + DEADLINE;
    loop {
        match handle.propose(add(1, id), DEADLINE).await {
            Ok(committed) => return committed.index,
            Err(ProposeError::OutcomeUnknown | ProposeError::NoQuorum) => {
                assert!(Instant::now() < end, "an answer in time");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Proposes something that must be seen everywhere, and says how long the answer took.
pub async fn revoke(handle: &Handle<Counter>, id: u64) -> (u64, Duration) {
    let begun = Instant::now();
    let committed = handle.propose_everywhere(add(1, id), DEADLINE).await.expect("commits");
    (committed.index, begun.elapsed())
}
