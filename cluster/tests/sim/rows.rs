//! The store beneath a simulated node: sled's interface, as far as it is used, over rows in memory.
//!
//! What sled promises is assumed here, not tested: batches are atomic, and after a crash a prefix of
//! them is there that holds at least what was synced. Outside a simulation this is sled.

use std::ops::{Bound, Range};

use sled::IVec;

use super::disk::Disk;

/// Changes that are made at once.
#[derive(Debug, Default, Clone)]
pub struct Batch(pub Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Batch {
    pub fn insert(&mut self, key: impl Into<IVec>, value: impl Into<IVec>) {
        self.0.push((key.into().to_vec(), Some(value.into().to_vec())));
    }

    pub fn remove(&mut self, key: impl Into<IVec>) {
        self.0.push((key.into().to_vec(), None));
    }
}

/// An open store.
#[derive(Clone)]
pub enum Db {
    Sled(sled::Db),
    Simulated(Disk),
}

impl Db {
    pub fn open_tree(&self, name: &str) -> sled::Result<Tree> {
        match self {
            Db::Sled(db) => db.open_tree(name).map(Tree::Sled),
            Db::Simulated(disk) => Ok(Tree::Simulated(disk.clone(), name.to_owned())),
        }
    }

    pub fn flush(&self) -> sled::Result<()> {
        match self {
            Db::Sled(db) => db.flush().map(|_| ()),
            // The sync that follows is what counts.
            Db::Simulated(_) => Ok(()),
        }
    }
}

/// Rows by key.
#[derive(Clone)]
pub enum Tree {
    Sled(sled::Tree),
    Simulated(Disk, String),
}

impl Tree {
    pub fn get(&self, key: impl AsRef<[u8]>) -> sled::Result<Option<IVec>> {
        match self {
            Tree::Sled(tree) => tree.get(key),
            Tree::Simulated(disk, name) => {
                let bound = Bound::Included(key.as_ref().to_vec());
                Ok(disk.row(name, bound.clone(), bound, false)?.map(|(_, value)| value.into()))
            }
        }
    }

    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> sled::Result<bool> {
        self.get(key).map(|value| value.is_some())
    }

    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl Into<IVec>) -> sled::Result<()> {
        match self {
            Tree::Sled(tree) => tree.insert(key, value).map(|_| ()),
            Tree::Simulated(..) => {
                let mut batch = Batch::default();
                batch.insert(key.as_ref(), value);
                self.apply_batch(batch)
            }
        }
    }

    pub fn apply_batch(&self, batch: Batch) -> sled::Result<()> {
        match self {
            Tree::Sled(tree) => {
                let mut real = sled::Batch::default();
                for (key, value) in batch.0 {
                    match value {
                        Some(value) => real.insert(key, value),
                        None => real.remove(key),
                    }
                }
                tree.apply_batch(real)
            }
            Tree::Simulated(disk, name) => Ok(disk.apply(name, batch)?),
        }
    }

    pub fn range(&self, range: Range<&[u8]>) -> Rows {
        match self {
            Tree::Sled(tree) => Rows::Sled(tree.range(range)),
            Tree::Simulated(disk, name) => Rows::Simulated {
                disk: disk.clone(),
                tree: name.clone(),
                low: Bound::Included(range.start.to_vec()),
                high: Bound::Excluded(range.end.to_vec()),
            },
        }
    }

    /// The tree as sled has it, for the tests that damage it.
    pub fn sled(&self) -> &sled::Tree {
        match self {
            Tree::Sled(tree) => tree,
            Tree::Simulated(..) => panic!("there is no sled here"),
        }
    }
}

/// Rows in order, from either end.
pub enum Rows {
    Sled(sled::Iter),
    Simulated { disk: Disk, tree: String, low: Bound<Vec<u8>>, high: Bound<Vec<u8>> },
}

type Row = sled::Result<(IVec, IVec)>;

impl Rows {
    fn take(&mut self, last: bool) -> Option<Row> {
        let Rows::Simulated { disk, tree, low, high } = self else { return None };
        match disk.row(tree, low.clone(), high.clone(), last) {
            Ok(None) => None,
            Ok(Some((key, value))) => {
                *(if last { high } else { low }) = Bound::Excluded(key.clone());
                Some(Ok((key.into(), value.into())))
            }
            Err(error) => Some(Err(error.into())),
        }
    }
}

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        match self {
            Rows::Sled(rows) => rows.next(),
            Rows::Simulated { .. } => self.take(false),
        }
    }
}

impl DoubleEndedIterator for Rows {
    fn next_back(&mut self) -> Option<Row> {
        match self {
            Rows::Sled(rows) => rows.next_back(),
            Rows::Simulated { .. } => self.take(true),
        }
    }
}
