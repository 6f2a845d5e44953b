//! Snapshots to nodes that the log no longer serves, and the journal that is filled before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use authrai_cluster::Handle;

use crate::harness::{Cluster, DEADLINE, propose, propose_again, until};
use crate::toy::{Command, Counter, record_bytes};

/// A cluster of one whose log begins long after its first entry.
async fn purged(writes: u64) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.snapshot_every = Some(50);
    cluster.found(1).await;
    cluster.ready(1).await;
    for id in 1..=writes {
        propose(&cluster.handle(1), id).await;
    }
    let handle = cluster.handle(1);
    until("the log is purged", || handle.status().purged_index > Some(writes / 2)).await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_joins_behind_the_log_with_every_record_while_writes_go_on() {
    let mut cluster = purged(300).await;
    let handle = cluster.handle(1);
    let writing = tokio::spawn(async move {
        for id in 301..=400 {
            propose(&handle, id).await;
        }
    });
    cluster.join(2, |_| {}).await.expect("joins");
    cluster.voters(2).await;
    cluster.ready(2).await;
    writing.await.expect("writes");
    let (one, two) = (cluster.handle(1), cluster.handle(2));
    let index = one.applied_index();
    assert_eq!(two.wait_applied(index, DEADLINE).await, Ok(()));
    assert!(two.status().snapshot_index.is_some(), "it came as a snapshot");
    let records = (1..=400).map(|id| (id, record_bytes(id, 0, 0))).collect::<Vec<_>>();
    assert_eq!(two.journal().read(b"\x01", 1, 1_000, 1 << 20), Ok(records));
    for tag in [b"even".as_slice(), b"odd\0"] {
        assert_eq!(two.journal().count(b"\x01", tag), Ok(200), "tags come along");
    }
    // And it starts again on what it was sent.
    cluster.stop(2).await;
    cluster.restart(2).await;
    cluster.ready(2).await;
    assert_eq!(cluster.handle(2).journal().head(b"\x01"), 400);
    cluster.stop_all().await;
}

/// By hand, in a release build: `AUTHRAI_JOIN_RECORDS=1000000`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_node_joins_a_cluster_with_many_records_while_writes_go_on() {
    let named = std::env::var("AUTHRAI_JOIN_RECORDS").ok();
    let records = named.map_or(5_000, |text| text.parse::<u64>().expect("a number"));
    let mut cluster = Cluster::new();
    cluster.snapshot_every = Some(records / 5);
    cluster.found(1).await;
    cluster.ready(1).await;
    let begun = Instant::now();
    let written = Arc::new(AtomicU64::new(0));
    // As large as an audit event.
    let write = |handle: Handle<Counter>, written: Arc<AtomicU64>, until: u64| async move {
        loop {
            let id = written.fetch_add(1, Ordering::SeqCst);
            if id >= until {
                return;
            }
            let event = Command::Add { chain: 1, id, padding: 500 };
            handle.propose(event, DEADLINE).await.expect("commits");
        }
    };
    let writers =
        (0..256).map(|_| tokio::spawn(write(cluster.handle(1), written.clone(), records)));
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("writes");
    }
    println!("{records} records written in {:?}", begun.elapsed());
    // They go on while the new node fetches what there is.
    let more = tokio::spawn(write(cluster.handle(1), written.clone(), u64::MAX));
    let (begun, before) = (Instant::now(), cluster.handle(1).journal().head(b"\x01"));
    cluster.join(2, |_| {}).await.expect("joins");
    let two = cluster.handle(2);
    let patience = DEADLINE + Duration::from_millis(records);
    tokio::time::timeout(patience, two.ready()).await.expect("ready in time");
    while !two.is_voter(2) {
        assert!(begun.elapsed() < patience, "it gets its vote");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    more.abort();
    let after = cluster.handle(1).journal().head(b"\x01");
    println!(
        "a node joined behind {before} records in {took:?}, {} written meanwhile",
        after - before
    );
    assert!(after > before, "writes went on");
    let index = cluster.handle(1).applied_index();
    assert_eq!(two.wait_applied(index, DEADLINE).await, Ok(()));
    for seq in [1, records / 2, before] {
        let read = |id: u64| cluster.handle(id).journal().read(b"\x01", seq, 10, 1 << 20);
        assert_eq!(read(1), read(2), "from {seq}");
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_member_that_was_away_for_longer_than_the_log_goes_back_catches_up() {
    let mut cluster = purged(100).await;
    for id in [2, 3] {
        cluster.join(id, |_| {}).await.expect("joins");
    }
    cluster.voters(3).await;
    cluster.ready(3).await;
    let leader = cluster.leader().await;
    let away = leader % 3 + 1;
    cluster.wires.isolate(away, [1, 2, 3]);
    for id in 101..=300 {
        propose_again(&cluster.handle(leader), id).await;
    }
    cluster.wires.heal();
    let (there, here) = (cluster.handle(leader), cluster.handle(away));
    assert_eq!(here.wait_applied(there.applied_index(), DEADLINE).await, Ok(()));
    let head = there.journal().head(b"\x01");
    assert_eq!(here.journal().head(b"\x01"), head);
    let whole = |handle: &authrai_cluster::Handle<crate::toy::Counter>| {
        handle.journal().read(b"\x01", 1, 1_000, 1 << 20).expect("reads")
    };
    assert_eq!(whole(&here), whole(&there));
    until("it serves again", || here.may_serve()).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_removed_id_is_remembered_by_who_joins_behind_the_log() {
    let mut cluster = purged(60).await;
    cluster.join(2, |config| config.voter = false).await.expect("joins");
    cluster.handle(1).remove_member(2, DEADLINE).await.expect("removes");
    for id in 61..=160 {
        propose(&cluster.handle(1), id).await;
    }
    let handle = cluster.handle(1);
    let index = handle.applied_index();
    handle.snapshot_now().await.expect("a snapshot");
    until("the log is purged", || handle.status().purged_index >= Some(index - 20)).await;
    cluster.stop(2).await;
    cluster.join(3, |_| {}).await.expect("joins");
    cluster.voters(2).await;
    // Known to node 3 by its snapshot only.
    cluster.handle(3).remove_member(2, DEADLINE).await.expect("is known as removed");
    cluster.stop_all().await;
}
