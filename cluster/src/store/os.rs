//! The files of the operating system, as far as a node needs them, and the store beneath.
//!
//! Everything that a node keeps goes through here: the tests put `sim::disk` in this place, which is
//! the same outside a simulation. Must not know what the files hold.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::cut_short;

pub(crate) use std::fs::File;
#[cfg(not(test))]
pub(crate) use std::fs::{create_dir_all, read, remove_file, rename};

#[cfg(not(test))]
pub(crate) use sled::{Batch, Db, Tree};

/// Opens sled as `config` says, in the directory that is named there, too. Nobody else may have it
/// open.
pub(crate) fn open_db(dir: &Path, config: &sled::Config) -> sled::Result<sled::Db> {
    cut_short::clear(dir)?;
    let db = config.open()?;
    cut_short::keep(dir)?;
    Ok(db)
}

/// Opens `path` for reading and writing, as it is, and makes it if there is none.
pub(crate) fn open_to_change(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

/// Makes `path` empty, for writing and then reading.
pub(crate) fn create_to_read(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(true).open(path)
}

/// Fills `bytes` with what stands at `offset`.
pub(crate) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(bytes, offset)
}

/// Writes `bytes` at `offset`.
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Bytes in `file`.
pub(crate) fn size(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

/// The files in `dir`, in no order.
pub(crate) fn files_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(dir)?.map(|found| Ok(found?.path())).collect()
}

/// Whether there is a file at `path`.
pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
}

/// Makes the names in `dir` survive a loss of power.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
