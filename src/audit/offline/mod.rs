//! Checking an export without a server: is this file the whole chain, unchanged?
//!
//! [`check`] reads a CSV or JSON export of any size, one row at a time, recomputes every hash and
//! names the first row that is wrong. JSON may have been reformatted on the way, since its meaning
//! is what is hashed; CSV must be as exported, line by line. Only an export without filters can be
//! checked: a filtered one lacks rows, and is reported so. A file that was cut off between two rows
//! is still a proper chain; only the head that it should end in tells. Must not know the journal,
//! the state or HTTP.

mod csv;
mod json;
mod link;
mod unique;

#[cfg(test)]
mod tests;

use std::{fmt, io};

use crate::domain::Hash;
use link::Links;

pub use link::hash_from_hex;

/// What an export is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One event a line, under a header.
    Csv,
    /// One array of events.
    Json,
}

/// An export in which every row is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intact {
    /// How many events it holds.
    pub length: u64,
    /// Hash of the last; zeros when there is none.
    pub head: Hash,
    /// How many of its events the given head vouches for; `None` when none was given.
    pub vouched: Option<u64>,
}

/// Why an export was not found intact.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It could not be read to its end.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// A row is wrong.
    #[error("{0}")]
    Bad(BadRow),
}

/// The first row that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// Its number, counting events from 1.
    pub row: u64,
    /// Its line in the file, from 1, where a row is a line.
    pub line: Option<u64>,
    /// The `seq` that it gives itself, if it can be read.
    pub seq: Option<u64>,
    /// What is wrong.
    pub wrong: Wrong,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}", self.row)?;
        match (self.line, self.seq) {
            (Some(line), Some(seq)) => write!(f, " (line {line}, seq {seq})")?,
            (Some(line), None) => write!(f, " (line {line})")?,
            (None, Some(seq)) => write!(f, " (seq {seq})")?,
            (None, None) => {}
        }
        write!(f, ": {}", self.wrong)
    }
}

/// What can be wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The file does not start like an export.
    #[error("the file does not start like an audit export: {0}")]
    Start(String),
    /// It cannot be read as a row of its format.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// The file ends inside it.
    #[error("the file ends in the middle of it: it was cut off")]
    CutOff,
    /// Its content is not what was hashed.
    #[error("its content was changed: it does not match its hash")]
    Changed,
    /// Only its `prev_hash` was changed.
    #[error("its prev_hash was changed: it is not the hash of the row before")]
    PreviousChanged,
    /// It is right in itself but does not continue the row before.
    #[error("it does not continue the row before: one of the two was replaced")]
    Unlinked,
    /// Rows before it are missing, or it stands too early.
    #[error(
        "seq {expected} was expected: {missing} row(s) before it are missing or stand elsewhere \
         (only an export without filters can be checked)"
    )]
    Missing {
        /// The `seq` that belongs here.
        expected: u64,
        /// How many were left out.
        missing: u64,
    },
    /// It was there before, or stands too late.
    #[error("seq {expected} was expected: it is repeated or stands too late")]
    Repeated {
        /// The `seq` that belongs here.
        expected: u64,
    },
    /// A column says something else than the event.
    #[error("column {0} was changed: it does not agree with event_json")]
    Column(&'static str),
    /// It should be there and is not.
    #[error(
        "it is missing: the file ends before the head that was given, or that head belongs to \
         another chain"
    )]
    Absent,
}

/// Checks a whole export. Without a format, `[` as the first character that is not white space
/// means JSON. `head` is the hash that the chain is known to reach, from `/v1/audit/verify` or an
/// earlier check.
pub fn check(
    mut file: impl io::BufRead,
    format: Option<Format>,
    head: Option<Hash>,
) -> Result<Intact, Failure> {
    let format = match format {
        Some(format) => format,
        None => sniff(&mut file)?,
    };
    let mut links = Links::new(head);
    match format {
        Format::Csv => csv::read(file, &mut links),
        Format::Json => json::read(file, &mut links),
    }?;
    links.finish()
}

fn sniff(file: &mut impl io::BufRead) -> io::Result<Format> {
    let start = file.fill_buf()?;
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    Ok(if matches!(first, Some(b'[' | b'{')) { Format::Json } else { Format::Csv })
}
