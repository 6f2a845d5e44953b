//! How many proposals a node takes a second, against what the disk alone would allow, and how
//! long a node takes to open again.
//!
//! `cargo bench -p authrai-cluster --bench proposals`. `AUTHRAI_BENCH_DIR` chooses the disk,
//! `AUTHRAI_BENCH_EVENTS` how many events the reopening is measured with.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use authrai_cluster::{Applied, Config, Handle, Machine, Node, Record, Stamp, Undecodable};

const ROUND: Duration = Duration::from_secs(4);
const DEADLINE: Duration = Duration::from_secs(60);
const COMMAND_BYTES: usize = 200;
const RECORD_BYTES: usize = 300;
const FILL_DIR: &str = "AUTHRAI_BENCH_FILL_DIR";
const EVENTS: &str = "AUTHRAI_BENCH_EVENTS";

/// Writes one record a command and keeps nothing else.
#[derive(Default)]
struct Recorder {
    head: u64,
}

impl Machine for Recorder {
    type Command = Vec<u8>;
    type Reply = u64;
    type Frozen = u64;

    fn encode_command(command: &Vec<u8>) -> Vec<u8> {
        command.clone()
    }

    fn decode_command(bytes: &[u8]) -> Result<Vec<u8>, Undecodable> {
        Ok(bytes.to_vec())
    }

    fn encode_reply(reply: &u64) -> Vec<u8> {
        reply.to_le_bytes().to_vec()
    }

    fn decode_reply(bytes: &[u8]) -> Result<u64, Undecodable> {
        let bytes = bytes.try_into().map_err(|_| Undecodable("size".into()))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn apply(&mut self, stamp: Stamp, _command: Vec<u8>) -> Applied<u64> {
        self.head += 1;
        let record = Record {
            chain: b"events".to_vec(),
            seq: self.head,
            tags: vec![
                format!("agent-{}", stamp.index % 1000).into_bytes(),
                format!("kind-{}", stamp.index % 20).into_bytes(),
            ],
            bytes: vec![7; RECORD_BYTES],
        };
        Applied { reply: self.head, records: vec![record] }
    }

    fn publish(&mut self, _index: u64) {}

    fn freeze(&self) -> u64 {
        self.head
    }

    fn write_snapshot(head: &u64, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&head.to_le_bytes())
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), Undecodable> {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes).map_err(|e| Undecodable(e.to_string()))?;
        self.head = u64::from_le_bytes(bytes);
        Ok(())
    }

    fn heads(&self) -> Vec<(Vec<u8>, u64)> {
        vec![(b"events".to_vec(), self.head)]
    }
}

/// Entries a second that one thread appends to a plain file, syncing each batch.
fn raw(dir: &Path, batch: usize) -> f64 {
    let mut file = File::create(dir.join("raw")).expect("creates");
    let bytes = vec![7; batch * COMMAND_BYTES];
    let (begun, mut entries) = (Instant::now(), 0);
    while begun.elapsed() < ROUND / 2 {
        file.write_all(&bytes).expect("writes");
        file.sync_data().expect("syncs");
        entries += batch;
    }
    entries as f64 / begun.elapsed().as_secs_f64()
}

/// Proposes with `writers` at once for one round; the rate, and the time of the median proposal
/// and of the slowest hundredth.
async fn proposals(handle: &Handle<Recorder>, writers: usize, until: u64) -> (f64, [Duration; 2]) {
    let (begun, done) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let tasks = (0..writers).map(|_| {
        let (handle, done) = (handle.clone(), done.clone());
        tokio::spawn(async move {
            let mut times = Vec::new();
            while done.fetch_add(1, Ordering::Relaxed) < until
                && (until < u64::MAX || begun.elapsed() < ROUND)
            {
                let asked = Instant::now();
                handle.propose(vec![7; COMMAND_BYTES], DEADLINE).await.expect("commits");
                times.push(asked.elapsed());
            }
            times
        })
    });
    let mut times = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        times.extend(task.await.expect("ends"));
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    (rate, [times[times.len() / 2], times[times.len() * 99 / 100]])
}

async fn start(dir: &Path) -> Node<Recorder> {
    let node = Node::start(Config::new(dir), Recorder::default(), true).await.expect("starts");
    node.handle().ready().await;
    node
}

/// The child that fills a store and ends without a word.
async fn fill(dir: &Path, events: u64) {
    let node = start(dir).await;
    let (rate, _) = proposals(&node.handle(), 1024, events).await;
    println!("filled with {events} events at {rate:.0}/s");
    std::process::abort();
}

async fn reopen(dir: &Path, events: u64) {
    let status = Command::new(std::env::current_exe().expect("known"))
        .env(FILL_DIR, dir)
        .env(EVENTS, events.to_string())
        .status()
        .expect("starts");
    assert!(!status.success(), "it aborts");
    for after in ["an abort", "a shutdown"] {
        let begun = Instant::now();
        let node = start(dir).await;
        let status = node.handle().status();
        println!(
            "{events} events, {} MiB: ready {:.2?} after {after}",
            status.store_bytes >> 20,
            begun.elapsed()
        );
        let (journal, head) = (node.handle().journal(), events);
        let begun = Instant::now();
        let count = journal.count(b"events", b"kind-3").expect("counts");
        let counted = begun.elapsed();
        let page = journal.seqs(b"events", b"kind-3", 0, count / 2, 100).expect("finds");
        let found = begun.elapsed() - counted;
        let begun = Instant::now();
        let read = journal.read(b"events", head / 2, 100, 1 << 20).expect("reads");
        println!(
            "count of {count} in {counted:.1?}, page of {} from the middle in {found:.1?}, {} \
             records in {:.1?}",
            page.len(),
            read.len(),
            begun.elapsed()
        );
        node.shutdown().await.expect("stops");
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let events = std::env::var(EVENTS).map_or(200_000, |n| n.parse().expect("a number"));
    if let Ok(dir) = std::env::var(FILL_DIR) {
        return runtime.block_on(fill(Path::new(&dir), events));
    }
    let base = std::env::var("AUTHRAI_BENCH_DIR").unwrap_or_else(|_| ".".into());
    let dir = tempfile::tempdir_in(base).expect("a directory");
    for batch in [1, 16, 256] {
        println!("raw append and fdatasync, {batch:>4} a batch: {:>8.0}/s", raw(dir.path(), batch));
    }
    runtime.block_on(async {
        let node = start(&dir.path().join("rates")).await;
        for writers in [1, 16, 256, 1024, 4096] {
            let (rate, [median, slow]) = proposals(&node.handle(), writers, u64::MAX).await;
            println!("{writers:>5} writers: {rate:>8.0}/s, median {median:.1?}, 99 % {slow:.1?}");
        }
        node.shutdown().await.expect("stops");
        reopen(&dir.path().join("reopen"), events).await;
    });
}
