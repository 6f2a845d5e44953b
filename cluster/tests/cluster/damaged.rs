//! Nodes whose files are damaged, while they run and while they do not: what peers hold a copy of comes
//! back without an operator, and nobody votes who may have lost what it had acknowledged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use authrai_cluster::{Config, Role, StartError};
use futures_util::future::join_all;

use crate::harness::{Cluster, propose, until, until_async};
use crate::toy::record_bytes;

/// More than two blocks of the journal, so that the first is in a segment.
const RECORDS: u64 = 8_700;
/// What a supervisor may have to start a node before it runs.
const STARTS_MAX: usize = 4;

/// Three nodes that have written snapshots and a segment each.
async fn written() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.snapshot_every = Some(2_000);
    cluster.found(1).await;
    for id in 2..=3 {
        cluster.join(id, |_| {}).await.expect("joins");
    }
    cluster.voters(3).await;
    let handle = cluster.handle(cluster.leader().await);
    for from in (0..RECORDS).step_by(300) {
        join_all((from..from + 300).map(|id| propose(&handle, id))).await;
    }
    for id in 1..=3 {
        let (handle, segment) = (cluster.handle(id), segment(&cluster, id));
        until("records, a snapshot and a segment", || {
            handle.journal().head(&[1]) == RECORDS
                && handle.status().purged_index.is_some()
                && segment.exists()
        })
        .await;
    }
    cluster
}

fn segment(cluster: &Cluster, id: u64) -> PathBuf {
    cluster.data_dir(id).join("journal/01-0000000000000000")
}

fn config(cluster: &Cluster, id: u64) -> Config {
    Config {
        scrub_pause: Duration::from_millis(20),
        scrub_bytes_per_second: u64::MAX,
        ..cluster.config(id, cluster.places[&id].address)
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("reads");
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("writes");
}

/// The file in `dir` whose name begins with `begins`.
fn named(dir: &Path, begins: &str) -> PathBuf {
    let mut found =
        std::fs::read_dir(dir).expect("reads").map(|found| found.expect("reads").path());
    let named = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(begins))
    };
    found.find(named).unwrap_or_else(|| panic!("{begins} in {}", dir.display()))
}

/// Starts `id` as a supervisor does, which starts it again when it ends.
async fn supervise(cluster: &mut Cluster, id: u64) {
    for _ in 0..STARTS_MAX {
        let config = config(cluster, id);
        match cluster.restart_on(id, config, Default::default()).await {
            Ok(()) => return,
            Err(error @ StartError::Damaged { .. }) => println!("node {id}: {error}"),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("node {id} does not start");
}

/// Waits until `id` runs without damage with everything that node 1 has; if it ends meanwhile, it is
/// started again.
async fn whole(cluster: &mut Cluster, id: u64, records: u64, what: &str) {
    for _ in 0..STARTS_MAX {
        let handle = cluster.handle(id);
        let node = cluster.places[&id].node.as_ref().expect("it runs");
        let waiting = until_async(what, async || {
            let status = handle.status();
            status.damage.is_none()
                && !status.renewing
                && status.scrub.passes > 0
                && status.scrub.damage.is_none()
                && handle.may_serve()
                && handle.journal().head(&[1]) >= records
        });
        let ended = tokio::select! {
            () = waiting => None,
            fatal = node.fatal() => Some(fatal),
        };
        let Some(fatal) = ended else {
            let mut next = 1;
            while next <= records {
                for (seq, bytes) in
                    handle.journal().read(&[1], next, 1_000, 1 << 20).expect("reads")
                {
                    assert_eq!((seq, bytes.len()), (next, record_bytes(0, 0, 0).len()), "{what}");
                    next += 1;
                }
            }
            return;
        };
        println!("node {id}, {what}: {fatal}");
        let node = cluster.places.get_mut(&id).and_then(|place| place.node.take());
        let _ = node.expect("it ran").shutdown().await;
        supervise(cluster, id).await;
    }
    panic!("{what}: node {id} does not go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_flips_in_any_file_of_a_stopped_node_needs_no_operator() {
    let mut cluster = written().await;
    let mut records = RECORDS;
    let victim = *cluster
        .running()
        .iter()
        .find(|id| cluster.handle(**id).status().role != Role::Leader)
        .expect("one");
    let of_db = [1, 3, 5, 8].map(|part| format!("store/db {part}"));
    let kinds =
        ["identity", "ballot", "mark", "store/conf", "store/snap.", "snapshots/", "journal/01-"];
    for kind in kinds.iter().map(|kind| (*kind).to_owned()).chain(of_db) {
        cluster.stop(victim).await;
        let dir = cluster.data_dir(victim);
        let (path, part) = match kind.split_once(' ') {
            Some((path, part)) => (dir.join(path), part.parse::<usize>().expect("a number")),
            None => {
                let (folder, begins) = kind.rsplit_once('/').unwrap_or(("", &kind));
                (named(&dir.join(folder), begins), 5)
            }
        };
        let bytes = std::fs::read(&path).expect("reads");
        // The store's file is mostly empty; strike where there is something.
        let used = bytes.iter().rposition(|b| *b != 0).expect("not empty");
        flip(&path, used * part / 10);
        supervise(&mut cluster, victim).await;
        let other = cluster.running().into_iter().find(|id| *id != victim).expect("one");
        propose(&cluster.handle(other), 1_000_000 + records).await;
        records += 1;
        whole(&mut cluster, victim, records, &kind).await;
        assert!(!dir.join("damaged").exists(), "{kind}: what was put aside is gone");
    }
    // It votes: with one of the others gone, it is needed.
    cluster.voters(3).await;
    let other = cluster.running().into_iter().find(|id| *id != victim).expect("one");
    cluster.stop(other).await;
    crate::harness::propose_again(&cluster.handle(victim), 2_000_000).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_damaged_under_a_running_node_is_fetched_again() {
    let mut cluster = written().await;
    cluster.stop(3).await;
    supervise(&mut cluster, 3).await;
    let path = segment(&cluster, 3);
    let good = std::fs::read(&path).expect("reads");
    for at in [20, good.len() / 2, good.len() - 3] {
        flip(&path, at);
        until("the segment is whole again", || std::fs::read(&path).expect("reads") == good).await;
        whole(&mut cluster, 3, RECORDS, "a segment").await;
    }
    let snapshot = named(&cluster.data_dir(3).join("snapshots"), "0");
    flip(&snapshot, 200);
    let node = cluster.places[&3].node.as_ref().expect("it runs");
    println!("{}", node.fatal().await);
    whole(&mut cluster, 3, RECORDS, "a snapshot").await;
    until("the first block is in a segment again", || path.exists()).await;
    std::fs::remove_file(&path).expect("removes");
    until("the segment is there again", || std::fs::read(&path).is_ok_and(|b| b == good)).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_may_have_lost_what_it_acknowledged_elects_nobody_until_it_has_it_again() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    for id in 0..20 {
        propose(&cluster.handle(leader), id).await;
    }
    let term = cluster.handle(leader).status().term;
    cluster.stop_all().await;
    // Node 3 loses its store, which held what it and one other had acknowledged.
    let dir = cluster.data_dir(3);
    flip(&dir.join("store/db"), 4);
    std::fs::write(dir.join("mark"), b"damaged").expect("writes");
    let mut bytes = std::fs::read(dir.join("store/db")).expect("reads");
    bytes.fill(0x55);
    std::fs::write(dir.join("store/db"), bytes).expect("writes");
    supervise(&mut cluster, 3).await;
    assert!(cluster.handle(3).status().renewing);
    assert!(cluster.handle(3).status().term >= term, "it remembers its vote");
    supervise(&mut cluster, 2).await;
    // Leadership was handed over while the nodes stopped.
    let term = cluster.handle(2).status().term;
    let sent = |cluster: &Cluster| {
        let sent = cluster.handle(2).messages_sent();
        sent.iter().find(|(name, _)| *name == "pre-vote").map_or(0, |(_, count)| *count)
    };
    until("node 2 has asked for votes", || sent(&cluster) >= 6).await;
    let status = cluster.handle(2).status();
    assert!(status.role != Role::Leader && status.term == term, "nobody elects it: {status:?}");
    assert!(cluster.handle(3).status().renewing);
    supervise(&mut cluster, 1).await;
    until("node 3 is filled again", || !cluster.handle(3).status().renewing).await;
    assert_eq!(cluster.handle(3).journal().head(&[1]), 20);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_on_an_older_copy_of_its_directory_is_noticed() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let victim = cluster.running().into_iter().find(|id| *id != leader).expect("one");
    propose(&cluster.handle(leader), 1).await;
    cluster.stop(victim).await;
    let (dir, copy) = (cluster.data_dir(victim), cluster.dir.path().join("copy"));
    crate::support::copy_dir(&dir, &copy);
    supervise(&mut cluster, victim).await;
    for id in 2..30 {
        propose(&cluster.handle(leader), id).await;
    }
    until("it has them", || cluster.handle(victim).journal().head(&[1]) == 29).await;
    assert!(cluster.handle(leader).status().set_back.is_empty());
    cluster.stop(victim).await;
    std::fs::remove_dir_all(&dir).expect("removes");
    crate::support::copy_dir(&copy, &dir);
    supervise(&mut cluster, victim).await;
    until("the leader notices", || cluster.handle(leader).status().set_back.contains(&victim))
        .await;
    cluster.stop_all().await;
}
