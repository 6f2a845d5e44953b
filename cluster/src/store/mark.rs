//! How far the log is known to have been synced, kept outside the store.
//!
//! The store drops what follows a damaged spot near its end as if it had never been written: it
//! cannot tell damage from a write that a crash cut short. This mark can. It is written after each
//! sync, and is never ahead of what is durable; it is itself synced only when it goes back, so
//! after a loss of power it may be behind, which is harmless. Must not know what the entries are.

use std::io;
use std::path::Path;

use super::disk::{self, File};
use crate::error::{Fatal, StartError};

const VERSION: u8 = 1;
/// Version, last synced index plus one, checksum.
const MARK_BYTES: usize = 1 + 8 + 4;

/// The mark's file.
pub(crate) struct Mark {
    file: File,
    next: u64,
}

impl Mark {
    /// Opens the mark of `data_dir`, at 0 if there is none or if it was cut short by a crash: it is
    /// a check, not a truth.
    pub(crate) fn open(data_dir: &Path) -> Result<Mark, StartError> {
        let path = data_dir.join("mark");
        let io = |e: io::Error| StartError::io(data_dir, &path, "opening", &e);
        let file = disk::open_to_change(&path).map_err(io)?;
        let mut bytes = [0; MARK_BYTES];
        let next = match disk::read_exact_at(&file, &mut bytes, 0) {
            Ok(()) => decode(&bytes).unwrap_or(0),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(e) => return Err(io(e)),
        };
        Ok(Mark { file, next })
    }

    /// The index after the last entry known to be synced.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Everything below `next` has been synced.
    pub(crate) fn advance(&mut self, next: u64) -> Result<(), Fatal> {
        if next <= self.next {
            return Ok(());
        }
        self.write(next)
    }

    /// Entries from `next` on are about to be taken back.
    pub(crate) fn retreat(&mut self, next: u64) -> Result<(), Fatal> {
        if next >= self.next {
            return Ok(());
        }
        self.write(next)?;
        self.file.sync_data().map_err(|e| Fatal::disk("syncing the mark", &e))
    }

    fn write(&mut self, next: u64) -> Result<(), Fatal> {
        disk::write_all_at(&self.file, &encode(next), 0)
            .map_err(|e| Fatal::disk("writing the mark", &e))?;
        self.next = next;
        Ok(())
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
}
