//! Runs: one for a seed, twice for the same bytes; and those that must fail.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::clients::client;
use super::cluster::Cluster;
use super::executor::{self, OUTSIDE, Simulation, as_node};
use super::faults;
use super::history::Violation;
use super::tasks::spawn_on;
use super::vault::Command;
use crate::lease::Rule;

/// Seeds of a normal run of the tests.
const SEEDS: u64 = 16;
/// Seeds within which each mutant must be caught.
const MUTANT_SEEDS: u64 = 40;
/// How long faults are caused, and how soon all must be well after the last.
const TROUBLE: Duration = Duration::from_secs(10);
const WELL_WITHIN: Duration = Duration::from_secs(30);
const CLIENTS: usize = 6;
/// What a few dozen runs must have come by to mean anything.
const MUST_HAPPEN: [&str; 16] = [
    "died in an operation of the disk",
    "fault: all nodes killed",
    "fault: both directions cut",
    "fault: messages lost",
    "fault: node isolated",
    "fault: node paused",
    "fault: one direction cut",
    "fault: slow links",
    "leadership handed over",
    "logs cut back",
    "logs purged",
    "segments",
    "snapshots installed",
    "stopped by an error of the disk",
    "unsynced writes lost",
    "writes torn",
];

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The disk says that it synced, and did not.
    SyncThatLies,
    /// Verifications do not ask for the lease.
    LeaseNotAsked,
    /// Revokes are answered when they are committed.
    RevokeAnsweredEarly,
    /// A rule of the leases is not kept, by any node.
    WithoutRule(Rule),
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Of every message and disk operation, in order.
    digest: [u8; 32],
    lines: u64,
    /// State and journal of every node.
    bytes: Vec<u8>,
    violations: Vec<Violation>,
    counts: BTreeMap<&'static str, u64>,
    last: Vec<String>,
}

fn run(seed: u64, mutant: Option<Mutant>) -> Run {
    executor::run(seed, |simulation| async move {
        let cluster = Cluster::new(simulation.clone(), mutant);
        let size = simulation.chance(|dice| if dice.chance(250) { 5 } else { 3 });
        cluster.found(size).await;
        let until = Instant::now() + TROUBLE;
        let clients = (0..CLIENTS).map(|_| spawn_on(OUTSIDE, client(cluster.clone(), until)));
        let clients: Vec<_> = clients.collect();
        faults::cause(cluster.clone(), until).await;
        faults::heal(&cluster);
        settle(&cluster).await;
        for client in clients {
            // It ends with its last call, which the healed cluster answers.
            let _ = client.await;
        }
        let bytes = compare(&cluster).await;
        outcome(&cluster, &simulation, bytes)
    })
}

/// Waits until every node whose disk was not damaged serves and takes writes.
async fn settle(cluster: &Cluster) {
    let end = Instant::now() + WELL_WITHIN;
    loop {
        let well = cluster.places().iter().all(|(id, place)| match &place.handle {
            Some(handle) => as_node(*id, || handle.may_serve()),
            None => place.refused,
        });
        if well && write_everywhere(cluster).await {
            return;
        }
        if Instant::now() >= end {
            let down: Vec<u64> = cluster
                .places()
                .iter()
                .filter(|(id, place)| {
                    let serves =
                        |handle: &authrai_cluster::Handle<_>| as_node(**id, || handle.may_serve());
                    !place.refused && !place.handle.as_ref().is_some_and(serves)
                })
                .map(|(id, _)| *id)
                .collect();
            cluster.history().violates(format!("not well in time; do not serve: {down:?}"));
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// A write through each node that is up.
async fn write_everywhere(cluster: &Cluster) -> bool {
    for node in cluster.ids() {
        if !cluster.is_up(node) {
            continue;
        }
        let (key, asked) = {
            let mut history = cluster.history();
            (history.fresh_key(), history.now())
        };
        let work = |handle: authrai_cluster::Handle<_>, _| async move {
            handle.propose_everywhere(Command::Issue { key }, Duration::from_secs(5)).await
        };
        let Some(Ok(committed)) = cluster.on(node, work).await else { return false };
        let mut history = cluster.history();
        history.acked(asked, committed.index);
        history.issued.push(key);
    }
    true
}

/// Compares the nodes with each other and with what was acknowledged. Gives the bytes of all.
async fn compare(cluster: &Cluster) -> Vec<u8> {
    let highest = cluster.history().highest();
    let mut all = Vec::new();
    let mut first: Option<(u64, Vec<u8>)> = None;
    for node in cluster.ids() {
        if !cluster.is_up(node) {
            continue;
        }
        let work = move |handle: authrai_cluster::Handle<_>, view: super::vault::View| async move {
            handle.wait_applied(highest, Duration::from_secs(10)).await.ok()?;
            let state = view.lock().expect("not poisoned").1.clone();
            let mut bytes = state.bytes();
            let journal = handle.journal();
            for chain in journal.chains() {
                let mut from = 1;
                while from <= journal.head(&chain) {
                    let records = journal.read(&chain, from, usize::MAX, usize::MAX).ok()?;
                    from += records.len() as u64;
                    records.iter().for_each(|(_, record)| bytes.extend(record));
                }
            }
            Some((state, bytes))
        };
        let Some(Some((state, bytes))) = cluster.on(node, work).await else {
            cluster.history().violates(format!("node {node} does not reach {highest}"));
            continue;
        };
        let mut history = cluster.history();
        history.check_kept(node, &state);
        for (chain, (head, _)) in &state.heads {
            let there =
                cluster.places()[&node].handle.as_ref().map(|h| h.journal().head(&[*chain]));
            if there.is_some_and(|there| there != *head) {
                history
                    .violates(format!("node {node}: chain {chain} is {there:?} long, not {head}"));
            }
        }
        match &first {
            None => first = Some((node, bytes.clone())),
            Some((other, same)) if *same != bytes => {
                history.violates(format!("nodes {other} and {node} differ"));
            }
            Some(_) => {}
        }
        all.extend(bytes);
    }
    cluster.history().check_order();
    all
}

fn outcome(cluster: &Cluster, simulation: &Simulation, bytes: Vec<u8>) -> Run {
    let trace = simulation.trace.lock().expect("not poisoned");
    let mut history = cluster.history();
    let mut counts = std::mem::take(&mut history.counts);
    {
        let wires = simulation.world.wires();
        counts.insert("messages carried", wires.carried);
        counts.insert("messages lost", wires.lost);
    }
    counts.extend(simulation.world.counts().iter().map(|(what, n)| (*what, *n)));
    for node in cluster.ids() {
        let disk = cluster.disk(node);
        let state = disk.state();
        *counts.entry("disk operations").or_default() += state.operations;
        *counts.entry("unsynced writes lost").or_default() += state.lost;
        *counts.entry("writes torn").or_default() += state.torn;
    }
    Run {
        digest: trace.digest(),
        lines: trace.lines,
        bytes,
        violations: std::mem::take(&mut history.violations),
        counts,
        last: trace.last().cloned().collect(),
    }
}

/// A run whose panic is a violation.
fn run_guarded(seed: u64, mutant: Option<Mutant>) -> Run {
    catch_unwind(AssertUnwindSafe(|| run(seed, mutant))).unwrap_or_else(|panic| Run {
        digest: [0; 32],
        lines: 0,
        bytes: Vec::new(),
        violations: vec![format!("it panicked: {}", crate::store::panic_message(&*panic))],
        counts: BTreeMap::new(),
        last: Vec::new(),
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn no_seed_breaks_a_promise_and_the_same_seed_gives_the_same_bytes() {
    let (one, many) = (number("AUTHRAI_SIM_SEED"), number("AUTHRAI_SIM_SEEDS"));
    let first = one.unwrap_or(1);
    let count = many.unwrap_or(if one.is_some() { 1 } else { SEEDS });
    let alone = one.is_some() && many.is_none();
    let (next, totals) = (AtomicU64::new(first), Mutex::new(BTreeMap::new()));
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let counts = twice(seed, alone);
                    let mut totals = totals.lock().expect("no seed failed");
                    for (what, n) in counts {
                        *totals.entry(what).or_default() += n;
                    }
                }
            });
        }
    });
    let totals: BTreeMap<&'static str, u64> = totals.into_inner().expect("no seed failed");
    println!("{count} seeds, each twice, in {:?}", begun.elapsed());
    totals.iter().for_each(|(what, n)| println!("{n:>10} {what}"));
    if count >= SEEDS {
        let missing = MUST_HAPPEN.iter().filter(|what| !totals.contains_key(*what));
        assert_eq!(missing.count(), 0, "some of {MUST_HAPPEN:?} never happened");
    }
}

/// Runs `seed` twice, and says what it came by.
fn twice(seed: u64, shown: bool) -> BTreeMap<&'static str, u64> {
    let done = run_guarded(seed, None);
    if !done.violations.is_empty() || shown {
        done.last.iter().for_each(|line| println!("{line}"));
    }
    let replay = format!(
        "AUTHRAI_SIM_SEED={seed} cargo test -p authrai-cluster --lib sim::runs::no_seed -- --nocapture"
    );
    let violations = &done.violations;
    assert!(violations.is_empty(), "seed {seed}: {violations:#?}\nreplay it: {replay}");
    let again = run_guarded(seed, None);
    assert!(
        done.digest == again.digest && done.bytes == again.bytes,
        "seed {seed} gave two runs, of {} and {} lines\nreplay it: {replay}",
        done.lines,
        again.lines
    );
    done.counts
}

#[test]
fn what_is_broken_on_purpose_is_noticed() {
    // Each with the seed to begin with, so that the test is short as long as runs stay the same.
    let mutants = [
        (Mutant::SyncThatLies, 1),
        (Mutant::LeaseNotAsked, 1),
        (Mutant::RevokeAnsweredEarly, 1),
        (Mutant::WithoutRule(Rule::Expiry), 8),
        (Mutant::WithoutRule(Rule::WaitsForBelow), 3),
        (Mutant::WithoutRule(Rule::OfficeWait), 15),
    ];
    for (mutant, first) in mutants {
        let caught = (first..first + MUTANT_SEEDS).find_map(|seed| {
            let violations = run_guarded(seed, Some(mutant)).violations;
            violations.into_iter().next().map(|violation| (seed, violation))
        });
        let (seed, violation) = caught.unwrap_or_else(|| panic!("{mutant:?} is not noticed"));
        println!("{mutant:?}: seed {seed}: {violation}");
    }
}
