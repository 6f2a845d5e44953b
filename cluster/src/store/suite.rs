//! The engine's own suite for log stores and state machines, run over ours.

use std::path::Path;
use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::apply::{Apply, Progress};
use super::journal::JournalShared;
use super::log::{Log, LogShared};
use super::segments::Segments;
use super::snapshot::Snapshots;
use super::{Store, writer};
use crate::fatal::FatalCell;
use crate::roster::Roster;
use crate::toy::Counter;
use crate::types::TypeConfig;

/// A log and a machine over the store in `dir`.
pub(crate) fn open(dir: &Path) -> (Log, Apply<Counter>, Arc<Store>) {
    let fatal = FatalCell::new();
    let store = Arc::new(Store::open(dir, 64 << 20).expect("opens"));
    let snapshots = Arc::new(Snapshots::open(dir, [1; 16]).expect("opens"));
    let (shared, outside) = LogShared::open(dir, store.clone(), fatal.clone()).expect("opens");
    let shared = Arc::new(shared);
    let (writer, _) = writer::spawn(shared.clone(), outside);
    let segments = Segments::open(dir).expect("opens");
    let journal = Arc::new(JournalShared::open(store.clone(), segments).expect("opens"));
    let mut apply = Apply::new(
        Counter::default(),
        journal,
        snapshots,
        writer.clone(),
        Arc::new(Progress::new()),
        Arc::new(Roster::new(1)),
        fatal,
    );
    apply.restore_newest().expect("restores");
    (Log { shared, writer }, apply, store)
}

struct Builder;

impl StoreBuilder<TypeConfig, Log, Apply<Counter>, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Log, Apply<Counter>), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("a directory");
        let (log, apply, _) = open(dir.path());
        Ok((dir, log, apply))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engines_own_suite_passes() {
    Suite::test_all(Builder).await.expect("passes");
}
