//! Exports: every match of a filter as one CSV or JSON document, a piece at a time.
//!
//! The head is fixed when an export starts. An event stands in full, with `prev_hash` and `hash`,
//! so that an export of a whole chain can be checked by itself (see [`super::offline`]). JSON has no
//! white space between its parts, so that no byte of it is without meaning. Must not know HTTP.

use super::{
    offline::Format,
    query::{Filter, Next, Search},
    record::Entry,
    source::{AuditError, Chain},
    table,
};
use crate::limits::{AUDIT_CHUNK_MAX_BYTES, AUDIT_CHUNK_MAX_RECORDS, AUDIT_SCAN_MAX_RECORDS};

/// An export in progress.
pub struct Export {
    search: Search,
    format: Format,
    head: u64,
    /// Records that a piece reads at most.
    reads_max: u64,
    progress: Progress,
}

#[derive(PartialEq)]
enum Progress {
    Start,
    Rows,
    Done,
}

impl Export {
    /// The export of what matches `filter` now.
    pub fn new(chain: Chain, filter: &Filter, format: Format) -> Result<Self, AuditError> {
        let head = chain.head();
        let search = Search::new(chain, filter, head)?;
        let reads_max = match filter.needs_reading() {
            true => AUDIT_SCAN_MAX_RECORDS,
            false => AUDIT_CHUNK_MAX_RECORDS as u64,
        };
        Ok(Self { search, format, head, reads_max, progress: Progress::Start })
    }

    /// Records that a piece reads at most.
    pub const fn reads_max(&self) -> u64 {
        self.reads_max
    }

    /// Place of the last event of the chain when it started.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The next piece, of bounded size; empty when much was read and nothing matched, `None` after
    /// the last.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, AuditError> {
        if self.progress == Progress::Done {
            return Ok(None);
        }
        let (entries, ended) = self.matches()?;
        let piece = match self.format {
            Format::Json => self.json(&entries, ended),
            Format::Csv => self.csv(&entries)?,
        };
        self.progress = match (ended, entries.is_empty(), &self.progress) {
            (true, ..) => Progress::Done,
            (false, true, Progress::Start) if self.format == Format::Json => Progress::Start,
            (false, ..) => Progress::Rows,
        };
        Ok(Some(piece))
    }

    /// The next matches, and whether they are the last.
    fn matches(&mut self) -> Result<(Vec<Entry>, bool), AuditError> {
        let mut budget = AUDIT_SCAN_MAX_RECORDS;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < AUDIT_CHUNK_MAX_RECORDS && bytes < AUDIT_CHUNK_MAX_BYTES {
            match self.search.next(&mut budget)? {
                Next::Match(entry) => {
                    bytes += entry.text.len();
                    entries.push(entry);
                }
                Next::Spent => break,
                Next::End => return Ok((entries, true)),
            }
        }
        Ok((entries, false))
    }

    /// Before the first row stands `[`, before every other `,`, after the last `]`.
    fn json(&self, entries: &[Entry], ended: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            let first = place == 0 && self.progress == Progress::Start;
            out.push(if first { b'[' } else { b',' });
            out.extend_from_slice(entry.json().as_bytes());
        }
        if ended {
            if entries.is_empty() && self.progress == Progress::Start {
                out.push(b'[');
            }
            out.push(b']');
        }
        out
    }

    fn csv(&self, entries: &[Entry]) -> Result<Vec<u8>, AuditError> {
        let mut out = table::writer();
        let written = |result: csv::Result<()>| {
            result.map_err(|error| AuditError::Disk(format!("a CSV row was not written: {error}")))
        };
        if self.progress == Progress::Start {
            written(out.write_record(table::HEADER))?;
        }
        for entry in entries {
            let fields = entry.fields().map_err(|what| self.search.damaged(entry.seq, what))?;
            let (prev_hash, hash) = (hex::encode(entry.prev_hash), hex::encode(entry.hash));
            let cells = table::cells(&fields, &prev_hash, &hash, &entry.text);
            written(out.write_record(cells.iter().map(|cell| cell.as_bytes())))?;
        }
        out.into_inner().map_err(|error| AuditError::Disk(error.to_string()))
    }
}
