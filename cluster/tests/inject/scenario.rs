//! What a node does while its disk fails, and what must hold afterwards.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use authrai_cluster::backup::{RestoreError, restore};
use authrai_cluster::{Config, Handle, Node};

use crate::support::{DEADLINE, propose, until};
use crate::toy::{Counter, add};

/// Ids of the writes that a child makes begin here.
const FRESH: u64 = 1_000_000;
/// The id of the first command of a restored cluster.
const RESTORED: u64 = 900_000;
/// How many records the backup holds.
const BACKED_UP: u64 = 9_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// A node is founded, and writes.
    First,
    /// A node that has written starts, and writes.
    Start,
    /// It takes a snapshot and purges its log.
    Snapshot,
    /// It completes a block, so that the one before becomes a file.
    Segment,
    /// A new cluster is made from a backup.
    Restore,
}

const SCENARIOS: [Scenario; 5] =
    [Scenario::First, Scenario::Start, Scenario::Snapshot, Scenario::Segment, Scenario::Restore];

fn config(dir: &Path) -> Config {
    // A log that is not kept, so that a snapshot is followed by a purge.
    Config { log_keep_entries: 0, ..Config::new(dir) }
}

/// Writes `total` records into a new node, and stops it.
pub async fn write(dir: &Path, total: u64, snapshot: bool) {
    let node = Node::start(config(dir), Counter::default(), true).await.expect("starts");
    let handle = node.handle();
    let ids = (0..total).collect::<Vec<_>>();
    for some in ids.chunks(256) {
        let proposed = some.iter().map(|id| propose(&handle, 1, *id));
        futures_util::future::join_all(proposed).await;
    }
    if snapshot {
        handle.snapshot_now().await.expect("a snapshot");
    }
    node.shutdown().await.expect("stops");
}

fn backup_path() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("inject.backup")
}

/// Makes the backup that is restored.
pub async fn backup() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), BACKED_UP, false).await;
    let node = Node::start(config(dir.path()), Counter::default(), false).await.expect("starts");
    let mut backup = node.handle().backup("test".into(), DEADLINE).await.expect("begins");
    let mut bytes = Vec::new();
    while let Some(piece) = backup.next().await {
        bytes.extend(piece.expect("it is not broken off"));
    }
    std::fs::write(backup_path(), bytes).expect("writes");
    node.shutdown().await.expect("stops");
    dir
}

/// Restores the backup; whether there was nothing in the way.
fn restored(dir: &Path) -> bool {
    let from = std::fs::File::open(backup_path()).expect("opens");
    let restored = restore(&config(dir), Counter::default(), from, |_, _, _| Ok(add(0, RESTORED)));
    match restored {
        Ok(_) => true,
        Err(RestoreError::NotEmpty { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

/// What the child of [`crate::run`] does; nothing in any other process.
pub async fn child() {
    let Ok(wanted) = std::env::var("INJECT_SCENARIO") else { return };
    let scenario = SCENARIOS.into_iter().find(|scenario| format!("{scenario:?}") == wanted);
    let scenario = scenario.expect("known");
    let dir = PathBuf::from(std::env::var_os("INJECT_DIR").expect("set"));
    if scenario == Scenario::Restore {
        assert!(restored(&dir));
        return;
    }
    let found = scenario == Scenario::First;
    let node = Node::start(config(&dir), Counter::default(), found).await.expect("starts");
    let handle = node.handle();
    tokio::select! {
        () = act(scenario, &dir, &handle) => {}
        fatal = node.fatal() => panic!("{fatal}"),
    }
    node.shutdown().await.expect("stops");
}

async fn act(scenario: Scenario, dir: &Path, handle: &Handle<Counter>) {
    for id in FRESH..FRESH + 2 {
        acknowledged(handle, id).await;
    }
    match scenario {
        Scenario::Snapshot => {
            handle.snapshot_now().await.expect("a snapshot");
            until("the log is purged", || {
                handle.status().purged_index >= handle.status().snapshot_index
            })
            .await;
        }
        Scenario::Segment => {
            until("the block is sealed", || dir.join("journal/01-0000000000000000").exists()).await;
        }
        Scenario::First | Scenario::Start | Scenario::Restore => {}
    }
    for id in FRESH + 2..FRESH + 4 {
        acknowledged(handle, id).await;
    }
}

async fn acknowledged(handle: &Handle<Counter>, id: u64) {
    handle.propose(add(1, id), DEADLINE).await.expect("commits");
    let mut out = std::io::stdout().lock();
    writeln!(out, "acknowledged {id} .").expect("the parent reads");
    out.flush().expect("the parent reads");
}

/// Starts what `scenario` left in `dir`, without a fault: nothing is refused, and nothing is lost that
/// was there before or acknowledged.
pub async fn check(scenario: Scenario, dir: &Path, acknowledged: &[u64]) {
    if scenario == Scenario::Restore {
        let dir = dir.to_owned();
        tokio::task::spawn_blocking(move || restored(&dir)).await.expect("restores");
    }
    let found = scenario == Scenario::First;
    let node = Node::start(config(dir), Counter::default(), found).await.expect("starts again");
    let handle = node.handle();
    tokio::time::timeout(DEADLINE, handle.ready()).await.expect("ready in time");
    let ids = ids(&handle);
    for id in acknowledged {
        assert!(ids.contains(id), "{id} was acknowledged");
    }
    let before = match scenario {
        Scenario::First => 0,
        Scenario::Start | Scenario::Snapshot => 300,
        Scenario::Segment => 2 * 4_096 - 2,
        Scenario::Restore => BACKED_UP,
    };
    assert_eq!(ids.range(..RESTORED).count() as u64, before, "what was there is there");
    assert_eq!(ids.contains(&RESTORED), scenario == Scenario::Restore);
    handle.propose(add(1, 2 * FRESH), DEADLINE).await.expect("commits");
    handle.snapshot_now().await.expect("a snapshot");
    node.shutdown().await.expect("stops");
}

/// The ids of everything in the journal.
fn ids(handle: &Handle<Counter>) -> BTreeSet<u64> {
    let journal = handle.journal();
    let mut ids = BTreeSet::new();
    for chain in journal.chains() {
        let mut next = 1;
        while next <= journal.head(&chain) {
            for (seq, bytes) in journal.read(&chain, next, 1_000, 1 << 20).expect("reads") {
                assert_eq!(seq, next, "no gaps");
                next += 1;
                let id = bytes.first_chunk().expect("an id");
                assert!(ids.insert(u64::from_le_bytes(*id)), "once");
            }
        }
    }
    ids
}
