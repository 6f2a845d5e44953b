//! One run: found a cluster, start the clients, inject faults until the time is over, take a last
//! look, judge.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use tokio::time::{Instant, sleep};

use crate::{
    checker,
    cluster::{Cluster, Size},
    fault::{Kind, Schedule},
    figures,
    history::{self, Event, Recorder},
    last_looks, report,
};

/// The lease length that nodes have unless configured otherwise.
const LEASE_MS: u64 = 2_000;
/// Fewest verifications a second for a run to prove anything.
const VERIFIED_PER_SECOND_MIN: u64 = 100;
/// Time between two faults.
const CALM_MS: std::ops::Range<u64> = 500..2_000;

/// What a run can be told.
#[derive(Debug, Args)]
pub struct Options {
    /// For how long faults are injected; every kind comes at least once
    #[arg(long, value_name = "N", default_value_t = 2)]
    minutes: u64,
    /// What decides which fault comes when, and to whom [default: the time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=7))]
    nodes: u64,
    /// How many more nodes that have no vote
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=5))]
    learners: u64,
    /// Keep everything in this directory, whatever the outcome
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Instead of the schedule: SIGKILL one node after the other, so often
    #[arg(long, value_name = "N")]
    kill_cycles: Option<u64>,
    /// Only faults whose names contain this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// The program under test
    #[arg(long, value_name = "FILE", env = "AUTHRAI_BIN")]
    binary: PathBuf,
    /// Whether disks of the nodes' own (tmpfs) may be mounted and are forgotten afterwards
    #[arg(long, hide = true)]
    own_disks: bool,
}

/// Runs, judges and reports; false if the promise was broken.
pub async fn run(options: Options) -> io::Result<bool> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = options.seed.unwrap_or(since.as_secs());
    let folder = match &options.keep {
        Some(keep) => keep.clone(),
        None => std::env::temp_dir().join(format!("authrai-chaos-{}-{seed}", std::process::id())),
    };
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let history = folder.join("history.jsonl");
    let (recorder, written) = Recorder::create(&history)?;
    let again = again(&options, seed);
    println!("{again}\nEverything is in {}", folder.display());
    recorder.record(Event::Begun { seed, lease_ms: LEASE_MS, again: again.clone() });

    let started = Instant::now();
    let outcome = Box::pin(faults(&options, seed, &folder, recorder)).await;
    written.join().map_err(|_| io::Error::other("the history's writer panicked"))??;
    outcome?;
    let elapsed = started.elapsed();
    println!(
        "\n{} nodes with a vote and {} without, seed {seed}, {} s\n",
        options.nodes,
        options.learners,
        elapsed.as_secs()
    );
    let passed = check(&history)?;
    if passed && options.keep.is_none() {
        fs::remove_dir_all(&folder)?;
    } else {
        println!("Kept in {}", folder.display());
        println!("Again:    {again}");
        println!("Recheck:  scripts/chaos check {}", history.display());
    }
    Ok(passed)
}

fn again(options: &Options, seed: u64) -> String {
    let how = match (options.kill_cycles, &options.only) {
        (Some(cycles), _) => format!("--kill-cycles {cycles}"),
        (None, Some(only)) => format!("--minutes {} --only '{only}'", options.minutes),
        (None, None) => format!("--minutes {}", options.minutes),
    };
    format!(
        "scripts/chaos --seed {seed} --nodes {} --learners {} {how}",
        options.nodes, options.learners
    )
}

/// Measures; nothing is kept.
pub async fn figures(binary: PathBuf, nodes: u64) -> io::Result<bool> {
    let folder = tempfile::tempdir()?;
    let binary = own_copy(&binary, folder.path())?;
    Box::pin(figures::run(binary, folder.path(), nodes)).await?;
    Ok(true)
}

/// A copy of the program that no build replaces meanwhile.
fn own_copy(binary: &Path, folder: &Path) -> io::Result<PathBuf> {
    let copy = folder.join("authrai");
    fs::copy(binary, &copy)?;
    Ok(copy)
}

/// Judges a history; false if it breaks the promise, or proves too little.
pub fn check(history: &Path) -> io::Result<bool> {
    let history = history::read(history)?;
    let verdict = checker::check(&history);
    println!("{}", report::table(&verdict));
    verdict.described.iter().for_each(|violation| println!("VIOLATION {violation}"));
    let mut passed = verdict.violations() == 0;
    let lasted = history.iter().filter_map(|event| match event {
        Event::Final { at, .. } => Some(at / 1_000_000_000),
        _ => None,
    });
    let lasted: u64 = lasted.max().unwrap_or(0);
    if verdict.verified.done < lasted * VERIFIED_PER_SECOND_MIN {
        println!("Too few verifications were answered to prove anything.");
        passed = false;
    }
    if verdict.acknowledged_writes() == 0 || verdict.certainly_dead == 0 {
        println!("Nothing was written or revoked, so nothing was shown.");
        passed = false;
    }
    println!("{}", if passed { "The promise was kept." } else { "FAILED." });
    Ok(passed)
}

async fn faults(options: &Options, seed: u64, folder: &Path, recorder: Recorder) -> io::Result<()> {
    let own_disks = options.own_disks && options.kill_cycles.is_none();
    let binary = own_copy(&options.binary, folder)?;
    let size = Size { voters: options.nodes, learners: options.learners };
    let founded = Cluster::found(binary, folder, size, own_disks, recorder);
    let mut cluster = Box::pin(founded).await?;
    let load = cluster.world.start(seed);
    let result = match options.kill_cycles {
        Some(cycles) => kill_cycles(&mut cluster, cycles, seed).await,
        None => {
            let until = Duration::from_secs(options.minutes * 60);
            let only = options.only.as_deref().unwrap_or_default();
            Box::pin(schedule(&mut cluster, until, Schedule::new(seed, only))).await
        }
    };
    load.stop().await;
    result?;
    last_looks::take(&cluster).await
}

/// Faults of all kinds, one after the other.
async fn schedule(
    cluster: &mut Cluster,
    until: Duration,
    mut schedule: Schedule,
) -> io::Result<()> {
    let start = Instant::now();
    sleep(schedule.millis(CALM_MS)).await;
    while start.elapsed() < until || schedule.rounds == 0 {
        let no_kind = || io::Error::other("no fault has such a name");
        let kind = schedule.next().ok_or_else(no_kind)?;
        let injected = Box::pin(schedule.inject(kind, cluster)).await;
        let recorder = cluster.world.recorder().clone();
        let at = recorder.now();
        let (detail, error) = match injected {
            Ok(detail) => (detail, None),
            Err(error) => (error.to_string(), Some(error)),
        };
        println!("{:>5} s  {}: {detail}", start.elapsed().as_secs(), kind.name());
        recorder.record(Event::Fault { at, kind: kind.name().into(), detail });
        cluster.world.network().heal();
        if let Some(error) = error {
            cluster.unwell(format!("{}: {error}", kind.name()))?;
        }
        well_again(cluster).await?;
        sleep(schedule.millis(CALM_MS)).await;
    }
    Ok(())
}

/// SIGKILL of one node after the other, the leader as often as not.
async fn kill_cycles(cluster: &mut Cluster, cycles: u64, seed: u64) -> io::Result<()> {
    let mut rng = fastrand::Rng::with_seed(seed);
    for cycle in 1..=cycles {
        sleep(Duration::from_millis(rng.u64(100..1_500))).await;
        let leader = cluster.leader().await?;
        let id = match rng.u8(0..2) {
            0 => leader,
            _ => rng.choice(cluster.ids()).unwrap_or(leader),
        };
        let kind = if id == leader { Kind::KillLeader } else { Kind::KillFollower };
        cluster.node(id)?.kill()?;
        cluster.start(id)?;
        let recorder = cluster.world.recorder();
        let (at, detail) = (recorder.now(), format!("{id}, cycle {cycle}"));
        recorder.record(Event::Fault { at, kind: kind.name().into(), detail });
        well_again(cluster).await?;
        if cycle % 10 == 0 {
            println!("{cycle} kills");
        }
    }
    Ok(())
}

/// Waits until every node is ready. One that is not in time is a violation; the run goes on.
async fn well_again(cluster: &mut Cluster) -> io::Result<()> {
    if let Err(why) = cluster.ready().await {
        println!("         {why}");
        for node in cluster.ids() {
            println!("         {node}: {}", last_looks::describe(&cluster.world, node).await);
        }
        cluster.unwell(why)?;
        cluster.ready().await.map_err(io::Error::other)?;
    }
    let at = cluster.world.recorder().now();
    cluster.world.recorder().record(Event::Healed { at });
    Ok(())
}
