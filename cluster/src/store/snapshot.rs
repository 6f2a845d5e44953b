//! Snapshots: whole states of the machine, one file each, of which the newest is kept.
//!
//! A file is written under a temporary name, synced, and given its name only when every journal
//! row that the state speaks of is durable; the one before it goes after that. So whatever has a
//! snapshot's name is complete. Must not know what a state is.

use std::collections::BTreeSet;
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::RaftSnapshotBuilder;

use super::digest::Digest;
use super::disk::{self, File, sync_dir};
use super::identity::{ClusterId, hex};
use super::snapshot_file::{Header, Reader, UnknownVersion, Writer};
use super::writer::{Job, WriterHandle};
use crate::Machine;
use crate::error::{Fatal, StartError, What};
use crate::fatal::FatalCell;
use crate::runtime::spawn_blocking;
use crate::types::{LogId, Snapshot, SnapshotData, SnapshotMeta, StoredMembership, TypeConfig};

const EXTENSION: &str = "snap";

/// The directory of snapshots.
pub(crate) struct Snapshots {
    dir: PathBuf,
    cluster: ClusterId,
    current: Mutex<Option<Current>>,
}

#[derive(Clone)]
struct Current {
    meta: SnapshotMeta,
    path: PathBuf,
    bytes: u64,
}

/// The file that holds a snapshot up to `last`.
fn file_name(last: Option<&LogId>) -> String {
    let (index, term, node) = last.map_or((0, 0, 0), |id| {
        (id.index(), id.committed_leader_id().term, id.committed_leader_id().node_id)
    });
    format!("{index:020}-{term}-{node}.{EXTENSION}")
}

/// What went wrong with the file at `path`, for people.
pub(crate) fn file_error(path: &Path, doing: &str, error: &io::Error) -> Fatal {
    let place = path.display().to_string();
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<UnknownVersion>());
    match (inner, error.kind()) {
        (Some(version), _) => Fatal::Version {
            what: What::Snapshot,
            place,
            found: version.found,
            supported: UnknownVersion::SUPPORTED,
        },
        (None, io::ErrorKind::InvalidData) => {
            Fatal::damaged(What::Snapshot, place, error.to_string())
        }
        _ => Fatal::disk(format!("{doing} {place}"), error),
    }
}

impl Snapshots {
    /// Finds the newest snapshot and removes what a crash left unfinished or superseded.
    pub(crate) fn open(data_dir: &Path, cluster: ClusterId) -> Result<Snapshots, StartError> {
        let dir = data_dir.join("snapshots");
        let io = |doing: &str, e: io::Error| StartError::io(data_dir, &dir, doing, &e);
        disk::create_dir_all(&dir).map_err(|e| io("creating", e))?;
        sync_dir(data_dir).map_err(|e| io("syncing", e))?;
        let mut complete = Vec::new();
        for path in disk::files_in(&dir).map_err(|e| io("reading", e))? {
            match path.extension() {
                Some(extension) if extension == EXTENSION => complete.push(path),
                _ => disk::remove_file(&path).map_err(|e| io("cleaning", e))?,
            }
        }
        complete.sort();
        let newest = complete.pop();
        let this = Snapshots { dir: dir.clone(), cluster, current: Mutex::new(None) };
        if let Some(path) = newest {
            let meta = this.read_meta(&path, data_dir)?;
            let bytes = File::open(&path).and_then(|file| disk::size(&file)).unwrap_or(0);
            *this.current() = Some(Current { meta, path, bytes });
        }
        for superseded in complete {
            disk::remove_file(&superseded).map_err(|e| io("cleaning", e))?;
        }
        Ok(this)
    }

    fn read_meta(&self, path: &Path, data_dir: &Path) -> Result<SnapshotMeta, StartError> {
        let fatal = |e| StartError::fatal(data_dir, file_error(path, "reading", &e));
        let reader =
            File::open(path).and_then(|f| Reader::new(BufReader::new(f))).map_err(fatal)?;
        if reader.header.cluster != self.cluster {
            return Err(StartError::ForeignCluster {
                path: path.into(),
                found: hex(&reader.header.cluster),
                expected: hex(&self.cluster),
            });
        }
        meta_of(reader.header).map_err(fatal)
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the newest snapshot is of, and its size.
    pub(crate) fn newest(&self) -> Option<(SnapshotMeta, u64)> {
        self.current().as_ref().map(|c| (c.meta.clone(), c.bytes))
    }

    pub(crate) fn last_index(&self) -> Option<u64> {
        self.current().as_ref().and_then(|c| c.meta.last_log_id).map(|id| id.index())
    }

    /// The newest snapshot, open for reading.
    pub(crate) fn read(&self) -> Result<Option<(SnapshotMeta, PathBuf, File)>, Fatal> {
        // Opened under the lock: a newer one may take its place at any time.
        let current = self.current();
        let Some(Current { meta, path, .. }) = current.as_ref() else {
            return Ok(None);
        };
        let file = File::open(path).map_err(|e| file_error(path, "opening", &e))?;
        Ok(Some((meta.clone(), path.clone(), file)))
    }

    /// Reads the newest snapshot through, checking all of it.
    pub(crate) fn check_newest(&self) -> Result<(), Fatal> {
        let Some((_, path, mut file)) = self.read()? else { return Ok(()) };
        check(&mut file).map_err(|e| file_error(&path, "checking", &e))
    }

    /// Writes a snapshot under a temporary name.
    fn write<M: Machine>(
        &self,
        frozen: &M::Frozen,
        meta: &SnapshotMeta,
        replicated: Replicated,
    ) -> io::Result<PathBuf> {
        let Replicated { removed, level, digest } = replicated;
        let temp = self.dir.join(file_name(meta.last_log_id.as_ref())).with_extension("writing");
        let header = Header {
            cluster: self.cluster,
            last: meta.last_log_id.as_ref().map(Into::into),
            membership_at: meta.last_membership.log_id().as_ref().map(Into::into),
            membership: meta.last_membership.membership().into(),
            removed,
            level,
            digest,
        };
        let mut out = Writer::new(BufWriter::new(File::create(&temp)?), &header)?;
        M::write_snapshot(frozen, &mut out)?;
        let file = out.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(temp)
    }

    /// Writes the first snapshot of a cluster that is founded from a backup.
    pub(crate) fn take<M: Machine>(
        &self,
        frozen: &M::Frozen,
        meta: &SnapshotMeta,
        level: u32,
    ) -> Result<(), Fatal> {
        let written = self.write::<M>(frozen, meta, Replicated { level, ..Replicated::default() });
        let temp = written.map_err(|e| Fatal::disk("writing a snapshot", &e))?;
        self.adopt(&temp, meta)
    }

    /// Copies a received snapshot under a temporary name, checking all of it.
    pub(crate) fn receive(&self, meta: &SnapshotMeta, mut from: File) -> Result<PathBuf, Fatal> {
        let temp = self.dir.join(file_name(meta.last_log_id.as_ref())).with_extension("received");
        let copy = |from: &mut File| -> io::Result<()> {
            from.rewind()?;
            let mut file = File::create(&temp)?;
            io::copy(from, &mut file)?;
            file.flush()?;
            file.sync_all()
        };
        copy(&mut from).map_err(|e| Fatal::disk("receiving a snapshot", &e))?;
        let reader = File::open(&temp).and_then(|f| Reader::new(BufReader::new(f)));
        let reader = reader.map_err(|e| file_error(&temp, "checking", &e))?;
        let cluster = reader.header.cluster;
        reader.finish().map_err(|e| file_error(&temp, "checking", &e))?;
        if cluster != self.cluster {
            let detail = format!("it is of cluster {}", hex(&cluster));
            return Err(Fatal::damaged(What::Snapshot, temp.display().to_string(), detail));
        }
        Ok(temp)
    }

    /// Gives the finished file `temp` its name, unless a newer snapshot has come meanwhile, and
    /// removes the one before. Every journal row that it speaks of must be durable.
    pub(crate) fn adopt(&self, temp: &Path, meta: &SnapshotMeta) -> Result<(), Fatal> {
        let error = |e: io::Error| Fatal::disk(format!("naming {}", temp.display()), &e);
        let mut current = self.current();
        if current.as_ref().is_some_and(|c| c.meta.last_log_id > meta.last_log_id) {
            return disk::remove_file(temp).map_err(error);
        }
        let path = self.dir.join(file_name(meta.last_log_id.as_ref()));
        let bytes = File::open(temp).and_then(|file| disk::size(&file)).map_err(error)?;
        disk::rename(temp, &path).map_err(error)?;
        sync_dir(&self.dir).map_err(error)?;
        let before = current.replace(Current { meta: meta.clone(), path: path.clone(), bytes });
        if let Some(before) = before.filter(|b| b.path != path)
            && let Err(e) = disk::remove_file(&before.path)
        {
            // It only takes space; the next start removes it.
            tracing::warn!(path = %before.path.display(), error = %e, "an old snapshot remains");
        }
        Ok(())
    }
}

/// Reads a snapshot through, checking all of it.
pub(crate) fn check(file: &mut File) -> io::Result<()> {
    file.rewind()?;
    Reader::new(BufReader::new(file))?.finish()
}

/// What the engine knows of a snapshot, from its header.
fn meta_of(header: Header) -> io::Result<SnapshotMeta> {
    let membership = header
        .membership
        .try_into()
        .map_err(|e: crate::codec::CodecError| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok(SnapshotMeta {
        last_log_id: header.last.map(Into::into),
        last_membership: StoredMembership::new(header.membership_at.map(Into::into), membership),
    })
}

/// What is replicated besides the machine and the membership.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replicated {
    /// Ids that were members once and are no more.
    pub removed: BTreeSet<u64>,
    /// Which of the machine's rules hold.
    pub level: u32,
    /// Of all records so far.
    pub digest: Digest,
}

/// Writes one snapshot, while the machine goes on.
pub(crate) struct Builder<M: Machine> {
    pub frozen: Arc<M::Frozen>,
    pub meta: SnapshotMeta,
    pub replicated: Replicated,
    pub snapshots: Arc<Snapshots>,
    pub writer: WriterHandle,
    pub fatal: FatalCell,
}

impl<M: Machine> Builder<M> {
    async fn build(&self) -> Result<(), Fatal> {
        let (snapshots, frozen, meta) =
            (self.snapshots.clone(), self.frozen.clone(), self.meta.clone());
        let replicated = self.replicated.clone();
        let written = spawn_blocking(move || {
            snapshots
                .write::<M>(&frozen, &meta, replicated)
                .map_err(|e| Fatal::disk("writing a snapshot", &e))
        });
        let temp = written.await.map_err(|e| Fatal::Consensus {
            detail: format!("the task that writes a snapshot ended: {e}"),
        })??;
        // The journal's rows up to here were in the store before the state was frozen.
        self.writer.ask(Job::Barrier).await?;
        let (snapshots, meta) = (self.snapshots.clone(), self.meta.clone());
        let adopted = spawn_blocking(move || snapshots.adopt(&temp, &meta));
        adopted.await.unwrap_or(Err(Fatal::Closed))
    }
}

impl<M: Machine> RaftSnapshotBuilder<TypeConfig> for Builder<M> {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        self.fatal.check(self.build().await)?;
        let read = self.fatal.check(self.snapshots.read())?;
        let (_, _, file) = read.ok_or_else(|| io::Error::other("the snapshot is gone"))?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: SnapshotData { file } })
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
