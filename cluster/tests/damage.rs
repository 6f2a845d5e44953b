//! Damage on disk is found and named, by a start, a reader or the background check.

mod support;
mod toy;

use authrai_cluster::{Config, Fatal, JournalError, StartError, What};
use support::{
    copy_dir, flip_last_byte, nth_key, propose, snapshot_files, start, tamper, try_start, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_or_identity_is_named_and_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config { log_keep_entries: 0, ..Config::new(dir.path()) };
    let node = try_start(config.clone(), 0).await.expect("starts");
    let handle = node.handle();
    for id in 0..20 {
        propose(&handle, 1, id).await;
    }
    handle.snapshot_now().await.expect("a snapshot");
    until("the log is purged", || handle.status().purged_index.is_some()).await;
    node.shutdown().await.expect("stops");
    let snapshot = snapshot_files(dir.path()).remove(0);
    let damaged = |what| move |got: &Result<(), StartError>| matches!(got, Err(StartError::Damaged { what: found, .. }) if *found == what);
    for (path, what) in
        [(snapshot.clone(), What::Snapshot), (dir.path().join("identity"), What::Identity)]
    {
        let good = std::fs::read(&path).expect("reads");
        let mut bad = good.clone();
        let last = bad.len() - 1;
        bad[last / 2] ^= 1;
        std::fs::write(&path, bad).expect("writes");
        let got = try_start(config.clone(), 0).await.map(|_| ());
        assert!(damaged(what)(&got), "{got:?}");
        let said = got.expect_err("damaged").to_string();
        assert!(said.contains(&*path.to_string_lossy()) && said.contains("backup"), "{said}");
        std::fs::write(&path, good).expect("writes");
    }
    try_start(config.clone(), 0).await.expect("starts").shutdown().await.expect("stops");
    std::fs::remove_file(&snapshot).expect("removes");
    let got = try_start(config, 0).await.map(|_| ());
    assert!(damaged(What::Snapshot)(&got), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_ends_before_the_snapshot_is_named() {
    let (dir, other) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let id = Some([3; 16]);
    for (dir, ids) in [(&dir, 0..20), (&other, 0..10)] {
        let config = Config { cluster_id: id, ..Config::new(dir.path()) };
        let node = try_start(config, 0).await.expect("starts");
        for id in ids {
            propose(&node.handle(), 1, id).await;
        }
        node.handle().snapshot_now().await.expect("a snapshot");
        node.shutdown().await.expect("stops");
    }
    // The snapshot of the longer history on the store of the shorter.
    let snapshots = other.path().join("snapshots");
    std::fs::remove_dir_all(&snapshots).expect("removes");
    std::fs::rename(dir.path().join("snapshots"), snapshots).expect("moves");
    let got = try_start(Config::new(other.path()), 0).await.map(|_| ());
    let Err(StartError::Damaged { what: What::Journal, place, .. }) = got else {
        panic!("{got:?}")
    };
    assert_eq!(place, "chain \\x01, record 11");
}

/// Whatever single byte of the store's file goes bad, the node either starts with everything or
/// says what is wrong; it never forgets something acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_byte_gone_bad_on_disk_never_loses_an_acknowledged_write_silently() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    for id in 0..40 {
        propose(&node.handle(), 1, id).await;
    }
    node.shutdown().await.expect("stops");
    let pristine = tempfile::tempdir().expect("a directory");
    copy_dir(dir.path(), pristine.path());
    let db = dir.path().join("store/db");
    let bytes = std::fs::read(&db).expect("reads");
    // The file is mostly empty; strike where there is something.
    let used = bytes.iter().rposition(|b| *b != 0).expect("not empty");
    let mut refused = 0;
    for strike in 0..24 {
        let at = used * strike / 24 + 11;
        std::fs::remove_dir_all(dir.path()).expect("removes");
        copy_dir(pristine.path(), dir.path());
        let mut bad = bytes.clone();
        bad[at] ^= 0x55;
        std::fs::write(&db, &bad).expect("writes");
        match try_start(Config::new(dir.path()), 0).await {
            Err(error) => {
                println!("byte {at}: {error}");
                refused += 1;
            }
            Ok(node) => {
                let handle = node.handle();
                handle.ready().await;
                assert_eq!(handle.journal().head(b"\x01"), 40, "byte {at}");
                assert_eq!(propose(&handle, 1, 100).await, 41, "byte {at}");
                node.shutdown().await.expect("stops");
            }
        }
    }
    assert!(refused > 0, "some of it is noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_or_newest_journal_row_is_named_at_the_start() {
    type Change = fn(&sled::Tree);
    let cases: [(&str, What, &str, Change); 5] = [
        ("log", What::Log, "index 5", |t| flip_last_byte(t, &nth_key(t, b'e', 5))),
        ("log", What::Log, "index 0", |t| {
            t.remove(nth_key(t, b'e', 0)).expect("writes");
        }),
        ("log", What::Log, "index 5", |t| {
            t.remove(nth_key(t, b'e', 5)).expect("writes");
        }),
        ("journal", What::Journal, "chain \\x01, record 10", |t| {
            flip_last_byte(t, &nth_key(t, b'r', -1));
        }),
        ("meta", What::Identity, "the store", |t| flip_last_byte(t, b"identity")),
    ];
    for (tree, want, at, change) in cases {
        let dir = tempfile::tempdir().expect("a directory");
        let node = start(dir.path()).await;
        for id in 0..10 {
            propose(&node.handle(), 1, id).await;
        }
        node.shutdown().await.expect("stops");
        tamper(dir.path(), tree, change);
        let got = try_start(Config::new(dir.path()), 0).await.map(|_| ());
        let Err(StartError::Damaged { what, place, .. }) = &got else {
            panic!("{tree}, {at}: {got:?}")
        };
        assert_eq!((*what, place.as_str()), (want, at), "{got:?}");
        // It stays damaged: nothing is mended or forgotten by trying.
        assert_eq!(try_start(Config::new(dir.path()), 0).await.map(|_| ()), got);
    }
}

/// A stopped node whose journal has `total` records, of which the log holds none any more.
async fn stopped_with(config: &Config, total: u64) {
    let node = try_start(config.clone(), 0).await.expect("starts");
    let handle = node.handle();
    let mut tasks = Vec::new();
    for writer in 0..50 {
        let handle = handle.clone();
        tasks.push(tokio::spawn(async move {
            for n in 0..total / 50 {
                propose(&handle, 1, writer * (total / 50) + n).await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("ends");
    }
    handle.snapshot_now().await.expect("a snapshot");
    until("the log is purged", || handle.status().purged_index >= Some(total)).await;
    node.shutdown().await.expect("stops");
}

/// Starts a node on damage in the first block, finds it, and writes record `next`.
async fn finds_damage(config: Config, next: u64) {
    let node = try_start(config, 0).await.expect("starts");
    let handle = node.handle();
    let read = handle.journal().read(b"\x01", 1, 4096, 1 << 20);
    let Err(JournalError::Damaged { chain, seq }) = read else { panic!("{read:?}") };
    assert_eq!(chain, b"\x01");
    until("the check is through", || handle.status().scrub.passes > 0).await;
    let damage = handle.status().scrub.damage.expect("found");
    assert!(damage.contains(&format!("record {seq}:")), "{damage}");
    assert_eq!(propose(&handle, 1, 10_000).await, next);
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_sealed_row_is_found_by_readers_and_by_the_background_check() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config { log_keep_entries: 0, ..Config::new(dir.path()) };
    // More than a block, so that the first rows are sealed.
    stopped_with(&config, 4_500).await;
    tamper(dir.path(), "journal", |t| flip_last_byte(t, &nth_key(t, b'r', 0)));
    finds_damage(config, 4_501).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_segment_is_found_by_readers_and_by_the_background_check() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config { log_keep_entries: 0, ..Config::new(dir.path()) };
    // More than two blocks, so that the first goes into a segment.
    stopped_with(&config, 8_500).await;
    let segment = dir.path().join("journal/01-0000000000000000");
    let node = try_start(config.clone(), 0).await.expect("starts");
    until("the first block is in a segment", || segment.exists()).await;
    node.shutdown().await.expect("stops");
    let mut bytes = std::fs::read(&segment).expect("reads");
    bytes[20] ^= 1;
    std::fs::write(&segment, bytes).expect("writes");
    finds_damage(config, 8_501).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_has_forked_does_not_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    propose(&node.handle(), 1, 1).await;
    node.shutdown().await.expect("stops");
    let got = try_start(Config::new(dir.path()), 1).await.map(|_| ());
    let rewritten = Fatal::JournalRewritten { chain: "\\x01".into(), seq: 1 };
    assert_eq!(got, Err(StartError::Fatal(rewritten)));
}
