//! The rows that journal records are kept in: reading and checking them.
//!
//! A row holds records of one chain that follow one another, under the chain's key and the
//! position of the first. Must not know where a chain ends, or what records mean.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use sled::Batch;

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

/// Visits the records `from..=head` of `chain`, checking each, until `visit` has enough.
pub(crate) fn scan(
    trees: &Trees,
    chain: &[u8],
    from: u64,
    head: u64,
    mut visit: impl FnMut(u64, StoredRecord) -> ControlFlow<()>,
) -> Result<(), Unread> {
    let rows = rows(trees);
    let low = keys::chain(chain);
    let start = rows
        .last_up_to(&low, &keys::journal_row(chain, from))
        .map_err(|fatal| Unread { seq: from, fatal })?
        .map_or(low.clone(), |(key, _)| key);
    let mut expected = from;
    for row in rows.from(&start, &keys::after(&low)) {
        let (key, row) = row.map_err(|fatal| Unread { seq: expected, fatal })?;
        let (_, first) = parse(&key).map_err(|fatal| Unread { seq: expected, fatal })?;
        if first > expected {
            break;
        }
        let place = Place::new(chain, first);
        for (payload, seq) in frame::records(&place, &row).zip(first..) {
            let record = payload
                .map_err(|e| row_error(chain, first, e))
                .and_then(|p| decode_record(chain, seq, p).map_err(|fatal| (seq, fatal)))
                .map_err(|(seq, fatal)| Unread { seq, fatal })?;
            if seq < expected {
                continue;
            }
            expected = seq + 1;
            if visit(seq, record).is_break() || seq == head {
                return Ok(());
            }
        }
    }
    Err(Unread { seq: expected, fatal: damaged(chain, expected, "it is missing") })
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
