//! The journal: append-only chains of records that the machine writes and does not keep.
//!
//! Records are in the store, and can be read, as soon as they are applied; the writer's next sync
//! makes them durable. After a restart the machine writes again what the log holds: a record that
//! equals the one that is there is a no-op, one that differs is fatal. Rows hold the records of
//! one batch and never cross a block of 4,096 positions, so that a start scans the last block of
//! each chain and nothing else. Must not know what records mean.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use sled::Batch;
use tokio::sync::watch;

use super::apply::Progress;
use super::frame::{self, Place, RowBuilder, framed_len_bytes};
use super::journal_rows::{StoredRecord, encode_record, parse, put_row, row_error, rows, scan};
use super::postings::{Lists, OpenBlock, block_of, completes_block, first_of};
use super::stripe::Rows;
use super::{Store, Trees, keys};
use crate::Record;
use crate::error::{Fatal, JournalError, What};
use crate::limits::{
    CHAIN_KEY_MAX_BYTES, JOURNAL_READ_MAX_RECORDS, JOURNAL_ROW_MAX_BYTES, JOURNAL_SEQS_MAX,
    RECORD_MAX_BYTES, RECORD_TAGS_MAX, TAG_MAX_BYTES,
};

/// What is known of a chain without reading it.
#[derive(Default)]
struct Chain {
    head: u64,
    open: OpenBlock,
}

/// The journal, as the node keeps it.
pub(crate) struct JournalShared {
    store: Arc<Store>,
    chains: RwLock<BTreeMap<Vec<u8>, Chain>>,
}

impl JournalShared {
    /// Finds every chain's head and rebuilds what is known of its last block.
    pub(crate) fn open(store: Arc<Store>) -> Result<JournalShared, Fatal> {
        let chains = store.with(|trees| {
            let mut chains = BTreeMap::new();
            let (mut cursor, end) = keys::journal_rows();
            while let Some(key) = rows(trees).first_key(&cursor, &end)? {
                let (name, _) = parse(&key)?;
                cursor = keys::after(&keys::chain(name));
                chains.insert(name.to_vec(), open_chain(trees, name)?);
            }
            Ok(chains)
        })?;
        Ok(JournalShared { store, chains: RwLock::new(chains) })
    }

    fn chains(&self) -> RwLockReadGuard<'_, BTreeMap<Vec<u8>, Chain>> {
        self.chains.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn head(&self, chain: &[u8]) -> u64 {
        self.chains().get(chain).map_or(0, |c| c.head)
    }

    /// Inserts what one batch of entries wrote.
    pub(crate) fn append(&self, records: Vec<Record>) -> Result<(), Fatal> {
        if records.is_empty() {
            return Ok(());
        }
        let mut by_chain: BTreeMap<Vec<u8>, Vec<Record>> = BTreeMap::new();
        for record in records {
            check_limits(&record)?;
            by_chain.entry(record.chain.clone()).or_default().push(record);
        }
        let mut chains = self.chains.write().unwrap_or_else(PoisonError::into_inner);
        self.store.with(|trees| {
            let mut batch = Batch::default();
            let mut heads = Vec::new();
            for (name, records) in by_chain {
                let chain = chains.entry(name.clone()).or_default();
                let fresh = check_replayed(trees, &name, chain.head, records)?;
                let head = append_chain(trees, &name, chain, fresh, &mut batch)?;
                heads.push((name, head));
            }
            trees
                .journal
                .apply_batch(batch)
                .map_err(|e| Fatal::sled(What::Journal, "appending to the journal", e))?;
            for (name, head) in heads {
                chains.entry(name).or_default().head = head;
            }
            Ok(())
        })
    }

    fn read(
        &self,
        chain: &[u8],
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, JournalError> {
        let (from, max) = (from.max(1), max_records.min(JOURNAL_READ_MAX_RECORDS));
        let head = self.head(chain);
        if from > head || max == 0 {
            return Ok(Vec::new());
        }
        let mut records = Vec::new();
        let mut bytes = 0;
        let scanned = self.store.with(|trees| {
            Ok(scan(trees, chain, from, head, |seq, record| {
                bytes += record.bytes.len();
                if !records.is_empty() && bytes > max_bytes {
                    return ControlFlow::Break(());
                }
                records.push((seq, record.bytes));
                if records.len() == max {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            }))
        });
        match scanned {
            Err(fatal) => Err(JournalError::at(chain, from, fatal)),
            Ok(Err(unread)) => Err(JournalError::at(chain, unread.seq, unread.fatal)),
            Ok(Ok(())) => Ok(records),
        }
    }

    /// Runs `f` over the lists of `tag` in `chain`, which do not change meanwhile.
    fn lists<T: Default>(
        &self,
        chain: &[u8],
        tag: &[u8],
        f: impl FnOnce(&Lists<'_>, &OpenBlock, u64) -> Result<T, Fatal>,
    ) -> Result<T, JournalError> {
        let chains = self.chains();
        let Some(state) = chains.get(chain) else {
            return Ok(T::default());
        };
        if tag.len() > TAG_MAX_BYTES {
            return Ok(T::default());
        }
        self.store
            .with(|trees| {
                let rows = Rows { tree: &trees.journal, what: What::Postings };
                f(&Lists { rows, chain, tag }, &state.open, state.head)
            })
            .map_err(|fatal| JournalError::at(chain, 0, fatal))
    }

    /// For the background check: the rows of the journal's tree from `cursor` on, as they are.
    pub(crate) fn with_rows<T>(
        &self,
        f: impl FnOnce(Rows<'_>) -> Result<T, Fatal>,
    ) -> Result<T, Fatal> {
        self.store.with(|trees| f(rows(trees)))
    }
}

/// Checks the newest row of `chain` and everything in its last block.
fn open_chain(trees: &Trees, name: &[u8]) -> Result<Chain, Fatal> {
    let Some((key, row)) = rows(trees).last_of(&keys::chain(name))? else {
        return Ok(Chain::default());
    };
    let (_, first) = parse(&key)?;
    let count = frame::count(&row).map_err(|e| row_error(name, first, e).1)?;
    let head = first + count - 1;
    let block = block_of(head);
    let mut open = OpenBlock::default();
    scan(trees, name, first_of(block), head, |seq, record| {
        open.push(seq, &record.tags);
        ControlFlow::Continue(())
    })
    .map_err(|unread| unread.fatal)?;
    if completes_block(head) {
        open = OpenBlock::default();
    }
    Ok(Chain { head, open })
}

fn check_limits(record: &Record) -> Result<(), Fatal> {
    let detail = if record.chain.len() > CHAIN_KEY_MAX_BYTES {
        format!("a chain key of {} bytes", record.chain.len())
    } else if record.bytes.len() > RECORD_MAX_BYTES {
        format!("{} bytes", record.bytes.len())
    } else if record.tags.len() > RECORD_TAGS_MAX {
        format!("{} tags", record.tags.len())
    } else if let Some(tag) = record.tags.iter().find(|t| t.len() > TAG_MAX_BYTES) {
        format!("a tag of {} bytes", tag.len())
    } else {
        return Ok(());
    };
    let chain = record.chain.escape_ascii().to_string();
    Err(Fatal::RecordTooLarge { chain, seq: record.seq, detail })
}

/// Compares records up to `head` with those that are there, and returns the others.
fn check_replayed(
    trees: &Trees,
    chain: &[u8],
    head: u64,
    records: Vec<Record>,
) -> Result<Vec<Record>, Fatal> {
    let name = || chain.escape_ascii().to_string();
    let (replayed, fresh): (Vec<_>, Vec<_>) = records.into_iter().partition(|r| r.seq <= head);
    let mut expected = fresh.iter().zip(head + 1..);
    if let Some((record, expected)) = expected.find(|(record, expected)| record.seq != *expected) {
        return Err(Fatal::JournalGap { chain: name(), expected, found: record.seq });
    }
    let (Some(first), Some(last)) = (replayed.first(), replayed.last()) else {
        return Ok(fresh);
    };
    if first.seq == 0 {
        return Err(Fatal::JournalGap { chain: name(), expected: 1, found: 0 });
    }
    let (first, last) = (first.seq, last.seq);
    let mut replayed = replayed.into_iter().peekable();
    let mut rewritten = None;
    scan(trees, chain, first, last.max(first), |seq, there| {
        let same = replayed.next().is_some_and(|again| {
            again.seq == seq && again.tags == there.tags && again.bytes == there.bytes
        });
        if same && replayed.peek().is_some() {
            return ControlFlow::Continue(());
        }
        rewritten = (!same).then_some(seq);
        ControlFlow::Break(())
    })
    .map_err(|unread| unread.fatal)?;
    match rewritten {
        Some(seq) => Err(Fatal::JournalRewritten { chain: name(), seq }),
        None => Ok(fresh),
    }
}

/// Puts `records` into `batch` as rows, with the posting lists of every block that they complete.
/// Returns the new head.
fn append_chain(
    trees: &Trees,
    name: &[u8],
    chain: &mut Chain,
    records: Vec<Record>,
    batch: &mut Batch,
) -> Result<u64, Fatal> {
    let mut head = chain.head;
    let mut row: Option<(u64, RowBuilder)> = None;
    for record in records {
        head = record.seq;
        chain.open.push(head, &record.tags);
        let stored = StoredRecord { tags: record.tags, bytes: record.bytes };
        let payload = encode_record(name, head, &stored)?;
        let full = |row: &RowBuilder| {
            row.len_bytes() + framed_len_bytes(payload.len()) > JOURNAL_ROW_MAX_BYTES
        };
        if row.as_ref().is_some_and(|(_, row)| full(row)) {
            put_row(batch, name, row.take());
        }
        row.get_or_insert_with(|| (head, RowBuilder::new(Place::new(name, head)))).1.push(&payload);
        if completes_block(head) {
            put_row(batch, name, row.take());
            chain.open.seal(rows(trees), name, block_of(head), batch)?;
        }
    }
    put_row(batch, name, row);
    Ok(head)
}

/// Reads the journal. Clones share it; after a shutdown every read answers
/// [`JournalError::Closed`].
#[derive(Clone)]
pub struct Journal {
    shared: Arc<JournalShared>,
    progress: Arc<Progress>,
}

impl Journal {
    pub(crate) fn new(shared: Arc<JournalShared>, progress: Arc<Progress>) -> Journal {
        Journal { shared, progress }
    }

    /// The chains that hold at least one record, in order.
    pub fn chains(&self) -> Vec<Vec<u8>> {
        self.shared.chains().iter().filter(|(_, c)| c.head > 0).map(|(k, _)| k.clone()).collect()
    }

    /// The position of the last record of `chain`, 0 if it has none.
    pub fn head(&self, chain: &[u8]) -> u64 {
        self.shared.head(chain)
    }

    /// Records of `chain` from `from_seq` on, at most `max_records` and about `max_bytes`, but at
    /// least one if there is one. Each is checked; a damaged one is an error, never left out.
    pub fn read(
        &self,
        chain: &[u8],
        from_seq: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, JournalError> {
        self.shared.read(chain, from_seq, max_records, max_bytes)
    }

    /// How many records of `chain` carry `tag`.
    pub fn count(&self, chain: &[u8], tag: &[u8]) -> Result<u64, JournalError> {
        self.shared.lists(chain, tag, |lists, open, _| lists.count(open))
    }

    /// Positions of records of `chain` that carry `tag`: those after `after`, without the first
    /// `skip` of them, at most `limit`. Its cost does not grow with `skip`.
    pub fn seqs(
        &self,
        chain: &[u8],
        tag: &[u8],
        after: u64,
        skip: u64,
        limit: usize,
    ) -> Result<Vec<u64>, JournalError> {
        let limit = limit.min(JOURNAL_SEQS_MAX);
        self.shared
            .lists(chain, tag, |lists, open, head| lists.seqs(open, head, after, skip, limit))
    }

    /// Changes whenever more has been published, and so perhaps written here.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
