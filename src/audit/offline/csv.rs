//! An export in CSV: a header, then one event a line.
//!
//! No cell of an export holds a line break, so a line is a row, and a damaged line cannot swallow
//! the ones after it. Every column is compared with the event that the last one holds.

use std::io::{self, BufRead, Read};

use csv::StringRecord;

use super::{
    Failure, Wrong,
    link::{Links, Row},
};
use crate::{
    audit::{record::Fields, table},
    domain::Hash,
    limits::AUDIT_ROW_MAX_BYTES,
};

const PREV_HASH_COLUMN: usize = table::COLUMNS - 3;
const HASH_COLUMN: usize = table::COLUMNS - 2;

/// Follows every line below the header.
pub fn read(file: impl BufRead, links: &mut Links) -> Result<(), Failure> {
    let mut lines = Lines { file, line: Vec::new(), ending: None };
    match lines.next() {
        Ok(true) => {}
        Ok(false) => return Err(on_line(1, links.bad(None, Wrong::Start("it is empty".into())))),
        Err(stop) => return Err(on_line(1, stop.into_failure(links))),
    }
    header(&lines.line).map_err(|wrong| on_line(1, links.bad(None, wrong)))?;
    loop {
        let line = links.next_row() + 1;
        match lines.next() {
            Ok(true) => follow(&lines.line, links).map_err(|failure| on_line(line, failure))?,
            Ok(false) => return Ok(()),
            Err(stop) => return Err(on_line(line, stop.into_failure(links))),
        }
    }
}

fn on_line(line: u64, failure: Failure) -> Failure {
    match failure {
        Failure::Bad(bad) => Failure::Bad(super::BadRow { line: Some(line), ..bad }),
        unreadable @ Failure::Unreadable(_) => unreadable,
    }
}

fn header(line: &[u8]) -> Result<(), Wrong> {
    let expected = table::HEADER.join(",");
    if line == expected.as_bytes() {
        return Ok(());
    }
    Err(Wrong::Start(format!("its first line is not the header {expected}")))
}

fn follow(line: &[u8], links: &mut Links) -> Result<(), Failure> {
    let record = split(line).map_err(|what| links.bad(None, Wrong::Damaged(what)))?;
    let [.., text] = record.iter().collect::<Vec<_>>()[..] else {
        return Err(links.bad(None, Wrong::Damaged("it is empty".into())));
    };
    let fields = Fields::parse(text.as_bytes())
        .map_err(|what| links.bad(None, Wrong::Damaged(format!("its event_json: {what}"))))?;
    let hash =
        judge(&record, &fields, text, links).map_err(|wrong| links.bad(Some(fields.seq), wrong))?;
    links.accept(hash);
    Ok(())
}

fn judge(
    record: &StringRecord,
    fields: &Fields<'_>,
    text: &str,
    links: &Links,
) -> Result<Hash, Wrong> {
    let (prev_hash, hash) = (&record[PREV_HASH_COLUMN], &record[HASH_COLUMN]);
    let judged = links.judge(&Row { seq: fields.seq, text: text.as_bytes(), prev_hash, hash })?;
    if !is_canonical(text) {
        return Err(Wrong::Damaged("its event_json is not in canonical form (RFC 8785)".into()));
    }
    let expected = table::cells(fields, prev_hash, hash, text);
    match table::HEADER.iter().zip(&expected).zip(record).find(|((_, want), cell)| want != cell) {
        Some(((name, _), _)) => Err(Wrong::Column(name)),
        None => Ok(judged),
    }
}

fn split(line: &[u8]) -> Result<StringRecord, String> {
    let mut record = StringRecord::new();
    let found = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(line)
        .read_record(&mut record)
        .map_err(|error| error.to_string())?;
    match record.len() {
        table::COLUMNS if found => Ok(record),
        columns => Err(format!("it has {columns} columns instead of {}", table::COLUMNS)),
    }
}

fn is_canonical(text: &str) -> bool {
    serde_json_canonicalizer::pipe(text).is_ok_and(|canonical| canonical == text)
}

/// Lines of bounded length that all end in the same way.
struct Lines<R> {
    file: R,
    line: Vec<u8>,
    /// How the first line ended.
    ending: Option<&'static [u8]>,
}

/// Why there is no next line although the file goes on.
enum Stop {
    Unreadable(io::Error),
    Wrong(Wrong),
}

impl Stop {
    fn into_failure(self, links: &Links) -> Failure {
        match self {
            Self::Unreadable(error) => Failure::Unreadable(error),
            Self::Wrong(wrong) => links.bad(None, wrong),
        }
    }
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line, without its ending; false at the end of the file.
    fn next(&mut self) -> Result<bool, Stop> {
        self.line.clear();
        let limit = AUDIT_ROW_MAX_BYTES as u64;
        let read = (&mut self.file)
            .take(limit)
            .read_until(b'\n', &mut self.line)
            .map_err(Stop::Unreadable)?;
        if read == 0 {
            return Ok(false);
        }
        let ending: &[u8] = if self.line.ends_with(b"\r\n") {
            b"\r\n"
        } else if self.line.ends_with(b"\n") {
            b"\n"
        } else if read as u64 == limit {
            let limit = format!("it is longer than {limit} bytes");
            return Err(Stop::Wrong(Wrong::Damaged(limit)));
        } else {
            return Err(Stop::Wrong(Wrong::CutOff));
        };
        self.line.truncate(read - ending.len());
        if *self.ending.get_or_insert(ending) != ending || self.line.contains(&b'\r') {
            return Err(Stop::Wrong(Wrong::Damaged("its line ending was changed".into())));
        }
        Ok(true)
    }
}
