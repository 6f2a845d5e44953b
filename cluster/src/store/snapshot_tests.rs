//! Snapshots: what they wait for, what they are given to, and what a crash leaves of them.

use std::fs;
use std::sync::atomic::Ordering;

use openraft::EntryPayload;
use openraft::storage::RaftStateMachine;
use openraft::vote::RaftLeaderId;

use super::*;
use crate::store::apply::Apply;
use crate::store::suite;
use crate::toy::{Counter, add};
use crate::types::{Command, Entry, Proposed};

fn entry(index: u64) -> Entry {
    let bytes = Counter::encode_command(&add(1, index)).into();
    let command = Command { at_ms: index, everywhere: false, bytes };
    let payload = EntryPayload::Normal(Proposed::Command(command));
    Entry { log_id: LogId::new(RaftLeaderId::new(1, 1), index), payload }
}

async fn apply(machine: &mut Apply<Counter>, indexes: std::ops::Range<u64>) {
    let entries = indexes.map(|index| Ok((entry(index), None)));
    machine.apply(futures_util::stream::iter(entries)).await.expect("applies");
}

async fn build(machine: &mut Apply<Counter>) -> io::Result<Snapshot> {
    machine.get_snapshot_builder().await.build_snapshot().await
}

fn snapshots_of(dir: &Path) -> PathBuf {
    dir.join("snapshots").join(&names(dir)[0])
}

fn names(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir.join("snapshots")).expect("a directory");
    files.map(|f| f.expect("reads").file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_snapshot_gets_its_name_before_the_journal_is_durable() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_log, mut machine, store) = suite::open(dir.path());
    apply(&mut machine, 1..5).await;
    store.fail_sync.store(true, Ordering::SeqCst);
    assert!(build(&mut machine).await.is_err());
    assert!(names(dir.path()).iter().all(|name| !name.ends_with(".snap")));
    assert!(machine.get_current_snapshot().await.expect("reads").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_snapshot_takes_the_place_of_the_one_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_log, mut machine, _) = suite::open(dir.path());
    for end in [5, 9] {
        apply(&mut machine, end - 4..end).await;
        build(&mut machine).await.expect("builds");
        assert_eq!(names(dir.path()), [format!("{:020}-1-1.snap", end - 1)]);
    }
}

/// What a node does before it installs a snapshot.
fn fill(to: &Apply<Counter>, from: &Apply<Counter>) {
    let records = from.journal.read_records(&[1], 1, usize::MAX, usize::MAX).expect("reads");
    to.journal.append(records).expect("appends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_over_a_journal_that_lacks_its_records_or_has_others_stops_the_node() {
    let here = tempfile::tempdir().expect("a directory");
    let (_log, mut from, _) = suite::open(here.path());
    apply(&mut from, 1..5).await;
    let new = build(&mut from).await.expect("builds");
    for lacks in [true, false] {
        let there = tempfile::tempdir().expect("a directory");
        let (_log, mut to, store) = suite::open(there.path());
        if !lacks {
            fill(&to, &from);
            // The state of another history would end its chain with another record.
            to.machine.salt = 1;
        }
        let file = File::open(snapshots_of(here.path())).expect("opens");
        let installed = to.install_snapshot(&new.meta, SnapshotData { file }).await;
        assert!(installed.is_err(), "lacks: {lacks}");
        store.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_received_snapshot_gives_the_same_state_and_never_leads_backwards() {
    let (here, there) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (_log, mut from, _) = suite::open(here.path());
    let (_log, mut to, store) = suite::open(there.path());
    apply(&mut from, 1..5).await;
    let old = build(&mut from).await.expect("builds");
    apply(&mut from, 5..9).await;
    let new = build(&mut from).await.expect("builds");
    fill(&to, &from);
    to.install_snapshot(&new.meta, new.snapshot).await.expect("installs");
    assert_eq!(to.machine.state, from.machine.state);
    assert_eq!(to.machine.published.load(Ordering::SeqCst), 8);
    to.install_snapshot(&old.meta, old.snapshot).await.expect("is passed over");
    assert_eq!(to.machine.state, from.machine.state);
    assert_eq!(names(there.path()), [format!("{:020}-1-1.snap", 8)]);
    store.close();
    // Nor past what is applied but in no snapshot yet.
    let ahead = tempfile::tempdir().expect("a directory");
    let (_log, mut ahead, store) = suite::open(ahead.path());
    apply(&mut ahead, 1..7).await;
    let file = File::open(snapshots_of(here.path())).expect("opens");
    let meta = SnapshotMeta { last_log_id: Some(entry(6).log_id), ..new.meta };
    ahead.install_snapshot(&meta, SnapshotData { file }).await.expect("is passed over");
    assert_eq!(ahead.machine.state.ids.len(), 6);
    assert!(ahead.get_current_snapshot().await.expect("reads").is_none());
    store.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_foreign_snapshot_is_not_installed() {
    let (here, there) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (_log, mut from, _) = suite::open(here.path());
    apply(&mut from, 1..5).await;
    let good = build(&mut from).await.expect("builds");
    let path = snapshots_of(here.path());
    let bytes = fs::read(&path).expect("reads");
    let mut damaged = bytes.clone();
    let middle = bytes.len() * 2 / 3;
    damaged[middle] ^= 1;
    let header = Header {
        cluster: [2; 16],
        last: good.meta.last_log_id.as_ref().map(Into::into),
        membership_at: None,
        membership: good.meta.last_membership.membership().into(),
        removed: BTreeSet::new(),
        level: 1,
        digest: Digest::default(),
    };
    let foreign = Writer::new(Vec::new(), &header).and_then(Writer::finish).expect("writes");
    for bad in [damaged, foreign] {
        let (_log, mut to, store) = suite::open(there.path());
        let temp = here.path().join("bad");
        fs::write(&temp, bad).expect("writes");
        let file = File::open(&temp).expect("opens");
        assert!(to.install_snapshot(&good.meta, SnapshotData { file }).await.is_err());
        assert_eq!(to.machine.state, Counter::default().state);
        assert!(names(there.path()).iter().all(|name| !name.ends_with(".snap")));
        store.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_unfinished_or_superseded_is_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_log, mut machine, store) = suite::open(dir.path());
    apply(&mut machine, 1..5).await;
    build(&mut machine).await.expect("builds");
    store.close();
    let snapshots = dir.path().join("snapshots");
    for left in ["00000000000000000009-1-1.writing", "00000000000000000009-1-1.received"] {
        fs::write(snapshots.join(left), b"part").expect("writes");
    }
    let newest = format!("{:020}-1-1.snap", 4);
    fs::copy(snapshots.join(&newest), snapshots.join(format!("{:020}-1-1.snap", 3)))
        .expect("copies");
    Snapshots::open(dir.path(), [1; 16]).expect("opens");
    assert_eq!(names(dir.path()), [newest]);
}
