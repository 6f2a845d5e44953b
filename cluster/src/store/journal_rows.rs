//! The rows that journal records are kept in: reading and checking them.
//!
//! A row holds records of one chain that follow one another, under the chain's key and the
//! position of the first. Must not know where a chain ends, or what records mean.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::disk::Batch;
use super::frame::{self, Place, RowBuilder, RowError};
use super::stripe::{self, Rows};
use super::{Trees, keys};
use crate::codec;
use crate::error::{Fatal, What};

const VERSION: u8 = 1;

/// A record as it is stored.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredRecord {
    pub tags: Vec<Vec<u8>>,
    #[serde(with = "codec::bytes")]
    pub bytes: Vec<u8>,
}

/// The first record of a chain that could not be read, and why.
pub(crate) struct Unread {
    pub seq: u64,
    pub fatal: Fatal,
}

/// The rows of the journal's tree.
pub(crate) fn rows(trees: &Trees) -> Rows<'_> {
    Rows { tree: &trees.journal, what: What::Journal }
}

/// Names the record that is damaged.
pub(crate) fn damaged(chain: &[u8], seq: u64, detail: &str) -> Fatal {
    Fatal::damaged(What::Journal, place(chain, seq), detail)
}

/// How a record is named to people.
pub(crate) fn place(chain: &[u8], seq: u64) -> String {
    format!("chain {}, record {seq}", chain.escape_ascii())
}

/// The position that `error` is about in a row that begins at `first`, and the error.
pub(crate) fn row_error(chain: &[u8], first: u64, error: RowError) -> (u64, Fatal) {
    match error {
        RowError::Version { found, supported } => {
            let place = place(chain, first);
            (first, Fatal::Version { what: What::Journal, place, found, supported })
        }
        RowError::Damaged { nth, detail } => {
            let seq = first + nth.unwrap_or(0);
            (seq, damaged(chain, seq, detail))
        }
    }
}

/// The chain and first position of the row under `key`.
pub(crate) fn parse(key: &[u8]) -> Result<(&[u8], u64), Fatal> {
    keys::parse_journal_row(key).ok_or_else(|| {
        Fatal::damaged(What::Journal, format!("row {}", key.escape_ascii()), "an unknown key")
    })
}

/// A walk over the records of a chain that follow one another, row by row.
pub(crate) struct Scan<'a, V> {
    pub chain: &'a [u8],
    /// The next position; rows may begin before it.
    pub next: u64,
    /// The last position wanted.
    pub last: u64,
    /// Has enough when it breaks.
    pub visit: V,
}

impl<V: FnMut(u64, StoredRecord) -> ControlFlow<()>> Scan<'_, V> {
    /// Visits what is wanted of a row that begins with record `first`, checking each record.
    /// Breaks when there is enough.
    pub(crate) fn row(&mut self, first: u64, row: &[u8]) -> Result<ControlFlow<()>, Unread> {
        if first > self.next {
            return Err(self.missing());
        }
        let place = Place::new(self.chain, first);
        for (payload, seq) in frame::records(&place, row).zip(first..) {
            let record = payload
                .map_err(|e| row_error(self.chain, first, e))
                .and_then(|p| decode_record(self.chain, seq, p).map_err(|fatal| (seq, fatal)))
                .map_err(|(seq, fatal)| Unread { seq, fatal })?;
            if seq < self.next {
                continue;
            }
            self.next = seq + 1;
            if (self.visit)(seq, record).is_break() || seq == self.last {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The next record is not there.
    pub(crate) fn missing(&self) -> Unread {
        Unread { seq: self.next, fatal: damaged(self.chain, self.next, "it is missing") }
    }

    /// The next record cannot be read.
    pub(crate) fn unread(&self, fatal: Fatal) -> Unread {
        Unread { seq: self.next, fatal }
    }

    /// Visits what the store holds, which is everything from the next record on.
    pub(crate) fn store(&mut self, trees: &Trees) -> Result<(), Unread> {
        let rows = rows(trees);
        let low = keys::chain(self.chain);
        let start = rows
            .last_up_to(&low, &keys::journal_row(self.chain, self.next))
            .map_err(|fatal| self.unread(fatal))?
            .map_or(low.clone(), |(key, _)| key);
        for row in rows.from(&start, &keys::after(&low)) {
            let (key, row) = row.map_err(|fatal| self.unread(fatal))?;
            let (_, first) = parse(&key).map_err(|fatal| self.unread(fatal))?;
            if self.row(first, &row)?.is_break() {
                return Ok(());
            }
        }
        Err(self.missing())
    }
}

/// Checks the row that begins with record `first`, where `expected` should. Returns the position
/// after its last record.
pub(crate) fn check_row(chain: &[u8], first: u64, expected: u64, row: &[u8]) -> Result<u64, Fatal> {
    if first != expected {
        let detail = "records are missing or out of place";
        return Err(damaged(chain, expected.min(first), detail));
    }
    let place = Place::new(chain, first);
    let mut next = first;
    for record in frame::records(&place, row) {
        record.map_err(|e| row_error(chain, first, e).1)?;
        next += 1;
    }
    Ok(next)
}

/// The stored form of a record.
pub(crate) fn encode_record(
    chain: &[u8],
    seq: u64,
    record: &StoredRecord,
) -> Result<Vec<u8>, Fatal> {
    codec::encode(VERSION, record).map_err(|e| Fatal::codec(What::Journal, place(chain, seq), e))
}

/// Reads a record back.
pub(crate) fn decode_record(chain: &[u8], seq: u64, payload: &[u8]) -> Result<StoredRecord, Fatal> {
    codec::decode(VERSION, payload).map_err(|e| Fatal::codec(What::Journal, place(chain, seq), e))
}

/// Puts a finished row, if there is one, into `batch`.
pub(crate) fn put_row(batch: &mut Batch, chain: &[u8], row: Option<(u64, RowBuilder)>) {
    if let Some((first, row)) = row {
        stripe::put(batch, &keys::journal_row(chain, first), &row.finish());
    }
}
