//! What an earlier start that was cut short left among sled's own files, and what of them sled does
//! not survive.
//!
//! sled writes three kinds of files beside its log. None of them holds anything that the log does not:
//!
//! - `snap.<lsn>.generating` is written at every start and renamed to `snap.<lsn>` once it is synced.
//!   Under its first name it is never valid, yet sled takes it for its newest snapshot.
//! - `snap.<lsn>` saves sled from reading its whole log. Without one it reads the whole log.
//! - `conf` holds constants of this program and is never synced. sled stops on one that is cut short.
//!
//! So a file of these that is not what was written is removed before sled is opened, and sled makes
//! it again. Must not know what the log of sled holds.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The suffix of a snapshot that is being written.
const GENERATING: &str = ".generating";
/// What names of snapshots begin with.
const SNAPSHOT: &str = "snap.";
const CONF: &str = "conf";
/// A snapshot ends with its length before compression and the checksum of what stands before both.
const LENGTH_BYTES: usize = 8;

/// Removes from `dir` what sled could not start with.
pub(crate) fn clear(dir: &Path) -> io::Result<()> {
    let mut snapshots = Vec::new();
    let mut removed = false;
    for (path, name) in named(dir)? {
        if name.starts_with(SNAPSHOT) && name.ends_with(GENERATING) {
            fs::remove_file(&path)?;
            removed = true;
        } else if name.starts_with(SNAPSHOT) {
            snapshots.push(path);
        } else if name == CONF && !holds(&fs::read(&path)?, 0) {
            tracing::warn!(path = %path.display(), "the store's settings were cut short or are damaged; they are written again");
            fs::remove_file(&path)?;
            removed = true;
        }
    }
    // sled reads the newest alone, which its name tells.
    snapshots.sort();
    if let Some(newest) = snapshots.last()
        && !holds(&fs::read(newest)?, LENGTH_BYTES)
    {
        tracing::warn!(path = %newest.display(), "the store's index is damaged; it is made again from the store's log");
        // An older one would stand for a log that has moved on. The newest goes last: until then the
        // next start comes here again.
        for path in &snapshots {
            fs::remove_file(path)?;
        }
        removed = true;
    }
    if removed {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// Makes the files survive a loss of power that sled made while it opened and did not sync.
pub(crate) fn keep(dir: &Path) -> io::Result<()> {
    File::open(dir.join(CONF))?.sync_all()
}

/// The files in `dir` with their names; none if there is no such directory.
fn named(dir: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let found = match fs::read_dir(dir) {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let named = found.map(|entry| {
        let entry = entry?;
        Ok((entry.path(), entry.file_name().to_string_lossy().into_owned()))
    });
    named.collect()
}

/// Whether `bytes` end with the checksum of what stands before it and before `between` more bytes.
fn holds(bytes: &[u8], between: usize) -> bool {
    let Some((before, checksum)) = bytes.split_last_chunk::<4>() else { return false };
    let Some(body) = before.len().checked_sub(between).and_then(|end| before.get(..end)) else {
        return false;
    };
    !body.is_empty() && crc32fast::hash(body) == u32::from_le_bytes(*checksum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> sled::Config {
        sled::Config::new().path(dir).segment_size(1 << 16)
    }

    /// Opens what is in `dir`, compares it with what `round` rounds put there, and writes one more.
    fn round(dir: &Path, round: u64) {
        clear(dir).expect("clears");
        let db = config(dir).open().expect("opens");
        keep(dir).expect("keeps");
        for key in 0..64_u64 {
            let value = db.get(key.to_be_bytes()).expect("reads");
            let expected = round.checked_sub(1).map(|last| vec![last as u8 ^ key as u8; 4_000]);
            assert_eq!(value.as_deref(), expected.as_deref(), "key {key} in round {round}");
            db.insert(key.to_be_bytes(), vec![round as u8 ^ key as u8; 4_000]).expect("writes");
        }
        db.flush().expect("flushes");
    }

    fn files(dir: &Path, begins: &str) -> Vec<PathBuf> {
        let found = named(dir).expect("reads").into_iter();
        found.filter(|(_, name)| name.starts_with(begins)).map(|(path, _)| path).collect()
    }

    /// What each strike does to the directory of a store.
    fn strike(dir: &Path, nth: u64) {
        let snapshot = files(dir, SNAPSHOT).remove(0);
        let cut = |path: &Path, to: usize| {
            let bytes = fs::read(path).expect("reads");
            fs::write(path, &bytes[..to.min(bytes.len())]).expect("writes");
        };
        match nth % 7 {
            // Cut short before its first byte, in the middle, and before its end.
            0 => fs::write(dir.join("snap.FFFFFFFFFFFFFFFF.generating"), b"").expect("writes"),
            1 => {
                let bytes = fs::read(&snapshot).expect("reads");
                let to = snapshot.with_extension("0000000000FFFFFF.generating");
                fs::write(to, &bytes[..bytes.len() - 1]).expect("writes");
            }
            2 => {
                let mut bytes = fs::read(&snapshot).expect("reads");
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&snapshot, bytes).expect("writes");
            }
            3 => cut(&snapshot, 5),
            4 => cut(&dir.join(CONF), 0),
            5 => cut(&dir.join(CONF), 20),
            _ => fs::write(dir.join(CONF), [0; 60]).expect("writes"),
        }
    }

    /// Whether sled opens a copy of `dir` as it is.
    fn opens_without_help(dir: &Path) -> bool {
        let copy = tempfile::tempdir().expect("a directory");
        fs::create_dir(copy.path().join("blobs")).expect("creates");
        for (path, name) in named(dir).expect("reads") {
            if path.is_file() {
                fs::copy(&path, copy.path().join(name)).expect("copies");
            }
        }
        config(copy.path()).open().is_ok()
    }

    #[test]
    fn whatever_a_start_that_was_cut_short_leaves_the_store_opens_with_everything() {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = temp.path().join("store");
        round(&dir, 0);
        for nth in 0..28 {
            // Twice, so that there is a snapshot, and segments are used again.
            round(&dir, 2 * nth + 1);
            round(&dir, 2 * nth + 2);
            strike(&dir, nth);
            // An empty `conf` is the one case that it handles itself.
            if nth % 7 != 4 {
                assert!(!opens_without_help(&dir), "strike {}", nth % 7);
            }
        }
        round(&dir, 57);
        assert!(files(&dir, SNAPSHOT).len() == 1);
    }
}
