//! Where a node keeps the private halves of its signing keys: a file each, sealed under
//! `secrets.key_file` and readable by its owner only.
//!
//! The node and the key's id are bound into the seal, so a file cannot stand in for another. A
//! private half never leaves this node and is deleted when its key signs no more. Must not know
//! which key is current.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use zeroize::Zeroizing;

use crate::{domain::SigningKeyId, secrets::KeyFile};

/// Why the signing keys could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The disk said no.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not open under the key file, or holds something else.
    #[error(
        "{} is damaged, or sealed under another key file: restore the secrets.key_file that this \
         node was set up with, or delete the file to have a new signing key made",
        path.display()
    )]
    Sealed {
        /// Which file.
        path: PathBuf,
    },
}

/// The signing keys of one node on disk.
pub struct KeyStore {
    folder: PathBuf,
    node: u64,
    key_file: Arc<KeyFile>,
}

impl KeyStore {
    /// The store in `folder`, which is made if it is missing.
    pub fn open(folder: PathBuf, node: u64, key_file: Arc<KeyFile>) -> Result<Self, KeyStoreError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|source| failed("create", &folder, source))?;
        Ok(Self { folder, node, key_file })
    }

    /// The seed of the key `id`, if this node has it.
    pub fn load(&self, id: SigningKeyId) -> Result<Option<Zeroizing<[u8; 32]>>, KeyStoreError> {
        let path = self.path(id);
        let sealed = match fs::read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", &path, source)),
        };
        let seed = self
            .key_file
            .open(&self.binding(id), &sealed)
            .ok()
            .and_then(|opened| <[u8; 32]>::try_from(opened.as_slice()).ok());
        seed.map(|seed| Some(Zeroizing::new(seed))).ok_or(KeyStoreError::Sealed { path })
    }

    /// Opens every key, so that a wrong key file is found at start and not at the first use.
    pub fn check(&self) -> Result<(), KeyStoreError> {
        for path in self.files()? {
            let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(|id| id.parse().ok());
            match id {
                Some(id) if path.extension().is_some_and(|end| end == "key") => {
                    self.load(id)?;
                }
                // A draft that a crash left behind; the next rotation deletes it.
                _ => {}
            }
        }
        Ok(())
    }

    /// Keeps the seed of the key `id`; on disk for good when this returns.
    pub fn save(&self, id: SigningKeyId, seed: &[u8; 32]) -> Result<(), KeyStoreError> {
        let path = self.path(id);
        let draft = path.with_extension("new");
        let sealed = self.key_file.seal(&self.binding(id), seed);
        write_synced(&draft, &sealed).map_err(|source| failed("write", &draft, source))?;
        fs::rename(&draft, &path)
            .and_then(|()| sync_folder(&self.folder))
            .map_err(|source| failed("write", &path, source))
    }

    /// Removes the seed of every key but `kept`.
    pub fn keep_only(&self, kept: Option<SigningKeyId>) -> Result<(), KeyStoreError> {
        let kept = kept.map(|id| self.path(id));
        for path in self.files()? {
            if kept.as_ref() != Some(&path) {
                fs::remove_file(&path).map_err(|source| failed("delete", &path, source))?;
            }
        }
        sync_folder(&self.folder).map_err(|source| failed("sync", &self.folder, source))
    }

    fn files(&self) -> Result<Vec<PathBuf>, KeyStoreError> {
        fs::read_dir(&self.folder)
            .and_then(|listing| listing.map(|entry| entry.map(|entry| entry.path())).collect())
            .map_err(|source| failed("list", &self.folder, source))
    }

    fn path(&self, id: SigningKeyId) -> PathBuf {
        self.folder.join(format!("{id}.key"))
    }

    fn binding(&self, id: SigningKeyId) -> Vec<u8> {
        let mut binding = b"authrai signing key v1".to_vec();
        binding.extend(self.node.to_be_bytes());
        binding.extend(id.0);
        binding
    }
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> KeyStoreError {
    KeyStoreError::Io { doing, path: path.to_owned(), source }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn store(folder: &Path, node: u64) -> KeyStore {
        let path = folder.join("secrets.key");
        let key_file = KeyFile::load(&path).or_else(|_| KeyFile::create(&path)).expect("key file");
        KeyStore::open(folder.join("signing-keys"), node, Arc::new(key_file)).expect("store")
    }

    fn key(number: u128) -> SigningKeyId {
        SigningKeyId::from_ulid(number)
    }

    #[test]
    fn a_kept_key_reads_back_and_is_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().expect("folder");
        store(folder.path(), 1).save(key(1), &[7; 32]).expect("saved");
        let again = store(folder.path(), 1);
        assert_eq!(again.load(key(1)).expect("opens").as_deref(), Some(&[7; 32]));
        assert!(again.load(key(2)).expect("reads").is_none());
        let mode = fs::metadata(again.path(key(1))).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let bytes = fs::read(again.path(key(1))).expect("reads");
        assert!(!bytes.windows(8).any(|window| window == [7; 8]), "the seed stands in the open");
    }

    #[test]
    fn a_file_cannot_stand_in_for_another_key_or_node() {
        let folder = tempfile::tempdir().expect("folder");
        let ours = store(folder.path(), 1);
        ours.save(key(1), &[7; 32]).expect("saved");
        fs::copy(ours.path(key(1)), ours.path(key(2))).expect("copied");
        assert!(matches!(ours.load(key(2)), Err(KeyStoreError::Sealed { .. })));
        let other = store(folder.path(), 2);
        assert!(matches!(other.load(key(1)), Err(KeyStoreError::Sealed { .. })));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let ours = store(folder.path(), 1);
        ours.save(key(1), &[7; 32]).expect("saved");
        let mut bytes = fs::read(ours.path(key(1))).expect("reads");
        *bytes.last_mut().expect("not empty") ^= 1;
        fs::write(ours.path(key(1)), bytes).expect("written");
        let error = ours.load(key(1)).expect_err("damaged").to_string();
        assert!(error.contains(&key(1).to_string()), "{error}");
    }

    #[test]
    fn the_private_half_of_a_key_that_signs_no_more_is_deleted() {
        let folder = tempfile::tempdir().expect("folder");
        let ours = store(folder.path(), 1);
        for number in 1..4 {
            ours.save(key(number), &[number as u8; 32]).expect("saved");
        }
        ours.keep_only(Some(key(2))).expect("kept");
        assert!(ours.load(key(1)).expect("reads").is_none());
        assert!(ours.load(key(2)).expect("reads").is_some());
        assert!(ours.load(key(3)).expect("reads").is_none());
    }
}
