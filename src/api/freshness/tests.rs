//! Rounds, shares of waiting, and what an index reveals.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

use super::*;

/// Lets every task that can go on do so.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn those_who_wait_share_one_round_and_newcomers_get_the_next() {
    let rounds = Arc::new(Rounds::default());
    let (begun, go) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let ask = || {
        let (rounds, begun, go) = (Arc::clone(&rounds), Arc::clone(&begun), Arc::clone(&go));
        tokio::spawn(async move {
            rounds
                .next(|| async move {
                    let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
                    go.notified().await;
                    number
                })
                .await
        })
    };
    let first = ask();
    while begun.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    let later: Vec<_> = (0..10).map(|_| ask()).collect();
    settle().await;
    assert_eq!(begun.load(Ordering::SeqCst), 1, "one in flight");
    go.notify_one();
    assert_eq!(first.await.unwrap(), 1);
    while begun.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    for one in later {
        assert_eq!(one.await.unwrap(), 2, "who came during round 1 is served by round 2");
    }
}

#[tokio::test]
async fn a_round_outlives_the_caller_that_ran_it() {
    let rounds = Arc::new(Rounds::default());
    let stuck = tokio::spawn({
        let rounds = Arc::clone(&rounds);
        async move { rounds.next(std::future::pending::<u8>).await }
    });
    settle().await;
    let mut second = Box::pin(rounds.next(|| async { 2 }));
    assert!(futures_util::poll!(&mut second).is_pending());
    stuck.abort();
    assert_eq!(second.await, 2);
}

#[test]
fn neither_anonymous_callers_nor_one_organisation_keep_others_from_waiting() {
    let rounds = ReadRounds::default();
    let fill = |asker| std::iter::from_fn(|| rounds.enter(asker).ok()).collect::<Vec<_>>();
    let networks = [1, 2, 3].map(|last| Asker::Anonymous(Ipv4Addr::new(192, 0, 2, last).into()));
    let [one, two] = [1, 2].map(|org| Asker::Organization(OrgId::from_ulid(org)));
    // Without a key: all that two networks can get.
    let anonymous = [fill(networks[0]), fill(networks[1])];
    assert_eq!(anonymous[0].len(), limits::ROUND_WAITERS_MAX / 2);
    assert!(rounds.enter(networks[2]).is_ok(), "another network");
    // With a key: all that one organisation can get.
    let held = fill(one);
    assert_eq!(held.len(), limits::ROUND_WAITERS_PER_ORGANIZATION_MAX);
    assert!(rounds.enter(two).is_ok(), "another organisation");
    drop((anonymous, held));
    assert_eq!(rounds.organizations.waiting.inside() + rounds.anonymous.waiting.inside(), 0);
}

#[test]
fn a_number_out_of_proportion_tells_the_power_of_1024_that_the_log_is_within_and_no_more() {
    let bound = |last: u64| {
        let (mut low, mut high) = (0, u64::MAX);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_out_of_proportion(middle, last) { high = middle } else { low = middle + 1 }
        }
        low
    };
    for (logs, found) in [
        ([0, 5, 1_024], (1 << 20) + 1),
        ([1_025, 70_000, 1 << 20], (1 << 30) + 1),
        ([(1 << 20) + 1, 5_000_000, 1 << 30], (1 << 40) + 1),
        ([(1 << 50) + 1, 1 << 55, 1 << 60], u64::MAX),
    ] {
        for last in logs {
            assert_eq!(bound(last), found, "{last}");
        }
    }
}
