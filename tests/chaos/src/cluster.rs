//! A cluster of processes and the clients' view of it: founded, watched, changed. Must not know
//! which faults there are.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    client::Api,
    history::{Event, Outcome, Recorder},
    load::World,
    network::{Network, Way},
    process::{Process, Site},
};

/// How long a cluster may take to be ready again after a fault.
pub const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How many nodes of which sort.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub voters: u64,
    pub learners: u64,
}

/// A cluster that runs.
pub struct Cluster {
    pub site: Site,
    pub nodes: Vec<Process>,
    pub world: World,
    next_id: u64,
}

impl Cluster {
    /// Founds a cluster of `size` in `folder`, with an organisation and its key.
    pub async fn found(
        binary: PathBuf,
        folder: &Path,
        size: Size,
        own_disks: bool,
        recorder: Recorder,
    ) -> io::Result<Self> {
        let network = Network::claim()?;
        let site = Site { binary, folder: folder.to_owned(), network: network.clone(), own_disks };
        site.certificates(size.voters + size.learners)?;
        let mut first = Process::set_up(&site, 1, true)?;
        let operator_key = first.found(&site)?;
        let mut api = Api::new(operator_key).map_err(io::Error::other)?;
        network.serve(1).await?;
        first.start(&site, None)?;
        ready(&api, &network, &mut [&mut first]).await.map_err(io::Error::other)?;
        let mut processes = vec![first];
        for id in 2..=size.voters + size.learners {
            let mut node = Process::set_up(&site, id, id <= size.voters)?;
            network.serve(id).await?;
            node.start(&site, Some(1))?;
            ready(&api, &network, &mut [&mut node]).await.map_err(io::Error::other)?;
            processes.push(node);
        }
        api.api_key = organisation(&api, &network).await?;
        let ids: Vec<_> = processes.iter().map(|node| node.id).collect();
        let next_id = ids.len() as u64 + 1;
        let world = World::new(api, recorder, network, ids);
        Ok(Self { site, nodes: processes, world, next_id })
    }

    pub fn ids(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// Those that have a vote.
    pub fn voters(&self) -> Vec<u64> {
        self.nodes.iter().filter(|node| node.voter).map(|node| node.id).collect()
    }

    pub fn node(&mut self, id: u64) -> io::Result<&mut Process> {
        let found = self.nodes.iter_mut().find(|node| node.id == id);
        found.ok_or_else(|| io::Error::other(format!("there is no node {id}")))
    }

    /// Starts `id` again, as it was.
    pub fn start(&mut self, id: u64) -> io::Result<()> {
        let found = self.nodes.iter_mut().find(|node| node.id == id);
        let node = found.ok_or_else(|| io::Error::other(format!("there is no node {id}")))?;
        node.start(&self.site, None)
    }

    /// Who leads, as most nodes see it by now.
    pub async fn leader(&self) -> io::Result<u64> {
        let deadline = Instant::now() + RECOVERY_MAX;
        while Instant::now() < deadline {
            for id in self.ids() {
                let leader = self.world.api().leader(self.world.network().api(id)).await;
                if let Some(leader) = leader.filter(|leader| self.ids().contains(leader)) {
                    return Ok(leader);
                }
            }
            sleep(LOOK_EVERY).await;
        }
        Err(io::Error::other("nobody leads"))
    }

    /// Waits until every node is ready; an error says which is not, or has ended by itself.
    pub async fn ready(&mut self) -> Result<(), String> {
        let api = self.world.api().clone();
        let network = self.world.network().clone();
        ready(&api, &network, &mut self.nodes.iter_mut().collect::<Vec<_>>()).await
    }

    /// Notes what must not have happened, and starts whatever has ended.
    pub fn unwell(&mut self, why: String) -> io::Result<()> {
        let at = self.world.recorder().now();
        self.world.recorder().record(Event::Unwell { at, why });
        for node in &mut self.nodes {
            if !node.runs() {
                node.start(&self.site, None)?;
            }
        }
        Ok(())
    }

    /// Sets what passes from `id` to the others, and back.
    pub fn set_ways(&self, id: u64, out: Way, back: Way) {
        for other in self.ids().into_iter().filter(|other| *other != id) {
            self.world.network().set(id, other, out);
            self.world.network().set(other, id, back);
        }
    }

    /// Sets every link.
    pub fn set_all(&self, way: Way) {
        self.ids().into_iter().for_each(|id| self.set_ways(id, way, way));
    }

    /// Asks an operator's write of any node but `not`, until it is done.
    pub async fn operate(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        not: Option<u64>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + RECOVERY_MAX;
        let mut last = String::new();
        while Instant::now() < deadline {
            for id in self.ids().into_iter().filter(|id| Some(*id) != not) {
                let (api, node) = (self.world.api(), self.world.network().api(id));
                let done = api.write(&api.operator_key, method.clone(), node, path, body).await;
                if done.outcome == Outcome::Done {
                    return Ok(());
                }
                last = done.nonsense.unwrap_or(done.code);
            }
            sleep(LOOK_EVERY).await;
        }
        Err(io::Error::other(format!("{method} {path} came to nothing: {last}")))
    }

    /// Takes `id` out of the cluster; its process goes on.
    pub async fn remove(&self, id: u64) -> io::Result<()> {
        // A removal that was done though its answer was lost is a 404 the next time.
        let path = format!("/cluster/nodes/{id}");
        match self.operate(Method::DELETE, &path, None, Some(id)).await {
            Err(error) if !error.to_string().contains("404") => Err(error),
            _ => Ok(()),
        }
    }

    /// Sets a new node up and lets it join.
    pub async fn join(&mut self, seed: u64, voter: bool) -> io::Result<Process> {
        let id = self.next_id;
        self.next_id += 1;
        self.site.certificates(id)?;
        let mut node = Process::set_up(&self.site, id, voter)?;
        self.world.network().serve(id).await?;
        node.start(&self.site, Some(seed))?;
        let (api, network) = (self.world.api().clone(), self.world.network().clone());
        ready(&api, &network, &mut [&mut node]).await.map_err(io::Error::other)?;
        Ok(node)
    }
}

async fn ready(api: &Api, network: &Network, nodes: &mut [&mut Process]) -> Result<(), String> {
    let deadline = Instant::now() + RECOVERY_MAX;
    for node in nodes {
        while !api.ready(network.api(node.id)).await {
            if !node.runs() {
                let (id, ended) = (node.id, node.ended());
                return Err(format!("node {id} has ended by itself: {ended:?}"));
            }
            if Instant::now() > deadline {
                return Err(format!("node {} is not ready after {RECOVERY_MAX:?}", node.id));
            }
            sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}

/// Makes an organisation, and gives its key.
async fn organisation(api: &Api, network: &Network) -> io::Result<String> {
    let post = async |path: &str, body: Value| {
        let node = network.api(1);
        let made = api.write(&api.operator_key, Method::POST, node, path, Some(&body)).await;
        made.nonsense.clone().map_or(Ok(made), |said| Err(io::Error::other(said)))
    };
    let missing = || io::Error::other("the organisation was not made");
    let made = post("/organizations", json!({"name": "chaos"})).await?;
    let organisation = made.text("id").ok_or_else(missing)?;
    let path = format!("/organizations/{organisation}/api-keys");
    let made = post(&path, json!({"name": "first", "environment": "live"})).await?;
    made.text("key").ok_or_else(missing)
}
