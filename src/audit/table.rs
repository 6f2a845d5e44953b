//! The CSV form of an event: which columns there are and what a cell holds.
//!
//! The last column is the very text that was hashed, so that
//! `hash = SHA-256(prev_hash ‖ event_json)` can be recomputed from the row alone. Cells that a
//! spreadsheet would run as a formula get an apostrophe in front (OWASP, "CSV Injection"); the last
//! column always starts with `{`. Knows nothing of files or HTTP.

use std::borrow::Cow;

use super::record::Fields;

/// How many columns there are.
pub const COLUMNS: usize = 13;

/// The header, in the order of the columns.
pub const HEADER: [&str; COLUMNS] = [
    "seq",
    "id",
    "event",
    "at",
    "actor_type",
    "actor_id",
    "agent_id",
    "token_id",
    "policy_id",
    "request_id",
    "prev_hash",
    "hash",
    "event_json",
];

/// The cells of one event, given its fields, both hashes in hex, and its text.
pub fn cells<'a>(
    fields: &'a Fields<'_>,
    prev_hash: &'a str,
    hash: &'a str,
    text: &'a str,
) -> [Cow<'a, str>; COLUMNS] {
    let optional = |field: &'a Option<Cow<'_, str>>| defused(field.as_deref().unwrap_or_default());
    [
        Cow::Owned(fields.seq.to_string()),
        defused(&fields.id),
        defused(&fields.event),
        defused(&fields.at),
        defused(&fields.actor.kind),
        defused(&fields.actor.id),
        optional(&fields.agent_id),
        optional(&fields.token_id),
        optional(&fields.policy_id),
        defused(&fields.request_id),
        Cow::Borrowed(prev_hash),
        Cow::Borrowed(hash),
        Cow::Borrowed(text),
    ]
}

/// Writes lines of CSV (RFC 4180) into memory. No cell holds a line break, so a row is a line.
pub fn writer() -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new())
}

/// The cell with an apostrophe in front if a spreadsheet would take it for a formula.
fn defused(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_is_defused() {
        for (cell, shown) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\r=1"),
            ("req_1", "req_1"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(defused(cell), shown);
        }
    }
}
