//! The journal: append-only chains of records that the machine writes and does not keep.
//!
//! Records are in the store, and can be read, as soon as they are applied; the writer's next sync
//! makes them durable. After a restart the machine writes again what the log holds: a record that
//! equals the one that is there is a no-op, one that differs is fatal. Rows hold the records of
//! one batch and never cross a block of 4,096 positions, so that a start scans the last block of
//! each chain and nothing else. All but the newest complete block are moved from the store into
//! [`segments`](super::segments). Must not know what records mean.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow, Range};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::watch;

use super::apply::Progress;
use super::archive::{self, Bell};
use super::disk::Batch;
use super::frame::{self, Place, RowBuilder, framed_len_bytes};
use super::journal_rows::{
    Scan, StoredRecord, Unread, encode_record, parse, put_row, row_error, rows,
};
use super::postings::{Lists, OpenBlock, block_of, completes_block, first_of};
use super::segments::Segments;
use super::stripe::Rows;
use super::{Store, Trees, keys};
use crate::Record;
use crate::damage::DamageCell;
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
    pub(super) store: Arc<Store>,
    segments: Segments,
    chains: RwLock<BTreeMap<Vec<u8>, Chain>>,
    /// How many blocks of each chain, from the first on, are in segments; left out if none is.
    /// Held for reading while record rows are read, and for writing while some are taken out of
    /// the store. Locked before `chains`.
    archived: RwLock<Archived>,
    /// Rings when a block is complete.
    pub bell: Bell,
    /// Where damage is told of that reads and the background check find.
    pub damage: DamageCell,
}

pub(crate) type Archived = BTreeMap<Vec<u8>, u64>;

impl Drop for JournalShared {
    fn drop(&mut self) {
        self.bell.stop();
    }
}

impl JournalShared {
    /// Finds every chain's head and rebuilds what is known of its last block.
    pub(crate) fn open(store: Arc<Store>, segments: Segments) -> Result<JournalShared, Fatal> {
        let (mut chains, mut archived) = (BTreeMap::new(), Archived::new());
        store.with(|trees| {
            let (mut cursor, end) = keys::journal_rows();
            while let Some(key) = rows(trees).first_key(&cursor, &end)? {
                let (name, first) = parse(&key)?;
                cursor = keys::after(&keys::chain(name));
                if block_of(first) > 0 {
                    archived.insert(name.to_vec(), block_of(first));
                }
                chains.insert(name.to_vec(), open_chain(trees, name)?);
            }
            Ok(())
        })?;
        let (chains, archived) = (RwLock::new(chains), RwLock::new(archived));
        let (bell, damage) = (Bell::default(), DamageCell::new());
        Ok(JournalShared { store, segments, chains, archived, bell, damage })
    }

    fn archived(&self) -> RwLockReadGuard<'_, Archived> {
        self.archived.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blocks of each chain that belong into segments and are not there yet.
    pub(crate) fn due(&self) -> Vec<(Vec<u8>, Range<u64>)> {
        let archived = self.archived();
        let chains = self.chains();
        let blocks = chains.iter().map(|(name, chain)| {
            let done = archived.get(name).copied().unwrap_or(0);
            (name.clone(), done..archive::due(chain.head))
        });
        blocks.filter(|(_, blocks)| !blocks.is_empty()).collect()
    }

    /// Moves `block` of `chain`, the first that is not in a segment, into one.
    pub(crate) fn archive(&self, chain: &[u8], block: u64) -> Result<(), Fatal> {
        self.store.with(|trees| {
            let rows = archive::copy(trees, &self.segments, chain, block)?;
            let mut archived = self.archived.write().unwrap_or_else(PoisonError::into_inner);
            trees
                .journal
                .apply_batch(rows)
                .map_err(|e| Fatal::sled(What::Journal, "removing archived rows", e))?;
            archived.insert(chain.to_vec(), block + 1);
            Ok(())
        })
    }

    /// Puts a segment with `records` in the place of that of `block`, which is damaged.
    pub(crate) fn replace_block(
        &self,
        chain: &[u8],
        block: u64,
        records: Vec<Record>,
    ) -> Result<(), Fatal> {
        let mut draft = self.segments.create(chain, block, "mended.tmp")?;
        for record in records {
            check_limits(&record)?;
            let stored = StoredRecord { tags: record.tags, bytes: record.bytes };
            draft.push(record.seq, &encode_record(chain, record.seq, &stored)?)?;
        }
        draft.finish()
    }

    /// Visits the records `from..=last` of `chain`, checking each, until `visit` has enough.
    fn scan(
        &self,
        trees: &Trees,
        archived: &Archived,
        chain: &[u8],
        from: u64,
        last: u64,
        visit: impl FnMut(u64, StoredRecord) -> ControlFlow<()>,
    ) -> Result<(), Unread> {
        let mut scan = Scan { chain, next: from, last, visit };
        for block in block_of(from)..archived.get(chain).copied().unwrap_or(0) {
            let segment = self.segments.read(chain, block).map_err(|fatal| scan.unread(fatal))?;
            for row in segment.rows(scan.next) {
                let (first, row) = row.map_err(|fatal| scan.unread(fatal))?;
                if scan.row(first, &row)?.is_break() {
                    return Ok(());
                }
            }
        }
        scan.store(trees)
    }

    fn chains(&self) -> RwLockReadGuard<'_, BTreeMap<Vec<u8>, Chain>> {
        self.chains.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn head(&self, chain: &[u8]) -> u64 {
        self.chains().get(chain).map_or(0, |c| c.head)
    }

    /// At most `max` chains that come after `after`, with their heads.
    pub(crate) fn heads_after(&self, after: &[u8], max: usize) -> Vec<(Vec<u8>, u64)> {
        let chains = self.chains();
        let later = chains.range::<[u8], _>((Bound::Excluded(after), Bound::Unbounded));
        let held = later.filter(|(_, chain)| chain.head > 0);
        held.take(max).map(|(name, chain)| (name.clone(), chain.head)).collect()
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
        let archived = self.archived();
        let mut chains = self.chains.write().unwrap_or_else(PoisonError::into_inner);
        let mut completed = false;
        self.store.with(|trees| {
            let mut batch = Batch::default();
            let mut heads = Vec::new();
            for (name, records) in by_chain {
                let chain = chains.entry(name.clone()).or_default();
                let (replayed, fresh) = part(&name, chain.head, records)?;
                self.check_replayed(trees, &archived, &name, replayed)?;
                let head = append_chain(trees, &name, chain, fresh, &mut batch)?;
                completed |= archive::due(head) > archive::due(chain.head);
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
        })?;
        if completed {
            self.bell.ring();
        }
        Ok(())
    }

    /// Compares `records` with those that are there.
    fn check_replayed(
        &self,
        trees: &Trees,
        archived: &Archived,
        chain: &[u8],
        records: Vec<Record>,
    ) -> Result<(), Fatal> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Ok(());
        };
        let (first, last) = (first.seq, last.seq);
        let mut records = records.into_iter();
        let mut rewritten = None;
        let visit = |seq, there: StoredRecord| {
            let same = records.next().is_some_and(|again| {
                again.seq == seq && again.tags == there.tags && again.bytes == there.bytes
            });
            if same {
                return ControlFlow::Continue(());
            }
            rewritten = Some(seq);
            ControlFlow::Break(())
        };
        self.scan(trees, archived, chain, first, last, visit).map_err(|unread| unread.fatal)?;
        match rewritten {
            Some(seq) => {
                Err(Fatal::JournalRewritten { chain: chain.escape_ascii().to_string(), seq })
            }
            None => Ok(()),
        }
    }

    fn read(
        &self,
        chain: &[u8],
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, JournalError> {
        let records = self.read_records(chain, from, max_records, max_bytes)?;
        Ok(records.into_iter().map(|record| (record.seq, record.bytes)).collect())
    }

    /// Records with their tags: see [`Journal::read`].
    pub(crate) fn read_records(
        &self,
        chain: &[u8],
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, JournalError> {
        let (from, max) = (from.max(1), max_records.min(JOURNAL_READ_MAX_RECORDS));
        let head = self.head(chain);
        if from > head || max == 0 {
            return Ok(Vec::new());
        }
        let mut records = Vec::new();
        let mut bytes = 0;
        let visit = |seq, record: StoredRecord| {
            bytes += record.bytes.len();
            if !records.is_empty() && bytes > max_bytes {
                return ControlFlow::Break(());
            }
            let StoredRecord { tags, bytes } = record;
            records.push(Record { chain: chain.to_vec(), seq, tags, bytes });
            if records.len() == max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let archived = self.archived();
        let scanned =
            self.store.with(|trees| Ok(self.scan(trees, &archived, chain, from, head, visit)));
        match scanned {
            Err(fatal) => {
                self.damage.found(&fatal, None);
                Err(JournalError::at(chain, from, fatal))
            }
            Ok(Err(unread)) => {
                let block = block_of(unread.seq);
                let sealed = archived.get(chain).is_some_and(|archived| block < *archived);
                self.damage.found(&unread.fatal, sealed.then(|| (chain.to_vec(), block)));
                Err(JournalError::at(chain, unread.seq, unread.fatal))
            }
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
            .map_err(|fatal| {
                self.damage.found(&fatal, None);
                JournalError::at(chain, 0, fatal)
            })
    }

    /// For the background check: runs `f` on the journal's tree, the segments, and how many there
    /// are of each chain, none of which move meanwhile.
    pub(crate) fn with_parts<T>(
        &self,
        f: impl FnOnce(Rows<'_>, &Segments, &Archived) -> Result<T, Fatal>,
    ) -> Result<T, Fatal> {
        let archived = self.archived();
        self.store.with(|trees| f(rows(trees), &self.segments, &archived))
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
    let visit = |seq, record: StoredRecord| {
        open.push(seq, &record.tags);
        ControlFlow::Continue(())
    };
    let mut scan = Scan { chain: name, next: first_of(block), last: head, visit };
    scan.store(trees).map_err(|unread| unread.fatal)?;
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

/// The first of `records`, at most about `max_bytes` with their tags and what frames them, but at
/// least one: what fits a message. Tags may be longer than the record itself.
pub(crate) fn within(mut records: Vec<Record>, max_bytes: usize) -> Vec<Record> {
    const LENGTH_BYTES: usize = 10;
    let mut bytes = 0;
    let fits = records.iter().take_while(|record| {
        bytes += record.bytes.len() + 2 * LENGTH_BYTES;
        bytes += record.tags.iter().map(|tag| tag.len() + LENGTH_BYTES).sum::<usize>();
        bytes <= max_bytes
    });
    let fits = fits.count().max(1);
    records.truncate(fits);
    records
}

/// Parts `records` into those up to `head` and those after it, which must follow without a gap.
fn part(
    chain: &[u8],
    head: u64,
    records: Vec<Record>,
) -> Result<(Vec<Record>, Vec<Record>), Fatal> {
    let gap = |expected, found| {
        Err(Fatal::JournalGap { chain: chain.escape_ascii().to_string(), expected, found })
    };
    let (replayed, fresh): (Vec<_>, Vec<_>) = records.into_iter().partition(|r| r.seq <= head);
    let mut expected = fresh.iter().zip(head + 1..);
    if let Some((record, expected)) = expected.find(|(record, expected)| record.seq != *expected) {
        return gap(expected, record.seq);
    }
    if replayed.iter().any(|r| r.seq == 0) {
        return gap(1, 0);
    }
    Ok((replayed, fresh))
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
