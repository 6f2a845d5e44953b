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

    /// A new key that is nowhere kept, for who has nothing to seal.
    pub fn unkept() -> Self {
        Self { keys: BTreeMap::from([(1, random())]) }
    }

    /// Reads a file, which nobody but its owner may be able to read or change.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        Self::read(path, &read_private(path)?)
    }

    /// Keeps what another node has handed over, as a new file.
    pub fn keep(path: &Path, text: &[u8]) -> Result<Self, KeyFileError> {
        let text = std::str::from_utf8(text);
        let text = text.map_err(|_| KeyFileError::NotAKeyFile(path.to_owned()))?;
        let keys = Self::read(path, text)?;
        let unwritable = |source| KeyFileError::Unwritable { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(unwritable)?;
        }
        keys.write(path).map_err(unwritable)?;
        Ok(keys)
    }

    fn read(path: &Path, text: &str) -> Result<Self, KeyFileError> {
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

    /// The text of the file: for its owner, and for a node that joins.
    pub fn text(&self) -> Zeroizing<String> {
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
    use std::fs;

    use super::*;

    const TWO_KEYS: &str = "\
authrai key file 1
1 1111111111111111111111111111111111111111111111111111111111111111 631eaf5e
2 2222222222222222222222222222222222222222222222222222222222222222 3be442d4
";

    /// A private file with this content, in a folder of its own that lives as long as the guard.
    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_new_key_file_is_private_whole_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let made = KeyFile::create(&path).unwrap();
        let sealed = made.seal(b"owner", b"attack at dawn");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");

        let error = KeyFile::create(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Exists(_)), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");

        let loaded = KeyFile::load(&path).unwrap();
        assert_eq!(*loaded.open(b"owner", &sealed).unwrap(), b"attack at dawn");
        let error = KeyFile::create(&folder.path().join("missing/keys")).unwrap_err();
        assert!(matches!(error, KeyFileError::Unwritable { .. }), "{error}");
    }

    #[test]
    fn a_key_file_that_others_can_open_is_refused() {
        let (_folder, path) = file(TWO_KEYS);
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601, 0o610, 0o660, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = KeyFile::load(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Open(_, found) if found == mode), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(KeyFile::load(&path).is_ok());
        }
    }

    #[test]
    fn a_file_reads_back_as_it_is_written() {
        let (_folder, path) = file(TWO_KEYS);
        assert_eq!(*KeyFile::load(&path).unwrap().text(), TWO_KEYS);
    }

    #[test]
    fn a_damaged_key_file_is_refused_and_the_line_named() {
        let line_1 = TWO_KEYS.lines().nth(1).unwrap();
        for (text, line) in [
            (format!("{FIRST_LINE}\n"), 2),
            (TWO_KEYS.replace("2222", "2223"), 3),
            (TWO_KEYS.replacen("\n1 ", "\n3 ", 1), 2),
            (format!("{TWO_KEYS}{line_1}\n"), 4),
            (format!("{TWO_KEYS}\n"), 4),
            (TWO_KEYS[..TWO_KEYS.len() - 2].to_owned(), 3),
        ] {
            let (_folder, path) = file(&text);
            let error = KeyFile::load(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Damaged(_, at) if at == line), "{error} {text}");
            assert!(!error.to_string().contains("2222"), "shows a key: {error}");
        }
        for text in ["", "something else\n", "authrai key file 2\n", &"x".repeat(70_000)] {
            let (_folder, path) = file(text);
            let error = KeyFile::load(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::NotAKeyFile(_)), "{error}");
        }
        let error = KeyFile::load(Path::new("no/such/file")).unwrap_err();
        assert!(matches!(error, KeyFileError::Unreadable { .. }), "{error}");
    }

    /// Computed apart from this program, by an implementation that reproduces the test vector of
    /// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    const SEALED: &str = "0100000002000102030405060708090a0b0c0d0e0f1011121314151617\
        b67c1d27e743ac991ce1fda7e8f2ccaca3a7c5077b4e3f2bbe1c3dfc2a9f";

    #[test]
    fn the_sealed_form_never_changes() {
        let (_folder, path) = file(TWO_KEYS);
        let keys = KeyFile::load(&path).unwrap();
        let nonce = std::array::from_fn(|place| place as u8);
        assert_eq!(hex::encode(keys.seal_with(nonce, b"owner", b"attack at dawn")), SEALED);
        let sealed = hex::decode(SEALED).unwrap();
        assert_eq!(*keys.open(b"owner", &sealed).unwrap(), b"attack at dawn");
    }

    #[test]
    fn what_an_older_key_sealed_still_opens() {
        let old = KeyFile { keys: BTreeMap::from([(1, Zeroizing::new([0x11; 32]))]) };
        let (_folder, path) = file(TWO_KEYS);
        let new = KeyFile::load(&path).unwrap();
        assert_eq!(*new.open(b"owner", &old.seal(b"owner", b"x")).unwrap(), b"x");
        assert_eq!(old.open(b"owner", &new.seal(b"owner", b"x")), Err(OpenError::KeyMissing(2)));
    }

    #[test]
    fn no_seal_is_like_another() {
        let keys = KeyFile { keys: BTreeMap::from([(1, Zeroizing::new([0x11; 32]))]) };
        assert_ne!(keys.seal(b"owner", b"x"), keys.seal(b"owner", b"x"));
    }

    #[test]
    fn a_changed_seal_does_not_open() {
        let (_folder, path) = file(TWO_KEYS);
        let keys = KeyFile::load(&path).unwrap();
        let good = hex::decode(SEALED).unwrap();
        assert_eq!(keys.open(b"other", &good), Err(OpenError::Tampered));
        assert_eq!(keys.open(b"", &good), Err(OpenError::Tampered));
        for length in 0..good.len() {
            assert!(keys.open(b"owner", &good[..length]).is_err(), "cut off at {length}");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(keys.open(b"owner", &bad).is_err(), "bit {bit}");
        }
        // The head is authenticated too: another key's version does not pass for this one's.
        let mut relabelled = good.clone();
        relabelled[4] = 1;
        let one_key_twice =
            KeyFile { keys: [1, 2].map(|version| (version, Zeroizing::new([0x22; 32]))).into() };
        assert_eq!(one_key_twice.open(b"owner", &relabelled), Err(OpenError::Tampered));
    }

    #[test]
    fn a_key_file_shows_no_key() {
        let (_folder, path) = file(TWO_KEYS);
        let shown = format!("{:?}", KeyFile::load(&path).unwrap());
        assert_eq!(shown, "KeyFile { versions: [1, 2], .. }");
    }
}
