//! A machine that decides otherwise than the others is noticed, and its node answers nothing.

use authrai_cluster::lease::Reason;

use crate::harness::{Cluster, DEADLINE, propose, propose_again, revoke, until, until_async};
use crate::toy::Counter;

/// The command that the machine decides otherwise.
const PARTS_AT: u64 = 5_000;

/// Restarts `id` on a machine that writes another record for that command than the others' do.
async fn part(cluster: &mut Cluster, id: u64) {
    cluster.stop(id).await;
    let config = cluster.config(id, cluster.places[&id].address);
    let machine = Counter { parts_at: Some(PARTS_AT), ..Counter::default() };
    cluster.restart_on(id, config, machine).await.expect("starts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_whose_machine_parts_gets_no_lease_and_the_others_go_on() {
    let mut cluster = Cluster::start(3).await;
    for id in 1..=20 {
        propose(&cluster.handle(id % 3 + 1), id).await;
    }
    cluster.handle(1).transfer_leader(1, DEADLINE).await.expect("leads");
    part(&mut cluster, 3).await;
    cluster.ready(3).await;
    // Nothing has parted it yet.
    until("it serves", || cluster.verify(3).is_some()).await;
    propose_again(&cluster.handle(1), PARTS_AT).await;
    until("its lease runs out", || cluster.verify(3).is_none()).await;
    until("it knows why", || cluster.handle(3).status().lease_refused == Some(Reason::Diverged))
        .await;
    until_async("and so does everybody", async || {
        let members = cluster.handle(2).members().await;
        let refused = members.iter().find(|m| m.id == 3).and_then(|m| m.lease_refused);
        refused == Some(Reason::Diverged)
    })
    .await;
    for n in 0..20 {
        let (index, _) = revoke(&cluster.handle(n % 2 + 1), n).await;
        assert!(cluster.verify(1).is_some_and(|view| view >= index));
        assert!(cluster.verify(2).is_some());
        assert_eq!(cluster.verify(3), None, "what it shows cannot be trusted");
    }
    assert_eq!(cluster.handle(1).status().lease_refused, None);
    // It is replaced by a new one.
    cluster.handle(1).remove_member(3, DEADLINE).await.expect("removes");
    cluster.join(4, |_| {}).await.expect("joins");
    cluster.ready(4).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_the_others_have_not_parted_with_but_it_with_them_leads_no_more() {
    let mut cluster = Cluster::start(3).await;
    for id in 1..=20 {
        propose(&cluster.handle(id % 3 + 1), id).await;
    }
    part(&mut cluster, 3).await;
    cluster.ready(3).await;
    cluster.handle(1).transfer_leader(3, DEADLINE).await.expect("leads");
    propose_again(&cluster.handle(1), PARTS_AT).await;
    until("another one leads", || cluster.handle(1).status().leader.is_some_and(|id| id != 3))
        .await;
    until("the wrong one serves nothing", || cluster.verify(3).is_none()).await;
    until("the others serve", || cluster.verify(1).is_some() && cluster.verify(2).is_some()).await;
    for n in 0..10 {
        revoke(&cluster.handle(n % 2 + 1), n).await;
        assert_eq!(cluster.verify(3), None);
    }
    cluster.stop_all().await;
}
