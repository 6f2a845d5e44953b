//! A rolling upgrade between two builds whose machines know different levels of rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use authrai_cluster::{Handle, MemberError, MemberRefusal, ProposeError, StartError};

use crate::harness::{Cluster, DEADLINE, propose_again, until};
use crate::toy::{Command, Counter, add};

fn newer() -> Counter {
    Counter { more_levels: 1, ..Counter::default() }
}

/// A client that writes without pause, and asks another node once when one gives no answer.
fn load(
    handles: Arc<std::sync::Mutex<Vec<Handle<Counter>>>>,
    stop: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<(u64, u64, Duration)> {
    tokio::spawn(async move {
        let (mut written, mut lost, mut longest) = (0, 0, Duration::ZERO);
        while !stop.load(Ordering::Relaxed) {
            let id = 100_000 + written;
            let all = handles.lock().expect("not poisoned").clone();
            let (begun, deadline) = (Instant::now(), Duration::from_secs(5));
            let first = all[written as usize % all.len()].propose(add(9, id), deadline).await;
            if first.is_err() {
                let other = &all[(written as usize + 1) % all.len()];
                lost += u64::from(other.propose(add(9, id), deadline).await.is_err());
            }
            longest = longest.max(begun.elapsed());
            written += 1;
        }
        (written, lost, longest)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_builds_roll_without_losing_a_request_and_new_rules_wait_until_all_know_them() {
    let mut cluster = Cluster::start(3).await;
    let running = |cluster: &Cluster| {
        cluster.running().into_iter().map(|id| cluster.handle(id)).collect::<Vec<_>>()
    };
    let handles = Arc::new(std::sync::Mutex::new(running(&cluster)));
    let stop = Arc::new(AtomicBool::new(false));
    let writing = load(handles.clone(), stop.clone());
    for id in 1..=3 {
        // The new rules do not hold while anybody is of the old build, whoever is asked.
        let asked = cluster.handle(id);
        let got = asked.propose(Command::AtTwo { id: 1 }, DEADLINE).await.map(|_| ());
        assert_eq!(got, Err(ProposeError::AboveLevel { needs: 2, level: 1 }));
        assert_eq!(asked.raise_level(DEADLINE).await, Ok(1), "raised too early");
        // A balancer in front of the nodes would stop asking it first, as readiness says.
        let rest = cluster.running().into_iter().filter(|other| *other != id);
        *handles.lock().expect("not poisoned") = rest.map(|id| cluster.handle(id)).collect();
        cluster.stop(id).await;
        let config = cluster.config(id, cluster.places[&id].address);
        if id == 2 {
            let got = cluster.handle(1).raise_level(DEADLINE / 10).await;
            let refused = MemberError::Refused(MemberRefusal::LevelUnknown);
            assert_eq!(got, Err(refused), "a member is down");
        }
        cluster.restart_on(id, config, newer()).await.expect("starts");
        cluster.ready(id).await;
        *handles.lock().expect("not poisoned") = running(&cluster);
    }
    stop.store(true, Ordering::Relaxed);
    let (written, lost, longest) = writing.await.expect("ends");
    println!("{written} writes while 3 nodes were upgraded, {lost} lost, the longest {longest:?}");
    assert!(written > 20 && lost == 0, "{lost} of {written} lost");

    assert_eq!(cluster.handle(2).raise_level(DEADLINE).await, Ok(2));
    for id in 1..=3 {
        let handle = cluster.handle(id);
        until("the level is known everywhere", || handle.status().level == 2).await;
        handle.propose(Command::AtTwo { id }, DEADLINE).await.expect("holds now");
    }
    // Whoever knows less does not start, with a sentence, nor join; a snapshot knows it too.
    let index = propose_again(&cluster.handle(1), 1).await;
    cluster.handle(3).wait_applied(index, DEADLINE).await.expect("applies");
    cluster.handle(3).snapshot_now().await.expect("a snapshot");
    cluster.stop(3).await;
    let config = cluster.config(3, cluster.places[&3].address);
    let error = cluster.restart_on(3, config.clone(), Counter::default()).await.expect_err("old");
    let said = error.to_string();
    assert!(said.contains("level 2") && said.contains("start the version"), "{said}");
    cluster.restart_on(3, config, newer()).await.expect("starts");
    cluster.ready(3).await;
    let got = cluster.join(4, |_| {}).await;
    assert!(
        matches!(&got, Err(StartError::NotTakenIn { detail }) if detail.contains("level")),
        "{got:?}"
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_of_one_has_nobody_to_wait_for() {
    let mut cluster = Cluster::new();
    cluster.found(1).await;
    cluster.ready(1).await;
    cluster.stop(1).await;
    let config = cluster.config(1, cluster.places[&1].address);
    cluster.restart_on(1, config, newer()).await.expect("starts");
    cluster.ready(1).await;
    until("it is raised", || cluster.handle(1).status().level == 2).await;
    cluster.handle(1).propose(Command::AtTwo { id: 1 }, DEADLINE).await.expect("holds");
    cluster.stop_all().await;
}
