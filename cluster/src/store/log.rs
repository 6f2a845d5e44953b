//! The replicated log, as the consensus engine sees it.
//!
//! An entry can be read as soon as it is appended; [`super::writer`] makes it durable later. The
//! newest entries stay in memory, older ones are read back from their rows. Must not know what
//! the commands in it mean.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftLogReader};

use super::ballot::Ballot;
use super::log_rows::{check_follows, decode_row, read_rows};
use super::mark::Mark;
use super::renewal;
use super::stripe::Rows;
use super::writer::{Job, WriterHandle};
use super::{Store, keys, stored};
use crate::error::{Fatal, StartError, What};
use crate::fatal::FatalCell;
use crate::limits::{LOG_CACHE_MAX_BYTES, LOG_READ_MAX_BYTES, LOG_READ_MAX_ENTRIES};
use crate::types::{Entry, LogId, Proposed, TypeConfig, Vote};

/// Rough cost of an entry besides its command.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// What the log, its readers and its writer share.
pub(crate) struct LogShared {
    pub store: Arc<Store>,
    pub fatal: FatalCell,
    state: Mutex<State>,
    last_index: AtomicU64,
}

/// What is kept of the log outside the store.
pub(crate) struct Outside {
    pub mark: Mark,
    pub ballot: Ballot,
    /// What the store knows that the mark says at least.
    pub known: u64,
    /// That it does not.
    pub stale: Option<Fatal>,
}

struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// The first entry that was there when the log was opened.
    opened_at: Option<u64>,
    /// The newest entries, without gaps, up to `last`.
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    /// Entries below are in the store.
    persisted: u64,
}

impl State {
    /// The index of the first entry in memory, or the one after the last.
    fn cache_first(&self) -> u64 {
        match self.cache.front() {
            Some(entry) => entry.log_id.index(),
            None => next_index(self.last.as_ref()),
        }
    }

    fn push(&mut self, entry: Entry) {
        self.cache_bytes += entry_bytes(&entry);
        self.last = Some(entry.log_id);
        self.cache.push_back(entry);
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.cache.pop_front() {
            self.cache_bytes -= entry_bytes(&entry);
        }
    }

    /// Lets go of the oldest entries that the store holds.
    fn evict(&mut self) {
        while self.cache_bytes > LOG_CACHE_MAX_BYTES && self.cache_first() < self.persisted {
            self.pop_front();
        }
    }
}

impl LogShared {
    /// Reads the log that `store` holds, checking every row.
    pub(crate) fn open(
        data_dir: &Path,
        store: Arc<Store>,
        fatal: FatalCell,
    ) -> Result<(LogShared, Outside), StartError> {
        let mut mark = Mark::open(data_dir)?;
        let mut state = store
            .with(|trees| read_state(trees, mark.next()))
            .map_err(|e| StartError::fatal(data_dir, e))?;
        let (ballot, vote) = Ballot::open(data_dir, state.vote)?;
        // A store that holds neither vote nor entry, and lost none, has answered for no vote: a first
        // start that was cut short between the two copies begins again.
        if state.vote.is_some() || state.last.is_some() || renewal::under_way(data_dir) {
            state.vote = vote;
        }
        let known = store.with(read_marked).map_err(|e| StartError::fatal(data_dir, e))?;
        let stale = match mark.check(known) {
            // Whoever votes alone can have it from nobody, and the log may well be whole.
            Err(fatal) if ballot.others().is_empty() => Some(fatal),
            checked => checked.map(|()| None).map_err(|e| StartError::fatal(data_dir, e))?,
        };
        let last_index = AtomicU64::new(state.last.map_or(0, |id| id.index()));
        Ok((
            LogShared { store, fatal, state: Mutex::new(state), last_index },
            Outside { mark, ballot, known, stale },
        ))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries below `next` have reached the store.
    pub(crate) fn persisted(&self, next: u64) {
        let mut state = self.state();
        state.persisted = state.persisted.max(next);
        state.evict();
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.last_index.load(Ordering::Acquire)
    }

    pub(crate) fn committed(&self) -> Option<LogId> {
        self.state().committed
    }

    pub(crate) fn purged(&self) -> Option<LogId> {
        self.state().purged
    }

    pub(crate) fn opened_at(&self) -> Option<u64> {
        self.state().opened_at
    }

    fn set_last(&self, state: &mut State, last: Option<LogId>) {
        state.last = last;
        self.last_index.store(last.map_or(0, |id| id.index()), Ordering::Release);
    }

    /// The entries of `start..end` that the log contains.
    fn read(&self, start: u64, end: u64) -> Result<Vec<Entry>, Fatal> {
        let (start, stored_end, newest) = {
            let state = self.state();
            let start = start.max(next_index(state.purged.as_ref()));
            let end = end.min(next_index(state.last.as_ref()));
            let first = state.cache_first();
            let newest = state.cache.iter().skip(start.saturating_sub(first) as usize);
            let newest = newest.take_while(|e| e.log_id.index() < end).cloned();
            (start, end.min(first), newest.collect::<Vec<_>>())
        };
        if start >= stored_end {
            return Ok(newest);
        }
        let mut entries = self.store.with(|trees| {
            read_rows(&Rows { tree: &trees.log, what: What::Log }, start, stored_end)
        })?;
        let expected = stored_end - start;
        let purged = next_index(self.state().purged.as_ref());
        if (entries.len() as u64) < expected
            && purged <= start
            && !self.starts_later(&entries, start)
        {
            return Err(Fatal::damaged(
                What::Log,
                format!("index {}", start + entries.len() as u64),
                "an entry is missing",
            ));
        }
        entries.extend(newest);
        Ok(entries)
    }

    /// A log may begin anywhere, if nothing was purged from it.
    fn starts_later(&self, entries: &[Entry], start: u64) -> bool {
        self.state().purged.is_none() && entries.first().is_none_or(|e| e.log_id.index() > start)
    }
}

fn next_index(id: Option<&LogId>) -> u64 {
    id.map_or(0, |id| id.index() + 1)
}

/// Memory that an entry takes, roughly.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    ENTRY_OVERHEAD_BYTES
        + match &entry.payload {
            EntryPayload::Normal(Proposed::Command(command)) => command.bytes.len(),
            EntryPayload::Normal(Proposed::Barrier { .. } | Proposed::Level(_))
            | EntryPayload::Blank
            | EntryPayload::Membership(_) => 0,
        }
}

/// Reads and checks everything that makes up a log; `synced` is the index after the last entry
/// that is known to have been synced.
fn read_state(trees: &super::Trees, synced: u64) -> Result<State, Fatal> {
    let mut state = read_marks(trees)?;
    read_entries(trees, &mut state)?;
    state.persisted = next_index(state.last.as_ref());
    if state.persisted < synced {
        let synced = synced - 1;
        let detail = format!("it ends there, although entries up to index {synced} were synced");
        let place = format!("index {}", state.persisted);
        return Err(Fatal::damaged(What::Log, place, detail));
    }
    Ok(state)
}

/// What the mark's file is known to hold at least.
fn read_marked(trees: &super::Trees) -> Result<u64, Fatal> {
    let bytes = trees.meta.get(keys::MARKED);
    let bytes = bytes.map_err(|e| Fatal::sled(What::Mark, "reading a mark", e))?;
    bytes.map_or(Ok(0), |bytes| {
        stored::decode_index(&bytes).map_err(|e| Fatal::codec(What::Mark, "the store", e))
    })
}

fn read_marks(trees: &super::Trees) -> Result<State, Fatal> {
    let get = |tree: &super::disk::Tree, key: &[u8]| {
        tree.get(key).map_err(|e| Fatal::sled(What::Mark, "reading a mark", e))
    };
    let mark = |e| Fatal::codec(What::Mark, "the store", e);
    let id = |bytes: Option<sled::IVec>| match bytes {
        Some(bytes) => stored::decode_log_id(&bytes).map_err(mark),
        None => Ok(None),
    };
    let vote = get(&trees.meta, keys::VOTE)?;
    let purged = id(get(&trees.log, keys::PURGED)?)?;
    Ok(State {
        vote: vote.map(|bytes| stored::decode_vote(&bytes).map_err(mark)).transpose()?,
        committed: id(get(&trees.meta, keys::COMMITTED)?)?,
        purged,
        last: purged,
        opened_at: None,
        cache: VecDeque::new(),
        cache_bytes: 0,
        // Everything that is read here came from the store.
        persisted: u64::MAX,
    })
}

fn read_entries(trees: &super::Trees, state: &mut State) -> Result<(), Fatal> {
    let rows = Rows { tree: &trees.log, what: What::Log };
    let first = next_index(state.purged.as_ref());
    let mut previous: Option<Entry> = None;
    for row in rows.from(&keys::log_row(0), &keys::after(&keys::log_row(u64::MAX))) {
        let (key, row) = row?;
        for entry in decode_row(&key, &row)? {
            check_follows(previous.as_ref(), &entry)?;
            previous = Some(entry.clone());
            let index = entry.log_id.index();
            if index < first {
                continue;
            }
            if state.opened_at.is_none() && state.purged.is_some() && index > first {
                let place = format!("index {first}");
                return Err(Fatal::damaged(What::Log, place, "an entry is missing"));
            }
            state.opened_at.get_or_insert(index);
            state.push(entry);
            state.evict();
        }
    }
    Ok(())
}

/// The log, as the engine writes and reads it.
#[derive(Clone)]
pub(crate) struct Log {
    pub shared: Arc<LogShared>,
    pub writer: WriterHandle,
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(n) => *n,
            Bound::Excluded(n) => n.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(n) => n.saturating_add(1),
            Bound::Excluded(n) => *n,
            Bound::Unbounded => u64::MAX,
        };
        Ok(self.shared.fatal.check(self.shared.read(start, end))?)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let end = end.min(start.saturating_add(LOG_READ_MAX_ENTRIES));
        let mut entries = self.try_get_log_entries(start..end).await?;
        // At least one, so that replication goes on; it fits a message, as a command is bounded.
        let mut bytes = 0;
        let fits = entries.iter().take_while(|entry| {
            bytes += entry_bytes(entry);
            bytes <= LOG_READ_MAX_BYTES
        });
        let fits = fits.count().max(1);
        entries.truncate(fits);
        Ok(entries)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared.state().vote)
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let state = self.shared.state();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = *vote;
        self.writer.ask(|done| Job::Vote { vote, done }).await?;
        self.shared.state().vote = Some(vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.shared.state().committed = committed;
        self.writer.send(Job::Committed(committed));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.shared.committed())
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect::<Vec<_>>();
        let mut state = self.shared.state();
        for entry in &entries {
            let next = next_index(state.last.as_ref());
            if state.last.is_some() && entry.log_id.index() != next {
                let gap = format!("entry {} appended where {next} comes next", entry.log_id);
                return Err(io::Error::other(gap));
            }
            state.push(entry.clone());
        }
        let last = state.last;
        self.shared.set_last(&mut state, last);
        // Under the lock, so that the queue has the order of the log.
        self.writer.send(Job::Append { entries, done });
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = next_index(last.as_ref());
        {
            let mut state = self.shared.state();
            if next_index(state.last.as_ref()) <= from {
                return Ok(());
            }
            while state.cache.back().is_some_and(|e| e.log_id.index() >= from) {
                if let Some(entry) = state.cache.pop_back() {
                    state.cache_bytes -= entry_bytes(&entry);
                }
            }
            state.persisted = state.persisted.min(from);
            self.shared.set_last(&mut state, last);
        }
        Ok(self.writer.ask(|done| Job::Truncate { from, done }).await?)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        {
            let mut state = self.shared.state();
            if state.purged.is_some_and(|purged| purged >= upto) {
                return Ok(());
            }
            state.purged = Some(upto);
            while state.cache_first() <= upto.index() && !state.cache.is_empty() {
                state.pop_front();
            }
            if state.last.is_none_or(|last| last.index() <= upto.index()) {
                self.shared.set_last(&mut state, Some(upto));
            }
        }
        Ok(self.writer.ask(|done| Job::Purge { upto, done }).await?)
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
