//! What can go wrong, and how it is made to.
//!
//! Each fault is injected, held for a while that the seed draws, and undone. Must not know what
//! the clients see of it.

use std::{io, time::Duration};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{cluster::Cluster, network::Way};

/// By how much clocks are made to run wrong: the error that the guarantee allows for.
const CLOCK_ERROR_PPM: i64 = 10_000;
/// How long a node with a full disk is given to notice.
const FULL_DISK_MAX: Duration = Duration::from_secs(20);
/// How long clients go on asking a node that was removed.
const REMOVED_FOR: Duration = Duration::from_millis(2_500);

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    KillLeader,
    KillFollower,
    KillAll,
    PauseShort,
    PauseLong,
    Partition,
    CutOutgoing,
    CutIncoming,
    SlowLinks,
    LossyLinks,
    SkewedClocks,
    FullDisk,
    ReplaceMember,
    TransferLeader,
    RollingRestart,
}

impl Kind {
    pub const ALL: [Self; 15] = [
        Self::KillLeader,
        Self::KillFollower,
        Self::KillAll,
        Self::PauseShort,
        Self::PauseLong,
        Self::Partition,
        Self::CutOutgoing,
        Self::CutIncoming,
        Self::SlowLinks,
        Self::LossyLinks,
        Self::SkewedClocks,
        Self::FullDisk,
        Self::ReplaceMember,
        Self::TransferLeader,
        Self::RollingRestart,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "SIGKILL of the leader",
            Self::KillFollower => "SIGKILL of a follower",
            Self::KillAll => "SIGKILL of all nodes",
            Self::PauseShort => "SIGSTOP shorter than a lease",
            Self::PauseLong => "SIGSTOP longer than a lease",
            Self::Partition => "a node cut off, both ways",
            Self::CutOutgoing => "a node cut off, outgoing only",
            Self::CutIncoming => "a node cut off, incoming only",
            Self::SlowLinks => "slow links",
            Self::LossyLinks => "lossy links",
            Self::SkewedClocks => "clocks 1 % fast and 1 % slow",
            Self::FullDisk => "a full disk",
            Self::ReplaceMember => "a member replaced by a new node",
            Self::TransferLeader => "leadership handed over",
            Self::RollingRestart => "rolling restart",
        }
    }
}

/// Faults in an order that the seed decides, every kind once before any comes again.
pub struct Schedule {
    rng: fastrand::Rng,
    kinds: Vec<Kind>,
    deck: Vec<Kind>,
    /// Kinds that have all been dealt, so many times.
    pub rounds: usize,
}

impl Schedule {
    /// Of the kinds whose names contain `only`.
    pub fn new(seed: u64, only: &str) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.name().contains(only)).collect();
        Self { rng, kinds, deck: Vec::new(), rounds: 0 }
    }

    /// The next kind; `None` if there is none to choose from.
    pub fn next(&mut self) -> Option<Kind> {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.kinds);
            self.rng.shuffle(&mut self.deck);
        }
        let kind = self.deck.pop();
        self.rounds += usize::from(self.deck.is_empty());
        kind
    }

    /// A time to wait.
    pub fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.u64(range))
    }

    /// The leader half of the time, so that it is not only a third of it.
    async fn victim(&mut self, cluster: &Cluster) -> io::Result<u64> {
        let any = self.any(&cluster.ids());
        if self.rng.bool() { cluster.leader().await } else { Ok(any) }
    }

    fn any(&mut self, ids: &[u64]) -> u64 {
        self.rng.choice(ids).copied().unwrap_or(1)
    }

    async fn follower(&mut self, cluster: &Cluster) -> io::Result<u64> {
        let leader = cluster.leader().await?;
        let ids: Vec<_> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
        Ok(self.any(&ids))
    }

    /// Injects a fault, holds it and undoes it; says what it was.
    pub async fn inject(&mut self, kind: Kind, cluster: &mut Cluster) -> io::Result<String> {
        match kind {
            Kind::KillLeader => {
                let id = cluster.leader().await?;
                self.kill(&[id], cluster).await
            }
            Kind::KillFollower => {
                let id = self.follower(cluster).await?;
                self.kill(&[id], cluster).await
            }
            Kind::KillAll => self.kill(&cluster.ids(), cluster).await,
            Kind::PauseShort => self.pause(300..1_600, cluster).await,
            Kind::PauseLong => self.pause(2_500..6_000, cluster).await,
            Kind::Partition => self.cut(Way::Cut, Way::Cut, cluster).await,
            Kind::CutOutgoing => self.cut(Way::Cut, Way::Open, cluster).await,
            Kind::CutIncoming => self.cut(Way::Open, Way::Cut, cluster).await,
            Kind::SlowLinks => {
                let by = self.millis(10..80);
                self.degrade(Way::Slow(by), cluster).await
            }
            Kind::LossyLinks => {
                let percent = self.rng.u8(3..25);
                self.degrade(Way::Lossy(percent), cluster).await
            }
            Kind::SkewedClocks => self.skew(cluster).await,
            Kind::FullDisk => self.fill_disk(cluster).await,
            Kind::ReplaceMember => self.replace(cluster).await,
            Kind::TransferLeader => self.transfer(cluster).await,
            Kind::RollingRestart => self.restart(cluster).await,
        }
    }

    async fn kill(&mut self, ids: &[u64], cluster: &mut Cluster) -> io::Result<String> {
        for id in ids {
            cluster.node(*id)?.kill()?;
        }
        let held = self.millis(0..3_500);
        sleep(held).await;
        for id in ids {
            cluster.start(*id)?;
        }
        Ok(format!("{ids:?}, down for {held:?}"))
    }

    async fn pause(
        &mut self,
        range: std::ops::Range<u64>,
        cluster: &mut Cluster,
    ) -> io::Result<String> {
        let id = self.victim(cluster).await?;
        let held = self.millis(range);
        cluster.node(id)?.signal(Signal::STOP)?;
        sleep(held).await;
        cluster.node(id)?.signal(Signal::CONT)?;
        Ok(format!("{id} for {held:?}"))
    }

    async fn cut(&mut self, out: Way, back: Way, cluster: &mut Cluster) -> io::Result<String> {
        let id = self.victim(cluster).await?;
        let held = self.millis(1_000..6_000);
        cluster.set_ways(id, out, back);
        sleep(held).await;
        cluster.world.network().heal();
        Ok(format!("{id} for {held:?}"))
    }

    async fn degrade(&mut self, way: Way, cluster: &mut Cluster) -> io::Result<String> {
        let held = self.millis(3_000..6_000);
        cluster.set_all(way);
        sleep(held).await;
        cluster.world.network().heal();
        Ok(format!("{way:?} for {held:?}"))
    }

    /// One holder's clock runs slow and all others' fast, so that it believes in its lease for as
    /// long as the guarantee allows; then it is cut off while others revoke.
    async fn skew(&mut self, cluster: &mut Cluster) -> io::Result<String> {
        let slow = self.follower(cluster).await?;
        for id in cluster.ids() {
            let node = cluster.node(id)?;
            node.clock_ppm = if id == slow { -CLOCK_ERROR_PPM } else { CLOCK_ERROR_PPM };
            node.kill()?;
            cluster.start(id)?;
            cluster.ready().await.map_err(io::Error::other)?;
        }
        let held = self.millis(2_500..5_000);
        cluster.set_ways(slow, Way::Cut, Way::Cut);
        sleep(held).await;
        cluster.world.network().heal();
        Ok(format!("{slow} slow, the others fast, and then it was cut off for {held:?}"))
    }

    async fn fill_disk(&mut self, cluster: &mut Cluster) -> io::Result<String> {
        let id = self.victim(cluster).await?;
        cluster.node(id)?.fill_disk()?;
        let deadline = Instant::now() + FULL_DISK_MAX;
        while cluster.node(id)?.runs() && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
        }
        let node = cluster.node(id)?;
        let ended = node.ended()?;
        node.empty_disk()?;
        match ended {
            Some(status) => {
                cluster.start(id)?;
                Ok(format!("{id} ended with {status} and was started again"))
            }
            None => Ok(format!("{id} went on")),
        }
    }

    async fn replace(&mut self, cluster: &mut Cluster) -> io::Result<String> {
        let old = self.victim(cluster).await?;
        let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != old).collect();
        // Only a node with a vote lets others in.
        let voters: Vec<_> =
            others.iter().copied().filter(|id| cluster.voters().contains(id)).collect();
        let seed = self.any(&voters);
        let voter = cluster.node(old)?.voter;
        let join_first = self.rng.bool();
        let early = if join_first { Some(cluster.join(seed, voter).await?) } else { None };
        cluster.remove(old).await?;
        // Clients go on asking it: it must not say what it cannot know any more.
        sleep(REMOVED_FOR).await;
        cluster.node(old)?.wipe()?;
        let new = match early {
            Some(new) => new,
            None => cluster.join(seed, voter).await?,
        };
        let id = new.id;
        *cluster.node(old)? = new;
        cluster.world.replace_node(old, id);
        let order = if join_first { "joined before" } else { "joined after" };
        let sort = if voter { "" } else { ", a learner," };
        Ok(format!("{id}{sort} {order} {old} was removed"))
    }

    async fn transfer(&mut self, cluster: &mut Cluster) -> io::Result<String> {
        let leader = cluster.leader().await?;
        let voters: Vec<_> = cluster.voters().into_iter().filter(|id| *id != leader).collect();
        let to = self.any(&voters);
        let body = json!({"node_id": to});
        cluster.operate(Method::POST, "/cluster/leader", Some(&body), None).await?;
        Ok(format!("to {to}"))
    }

    async fn restart(&mut self, cluster: &mut Cluster) -> io::Result<String> {
        let ids = cluster.ids();
        for id in &ids {
            cluster.node(*id)?.stop().await?;
            cluster.start(*id)?;
            cluster.ready().await.map_err(io::Error::other)?;
        }
        Ok(format!("{ids:?}"))
    }
}
