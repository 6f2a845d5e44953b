//! The files of a simulated disk, and the real ones outside a simulation.

use std::fs::TryLockError;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::disk::{Disk, Kind, of};

/// An open file.
pub enum File {
    Real(std::fs::File),
    Simulated {
        disk: Disk,
        inode: u64,
        at: usize,
    },
    /// The store's own.
    Store(Disk),
}

fn is_store(path: &Path) -> bool {
    path.ends_with("store/db")
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl File {
    pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        let Some(disk) = of(path) else { return std::fs::File::open(path).map(File::Real) };
        if is_store(path) {
            return Ok(File::Store(disk));
        }
        let mut state = disk.state();
        state.act(Kind::Read, format_args!("open {}", path.display()))?;
        let inode = *state.names.get(path).ok_or_else(missing)?;
        drop(state);
        Ok(File::Simulated { disk, inode, at: 0 })
    }

    pub fn create(path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        let Some(disk) = of(path) else { return std::fs::File::create(path).map(File::Real) };
        let mut state = disk.state();
        state.act(Kind::Write, format_args!("create {}", path.display()))?;
        // A new one under the name: what the old one held is gone sooner or later.
        let inode = state.inode(path);
        drop(state);
        Ok(File::Simulated { disk, inode, at: 0 })
    }

    pub fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    pub fn sync_data(&self) -> io::Result<()> {
        match self {
            File::Real(file) => file.sync_data(),
            File::Store(disk) => {
                let mut state = disk.state();
                let synced = state.act(Kind::Change, format_args!("sync the store"));
                match synced {
                    Ok(()) => state.sync_store(),
                    Err(_) => state.lose_unsynced(),
                }
                synced
            }
            File::Simulated { disk, inode, .. } => {
                let mut state = disk.state();
                state.act(Kind::Change, format_args!("sync file {inode}"))?;
                state.sync_file(*inode);
                Ok(())
            }
        }
    }

    pub fn try_lock(&self) -> Result<(), TryLockError> {
        match self {
            File::Real(file) => file.try_lock(),
            // One process a node: the world sees to it.
            File::Simulated { .. } | File::Store(_) => Ok(()),
        }
    }

    pub fn unlock(&self) -> io::Result<()> {
        match self {
            File::Real(file) => file.unlock(),
            File::Simulated { .. } | File::Store(_) => Ok(()),
        }
    }

    fn len(&self) -> io::Result<u64> {
        match self {
            File::Real(file) => crate::store::os::size(file),
            File::Store(disk) => Ok(disk.state().store_bytes()),
            File::Simulated { disk, inode, .. } => {
                let mut state = disk.state();
                state.act(Kind::Read, format_args!("size"))?;
                Ok(state.inodes.get(inode).ok_or_else(missing)?.data.len() as u64)
            }
        }
    }
}

impl Read for File {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let (disk, inode, at) = match self {
            File::Real(file) => return file.read(bytes),
            File::Store(_) => return Ok(0),
            File::Simulated { disk, inode, at } => (disk, inode, at),
        };
        let mut state = disk.state();
        state.act(Kind::Read, format_args!("read file {inode}"))?;
        let data = &state.inodes.get(inode).ok_or_else(missing)?.data;
        let rest = data.get(*at..).unwrap_or_default();
        let taken = rest.len().min(bytes.len());
        bytes[..taken].copy_from_slice(&rest[..taken]);
        *at += taken;
        Ok(taken)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (disk, inode, at) = match self {
            File::Real(file) => return file.write(bytes),
            File::Store(_) => return Err(io::ErrorKind::Unsupported.into()),
            File::Simulated { disk, inode, at } => (disk, inode, at),
        };
        let mut state = disk.state();
        let (len, hash) = (bytes.len(), crc32fast::hash(bytes));
        state.act(Kind::Write, format_args!("write file {inode} at {at} {len} {hash:08x}"))?;
        state.write(*inode, *at, bytes);
        *at += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            File::Real(file) => file.flush(),
            File::Simulated { .. } | File::Store(_) => Ok(()),
        }
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if let File::Real(file) = self {
            return file.seek(to);
        }
        let len = self.len()?;
        let File::Simulated { at, .. } = self else { return Ok(0) };
        let next = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(n) => len.checked_add_signed(n),
            SeekFrom::Current(n) => (*at as u64).checked_add_signed(n),
        };
        let next = next.ok_or(io::ErrorKind::InvalidInput)?;
        *at = next as usize;
        Ok(next)
    }
}

pub fn open_to_change(path: &Path) -> io::Result<File> {
    let Some(disk) = of(path) else {
        return crate::store::os::open_to_change(path).map(File::Real);
    };
    if disk.state().names.contains_key(path) { File::open(path) } else { File::create(path) }
}

pub fn create_to_read(path: &Path) -> io::Result<File> {
    match of(path) {
        Some(_) => File::create(path),
        None => crate::store::os::create_to_read(path).map(File::Real),
    }
}

/// The file at `offset`.
fn at(disk: &Disk, inode: u64, offset: u64) -> File {
    File::Simulated { disk: disk.clone(), inode, at: offset as usize }
}

pub fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    match file {
        File::Real(file) => crate::store::os::read_exact_at(file, bytes, offset),
        File::Store(_) => Err(io::ErrorKind::Unsupported.into()),
        File::Simulated { disk, inode, .. } => at(disk, *inode, offset).read_exact(bytes),
    }
}

pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    match file {
        File::Real(file) => crate::store::os::write_all_at(file, bytes, offset),
        File::Store(_) => Err(io::ErrorKind::Unsupported.into()),
        File::Simulated { disk, inode, .. } => at(disk, *inode, offset).write_all(bytes),
    }
}

pub fn size(file: &File) -> io::Result<u64> {
    file.len()
}

pub fn files_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(disk) = of(dir) else { return crate::store::os::files_in(dir) };
    let mut state = disk.state();
    state.act(Kind::Read, format_args!("list {}", dir.display()))?;
    Ok(state.names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
}

pub fn exists(path: &Path) -> bool {
    match of(path) {
        // Directories are there.
        Some(_) if path.parent() == Some(Path::new(super::disk::ROOT)) => true,
        Some(disk) => disk.state().names.contains_key(path),
        None => crate::store::os::exists(path),
    }
}

pub fn create_dir_all(path: &Path) -> io::Result<()> {
    match of(path) {
        // Directories are there.
        Some(_) => Ok(()),
        None => std::fs::create_dir_all(path),
    }
}

pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    if of(path).is_none() {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub fn remove_file(path: &Path) -> io::Result<()> {
    let Some(disk) = of(path) else { return std::fs::remove_file(path) };
    let mut state = disk.state();
    state.act(Kind::Change, format_args!("remove {}", path.display()))?;
    if !state.names.contains_key(path) {
        return Err(missing());
    }
    state.take(path);
    Ok(())
}

pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let Some(disk) = of(from) else { return std::fs::rename(from, to) };
    let mut state = disk.state();
    state.act(Kind::Change, format_args!("rename {} to {}", from.display(), to.display()))?;
    if !state.names.contains_key(from) {
        return Err(missing());
    }
    if let Some(simulation) = super::executor::current() {
        match from.extension().and_then(|extension| extension.to_str()) {
            Some("writing") => simulation.world.count("snapshots written"),
            Some("received") => simulation.world.count("snapshots installed"),
            Some("tmp") if from.ends_with("draft.tmp") => simulation.world.count("segments"),
            _ => {}
        }
    }
    state.rename(from, to);
    Ok(())
}

pub fn sync_dir(dir: &Path) -> io::Result<()> {
    let Some(disk) = of(dir) else { return crate::store::os::sync_dir(dir) };
    let mut state = disk.state();
    state.act(Kind::Change, format_args!("sync {}", dir.display()))?;
    state.sync_names(dir);
    Ok(())
}
