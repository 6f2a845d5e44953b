//! Nodes without a vote: they hold leases and answer, revokes are exact there, and neither the
//! quorum nor a healthy revoke depends on them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use authrai_cluster::{Answerer, Answering, AskError, Handle, MemberError, Role};

use crate::harness::{Cluster, DEADLINE, LEASE, propose, propose_again, revoke, until};
use crate::toy::{Counter, add};

/// The longest that a revoke waits for a holder that is gone, and what a busy machine adds.
const WAIT: Duration = Duration::from_millis(LEASE.as_millis() as u64 * 105 / 100);
const SLACK: Duration = Duration::from_millis(1_000);

/// Voters 1 to 3, and learners from 4 on.
async fn with_learners(learners: u64) -> Cluster {
    let mut cluster = Cluster::start(3).await;
    for id in 4..4 + learners {
        cluster.join(id, |config| config.voter = false).await.expect("joins");
        cluster.ready(id).await;
    }
    // A new leader's first revoke waits for the leases of earlier reigns.
    revoke(&cluster.handle(cluster.leader().await), 1_000).await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_learner_answers_and_never_from_before_a_revoke() {
    let mut cluster = with_learners(1).await;
    for n in 0..60 {
        let (index, _) = revoke(&cluster.handle(n % 3 + 1), n).await;
        assert!(cluster.verify(4).is_none_or(|view| view >= index), "a stale view is served");
        assert!(cluster.verify(4).is_some(), "it holds a lease");
    }
    // It outlives its leader, and is the same after a restart.
    let old = cluster.leader().await;
    cluster.wires.isolate(old, [1, 2, 3, 4]);
    let others = [1, 2, 3].into_iter().filter(|id| *id != old).collect::<Vec<_>>();
    let (index, _) = revoke(&cluster.handle(others[0]), 100).await;
    assert!(cluster.verify(4).is_none_or(|view| view >= index), "a stale view is served");
    until("the new leader grants it leases", || cluster.verify(4).is_some()).await;
    cluster.wires.heal();
    let address = cluster.places[&4].address;
    cluster.stop(4).await;
    let mut config = cluster.config(4, address);
    config.voter = false;
    cluster.restart_with(4, config).await;
    cluster.ready(4).await;
    let index = propose_again(&cluster.handle(others[0]), 101).await;
    assert_eq!(cluster.handle(4).wait_applied(index, DEADLINE).await, Ok(()));
    assert_eq!(cluster.handle(4).status().role, Role::Learner);
    // It never leads, and it can leave.
    let got = cluster.handle(1).transfer_leader(4, DEADLINE).await;
    assert!(matches!(got, Err(MemberError::Refused(_))), "{got:?}");
    cluster.handle(2).remove_member(4, DEADLINE).await.expect("removes");
    until("its lease runs out", || cluster.verify(4).is_none()).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn learners_are_no_part_of_the_quorum() {
    let mut cluster = with_learners(2).await;
    let leader = cluster.leader().await;
    let voter = leader % 3 + 1;
    // Two of five nodes, but two of three voters.
    for id in [voter, 4, 5] {
        cluster.wires.isolate(id, [1, 2, 3, 4, 5]);
    }
    propose(&cluster.handle(leader), 1).await;
    cluster.wires.heal();
    let all = [1, 2, 3].into_iter().filter(|id| *id != leader).collect::<Vec<_>>();
    // Three of five nodes, but one of three voters.
    for id in all {
        cluster.wires.isolate(id, [1, 2, 3, 4, 5]);
    }
    let got = cluster.handle(leader).propose(add(1, 2), Duration::from_millis(1_500)).await;
    assert!(got.is_err(), "{got:?}");
    for id in [leader, 4, 5] {
        until("without a quorum there are no leases", || cluster.verify(id).is_none()).await;
    }
    cluster.wires.heal();
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_learner_that_is_gone_is_waited_for_once_and_no_longer_than_its_lease() {
    let mut cluster = with_learners(1).await;
    let leader = cluster.leader().await;
    assert!(cluster.verify(4).is_some());
    cluster.wires.isolate(4, [1, 2, 3]);
    let (index, first) = revoke(&cluster.handle(leader), 1).await;
    assert!(cluster.verify(4).is_none_or(|view| view >= index), "a stale view is served");
    assert!(first > LEASE / 4 && first < WAIT + SLACK, "{first:?}");
    let (_, next) = revoke(&cluster.handle(leader), 2).await;
    assert!(next < LEASE / 4, "{next:?}");
    println!("learner gone: the first revoke took {first:?}, the next {next:?}");
    cluster.wires.heal();
    until("it serves again", || cluster.verify(4).is_some_and(|view| view >= index)).await;
    cluster.stop_all().await;
}

/// Answers with the question and who asked; does not take the empty one.
struct Echo;

impl Answerer for Echo {
    fn answer(&self, from: u64, question: Vec<u8>) -> Answering {
        Box::pin(async move {
            let taken = !question.is_empty();
            taken.then(|| [question.as_slice(), &[from as u8]].concat())
        }) as Pin<Box<_>>
    }
}

/// Nobody takes `question`, and that is said once a try was not cut off by its deadline.
async fn not_taken(learner: &Handle<Counter>, question: Vec<u8>) {
    let end = Instant::now() + DEADLINE;
    let mut within = Duration::from_millis(500);
    loop {
        match learner.ask_a_voter(question.clone(), within).await {
            Err(AskError::NotTaken) => return,
            Err(AskError::Unknown) if Instant::now() < end => within *= 2,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_learner_may_not_propose_it_passes_on_to_a_voter() {
    let mut cluster = with_learners(1).await;
    let learner = cluster.handle(4);
    let got = learner.propose(add(1, 1), DEADLINE / 60).await;
    assert!(got.is_err(), "{got:?}");
    not_taken(&learner, vec![7]).await;
    for id in 1..=3 {
        cluster.handle(id).answer_with(Arc::new(Echo));
    }
    assert_eq!(learner.ask_a_voter(vec![7], DEADLINE).await, Ok(vec![7, 4]));
    not_taken(&learner, vec![]).await;
    // Whoever leads, or while nobody does.
    let old = cluster.leader().await;
    cluster.stop(old).await;
    // What was on its way to the one that stopped may have no answer.
    let mut got = learner.ask_a_voter(vec![8], DEADLINE).await;
    if got == Err(AskError::Unknown) {
        got = learner.ask_a_voter(vec![8], DEADLINE).await;
    }
    assert_eq!(got, Ok(vec![8, 4]));
    cluster.stop_all().await;
}

/// Messages that all nodes have sent for writes and leases, heartbeats and rounds apart.
fn messages(cluster: &Cluster) -> (u64, u64) {
    let sent = |name: &str| {
        let of = |id: u64| cluster.handle(id).messages_sent();
        let all = cluster.running().into_iter().flat_map(of);
        all.filter(|(kind, _)| *kind == name).map(|(_, count)| count).sum::<u64>()
    };
    (sent("append"), sent("lease-report"))
}

/// What revokes cost with as many learners: medians of a write and of a revoke, and the appends
/// and reports that one takes.
async fn cost(cluster: &Cluster, count: u64) -> (Duration, Duration, f64, f64) {
    let leader = cluster.handle(cluster.leader().await);
    let (mut writes, mut revokes) = (Vec::new(), Vec::new());
    for n in 0..count {
        let begun = Instant::now();
        propose(&leader, 10_000 + n).await;
        writes.push(begun.elapsed());
    }
    let before = messages(cluster);
    let begun = Instant::now();
    for n in 0..count {
        revokes.push(revoke(&leader, 20_000 + n).await.1);
    }
    let took = begun.elapsed();
    let after = messages(cluster);
    // Heartbeats are appends too: ten a second to each of the others.
    let beats = took.as_secs_f64() * 10.0 * (cluster.running().len() - 1) as f64;
    let each = |before: u64, after: u64| (after - before) as f64 / count as f64;
    let (appends, reports) =
        (each(before.0, after.0) - beats / count as f64, each(before.1, after.1));
    writes.sort();
    revokes.sort();
    (writes[writes.len() / 2], revokes[revokes.len() / 2], appends, reports)
}

/// By hand, in a release build: `AUTHRAI_LEARNERS=50`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_revoke_with_many_learners_costs_a_message_to_and_from_each() {
    let named = std::env::var("AUTHRAI_LEARNERS").ok();
    let learners = named.as_deref().map_or(4, |text| text.parse().expect("a number"));
    let count = if named.is_some() { 200 } else { 40 };
    let mut cluster = with_learners(0).await;
    let line = |learners: u64, (write, revoke, appends, reports): (_, _, f64, f64)| {
        println!(
            "3 voters, {learners} learners: a write {write:?}, a revoke {revoke:?}, \
             {appends:.1} appends and {reports:.1} reports a revoke"
        );
    };
    line(0, cost(&cluster, count).await);
    for id in 4..4 + learners {
        cluster.join(id, |config| config.voter = false).await.expect("joins");
    }
    for id in cluster.running() {
        cluster.ready(id).await;
    }
    revoke(&cluster.handle(cluster.leader().await), 9_999).await;
    let costs = cost(&cluster, count).await;
    line(learners, costs);
    let (write, revoke, _, reports) = costs;
    let others = (2 + learners) as f64;
    assert!(reports > 0.0 && reports <= others + 0.5, "{reports}");
    assert!(revoke < write + LEASE / 4, "{revoke:?} against {write:?}");
    cluster.stop_all().await;
}
