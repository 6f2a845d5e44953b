//! What the tests of a whole node share.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::path::Path;
use std::time::{Duration, Instant};

use authrai_cluster::{Config, Handle, Node, StartError};

use crate::toy::{Counter, add};

/// How long anything may take that a test waits for.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Starts a node in `dir` and waits until it serves.
pub async fn start(dir: &Path) -> Node<Counter> {
    let node = try_start(Config::new(dir), 0).await.expect("starts");
    tokio::time::timeout(DEADLINE, node.handle().ready()).await.expect("ready in time");
    node
}

/// Starts a node whose machine writes `salt` into its records.
pub async fn try_start(config: Config, salt: u8) -> Result<Node<Counter>, StartError> {
    Node::start(config, Counter { salt, ..Counter::default() }, true).await
}

/// Proposes and expects an answer.
pub async fn propose(handle: &Handle<Counter>, chain: u8, id: u64) -> u64 {
    handle.propose(add(chain, id), DEADLINE).await.expect("commits").reply
}

/// Waits for `condition`, which must come true before the deadline.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "{what} in time");
        tokio::task::yield_now().await;
    }
}

/// The files in the directory of snapshots.
pub fn snapshot_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(dir.join("snapshots")).expect("a directory");
    files.map(|f| f.expect("reads").path()).collect()
}

/// Holds `gate` until what is returned is dropped.
pub async fn hold(gate: std::sync::Arc<std::sync::Mutex<()>>) -> std::sync::mpsc::Sender<()> {
    let (held, holding) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _held = gate.lock().expect("not poisoned");
        held.send(()).expect("awaited");
        // An error says that the other end is gone, which is the sign.
        let _ = released.recv();
    });
    holding.await.expect("held");
    release
}

/// Changes the trees of the store in `dir` behind the node's back.
pub fn tamper(dir: &Path, tree: &str, change: impl FnOnce(&sled::Tree)) {
    let config = sled::Config::new().path(dir.join("store")).segment_size(8 << 20);
    let db = config.open().expect("opens");
    change(&db.open_tree(tree).expect("opens"));
    db.flush().expect("flushes");
}

/// The `nth` key of `tree` that begins with `prefix`, counted from the end if negative.
pub fn nth_key(tree: &sled::Tree, prefix: u8, nth: isize) -> sled::IVec {
    let keys = tree.scan_prefix([prefix]).keys().map(|k| k.expect("reads")).collect::<Vec<_>>();
    keys[nth.rem_euclid(keys.len() as isize) as usize].clone()
}

/// Flips a bit of what `tree` holds under `key`.
pub fn flip_last_byte(tree: &sled::Tree, key: &[u8]) {
    let mut value = tree.get(key).expect("reads").expect("there").to_vec();
    *value.last_mut().expect("not empty") ^= 1;
    tree.insert(key, value).expect("writes");
}

/// Copies a directory with all that is in it.
pub fn copy_dir(from: &Path, to: &Path) {
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
