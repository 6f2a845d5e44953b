//! What survives SIGKILL: everything that was acknowledged, and a store that opens.
//!
//! The test runs itself again as a child that proposes without pause and prints each write that
//! was acknowledged; the parent kills it at a random moment, opens what it left, and compares.

mod toy;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use authrai_cluster::{Config, Node};
use toy::{Counter, add};

const DIR: &str = "AUTHRAI_KILL_DIR";
const FIRST: &str = "AUTHRAI_KILL_FIRST_ID";
const CYCLES: &str = "AUTHRAI_KILL_CYCLES";
const DEADLINE: Duration = Duration::from_secs(30);
const WRITERS: u64 = 16;

fn config(dir: &str) -> Config {
    // Small, so that the kill also falls into snapshots and purges.
    Config { snapshot_every_entries: 150, log_keep_entries: 20, ..Config::new(dir) }
}

/// The child: proposes until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let first = std::env::var(FIRST).expect("set").parse::<u64>().expect("a number");
    let node = Node::start(config(&dir), Counter::default(), true).await.expect("starts");
    let (acknowledged, lines) = std::sync::mpsc::channel();
    for writer in 0..WRITERS {
        let (handle, acknowledged) = (node.handle(), acknowledged.clone());
        tokio::spawn(async move {
            for n in 0.. {
                let id = first + n * WRITERS + writer;
                if handle.propose(add((id % 3) as u8, id), DEADLINE).await.is_err() {
                    return;
                }
                acknowledged.send(id).expect("the printer lives");
            }
        });
    }
    let printer = std::thread::spawn(move || {
        let mut out = std::io::stdout().lock();
        for id in lines {
            writeln!(out, "acknowledged {id}").expect("the parent reads");
            out.flush().expect("the parent reads");
        }
    });
    let fatal = node.fatal().await;
    drop(printer);
    panic!("{fatal}");
}

/// Runs the child until it has acknowledged `after` writes, kills it, and returns what it
/// acknowledged.
fn run_and_kill(dir: &str, first: u64, after: usize, then: Duration) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().expect("known"))
        .args(["--exact", "child_that_is_killed", "--nocapture"])
        .env(DIR, dir)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut ids = Vec::new();
    let mut parse = |line: std::io::Result<String>| {
        // A line cut by the kill does not count as read.
        if let Some(id) = line.expect("reads").strip_prefix("acknowledged ")
            && let Ok(id) = id.parse()
        {
            ids.push(id);
        }
        ids.len()
    };
    while parse(lines.next().expect("the child lives")) < after {}
    // Not to wait for something, but to let the kill fall anywhere.
    std::thread::sleep(then);
    child.kill().expect("kills");
    child.wait().expect("ends");
    // The last line may have been cut short; an id cut short is some other, smaller id.
    let mut rest = lines.map(|l| l.expect("reads")).collect::<Vec<_>>();
    rest.pop();
    for line in rest {
        parse(Ok(line));
    }
    ids
}

/// Every id in the journal of the store that the child left.
async fn ids_in(dir: &str) -> BTreeSet<u64> {
    let node = Node::start(config(dir), Counter::default(), false).await.expect("opens");
    let handle = node.handle();
    tokio::time::timeout(DEADLINE, handle.ready()).await.expect("ready in time");
    let journal = handle.journal();
    let mut ids = BTreeSet::new();
    for chain in journal.chains() {
        let mut next = 1;
        while next <= journal.head(&chain) {
            let records = journal.read(&chain, next, 1000, 1 << 20).expect("reads");
            for (seq, bytes) in records {
                assert_eq!(seq, next, "no gaps");
                next += 1;
                let id = bytes.first_chunk().expect("an id");
                assert!(ids.insert(u64::from_le_bytes(*id)), "once");
            }
        }
    }
    node.shutdown().await.expect("stops");
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_however_often_it_is_killed() {
    if std::env::var(DIR).is_ok() {
        return;
    }
    let cycles = std::env::var(CYCLES).map_or(6, |n| n.parse::<u64>().expect("a number"));
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("a name").to_owned();
    let mut acknowledged = BTreeSet::new();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64 ^ u64::from(std::process::id());
    for cycle in 0..cycles {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (after, then) = ((random >> 40) % 300, (random >> 20) % 20_000);
        let (dir, first) = (path.clone(), cycle << 32);
        let ids = tokio::task::spawn_blocking(move || {
            run_and_kill(&dir, first, after as usize + 1, Duration::from_micros(then))
        });
        acknowledged.extend(ids.await.expect("ends"));
        let there = ids_in(&path).await;
        let lost = acknowledged.difference(&there).collect::<Vec<_>>();
        assert!(lost.is_empty(), "cycle {cycle}: lost {lost:?}");
    }
    println!("{cycles} kills, {} acknowledged writes, none lost", acknowledged.len());
}
