//! The log across truncation, purge, restart and damage.

use std::path::Path;
use std::sync::atomic::Ordering;

use openraft::storage::RaftLogStorageExt;
use openraft::vote::RaftLeaderId;

use super::*;
use crate::limits::{COMMAND_MAX_BYTES, LOG_ROW_MAX_ENTRIES, ROW_PART_MAX_BYTES};
use crate::store::log_rows::row_first;
use crate::store::suite;
use crate::types::Command;

fn id(term: u64, index: u64) -> LogId {
    LogId::new(RaftLeaderId::new(term, 1), index)
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let bytes = vec![index as u8; bytes].into();
    let command = Proposed::Command(Command { at_ms: index, everywhere: false, bytes });
    Entry { log_id: id(term, index), payload: EntryPayload::Normal(command) }
}

/// An open log over `dir`, closed when dropped.
struct Open {
    log: Log,
    store: Arc<Store>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.log.writer.send(Job::Stop);
        self.store.close();
    }
}

fn open(dir: &Path) -> Open {
    let (log, _, store) = suite::open(dir);
    Open { log, store }
}

impl Open {
    async fn append(&mut self, term: u64, indexes: std::ops::Range<u64>, bytes: usize) {
        let entries = indexes.map(|index| entry(term, index, bytes)).collect::<Vec<_>>();
        self.log.blocking_append(entries).await.expect("appends");
    }

    /// The terms of all entries, with the index of the first.
    async fn terms(&mut self) -> (u64, Vec<u64>) {
        let entries = self.log.try_get_log_entries(0..).await.expect("reads");
        let first = entries.first().map_or(0, |e| e.log_id.index());
        for (entry, index) in entries.iter().zip(first..) {
            assert_eq!(entry.log_id.index(), index);
        }
        (first, entries.iter().map(|e| e.log_id.committed_leader_id().term).collect())
    }

    fn rows(&self) -> Vec<u64> {
        let rows = self.store.with(|trees| {
            let rows = Rows { tree: &trees.log, what: What::Log };
            rows.from(&keys::log_row(0), &keys::after(&keys::log_row(u64::MAX)))
                .map(|row| row_first(&row?.0))
                .collect()
        });
        rows.expect("reads")
    }

    fn forget_cache(&self) {
        let mut state = self.log.shared.state();
        while !state.cache.is_empty() {
            state.pop_front();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncation_inside_a_row_keeps_what_is_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let mut open = open(dir.path());
        open.append(1, 0..10, 5).await;
        open.append(1, 10..20, 5).await;
        assert_eq!(open.rows(), [0, 10]);
        open.log.truncate_after(Some(id(1, 6))).await.expect("truncates");
        assert_eq!(open.rows(), [0]);
        assert_eq!(open.terms().await, (0, vec![1; 7]));
        open.append(2, 7..9, 5).await;
    }
    let mut open = open(dir.path());
    assert_eq!(open.terms().await, (0, vec![1, 1, 1, 1, 1, 1, 1, 2, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncation_at_the_edge_of_a_row_takes_the_row_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut open = open(dir.path());
    open.append(1, 0..10, 5).await;
    open.append(1, 10..20, 5).await;
    open.log.truncate_after(Some(id(1, 9))).await.expect("truncates");
    assert_eq!(open.rows(), [0]);
    open.log.truncate_after(None).await.expect("truncates");
    assert_eq!(open.rows(), [0; 0]);
    assert_eq!(open.log.shared.last_index(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_inside_a_row_hides_what_is_up_to_it_and_outlives_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let mut open = open(dir.path());
        open.append(1, 0..10, 5).await;
        open.append(1, 10..20, 5).await;
        open.log.purge(id(1, 13)).await.expect("purges");
        assert_eq!(open.rows(), [10]);
        assert_eq!(open.terms().await, (14, vec![1; 6]));
    }
    let mut open = open(dir.path());
    assert_eq!(open.terms().await, (14, vec![1; 6]));
    open.forget_cache();
    assert_eq!(open.terms().await, (14, vec![1; 6]));
    let state = open.log.get_log_state().await.expect("reads");
    assert_eq!(state.last_purged_log_id, Some(id(1, 13)));
    assert_eq!(state.last_log_id, Some(id(1, 19)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncation_may_land_in_the_row_that_a_purge_landed_in() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let mut open = open(dir.path());
        open.append(1, 0..10, 5).await;
        open.log.purge(id(1, 3)).await.expect("purges");
        open.log.truncate_after(Some(id(1, 5))).await.expect("truncates");
        open.append(2, 6..8, 5).await;
    }
    let mut open = open(dir.path());
    assert_eq!(open.terms().await, (4, vec![1, 1, 2, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_left_memory_are_read_back_from_their_rows() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut open = open(dir.path());
    open.append(1, 0..1000, 50).await;
    assert!(open.rows().len() >= 1000 / LOG_ROW_MAX_ENTRIES);
    open.forget_cache();
    open.append(2, 1000..1010, 5).await;
    assert_eq!(open.log.shared.state().cache_first(), 1000);
    let entries = open.log.try_get_log_entries(300..1005).await.expect("reads");
    let indexes = entries.iter().map(|e| e.log_id.index()).collect::<Vec<_>>();
    assert_eq!(indexes, (300..1005).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_commands_make_no_file_of_their_own() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let mut open = open(dir.path());
        for index in 0..40 {
            open.append(1, index..index + 1, COMMAND_MAX_BYTES).await;
        }
        for index in 40..80 {
            open.append(1, index..index + 1, ROW_PART_MAX_BYTES - 100).await;
        }
    }
    let blobs = std::fs::read_dir(dir.path().join("store/blobs")).expect("a directory");
    assert_eq!(blobs.count(), 0);
    assert_eq!(open(dir.path()).terms().await, (0, vec![1; 80]));
}

#[tokio::test(flavor = "multi_thread")]
async fn vote_and_commit_mark_come_back() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let mut open = open(dir.path());
        open.append(3, 0..5, 5).await;
        open.log.save_vote(&Vote::new_committed(3, 1)).await.expect("saves");
        open.log.save_committed(Some(id(3, 2))).await.expect("saves");
        open.log.save_committed(Some(id(3, 4))).await.expect("saves");
        open.append(3, 5..6, 5).await;
    }
    let mut open = open(dir.path());
    assert_eq!(open.log.read_vote().await.expect("reads"), Some(Vote::new_committed(3, 1)));
    assert_eq!(open.log.read_committed().await.expect("reads"), Some(id(3, 4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_sync_nothing_is_acknowledged_ever_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut open = open(dir.path());
    open.append(1, 0..1, 5).await;
    open.store.fail_sync.store(true, Ordering::SeqCst);
    assert!(open.log.blocking_append([entry(1, 1, 5)]).await.is_err());
    assert!(matches!(open.log.shared.fatal.get(), Some(Fatal::Disk { .. })));
    open.store.fail_sync.store(false, Ordering::SeqCst);
    assert!(open.log.blocking_append([entry(1, 2, 5)]).await.is_err());
    assert!(open.log.save_vote(&Vote::new(9, 1)).await.is_err());
    assert!(open.log.writer.ask(Job::Barrier).await.is_err());
    assert_eq!(Mark::open(dir.path()).expect("opens").next(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_is_never_appended() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut open = open(dir.path());
    open.append(1, 0..3, 5).await;
    assert!(open.log.blocking_append([entry(1, 4, 5)]).await.is_err());
}

/// What reading the log of `dir` says after `spoil`.
fn spoiled(dir: &Path, spoil: impl FnOnce(&super::super::Trees)) -> Result<(), StartError> {
    let store = Arc::new(Store::open(dir, 64 << 20).expect("opens"));
    store
        .with(|trees| {
            spoil(trees);
            Ok(())
        })
        .expect("open");
    let read = LogShared::open(dir, store.clone(), FatalCell::new()).map(|_| ());
    store.close();
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_named_with_its_index() {
    let key = |first| [keys::log_row(first), vec![0, 0]].concat();
    let flip = |first: u64, byte: usize| {
        move |trees: &super::super::Trees| {
            let mut row = trees.log.get(key(first)).expect("reads").expect("there").to_vec();
            row[byte] ^= 1;
            trees.log.insert(key(first), row).expect("writes");
        }
    };
    let gone = |trees: &super::super::Trees| {
        trees.log.sled().remove(key(10)).expect("writes");
    };
    let tail_gone = |trees: &super::super::Trees| {
        trees.log.sled().remove(key(20)).expect("writes");
    };
    type Spoil<'a> = Box<dyn FnOnce(&super::super::Trees) + 'a>;
    let cases: [(&str, Spoil<'_>); 5] = [
        ("index 10", Box::new(flip(10, 20))),
        ("index 13", Box::new(flip(10, 2 + 5 + 3 * (8 + 12) + 15))),
        // The row says that it has 266 records.
        ("index 20", Box::new(flip(10, 4))),
        ("index 10", Box::new(gone)),
        ("index 20", Box::new(tail_gone)),
    ];
    for (want, spoil) in cases {
        let dir = tempfile::tempdir().expect("a directory");
        {
            let mut open = open(dir.path());
            for first in [0, 10, 20] {
                open.append(1, first..first + 10, 5).await;
            }
        }
        let got = spoiled(dir.path(), spoil);
        let Err(StartError::Damaged { what: What::Log, place, .. }) = &got else {
            panic!("{want}: {got:?}")
        };
        assert_eq!(place, want, "{got:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_an_unknown_version_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    open(dir.path()).append(1, 0..3, 5).await;
    let got = spoiled(dir.path(), |trees| {
        let key = [keys::log_row(0), vec![0, 0]].concat();
        let mut row = trees.log.get(&key).expect("reads").expect("there").to_vec();
        row[2] = 2;
        trees.log.insert(key, row).expect("writes");
    });
    assert!(matches!(got, Err(StartError::Version { found: 2, .. })), "{got:?}");
}
