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
