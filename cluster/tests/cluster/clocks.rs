//! Wall clocks that jump: no stamp is far from what most voters' clocks say, and a cluster of one
//! asks before it believes.

use std::sync::atomic::Ordering;

use authrai_cluster::{ClockFault, ProposeError};

use crate::harness::{Cluster, DEADLINE, now_ms, propose_again, until};
use crate::toy::add;

const HOUR_MS: i64 = 3_600_000;

impl Cluster {
    fn set_ahead(&self, id: u64, by_ms: i64) {
        self.ahead_ms[&id].store(by_ms, Ordering::SeqCst);
    }

    fn latest_ms(&self, id: u64) -> u64 {
        self.places[&id].machine.latest_ms.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_whose_clock_jumps_stamps_nothing_and_hands_over() {
    let mut cluster = Cluster::start(3).await;
    for by_ms in [HOUR_MS, -HOUR_MS] {
        let leader = cluster.leader().await;
        propose_again(&cluster.handle(leader), 1).await;
        cluster.set_ahead(leader, by_ms);
        // Asked at once, and at every node.
        for id in 1..=3 {
            propose_again(&cluster.handle(id), 2).await;
        }
        until("another one leads", || {
            let leads = cluster.handle(leader % 3 + 1).status().leader;
            leads.is_some_and(|id| id != leader)
        })
        .await;
        let index = propose_again(&cluster.handle(leader), 3).await;
        for id in 1..=3 {
            cluster.handle(id).wait_applied(index, DEADLINE).await.expect("applies");
            let (latest, now) = (cluster.latest_ms(id), now_ms());
            assert!(latest.abs_diff(now) < 5_000 + 30_000, "{latest} at {now}");
            assert!(latest <= now + 5_000, "{latest} at {now}");
        }
        cluster.set_ahead(leader, 0);
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_jump_that_all_clocks_make_is_right() {
    let mut cluster = Cluster::start(3).await;
    propose_again(&cluster.handle(1), 1).await;
    for id in 1..=3 {
        cluster.set_ahead(id, HOUR_MS);
    }
    for id in 1..=3 {
        propose_again(&cluster.handle(id), 2).await;
    }
    assert!(cluster.latest_ms(1) > now_ms() + 3_000_000);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_of_one_refuses_a_jump_until_an_operator_confirms_it() {
    let mut cluster = Cluster::new();
    cluster.found(1).await;
    cluster.ready(1).await;
    let handle = cluster.handle(1);
    propose_again(&handle, 1).await;
    cluster.set_ahead(1, HOUR_MS);
    for _ in 0..2 {
        let refused = handle.propose(add(1, 2), DEADLINE).await;
        let Err(ProposeError::Clock(ClockFault::Jumped { by_ms })) = refused else {
            panic!("{refused:?}");
        };
        assert!((HOUR_MS - 1_000..HOUR_MS + 1_000).contains(&by_ms), "{by_ms}");
        assert!(handle.may_serve(), "what it knows it still tells");
    }
    handle.confirm_clock();
    propose_again(&handle, 2).await;
    // Back again is a jump as well, and behind what the log says, also after a restart.
    cluster.set_ahead(1, 0);
    assert!(handle.propose(add(1, 3), DEADLINE).await.is_err());
    cluster.stop(1).await;
    cluster.restart(1).await;
    cluster.ready(1).await;
    let handle = cluster.handle(1);
    let refused = handle.propose(add(1, 3), DEADLINE).await;
    assert!(matches!(refused, Err(ProposeError::Clock(ClockFault::Behind { .. }))), "{refused:?}");
    handle.confirm_clock();
    propose_again(&handle, 3).await;
    cluster.stop_all().await;
}
