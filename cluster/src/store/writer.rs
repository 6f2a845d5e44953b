//! The one thread that makes things durable, in the order in which they were asked for.
//!
//! It drains its queue, writes what it found, syncs once, and only then tells anyone: many
//! proposals share one sync. What was drained of log entries goes into one row, or as few as the
//! bounds allow. After a failure it never writes
//! or syncs again: what the disk holds is then unknown, and the node must stop.
//!
//! Because the store recovers a prefix of what was written to it, whatever was written before a
//! job, the journal's rows included, is durable once that job is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use openraft::storage::IOFlushed;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::ballot::Ballot;
use super::disk::Batch;
use super::log::{LogShared, Outside};
use super::mark::Mark;
use super::stripe::Rows;
use super::{frame, keys, log_rows, panic_message, stored};
use crate::error::{Fatal, What};
use crate::limits::{WRITER_DRAIN_MAX_BYTES, WRITER_DRAIN_MAX_JOBS};
use crate::runtime::Worker;
use crate::types::{Entry, LogId, TypeConfig, Vote};

type Done = oneshot::Sender<Result<(), Fatal>>;

/// What can be asked of the writer.
pub(crate) enum Job {
    Append {
        entries: Vec<Entry>,
        done: IOFlushed<TypeConfig>,
    },
    Vote {
        vote: Vote,
        done: Done,
    },
    /// Needs no sync of its own: it is a lower bound, and never passes the entries before it.
    Committed(Option<LogId>),
    /// Entries from this index on are taken back.
    Truncate {
        from: u64,
        done: Done,
    },
    /// The other voters, and where they are reached.
    Others(Vec<(u64, String)>),
    Purge {
        upto: LogId,
        done: Done,
    },
    /// Done when everything that was in the store at the time of asking is durable.
    Barrier(Done),
    Stop,
}

/// Puts jobs into the writer's queue.
#[derive(Clone)]
pub(crate) struct WriterHandle(UnboundedSender<Job>);

impl WriterHandle {
    /// Asks without waiting. A writer that is gone answers by dropping what the job carries.
    pub(crate) fn send(&self, job: Job) {
        if let Err(unsent) = self.0.send(job)
            && let Job::Append { done, .. } = unsent.0
        {
            done.io_completed(Err(Fatal::Closed.into()));
        }
    }

    /// Asks and waits until it is durable.
    pub(crate) async fn ask(&self, job: impl FnOnce(Done) -> Job) -> Result<(), Fatal> {
        let (done, result) = oneshot::channel();
        self.send(job(done));
        result.await.unwrap_or(Err(Fatal::Closed))
    }
}

/// Starts the writer of `log`.
pub(crate) fn spawn(log: Arc<LogShared>, outside: Outside) -> (WriterHandle, Worker) {
    let (sender, queue) = unbounded_channel();
    let Outside { mark, ballot, known, .. } = outside;
    let writer = Writer { log, mark, ballot, known, kept: false, broken: None };
    #[cfg(test)]
    if crate::sim::runs() {
        let task = crate::runtime::spawn(writer.run_simulated(queue));
        return (WriterHandle(sender), Worker::Task(task));
    }
    (WriterHandle(sender), Worker::thread(move || writer.run(queue)))
}

struct Writer {
    log: Arc<LogShared>,
    mark: Mark,
    ballot: Ballot,
    /// What the store knows that the mark says at least.
    known: u64,
    /// Whether it was told in this run.
    kept: bool,
    broken: Option<Fatal>,
}

impl Writer {
    fn run(mut self, mut queue: UnboundedReceiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            if self.turn(first, &mut queue) {
                return;
            }
        }
    }

    /// The same on a disk that takes its time.
    #[cfg(test)]
    async fn run_simulated(mut self, mut queue: UnboundedReceiver<Job>) {
        while let Some(first) = queue.recv().await {
            crate::sim::disk_takes_its_time().await;
            if self.turn(first, &mut queue) {
                return;
            }
        }
    }

    /// Does `first` and what waits behind it; whether that was all.
    fn turn(&mut self, first: Job, queue: &mut UnboundedReceiver<Job>) -> bool {
        let (jobs, stop) = drain(queue, first);
        let result = match &self.broken {
            Some(fatal) => Err(fatal.clone()),
            None => self.write_guarded(&jobs),
        };
        if let Err(fatal) = &result {
            self.log.fatal.fail(fatal.clone());
            self.broken = Some(fatal.clone());
        }
        for job in jobs {
            answer(job, &result);
        }
        stop
    }

    /// The store underneath panics on some errors of the disk.
    fn write_guarded(&mut self, jobs: &[Job]) -> Result<(), Fatal> {
        catch_unwind(AssertUnwindSafe(|| self.write(jobs))).unwrap_or_else(|panic| {
            Err(Fatal::disk("writing to the store", &std::io::Error::other(panic_message(&*panic))))
        })
    }

    fn write(&mut self, jobs: &[Job]) -> Result<(), Fatal> {
        let mut appended: Vec<&Entry> = Vec::new();
        let mut committed = None;
        let mut next = None;
        let mut needs_sync = false;
        for job in jobs {
            match job {
                Job::Append { entries, .. } => {
                    appended.extend(entries);
                    needs_sync |= !entries.is_empty();
                    continue;
                }
                // Being a lower bound it may wait, so that it parts no entries into two rows.
                Job::Committed(id) => {
                    committed = Some(*id);
                    continue;
                }
                _ => {}
            }
            // Whatever else there is keeps its place among the entries.
            needs_sync = true;
            next = self.append(&mut appended)?.or(next);
            match job {
                Job::Vote { vote, .. } => {
                    self.ballot.keep_vote(vote)?;
                    self.put_meta(keys::VOTE, stored::encode_vote(vote))?;
                }
                Job::Others(others) => self.ballot.keep_others(others.clone())?,
                Job::Truncate { from, .. } => {
                    self.truncate(*from)?;
                    next = None;
                }
                Job::Purge { upto, .. } => self.purge(upto)?,
                _ => {}
            }
        }
        next = self.append(&mut appended)?.or(next);
        if let Some(id) = committed {
            self.put_meta(keys::COMMITTED, stored::encode_log_id(id.as_ref()))?;
        }
        if needs_sync {
            if !std::mem::replace(&mut self.kept, true) {
                self.keep_mark()?;
            }
            self.log.store.sync()?;
        }
        if let Some(next) = next {
            self.mark.advance(next)?;
            self.log.persisted(next);
        }
        Ok(())
    }

    /// Once in a run, and at each purge, the store is told what the mark says.
    fn keep_mark(&mut self) -> Result<(), Fatal> {
        if let Some(known) = self.mark.keep()? {
            self.put_meta(keys::MARKED, stored::encode_index(known))?;
            self.known = known;
        }
        Ok(())
    }

    /// Writes `entries` as rows in one batch and clears them. Returns the index after the last.
    fn append(&self, entries: &mut Vec<&Entry>) -> Result<Option<u64>, Fatal> {
        let Some(last) = entries.last() else {
            return Ok(None);
        };
        let next = last.log_id.index() + 1;
        let mut batch = Batch::default();
        log_rows::put_rows(&mut batch, entries.iter().copied())?;
        entries.clear();
        self.apply(batch, "appending to the log")?;
        Ok(Some(next))
    }

    /// Removes the entries from `from` on; a row that `from` falls into is written anew.
    fn truncate(&mut self, from: u64) -> Result<(), Fatal> {
        if from < self.known {
            // Before the mark goes back, or a crash in between would make it look too old.
            self.put_meta(keys::MARKED, stored::encode_index(from))?;
            self.log.store.sync()?;
            self.known = from;
        }
        self.mark.retreat(from)?;
        let batch = self.log.store.with(|trees| {
            let rows = Rows { tree: &trees.log, what: What::Log };
            let mut batch = Batch::default();
            if let Some((key, row)) = rows.last_up_to(&keys::log_row(0), &keys::log_row(from))? {
                let entries = log_rows::decode_row(&key, &row)?;
                let kept = entries.iter().filter(|e| e.log_id.index() < from).collect::<Vec<_>>();
                if kept.len() < entries.len() {
                    rows.remove(&mut batch, &key)?;
                    log_rows::put_rows(&mut batch, kept.into_iter())?;
                }
            }
            for row in rows.from(&keys::log_row(from), &keys::after(&keys::log_row(u64::MAX))) {
                rows.remove(&mut batch, &row?.0)?;
            }
            Ok(batch)
        })?;
        self.apply(batch, "truncating the log")
    }

    /// Removes the rows that end at `upto` or below, and remembers `upto` in the same batch. What
    /// remains below it of the row that `upto` falls into is not read any more.
    fn purge(&mut self, upto: &LogId) -> Result<(), Fatal> {
        self.keep_mark()?;
        // What a purge takes away is what the journal's rows could be made from again.
        self.log.store.sync()?;
        let batch = self.log.store.with(|trees| {
            let rows = Rows { tree: &trees.log, what: What::Log };
            let mut batch = Batch::default();
            let end = keys::after(&keys::log_row(upto.index()));
            for row in rows.from(&keys::log_row(0), &end) {
                let (key, row) = row?;
                let count = frame::count(&row).map_err(|e| log_rows::row_error(&key, e))?;
                let first = log_rows::row_first(&key)?;
                if first + count <= upto.index() + 1 {
                    rows.remove(&mut batch, &key)?;
                }
            }
            let mark = stored::encode_log_id(Some(upto));
            batch.insert(keys::PURGED, mark.map_err(|e| Fatal::codec(What::Mark, "purge", e))?);
            Ok(batch)
        })?;
        self.apply(batch, "purging the log")
    }

    fn apply(&self, batch: Batch, doing: &str) -> Result<(), Fatal> {
        self.log.store.with(|trees| {
            trees.log.apply_batch(batch).map_err(|e| Fatal::sled(What::Log, doing, e))
        })
    }

    fn put_meta(
        &self,
        key: &[u8],
        value: Result<Vec<u8>, crate::codec::CodecError>,
    ) -> Result<(), Fatal> {
        let value =
            value.map_err(|e| Fatal::codec(What::Mark, key.escape_ascii().to_string(), e))?;
        self.log.store.with(|trees| {
            trees
                .meta
                .insert(key, value)
                .map(|_| ())
                .map_err(|e| Fatal::sled(What::Mark, "writing a mark", e))
        })
    }
}

/// Takes what waits in the queue, within bounds.
fn drain(queue: &mut UnboundedReceiver<Job>, first: Job) -> (Vec<Job>, bool) {
    let mut jobs = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(job) = next {
        if matches!(job, Job::Stop) {
            return (jobs, true);
        }
        if let Job::Append { entries, .. } = &job {
            bytes += entries.iter().map(super::log::entry_bytes).sum::<usize>();
        }
        jobs.push(job);
        let more = jobs.len() < WRITER_DRAIN_MAX_JOBS && bytes < WRITER_DRAIN_MAX_BYTES;
        next = more.then(|| queue.try_recv().ok()).flatten();
    }
    (jobs, false)
}

fn answer(job: Job, result: &Result<(), Fatal>) {
    match job {
        Job::Append { done, .. } => done.io_completed(result.clone().map_err(Into::into)),
        Job::Vote { done, .. }
        | Job::Truncate { done, .. }
        | Job::Purge { done, .. }
        | Job::Barrier(done) => {
            // Whoever asked may have been cancelled; the job is done all the same.
            let _ = done.send(result.clone());
        }
        Job::Committed(_) | Job::Others(_) | Job::Stop => {}
    }
}
