//! The journal across batches, blocks, restarts and damage.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::limits::JOURNAL_BLOCK_RECORDS as BLOCK;
use crate::runtime::Worker;
use crate::store::journal_rows::decode_record;
use crate::store::scrub::{Pace, Scrub};

#[path = "archive_tests.rs"]
mod archived;

const CHAIN: &[u8] = b"c";

fn record(seq: u64) -> Record {
    tagged(seq, &[if seq.is_multiple_of(3) { b"third" } else { b"other" }])
}

fn tagged(seq: u64, tags: &[&[u8]]) -> Record {
    Record {
        chain: CHAIN.to_vec(),
        seq,
        tags: tags.iter().map(|t| t.to_vec()).collect(),
        bytes: seq.to_le_bytes().to_vec(),
    }
}

struct Open {
    journal: Journal,
    shared: Arc<JournalShared>,
    store: Arc<Store>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.store.close();
    }
}

fn try_open(dir: &Path) -> Result<Open, Fatal> {
    let store = Arc::new(Store::open(dir, 64 << 20).expect("opens"));
    let segments = Segments::open(dir).expect("opens");
    let shared = match JournalShared::open(store.clone(), segments) {
        Ok(shared) => Arc::new(shared),
        Err(fatal) => {
            store.close();
            return Err(fatal);
        }
    };
    let journal = Journal::new(shared.clone(), Arc::new(Progress::new()));
    Ok(Open { journal, shared, store })
}

fn open(dir: &Path) -> Open {
    try_open(dir).expect("opens")
}

impl Open {
    fn append(&self, seqs: std::ops::RangeInclusive<u64>, batch: usize) {
        let records = seqs.map(record).collect::<Vec<_>>();
        for batch in records.chunks(batch) {
            self.shared.append(batch.to_vec()).expect("appends");
        }
    }

    fn raw(&self, f: impl FnOnce(&sled::Tree)) {
        self.store
            .with(|trees| {
                f(trees.journal.sled());
                Ok(())
            })
            .expect("open");
    }

    /// Flips a bit of the stored value under `key`.
    fn flip(&self, key: &[u8], byte: usize) {
        self.raw(|tree| {
            let key = [key, &[0, 0]].concat();
            let mut value = tree.get(&key).expect("reads").expect("there").to_vec();
            let byte = byte.min(value.len() - 1);
            value[byte] ^= 1;
            tree.insert(key, value).expect("writes");
        });
    }

    /// Moves every block that is due into a segment, without a node's own thread for it.
    fn archive(&self) {
        for (chain, blocks) in self.shared.due() {
            for block in blocks {
                self.shared.archive(&chain, block).expect("moves");
            }
        }
    }

    fn read(&self, from: u64, max: usize) -> Result<Vec<u64>, JournalError> {
        let read = self.journal.read(CHAIN, from, max, usize::MAX)?;
        for (seq, bytes) in &read {
            assert_eq!(bytes[..], seq.to_le_bytes());
        }
        Ok(read.into_iter().map(|(seq, _)| seq).collect())
    }

    fn seqs(&self, after: u64, skip: u64, limit: usize) -> Vec<u64> {
        self.journal.seqs(CHAIN, b"third", after, skip, limit).expect("reads")
    }
}

fn damage(seq: u64) -> JournalError {
    JournalError::Damaged { chain: CHAIN.to_vec(), seq }
}

#[test]
fn records_are_read_back_by_position_within_the_bounds_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path());
    open.append(1..=100, 7);
    assert_eq!(open.journal.head(CHAIN), 100);
    assert_eq!(open.journal.chains(), [CHAIN.to_vec()]);
    let read = |from, records, bytes| {
        let read = open.journal.read(CHAIN, from, records, bytes).expect("reads");
        for (seq, bytes) in &read {
            assert_eq!(bytes[..], seq.to_le_bytes());
        }
        read.iter().map(|(seq, _)| *seq).collect::<Vec<_>>()
    };
    assert_eq!(read(5, 10, 1000), (5..15).collect::<Vec<_>>());
    assert_eq!(read(0, 2, 1000), [1, 2]);
    assert_eq!(read(99, 10, 1000), [99, 100]);
    assert_eq!(read(101, 10, 1000), [0; 0]);
    assert_eq!(read(5, 10, 24), [5, 6, 7]);
    assert_eq!(read(5, 10, 1), [5], "always at least one");
    assert_eq!(read(5, 0, 1000), [0; 0]);
    assert_eq!(open.journal.read(b"none", 1, 10, 10), Ok(vec![]));
}

#[test]
fn a_restart_knows_heads_and_postings_of_every_chain() {
    let dir = tempfile::tempdir().expect("a directory");
    let total = 2 * BLOCK + 100;
    {
        let open = open(dir.path());
        open.append(1..=total, 300);
        for chain in [b"a".as_slice(), b"cc", b"d"] {
            open.shared
                .append(vec![Record { chain: chain.to_vec(), ..record(1) }])
                .expect("appends");
        }
    }
    let open = open(dir.path());
    assert_eq!(open.journal.chains(), [b"a".as_slice(), b"c", b"cc", b"d"]);
    assert_eq!((open.journal.head(CHAIN), open.journal.head(b"cc")), (total, 1));
    assert_eq!(open.journal.count(CHAIN, b"third"), Ok(total / 3));
    open.append(total + 1..=total + 2, 1);
    assert_eq!(open.journal.head(CHAIN), total + 2);
}

#[test]
fn a_chain_that_ends_with_its_block_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    open(dir.path()).append(1..=BLOCK, 1000);
    let open = open(dir.path());
    assert_eq!(open.journal.head(CHAIN), BLOCK);
    open.append(BLOCK + 1..=BLOCK + 3, 2);
    assert_eq!(open.journal.count(CHAIN, b"third"), Ok((BLOCK + 3) / 3));
    assert_eq!(open.seqs(BLOCK - 2, 0, 9), [BLOCK - 1, BLOCK + 2]);
}

#[test]
fn an_equal_rewrite_changes_nothing_and_its_batches_may_be_others() {
    let dir = tempfile::tempdir().expect("a directory");
    open(dir.path()).append(1..=BLOCK + 50, 7);
    let open = open(dir.path());
    let before = open.journal.read(CHAIN, 1, usize::MAX, usize::MAX);
    open.append(1..=BLOCK + 60, 11);
    assert_eq!(open.journal.head(CHAIN), BLOCK + 60);
    assert_eq!(open.journal.read(CHAIN, 1, BLOCK as usize + 50, usize::MAX), before);
    assert_eq!(open.journal.count(CHAIN, b"third"), Ok((BLOCK + 60) / 3));
}

#[test]
fn a_different_rewrite_is_fatal_and_names_the_record() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path());
    open.append(1..=10, 10);
    let other_bytes = Record { bytes: vec![1], ..record(7) };
    let other_tags = Record { tags: vec![], ..record(7) };
    for bad in [other_bytes, other_tags] {
        let got = open.shared.append(vec![record(6), bad, record(8)]);
        assert_eq!(got, Err(Fatal::JournalRewritten { chain: "c".into(), seq: 7 }));
    }
    assert_eq!(open.shared.append(vec![record(6), record(7), record(11)]), Ok(()));
}

#[test]
fn positions_without_gaps_from_one_or_not_at_all() {
    let gap = |expected, found| Err(Fatal::JournalGap { chain: "c".into(), expected, found });
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path());
    assert_eq!(open.shared.append(vec![record(2)]), gap(1, 2));
    assert_eq!(open.shared.append(vec![record(0)]), gap(1, 0));
    open.append(1..=3, 3);
    assert_eq!(open.shared.append(vec![record(4), record(6)]), gap(5, 6));
    assert_eq!(open.journal.head(CHAIN), 3);
}

#[test]
fn a_record_over_a_limit_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path());
    let bad = [
        Record { chain: vec![0; CHAIN_KEY_MAX_BYTES + 1], ..record(1) },
        Record { bytes: vec![0; RECORD_MAX_BYTES + 1], ..record(1) },
        Record { tags: vec![vec![]; RECORD_TAGS_MAX + 1], ..record(1) },
        Record { tags: vec![vec![0; TAG_MAX_BYTES + 1]], ..record(1) },
    ];
    for record in bad {
        let got = open.shared.append(vec![record]);
        assert!(matches!(got, Err(Fatal::RecordTooLarge { .. })), "{got:?}");
    }
    let largest = Record { bytes: vec![0; RECORD_MAX_BYTES], ..record(1) };
    open.shared.append(vec![largest.clone()]).expect("appends");
    assert_eq!(open.journal.read(CHAIN, 1, 1, 1), Ok(vec![(1, largest.bytes)]));
}

#[test]
fn positions_of_a_tag_are_found_across_blocks_at_any_offset() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path());
    let total = 5 * BLOCK + 17;
    open.append(1..=total, 1024);
    let all = (1..=total).filter(|s| s.is_multiple_of(3)).collect::<Vec<_>>();
    assert_eq!(open.seqs(0, 0, usize::MAX), all);
    for skip in [0, 1, BLOCK / 3, 2 * BLOCK, all.len() as u64 - 1, all.len() as u64, u64::MAX] {
        let want = all.iter().skip(skip.min(1 << 40) as usize).take(5).copied();
        assert_eq!(open.seqs(0, skip, 5), want.collect::<Vec<_>>(), "skip {skip}");
    }
    for after in [1, 3, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, total - 1, total, u64::MAX] {
        let want = all.iter().filter(|s| **s > after).skip(2).take(5).copied();
        assert_eq!(open.seqs(after, 2, 5), want.collect::<Vec<_>>(), "after {after}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn rare_tags_are_found_like_by_looking_at_everything(
        hits in prop::collection::btree_set(1..6 * BLOCK, 0..12),
        queries in prop::collection::vec((0..6 * BLOCK, 0..8u64, 0..6usize), 20),
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let open = open(dir.path());
        let records = (1..6 * BLOCK).map(|seq| {
            let tags: &[&[u8]] = if hits.contains(&seq) { &[b"rare", b"rare"] } else { &[] };
            tagged(seq, tags)
        });
        for batch in records.collect::<Vec<_>>().chunks(4000) {
            open.shared.append(batch.to_vec()).expect("appends");
        }
        prop_assert_eq!(open.journal.count(CHAIN, b"rare"), Ok(hits.len() as u64));
        for (after, skip, limit) in queries {
            let want = hits.iter().filter(|s| **s > after).skip(skip as usize).take(limit);
            prop_assert_eq!(
                open.journal.seqs(CHAIN, b"rare", after, skip, limit),
                Ok(want.copied().collect::<Vec<_>>())
            );
        }
    }
}

#[test]
fn a_damaged_sealed_record_is_an_error_to_read_and_never_left_out() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let open = open(dir.path());
        open.append(1..=BLOCK + 10, 100);
        open.flip(&keys::journal_row(CHAIN, 201), 2 + 5 + 20);
    }
    let open = open(dir.path());
    let read = |from, max| open.journal.read(CHAIN, from, max, usize::MAX).map(|r| r.len());
    assert_eq!(read(101, 100), Ok(100));
    assert_eq!(read(101, 101), Err(damage(201)));
    assert_eq!(read(250, 1), Err(damage(201)));
    assert_eq!(read(301, 10), Ok(10));
}

#[test]
fn a_missing_row_is_an_error_to_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path());
    open.append(1..=BLOCK + 10, 100);
    open.raw(|tree| {
        let key = [keys::journal_row(CHAIN, 201), vec![0, 0]].concat();
        tree.remove(key).expect("writes");
    });
    let read = |from, max| open.journal.read(CHAIN, from, max, usize::MAX).map(|r| r.len());
    assert_eq!(read(1, 300), Err(damage(201)));
    assert_eq!(read(205, 1), Err(damage(205)));
}

#[test]
fn a_damaged_posting_list_is_an_error_not_a_wrong_count() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path());
    open.append(1..=BLOCK + 10, 100);
    open.flip(&keys::postings(CHAIN, b"third", 0), 20);
    assert!(open.journal.count(CHAIN, b"third").is_err());
    assert!(open.journal.seqs(CHAIN, b"third", 0, 0, 1).is_err());
    assert!(open.journal.count(CHAIN, b"other").is_ok());
}

#[test]
fn a_damaged_newest_row_is_named_at_the_start() {
    for (total, byte, want) in [(20, 2 + 5 + 12, 11), (BLOCK, 2 + 5 + 12, BLOCK - 5)] {
        let dir = tempfile::tempdir().expect("a directory");
        {
            let open = open(dir.path());
            open.append(1..=total - if total == BLOCK { 6 } else { 10 }, 10_000);
            open.append(open.journal.head(CHAIN) + 1..=total, 10_000);
            open.flip(&keys::journal_row(CHAIN, want), byte);
        }
        let Err(Fatal::Damaged { what, place, .. }) = try_open(dir.path()).map(|_| ()) else {
            panic!("{total}: opened")
        };
        assert_eq!((what, place), (What::Journal, format!("chain c, record {want}")));
    }
}

/// What a whole pass of the background check reports.
fn scrub(open: &Open) -> crate::ScrubReport {
    let pace = Pace { bytes_per_second: u64::MAX, between: Duration::from_secs(60) };
    let (scrub, worker) = Scrub::spawn(&open.shared, pace);
    let until = Instant::now() + Duration::from_secs(20);
    while scrub.report().passes == 0 {
        assert!(Instant::now() < until, "a pass ends in time");
        std::thread::yield_now();
    }
    scrub.stop();
    let Worker::Thread(thread) = worker else { panic!("nothing is simulated here") };
    thread.join().expect("stops");
    scrub.report()
}

#[test]
fn the_background_check_reports_the_first_damage() {
    let third = keys::postings(CHAIN, b"third", 1);
    type Spoil<'a> = (&'a str, Box<dyn Fn(&Open) + 'a>);
    let cases: [Spoil<'_>; 3] = [
        ("chain c, record 201:", Box::new(|o| o.flip(&keys::journal_row(CHAIN, 201), 27))),
        (
            "chain c, record 201:",
            Box::new(|o| {
                o.raw(|tree| {
                    let key = [keys::journal_row(CHAIN, 201), vec![0, 0]].concat();
                    tree.remove(key).expect("writes");
                });
            }),
        ),
        ("third", Box::new(|o| o.flip(&third, 30))),
    ];
    for (want, spoil) in cases {
        let dir = tempfile::tempdir().expect("a directory");
        let open = open(dir.path());
        open.append(1..=2 * BLOCK + 10, 100);
        let good = scrub(&open);
        assert_eq!(good.damage, None);
        assert!(good.rows > 80, "{good:?}");
        spoil(&open);
        let report = scrub(&open);
        assert!(report.damage.as_ref().is_some_and(|d| d.contains(want)), "{want}: {report:?}");
    }
}

#[test]
fn the_background_check_goes_past_a_row_that_cannot_be_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path());
    let large = Record { bytes: vec![0; RECORD_MAX_BYTES], ..record(1) };
    open.shared.append(vec![large]).expect("appends");
    open.append(2..=BLOCK + 10, 100);
    let rows = scrub(&open).rows;
    open.raw(|tree| {
        let key = [keys::journal_row(CHAIN, 1), vec![0, 3]].concat();
        tree.remove(key).expect("writes").expect("there");
    });
    let report = scrub(&open);
    assert_eq!(report.rows, rows - 1);
    assert!(report.damage.is_some_and(|d| d.contains("part 3 is missing")));
    drop(open);
    assert_eq!(super::tests::open(dir.path()).journal.head(CHAIN), BLOCK + 10);
}

#[test]
fn a_closed_journal_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path());
    open.append(1..=3, 1);
    open.store.close();
    assert_eq!(open.journal.read(CHAIN, 1, 1, 1), Err(JournalError::Closed));
    assert_eq!(open.journal.count(CHAIN, b"third"), Err(JournalError::Closed));
}

#[test]
fn the_stored_form_of_a_record_does_not_change() {
    let stored = StoredRecord { tags: vec![b"t".to_vec(), vec![]], bytes: vec![7, 8] };
    let bytes = encode_record(CHAIN, 1, &stored).expect("encodes");
    assert_eq!(bytes, [1, 2, 1, b't', 0, 2, 7, 8]);
    assert_eq!(decode_record(CHAIN, 1, &bytes), Ok(stored));
}
