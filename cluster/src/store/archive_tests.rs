//! Blocks that move into segments: what readers see meanwhile and after, crashes and damage.

use super::*;

#[test]
fn an_archived_block_reads_as_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let total = 4 * BLOCK + 10;
    let check = |open: &Open| {
        let edges = [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 1, total];
        for from in edges {
            for max in [1, 2, BLOCK, total] {
                let want = (from..=total).take(max as usize).collect::<Vec<_>>();
                assert_eq!(open.read(from, max as usize), Ok(want), "{max} from {from}");
            }
        }
        assert_eq!(open.journal.count(CHAIN, b"third"), Ok(total / 3));
        assert_eq!(open.seqs(BLOCK, 0, 1), [BLOCK + 2]);
    };
    {
        let open = open(dir.path());
        open.append(1..=total, 100);
        open.shared.append(vec![Record { chain: b"d".to_vec(), ..record(1) }]).expect("appends");
        check(&open);
        open.archive();
        assert_eq!(open.shared.due(), []);
        check(&open);
    }
    let open = open(dir.path());
    assert_eq!(*open.shared.archived(), BTreeMap::from([(CHAIN.to_vec(), 3)]));
    assert_eq!(open.journal.chains(), [CHAIN, b"d"]);
    check(&open);
    open.raw(|tree| {
        let rows = tree.range(keys::chain(CHAIN)..keys::journal_row(CHAIN, 3 * BLOCK + 1));
        assert_eq!(rows.count(), 0, "the store lets go of what is archived");
    });
    open.append(total + 1..=5 * BLOCK, 100);
    open.archive();
    assert_eq!(open.read(1, usize::MAX).map(|r| r.len() as u64), Ok(5 * BLOCK));
}

#[test]
fn a_rewrite_of_an_archived_record_is_compared_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path());
    open.append(1..=3 * BLOCK, 100);
    open.archive();
    open.append(BLOCK - 5..=3 * BLOCK + 5, 1000);
    let other = Record { bytes: vec![1], ..record(BLOCK + 7) };
    let got = open.shared.append(vec![record(BLOCK + 6), other]);
    assert_eq!(got, Err(Fatal::JournalRewritten { chain: "c".into(), seq: BLOCK + 7 }));
}

#[test]
fn a_move_that_a_crash_cut_short_is_made_again() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let open = open(dir.path());
        open.append(1..=3 * BLOCK, 100);
        let copied = open.store.with(|trees| archive::copy(trees, &open.shared.segments, CHAIN, 0));
        drop(copied.expect("the segment is written, and the crash comes"));
    }
    std::fs::write(dir.path().join("journal/draft.tmp"), b"half a segment").expect("writes");
    let open = open(dir.path());
    assert_eq!(open.shared.due(), [(CHAIN.to_vec(), 0..2)]);
    assert_eq!(open.read(1, usize::MAX).map(|r| r.len() as u64), Ok(3 * BLOCK));
    open.archive();
    assert_eq!(open.read(1, usize::MAX).map(|r| r.len() as u64), Ok(3 * BLOCK));
}

#[test]
fn a_damaged_block_is_not_archived() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path());
    open.append(1..=3 * BLOCK, 100);
    open.flip(&keys::journal_row(CHAIN, 201), 2 + 5 + 20);
    let got = open.shared.archive(CHAIN, 0);
    let named = |place: &str| place == "chain c, record 201";
    assert!(matches!(&got, Err(Fatal::Damaged { place, .. }) if named(place)), "{got:?}");
    assert_eq!(open.read(201, 1), Err(damage(201)));
    assert_eq!(open.read(301, 1), Ok(vec![301]));
}

#[test]
fn a_block_with_a_missing_row_is_not_archived() {
    for gone in [BLOCK - 95, 1, 201] {
        let dir = tempfile::tempdir().expect("a directory");
        let open = open(dir.path());
        open.append(1..=3 * BLOCK, 100);
        open.raw(|tree| {
            let key = [keys::journal_row(CHAIN, gone), vec![0, 0]].concat();
            tree.remove(key).expect("writes").expect("there");
        });
        let got = open.shared.archive(CHAIN, 0);
        let want = format!("chain c, record {gone}");
        assert!(matches!(&got, Err(Fatal::Damaged { place, .. }) if *place == want), "{got:?}");
    }
}

#[test]
fn readers_miss_nothing_while_blocks_move() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path());
    open.append(1..=9 * BLOCK, 4);
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| open.archive());
        while !moving.is_finished() {
            // What moves now, or was moved last.
            let block = open.shared.archived().get(CHAIN).copied().unwrap_or(0);
            for from in [first_of(block), first_of(block) + BLOCK / 2] {
                let want = (from..from + BLOCK / 2).collect::<Vec<_>>();
                assert_eq!(open.read(from, want.len()), Ok(want));
            }
        }
        moving.join().expect("moves");
    });
    assert_eq!(open.read(1, usize::MAX).map(|r| r.len() as u64), Ok(9 * BLOCK));
}

fn segment(dir: &Path, block: u64) -> std::path::PathBuf {
    dir.join(format!("journal/63-{block:016x}"))
}

#[test]
fn a_damaged_segment_is_an_error_to_read_and_found_by_the_background_check() {
    type Spoil = fn(&Path);
    fn flip(path: &Path, at: impl Fn(usize) -> usize) {
        let mut bytes = std::fs::read(path).expect("reads");
        let at = at(bytes.len());
        bytes[at] ^= 1;
        std::fs::write(path, bytes).expect("writes");
    }
    let cases: [(&str, u64, Spoil); 6] = [
        ("a record", BLOCK + 1, |dir| flip(&segment(dir, 1), |_| 5 + 8 + 4)),
        ("the index", BLOCK + 1, |dir| flip(&segment(dir, 1), |len| len - 10)),
        ("the trailer", BLOCK + 1, |dir| flip(&segment(dir, 1), |len| len - 8)),
        ("cut short", BLOCK + 1, |dir| {
            let bytes = std::fs::read(segment(dir, 1)).expect("reads");
            std::fs::write(segment(dir, 1), &bytes[..bytes.len() - 1]).expect("writes");
        }),
        ("missing", BLOCK + 1, |dir| std::fs::remove_file(segment(dir, 1)).expect("removes")),
        ("another block's", BLOCK + 1, |dir| {
            std::fs::copy(segment(dir, 0), segment(dir, 1)).map(|_| ()).expect("copies");
        }),
    ];
    for (name, seq, spoil) in cases {
        let dir = tempfile::tempdir().expect("a directory");
        let open = open(dir.path());
        open.append(1..=4 * BLOCK, 100);
        open.archive();
        let good = scrub(&open);
        assert_eq!(good.damage, None, "{name}");
        assert!(good.rows > 40, "{good:?}");
        spoil(dir.path());
        assert_eq!(open.read(seq, 1), Err(damage(seq)), "{name}");
        assert_eq!(open.read(BLOCK, 2), Err(damage(seq)), "{name}");
        assert_eq!(open.read(BLOCK, 1), Ok(vec![BLOCK]), "{name}");
        assert_eq!(open.read(2 * BLOCK + 1, 1), Ok(vec![2 * BLOCK + 1]), "{name}");
        let report = scrub(&open);
        let want = format!("chain c, record {seq}:");
        assert!(report.damage.as_ref().is_some_and(|d| d.contains(&want)), "{name}: {report:?}");
    }
}

#[test]
fn the_stored_form_of_a_segment_does_not_change() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path());
    let large = |seq| Record { bytes: vec![7; 20], tags: vec![b"t".to_vec()], ..record(seq) };
    open.shared.append((1..=2 * BLOCK).map(large).collect()).expect("appends");
    open.archive();
    let bytes = std::fs::read(segment(dir.path(), 0)).expect("a segment");
    assert_eq!((bytes.len(), crc32fast::hash(&bytes)), (135_214, 3_363_758_043));
}
