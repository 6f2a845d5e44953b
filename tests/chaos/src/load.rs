//! The clients: they issue, revoke and verify at every node at the same time, and record what they
//! were told.
//!
//! A revoke that was acknowledged is followed at once by verifications at every node, where an
//! answer from an old view would show. Must not know which faults go on.

mod pool;
mod verifying;
mod writing;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

use tokio::{sync::Semaphore, task::JoinSet};

pub use pool::Pool;

use crate::{
    client::Api,
    history::{Event, Recorder, Said},
    network::Network,
};

/// Clients a node that write.
const WRITERS: usize = 2;
/// Clients a node that verify.
const VERIFIERS: usize = 2;
/// Verifications right after a revoke that may be under way.
const PROBES_MAX: usize = 64;

/// What all clients share.
#[derive(Clone)]
pub struct World(Arc<Shared>);

struct Shared {
    api: Api,
    recorder: Recorder,
    network: Network,
    /// The nodes that are asked; one place a client.
    nodes: RwLock<Vec<u64>>,
    pool: Mutex<Pool>,
    probes: Arc<Semaphore>,
    stop: AtomicBool,
}

impl World {
    pub fn new(api: Api, recorder: Recorder, network: Network, nodes: Vec<u64>) -> Self {
        Self(Arc::new(Shared {
            api,
            recorder,
            network,
            nodes: RwLock::new(nodes),
            pool: Mutex::default(),
            probes: Arc::new(Semaphore::new(PROBES_MAX)),
            stop: AtomicBool::new(false),
        }))
    }

    pub fn api(&self) -> &Api {
        &self.0.api
    }

    pub fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    pub fn network(&self) -> &Network {
        &self.0.network
    }

    pub fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes that are asked.
    pub fn nodes(&self) -> Vec<u64> {
        self.0.nodes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Clients of `old` go on at `new`.
    pub fn replace_node(&self, old: u64, new: u64) {
        let mut nodes = self.0.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.iter_mut().filter(|node| **node == old).for_each(|node| *node = new);
    }

    fn node(&self, place: usize) -> u64 {
        self.0.nodes.read().unwrap_or_else(PoisonError::into_inner)[place]
    }

    fn stopped(&self) -> bool {
        self.0.stop.load(Ordering::Relaxed)
    }

    /// Starts every client.
    pub fn start(&self, seed: u64) -> Load {
        let mut clients = JoinSet::new();
        let mut number = seed;
        let mut rng = || {
            number = number.wrapping_add(1);
            fastrand::Rng::with_seed(number)
        };
        for place in 0..self.nodes().len() {
            for _ in 0..WRITERS {
                clients.spawn(writing::write(self.clone(), place, rng()));
            }
            for _ in 0..VERIFIERS {
                clients.spawn(verifying::verify(self.clone(), place, rng()));
            }
        }
        Load { world: self.clone(), clients }
    }

    /// Asks `node` about these credentials and records what it says; tokens by their numbers, all
    /// in one request.
    pub async fn ask(&self, node: u64, tokens: &[(u32, Arc<str>)]) -> Vec<Said> {
        if tokens.is_empty() {
            return Vec::new();
        }
        let texts: Vec<&str> = tokens.iter().map(|(_, text)| text.as_ref()).collect();
        let from = self.recorder().now();
        let (said, nonsense) = self.api().verify(self.network().api(node), &texts).await;
        self.say(node, from, tokens.iter().map(|(number, _)| *number).collect(), &said, nonsense);
        said
    }

    /// The same of an API key.
    pub async fn ask_key(&self, node: u64, number: u32, key: &str) -> Said {
        let from = self.recorder().now();
        let (said, nonsense) = self.api().takes_key(self.network().api(node), key).await;
        self.say(node, from, vec![number], &[said], nonsense);
        said
    }

    fn say(
        &self,
        node: u64,
        from: u64,
        credentials: Vec<u32>,
        said: &[Said],
        nonsense: Option<String>,
    ) {
        let recorder = self.recorder();
        let span = recorder.since(from);
        let said = said.iter().map(|said| said.letter()).collect();
        recorder.record(Event::Verified { node, span, credentials, said });
        if let Some(answer) = nonsense {
            recorder.record(Event::Unclassifiable { at: span.to, node, answer });
        }
    }

    /// Asks every node about what was just killed, without waiting for the answers. Beyond a
    /// bound it is left to those who verify anyway.
    fn probe(&self, tokens: &[(u32, Arc<str>)], key: Option<&(u32, Arc<str>)>) {
        for node in self.nodes() {
            let Ok(permit) = self.0.probes.clone().try_acquire_owned() else { return };
            let (world, tokens, key) = (self.clone(), tokens.to_vec(), key.cloned());
            tokio::spawn(async move {
                world.ask(node, &tokens).await;
                if let Some((number, key)) = key {
                    world.ask_key(node, number, &key).await;
                }
                drop(permit);
            });
        }
    }
}

/// Clients at work.
pub struct Load {
    world: World,
    clients: JoinSet<()>,
}

impl Load {
    /// Lets every client finish what it does.
    pub async fn stop(mut self) {
        self.world.0.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        // The last probes.
        let all = u32::try_from(PROBES_MAX).unwrap_or(u32::MAX);
        let _ = self.world.0.probes.acquire_many(all).await;
    }
}
