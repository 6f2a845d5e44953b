//! A backup that is not what was written is refused, and says where.

use std::io::Write as _;

use super::file::{Frame, Reader, Records, Row, Writer};
use super::*;
use crate::Machine;
use crate::toy::{Counter, add, record_bytes};

const SALT: u8 = 3;

fn origin() -> Origin {
    Origin { cluster: [9; 16], index: 7, at_ms: 300, program: "p 1".into(), level: 1 }
}

/// A machine that has added to two chains, and its records.
fn machine() -> (Counter, Vec<Records>) {
    let mut machine = Counter { salt: SALT, ..Counter::default() };
    let mut records: Vec<Records> = Vec::new();
    for (index, (chain, id)) in (1..).zip([(1, 11), (1, 12), (1, 13), (2, 21)]) {
        let applied = machine.apply(crate::Stamp { index, at_ms: index }, add(chain, id));
        for record in applied.records {
            let row = Row { tags: record.tags, bytes: record.bytes };
            let (chain, from) = (record.chain, record.seq);
            records.push(Records { chain, from, records: vec![row] });
        }
    }
    (machine, records)
}

/// A whole backup of these records, in frames that hold what they should.
fn written(machine: &Counter, records: &[Records]) -> Vec<u8> {
    let mut out = Writer::new(Vec::new(), &origin()).expect("writes");
    let mut state = Vec::new();
    Counter::write_snapshot(&machine.freeze(), &mut state).expect("writes");
    for piece in state.chunks(17) {
        out.write_all(piece).expect("writes");
        out.end_state().expect("writes");
    }
    for records in records {
        out.records(records).expect("writes");
    }
    out.finish().expect("writes")
}

fn backup() -> Vec<u8> {
    let (machine, records) = machine();
    written(&machine, &records)
}

fn read(bytes: &[u8]) -> Result<(Contents, Counter), BackupError> {
    let mut machine = Counter { salt: SALT, ..Counter::default() };
    check(bytes, &mut machine).map(|contents| (contents, machine))
}

/// Where each frame begins, and where the last one ends.
fn bounds(bytes: &[u8]) -> Vec<usize> {
    let mut bounds = vec![9];
    while let Some(length) = bytes.get(bounds[bounds.len() - 1] + 1..) {
        let Some(length) = length.first_chunk::<4>() else { break };
        bounds.push(bounds[bounds.len() - 1] + 9 + u32::from_le_bytes(*length) as usize);
    }
    bounds
}

/// The frame that is to blame.
fn blamed(came: Result<(Contents, Counter), BackupError>) -> u64 {
    match came {
        Err(BackupError::Damaged { frame, .. }) => frame,
        other => panic!("nothing is said to be damaged: {other:?}"),
    }
}

#[test]
fn a_backup_reads_back() {
    let bytes = backup();
    let (contents, back) = read(&bytes).expect("it is whole");
    assert_eq!(back.state, machine().0.state);
    assert_eq!(contents.origin, origin());
    assert_eq!((contents.chains, contents.records), (2, 4));
    assert_eq!(contents.bytes, bytes.len() as u64);
    assert_eq!(check_frames(bytes.as_slice()), Ok((origin(), contents.sha256)));
}

#[test]
fn every_flipped_bit_is_found_in_its_frame() {
    let good = backup();
    let bounds = bounds(&good);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let came = read(&bad);
        let in_frame = bounds.iter().filter(|begin| **begin <= bit / 8).count() as u64;
        match came {
            Err(BackupError::NotABackup) => assert!(bit / 8 < 8, "bit {bit}"),
            Err(BackupError::Version { .. }) => assert_eq!(bit / 8, 8, "bit {bit}"),
            other => assert_eq!(blamed(other), in_frame, "bit {bit}"),
        }
        assert!(check_frames(bad.as_slice()).is_err(), "bit {bit}");
    }
}

#[test]
fn a_file_that_is_cut_short_or_goes_on_is_refused() {
    let good = backup();
    for cut in 0..good.len() {
        assert!(read(&good[..cut]).is_err(), "cut at {cut}");
        assert!(check_frames(&good[..cut]).is_err(), "cut at {cut}");
    }
    let frames = bounds(&good).len() as u64 - 1;
    assert_eq!(blamed(read(&[good.as_slice(), &[0]].concat())), frames);
}

#[test]
fn frames_that_are_gone_swapped_or_twice_are_found() {
    let good = backup();
    let bounds = bounds(&good);
    let frame = |n: usize| &good[bounds[n]..bounds[n + 1]];
    let joined = |order: &[usize]| {
        let frames = order.iter().map(|n| frame(*n));
        std::iter::once(&good[..9]).chain(frames).collect::<Vec<_>>().concat()
    };
    let count = bounds.len() - 1;
    let all: Vec<usize> = (0..count).collect();
    assert_eq!(joined(&all), good);
    // Header, three or more of state, four of records, the end.
    assert!(count >= 9, "{count}");
    for place in 0..count {
        let mut gone = all.clone();
        gone.remove(place);
        let first = place as u64 + 1;
        assert_eq!(blamed(read(&joined(&gone))), first, "frame {first} gone");
        let mut twice = all.clone();
        twice.insert(place, place);
        // A second end is what comes after the first.
        let said = if place + 1 == count { first } else { first + 1 };
        assert_eq!(blamed(read(&joined(&twice))), said, "frame {first} twice");
        for other in place + 1..count {
            let mut swapped = all.clone();
            swapped.swap(place, other);
            assert_eq!(blamed(read(&joined(&swapped))), first, "{first} and {} swapped", other + 1);
        }
    }
}

/// Files whose checksums all match, written by a program that lies.
#[test]
fn a_journal_that_does_not_fit_the_state_is_refused() {
    let (machine, _) = machine();
    let row = |id: u64, salt| Row { tags: Vec::new(), bytes: record_bytes(id, salt, 0) };
    let of = |chain: u8, from, rows| Records { chain: vec![chain], from, records: rows };
    let three = || vec![row(11, SALT), row(12, SALT), row(13, SALT)];
    let two = || vec![row(11, SALT), row(12, SALT)];
    let last = || of(2, 1, vec![row(21, SALT)]);
    assert!(read(&written(&machine, &[of(1, 1, three()), last()])).is_ok());
    let four = [three(), vec![row(14, SALT)]].concat_rows();
    for (wrong, journal) in [
        ("is missing", vec![of(1, 1, three())]),
        ("is missing", vec![]),
        ("before its end", vec![of(1, 1, two()), last()]),
        ("after record 3", vec![of(1, 1, four), last()]),
        ("knows no chain", vec![of(1, 1, three()), last(), of(3, 1, vec![row(1, SALT)])]),
        ("goes on at record 1", vec![of(1, 2, two()), last()]),
        ("goes on at record 3", vec![of(1, 1, two()), of(1, 4, vec![row(13, SALT)]), last()]),
        ("no records", vec![of(1, 1, vec![]), last()]),
        (
            "record 2 does not follow",
            vec![of(1, 1, vec![row(11, SALT), row(12, 9), row(13, 9)]), last()],
        ),
        (
            "not the end that the state knows",
            vec![of(1, 1, vec![row(11, 9), row(12, 9), row(13, 9)]), last()],
        ),
        ("knows no chain", vec![of(1, 1, three()), last(), of(1, 1, three())]),
    ] {
        match read(&written(&machine, &journal)) {
            Err(BackupError::Damaged { detail, .. }) => {
                assert!(detail.contains(wrong), "{detail:?} instead of {wrong:?}");
            }
            other => panic!("{wrong}: {other:?}"),
        }
    }
}

trait ConcatRows {
    fn concat_rows(self) -> Vec<Row>;
}

impl<const N: usize> ConcatRows for [Vec<Row>; N] {
    fn concat_rows(self) -> Vec<Row> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn a_state_that_does_not_decode_or_ends_elsewhere_is_refused() {
    let mut out = Writer::new(Vec::new(), &origin()).expect("writes");
    out.write_all(b"x").expect("writes");
    out.end_state().expect("writes");
    let bytes = out.finish().expect("writes");
    assert!(
        matches!(read(&bytes), Err(BackupError::Damaged { detail, .. }) if detail.contains("state"))
    );
    // Frames of the state behind the journal.
    let (machine, records) = machine();
    let mut out = Writer::new(Vec::new(), &origin()).expect("writes");
    Counter::write_snapshot(&machine.freeze(), &mut out).expect("writes");
    out.end_state().expect("writes");
    out.records(&records[0]).expect("writes");
    out.write_all(b"more").expect("writes");
    out.end_state().expect("writes");
    let bytes = out.finish().expect("writes");
    assert!(
        matches!(read(&bytes), Err(BackupError::Damaged { detail, .. }) if detail.contains("wrong place"))
    );
}

#[test]
fn a_backup_of_rules_that_are_not_known_here_is_refused() {
    let out = Writer::new(Vec::new(), &Origin { level: 9, ..origin() }).expect("writes");
    let bytes = out.finish().expect("writes");
    assert_eq!(
        read(&bytes).map(|_| ()),
        Err(BackupError::Level { found: 9, newest: Counter::default().newest_level() })
    );
}

#[test]
fn the_form_of_a_backup_does_not_change() {
    let mut out = Writer::new(Vec::new(), &origin()).expect("writes");
    out.write_all(b"s").expect("writes");
    out.end_state().expect("writes");
    let row = Row { tags: vec![b"t".to_vec()], bytes: b"r".to_vec() };
    out.records(&Records { chain: b"c".to_vec(), from: 1, records: vec![row] }).expect("writes");
    let bytes = out.finish().expect("writes");
    let mut want = b"ARAIBACK\x01".to_vec();
    want.extend([1, 26, 0, 0, 0]);
    want.extend(&bytes[14..18]);
    want.push(1);
    want.extend([9; 16]);
    want.extend([7, 251, 44, 1, 3, b'p', b' ', b'1', 1]);
    want.extend([2, 1, 0, 0, 0]);
    want.extend(&bytes[49..53]);
    want.push(b's');
    want.extend([3, 10, 0, 0, 0]);
    want.extend(&bytes[59..63]);
    want.extend([1, 1, b'c', 1, 1, 1, 1, b't', 1, b'r']);
    assert_eq!(bytes[..73], want);
    assert_eq!(bytes[73..78], [4, 40, 0, 0, 0]);
    assert_eq!(bytes[82..90], 3u64.to_le_bytes());
    // Over all of it, sums included.
    let whole = crc32fast::hash(&bytes);
    assert_eq!(whole, 2_623_465_376);
    let mut reader = Reader::new(bytes.as_slice()).expect("reads");
    assert_eq!(reader.next(), Ok(Frame::Header(origin())));
}

#[test]
fn the_largest_record_that_the_journal_takes_fits_a_frame() {
    use crate::limits::{CHAIN_KEY_MAX_BYTES, RECORD_MAX_BYTES, RECORD_TAGS_MAX, TAG_MAX_BYTES};

    let tags = vec![vec![7; TAG_MAX_BYTES]; RECORD_TAGS_MAX];
    let row = Row { tags, bytes: vec![7; RECORD_MAX_BYTES] };
    let records = Records { chain: vec![7; CHAIN_KEY_MAX_BYTES], from: 1, records: vec![row] };
    let mut out = Writer::new(Vec::new(), &origin()).expect("writes");
    out.records(&records).expect("writes");
    let bytes = out.finish().expect("writes");
    let mut from = Reader::new(bytes.as_slice()).expect("reads");
    assert!(matches!(from.next(), Ok(Frame::Header(_))));
    assert!(from.next().is_ok_and(|frame| frame == Frame::Records(records)));
}
