//! A node that dies, or whose disk fails or fills up, at any one call of a start, a snapshot, a sealed
//! block, a join or a restore, starts again afterwards with everything that it had acknowledged.
//!
//! Each scenario runs in a process of its own (`scenario.rs`) under a library that counts what the
//! process does to its data directory and lets one of these calls go wrong (`inject.c`); then the
//! scenario's check runs on what is left, without a fault. A death is tried at every call of a first and of
//! a later start; of the rest a sample is, and all with `AUTHRAI_INJECT_ALL=1`.

mod run;
mod scenario;
#[path = "../support/mod.rs"]
mod support;
#[path = "../toy/mod.rs"]
mod toy;

use std::path::Path;

use futures_util::StreamExt;
use run::{HOWS, How, Tried, run};
use scenario::{Scenario, check};

/// Calls that are tried for each way in which one can go wrong, if not all are.
const SAMPLE: u64 = 6;
/// Nodes that run at a time: most of the time they wait for the disk.
const AT_A_TIME: usize = 4;

/// Which calls of a clean run are tried to die at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deaths {
    All,
    Sample,
}

/// Runs `scenario` on copies of `pristine` with one call going wrong, in one way after the other, and
/// checks every time what is left.
async fn every_call(scenario: Scenario, pristine: &Path, deaths: Deaths) {
    let temp = tempfile::tempdir().expect("a directory");
    // Where the library finds it by its name: without a symbolic link.
    let temp = temp.path().canonicalize().expect("a path");
    let clean = tried(scenario, pristine, &temp.join("clean"), None).await;
    assert!(clean.ended_well, "{scenario:?} goes well without a fault: {}", clean.said);
    let all = std::env::var_os("AUTHRAI_INJECT_ALL").is_some();
    let mut runs = Vec::new();
    for (nth_way, how) in (0..).zip(HOWS) {
        let each = all || how == How::Kill && deaths == Deaths::All;
        let step = if each { 1 } else { clean.calls.div_ceil(SAMPLE).max(1) };
        // Another offset for each way, so that together they try more calls.
        let first = 1 + nth_way * step / HOWS.len() as u64;
        runs.extend((first..=clean.calls).step_by(step as usize).map(|at| (how, at)));
    }
    let struck = futures_util::stream::iter(&runs)
        .map(|(how, at)| {
            let dir = temp.join(format!("{how:?}-{at}"));
            async move { !tried(scenario, pristine, &dir, Some((*how, *at))).await.ended_well }
        })
        .buffer_unordered(AT_A_TIME)
        .filter(|struck| std::future::ready(*struck))
        .count()
        .await;
    let calls = clean.calls;
    println!("{scenario:?}: {} runs over {calls} calls, {struck} ended early", runs.len());
    assert!(struck * 2 > runs.len(), "only {struck} of {} runs met their fault", runs.len());
}

/// Runs `scenario` in `dir` once, checks what it left, and removes it.
async fn tried(
    scenario: Scenario,
    pristine: &Path,
    dir: &Path,
    fault: Option<(How, u64)>,
) -> Tried {
    if pristine.exists() {
        support::copy_dir(pristine, dir);
    }
    let tried = run(scenario, dir, fault).await;
    let (path, acknowledged) = (dir.to_owned(), tried.acknowledged.clone());
    let checked = tokio::spawn(async move { check(scenario, &path, &acknowledged).await });
    if let Err(error) = checked.await {
        panic!("{scenario:?}, {fault:?}: {error}\n{}", tried.said);
    }
    std::fs::remove_dir_all(dir).expect("removes");
    tried
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_fails_anywhere_can_be_made_again() {
    every_call(Scenario::First, Path::new("/nonexistent"), Deaths::All).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_anywhere_can_be_made_again() {
    let pristine = tempfile::tempdir().expect("a directory");
    scenario::write(pristine.path(), 300, false).await;
    every_call(Scenario::Start, pristine.path(), Deaths::All).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_fails_anywhere_loses_nothing() {
    let pristine = tempfile::tempdir().expect("a directory");
    scenario::write(pristine.path(), 300, true).await;
    every_call(Scenario::Snapshot, pristine.path(), Deaths::Sample).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_sealed_while_the_disk_fails_loses_nothing() {
    let pristine = tempfile::tempdir().expect("a directory");
    scenario::write(pristine.path(), 2 * 4_096 - 2, true).await;
    every_call(Scenario::Segment, pristine.path(), Deaths::Sample).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_fails_anywhere_can_be_made_again() {
    let backup = scenario::backup().await;
    // The child finds it by its environment.
    every_call(Scenario::Restore, Path::new("/nonexistent"), Deaths::Sample).await;
    drop(backup);
}

/// The child.
#[tokio::test(flavor = "multi_thread")]
async fn child_under_a_fault() {
    scenario::child().await;
}

/// A disk that is full and stays full through several starts, as under a supervisor, and is then
/// cleared.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_started_again_and_again_on_a_full_disk_starts_once_there_is_space() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().canonicalize().expect("a path").join("node");
    scenario::write(&dir, 300, true).await;
    let mut acknowledged = Vec::new();
    for at in [1, 3, 5, 7, 9, 12, 15, 18, 22, 26, 30, 40] {
        let tried = run(Scenario::Start, &dir, Some((How::Full, at))).await;
        acknowledged.extend(tried.acknowledged);
    }
    check(Scenario::Start, &dir, &acknowledged).await;
}
