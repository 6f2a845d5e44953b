//! Values of any size as rows that the store keeps inside its pages.
//!
//! A value over a quarter of a segment becomes, together with the page that holds it, a file of
//! its own that nothing syncs. So a value is cut into parts of bounded size under keys that end in
//! the part's number; each part begins with how many there are. All parts of a value are written
//! in one batch. Must not know what the values are.

use super::disk::{Batch, Tree};
use crate::error::{Fatal, What};
use crate::limits::ROW_PART_MAX_BYTES;

const PART_BYTES: usize = 2;

/// A value and the key it stands under.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// Which rows are read, for the sake of what errors say.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub tree: &'a Tree,
    pub what: What,
}

fn part_key(key: &[u8], part: u16) -> Vec<u8> {
    [key, &part.to_be_bytes()].concat()
}

/// Puts `value` under `key`.
pub(crate) fn put(batch: &mut Batch, key: &[u8], value: &[u8]) {
    let chunks = value.chunks(ROW_PART_MAX_BYTES).collect::<Vec<_>>();
    // Values are bounded by the codec's limit, some 70 parts.
    let parts = chunks.len().max(1) as u16;
    if chunks.is_empty() {
        batch.insert(part_key(key, 0), &parts.to_le_bytes());
    }
    for (part, chunk) in chunks.into_iter().enumerate() {
        let bytes = [parts.to_le_bytes().as_slice(), chunk].concat();
        batch.insert(part_key(key, part as u16), bytes);
    }
}

impl Rows<'_> {
    /// The value under `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fatal> {
        let Some(first) = self.part(key, 0)? else {
            return Ok(None);
        };
        self.join(key, &first).map(Some)
    }

    /// The last row whose key is not below `low` and not above `key`.
    pub(crate) fn last_up_to(&self, low: &[u8], key: &[u8]) -> Result<Option<Row>, Fatal> {
        self.last(low, &part_key(key, u16::MAX))
    }

    /// The last row whose key begins with `prefix`.
    pub(crate) fn last_of(&self, prefix: &[u8]) -> Result<Option<Row>, Fatal> {
        self.last(prefix, &super::keys::after(prefix))
    }

    fn last(&self, low: &[u8], high: &[u8]) -> Result<Option<Row>, Fatal> {
        let found = self.tree.range(low..high).next_back().transpose();
        match found.map_err(|e| self.error(e))? {
            None => Ok(None),
            Some((full_key, _)) => {
                let key = self.strip(&full_key)?;
                let value = self.get(key)?;
                Ok(Some((key.to_vec(), value.ok_or_else(|| self.missing(key, 0))?)))
            }
        }
    }

    /// The key of the first row that is not below `low` and below `high`, whatever its value.
    pub(crate) fn first_key(&self, low: &[u8], high: &[u8]) -> Result<Option<Vec<u8>>, Fatal> {
        let Some(found) = self.tree.range(low..high).next() else {
            return Ok(None);
        };
        let (full_key, _) = found.map_err(|e| self.error(e))?;
        self.strip(&full_key).map(|key| Some(key.to_vec()))
    }

    /// The rows whose keys are not below `low` and below `high`, in order.
    pub(crate) fn from<'b>(
        &'b self,
        low: &[u8],
        high: &[u8],
    ) -> impl Iterator<Item = Result<Row, Fatal>> + 'b {
        let mut parts = self.tree.range(low..high);
        std::iter::from_fn(move || {
            loop {
                let (full_key, part) = match parts.next()? {
                    Ok(found) => found,
                    Err(e) => return Some(Err(self.error(e))),
                };
                let key = match self.strip(&full_key) {
                    Ok(key) => key,
                    Err(e) => return Some(Err(e)),
                };
                // Further parts are read with the first; a row without a first part is damage.
                match full_key.last_chunk::<PART_BYTES>().map(|p| u16::from_be_bytes(*p)) {
                    Some(0) => {
                        return Some(self.join(key, &part).map(|value| (key.to_vec(), value)));
                    }
                    _ => match self.tree.contains_key(part_key(key, 0)) {
                        Ok(true) => {}
                        Ok(false) => return Some(Err(self.missing(key, 0))),
                        Err(e) => return Some(Err(self.error(e))),
                    },
                }
            }
        })
    }

    /// Takes the row under `key` away.
    pub(crate) fn remove(&self, batch: &mut Batch, key: &[u8]) -> Result<(), Fatal> {
        let Some(first) = self.part(key, 0)? else {
            return Ok(());
        };
        for part in 0..self.parts(key, &first)? {
            batch.remove(part_key(key, part));
        }
        Ok(())
    }

    fn part(&self, key: &[u8], part: u16) -> Result<Option<sled::IVec>, Fatal> {
        self.tree.get(part_key(key, part)).map_err(|e| self.error(e))
    }

    fn parts(&self, key: &[u8], first: &[u8]) -> Result<u16, Fatal> {
        let parts = first.first_chunk::<PART_BYTES>().map(|p| u16::from_le_bytes(*p));
        parts
            .filter(|parts| *parts > 0)
            .ok_or_else(|| Fatal::damaged(self.what, place(key), "a row without a number of parts"))
    }

    fn join(&self, key: &[u8], first: &[u8]) -> Result<Vec<u8>, Fatal> {
        let parts = self.parts(key, first)?;
        let mut value = first[PART_BYTES..].to_vec();
        for n in 1..parts {
            let part = self.part(key, n)?.ok_or_else(|| self.missing(key, n))?;
            if self.parts(key, &part)? != parts {
                return Err(Fatal::damaged(self.what, place(key), "parts of different rows"));
            }
            value.extend_from_slice(&part[PART_BYTES..]);
        }
        Ok(value)
    }

    fn strip<'k>(&self, full_key: &'k [u8]) -> Result<&'k [u8], Fatal> {
        full_key
            .len()
            .checked_sub(PART_BYTES)
            .map(|len| &full_key[..len])
            .ok_or_else(|| Fatal::damaged(self.what, place(full_key), "a key too short"))
    }

    fn missing(&self, key: &[u8], part: u16) -> Fatal {
        Fatal::damaged(self.what, place(key), format!("part {part} is missing"))
    }

    fn error(&self, e: sled::Error) -> Fatal {
        Fatal::sled(self.what, "reading rows", e)
    }
}

fn place(key: &[u8]) -> String {
    format!("row {}", key.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (sled::Db, Tree) {
        let db = sled::Config::new().temporary(true).open().expect("opens");
        let tree = db.open_tree("t").expect("opens");
        (db, Tree::Sled(tree))
    }

    fn write(tree: &Tree, rows: &[(&[u8], &[u8])]) {
        let mut batch = Batch::default();
        for (key, value) in rows {
            put(&mut batch, key, value);
        }
        tree.apply_batch(batch).expect("writes");
    }

    #[test]
    fn values_of_any_size_come_back_whole_and_no_part_is_over_the_bound() {
        let (_db, tree) = tree();
        let rows = Rows { tree: &tree, what: What::Log };
        for len in [0, 1, ROW_PART_MAX_BYTES, ROW_PART_MAX_BYTES + 1, 5 * ROW_PART_MAX_BYTES] {
            let value = (0..len).map(|n| n as u8).collect::<Vec<_>>();
            write(&tree, &[(b"k", &value)]);
            assert_eq!(rows.get(b"k"), Ok(Some(value)), "{len}");
        }
        for part in tree.sled().iter().values() {
            assert!(part.expect("reads").len() <= ROW_PART_MAX_BYTES + PART_BYTES);
        }
    }

    #[test]
    fn neighbours_are_found_whatever_their_number_of_parts() {
        let (_db, tree) = tree();
        let rows = Rows { tree: &tree, what: What::Log };
        let big = vec![7; 3 * ROW_PART_MAX_BYTES];
        write(&tree, &[(b"a", b"1"), (b"b", &big), (b"d", b"4")]);
        let keys =
            |from: &[u8]| rows.from(from, b"z").map(|r| r.expect("reads").0).collect::<Vec<_>>();
        assert_eq!(keys(b"a"), [b"a".to_vec(), b"b".to_vec(), b"d".to_vec()]);
        assert_eq!(rows.last_up_to(b"a", b"c"), Ok(Some((b"b".to_vec(), big))));
        assert_eq!(rows.last_of(b"d"), Ok(Some((b"d".to_vec(), b"4".to_vec()))));
        let mut batch = Batch::default();
        rows.remove(&mut batch, b"b").expect("reads");
        tree.apply_batch(batch).expect("writes");
        assert_eq!(tree.sled().len(), 2);
    }

    #[test]
    fn a_missing_part_is_damage() {
        let (_db, tree) = tree();
        let rows = Rows { tree: &tree, what: What::Log };
        for gone in 0..3u16 {
            write(&tree, &[(b"a", &vec![7; 3 * ROW_PART_MAX_BYTES])]);
            tree.sled().remove(part_key(b"a", gone)).expect("writes");
            let got = rows.from(b"a", b"b").next();
            assert!(matches!(got, Some(Err(Fatal::Damaged { .. }))), "{gone}: {got:?}");
        }
    }
}
