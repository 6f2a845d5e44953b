//! The form of a backup.
//!
//! ```text
//! file    = magic, version u8, frame*
//! frame   = kind u8, length u32, checksum u32, data
//! frames  = header, state+, records*, end
//! records = records of one chain, which follow each other; chains come in order, each from 1
//! end     = frames before it u64, SHA-256 of every byte before it
//! ```
//!
//! Numbers are little-endian; header and records are the codec's. A frame's checksum covers its
//! place among the frames, its kind and its length too, so one that was moved is as bad as one that
//! was changed. Reading or writing one holds a frame in memory and no more. Must not know what the
//! state is.

use std::io::{self, Read, Write};

use crc32fast::Hasher;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{BackupError, Origin};
use crate::codec;
use crate::limits::{BACKUP_FRAME_BYTES, BACKUP_FRAME_MAX_BYTES};

const MAGIC: &[u8; 8] = b"ARAIBACK";
const VERSION: u8 = 1;
/// Version of what is in a frame.
const CONTENT_VERSION: u8 = 1;
const HEAD_BYTES: usize = 9;

mod kind {
    pub(super) const HEADER: u8 = 1;
    pub(super) const STATE: u8 = 2;
    pub(super) const RECORDS: u8 = 3;
    pub(super) const END: u8 = 4;
}

/// Records of one chain, from position `from` on.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Records {
    #[serde(with = "codec::bytes")]
    pub chain: Vec<u8>,
    pub from: u64,
    pub records: Vec<Row>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    pub tags: Vec<Vec<u8>>,
    #[serde(with = "codec::bytes")]
    pub bytes: Vec<u8>,
}

/// What one frame holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Header(Origin),
    /// A piece of what the machine wrote.
    State(Vec<u8>),
    Records(Records),
    /// The last: SHA-256 of all before it.
    End([u8; 32]),
}

fn checksum(number: u64, kind: u8, data: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&[kind]);
    hasher.update(&(data.len() as u64).to_le_bytes());
    hasher.update(data);
    hasher.finalize()
}

/// Writes a backup, each frame with one call of `out`.
pub(super) struct Writer<W: Write> {
    out: W,
    frames: u64,
    whole: Sha256,
    state: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(mut out: W, origin: &Origin) -> io::Result<Writer<W>> {
        let start = [MAGIC.as_slice(), &[VERSION]].concat();
        out.write_all(&start)?;
        let mut whole = Sha256::new();
        whole.update(&start);
        let state = Vec::with_capacity(BACKUP_FRAME_BYTES);
        let mut this = Writer { out, frames: 0, whole, state };
        let header = codec::encode(CONTENT_VERSION, origin).map_err(io::Error::other)?;
        this.frame(kind::HEADER, &header)?;
        Ok(this)
    }

    fn frame(&mut self, kind: u8, data: &[u8]) -> io::Result<()> {
        self.frames += 1;
        let mut frame = Vec::with_capacity(HEAD_BYTES + data.len());
        frame.push(kind);
        // Bounded by the codec, or by the size of a piece.
        frame.extend((data.len() as u32).to_le_bytes());
        frame.extend(checksum(self.frames, kind, data).to_le_bytes());
        frame.extend(data);
        self.whole.update(&frame);
        self.out.write_all(&frame)
    }

    /// What is left of the state.
    pub(super) fn end_state(&mut self) -> io::Result<()> {
        if self.state.is_empty() {
            return Ok(());
        }
        let state = std::mem::take(&mut self.state);
        self.frame(kind::STATE, &state)
    }

    pub(super) fn records(&mut self, records: &Records) -> io::Result<()> {
        let data = codec::encode(CONTENT_VERSION, records).map_err(io::Error::other)?;
        self.frame(kind::RECORDS, &data)
    }

    /// Writes the last frame.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let whole: [u8; 32] = self.whole.clone().finalize().into();
        let end = [self.frames.to_le_bytes().as_slice(), &whole].concat();
        self.frame(kind::END, &end)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Takes the state in, in pieces of any size.
impl<W: Write> Write for Writer<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let taken = data.len().min(BACKUP_FRAME_BYTES - self.state.len());
        self.state.extend_from_slice(&data[..taken]);
        if self.state.len() == BACKUP_FRAME_BYTES {
            self.end_state()?;
            self.state.reserve(BACKUP_FRAME_BYTES);
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a backup, frame by frame.
pub(super) struct Reader<R: Read> {
    from: R,
    frames: u64,
    /// Where the frame that was read last begins, and where it ends.
    began: u64,
    offset: u64,
    whole: Sha256,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(mut from: R) -> Result<Reader<R>, BackupError> {
        let mut start = [0; MAGIC.len() + 1];
        from.read_exact(&mut start).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::NotABackup,
            _ => BackupError::Unreadable(e.to_string()),
        })?;
        if start[..MAGIC.len()] != *MAGIC {
            return Err(BackupError::NotABackup);
        }
        let found = start[MAGIC.len()];
        if found != VERSION {
            return Err(BackupError::Version { found, supported: VERSION });
        }
        let mut whole = Sha256::new();
        whole.update(start);
        let offset = start.len() as u64;
        Ok(Reader { from, frames: 0, began: offset, offset, whole })
    }

    /// What is wrong with the frame that was read last.
    pub(super) fn damaged(&self, detail: impl Into<String>) -> BackupError {
        BackupError::Damaged { frame: self.frames, offset: self.began, detail: detail.into() }
    }

    /// How many bytes have been read.
    pub(super) fn bytes(&self) -> u64 {
        self.offset
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), BackupError> {
        self.from.read_exact(into).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("the file ends in it: it is cut short"),
            _ => BackupError::Unreadable(e.to_string()),
        })?;
        self.offset += into.len() as u64;
        Ok(())
    }

    /// The next frame; not to be asked for after the last.
    pub(super) fn next(&mut self) -> Result<Frame, BackupError> {
        self.frames += 1;
        self.began = self.offset;
        let mut head = [0; HEAD_BYTES];
        self.fill(&mut head)?;
        let [kind, a, b, c, d, sum @ ..] = head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > BACKUP_FRAME_MAX_BYTES {
            return Err(self.damaged(format!("it claims to have {length} bytes")));
        }
        let mut data = vec![0; length];
        self.fill(&mut data)?;
        if checksum(self.frames, kind, &data) != u32::from_le_bytes(sum) {
            return Err(self.damaged("its checksum does not match"));
        }
        if kind == kind::END {
            return self.end(&data);
        }
        self.whole.update(head);
        self.whole.update(&data);
        let malformed = |e: codec::CodecError| self.damaged(e.to_string());
        match kind {
            kind::HEADER => {
                codec::decode(CONTENT_VERSION, &data).map(Frame::Header).map_err(malformed)
            }
            kind::STATE if !data.is_empty() => Ok(Frame::State(data)),
            kind::RECORDS => {
                codec::decode(CONTENT_VERSION, &data).map(Frame::Records).map_err(malformed)
            }
            unknown => Err(self.damaged(format!("a frame of unknown kind {unknown}"))),
        }
    }

    fn end(&mut self, data: &[u8]) -> Result<Frame, BackupError> {
        let whole: [u8; 32] = self.whole.clone().finalize().into();
        let end = [(self.frames - 1).to_le_bytes().as_slice(), &whole].concat();
        if data != end {
            return Err(self.damaged("it is not the end of what comes before it"));
        }
        match self.from.read(&mut [0]) {
            Ok(0) => Ok(Frame::End(whole)),
            Ok(_) => Err(self.damaged("the file goes on after its end")),
            Err(e) => Err(BackupError::Unreadable(e.to_string())),
        }
    }
}
