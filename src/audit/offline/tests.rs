//! What the offline check must catch, and what it must not complain of.

use std::io::Cursor;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::audit::{record::Entry, table, tests::sample};

const LENGTH: u64 = 7;

/// The rows of an export, to be tampered with before they are put together.
fn rows(format: Format) -> Vec<String> {
    sample::links(LENGTH).zip(1..).map(|(link, seq)| row(&link, seq, format)).collect()
}

fn row(link: &sample::Link, seq: u64, format: Format) -> String {
    let entry = Entry::read(seq, link.prev_hash, &link.record()).unwrap();
    match format {
        Format::Json => entry.json(),
        Format::Csv => {
            let (prev_hash, hash) = (hex::encode(entry.prev_hash), hex::encode(entry.hash));
            let fields = entry.fields().unwrap();
            let cells = table::cells(&fields, &prev_hash, &hash, &entry.text);
            line(cells.iter().map(|cell| cell.as_bytes()))
        }
    }
}

fn line<'a>(cells: impl Iterator<Item = &'a [u8]>) -> String {
    let mut writer = table::writer();
    writer.write_record(cells).unwrap();
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

fn file(rows: &[String], format: Format) -> String {
    match format {
        Format::Json => format!("[{}]", rows.join(",")),
        Format::Csv => table::HEADER.join(",") + "\r\n" + &rows.concat(),
    }
}

fn checked(file: &str, head: Option<Hash>) -> Result<Intact, Failure> {
    check(Cursor::new(file), None, head)
}

#[track_caller]
fn bad_row(file: &str, head: Option<Hash>) -> BadRow {
    match checked(file, head) {
        Err(Failure::Bad(bad)) => bad,
        other => panic!("not caught: {other:?}"),
    }
}

fn head() -> Hash {
    sample::links(LENGTH).last().unwrap().hash
}

const FORMATS: [Format; 2] = [Format::Json, Format::Csv];

#[test]
fn an_untouched_export_is_intact() {
    for format in FORMATS {
        let whole = file(&rows(format), format);
        let intact = Intact { length: LENGTH, head: head(), vouched: None };
        assert_eq!(checked(&whole, None).unwrap(), intact);
        let vouched = Intact { vouched: Some(LENGTH), ..intact };
        assert_eq!(checked(&whole, Some(head())).unwrap(), vouched);
        let empty = Intact { length: 0, head: [0; 32], vouched: None };
        assert_eq!(checked(&file(&[], format), None).unwrap(), empty);
    }
}

#[test]
fn an_older_head_vouches_for_the_rows_up_to_it() {
    let older = sample::links(3).last().unwrap().hash;
    let vouched = checked(&file(&rows(Format::Json), Format::Json), Some(older)).unwrap().vouched;
    assert_eq!(vouched, Some(3));
}

#[test]
fn the_first_bad_row_is_named_with_what_is_wrong() {
    type Tamper = fn(&mut Vec<String>);
    let cases: [(&str, Tamper, u64, Wrong); 9] = [
        ("first dropped", |r| drop(r.remove(0)), 1, Wrong::Missing { expected: 1, missing: 1 }),
        ("dropped", |r| drop(r.remove(3)), 4, Wrong::Missing { expected: 4, missing: 1 }),
        ("two dropped", |r| drop(r.drain(1..3)), 2, Wrong::Missing { expected: 2, missing: 2 }),
        ("swapped", |r| r.swap(2, 3), 3, Wrong::Missing { expected: 3, missing: 1 }),
        ("duplicated", |r| r.insert(5, r[4].clone()), 6, Wrong::Repeated { expected: 6 }),
        ("appended", |r| r.push(r[0].clone()), 8, Wrong::Repeated { expected: 8 }),
        ("edited", |r| r[4] = r[4].replace("token.revoked", "token.rewoked"), 5, Wrong::Changed),
        (
            "prev_hash edited",
            |r| {
                let before = hex::encode(sample::links(4).last().unwrap().hash);
                r[4] = r[4].replace(&before, &"a".repeat(64));
            },
            5,
            Wrong::PreviousChanged,
        ),
        (
            "hash edited",
            |r| {
                let own = hex::encode(sample::links(5).last().unwrap().hash);
                r[4] = r[4].replace(&own, &own.to_uppercase());
            },
            5,
            Wrong::Changed,
        ),
    ];
    for (name, tamper, row, wrong) in cases {
        for format in FORMATS {
            let mut rows = rows(format);
            tamper(&mut rows);
            let bad = bad_row(&file(&rows, format), None);
            assert_eq!((bad.row, &bad.wrong), (row, &wrong), "{name} in {format:?}: {bad}");
            assert_eq!(bad.line, (format == Format::Csv).then_some(row + 1), "{name}");
        }
    }
}

#[test]
fn a_rewritten_row_with_a_hash_of_its_own_is_not_linked() {
    for format in FORMATS {
        let mut rows = rows(format);
        let link = sample::links(5).last().unwrap();
        let text = link.text.replace("plain", "other");
        let hash = crate::audit::chain::event_hash(&link.prev_hash, text.as_bytes());
        rows[4] = row(&sample::Link { text, hash, ..link }, 5, format);
        let bad = bad_row(&file(&rows, format), None);
        assert_eq!((bad.row, bad.wrong), (6, Wrong::Unlinked));
    }
}

#[test]
fn every_column_must_agree_with_the_event() {
    for (column, name) in table::HEADER.iter().enumerate() {
        let mut rows = rows(Format::Csv);
        let mut reader = csv_reader(&rows[2]);
        let mut cells: Vec<String> =
            reader.records().next().unwrap().unwrap().iter().map(str::to_owned).collect();
        cells[column].insert(0, 'x');
        rows[2] = line(cells.iter().map(String::as_bytes));
        let bad = bad_row(&file(&rows, Format::Csv), None);
        assert_eq!(bad.row, 3, "{name}: {bad}");
    }
}

fn csv_reader(row: &str) -> ::csv::Reader<&[u8]> {
    ::csv::ReaderBuilder::new().has_headers(false).from_reader(row.as_bytes())
}

#[test]
fn a_cut_between_rows_is_caught_by_the_head_alone() {
    for format in FORMATS {
        let cut = file(&rows(format)[..5], format);
        assert_eq!(checked(&cut, None).unwrap().length, 5);
        let bad = bad_row(&cut, Some(head()));
        assert_eq!((bad.row, bad.wrong), (6, Wrong::Absent));
    }
}

#[test]
fn a_cut_anywhere_else_is_caught_without_it() {
    for format in FORMATS {
        let whole = file(&rows(format), format);
        for end in 0..whole.len() {
            let Some(cut) = whole.get(..end) else { continue };
            let between_rows = format == Format::Csv && cut.ends_with("\r\n");
            assert_eq!(checked(cut, None).is_ok(), between_rows, "{format:?} cut at {end}");
            assert!(checked(cut, Some(head())).is_err(), "{format:?} cut at {end}");
        }
    }
}

#[test]
fn json_may_be_reformatted() {
    let rows = rows(Format::Json);
    let events: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    let pretty = serde_json::to_string_pretty(&events).unwrap();
    assert_eq!(checked(&pretty, Some(head())).unwrap().length, LENGTH);
    let escaped = file(&rows, Format::Json).replace('é', "\\u00e9") + "\n";
    assert_eq!(checked(&escaped, Some(head())).unwrap().length, LENGTH);
}

#[test]
fn csv_lines_may_end_in_either_way_but_all_in_one() {
    let whole = file(&rows(Format::Csv), Format::Csv);
    assert!(checked(&whole.replace("\r\n", "\n"), None).is_ok());
    assert_eq!(bad_row(&whole.replacen("\r\n", "\n", 1), None).row, 1);
}

#[test]
fn a_field_that_stands_there_twice_is_refused() {
    let mut rows = rows(Format::Json);
    rows[1] = rows[1].replacen('{', "{\"event\":\"agent.revoked\",", 1);
    let bad = bad_row(&file(&rows, Format::Json), None);
    assert_eq!(bad.row, 2);
    assert!(bad.to_string().contains("twice"), "{bad}");
}

#[test]
fn what_is_no_export_is_refused() {
    for text in ["", "hello", "{}", "[1]", "[", "seq,id\r\n1,2\r\n", "\u{feff}[]", "[]x", "[{}]"] {
        assert_eq!(bad_row(text, None).row, 1, "{text:?}");
    }
}

#[test]
fn a_row_without_end_does_not_fill_the_memory() {
    let endless = || std::io::BufReader::new(std::io::repeat(b' '));
    for format in FORMATS {
        let Err(Failure::Bad(bad)) = check(endless(), Some(format), None) else {
            panic!("{format:?}: not caught");
        };
        assert!(bad.to_string().contains("longer than"), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_changed_byte_is_caught_and_its_row_named(
        csv: bool,
        place in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let format = if csv { Format::Csv } else { Format::Json };
        let rows = rows(format);
        let whole = file(&rows, format);
        let mut bytes = whole.clone().into_bytes();
        let place = place.index(bytes.len());
        prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        let Err(Failure::Bad(bad)) = check(Cursor::new(&bytes), Some(format), None) else {
            return Err(TestCaseError::fail(format!("byte {place} changed to {byte}: not caught")));
        };
        let row = row_at(&rows, &whole, place);
        prop_assert!(
            bad.row == row || bad.row == row + 1 && is_between_rows(&whole, place, format),
            "byte {} of row {} changed to {}: {}", place, row, byte, bad
        );
    }

    #[test]
    fn any_drop_swap_or_repetition_is_caught(
        csv: bool,
        first in 0..LENGTH as usize,
        second in 0..LENGTH as usize,
        change in 0..3,
    ) {
        let format = if csv { Format::Csv } else { Format::Json };
        let mut rows = rows(format);
        let expected = match change {
            0 => {
                rows.remove(first);
                first + 1
            }
            1 => {
                prop_assume!(first != second);
                rows.swap(first, second);
                first.min(second) + 1
            }
            _ => {
                rows.insert(second, rows[first].clone());
                if first == second { first + 2 } else { second + 1 }
            }
        };
        prop_assert_eq!(bad_row(&file(&rows, format), Some(head())).row, expected as u64);
    }
}

/// The row that holds byte `place` of the file, or that follows it.
fn row_at(rows: &[String], whole: &str, place: usize) -> u64 {
    let ends = rows.iter().map(|row| whole.find(row.as_str()).unwrap() + row.len());
    ends.filter(|end| *end <= place).count() as u64 + 1
}

/// Whether byte `place` is punctuation between two rows, whose damage shows in the next one.
fn is_between_rows(whole: &str, place: usize, format: Format) -> bool {
    let byte = whole.as_bytes()[place];
    match format {
        Format::Json => matches!(byte, b',' | b']' | b'}' | b'"'),
        Format::Csv => matches!(byte, b'\r' | b'\n'),
    }
}
