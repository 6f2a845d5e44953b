//! What exact revocation costs, and how long failures last, in numbers: one run on one machine.
//! Must not judge the answers; that is the checker's business.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    client::Written,
    cluster::{Cluster, RECOVERY_MAX, Size},
    history::{Outcome, Recorder, Said},
};

/// Writes measured on a healthy cluster, of each kind.
const WRITES: usize = 300;
/// How often each failure is made.
const ROUNDS: usize = 5;
/// Revokes after the first one that follows a failure.
const NEXT_REVOKES: usize = 20;
/// Clients a node that verify through a leader's death.
const VERIFIERS: usize = 4;
/// Nothing waits longer for what must happen.
const POLL: Duration = Duration::from_millis(2);

/// Measures and prints.
pub async fn run(binary: PathBuf, folder: &Path, nodes: u64) -> io::Result<()> {
    let (recorder, written) = Recorder::create(&folder.join("history.jsonl"))?;
    let mut bench = Bench::found(binary, folder, nodes, recorder).await?;
    println!("{nodes} nodes on loopback, leases of 2 s, times in ms\n");
    println!("| what | median | worst | of |\n| --- | ---: | ---: | ---: |");
    bench.healthy().await?;
    bench.leader_killed().await?;
    bench.follower_killed().await?;
    bench.quorum_lost().await?;
    drop(bench);
    written.join().map_err(|_| io::Error::other("the history's writer panicked"))?
}

struct Bench {
    cluster: Cluster,
    agent: String,
}

/// Times of one thing that was done several times.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn median(&mut self) -> Duration {
        self.0.sort_unstable();
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    fn row(&mut self, what: &str) {
        let (median, worst) = (self.median(), self.0.last().copied().unwrap_or_default());
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        println!("| {what} | {:.1} | {:.1} | {} |", ms(median), ms(worst), self.0.len());
    }
}

impl Bench {
    async fn found(
        binary: PathBuf,
        folder: &Path,
        nodes: u64,
        recorder: Recorder,
    ) -> io::Result<Self> {
        let size = Size { voters: nodes, learners: 0 };
        let founded = Cluster::found(binary, folder, size, false, recorder);
        let cluster = Box::pin(founded).await?;
        let mut bench = Self { cluster, agent: String::new() };
        let node = bench.cluster.leader().await?;
        bench.agent = bench.create_agent(node).await?;
        Ok(bench)
    }

    async fn write(&self, node: u64, path: &str, body: &Value) -> Written {
        let world = &self.cluster.world;
        let (api, node) = (world.api(), world.network().api(node));
        api.write(&api.api_key, Method::POST, node, path, Some(body)).await
    }

    async fn create_agent(&self, node: u64) -> io::Result<String> {
        let body = json!({"name": "figures", "owner": "figures"});
        let made = self.write(node, "/agents", &body).await;
        made.text("id").ok_or_else(|| io::Error::other(format!("no agent: {}", made.code)))
    }

    async fn issue(&self, node: u64) -> io::Result<(String, String)> {
        let body = json!({"agent_id": self.agent, "scope": ["a.b"], "ttl": 86_400});
        let made = self.write(node, "/tokens", &body).await;
        let token = made.text("token").zip(made.text("token_id"));
        token
            .ok_or_else(|| io::Error::other(format!("no token: {} {:?}", made.code, made.nonsense)))
    }

    async fn revoke(&self, node: u64, id: &str) -> Outcome {
        self.write(node, "/tokens/revoke", &json!({"token_id": id})).await.outcome
    }

    /// How long a revoke takes that may have to be sent again.
    async fn revoke_at_last(&self, node: u64, id: &str) -> io::Result<Duration> {
        let start = Instant::now();
        while start.elapsed() < RECOVERY_MAX {
            if self.revoke(node, id).await == Outcome::Done {
                return Ok(start.elapsed());
            }
            sleep(POLL).await;
        }
        Err(io::Error::other("no revoke was acknowledged"))
    }

    async fn tokens(&self, node: u64, count: usize) -> io::Result<Vec<(String, String)>> {
        let mut tokens = Vec::new();
        for _ in 0..count {
            tokens.push(self.issue(node).await?);
        }
        Ok(tokens)
    }

    /// A plain write, which waits for its commit, beside a revoke, which waits for every node.
    async fn healthy(&mut self) -> io::Result<()> {
        let leader = self.cluster.leader().await?;
        let follower = self.other_than(&[leader]);
        for (node, at) in [(leader, "at the leader"), (follower, "at a follower")] {
            let tokens = self.tokens(node, WRITES).await?;
            let (mut plain, mut revokes) = (Times::default(), Times::default());
            // One of each in turn, so that both meet the same machine.
            for (_, id) in tokens {
                let start = Instant::now();
                self.create_agent(node).await?;
                plain.0.push(start.elapsed());
                let start = Instant::now();
                if self.revoke(node, &id).await != Outcome::Done {
                    return Err(io::Error::other("a revoke failed on a healthy cluster"));
                }
                revokes.0.push(start.elapsed());
            }
            plain.row(&format!("plain write {at}"));
            revokes.row(&format!("revoke {at}"));
            let (plain, revoke) = (plain.median().as_secs_f64(), revokes.median().as_secs_f64());
            println!("| revoke / plain write, medians, {at} | {:.2} | | |", revoke / plain);
        }
        Ok(())
    }

    fn other_than(&self, not: &[u64]) -> u64 {
        self.cluster.ids().into_iter().find(|id| !not.contains(id)).unwrap_or(1)
    }

    /// Verifications go on at the survivors while a leader dies and another one comes.
    async fn leader_killed(&mut self) -> io::Result<()> {
        let (mut elected, mut wrote) = (Times::default(), Times::default());
        let (mut first, mut next) = (Times::default(), Times::default());
        let (answered, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        for _ in 0..ROUNDS {
            let leader = self.cluster.leader().await?;
            let survivors: Vec<_> =
                self.cluster.ids().into_iter().filter(|id| *id != leader).collect();
            let tokens = self.tokens(leader, NEXT_REVOKES + 2).await?;
            let stop = Arc::new(AtomicBool::new(false));
            let mut clients = JoinSet::new();
            for node in survivors.iter().cycle().take(survivors.len() * VERIFIERS) {
                let (world, node) = (self.cluster.world.clone(), *node);
                let (token, stop) = (tokens[0].0.clone(), stop.clone());
                let (answered, refused) = (answered.clone(), refused.clone());
                clients.spawn(async move {
                    let address = world.network().api(node);
                    while !stop.load(Ordering::Relaxed) {
                        let (said, _) = world.api().verify(address, &[&token]).await;
                        let count = if said == [Said::Valid] { &answered } else { &refused };
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            self.cluster.node(leader)?.kill()?;
            let start = Instant::now();
            // A client that writes, and beside it one that looks who leads.
            let led = async {
                while self.cluster.leader().await? == leader {
                    sleep(POLL).await;
                }
                io::Result::Ok(start.elapsed())
            };
            let (led, revoked) = tokio::join!(led, self.revoke_at_last(survivors[0], &tokens[1].1));
            elected.0.push(led?);
            first.0.push(revoked?);
            let start_of_write = Instant::now();
            self.create_agent(survivors[0]).await?;
            wrote.0.push(start_of_write.elapsed());
            stop.store(true, Ordering::Relaxed);
            while clients.join_next().await.is_some() {}
            for (_, id) in &tokens[2..] {
                next.0.push(self.revoke_at_last(survivors[0], id).await?);
            }
            self.cluster.start(leader)?;
            self.cluster.ready().await.map_err(io::Error::other)?;
        }
        elected.row("leader killed: until another leads");
        first.row("leader killed: first revoke, from the kill to its answer");
        next.row("leader killed: the revokes after it");
        let (answered, refused) =
            (answered.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
        println!("| leader killed: verifications at the others that said valid | {answered} | | |");
        println!("| leader killed: verifications refused or unanswered | {refused} | | |");
        Ok(())
    }

    /// The first revoke after another node died waits for that node's lease; the next ones do not.
    async fn follower_killed(&mut self) -> io::Result<()> {
        let (mut first, mut next) = (Times::default(), Times::default());
        for _ in 0..ROUNDS {
            let leader = self.cluster.leader().await?;
            let dead = self.other_than(&[leader]);
            let tokens = self.tokens(leader, NEXT_REVOKES + 1).await?;
            self.cluster.node(dead)?.kill()?;
            first.0.push(self.revoke_at_last(leader, &tokens[0].1).await?);
            for (_, id) in &tokens[1..] {
                next.0.push(self.revoke_at_last(leader, id).await?);
            }
            self.cluster.start(dead)?;
            self.cluster.ready().await.map_err(io::Error::other)?;
        }
        first.row("follower killed: first revoke");
        next.row("follower killed: the revokes after it");
        Ok(())
    }

    /// One node alone refuses, and recovers by itself once another is back.
    async fn quorum_lost(&mut self) -> io::Result<()> {
        let (mut refuses, mut recovers, mut writes) =
            (Times::default(), Times::default(), Times::default());
        let mut codes = Vec::new();
        for _ in 0..ROUNDS {
            let leader = self.cluster.leader().await?;
            let alone = self.other_than(&[leader]);
            let (token, _) = self.issue(leader).await?;
            // One that it has not seen would have to be asked for.
            self.until(alone, &token, Said::Valid).await?;
            let dead: Vec<_> = self.cluster.ids().into_iter().filter(|id| *id != alone).collect();
            for id in &dead {
                self.cluster.node(*id)?.kill()?;
            }
            refuses.0.push(self.until(alone, &token, Said::Refused).await?);
            let start = Instant::now();
            let refused = self.write(alone, "/agents", &json!({"name": "a", "owner": "a"})).await;
            writes.0.push(start.elapsed());
            codes.push(refused.code);
            self.cluster.start(dead[0])?;
            recovers.0.push(self.until(alone, &token, Said::Valid).await?);
            for id in &dead[1..] {
                self.cluster.start(*id)?;
            }
            self.cluster.ready().await.map_err(io::Error::other)?;
        }
        codes.sort_unstable();
        codes.dedup();
        refuses.row("quorum lost: until verifications are a 503");
        writes.row(&format!("quorum lost: until a write is a 503 ({})", codes.join(", ")));
        recovers.row("quorum back: from the start of a second node until the first verifies again");
        Ok(())
    }

    /// How long it takes until `node` says this.
    async fn until(&self, node: u64, token: &str, what: Said) -> io::Result<Duration> {
        let start = Instant::now();
        let (world, address) = (&self.cluster.world, self.cluster.world.network().api(node));
        while start.elapsed() < RECOVERY_MAX {
            if world.api().verify(address, &[token]).await.0 == [what] {
                return Ok(start.elapsed());
            }
            sleep(POLL).await;
        }
        Err(io::Error::other(format!("node {node} never said {what:?}")))
    }
}
