//! Segments: complete blocks of the journal's chains as immutable files.
//!
//! ```text
//! data dir/journal/<chain in hex>-<block in hex>
//!   row*      as in `frame`, at most 56 KiB each, unless a single record is larger
//!   index     where each row begins
//!   trailer   length of the index u32, checksum u32
//! ```
//!
//! The index leads a read to the row that it wants and no further. Its checksum covers chain and
//! block, as those of the records do, so a segment under another's name is as damaged as one with
//! a flipped bit. A segment gets its name only when it is complete and synced, and is not written
//! to again. Must not know which blocks are due, or what records mean.

use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{self, File, sync_dir};
use super::frame::{Place, RowBuilder, framed_len_bytes};
use super::journal_rows::{damaged, place};
use super::postings::{block_of, first_of};
use crate::codec;
use crate::error::{Fatal, What};
use crate::limits::{JOURNAL_BLOCK_RECORDS, JOURNAL_ROW_MAX_BYTES};

const VERSION: u8 = 1;
const TRAILER_BYTES: usize = 8;

/// Where the rows of a segment begin.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    /// Of each row the position of its first record in the block, from 0, and its first byte.
    rows: Vec<(u16, u64)>,
    /// Where the last row ends.
    end: u64,
}

fn checksum(chain: &[u8], block: u64, index: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(chain);
    hasher.update(&block.to_le_bytes());
    hasher.update(index);
    hasher.finalize()
}

/// The segments of a data directory.
pub(crate) struct Segments {
    dir: PathBuf,
}

impl Segments {
    /// Creates the directory if need be.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Segments> {
        let dir = data_dir.join("journal");
        disk::create_dir_all(&dir)?;
        sync_dir(data_dir)?;
        Ok(Segments { dir })
    }

    fn path(&self, chain: &[u8], block: u64) -> PathBuf {
        let chain: String = chain.iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(format!("{chain}-{block:016x}"))
    }

    /// Begins the segment of `block` under the name `temp`, which has one writer at a time.
    pub(crate) fn create<'a>(
        &self,
        chain: &'a [u8],
        block: u64,
        temp: &str,
    ) -> Result<Draft<'a>, Fatal> {
        let temp = self.dir.join(temp);
        let file = File::create(&temp).map_err(|e| failed("creating", &temp, &e))?;
        let index = Index { rows: Vec::new(), end: 0 };
        let path = self.path(chain, block);
        Ok(Draft {
            chain,
            block,
            temp,
            path,
            file: BufWriter::new(file),
            next: first_of(block),
            row: None,
            index,
        })
    }

    /// Opens the segment of `block` and checks its index.
    pub(crate) fn read<'a>(&self, chain: &'a [u8], block: u64) -> Result<Segment<'a>, Fatal> {
        let path = self.path(chain, block);
        let mut file = File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                let detail = format!("its file {} is missing", path.display());
                damaged(chain, first_of(block), &detail)
            }
            _ => failed("opening", &path, &e),
        })?;
        let index = read_index(&mut file, chain, block, &path)?;
        Ok(Segment { chain, block, path, file, index })
    }
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Fatal {
    Fatal::disk(format!("{doing} {}", path.display()), error)
}

fn read_index(file: &mut File, chain: &[u8], block: u64, path: &Path) -> Result<Index, Fatal> {
    let wrong = |detail: &str| {
        damaged(chain, first_of(block), &format!("the index of {}: {detail}", path.display()))
    };
    let io = |e: io::Error| failed("reading", path, &e);
    let len = file.seek(SeekFrom::End(0)).map_err(io)?;
    let trailer_at = len.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| wrong("cut short"))?;
    let trailer = read_at(file, trailer_at, TRAILER_BYTES).map_err(io)?;
    let (index_len, sum) = trailer.split_at(4);
    let index_len = u32_of(index_len);
    let at = trailer_at.checked_sub(u64::from(index_len)).ok_or_else(|| wrong("cut short"))?;
    // It has a pair for each of a block's records at most.
    if u64::from(index_len) > 16 * (JOURNAL_BLOCK_RECORDS + 1) {
        return Err(wrong("too long"));
    }
    let bytes = read_at(file, at, index_len as usize).map_err(io)?;
    if checksum(chain, block, &bytes) != u32_of(sum) {
        return Err(wrong("the checksum does not match"));
    }
    let index: Index = codec::decode(VERSION, &bytes)
        .map_err(|e| Fatal::codec(What::Journal, place(chain, first_of(block)), e))?;
    if index.end != at {
        return Err(wrong("the file has another length"));
    }
    Ok(index)
}

/// The number in the first four of `bytes`, of which there are four.
fn u32_of(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<4>().map_or(0, |b| u32::from_le_bytes(*b))
}

fn read_at(file: &mut File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A segment that is being written.
pub(crate) struct Draft<'a> {
    chain: &'a [u8],
    block: u64,
    temp: PathBuf,
    path: PathBuf,
    file: BufWriter<File>,
    /// The position of the record that comes next.
    next: u64,
    row: Option<RowBuilder>,
    index: Index,
}

impl Draft<'_> {
    /// Adds record `seq`, which must be the next, in its stored form.
    pub(crate) fn push(&mut self, seq: u64, payload: &[u8]) -> Result<(), Fatal> {
        if seq != self.next {
            return Err(self.missing());
        }
        let full = |row: &RowBuilder| {
            row.len_bytes() + framed_len_bytes(payload.len()) > JOURNAL_ROW_MAX_BYTES
        };
        if self.row.as_ref().is_some_and(full) {
            self.put_row()?;
        }
        if self.row.is_none() {
            // The remainder is below the size of a block, 4,096.
            let nth = (self.next - first_of(self.block)) as u16;
            self.index.rows.push((nth, self.index.end));
        }
        let begin = || RowBuilder::new(Place::new(self.chain, self.next));
        self.row.get_or_insert_with(begin).push(payload);
        self.next += 1;
        Ok(())
    }

    fn missing(&self) -> Fatal {
        damaged(self.chain, self.next, "it is missing")
    }

    fn put_row(&mut self) -> Result<(), Fatal> {
        let Some(row) = self.row.take() else {
            return Ok(());
        };
        let row = row.finish();
        self.index.end += row.len() as u64;
        self.file.write_all(&row).map_err(|e| failed("writing", &self.temp, &e))
    }

    /// Makes the segment durable, and only then gives it its name.
    pub(crate) fn finish(mut self) -> Result<(), Fatal> {
        if self.next != first_of(self.block + 1) {
            return Err(self.missing());
        }
        self.put_row()?;
        let index = codec::encode(VERSION, &self.index)
            .map_err(|e| Fatal::codec(What::Journal, place(self.chain, first_of(self.block)), e))?;
        let sum = checksum(self.chain, self.block, &index);
        let put = |file: &mut BufWriter<File>| {
            file.write_all(&index)?;
            // Bounded as `read_index` says.
            file.write_all(&(index.len() as u32).to_le_bytes())?;
            file.write_all(&sum.to_le_bytes())?;
            file.flush()?;
            file.get_ref().sync_all()
        };
        put(&mut self.file).map_err(|e| failed("writing", &self.temp, &e))?;
        disk::rename(&self.temp, &self.path).map_err(|e| failed("naming", &self.path, &e))?;
        let dir = self.path.parent().unwrap_or(&self.path);
        sync_dir(dir).map_err(|e| failed("syncing", dir, &e))
    }
}

/// A segment that is being read.
pub(crate) struct Segment<'a> {
    chain: &'a [u8],
    block: u64,
    path: PathBuf,
    file: File,
    index: Index,
}

impl Segment<'_> {
    /// The rows from the one that holds record `from` on: the first record's position, and the
    /// bytes.
    pub(crate) fn rows(mut self, from: u64) -> impl Iterator<Item = Result<(u64, Vec<u8>), Fatal>> {
        debug_assert_eq!(block_of(from), self.block);
        let offset = from.saturating_sub(first_of(self.block));
        let later = self.index.rows.partition_point(|(nth, _)| u64::from(*nth) <= offset);
        let mut row = later.saturating_sub(1);
        std::iter::from_fn(move || {
            let (nth, at) = *self.index.rows.get(row)?;
            row += 1;
            let end = self.index.rows.get(row).map_or(self.index.end, |(_, next)| *next);
            let first = first_of(self.block) + u64::from(nth);
            Some(self.row(first, at, end).map(|bytes| (first, bytes)))
        })
    }

    fn row(&mut self, first: u64, at: u64, end: u64) -> Result<Vec<u8>, Fatal> {
        let len = end.checked_sub(at).and_then(|len| usize::try_from(len).ok());
        let len = len.ok_or_else(|| damaged(self.chain, first, "the index runs backwards"))?;
        read_at(&mut self.file, at, len).map_err(|e| failed("reading", &self.path, &e))
    }
}
