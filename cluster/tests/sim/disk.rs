//! The disk of a simulated node: rows and files in memory, of which a crash keeps what was synced and
//! whatever else the dice say.
//!
//! Unsynced rows survive as a prefix of their batches; an unsynced write to a file survives, is
//! lost, or is torn, each by itself; a name that was given or taken is kept only in the order in
//! which it happened, up to a point, unless its directory was synced. Any operation may fail with
//! EIO or for lack of space, or be the last one before the node dies. A path that is not under
//! [`ROOT`] is of the real disk. Must not know what the bytes mean.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::dice::Dice;
use super::executor::current;

pub use super::files::{
    File, create_dir_all, create_to_read, exists, files_in, open_to_change, read, read_exact_at,
    remove_file, rename, size, sync_dir, write_all_at,
};
pub use super::rows::{Batch, Db, Tree};

/// Where simulated disks are.
pub const ROOT: &str = "/simulated";
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

type Row = (Vec<u8>, Vec<u8>);
type Trees = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Clones share it.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

/// What goes wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// This many operations go well, then one fails.
    pub fails_in: Option<u32>,
    /// This many operations go well, then the node dies in the middle of one.
    pub dies_in: Option<u32>,
    /// There is no space.
    pub full: bool,
    /// Syncs say that they did, and did not.
    pub lies: bool,
}

pub(super) struct State {
    node: u64,
    pub faults: Faults,
    dead: bool,
    trees: Trees,
    durable: Trees,
    unsynced: Vec<(String, Batch)>,
    pub names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    unsynced_names: Vec<Naming>,
    pub inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// Operations, for the numbers.
    pub operations: u64,
    pub torn: u64,
    pub lost: u64,
    /// The file that was damaged last, and what it held before.
    undamaged: Option<(PathBuf, Vec<u8>)>,
}

/// What a file holds.
#[derive(Default)]
pub(super) struct Inode {
    pub data: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// A change of names.
enum Naming {
    Give(PathBuf, u64),
    Take(PathBuf),
    Move(PathBuf, PathBuf),
}

impl Naming {
    fn path(&self) -> &Path {
        match self {
            Naming::Give(path, _) | Naming::Take(path) | Naming::Move(path, _) => path,
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Naming::Give(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Naming::Take(path) => {
                names.remove(path);
            }
            Naming::Move(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

fn put(data: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if data.len() < offset + bytes.len() {
        data.resize(offset + bytes.len(), 0);
    }
    data[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn change(trees: &mut Trees, tree: &str, batch: &Batch) {
    let rows = trees.entry(tree.to_owned()).or_default();
    for (key, value) in &batch.0 {
        match value {
            Some(value) => {
                rows.insert(key.clone(), value.clone());
            }
            None => {
                rows.remove(key);
            }
        }
    }
}

/// Counts what takes entries away.
fn count_log(batch: &Batch) {
    let Some(simulation) = current() else { return };
    let purges = batch.0.iter().any(|(key, _)| key.as_slice() == crate::store::keys::PURGED);
    if purges {
        simulation.world.count("logs purged");
    } else if batch.0.iter().any(|(_, value)| value.is_none()) {
        simulation.world.count("logs cut back");
    }
}

/// The simulated disk that `path` is on.
pub fn of(path: &Path) -> Option<Disk> {
    let simulation = current()?;
    let node = path.strip_prefix(ROOT).ok()?.iter().next()?.to_str()?.parse().ok()?;
    Some(simulation.world.disk(node))
}

/// Where the data directory of `node` is.
pub fn data_dir(node: u64) -> PathBuf {
    Path::new(ROOT).join(node.to_string())
}

/// Opens the store in `dir`.
pub fn open_db(dir: &Path, config: &sled::Config) -> sled::Result<Db> {
    match of(dir) {
        Some(disk) => Ok(Db::Simulated(disk)),
        None => crate::store::os::open_db(dir, config).map(Db::Sled),
    }
}

/// What an operation does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    /// Takes space.
    Write,
    /// Takes none.
    Change,
}

impl State {
    /// Notes an operation, which may fail here.
    pub fn act(&mut self, kind: Kind, what: std::fmt::Arguments<'_>) -> io::Result<()> {
        self.operations += 1;
        let Some(simulation) = current() else { return Ok(()) };
        if self.dead {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let due = |left: &mut Option<u32>| match left {
            Some(0) => {
                *left = None;
                true
            }
            Some(n) => {
                *n -= 1;
                false
            }
            None => false,
        };
        let error = if due(&mut self.faults.dies_in) {
            self.dead = true;
            simulation.doom(self.node);
            Some(EIO)
        } else if due(&mut self.faults.fails_in) {
            Some(EIO)
        } else if self.faults.full && kind == Kind::Write {
            Some(ENOSPC)
        } else {
            None
        };
        if kind != Kind::Read || error.is_some() {
            let how = error.map_or(String::new(), |error| format!(": error {error}"));
            simulation.note(format_args!("disk {} {what}{how}", self.node));
        }
        error.map_or(Ok(()), |error| Err(io::Error::from_raw_os_error(error)))
    }

    pub fn inode(&mut self, path: &Path) -> u64 {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::default());
        self.name(Naming::Give(path.to_owned(), inode));
        inode
    }

    pub fn take(&mut self, path: &Path) {
        self.name(Naming::Take(path.to_owned()));
    }

    pub fn rename(&mut self, from: &Path, to: &Path) {
        self.name(Naming::Move(from.to_owned(), to.to_owned()));
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.unsynced_names.push(naming);
    }

    pub fn write(&mut self, inode: u64, offset: usize, bytes: &[u8]) {
        if let Some(inode) = self.inodes.get_mut(&inode) {
            put(&mut inode.data, offset, bytes);
            inode.unsynced.push((offset, bytes.to_vec()));
        }
    }

    pub fn sync_file(&mut self, inode: u64) {
        if let Some(inode) = self.inodes.get_mut(&inode).filter(|_| !self.faults.lies) {
            inode.durable.clone_from(&inode.data);
            inode.unsynced.clear();
        }
    }

    pub fn sync_names(&mut self, dir: &Path) {
        if self.faults.lies {
            return;
        }
        let names = std::mem::take(&mut self.unsynced_names);
        let (here, elsewhere) =
            names.into_iter().partition(|naming| naming.path().parent() == Some(dir));
        for naming in &here {
            let naming: &Naming = naming;
            naming.apply(&mut self.durable_names);
        }
        self.unsynced_names = elsewhere;
    }

    pub fn sync_store(&mut self) {
        if self.faults.lies {
            return;
        }
        for (tree, batch) in std::mem::take(&mut self.unsynced) {
            change(&mut self.durable, &tree, &batch);
        }
    }

    /// After a failed sync, what was not synced is lost though it can still be read.
    pub fn lose_unsynced(&mut self) {
        self.unsynced.clear();
    }

    pub fn store_bytes(&self) -> u64 {
        let rows = self.trees.values().flatten();
        rows.map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}

impl Disk {
    pub fn new(node: u64) -> Disk {
        Disk(Arc::new(Mutex::new(State {
            node,
            faults: Faults::default(),
            dead: false,
            trees: Trees::new(),
            durable: Trees::new(),
            unsynced: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            inodes: BTreeMap::new(),
            next_inode: 1,
            operations: 0,
            torn: 0,
            lost: 0,
            undamaged: None,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("not poisoned")
    }

    pub fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().faults);
    }

    /// The first or last row of `tree` within bounds.
    pub fn row(
        &self,
        tree: &str,
        low: Bound<Vec<u8>>,
        high: Bound<Vec<u8>>,
        last: bool,
    ) -> io::Result<Option<Row>> {
        let mut state = self.state();
        state.act(Kind::Read, format_args!("read {tree}"))?;
        let Some(rows) = state.trees.get(tree) else { return Ok(None) };
        // Bounds that leave nothing are no error to sled.
        let (Bound::Included(from) | Bound::Excluded(from)) = &low else { return Ok(None) };
        let (Bound::Included(to) | Bound::Excluded(to)) = &high else { return Ok(None) };
        let exact = from == to && matches!((&low, &high), (Bound::Included(_), Bound::Included(_)));
        if from >= to && !exact {
            return Ok(None);
        }
        let mut range = rows.range((low, high));
        let found = if last { range.next_back() } else { range.next() };
        Ok(found.map(|(key, value)| (key.clone(), value.clone())))
    }

    pub fn apply(&self, tree: &str, batch: Batch) -> io::Result<()> {
        let mut state = self.state();
        let hash = batch.0.iter().fold(crc32fast::Hasher::new(), |mut hash, (key, value)| {
            hash.update(key);
            hash.update(value.as_deref().unwrap_or_default());
            hash
        });
        let grows = batch.0.iter().any(|(_, value)| value.is_some());
        let kind = if grows { Kind::Write } else { Kind::Change };
        let (rows, hash) = (batch.0.len(), hash.finalize());
        state.act(kind, format_args!("{tree} {rows} rows {hash:08x}"))?;
        if tree == "log" {
            count_log(&batch);
        }
        change(&mut state.trees, tree, &batch);
        state.unsynced.push((tree.to_owned(), batch));
        Ok(())
    }

    /// What is left after a loss of power, or after the process was killed: the dice say.
    pub fn crash(&self, dice: &mut Dice) {
        let mut state = self.state();
        let state = &mut *state;
        state.dead = false;
        state.faults.dies_in = None;
        state.faults.fails_in = None;
        let kept = dice.below(state.unsynced.len() + 1);
        state.lost += (state.unsynced.len() - kept) as u64;
        for (tree, batch) in state.unsynced.drain(..).take(kept) {
            change(&mut state.durable, &tree, &batch);
        }
        state.trees.clone_from(&state.durable);
        let kept = dice.below(state.unsynced_names.len() + 1);
        for naming in state.unsynced_names.drain(..).take(kept) {
            naming.apply(&mut state.durable_names);
        }
        state.names.clone_from(&state.durable_names);
        state.inodes.retain(|inode, _| state.durable_names.values().any(|named| named == inode));
        for inode in state.inodes.values_mut() {
            for (offset, bytes) in inode.unsynced.drain(..) {
                match dice.below(3) {
                    0 => put(&mut inode.durable, offset, &bytes),
                    1 => {
                        state.torn += 1;
                        put(&mut inode.durable, offset, &bytes[..dice.below(bytes.len() + 1)]);
                    }
                    _ => state.lost += 1,
                }
            }
            inode.data.clone_from(&inode.durable);
        }
    }

    /// Flips a bit of what a node that is down keeps; says where.
    pub fn damage(&self, dice: &mut Dice) -> Option<String> {
        let mut state = self.state();
        let state = &mut *state;
        let flip = |bytes: &mut Vec<u8>, dice: &mut Dice| {
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
        };
        if dice.chance(300) {
            let files = state.names.iter().filter(|(path, _)| {
                path.ends_with("identity") || path.extension().is_some_and(|e| e == "snap")
            });
            let files: Vec<(PathBuf, u64)> = files.map(|(p, i)| (p.clone(), *i)).collect();
            let (path, inode) = files.get(dice.below(files.len().max(1)))?;
            let inode = state.inodes.get_mut(inode).filter(|inode| !inode.data.is_empty())?;
            state.undamaged = Some((path.clone(), inode.data.clone()));
            flip(&mut inode.data, dice);
            inode.durable.clone_from(&inode.data);
            return Some(path.display().to_string());
        }
        let rows = state.trees.get("log")?;
        let keys: Vec<Vec<u8>> = rows.keys().filter(|key| key[0] == b'e').cloned().collect();
        let key = keys.get(dice.below(keys.len().max(1)))?;
        let value = state.trees.get_mut("log")?.get_mut(key)?;
        flip(value, dice);
        state.durable.clone_from(&state.trees);
        state.undamaged = None;
        Some(format!("log row {}", key.escape_ascii()))
    }

    /// Whether the file that was damaged last holds what it held before.
    pub fn is_mended(&self) -> bool {
        let state = self.state();
        state.undamaged.as_ref().is_some_and(|(path, before)| {
            let inode = state.names.get(path).and_then(|inode| state.inodes.get(inode));
            inode.is_some_and(|inode| inode.data == *before)
        })
    }
}
