//! How far the log is known to have been synced, kept outside the store.
//!
//! The store drops what follows a damaged spot near its end as if it had never been written: it
//! cannot tell damage from a write that a crash cut short. This mark can. It is written after each
//! sync, and is never ahead of what is durable; it is itself synced only now and then, so after a loss
//! of power it may be behind, which is harmless.
//!
//! Whenever it is synced, a second copy in the same file is, too, and the store is told: it then knows
//! what the file must hold at least. A file that holds less is missing, or an older copy. Must not know
//! what the entries are.

use std::io;
use std::path::Path;

use super::disk::{self, File};
use crate::error::{Fatal, StartError, What};

const VERSION: u8 = 1;
/// Version, last synced index plus one, checksum.
const MARK_BYTES: usize = 1 + 8 + 4;
/// Where the copy stands that is written only to be synced.
const SYNCED_AT: u64 = 64;

/// The mark's file.
pub(crate) struct Mark {
    file: File,
    next: u64,
    /// What the copy that is synced says.
    synced: u64,
    /// Whether the file is left as it is, because it is not the one that the store knows.
    foreign: bool,
}

impl Mark {
    /// Opens the mark of `data_dir`, at 0 if there is none or if it was cut short by a crash.
    pub(crate) fn open(data_dir: &Path) -> Result<Mark, StartError> {
        let path = data_dir.join("mark");
        let io = |e: io::Error| StartError::io(data_dir, &path, "opening", &e);
        let file = disk::open_to_change(&path).map_err(io)?;
        let read = |at| {
            let mut bytes = [0; MARK_BYTES];
            match disk::read_exact_at(&file, &mut bytes, at) {
                Ok(()) => Ok(decode(&bytes).unwrap_or(0)),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                Err(e) => Err(io(e)),
            }
        };
        let (next, synced) = (read(0)?, read(SYNCED_AT)?);
        Ok(Mark { file, next: next.max(synced), synced, foreign: false })
    }

    /// The index after the last entry known to be synced.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Checks it against `known`, which the store was told when the file was last synced. A file that
    /// holds less is left as it is from here on, so that every start finds it.
    pub(crate) fn check(&mut self, known: u64) -> Result<(), Fatal> {
        if self.next >= known {
            return Ok(());
        }
        self.foreign = true;
        let detail = format!(
            "it is missing, or an older copy: it says {}, and the store knows of {known}",
            self.next
        );
        Err(Fatal::damaged(What::Mark, "the file mark", detail))
    }

    /// Everything below `next` has been synced.
    pub(crate) fn advance(&mut self, next: u64) -> Result<(), Fatal> {
        if next <= self.next || self.foreign {
            return Ok(());
        }
        self.write(next, 0)?;
        self.next = next;
        Ok(())
    }

    /// Entries from `next` on are about to be taken back. The store knows of no more already.
    pub(crate) fn retreat(&mut self, next: u64) -> Result<(), Fatal> {
        if next >= self.next || self.foreign {
            return Ok(());
        }
        // One after the other, so that a crash cuts one of them short at most.
        if next < self.synced {
            self.write(next, SYNCED_AT)?;
            self.sync()?;
            self.synced = next;
        }
        self.write(next, 0)?;
        self.next = next;
        self.sync()
    }

    /// Makes it durable. Returns what the store may rely on from now on, if that is more than before.
    pub(crate) fn keep(&mut self) -> Result<Option<u64>, Fatal> {
        if self.foreign || self.synced == self.next {
            return Ok(None);
        }
        self.write(self.next, SYNCED_AT)?;
        self.sync()?;
        self.synced = self.next;
        Ok(Some(self.next))
    }

    fn sync(&self) -> Result<(), Fatal> {
        self.file.sync_data().map_err(|e| Fatal::disk("syncing the mark", &e))
    }

    fn write(&mut self, next: u64, at: u64) -> Result<(), Fatal> {
        disk::write_all_at(&self.file, &encode(next), at)
            .map_err(|e| Fatal::disk("writing the mark", &e))
    }
}

fn encode(next: u64) -> [u8; MARK_BYTES] {
    let mut bytes = [0; MARK_BYTES];
    bytes[0] = VERSION;
    bytes[1..9].copy_from_slice(&next.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..9]);
    bytes[9..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; MARK_BYTES]) -> Option<u64> {
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    let good = crc32fast::hash(body) == u32::from_le_bytes(*checksum) && body[0] == VERSION;
    good.then(|| super::keys::tail_u64(body).map(u64::swap_bytes)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_comes_back_and_a_broken_one_is_none() {
        assert_eq!(decode(&encode(300)), Some(300));
        let mut bad = encode(300);
        bad[3] ^= 1;
        assert_eq!(decode(&bad), None);
    }

    #[test]
    fn the_mark_goes_on_and_back_only_when_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mark = Mark::open(dir.path()).expect("opens");
        mark.advance(5).expect("writes");
        mark.advance(3).expect("writes");
        mark.retreat(9).expect("writes");
        assert_eq!(Mark::open(dir.path()).expect("opens").next(), 5);
        mark.retreat(3).expect("writes");
        assert_eq!(Mark::open(dir.path()).expect("opens").next(), 3);
    }
    #[test]
    fn a_mark_that_is_missing_or_older_than_the_store_knows_is_named_and_stays_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mark = Mark::open(dir.path()).expect("opens");
        mark.advance(5).expect("writes");
        assert_eq!(mark.keep().expect("syncs"), Some(5));
        assert_eq!(mark.keep().expect("syncs"), None);
        mark.advance(9).expect("writes");
        let path = dir.path().join("mark");
        // What a loss of power may do to the copy that is not synced.
        let mut bytes = std::fs::read(&path).expect("reads");
        bytes[3] ^= 1;
        std::fs::write(&path, bytes).expect("writes");
        let mut torn = Mark::open(dir.path()).expect("opens");
        assert_eq!((torn.next(), torn.check(5)), (5, Ok(())));
        std::fs::remove_file(&path).expect("removes");
        for _ in 0..2 {
            let mut mark = Mark::open(dir.path()).expect("opens");
            assert!(matches!(mark.check(5), Err(Fatal::Damaged { what: What::Mark, .. })));
            mark.advance(20).expect("is left alone");
            assert_eq!(mark.keep().expect("is left alone"), None);
        }
    }
}
