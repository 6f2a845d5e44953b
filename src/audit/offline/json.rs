//! An export in JSON: one array, read element by element.

use std::{cell::Cell, fmt, io, rc::Rc};

use serde::{
    Deserializer as _,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::{Map, Value, error::Category};

use super::{
    Failure, Wrong,
    link::{Links, Row},
    unique::Unique,
};
use crate::{audit::record::Fields, limits::AUDIT_ROW_MAX_BYTES};

/// Follows every row of the array.
pub fn read(file: impl io::BufRead, links: &mut Links) -> Result<(), Failure> {
    let left = Rc::new(Cell::new(AUDIT_ROW_MAX_BYTES));
    let mut file = serde_json::Deserializer::from_reader(Metered { file, left: left.clone() });
    let mut failure = None;
    let rows = Rows { links, left: &left, failure: &mut failure };
    let read = file.deserialize_seq(rows).and_then(|()| file.end());
    match (failure, read) {
        (Some(failure), _) => Err(failure),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(unreadable(error, links, left.get() == 0)),
    }
}

/// What an error of the JSON reader means for the row that comes next.
fn unreadable(error: serde_json::Error, links: &Links, too_long: bool) -> Failure {
    match error.classify() {
        Category::Io if too_long => {
            let limit = format!("it is longer than {AUDIT_ROW_MAX_BYTES} bytes");
            links.bad(None, Wrong::Damaged(limit))
        }
        Category::Io => Failure::Unreadable(error.into()),
        Category::Eof => links.bad(None, Wrong::CutOff),
        Category::Data if links.next_row() == 1 && error.column() <= 1 => {
            links.bad(None, Wrong::Start("a JSON array was expected".into()))
        }
        Category::Syntax | Category::Data => links.bad(None, Wrong::Damaged(error.to_string())),
    }
}

/// A reader that stops when one row takes more than its share of memory.
struct Metered<R> {
    file: R,
    left: Rc<Cell<usize>>,
}

impl<R: io::Read> io::Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(io::Error::other("row too long"));
        }
        let room = buffer.len().min(left);
        let read = self.file.read(&mut buffer[..room])?;
        self.left.set(left - read);
        Ok(read)
    }
}

struct Rows<'a> {
    links: &'a mut Links,
    left: &'a Cell<usize>,
    failure: &'a mut Option<Failure>,
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of audit events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(Unique(row)) = rows.next_element()? {
            if let Err(failure) = follow(row, self.links) {
                *self.failure = Some(failure);
                return Err(A::Error::custom("a row is wrong"));
            }
            self.left.set(AUDIT_ROW_MAX_BYTES);
        }
        Ok(())
    }
}

fn follow(row: Value, links: &mut Links) -> Result<(), Failure> {
    let damaged = |what: String| Wrong::Damaged(what);
    let Value::Object(mut event) = row else {
        return Err(links.bad(None, damaged("it is not a JSON object".into())));
    };
    let seq = event.get("seq").and_then(Value::as_u64);
    let (prev_hash, hash) = match (take(&mut event, "prev_hash"), take(&mut event, "hash")) {
        (Ok(prev_hash), Ok(hash)) => (prev_hash, hash),
        (Err(what), _) | (_, Err(what)) => return Err(links.bad(seq, damaged(what))),
    };
    let text = serde_json_canonicalizer::to_vec(&event)
        .map_err(|error| links.bad(seq, damaged(error.to_string())))?;
    let fields = Fields::parse(&text).map_err(|what| links.bad(seq, damaged(what)))?;
    let row = Row { seq: fields.seq, text: &text, prev_hash: &prev_hash, hash: &hash };
    let hash = links.judge(&row).map_err(|wrong| links.bad(seq, wrong))?;
    links.accept(hash);
    Ok(())
}

fn take(event: &mut Map<String, Value>, field: &str) -> Result<String, String> {
    match event.remove(field) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(format!("it has no {field}")),
    }
}
