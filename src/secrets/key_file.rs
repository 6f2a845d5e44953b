//! The key file: what seals the secrets that must be read back, such as signing keys.
//!
//! It lies outside log, snapshot and backup, readable by its owner alone. It is text: a first line
//! `authrai key file 1`, then a line a key – `<version> <64 hex digits> <CRC-32 of both, 8 hex
//! digits>` – of which the highest version seals and every one opens. What is sealed is
//! `1 ‖ key version (u32, big-endian) ‖ nonce (24 bytes) ‖ ciphertext and tag`,
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha), and its first five bytes are authenticated with
//! the caller's associated data. Must not know what is sealed.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use zeroize::Zeroizing;

use super::random;

const FIRST_LINE: &str = "authrai key file 1";
const FILE_MAX_BYTES: u64 = 64 * 1024;
const SEALED_VERSION: u8 = 1;
const HEAD_BYTES: usize = 5;
const NONCE_BYTES: usize = 24;

/// The keys of a key file. Wiped when dropped.
pub struct KeyFile {
    keys: BTreeMap<u32, Zeroizing<[u8; 32]>>,
}

/// Why there is no key file to work with.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is one already.
    #[error(
        "the key file {0} exists already and is not overwritten: what it seals could never be \
         opened again"
    )]
    Exists(PathBuf),
    /// Others than its owner can read or change it.
    #[error(
        "the key file {0} is open to others (mode {1:04o}), so its keys may be known to them: make \
         it private with `chmod 600 {0}`"
    )]
    Open(PathBuf, u32),
    /// Its content is not that of a key file.
    #[error("the key file {0} is damaged at line {1}: put back a copy of it")]
    Damaged(PathBuf, usize),
    /// Written by a later version of this program.
    #[error(
        "the file {0} is not a key file that this program reads: its first line is not `{FIRST_LINE}`"
    )]
    NotAKeyFile(PathBuf),
    /// It could not be read.
    #[error("the key file {path} could not be read: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be written.
    #[error("the key file {path} could not be written: {source}")]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why something sealed does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not the form of anything sealed.
    #[error("these bytes are not sealed in a form that this program knows")]
    NotSealed,
    /// Sealed under a key that the file does not hold.
    #[error("sealed with version {0} of the key file's key, which this key file does not hold")]
    KeyMissing(u32),
    /// Changed, moved to another owner, or sealed with another file's key of that version.
    #[error(
        "these bytes were changed since they were sealed, or sealed for something else, or with another key file"
    )]
    Tampered,
}

impl KeyFile {
    /// Makes a new file with one new key. An existing file is never replaced, and a crash leaves
    /// either none or a whole one.
    pub fn create(path: &Path) -> Result<Self, KeyFileError> {
        let keys = Self { keys: BTreeMap::from([(1, random())]) };
        keys.write(path).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                KeyFileError::Exists(path.to_owned())
            } else {
                KeyFileError::Unwritable { path: path.to_owned(), source }
            }
        })?;
        Ok(keys)
    }

    /// Reads a file, which nobody but its owner may be able to read or change.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let text = read_private(path)?;
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(KeyFileError::NotAKeyFile(path.to_owned()));
        }
        let damaged = |line: usize| KeyFileError::Damaged(path.to_owned(), line);
        let mut keys = BTreeMap::new();
        for (number, line) in (2..).zip(lines) {
            let (version, key) = read_line(line).ok_or_else(|| damaged(number))?;
            if keys.insert(version, key).is_some() {
                return Err(damaged(number));
            }
        }
        if keys.is_empty() { Err(damaged(2)) } else { Ok(Self { keys }) }
    }

    /// Seals `plaintext`. It opens only with the same `aad`, which says whose it is.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness to give.
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        self.seal_with(*random(), aad, plaintext)
    }

    fn seal_with(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let (version, key) = self.keys.last_key_value().expect("a key file holds a key");
        let mut sealed = vec![SEALED_VERSION];
        sealed.extend(version.to_be_bytes());
        let bound = [&sealed, aad].concat();
        let ciphertext = XChaCha20Poly1305::new(key.as_ref().into())
            .encrypt(&XNonce::from(nonce), Payload { msg: plaintext, aad: &bound })
            .expect("only gigabytes are too much to seal");
        sealed.extend(nonce);
        sealed.extend(ciphertext);
        sealed
    }

    /// Opens what [`KeyFile::seal`] made.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (head, rest) = sealed.split_first_chunk::<HEAD_BYTES>().ok_or(OpenError::NotSealed)?;
        let (nonce, ciphertext) =
            rest.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::NotSealed)?;
        let [SEALED_VERSION, version @ ..] = *head else { return Err(OpenError::NotSealed) };
        let version = u32::from_be_bytes(version);
        let key = self.keys.get(&version).ok_or(OpenError::KeyMissing(version))?;
        XChaCha20Poly1305::new(key.as_ref().into())
            .decrypt(
                &XNonce::from(*nonce),
                Payload { msg: ciphertext, aad: &[head.as_slice(), aad].concat() },
            )
            .map(Zeroizing::new)
            .map_err(|_| OpenError::Tampered)
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        // Made with mode 0600, and gone again if anything fails.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(self.text().as_bytes())?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        File::open(folder)?.sync_all()
    }

    fn text(&self) -> Zeroizing<String> {
        // Whole from the start: a string that grew would leave copies behind.
        let mut text = Zeroizing::new(String::with_capacity(32 + 96 * self.keys.len()));
        text.push_str(FIRST_LINE);
        text.push('\n');
        for (version, key) in &self.keys {
            let line = Zeroizing::new(format!("{version} {}", *Zeroizing::new(hex::encode(**key))));
            text.push_str(&line);
            text.push_str(&format!(" {:08x}\n", crc32fast::hash(line.as_bytes())));
        }
        text
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("versions", &self.keys.keys()).finish_non_exhaustive()
    }
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let unreadable = |source| KeyFileError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open(path.to_owned(), mode));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX_BYTES as usize + 1));
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) if bytes.len() as u64 <= FILE_MAX_BYTES => Ok(Zeroizing::new(text.to_owned())),
        _ => Err(KeyFileError::NotAKeyFile(path.to_owned())),
    }
}

fn read_line(line: &str) -> Option<(u32, Zeroizing<[u8; 32]>)> {
    let (content, check) = line.rsplit_once(' ')?;
    if format!("{:08x}", crc32fast::hash(content.as_bytes())) != check {
        return None;
    }
    let (version, digits) = content.split_once(' ')?;
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits, key.as_mut()).ok()?;
    Some((version.parse().ok()?, key))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::OpenOptionsExt};

    use super::*;

    fn with_keys(keys: &[(u32, u8)]) -> KeyFile {
        KeyFile {
            keys: keys
                .iter()
                .map(|(version, byte)| (*version, Zeroizing::new([*byte; 32])))
                .collect(),
        }
    }

    fn write(path: &Path, mode: u32, text: &str) {
        let _ = fs::remove_file(path);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(mode).open(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        fs::OpenOptions::new().write(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }
}
