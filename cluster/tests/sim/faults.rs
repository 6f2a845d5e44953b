//! What goes wrong in a run, and when: all of it drawn from the seed, each of it for a while.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use super::executor::OUTSIDE;
use super::tasks::spawn_on;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    DieInOperation,
    Restart,
    Pause,
    CutOneWay,
    CutBothWays,
    Isolate,
    SlowLinks,
    LossyLinks,
    DiskError,
    DiskFull,
    Damage,
    Transfer,
    KillAll,
}

const FAULTS: [Fault; 22] = [
    Fault::Kill,
    Fault::Kill,
    Fault::Kill,
    Fault::DieInOperation,
    Fault::DieInOperation,
    Fault::DieInOperation,
    Fault::Restart,
    Fault::Pause,
    Fault::Pause,
    Fault::Pause,
    Fault::CutOneWay,
    Fault::CutOneWay,
    Fault::CutBothWays,
    Fault::Isolate,
    Fault::Isolate,
    Fault::SlowLinks,
    Fault::LossyLinks,
    Fault::DiskError,
    Fault::DiskFull,
    Fault::Damage,
    Fault::Transfer,
    Fault::KillAll,
];

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Kill => "fault: node killed",
        Fault::DieInOperation => "fault: node to die in a disk operation",
        Fault::Restart => "fault: node shut down and started",
        Fault::Pause => "fault: node paused",
        Fault::CutOneWay => "fault: one direction cut",
        Fault::CutBothWays => "fault: both directions cut",
        Fault::Isolate => "fault: node isolated",
        Fault::SlowLinks => "fault: slow links",
        Fault::LossyLinks => "fault: messages lost",
        Fault::DiskError => "fault: EIO",
        Fault::DiskFull => "fault: ENOSPC",
        Fault::Damage => "fault: bit flipped",
        Fault::Transfer => "fault: leadership handed over",
        Fault::KillAll => "fault: all nodes killed",
    }
}

/// Causes faults until `until`.
pub async fn cause(cluster: Cluster, until: Instant) {
    let (between, damage) =
        cluster.simulation().chance(|dice| (300 + dice.below(3_000), dice.chance(200)));
    while Instant::now() < until {
        let (pause, fault, node, other, ms) = cluster.simulation().chance(|dice| {
            let ids = cluster.ids();
            let at = dice.below(ids.len());
            let other = (at + 1 + dice.below(ids.len() - 1)) % ids.len();
            let ms = if dice.chance(800) { dice.below(1_000) } else { dice.below(6_000) };
            (dice.below(between), dice.pick(&FAULTS), ids[at], ids[other], ms)
        });
        sleep(Duration::from_millis(pause as u64)).await;
        cluster.simulation().note(format_args!("{} {node} {other} {ms}", name(fault)));
        if matches!(fault, Fault::Damage) && !damage {
            continue;
        }
        cluster.history().count(name(fault));
        strike(&cluster, fault, node, other, Duration::from_millis(ms as u64));
    }
}

fn strike(cluster: &Cluster, fault: Fault, node: u64, other: u64, lasts: Duration) {
    let operations = || cluster.simulation().chance(|dice| dice.below(60)) as u32;
    match fault {
        Fault::Kill => cluster.kill(node),
        Fault::KillAll if !lasts.as_millis().is_multiple_of(3) => cluster.kill(node),
        Fault::KillAll => cluster.ids().into_iter().for_each(|node| cluster.kill(node)),
        Fault::DieInOperation => {
            let operations = operations();
            cluster.disk(node).set(|faults| faults.dies_in = Some(operations));
        }
        Fault::Restart => cluster.stop(node),
        Fault::DiskError if cluster.is_up(node) => {
            let operations = operations();
            cluster.places().entry(node).or_default().faulted = true;
            cluster.disk(node).set(|faults| faults.fails_in = Some(operations));
        }
        Fault::DiskFull if cluster.is_up(node) => {
            cluster.places().entry(node).or_default().faulted = true;
            cluster.disk(node).set(|faults| faults.full = true);
        }
        Fault::DiskError | Fault::DiskFull => {}
        // A minority only: what was promised rests on the disks of the others.
        Fault::Damage => {
            let damaged = cluster.places().values().filter(|p| p.damaged.is_some()).count();
            let may = (cluster.ids().len() - 1) / 2;
            if damaged < may {
                cluster.kill(node);
                cluster.damage(node);
            }
        }
        Fault::Transfer => {
            let cluster = cluster.clone();
            spawn_on(OUTSIDE, async move {
                let deadline = Duration::from_secs(3);
                let work = |handle: authrai_cluster::Handle<_>, _| async move {
                    handle.transfer_leader(other, deadline).await.is_ok()
                };
                if cluster.on(node, work).await == Some(true) {
                    cluster.history().count("leadership handed over");
                }
            });
        }
        Fault::Pause
        | Fault::CutOneWay
        | Fault::CutBothWays
        | Fault::Isolate
        | Fault::SlowLinks
        | Fault::LossyLinks => passing(cluster, fault, node, other, lasts),
    }
}

/// What is over by itself after a while.
fn passing(cluster: &Cluster, fault: Fault, node: u64, other: u64, lasts: Duration) {
    let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != node).collect();
    let directions: Vec<(u64, u64)> = match fault {
        Fault::CutOneWay => vec![(node, other)],
        Fault::CutBothWays => vec![(node, other), (other, node)],
        Fault::Isolate => others.iter().flat_map(|id| [(node, *id), (*id, node)]).collect(),
        _ => Vec::new(),
    };
    let simulation = cluster.simulation();
    {
        let mut wires = simulation.world.wires();
        directions.iter().for_each(|(from, to)| wires.cut(*from, *to));
        match fault {
            Fault::SlowLinks => wires.slow(node, 250),
            Fault::LossyLinks => wires.lost_permille = 150,
            _ => {}
        }
    }
    if matches!(fault, Fault::Pause) {
        simulation.pause(node);
    }
    let cluster = cluster.clone();
    spawn_on(OUTSIDE, async move {
        sleep(lasts).await;
        let simulation = cluster.simulation();
        let mut wires = simulation.world.wires();
        directions.iter().for_each(|(from, to)| wires.mend(*from, *to));
        match fault {
            Fault::SlowLinks => wires.fast(node),
            Fault::LossyLinks => wires.lost_permille = 0,
            Fault::Pause => simulation.resume(node),
            _ => {}
        }
    });
}

/// Ends every fault.
pub fn heal(cluster: &Cluster) {
    let simulation = cluster.simulation();
    for node in cluster.ids() {
        simulation.resume(node);
        cluster.disk(node).set(|faults| {
            (faults.full, faults.fails_in, faults.dies_in) = (false, None, None);
        });
        let mut wires = simulation.world.wires();
        wires.fast(node);
        wires.lost_permille = 0;
        cluster.ids().into_iter().for_each(|other| wires.mend(node, other));
    }
}
