//! Wall clocks that jump: no stamp is far from what most voters' clocks say, and a cluster of one
//! asks before it believes.

use std::sync::atomic::Ordering;

use authrai_cluster::lease::Moment;
use authrai_cluster::{ClockFault, ProposeError, Unready};

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
    handle.confirm_clock().await;
    propose_again(&handle, 2).await;
    // Back again is a jump as well, also for a process that was not there before.
    cluster.set_ahead(1, 0);
    assert!(handle.propose(add(1, 3), DEADLINE).await.is_err());
    cluster.stop(1).await;
    cluster.restart(1).await;
    cluster.ready(1).await;
    let handle = cluster.handle(1);
    let refused = handle.propose(add(1, 3), DEADLINE).await;
    assert!(matches!(refused, Err(ProposeError::Clock(ClockFault::Jumped { .. }))), "{refused:?}");
    handle.confirm_clock().await;
    propose_again(&handle, 3).await;
    cluster.stop_all().await;
}

/// What the nodes say of the cluster's time, once each of them has said it.
async fn moments(cluster: &Cluster) -> Vec<Moment> {
    let mut moments = Vec::new();
    for id in cluster.running() {
        let mut moment = None;
        until("a lease", || {
            moment = cluster.handle(id).serves_at();
            moment.is_some()
        })
        .await;
        moments.extend(moment);
    }
    moments
}

/// Whether what one node calls expired is expired at every other from then on: no later bound from
/// above is below an earlier one from below.
fn never_back(earlier: &[Moment], later: &[Moment]) {
    let surely_ms = earlier.iter().map(|moment| moment.surely_ms).max().expect("some");
    for moment in later {
        assert!(moment.at_most_ms >= surely_ms, "{moment:?} after {surely_ms}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_expired_at_one_node_is_valid_at_no_other_whatever_their_wall_clocks_say() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let mut before = moments(&cluster).await;
    // A follower's clock has no say.
    let follower = leader % 3 + 1;
    for by_ms in [HOUR_MS, -HOUR_MS, 0] {
        cluster.set_ahead(follower, by_ms);
        let now = moments(&cluster).await;
        never_back(&before, &now);
        for moment in &now {
            assert!(moment.at_most_ms < now_ms() + 5_000, "{moment:?}");
            assert!(moment.surely_ms + 5_000 > now_ms(), "{moment:?}");
        }
        before = now;
        let name = cluster.handle(follower).unready().map(|reason| reason.name());
        assert_eq!(name, (by_ms != 0).then_some("clock_astray"), "{by_ms}");
    }
    // Leaders whose clocks are as far apart as they may be follow each other.
    for (id, by_ms) in [(leader, 2_000), (follower, -2_000)] {
        cluster.set_ahead(id, by_ms);
    }
    for next in [follower, leader, follower] {
        cluster.handle(follower).transfer_leader(next, DEADLINE).await.expect("leads");
        for _ in 0..50 {
            let now = moments(&cluster).await;
            never_back(&before, &now);
            before = now;
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_node_called_expired_stays_expired_after_a_restart_on_another_clock() {
    let mut cluster = Cluster::new();
    // It begins on a clock that is an hour ahead, and nothing says so.
    cluster.set_ahead(1, HOUR_MS);
    cluster.found(1).await;
    cluster.ready(1).await;
    let ahead = moments(&cluster).await;
    assert!(ahead[0].surely_ms > now_ms() + 3_000_000, "{ahead:?}");
    cluster.stop(1).await;
    cluster.set_ahead(1, 0);
    cluster.restart(1).await;
    cluster.ready(1).await;
    never_back(&ahead, &moments(&cluster).await);
    let handle = cluster.handle(1);
    let told = handle.unready();
    assert!(
        matches!(told, Some(Unready::Clock(ClockFault::Jumped { by_ms })) if by_ms < -3_500_000),
        "{told:?}"
    );
    handle.confirm_clock().await;
    assert_eq!(handle.unready(), None);
    never_back(&ahead, &moments(&cluster).await);
    // And once more: what an operator has confirmed is not asked about again.
    cluster.stop(1).await;
    cluster.restart(1).await;
    cluster.ready(1).await;
    never_back(&ahead, &moments(&cluster).await);
    until("ready", || cluster.handle(1).unready().is_none()).await;
    // A clock that jumps while the node runs expires nothing before somebody agrees with it.
    cluster.set_ahead(1, 10 * HOUR_MS);
    let handle = cluster.handle(1);
    until("noticed", || matches!(handle.unready(), Some(Unready::Clock(_)))).await;
    let now = moments(&cluster).await;
    assert!(now[0].at_most_ms < now_ms() + 2 * HOUR_MS as u64, "{now:?}");
    // Nor does a restart make it right.
    cluster.stop(1).await;
    cluster.restart(1).await;
    cluster.ready(1).await;
    let told = cluster.handle(1).unready();
    assert!(matches!(told, Some(Unready::Clock(ClockFault::Jumped { .. }))), "{told:?}");
    let now = moments(&cluster).await;
    assert!(now[0].at_most_ms < now_ms() + 2 * HOUR_MS as u64, "{now:?}");
    cluster.stop_all().await;
}
