//! A node as its callers see it: start, propose, wait, snapshot, stop, start again.

mod toy;

use std::path::Path;
use std::time::{Duration, Instant};

use authrai_cluster::{
    Config, Fatal, Handle, JournalError, Node, ProposeError, Role, StartError, Unavailable, What,
    limits,
};
use toy::{Command, Counter, add, record_bytes};

const DEADLINE: Duration = Duration::from_secs(20);

async fn start(dir: &Path) -> Node<Counter> {
    let node = try_start(Config::new(dir), 0).await.expect("starts");
    tokio::time::timeout(DEADLINE, node.handle().ready()).await.expect("ready in time");
    node
}

async fn try_start(config: Config, salt: u8) -> Result<Node<Counter>, StartError> {
    Node::start(config, Counter { salt, ..Counter::default() }, true).await
}

async fn propose(handle: &Handle<Counter>, chain: u8, id: u64) -> u64 {
    handle.propose(add(chain, id), DEADLINE).await.expect("commits").reply
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    for round in 0..3 {
        let node = start(dir.path()).await;
        let handle = node.handle();
        assert_eq!(handle.journal().head(b"\x01"), round);
        let committed = handle.propose(add(1, round), DEADLINE).await.expect("commits");
        assert_eq!(committed.reply, round + 1);
        assert!(handle.applied_index() >= committed.index);
        assert_eq!(
            handle.journal().read(b"\x01", 1, 10, 1 << 20).expect("reads"),
            (0..=round).map(|id| (id + 1, record_bytes(id, 0, 0))).collect::<Vec<_>>()
        );
        node.shutdown().await.expect("stops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_serves_within_a_second_and_says_who_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    for _ in 0..2 {
        let begun = Instant::now();
        let node = start(dir.path()).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        let status = node.handle().status();
        assert_eq!((status.role, status.leader, status.node_id), (Role::Leader, Some(1), 1));
        assert_eq!(status.cluster_id_hex().len(), 32);
        assert!(node.handle().may_serve());
        let handle = node.handle();
        node.shutdown().await.expect("stops");
        assert!(!handle.may_serve());
        assert_eq!(handle.propose(add(1, 1), DEADLINE).await, Err(ProposeError::ShuttingDown));
        assert_eq!(handle.journal().read(b"\x01", 1, 1, 1), Ok(vec![]));
        assert_eq!(handle.read_index(DEADLINE).await, Err(Unavailable::ShuttingDown));
    }
}

/// Waits for `condition`, which must come true before the deadline.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "{what} in time");
        tokio::task::yield_now().await;
    }
}

fn snapshot_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(dir.join("snapshots")).expect("a directory");
    files.map(|f| f.expect("reads").path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_proposals_at_once_are_applied_in_one_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    let mut tasks = Vec::new();
    for id in 0..500 {
        let handle = node.handle();
        tasks.push(tokio::spawn(async move {
            handle.propose(add(1, id), DEADLINE).await.expect("commits")
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.expect("ends"));
    }
    answers.sort_by_key(|a| a.index);
    let replies = answers.iter().map(|a| a.reply).collect::<Vec<_>>();
    assert_eq!(replies, (1..=500).collect::<Vec<_>>());
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_only_after_its_effects_are_published() {
    let dir = tempfile::tempdir().expect("a directory");
    let counter = Counter::default();
    let published = counter.published.clone();
    let node = Node::start(Config::new(dir.path()), counter, true).await.expect("starts");
    let handle = node.handle();
    for id in 0..50 {
        let index = handle.propose(add(1, id), DEADLINE).await.expect("commits").index;
        assert!(published.load(std::sync::atomic::Ordering::SeqCst) >= index);
        assert_eq!(handle.journal().head(b"\x01"), id + 1);
    }
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_index_reflects_what_was_committed_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    let handle = node.handle();
    let index = handle.propose(add(1, 1), DEADLINE).await.expect("commits").index;
    let read = handle.read_index(DEADLINE).await.expect("reads");
    assert!(read >= index && handle.applied_index() >= read);
    assert_eq!(handle.wait_applied(index, DEADLINE).await, Ok(()));
    let last = handle.last_log_index();
    assert_eq!(handle.wait_applied(last + 1, DEADLINE).await, Err(Unavailable::Beyond { last }));
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_over_the_limit_is_refused_and_the_largest_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    let limit = limits::COMMAND_MAX_BYTES;
    let command = |bytes: usize| Command::Add { chain: 1, id: 1, padding: bytes - 10 };
    assert_eq!(
        node.handle().propose(command(limit + 1), DEADLINE).await,
        Err(ProposeError::TooLarge { bytes: limit + 1, limit })
    );
    assert!(node.handle().propose(command(limit), DEADLINE).await.is_ok());
    node.shutdown().await.expect("stops");
    let node = start(dir.path()).await;
    assert_eq!(node.handle().journal().head(b"\x01"), 1);
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_that_timed_out_has_an_unknown_outcome() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    assert_eq!(
        node.handle().propose(add(1, 1), Duration::ZERO).await,
        Err(ProposeError::OutcomeUnknown)
    );
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_the_log_behind_it_give_the_same_state_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let config =
        Config { snapshot_every_entries: 100, log_keep_entries: 10, ..Config::new(dir.path()) };
    let node = try_start(config.clone(), 0).await.expect("starts");
    let handle = node.handle();
    for id in 0..450 {
        propose(&handle, (id % 3) as u8, id).await;
    }
    until("a snapshot", || handle.status().snapshot_index.is_some_and(|i| i >= 350)).await;
    let head = handle.journal().head(&[0]);
    let before = handle.journal().read(&[0], 1, 1000, 1 << 20);
    node.shutdown().await.expect("stops");
    assert_eq!(snapshot_files(dir.path()).len(), 1);

    let counter = Counter::default();
    let restored = counter.view.clone();
    let node = Node::start(config, counter, false).await.expect("starts");
    let handle = node.handle();
    handle.ready().await;
    assert!(restored.lock().expect("not poisoned").ids.len() >= 340, "from the snapshot");
    assert_eq!(handle.journal().head(&[0]), head);
    assert_eq!(handle.journal().read(&[0], 1, 1000, 1 << 20), before);
    assert_eq!(propose(&handle, 0, 1000).await, head + 1);
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_comes_when_asked_for_or_when_enough_bytes_have_come() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config { snapshot_every_bytes: 300_000, ..Config::new(dir.path()) };
    let node = try_start(config, 0).await.expect("starts");
    let handle = node.handle();
    let index = handle.propose(add(1, 0), DEADLINE).await.expect("commits").index;
    assert_eq!(handle.status().snapshot_index, None);
    handle.snapshot_now().await.expect("a snapshot");
    assert!(handle.status().snapshot_index >= Some(index));
    handle.snapshot_now().await.expect("the same one");
    for id in 1..=4 {
        let command = Command::Add { chain: 1, id, padding: 100_000 };
        handle.propose(command, DEADLINE).await.expect("commits");
    }
    until("a snapshot", || handle.status().snapshot_index >= Some(index + 3)).await;
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_does_not_decode_stops_the_node_now_and_at_every_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    let handle = node.handle();
    propose(&handle, 1, 1).await;
    let got = handle.propose(Command::Garbage, DEADLINE).await;
    assert_eq!(got, Err(ProposeError::OutcomeUnknown));
    let fatal = tokio::time::timeout(DEADLINE, node.fatal()).await.expect("in time");
    assert!(matches!(fatal, Fatal::Undecodable { .. }), "{fatal}");
    until("it serves no more", || !handle.may_serve()).await;
    let got = handle.propose(add(1, 2), DEADLINE).await;
    assert_eq!(got, Err(ProposeError::Fatal(fatal.clone())));
    assert_eq!(node.shutdown().await, Err(fatal.clone()));
    let got = try_start(Config::new(dir.path()), 0).await.map(|_| ());
    assert_eq!(got, Err(StartError::Fatal(fatal)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_panics_stops_the_node() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    let got = node.handle().propose(Command::Panic, DEADLINE).await;
    assert_eq!(got, Err(ProposeError::OutcomeUnknown));
    let fatal = tokio::time::timeout(DEADLINE, node.fatal()).await.expect("in time");
    assert!(matches!(fatal, Fatal::MachinePanicked { .. }), "{fatal}");
    assert_eq!(node.shutdown().await, Err(fatal));
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
async fn a_directory_is_founded_only_when_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config::new(dir.path().join("new"));
    let got = Node::start(config.clone(), Counter::default(), false).await.map(|_| ());
    assert_eq!(got, Err(StartError::NotInitialised { dir: config.data_dir.clone() }));
    assert!(!config.data_dir.exists());
    try_start(config.clone(), 0).await.expect("starts").shutdown().await.expect("stops");
    let node = Node::start(config, Counter::default(), false).await.expect("starts");
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_or_of_another_node_or_cluster_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config::new(dir.path());
    let node = start(dir.path()).await;
    let cluster = node.handle().status().cluster_id;
    let got = try_start(config.clone(), 0).await.map(|_| ());
    assert_eq!(got, Err(StartError::Locked { dir: dir.path().into() }));
    node.shutdown().await.expect("stops");

    let got = try_start(Config { node_id: 2, ..config.clone() }, 0).await.map(|_| ());
    assert!(
        matches!(got, Err(StartError::ForeignNode { stored: 1, configured: 2, .. })),
        "{got:?}"
    );
    let other = Config { cluster_id: Some([7; 16]), ..config.clone() };
    let got = try_start(other, 0).await.map(|_| ());
    assert!(matches!(got, Err(StartError::ForeignCluster { .. })), "{got:?}");
    let same = Config { cluster_id: Some(cluster), ..config };
    try_start(same, 0).await.expect("starts").shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_or_snapshot_from_elsewhere_is_refused() {
    let (here, there) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    for dir in [&here, &there] {
        let node = start(dir.path()).await;
        propose(&node.handle(), 1, 1).await;
        node.handle().snapshot_now().await.expect("a snapshot");
        node.shutdown().await.expect("stops");
    }
    for part in ["snapshots", "store"] {
        let aside = here.path().join("aside");
        std::fs::rename(here.path().join(part), &aside).expect("moves");
        std::fs::rename(there.path().join(part), here.path().join(part)).expect("moves");
        let got = try_start(Config::new(here.path()), 0).await.map(|_| ());
        let Err(StartError::ForeignCluster { path, .. }) = got else { panic!("{part}: {got:?}") };
        assert!(path.starts_with(here.path().join(part)), "{part}: {path:?}");
        std::fs::rename(here.path().join(part), there.path().join(part)).expect("moves");
        std::fs::rename(&aside, here.path().join(part)).expect("moves");
    }
    std::fs::remove_dir_all(here.path().join("store")).expect("removes");
    let got = try_start(Config::new(here.path()), 0).await.map(|_| ());
    assert!(matches!(got, Err(StartError::Damaged { what: What::Store, .. })), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, b"").expect("writes");
    let got = try_start(Config::new(file.join("data")), 0).await.map(|_| ());
    assert!(matches!(got, Err(StartError::Unwritable { .. })), "{got:?}");
}

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

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("creates");
    for found in std::fs::read_dir(from).expect("reads") {
        let path = found.expect("reads").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_dir(&path, &to);
        } else {
            std::fs::copy(&path, &to).expect("copies");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_outlives_its_node_only_to_say_that_it_is_closed() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    propose(&node.handle(), 1, 1).await;
    let journal = node.handle().journal();
    node.shutdown().await.expect("stops");
    assert_eq!(journal.read(b"\x01", 1, 1, 1), Err(JournalError::Closed));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_while_a_snapshot_is_written_and_the_snapshot_has_none_of_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let counter = Counter::default();
    let gate = counter.gate.clone();
    let node = Node::start(Config::new(dir.path()), counter, true).await.expect("starts");
    let handle = node.handle();
    handle.ready().await;
    let before = handle.propose(add(1, 0), DEADLINE).await.expect("commits").index;
    let (close, closed) = tokio::sync::oneshot::channel();
    let (open, opened) = std::sync::mpsc::channel();
    let keeper = std::thread::spawn(move || {
        let _closed = gate.lock().expect("not poisoned");
        close.send(()).expect("awaited");
        opened.recv().expect("sent");
    });
    closed.await.expect("closed");
    let asking = handle.clone();
    let asked = tokio::spawn(async move { asking.snapshot_now().await });
    let writing =
        || snapshot_files(dir.path()).iter().any(|p| p.extension() == Some("writing".as_ref()));
    until("a snapshot begins", writing).await;
    for id in 1..20 {
        propose(&handle, 1, id).await;
    }
    assert_eq!(handle.status().snapshot_index, None);
    open.send(()).expect("awaited");
    keeper.join().expect("ends");
    asked.await.expect("ends").expect("a snapshot");
    assert_eq!(handle.status().snapshot_index, Some(before));
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founding_that_was_cut_short_is_taken_up_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    let cluster = node.handle().status().cluster_id;
    node.shutdown().await.expect("stops");
    std::fs::remove_file(dir.path().join("identity")).expect("removes");
    let config = Config::new(dir.path());
    let got = Node::start(config, Counter::default(), false).await.map(|_| ());
    assert_eq!(got, Err(StartError::NotInitialised { dir: dir.path().into() }));
    let node = start(dir.path()).await;
    assert_eq!(node.handle().status().cluster_id, cluster);
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_can_be_started_and_used_from_any_task() {
    fn sendable<T: Send + Sync + Clone>(_: &T) {}
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config::new(dir.path());
    let task = tokio::spawn(async move {
        let node = Node::start(config, Counter::default(), true).await.expect("starts");
        sendable(&node.handle());
        sendable(&node.handle().journal());
        node.handle().propose(add(1, 1), DEADLINE).await.expect("commits");
        node.shutdown().await.expect("stops");
    });
    task.await.expect("ends");
}
