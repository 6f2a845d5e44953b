//! A cluster's life: writes through any node, a leader that fails, restarts.

use std::time::{Duration, Instant};

use authrai_cluster::{ProposeError, Unavailable};

use crate::harness::{Cluster, DEADLINE, propose, propose_again, until};
use crate::toy::{add, record_bytes};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_node_takes_a_write_and_shows_it_when_it_answers() {
    let mut cluster = Cluster::start(3).await;
    for id in 1..=30 {
        let handle = cluster.handle(id % 3 + 1);
        let committed = handle.propose(add(1, id), DEADLINE).await.expect("commits");
        assert_eq!(committed.reply, id, "the reply comes back from the leader");
        assert!(handle.applied_index() >= committed.index);
        assert_eq!(handle.journal().head(b"\x01"), id);
        // And so does a read at another node.
        let other = cluster.handle((id + 1) % 3 + 1);
        assert!(other.read_index(DEADLINE).await.expect("reads") >= committed.index);
        assert_eq!(other.wait_applied(committed.index, DEADLINE).await, Ok(()));
    }
    let records = (1..=30).map(|id| (id, record_bytes(id, 0, 0))).collect::<Vec<_>>();
    for id in 1..=3 {
        let journal = cluster.handle(id).journal();
        until("the journal is everywhere", || journal.head(b"\x01") == 30).await;
        assert_eq!(journal.read(b"\x01", 1, 100, 1 << 20).expect("reads"), records);
        // A node waits for what the leader has, and says so of what nobody has.
        let beyond = cluster.handle(id).wait_applied(1_000_000, DEADLINE).await;
        assert!(matches!(beyond, Err(Unavailable::Beyond { .. })), "{beyond:?}");
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_leader_is_there_within_three_seconds_and_nothing_is_lost() {
    let mut cluster = Cluster::start(3).await;
    let before = propose(&cluster.handle(1), 1).await;
    let old = cluster.leader().await;
    let others = [1, 2, 3].into_iter().filter(|id| *id != old).collect::<Vec<_>>();
    let cut = Instant::now();
    cluster.wires.isolate(old, others.clone());
    let new = cluster.leader_among(&others).await;
    let took = cut.elapsed();
    println!("a new leader after {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    // Whichever node is asked, the write goes through.
    let after = propose_again(&cluster.handle(others[0]), 2).await;
    propose_again(&cluster.handle(others[1]), 3).await;
    assert!(after > before);
    assert_ne!(new, old);
    // Alone, the old one takes none, and says so in time.
    let got = cluster.handle(old).propose(add(1, 3), Duration::from_millis(1_500)).await;
    assert!(
        matches!(got, Err(ProposeError::NoQuorum | ProposeError::OutcomeUnknown)),
        "no quorum: {got:?}"
    );
    assert_eq!(cluster.handle(old).read_index(Duration::from_millis(500)).await.ok(), None);
    cluster.wires.heal();
    let index = propose_again(&cluster.handle(old), 4).await;
    for id in 1..=3 {
        assert_eq!(cluster.handle(id).wait_applied(index, DEADLINE).await, Ok(()));
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_all_stop_come_back_with_everything_and_one_at_a_time_lose_no_write() {
    let mut cluster = Cluster::start(3).await;
    for id in 1..=20 {
        propose(&cluster.handle(id % 3 + 1), id).await;
    }
    cluster.stop_all().await;
    for id in 1..=3 {
        cluster.restart(id).await;
    }
    for id in 1..=3 {
        cluster.ready(id).await;
        assert_eq!(cluster.handle(id).journal().head(b"\x01"), 20, "node {id}");
    }
    // A rolling restart: whoever is asked, the write goes through.
    for down in 1..=3 {
        cluster.stop(down).await;
        for id in cluster.running() {
            propose(&cluster.handle(id), 100 + 10 * down + id).await;
        }
        cluster.restart(down).await;
        cluster.ready(down).await;
    }
    let index = propose(&cluster.handle(1), 200).await;
    for id in 1..=3 {
        let handle = cluster.handle(id);
        assert_eq!(handle.wait_applied(index, DEADLINE).await, Ok(()));
        assert_eq!(handle.journal().head(b"\x01"), 27);
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_quorum_nothing_is_written_and_with_it_the_cluster_goes_on_by_itself() {
    let mut cluster = Cluster::start(3).await;
    propose(&cluster.handle(1), 1).await;
    for id in [1, 2, 3] {
        cluster.wires.isolate(id, [1, 2, 3]);
    }
    // Until a leader has noticed, a write may be taken and not answered.
    let deadline = Instant::now() + DEADLINE;
    for id in [1, 2, 3] {
        let handle = cluster.handle(id);
        while handle.propose(add(1, 9), Duration::from_millis(200)).await
            != Err(ProposeError::NoQuorum)
        {
            assert!(Instant::now() < deadline, "node {id} sees that there is no quorum");
        }
        until("the lease runs out", || !handle.may_serve()).await;
    }
    cluster.wires.heal();
    let index = propose_again(&cluster.handle(2), 10).await;
    for id in 1..=3 {
        let handle = cluster.handle(id);
        assert_eq!(handle.wait_applied(index, DEADLINE).await, Ok(()));
        until("it serves again", || handle.may_serve()).await;
    }
    cluster.stop_all().await;
}
