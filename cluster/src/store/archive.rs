//! Moving the journal's complete blocks out of the store, where every row that was ever read stays
//! in memory, into segments.
//!
//! The newest complete block of a chain stays in the store with the open one, so that the store
//! alone tells where a chain ends. A block is in a segment exactly when the store holds no row of
//! it: its rows go in one batch, once the segment is durable. A move that fails costs nothing, it
//! is tried again when the next block is complete. Must not know what records mean, or who reads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::oneshot;

use super::disk::Batch;
use super::frame::{self, Place};
use super::journal::JournalShared;
use super::journal_rows::{parse, row_error, rows};
use super::postings::first_of;
use super::segments::Segments;
use super::writer::{Job, WriterHandle};
use super::{Trees, keys};
use crate::error::Fatal;
use crate::limits::JOURNAL_BLOCK_RECORDS;
use crate::runtime::Worker;

/// How many blocks of a chain that ends at `head` belong into segments.
pub(crate) fn due(head: u64) -> u64 {
    (head / JOURNAL_BLOCK_RECORDS).saturating_sub(1)
}

/// Wakes the archive when a block is complete. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Bell(Arc<(Mutex<Rung>, Condvar)>);

#[derive(Default)]
struct Rung {
    rung: bool,
    stopped: bool,
}

impl Bell {
    fn state(&self) -> MutexGuard<'_, Rung> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ring(&self) {
        self.state().rung = true;
        self.0.1.notify_all();
    }

    /// Ends the archive after the block that it is at.
    pub(crate) fn stop(&self) {
        self.state().stopped = true;
        self.0.1.notify_all();
    }

    fn stopped(&self) -> bool {
        self.state().stopped
    }

    /// Waits until it rings, and says whether to go on.
    fn wait(&self) -> bool {
        let waited = self.0.1.wait_while(self.state(), |state| !state.rung && !state.stopped);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.rung = false;
        !state.stopped
    }
}

/// Begins to move the blocks of `journal`, for as long as someone else keeps it.
pub(crate) fn spawn(journal: &Arc<JournalShared>, writer: WriterHandle) -> Worker {
    let (bell, journal) = (journal.bell.clone(), Arc::downgrade(journal));
    // What a former run left.
    bell.ring();
    #[cfg(test)]
    if crate::sim::runs() {
        return Worker::Task(crate::runtime::spawn(run_simulated(journal, bell, writer)));
    }
    Worker::thread(move || run(&journal, &bell, &writer))
}

fn run(journal: &Weak<JournalShared>, bell: &Bell, writer: &WriterHandle) {
    while bell.wait() {
        let Some(journal) = journal.upgrade() else {
            return;
        };
        for (chain, blocks) in journal.due() {
            for block in blocks {
                if bell.stopped() {
                    return;
                }
                match barrier(writer).and_then(|()| journal.archive(&chain, block)) {
                    Ok(()) => {}
                    Err(Fatal::Closed) => return,
                    Err(error) => {
                        let chain = chain.escape_ascii().to_string();
                        tracing::error!(%error, chain, block, "a block stays in the store");
                        break;
                    }
                }
            }
        }
    }
}

/// The same as a task, which looks at the bell now and then.
#[cfg(test)]
async fn run_simulated(journal: Weak<JournalShared>, bell: Bell, writer: WriterHandle) {
    loop {
        crate::sim::disk_takes_its_time().await;
        if bell.stopped() {
            return;
        }
        if !std::mem::take(&mut bell.state().rung) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        }
        let Some(journal) = journal.upgrade() else { return };
        for (chain, blocks) in journal.due() {
            for block in blocks {
                let moved = writer.ask(Job::Barrier).await;
                if moved.and_then(|()| journal.archive(&chain, block)).is_err() {
                    break;
                }
            }
        }
    }
}

/// Waits until everything that the store holds is durable: a segment must never know of records
/// that the store may lose.
fn barrier(writer: &WriterHandle) -> Result<(), Fatal> {
    let (done, result) = oneshot::channel();
    writer.send(Job::Barrier(done));
    result.blocking_recv().unwrap_or(Err(Fatal::Closed))
}

/// Copies the rows of `block` into a segment, checking every record. Returns the batch that takes
/// them out of the store.
pub(crate) fn copy(
    trees: &Trees,
    segments: &Segments,
    chain: &[u8],
    block: u64,
) -> Result<Batch, Fatal> {
    let rows = rows(trees);
    let [from, end] = [block, block + 1].map(|b| keys::journal_row(chain, first_of(b)));
    let mut draft = segments.create(chain, block, "draft.tmp")?;
    let mut batch = Batch::default();
    for row in rows.from(&from, &end) {
        let (key, row) = row?;
        let (_, first) = parse(&key)?;
        let place = Place::new(chain, first);
        for (payload, seq) in frame::records(&place, &row).zip(first..) {
            draft.push(seq, payload.map_err(|e| row_error(chain, first, e).1)?)?;
        }
        rows.remove(&mut batch, &key)?;
    }
    draft.finish()?;
    Ok(batch)
}
