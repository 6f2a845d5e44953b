//! Posting lists: which records of a chain carry a tag.
//!
//! A chain is cut into blocks of 4,096 positions. When a block is complete, each tag that occurs
//! in it gets one row: the offsets of its records, and how many there were in all blocks before.
//! That sum is what makes counting one lookup, and skipping far ahead a binary search. The open
//! block's postings are in memory only. Must not know what tags mean.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::disk::Batch;
use super::keys;
use super::stripe::{self, Rows};
use crate::codec;
use crate::error::{Fatal, What};
use crate::limits::JOURNAL_BLOCK_RECORDS;

const VERSION: u8 = 1;

/// The block that `seq` is in.
pub(crate) fn block_of(seq: u64) -> u64 {
    (seq - 1) / JOURNAL_BLOCK_RECORDS
}

fn offset_of(seq: u64) -> u16 {
    // The remainder is below 4,096.
    ((seq - 1) % JOURNAL_BLOCK_RECORDS) as u16
}

/// The first position of `block`.
pub(crate) fn first_of(block: u64) -> u64 {
    block * JOURNAL_BLOCK_RECORDS + 1
}

/// Whether `seq` is the last position of its block.
pub(crate) fn completes_block(seq: u64) -> bool {
    seq.is_multiple_of(JOURNAL_BLOCK_RECORDS)
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct List {
    /// Records with the tag in the blocks before this one.
    before: u64,
    offsets: Vec<u16>,
}

impl List {
    fn end(&self) -> u64 {
        self.before + self.offsets.len() as u64
    }
}

/// The postings of a chain's last block.
#[derive(Debug, Default, Clone)]
pub(crate) struct OpenBlock(BTreeMap<Vec<u8>, Vec<u16>>);

impl OpenBlock {
    /// Notes that record `seq` carries `tags`.
    pub(crate) fn push(&mut self, seq: u64, tags: &[Vec<u8>]) {
        let offset = offset_of(seq);
        for tag in tags {
            let offsets = match self.0.get_mut(tag) {
                Some(offsets) => offsets,
                None => self.0.entry(tag.clone()).or_default(),
            };
            // A record that carries a tag twice is found once.
            if offsets.last() != Some(&offset) {
                offsets.push(offset);
            }
        }
    }

    fn of(&self, tag: &[u8]) -> &[u16] {
        self.0.get(tag).map_or(&[], Vec::as_slice)
    }

    /// Puts the rows of the completed `block` into `batch` and begins the next one.
    pub(crate) fn seal(
        &mut self,
        rows: Rows<'_>,
        chain: &[u8],
        block: u64,
        batch: &mut Batch,
    ) -> Result<(), Fatal> {
        for (tag, offsets) in std::mem::take(&mut self.0) {
            let before = Lists { rows, chain, tag: &tag }.total()?;
            let key = keys::postings(chain, &tag, block);
            stripe::put(batch, &key, &encode(&key, &List { before, offsets })?);
        }
        Ok(())
    }
}

/// A checksum over key and list, then the list.
fn encode(key: &[u8], list: &List) -> Result<Vec<u8>, Fatal> {
    let body =
        codec::encode(VERSION, list).map_err(|e| Fatal::codec(What::Postings, place(key), e))?;
    Ok([checksum(key, &body).to_le_bytes().as_slice(), &body].concat())
}

fn decode(key: &[u8], value: &[u8]) -> Result<List, Fatal> {
    let damaged = |detail| Fatal::damaged(What::Postings, place(key), detail);
    let (found, body) = value.split_first_chunk::<4>().ok_or_else(|| damaged("too short"))?;
    if checksum(key, body) != u32::from_le_bytes(*found) {
        return Err(damaged("the checksum does not match"));
    }
    codec::decode(VERSION, body).map_err(|e| Fatal::codec(What::Postings, place(key), e))
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

fn place(key: &[u8]) -> String {
    format!("row {}", key.escape_ascii())
}

/// Checks one row.
pub(crate) fn check(key: &[u8], value: &[u8]) -> Result<(), Fatal> {
    decode(key, value).map(|_| ())
}

/// The lists of one tag in one chain.
pub(crate) struct Lists<'a> {
    pub rows: Rows<'a>,
    pub chain: &'a [u8],
    pub tag: &'a [u8],
}

impl Lists<'_> {
    /// The list of the last block up to `block` that has the tag.
    fn up_to(&self, block: u64) -> Result<Option<(u64, List)>, Fatal> {
        let low = keys::postings_of(self.chain, self.tag);
        let found = self.rows.last_up_to(&low, &keys::postings(self.chain, self.tag, block))?;
        found.map(|(key, value)| Ok((block_in(&key)?, decode(&key, &value)?))).transpose()
    }

    /// Records with the tag in all complete blocks.
    fn total(&self) -> Result<u64, Fatal> {
        Ok(self.up_to(u64::MAX)?.map_or(0, |(_, list)| list.end()))
    }

    /// Records with the tag, `open` being the chain's last block.
    pub(crate) fn count(&self, open: &OpenBlock) -> Result<u64, Fatal> {
        Ok(self.total()? + open.of(self.tag).len() as u64)
    }

    /// Up to `limit` positions after `after`, without the first `skip` of them; `open` is the
    /// chain's last block and `head` its last position.
    pub(crate) fn seqs(
        &self,
        open: &OpenBlock,
        head: u64,
        after: u64,
        skip: u64,
        limit: usize,
    ) -> Result<Vec<u64>, Fatal> {
        let open_first = first_of(head / JOURNAL_BLOCK_RECORDS);
        let sealed = self.total()?;
        let target = self.rank(open, open_first, sealed, after)?.saturating_add(skip);
        let mut seqs = Vec::new();
        if target < sealed {
            self.take_sealed(target, limit, &mut seqs)?;
        }
        let from = usize::try_from(target.saturating_sub(sealed)).unwrap_or(usize::MAX);
        let rest = open.of(self.tag).get(from..).unwrap_or_default();
        let missing = limit - seqs.len();
        seqs.extend(rest.iter().take(missing).map(|o| open_first + u64::from(*o)));
        Ok(seqs)
    }

    /// How many records with the tag stand at `after` or before.
    fn rank(
        &self,
        open: &OpenBlock,
        open_first: u64,
        sealed: u64,
        after: u64,
    ) -> Result<u64, Fatal> {
        if after == 0 {
            return Ok(0);
        }
        if after >= open_first {
            let upto = open.of(self.tag).partition_point(|o| open_first + u64::from(*o) <= after);
            return Ok(sealed + upto as u64);
        }
        let block = block_of(after);
        Ok(match self.up_to(block)? {
            None => 0,
            Some((found, list)) if found == block => {
                list.before + list.offsets.partition_point(|o| *o <= offset_of(after)) as u64
            }
            Some((_, list)) => list.end(),
        })
    }

    /// The positions from the `target`th on, counted from 0, out of complete blocks.
    fn take_sealed(&self, target: u64, limit: usize, seqs: &mut Vec<u64>) -> Result<(), Fatal> {
        let from = keys::postings(self.chain, self.tag, self.block_with(target)?);
        let end = keys::after(&keys::postings_of(self.chain, self.tag));
        let mut at = target;
        for row in self.rows.from(&from, &end) {
            if seqs.len() >= limit {
                break;
            }
            let (key, value) = row?;
            let (block, list) = (block_in(&key)?, decode(&key, &value)?);
            let skip = usize::try_from(at.saturating_sub(list.before)).unwrap_or(usize::MAX);
            let rest = list.offsets.get(skip..).unwrap_or_default();
            let taken = rest.iter().take(limit - seqs.len());
            seqs.extend(taken.map(|o| first_of(block) + u64::from(*o)));
            at = list.end();
        }
        Ok(())
    }

    /// The block that holds the `target`th record with the tag: a binary search over the sums.
    fn block_with(&self, target: u64) -> Result<u64, Fatal> {
        let Some((mut high, _)) = self.up_to(u64::MAX)? else {
            return Ok(0);
        };
        let mut low = 0;
        // The last block whose sum is not beyond the target lies in `low..=high`.
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match self.up_to(middle)? {
                Some((found, list)) if list.before <= target => {
                    low = middle;
                    if list.end() > target {
                        return Ok(found);
                    }
                }
                // No block up to here has the tag.
                None => low = middle,
                Some(_) => high = middle - 1,
            }
        }
        Ok(self.up_to(low)?.map_or(low, |(found, _)| found))
    }
}

fn block_in(key: &[u8]) -> Result<u64, Fatal> {
    keys::tail_u64(key).ok_or_else(|| Fatal::damaged(What::Postings, place(key), "a key too short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_of_a_posting_list_does_not_change() {
        let value =
            encode(b"key", &List { before: 300, offsets: vec![0, 7, 4095] }).expect("encodes");
        assert_eq!(value[4..], [1, 251, 44, 1, 3, 0, 7, 251, 255, 15]);
        assert_eq!(value[..4], checksum(b"key", &value[4..]).to_le_bytes());
        assert!(check(b"key", &value).is_ok());
        assert!(check(b"other", &value).is_err());
    }

    #[test]
    fn blocks_meet_without_gap_or_overlap() {
        assert_eq!((block_of(1), offset_of(1)), (0, 0));
        assert_eq!((block_of(4096), offset_of(4096)), (0, 4095));
        assert_eq!((block_of(4097), first_of(1)), (1, 4097));
        assert!(completes_block(4096) && !completes_block(4097));
    }
}
