//! Damage on disk is found and named, by a start, a reader or the background check.

mod support;
mod toy;

use authrai_cluster::{Config, Fatal, JournalError, ProposeError, Remedy, StartError, What};
use support::{
    DEADLINE, copy_dir, flip_last_byte, nth_key, propose, snapshot_files, start, tamper, try_start,
    until,
};

use toy::add;

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_named_and_says_what_to_do_and_an_identity_is_put_back() {
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
    for path in [snapshot.clone(), dir.path().join("identity")] {
        let good = std::fs::read(&path).expect("reads");
        let mut bad = good.clone();
        let last = bad.len() - 1;
        bad[last / 2] ^= 1;
        std::fs::write(&path, bad).expect("writes");
        if path != snapshot {
            // The store has a copy of it.
            let node = try_start(config.clone(), 0).await.expect("starts");
            node.shutdown().await.expect("stops");
            assert_eq!(std::fs::read(&path).expect("reads"), good);
            continue;
        }
        let got = try_start(config.clone(), 0).await.map(|_| ());
        assert!(damaged(What::Snapshot)(&got), "{got:?}");
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
    /// Damages something, and says where.
    type Change = fn(&sled::Tree) -> String;
    fn log_row(tree: &sled::Tree, nth: isize, damage: fn(&sled::Tree, &[u8])) -> String {
        let key = nth_key(tree, b'e', nth);
        damage(tree, &key);
        let first = u64::from_be_bytes(key[1..9].try_into().expect("an index"));
        format!("index {first}")
    }
    fn remove(tree: &sled::Tree, key: &[u8]) {
        tree.remove(key).expect("writes");
    }
    let cases: [(&str, What, Change); 5] = [
        ("log", What::Log, |t| log_row(t, 5, flip_last_byte)),
        ("log", What::Log, |t| log_row(t, 0, remove)),
        ("log", What::Log, |t| log_row(t, 5, remove)),
        ("journal", What::Journal, |t| {
            flip_last_byte(t, &nth_key(t, b'r', -1));
            "chain \\x01, record 10".into()
        }),
        ("meta", What::Identity, |t| {
            flip_last_byte(t, b"identity");
            "the store".into()
        }),
    ];
    for (tree, want, change) in cases {
        let dir = tempfile::tempdir().expect("a directory");
        let node = start(dir.path()).await;
        for id in 0..10 {
            propose(&node.handle(), 1, id).await;
        }
        node.shutdown().await.expect("stops");
        let mut at = String::new();
        tamper(dir.path(), tree, |tree| at = change(tree));
        let got = try_start(Config::new(dir.path()), 0).await.map(|_| ());
        let Err(StartError::Damaged { what, place, .. }) = &got else {
            panic!("{tree}, {at}: {got:?}")
        };
        assert_eq!((*what, place), (want, &at), "{got:?}");
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

/// Starts a node on damage in the first block, which is the only one that holds it: it finds it, says
/// what to do, goes on reading, and takes no write.
async fn finds_damage(config: Config, head: u64) {
    let node = try_start(config, 0).await.expect("starts");
    let handle = node.handle();
    let read = handle.journal().read(b"\x01", 1, 4096, 1 << 20);
    let Err(JournalError::Damaged { chain, seq }) = read else { panic!("{read:?}") };
    assert_eq!(chain, b"\x01");
    until("the check is through", || handle.status().scrub.passes > 0).await;
    let damage = handle.status().scrub.damage.expect("found");
    assert!(damage.contains(&format!("record {seq}:")), "{damage}");
    let known = handle.status().damage.expect("it says so");
    assert_eq!((known.what, known.remedy), (What::Journal, Remedy::Backup));
    assert!(known.to_string().contains("restore a backup"), "{known}");
    let refused = handle.propose(add(1, 10_000), DEADLINE).await;
    let damaged = |e: &ProposeError| matches!(e, ProposeError::Fatal(Fatal::Damaged { .. }));
    assert!(refused.as_ref().is_err_and(damaged), "{refused:?}");
    assert_eq!(handle.journal().head(b"\x01"), head);
    until("it still answers", || handle.may_serve()).await;
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_sealed_row_is_found_by_readers_and_by_the_background_check() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config { log_keep_entries: 0, ..Config::new(dir.path()) };
    // More than a block, so that the first rows are sealed.
    stopped_with(&config, 4_500).await;
    tamper(dir.path(), "journal", |t| flip_last_byte(t, &nth_key(t, b'r', 0)));
    finds_damage(config, 4_500).await;
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
    finds_damage(config, 8_500).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_is_missing_or_of_an_older_copy_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("mark");
    let mut older = None;
    for round in 0..3 {
        let node = start(dir.path()).await;
        for id in 0..10 {
            propose(&node.handle(), 1, 10 * round + id).await;
        }
        assert_eq!(node.handle().status().damage, None);
        node.shutdown().await.expect("stops");
        older.get_or_insert_with(|| std::fs::read(&path).expect("reads"));
    }
    for older in [None, older] {
        match older {
            Some(bytes) => std::fs::write(&path, bytes).expect("writes"),
            None => std::fs::remove_file(&path).expect("removes"),
        }
        for _ in 0..2 {
            let node = start(dir.path()).await;
            let handle = node.handle();
            let damage = handle.status().damage.expect("found");
            assert_eq!((damage.what, damage.remedy), (What::Mark, Remedy::Backup), "{damage}");
            assert!(handle.propose(add(1, 1_000), DEADLINE).await.is_err());
            assert_eq!(handle.journal().head(b"\x01"), 30);
            node.shutdown().await.expect("stops");
        }
    }
}
