//! Members that come, get their vote, hand over and go.

use authrai_cluster::{MemberError, Node, Role, Seed, StartError};

use crate::harness::{Cluster, DEADLINE, propose, until, until_async};
use crate::toy::Counter;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_comes_in_as_a_learner_and_gets_its_vote_only_if_it_wants_one() {
    let mut cluster = Cluster::new();
    cluster.found(1).await;
    cluster.ready(1).await;
    for id in 1..=50 {
        propose(&cluster.handle(1), id).await;
    }
    cluster.join(2, |config| config.voter = false).await.expect("joins");
    cluster.join(3, |_| {}).await.expect("joins");
    cluster.voters(2).await;
    for id in [2, 3] {
        cluster.ready(id).await;
        assert_eq!(cluster.handle(id).journal().head(b"\x01"), 50, "node {id}");
    }
    let members = cluster.handle(2).members().await;
    let seen = members.iter().map(|m| (m.id, m.voter, m.role)).collect::<Vec<_>>();
    let expected = [
        (1, true, Some(Role::Leader)),
        (2, false, Some(Role::Learner)),
        (3, true, Some(Role::Follower)),
    ];
    assert_eq!(seen, expected);
    for member in &members {
        assert_eq!(member.address, cluster.places[&member.id].address.to_string());
        assert!(member.applied_index <= member.last_log_index);
        assert!(member.lease_left_ms > Some(0), "{member:?}");
    }
    // Who only answers never writes.
    let got = cluster.handle(2).propose(crate::toy::add(1, 51), DEADLINE / 60).await;
    assert!(got.is_err(), "{got:?}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leadership_is_handed_over_when_asked_through_any_node() {
    let mut cluster = Cluster::start(3).await;
    for (through, to) in [(1, 2), (3, 3), (2, 1)] {
        cluster.handle(through).transfer_leader(to, DEADLINE).await.expect("hands over");
        until("it leads", || cluster.handle(to).status().role == Role::Leader).await;
        propose(&cluster.handle(through), to).await;
    }
    let got = cluster.handle(1).transfer_leader(9, DEADLINE).await;
    assert!(matches!(got, Err(MemberError::Refused(_))), "{got:?}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_removed_node_gets_nothing_and_its_id_never_comes_back() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    // Also the leader can be removed: another one does it.
    let through = leader % 3 + 1;
    cluster.handle(through).remove_member(leader, DEADLINE).await.expect("removes");
    let rest = [1, 2, 3].into_iter().filter(|id| *id != leader).collect::<Vec<_>>();
    cluster.leader_among(&rest).await;
    for id in &rest {
        propose(&cluster.handle(*id), 10 + id).await;
        let members = cluster.handle(*id).members().await;
        assert_eq!(members.iter().map(|m| m.id).collect::<Vec<_>>(), rest);
    }
    let gone = cluster.handle(leader);
    until("its lease runs out", || !gone.may_serve()).await;
    assert!(gone.propose(crate::toy::add(1, 1), DEADLINE / 60).await.is_err());
    // Asked for twice, it is done.
    cluster.handle(rest[0]).remove_member(leader, DEADLINE).await.expect("was removed");
    // A new directory under the old id does not get in.
    cluster.stop(leader).await;
    std::fs::remove_dir_all(cluster.data_dir(leader)).expect("removes");
    let address = cluster.places[&leader].address;
    let seeds =
        rest.iter().map(|id| Seed { node: *id, address: cluster.places[id].address.to_string() });
    let config = cluster.config(leader, address);
    let joining = Node::join(config, Counter::default(), seeds.collect());
    assert!(tokio::time::timeout(DEADLINE / 10, joining).await.is_err(), "nobody says a word");
    // Nor does the cluster forget it over a restart.
    for id in &rest {
        cluster.stop(*id).await;
        cluster.restart(*id).await;
    }
    cluster.ready(rest[0]).await;
    cluster.handle(rest[0]).remove_member(leader, DEADLINE).await.expect("is known as removed");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wiped_node_must_join_anew_under_another_id() {
    let mut cluster = Cluster::start(3).await;
    cluster.handle(1).transfer_leader(1, DEADLINE).await.expect("leads");
    propose(&cluster.handle(1), 1).await;
    cluster.stop(3).await;
    std::fs::remove_dir_all(cluster.data_dir(3)).expect("removes");
    let address = cluster.places[&3].address;
    let got = Node::start(cluster.config(3, address), Counter::default(), false).await.map(|_| ());
    assert!(matches!(got, Err(StartError::NotInitialised { .. })), "{got:?}");
    let got = cluster.join(3, |_| {}).await;
    assert!(matches!(got, Err(StartError::NotTakenIn { .. })), "{got:?}");
    // Founded under its old id, it is not the one that the members know: it hears nothing.
    std::fs::remove_dir_all(cluster.data_dir(3)).expect("removes");
    let config = cluster.config(3, address);
    let impostor = Node::start(config, Counter::default(), true).await.expect("founds");
    impostor.handle().ready().await;
    for id in 2..=9 {
        propose(&cluster.handle(id % 2 + 1), id).await;
    }
    assert_eq!(impostor.handle().journal().head(b"\x01"), 0);
    assert_eq!(cluster.handle(1).status().leader, Some(1));
    impostor.shutdown().await.expect("stops");
    // The old id is removed, a new one joins.
    cluster.handle(2).remove_member(3, DEADLINE).await.expect("removes");
    cluster.join(4, |_| {}).await.expect("joins");
    cluster.voters(3).await;
    cluster.ready(4).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_would_leave_no_quorum_is_refused() {
    let mut cluster = Cluster::start(2).await;
    let leader = cluster.leader().await;
    let other = 3 - leader;
    cluster.stop(other).await;
    let handle = cluster.handle(leader);
    // Two voters, one of them gone: no quorum, and none to be had by removing.
    let got = handle.remove_member(leader, DEADLINE / 10).await;
    assert!(got.is_err(), "{got:?}");
    cluster.restart(other).await;
    cluster.ready(other).await;
    let handle = cluster.handle(other);
    until_async("it is removed", async || {
        handle.remove_member(leader, DEADLINE / 10).await.is_ok()
    })
    .await;
    let got = handle.remove_member(other, DEADLINE).await;
    assert!(matches!(got, Err(MemberError::Refused(_))), "the last voter stays: {got:?}");
    cluster.stop_all().await;
}
