//! What a node keeps on disk: the log, the vote and the journal in one store, snapshots beside it.
//!
//! ```text
//! data dir/  lock        held while a process runs on the directory
//!            identity    which node of which cluster this is
//!            mark        how far the log is known to be synced
//!            ballot      a second copy of the vote
//!            store/      sled: the trees `log`, `journal`, `meta`
//!            journal/    complete blocks of the journal, one file each
//!            snapshots/  whole states, one file each
//! ```
//!
//! The store is shared by everything that reads and writes it and can be closed under all of them
//! at once. Only [`writer`] makes it durable. Must not know what a command or a record means.

pub(crate) mod apply;
pub(crate) mod archive;
pub(crate) mod ballot;
pub(crate) mod clock_record;
pub(crate) mod cut_short;
pub(crate) mod digest;
pub(crate) mod frame;
pub(crate) mod identity;
pub(crate) mod journal;
pub(crate) mod journal_rows;
pub(crate) mod keys;
pub(crate) mod levels;
pub(crate) mod log;
mod log_rows;
pub(crate) mod mark;
pub(crate) mod os;
pub(crate) mod postings;
pub(crate) mod renewal;
pub(crate) mod scrub;
pub(crate) mod segments;
pub(crate) mod snapshot;
pub(crate) mod snapshot_file;
pub(crate) mod stored;
pub(crate) mod stripe;
#[cfg(test)]
mod suite;
pub(crate) mod writer;

#[cfg(test)]
pub(crate) use crate::sim::disk;
#[cfg(not(test))]
pub(crate) use os as disk;

use std::fs::TryLockError;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use self::disk::{Db, File, Tree, sync_dir};
use crate::error::{Fatal, StartError, What};
use crate::limits::{RETRY_PAUSE, STORE_RELEASE_MAX, STORE_SEGMENT_BYTES};

/// The trees of an open store. Clones of them must not outlive a call of [`Store::with`].
pub(crate) struct Trees {
    pub db: Db,
    pub log: Tree,
    pub journal: Tree,
    pub meta: Tree,
}

/// The store, until it is closed.
pub(crate) struct Store {
    trees: RwLock<Option<Trees>>,
    /// A second handle on sled's file. sled's own flush only starts the writing back of pages
    /// (`sync_file_range`), which survives a crash of the process but not a loss of power. A
    /// failed write-back is reported to every open handle, so sled's own background fsync cannot
    /// swallow it.
    file: File,
    #[cfg(test)]
    pub fail_sync: std::sync::atomic::AtomicBool,
}

impl Store {
    /// Opens the store under `data_dir`, creating it if need be.
    pub(crate) fn open(data_dir: &Path, cache_bytes: u64) -> Result<Store, StartError> {
        let dir = data_dir.join("store");
        let config = sled::Config::new()
            .path(&dir)
            .cache_capacity(cache_bytes)
            .segment_size(STORE_SEGMENT_BYTES);
        let db = open_sled(data_dir, &config)?;
        let start =
            |doing: &str, e| StartError::fatal(data_dir, Fatal::sled(What::Store, doing, e));
        let tree = |name: &str| db.open_tree(name).map_err(|e| start("opening the store", e));
        let trees = Trees {
            log: tree("log")?,
            journal: tree("journal")?,
            meta: tree("meta")?,
            db: db.clone(),
        };
        let path = dir.join("db");
        let file = File::open(&path).map_err(|e| StartError::io(data_dir, &path, "opening", &e))?;
        sync_dir(&dir).map_err(|e| StartError::io(data_dir, &dir, "syncing", &e))?;
        Ok(Store {
            trees: RwLock::new(Some(trees)),
            file,
            #[cfg(test)]
            fail_sync: std::sync::atomic::AtomicBool::new(false),
        })
    }

    /// Runs `f` on the open store.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&Trees) -> Result<R, Fatal>) -> Result<R, Fatal> {
        let trees = self.trees.read().unwrap_or_else(PoisonError::into_inner);
        f(trees.as_ref().ok_or(Fatal::Closed)?)
    }

    /// Makes everything written before this call survive a loss of power.
    pub(crate) fn sync(&self) -> Result<(), Fatal> {
        self.with(|trees| {
            trees.db.flush().map_err(|e| Fatal::sled(What::Store, "flushing the store", e))?;
            #[cfg(test)]
            if self.fail_sync.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(Fatal::disk("syncing the store", &io::Error::other("told to fail")));
            }
            self.file.sync_data().map_err(|e| Fatal::disk("syncing the store", &e))
        })
    }

    /// Bytes that the store takes on disk.
    pub(crate) fn size_bytes(&self) -> u64 {
        disk::size(&self.file).unwrap_or(0)
    }

    /// Closes the store for everyone and waits until its file is let go of.
    pub(crate) fn close(&self) {
        let trees = self.trees.write().unwrap_or_else(PoisonError::into_inner).take();
        if trees.is_none() {
            return;
        }
        drop(trees);
        // sled lets go of its lock when the last of its background work ends, a moment later.
        let until = Instant::now() + STORE_RELEASE_MAX;
        while let Err(TryLockError::WouldBlock) = self.file.try_lock() {
            if Instant::now() >= until {
                tracing::warn!("the store has not let go of its file");
                return;
            }
            std::thread::sleep(RETRY_PAUSE);
        }
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "cannot unlock the store");
        }
    }
}

/// Opens sled. It panics on some kinds of damage; that too becomes a named error.
fn open_sled(data_dir: &Path, config: &sled::Config) -> Result<Db, StartError> {
    let until = Instant::now() + STORE_RELEASE_MAX;
    loop {
        let opened =
            catch_unwind(AssertUnwindSafe(|| disk::open_db(&data_dir.join("store"), config)))
                .map_err(|panic| StartError::Damaged {
                    what: What::Store,
                    place: data_dir.join("store").display().to_string(),
                    detail: format!("it cannot be opened: {}", panic_message(&*panic)),
                })?;
        match opened {
            Ok(db) => return Ok(db),
            // Our own lock is held, so this can only be what remains of a node of this process.
            Err(sled::Error::Io(e))
                if e.to_string().contains("could not acquire lock") && Instant::now() < until =>
            {
                std::thread::sleep(RETRY_PAUSE);
            }
            Err(sled::Error::Io(e)) => {
                return Err(StartError::io(data_dir, &data_dir.join("store"), "opening", &e));
            }
            Err(e) => {
                return Err(StartError::Damaged {
                    what: What::Store,
                    place: data_dir.join("store").display().to_string(),
                    detail: format!("it cannot be opened: {e}"),
                });
            }
        }
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// The data directory, locked against other processes.
pub(crate) struct DataDir {
    _lock: File,
}

impl DataDir {
    pub(crate) fn lock(path: &Path) -> Result<DataDir, StartError> {
        let io = |p: &Path, doing: &str, e: io::Error| StartError::io(path, p, doing, &e);
        create_synced(path).map_err(|e| io(path, "creating", e))?;
        let lock_path = path.join("lock");
        let lock = disk::open_to_change(&lock_path).map_err(|e| io(&lock_path, "opening", e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StartError::Locked { dir: path.into() }),
            Err(TryLockError::Error(e)) => return Err(io(&lock_path, "locking", e)),
        }
        Ok(DataDir { _lock: lock })
    }
}

/// Makes `dir`, and whatever is missing above it, so that a loss of power does not take it away.
fn create_synced(dir: &Path) -> io::Result<()> {
    let missing = dir.ancestors().take_while(|dir| !disk::exists(dir)).collect::<Vec<_>>();
    disk::create_dir_all(dir)?;
    for made in missing {
        match made.parent() {
            Some(parent) if parent != Path::new("") => sync_dir(parent)?,
            _ => sync_dir(Path::new("."))?,
        }
    }
    Ok(())
}

/// Replaces `path` by `bytes` so that after a loss of power it holds the old or the new.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("a file without a directory"))?;
    let temp = path.with_extension("tmp");
    let mut file = File::create(&temp)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    disk::rename(&temp, path)?;
    sync_dir(dir)
}
