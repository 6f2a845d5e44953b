//! Applying what is committed: the machine, its journal and its snapshots behind the engine's
//! state machine.
//!
//! For each batch, in this order: decode, apply, insert the journal's records, publish, and only
//! then answer those who proposed. A command that does not decode stops the node. Must not know
//! what a command means.

use std::io::{self, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::watch;

use super::digest::{Digest, Recent};
use super::disk::File;
use super::journal::JournalShared;
use super::snapshot::{Builder, Replicated, Snapshots, file_error};
use super::snapshot_file::{Header, Reader};
use super::writer::{Job, WriterHandle};
use super::{levels, panic_message};
use crate::error::{Fatal, What};
use crate::fatal::FatalCell;
use crate::lease::Boot;
use crate::limits::APPLY_BATCH_MAX_ENTRIES;
use crate::roster::{Known, Roster};
use crate::runtime::spawn_blocking;
use crate::types::{
    Command, LogId, Outcome, Proposed, Snapshot, SnapshotData, SnapshotMeta, StoredMembership,
    TypeConfig,
};
use crate::{Machine, Record, Stamp};

/// How far this node has applied and published, for everyone who waits for it.
pub(crate) struct Progress {
    published: AtomicU64,
    watch: watch::Sender<u64>,
    marks: watch::Sender<Marks>,
    /// The newest stamp that was applied.
    newest_ms: AtomicU64,
    /// To compare with what peers have applied.
    pub recent: Recent,
    /// Bytes of commands applied since the newest snapshot.
    pub since_snapshot_bytes: AtomicU64,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress {
            published: AtomicU64::new(0),
            watch: watch::Sender::new(0),
            marks: watch::Sender::new(Marks::default()),
            newest_ms: AtomicU64::new(0),
            recent: Recent::default(),
            since_snapshot_bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// The newest stamp that was applied since the start, snapshots apart.
    pub(crate) fn newest_ms(&self) -> u64 {
        self.newest_ms.load(Ordering::Acquire)
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.watch.subscribe()
    }

    /// The marks, as they change.
    pub(crate) fn marks(&self) -> watch::Receiver<Marks> {
        self.marks.subscribe()
    }

    fn publish(&self, marks: Marks) {
        self.published.store(marks.published, Ordering::Release);
        self.watch.send_replace(marks.published);
        self.marks.send_replace(marks);
    }
}

/// What the leases need to know of what has been published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The last published index.
    pub published: u64,
    /// The last published index of an entry that must be seen everywhere.
    pub everywhere: u64,
    /// The newest barrier.
    pub barrier: Option<Barrier>,
    /// Of all records up to the published index.
    pub digest: Digest,
}

/// The entry that begins a reign of the leases, told apart from any other by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Barrier {
    /// The reign's term.
    pub term: u64,
    /// The leader's process.
    pub boot: Boot,
    /// The entry's index.
    pub index: u64,
}

/// The state at one index.
pub(crate) struct Point<F> {
    /// How far it has come.
    pub index: u64,
    /// Which of the machine's rules hold.
    pub level: u32,
    pub frozen: F,
    /// How long each chain of the journal is, all of which is there already.
    pub heads: Vec<(Vec<u8>, u64)>,
}

/// The machine with everything that applying touches.
pub(crate) struct Apply<M: Machine> {
    pub(crate) machine: M,
    pub(super) journal: Arc<JournalShared>,
    snapshots: Arc<Snapshots>,
    writer: WriterHandle,
    progress: Arc<Progress>,
    roster: Arc<Roster>,
    fatal: FatalCell,
    last_applied: Option<LogId>,
    marks: Marks,
}

/// What an entry waits for.
type Answer = (Option<ApplyResponder<TypeConfig>>, Outcome);

impl<M: Machine> Apply<M> {
    pub(crate) fn new(
        machine: M,
        journal: Arc<JournalShared>,
        snapshots: Arc<Snapshots>,
        writer: WriterHandle,
        progress: Arc<Progress>,
        roster: Arc<Roster>,
        fatal: FatalCell,
    ) -> Apply<M> {
        Apply {
            machine,
            journal,
            snapshots,
            writer,
            progress,
            roster,
            fatal,
            last_applied: None,
            marks: Marks::default(),
        }
    }

    /// Restores the newest snapshot, if there is one, and checks that the journal reaches as far.
    pub(crate) fn restore_newest(&mut self) -> Result<(), Fatal> {
        let Some((meta, path, file)) = self.snapshots.read()? else {
            return Ok(());
        };
        self.restore(&meta, &path, file)?;
        self.check_journal()
    }

    /// Checks that the journal holds what the restored state speaks of.
    fn check_journal(&self) -> Result<(), Fatal> {
        let damaged = |chain: &[u8], seq: u64, detail: String| {
            let place = format!("chain {}, record {seq}", chain.escape_ascii());
            Fatal::damaged(What::Journal, place, detail)
        };
        for (chain, head) in self.machine.heads() {
            let found = self.journal.head(&chain);
            if found < head {
                let detail =
                    format!("it ends there, although the snapshot knows of records up to {head}");
                return Err(damaged(&chain, found + 1, detail));
            }
            if head == 0 {
                continue;
            }
            let last = self.journal.read_records(&chain, head, 1, usize::MAX);
            let last = last.map_err(|e| damaged(&chain, head, e.to_string()))?;
            if !last.first().is_some_and(|last| self.machine.ends_with(&chain, &last.bytes)) {
                let detail = "it is not the one that the snapshot knows".into();
                return Err(damaged(&chain, head, detail));
            }
        }
        Ok(())
    }

    fn restore(&mut self, meta: &SnapshotMeta, path: &Path, file: File) -> Result<(), Fatal> {
        let error = |e: io::Error| file_error(path, "reading", &e);
        let mut reader = Reader::new(BufReader::new(file)).map_err(error)?;
        let Header { level, digest, .. } = reader.header;
        let removed = reader.header.removed.clone();
        self.check_level(level)?;
        self.machine.at_level(level);
        let restored = self.machine.restore(&mut reader);
        // A damaged file is named as such, whatever the machine made of it.
        reader.finish().map_err(error)?;
        restored.map_err(|e| {
            Fatal::damaged(What::Snapshot, path.display().to_string(), e.to_string())
        })?;
        self.last_applied = meta.last_log_id;
        let membership = meta.last_membership.clone();
        self.roster.restored(Known { membership, removed, level });
        // Whatever must be seen everywhere may be in it.
        let index = meta.last_log_id.map_or(0, |id| id.index());
        self.marks.everywhere = index;
        self.marks.digest = digest;
        self.progress.recent.restart(index, digest);
        self.progress.since_snapshot_bytes.store(0, Ordering::Relaxed);
        self.publish();
        Ok(())
    }

    fn publish(&mut self) {
        let index = self.last_applied.map_or(0, |id| id.index());
        self.machine.publish(index);
        self.marks.published = index;
        self.progress.publish(self.marks);
    }

    fn apply_batch(&mut self, batch: Vec<EntryResponder<TypeConfig>>) -> Result<(), Fatal> {
        let mut records = Vec::new();
        let mut answers: Vec<Answer> = Vec::with_capacity(batch.len());
        let mut digests = Vec::with_capacity(batch.len());
        for (entry, responder) in batch {
            let before = records.len();
            let outcome = match entry.payload {
                EntryPayload::Blank => Outcome(None),
                EntryPayload::Membership(membership) => {
                    self.roster.applied(StoredMembership::new(Some(entry.log_id), membership));
                    Outcome(None)
                }
                EntryPayload::Normal(Proposed::Barrier { term, boot }) => {
                    let index = entry.log_id.index();
                    self.marks.barrier = Some(Barrier { term, boot, index });
                    Outcome(None)
                }
                EntryPayload::Normal(Proposed::Level(level)) => {
                    self.raise(level)?;
                    Outcome(None)
                }
                EntryPayload::Normal(Proposed::Command(command)) => {
                    self.apply_command(entry.log_id.index(), &command, &mut records)?
                }
            };
            self.last_applied = Some(entry.log_id);
            let written = records.get(before..).unwrap_or_default();
            self.marks.digest = self.marks.digest.after(written);
            digests.push((entry.log_id.index(), self.marks.digest));
            answers.push((responder, outcome));
        }
        self.journal.append(records)?;
        self.progress.recent.extend(digests);
        self.publish();
        for (responder, outcome) in answers {
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    /// What a newer build has decided cannot be decided here.
    fn check_level(&self, level: u32) -> Result<(), Fatal> {
        let newest = self.machine.newest_level();
        if level > newest { Err(Fatal::LevelUnknown { level, newest }) } else { Ok(()) }
    }

    fn raise(&mut self, level: u32) -> Result<(), Fatal> {
        self.check_level(level)?;
        // Two leaders may have been asked.
        if level > self.roster.known().level {
            levels::write(&self.journal.store, level)?;
            self.machine.at_level(level);
            self.roster.raised(level);
            tracing::info!(level, "the cluster's machine has been raised to a new level");
        }
        Ok(())
    }

    fn apply_command(
        &mut self,
        index: u64,
        proposed: &Command,
        records: &mut Vec<Record>,
    ) -> Result<Outcome, Fatal> {
        let command = M::decode_command(&proposed.bytes)
            .map_err(|e| Fatal::Undecodable { index, detail: e.0 })?;
        let stamp = Stamp { index, at_ms: proposed.at_ms };
        self.progress.newest_ms.fetch_max(proposed.at_ms, Ordering::Release);
        // A machine that panics leaves its state unknown: it is never used again.
        let applied = catch_unwind(AssertUnwindSafe(|| self.machine.apply(stamp, command)))
            .map_err(|_| Fatal::MachinePanicked { index })?;
        records.extend(applied.records);
        if proposed.everywhere {
            self.marks.everywhere = index;
        }
        let bytes = proposed.bytes.len() as u64;
        self.progress.since_snapshot_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Outcome(Some(Box::new(applied.reply))))
    }

    fn replicated(&self) -> Replicated {
        let known = self.roster.known();
        let (removed, level) = (known.removed.clone(), known.level);
        Replicated { removed, level, digest: self.marks.digest }
    }

    /// The state as it is between two batches.
    pub(crate) fn point(&self) -> Point<M::Frozen> {
        let index = self.last_applied.map_or(0, |id| id.index());
        let level = self.roster.known().level;
        Point { index, level, frozen: self.machine.freeze(), heads: self.machine.heads() }
    }

    fn meta(&self) -> SnapshotMeta {
        let last_membership = self.roster.known().membership.clone();
        SnapshotMeta { last_log_id: self.last_applied, last_membership }
    }

    async fn install(&mut self, meta: &SnapshotMeta, from: File) -> Result<(), Fatal> {
        // Never backwards.
        if meta.last_log_id <= self.last_applied {
            return Ok(());
        }
        let (snapshots, received) = (self.snapshots.clone(), meta.clone());
        let temp = spawn_blocking(move || snapshots.receive(&received, from))
            .await
            .unwrap_or(Err(Fatal::Closed))?;
        self.writer.ask(Job::Barrier).await?;
        self.snapshots.adopt(&temp, meta)?;
        match self.snapshots.read()? {
            Some((meta, path, file)) => {
                self.restore(&meta, &path, file)?;
                self.check_journal()
            }
            None => Err(Fatal::damaged(What::Snapshot, "snapshots", "it is gone")),
        }
    }
}

impl<M: Machine> RaftStateMachine<TypeConfig> for Apply<M> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder<M>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last_applied, self.roster.known().membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(APPLY_BATCH_MAX_ENTRIES);
        while let Some(batch) = batches.next().await {
            let batch = batch.into_iter().collect::<Result<Vec<_>, _>>()?;
            // A panic would end the engine's task without a word.
            let applied = catch_unwind(AssertUnwindSafe(|| self.apply_batch(batch)));
            let applied = applied.unwrap_or_else(|panic| {
                let detail = format!("applying panicked: {}", panic_message(&*panic));
                Err(Fatal::Consensus { detail })
            });
            self.fatal.check(applied)?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder<M> {
        self.progress.since_snapshot_bytes.store(0, Ordering::Relaxed);
        Builder {
            frozen: Arc::new(self.machine.freeze()),
            meta: self.meta(),
            replicated: self.replicated(),
            snapshots: self.snapshots.clone(),
            writer: self.writer.clone(),
            fatal: self.fatal.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let installed = self.install(meta, snapshot.file).await;
        Ok(self.fatal.check(installed)?)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let read = self.fatal.check(self.snapshots.read())?;
        Ok(read.map(|(meta, _, file)| Snapshot { meta, snapshot: SnapshotData { file } }))
    }
}
