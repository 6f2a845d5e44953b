//! A node as its callers see it: start, propose, wait, snapshot, stop, start again.

mod support;
mod toy;

use std::time::{Duration, Instant};

use authrai_cluster::{
    Config, Fatal, JournalError, Node, ProposeError, Role, StartError, Unavailable, limits,
};
use support::{DEADLINE, hold, propose, snapshot_files, start, tamper, try_start, until};
use toy::{Command, Counter, add, record_bytes};

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
    tamper(dir.path(), "log", |tree| {
        let rows = tree.scan_prefix(b"e").count();
        assert!(rows < 250, "they share rows, and so syncs: {rows}");
    });
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
async fn a_command_that_would_not_read_back_is_refused_and_nothing_is_appended() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path()).await;
    let last = node.handle().last_log_index();
    let refused = node.handle().propose(Command::Unreadable, DEADLINE).await;
    let detail = "an unknown command".to_owned();
    assert_eq!(refused, Err(ProposeError::Unreadable { detail }));
    assert_eq!(node.handle().last_log_index(), last);
    assert!(node.handle().propose(add(1, 1), DEADLINE).await.is_ok());
    node.shutdown().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_that_timed_out_has_an_unknown_outcome_and_may_yet_take_effect() {
    let dir = tempfile::tempdir().expect("a directory");
    let counter = Counter::default();
    let gate = counter.gate.clone();
    let node = Node::start(Config::new(dir.path()), counter, true).await.expect("starts");
    let handle = node.handle();
    handle.ready().await;
    let held = hold(gate).await;
    assert_eq!(
        handle.propose(Command::Gated { id: 1 }, Duration::from_millis(50)).await,
        Err(ProposeError::OutcomeUnknown)
    );
    let last = handle.last_log_index();
    assert_eq!(
        handle.wait_applied(last, Duration::from_millis(50)).await,
        Err(Unavailable::Timeout)
    );
    assert_eq!(handle.journal().head(&[0]), 0);
    drop(held);
    assert_eq!(handle.wait_applied(last, DEADLINE).await, Ok(()));
    assert_eq!(handle.journal().head(&[0]), 1);
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
async fn a_write_right_after_a_start_waits_until_the_node_knows_that_it_leads() {
    // Many at once, so that some lead before they have noticed it.
    let starting = (0..24).map(|_| {
        tokio::spawn(async {
            let dir = tempfile::tempdir().expect("a directory");
            let node = try_start(Config::new(dir.path()), 0).await.expect("starts");
            let handle = node.handle();
            let writing = (0..100).map(|id| {
                let handle = handle.clone();
                tokio::spawn(async move { propose(&handle, 1, id).await })
            });
            for written in writing.collect::<Vec<_>>() {
                written.await.expect("commits");
            }
            node.shutdown().await.expect("stops");
        })
    });
    for started in starting.collect::<Vec<_>>() {
        started.await.expect("writes");
    }
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
    let held = hold(gate).await;
    let asking = handle.clone();
    let asked = tokio::spawn(async move { asking.snapshot_now().await });
    let writing =
        || snapshot_files(dir.path()).iter().any(|p| p.extension() == Some("writing".as_ref()));
    until("a snapshot begins", writing).await;
    for id in 1..20 {
        propose(&handle, 1, id).await;
    }
    assert_eq!(handle.status().snapshot_index, None);
    drop(held);
    asked.await.expect("ends").expect("a snapshot");
    assert_eq!(handle.status().snapshot_index, Some(before));
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
