//! A backup of a running node holds everything that was acknowledged, and nothing by half.

mod support;
mod toy;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use authrai_cluster::backup::{Backup, check};

use support::{DEADLINE, propose, start, until};
use toy::{Counter, add};

async fn whole(mut backup: Backup) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = backup.next().await {
        bytes.extend(piece.expect("it is not broken off"));
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_holds_everything_acknowledged_before_it_while_writes_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    let handle = node.handle();
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writing = tokio::spawn({
        let (handle, stop, written) = (handle.clone(), stop.clone(), written.clone());
        async move {
            for id in 0.. {
                handle.propose(add((id % 3) as u8, id), DEADLINE).await.expect("commits");
                written.store(id + 1, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) {
                    return;
                }
            }
        }
    });
    for round in 1..=3u64 {
        until("some writes", || written.load(Ordering::SeqCst) > round * 200).await;
        let before = written.load(Ordering::SeqCst);
        let backup = handle.backup("test".into(), DEADLINE).await.expect("begins");
        let index = backup.origin().index;
        let bytes = whole(backup).await;
        let mut machine = Counter::default();
        let contents = check(bytes.as_slice(), &mut machine).expect("it is whole");
        assert_eq!(contents.origin.index, index);
        assert_eq!(contents.origin.cluster, handle.status().cluster_id);
        let ids = machine.state.ids.len() as u64;
        assert!(ids >= before, "{before} were acknowledged, {ids} are there");
        // One after the other, so what is there has no gaps; and the journal is of that moment.
        assert_eq!(machine.state.ids.last(), Some(&(ids - 1)));
        assert_eq!(contents.records, ids);
    }
    stop.store(true, Ordering::SeqCst);
    writing.await.expect("ends");
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_nobody_takes_is_made_no_further() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    let handle = node.handle();
    // Far more than what may be made ahead, 64 records of half a MiB.
    for id in 0..64 {
        let command = toy::Command::Add { chain: 0, id, padding: 512 * 1024 };
        handle.propose(command, DEADLINE).await.expect("commits");
    }
    let mut backup = handle.backup("test".into(), DEADLINE).await.expect("begins");
    backup.next().await.expect("a piece").expect("good");
    // Writes go on beside it.
    propose(&handle, 1, 1_000).await;
    let rest = whole(backup).await;
    assert!(rest.len() > 32 << 20, "{}", rest.len());
    let abandoned = handle.backup("test".into(), DEADLINE).await.expect("begins");
    drop(abandoned);
    // It would hold the store, if it went on.
    node.shutdown().await.expect("stops");
}
