//! Exact revocation: once a write that must be seen everywhere has answered, no node answers from a
//! view before it.

use std::time::{Duration, Instant};

use crate::harness::{Cluster, DEADLINE, LEASE, propose, revoke, until};
use crate::support::hold;
use crate::toy::add;

/// The longest that a revoke waits for a holder that is gone, and what a busy machine adds.
const WAIT: Duration = Duration::from_millis(LEASE.as_millis() as u64 * 105 / 100);
const SLACK: Duration = Duration::from_millis(1_000);

/// Waits until a new leader's revokes no longer wait for the leases of earlier reigns.
async fn settled(cluster: &Cluster) {
    revoke(&cluster.handle(cluster.leader().await), 1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn healthy_holders_do_not_hold_a_revoke_up() {
    let mut cluster = Cluster::start(3).await;
    settled(&cluster).await;
    let (mut took, mut writes) = (Vec::new(), Vec::new());
    for n in 0..30 {
        let through = n % 3 + 1;
        let begun = Instant::now();
        propose(&cluster.handle(through), 100 + n).await;
        writes.push(begun.elapsed());
        let (index, time) = revoke(&cluster.handle(through), n).await;
        took.push(time);
        for id in 1..=3 {
            assert!(cluster.verify(id).is_none_or(|view| view >= index), "node {id}");
            assert!(cluster.verify(id).is_some(), "node {id} serves");
        }
    }
    took.sort();
    writes.sort();
    let (median, write) = (took[took.len() / 2], writes[writes.len() / 2]);
    println!("medians: a healthy revoke {median:?}, a write {write:?}");
    assert!(median < write + LEASE / 20, "{median:?} against {write:?}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_holder_that_is_gone_is_waited_for_once_and_no_longer_than_its_lease() {
    let mut cluster = Cluster::start(3).await;
    settled(&cluster).await;
    let leader = cluster.leader().await;
    let gone = leader % 3 + 1;
    assert!(cluster.verify(gone).is_some());
    cluster.wires.isolate(gone, [1, 2, 3]);
    let (index, first) = revoke(&cluster.handle(leader), 1).await;
    assert!(cluster.verify(gone).is_none_or(|view| view >= index), "a stale view is served");
    assert!(first > LEASE / 4 && first < WAIT + SLACK, "{first:?}");
    let (_, next) = revoke(&cluster.handle(leader), 2).await;
    assert!(next < LEASE / 4, "{next:?}");
    println!("holder gone: the first revoke took {first:?}, the next {next:?}");
    cluster.wires.heal();
    until("it serves again", || cluster.verify(gone).is_some()).await;
    assert!(cluster.verify(gone).is_some_and(|view| view >= index));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_holder_that_cannot_apply_is_waited_for_and_then_serves_nothing() {
    let mut cluster = Cluster::start(3).await;
    settled(&cluster).await;
    let leader = cluster.leader().await;
    let paused = leader % 3 + 1;
    let release = hold(cluster.places[&paused].machine.gate.clone()).await;
    let handle = cluster.handle(leader);
    let begun = Instant::now();
    let gated = crate::toy::Command::Gated { id: 1 };
    let index = handle.propose_everywhere(gated, WAIT * 5).await.expect("commits").index;
    let took = begun.elapsed();
    assert!(cluster.verify(paused).is_none_or(|view| view >= index), "a stale view is served");
    assert!(took < WAIT + SLACK, "{took:?}");
    drop(release);
    until("it serves again", || cluster.verify(paused).is_some_and(|view| view >= index)).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_is_cut_off_answers_nothing_that_its_successor_revoked() {
    let mut cluster = Cluster::start(3).await;
    settled(&cluster).await;
    let old = cluster.leader().await;
    let others = [1, 2, 3].into_iter().filter(|id| *id != old).collect::<Vec<_>>();
    cluster.wires.isolate(old, others.clone());
    let begun = Instant::now();
    let revoking = cluster.handle(others[0]);
    let committed = revoking.propose_everywhere(add(1, 1), DEADLINE).await.expect("commits");
    let index = committed.index;
    println!("a revoke across a leader's failure took {:?}", begun.elapsed());
    assert!(committed.again, "it was sent to the old leader first, with an unknown outcome");
    for id in 1..=3 {
        assert!(cluster.verify(id).is_none_or(|view| view >= index), "node {id}");
    }
    assert_eq!(cluster.verify(old), None, "its lease ran out");
    until("the others serve", || others.iter().all(|id| cluster.verify(*id).is_some())).await;
    cluster.wires.heal();
    until("it serves again", || cluster.verify(old).is_some_and(|view| view >= index)).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_stops_gives_its_lease_up_and_verifications_go_on_without_it() {
    let mut cluster = Cluster::start(3).await;
    settled(&cluster).await;
    let leader = cluster.leader().await;
    let stops = leader % 3 + 1;
    cluster.stop(stops).await;
    let (_, took) = revoke(&cluster.handle(leader), 1).await;
    assert!(took < LEASE / 4, "{took:?}");
    propose(&cluster.handle(leader), 2).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_that_is_applied_again_because_its_answer_was_lost_says_so() {
    let mut cluster = Cluster::start(3).await;
    settled(&cluster).await;
    let old = cluster.leader().await;
    let others = [1, 2, 3].into_iter().filter(|id| *id != old).collect::<Vec<_>>();
    // The leader commits it, but cannot answer.
    let release = hold(cluster.places[&old].machine.gate.clone()).await;
    let handle = cluster.handle(others[0]);
    let before = cluster.handle(old).last_log_index();
    let gated = crate::toy::Command::Gated { id: 1 };
    let write = tokio::spawn(async move { handle.propose_everywhere(gated, WAIT * 5).await });
    let elsewhere = cluster.handle(others[0]);
    until("it is applied elsewhere", || elsewhere.applied_index() > before).await;
    cluster.wires.isolate(old, others.clone());
    let committed = write.await.expect("no panic").expect("commits");
    assert_eq!((committed.reply, committed.again), (2, true));
    let handle = cluster.handle(others[0]);
    let next = handle.propose_everywhere(crate::toy::add(0, 2), WAIT * 5).await.expect("commits");
    assert_eq!((next.reply, next.again), (3, false));
    drop(release);
    cluster.wires.heal();
    cluster.stop_all().await;
}
