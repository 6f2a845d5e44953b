//! The rows that log entries are kept in: from entries to rows and back, each checked.
//!
//! A row holds entries that follow one another, under the index of the first. Must not know which
//! of them still count: that is for the log.

use super::disk::Batch;
use super::frame::{self, Place, RowBuilder, RowError, framed_len_bytes};
use super::stripe::{self, Rows};
use super::{keys, stored};
use crate::error::{Fatal, What};
use crate::limits::{LOG_ROW_MAX_BYTES, LOG_ROW_MAX_ENTRIES};
use crate::types::Entry;

/// What checksums of log rows begin with.
const PLACE: &[u8] = b"log";

/// Puts `entries`, which follow one another, into as few rows as the bounds allow.
pub(crate) fn put_rows<'a>(
    batch: &mut Batch,
    entries: impl Iterator<Item = &'a Entry>,
) -> Result<(), Fatal> {
    let mut row: Option<(u64, RowBuilder)> = None;
    let mut finish = |(first, row): (u64, RowBuilder)| {
        stripe::put(batch, &keys::log_row(first), &row.finish());
    };
    for entry in entries {
        let index = entry.log_id.index();
        let payload = stored::encode_entry(entry)
            .map_err(|e| Fatal::codec(What::Log, format!("index {index}"), e))?;
        let full = |row: &RowBuilder| {
            row.count() == LOG_ROW_MAX_ENTRIES
                || row.len_bytes() + framed_len_bytes(payload.len()) > LOG_ROW_MAX_BYTES
        };
        if row.as_ref().is_some_and(|(_, row)| full(row)) {
            row.take().map(&mut finish);
        }
        row.get_or_insert_with(|| (index, RowBuilder::new(Place::new(PLACE, index))))
            .1
            .push(&payload);
    }
    row.map(finish);
    Ok(())
}

/// The index of the first entry of the row under `key`.
pub(crate) fn row_first(key: &[u8]) -> Result<u64, Fatal> {
    keys::log_row_first(key).ok_or_else(|| {
        Fatal::damaged(What::Log, format!("row {}", key.escape_ascii()), "an unknown key")
    })
}

/// Names the entry of the row under `key` that `error` is about.
pub(crate) fn row_error(key: &[u8], error: RowError) -> Fatal {
    let first = match row_first(key) {
        Ok(first) => first,
        Err(fatal) => return fatal,
    };
    match error {
        RowError::Version { found, supported } => {
            Fatal::Version { what: What::Log, place: format!("index {first}"), found, supported }
        }
        RowError::Damaged { nth, detail } => {
            Fatal::damaged(What::Log, format!("index {}", first + nth.unwrap_or(0)), detail)
        }
    }
}

/// The entries of one row.
pub(crate) fn decode_row(key: &[u8], row: &[u8]) -> Result<Vec<Entry>, Fatal> {
    let first = row_first(key)?;
    let place = Place::new(PLACE, first);
    let mut entries = Vec::new();
    for (payload, index) in frame::records(&place, row).zip(first..) {
        let payload = payload.map_err(|e| row_error(key, e))?;
        let at = || format!("index {index}");
        let entry = stored::decode_entry(payload).map_err(|e| Fatal::codec(What::Log, at(), e))?;
        if entry.log_id.index() != index {
            return Err(Fatal::damaged(What::Log, at(), "an entry of another index"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The entries of `start..end` that are in rows.
pub(crate) fn read_rows(rows: &Rows<'_>, start: u64, end: u64) -> Result<Vec<Entry>, Fatal> {
    let low = keys::log_row(0);
    let from = rows.last_up_to(&low, &keys::log_row(start))?.map_or(low, |(key, _)| key);
    let mut entries: Vec<Entry> = Vec::new();
    for row in rows.from(&from, &keys::log_row(end)) {
        let (key, row) = row?;
        for entry in decode_row(&key, &row)? {
            if (start..end).contains(&entry.log_id.index()) {
                check_follows(entries.last(), &entry)?;
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}

/// Checks that `entry` comes right after `last`.
pub(crate) fn check_follows(last: Option<&Entry>, entry: &Entry) -> Result<(), Fatal> {
    match last {
        Some(last) if last.log_id.index() + 1 != entry.log_id.index() => Err(Fatal::damaged(
            What::Log,
            format!("index {}", last.log_id.index() + 1),
            "an entry is missing",
        )),
        _ => Ok(()),
    }
}
