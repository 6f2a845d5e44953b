//! A backup of a running node holds everything that was acknowledged, and nothing by half.

mod support;
mod toy;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use authrai_cluster::backup::{Backup, RestoreError, Restored, check, restore};
use authrai_cluster::{Config, Node, StartError};

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

/// A backup of a node that has written more than a block of records, and how many.
async fn some_backup() -> (Vec<u8>, u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    let handle = node.handle();
    let ids: Vec<u64> = (0..13_000).collect();
    for some in ids.chunks(500) {
        let proposed = some.iter().map(|id| propose(&handle, (id % 2) as u8, *id));
        futures_util::future::join_all(proposed).await;
    }
    let bytes = whole(handle.backup("test".into(), DEADLINE).await.expect("begins")).await;
    node.shutdown().await.expect("stops");
    (bytes, ids.len() as u64)
}

fn restored(dir: &Path, bytes: &[u8]) -> Result<Restored<u64>, RestoreError> {
    restore(&Config::new(dir), Counter::default(), bytes, |machine, contents, cluster| {
        assert_eq!(machine.state.ids.len() as u64, contents.records);
        assert_ne!(cluster, contents.origin.cluster);
        Ok(add(0, 1_000_000))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_node_goes_on_in_a_cluster_of_its_own() {
    let (bytes, ids) = some_backup().await;
    let dir = tempfile::tempdir().expect("a directory");
    let restored = restored(dir.path(), &bytes).expect("restores");
    assert_eq!(restored.reply, ids / 2 + 1, "the first command came next");
    assert_eq!(restored.contents.records, ids);
    for round in 0..2 {
        let node = start(dir.path()).await;
        let handle = node.handle();
        assert_eq!(handle.status().cluster_id, restored.cluster);
        assert!(handle.applied_index() > restored.contents.origin.index);
        let journal = handle.journal();
        assert_eq!(journal.head(&[0]), ids / 2 + 1 + round);
        assert_eq!(journal.head(&[1]), ids / 2);
        let all = |chain: u8| {
            let mut records = Vec::new();
            while let Some(from) =
                Some(records.len() as u64 + 1).filter(|f| *f <= journal.head(&[chain]))
            {
                records.extend(journal.read(&[chain], from, 1_000, 1 << 20).expect("reads"));
            }
            records
        };
        assert_eq!(all(1)[4_500].1, toy::record_bytes(9_001, 0, 0));
        assert_eq!(all(0).len() as u64, ids / 2 + 1 + round);
        assert_eq!(journal.count(&[1], b"odd\0").expect("reads"), ids / 2);
        assert_eq!(propose(&handle, 0, 2_000_000 + round).await, ids / 2 + 2 + round);
        handle.snapshot_now().await.expect("snapshots go on");
        node.shutdown().await.expect("stops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_whole_into_an_empty_directory_or_not_at_all() {
    let (bytes, _) = some_backup().await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    // Damaged: nothing is left, and the whole one can be restored after it.
    for cut in [5, bytes.len() / 2, bytes.len() - 1] {
        let came = restored(path, &bytes[..cut]);
        assert!(matches!(came, Err(RestoreError::Backup(_))), "{came:?}");
        assert!(matches!(try_start(path).await, Err(StartError::NotInitialised { .. })));
    }
    // Declined.
    let declined = restore(&Config::new(path), Counter::default(), bytes.as_slice(), |_, _, _| {
        Err("no".into())
    });
    assert!(matches!(declined, Err(RestoreError::Declined(why)) if why == "no"));
    // Interrupted, as by a crash: no node starts there, and a second attempt takes it up.
    let crash = std::panic::catch_unwind(|| {
        restore(&Config::new(path), Counter::default(), bytes.as_slice(), |_, _, _| panic!("crash"))
    });
    assert!(crash.is_err());
    let refused = try_start(path).await;
    assert!(matches!(refused, Err(StartError::RestoreUnfinished { .. })), "{refused:?}");
    restored(path, &bytes).expect("restores");
    // A second one would overwrite a node.
    assert!(matches!(restored(path, &bytes), Err(RestoreError::NotEmpty { .. })));
    start(path).await.shutdown().await.expect("stops");
    // Nor does a marker from elsewhere let one overwrite it.
    std::fs::write(path.join("restoring"), b"").expect("writes");
    assert!(matches!(restored(path, &bytes), Err(RestoreError::NotEmpty { .. })));
    std::fs::remove_file(path.join("restoring")).expect("removes");
    start(path).await.shutdown().await.expect("stops");
}

async fn try_start(dir: &Path) -> Result<Node<Counter>, StartError> {
    Node::start(Config::new(dir), Counter::default(), false).await
}
