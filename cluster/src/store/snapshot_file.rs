//! The form of a snapshot file.
//!
//! ```text
//! file    = magic, version u8, length u32, checksum u32, header, chunk*, trailer
//! chunk   = length u32 (not 0), checksum u32, data
//! trailer = 0 u32, chunks u64, bytes u64, checksum u32 of the checksums and counts
//! ```
//!
//! The header is the codec's; numbers are little-endian. A reader hands out only data whose chunk
//! has been checked, and ends only at a trailer that agrees. Must not know what the data is.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use crc32fast::Hasher;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::identity::ClusterId;
use super::stored::{StoredLogId, StoredMembership};
use crate::codec;
use crate::limits::{SNAPSHOT_CHUNK_BYTES, SNAPSHOT_META_MAX_BYTES};

const MAGIC: &[u8; 8] = b"ARAISNAP";
const VERSION: u8 = 1;
const HEADER_VERSION: u8 = 1;

/// What a snapshot is of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub cluster: ClusterId,
    pub last: Option<StoredLogId>,
    pub membership_at: Option<StoredLogId>,
    pub membership: StoredMembership,
    /// Ids that were members once and are no more.
    pub removed: BTreeSet<u64>,
    /// Which of the machine's rules hold.
    pub level: u32,
    /// Of all records up to here.
    pub digest: Digest,
}

/// A version that this program does not know, found at the start of a file.
#[derive(Debug, thiserror::Error)]
#[error("version {found} where this program reads version {VERSION}")]
pub(crate) struct UnknownVersion {
    pub found: u8,
}

impl UnknownVersion {
    pub(crate) const SUPPORTED: u8 = VERSION;
}

fn damaged(detail: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}

/// Writes a snapshot's data in chunks.
pub(crate) struct Writer<W: Write> {
    out: W,
    chunk: Vec<u8>,
    chunks: u64,
    bytes: u64,
    whole: Hasher,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(mut out: W, header: &Header) -> io::Result<Writer<W>> {
        let header = codec::encode(HEADER_VERSION, header).map_err(io::Error::other)?;
        if header.len() > SNAPSHOT_META_MAX_BYTES {
            return Err(io::Error::other("a header over its limit"));
        }
        let mut whole = Hasher::new();
        whole.update(&crc32fast::hash(&header).to_le_bytes());
        out.write_all(MAGIC)?;
        out.write_all(&[VERSION])?;
        write_block(&mut out, &header)?;
        Ok(Writer {
            out,
            chunk: Vec::with_capacity(SNAPSHOT_CHUNK_BYTES),
            chunks: 0,
            bytes: 0,
            whole,
        })
    }

    /// Writes what is left and the trailer.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.write_chunk()?;
        self.out.write_all(&0u32.to_le_bytes())?;
        self.out.write_all(&trailer(self.chunks, self.bytes, self.whole))?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        self.chunks += 1;
        self.bytes += self.chunk.len() as u64;
        self.whole.update(&crc32fast::hash(&self.chunk).to_le_bytes());
        write_block(&mut self.out, &self.chunk)?;
        self.chunk.clear();
        Ok(())
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let taken = data.len().min(SNAPSHOT_CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&data[..taken]);
        if self.chunk.len() == SNAPSHOT_CHUNK_BYTES {
            self.write_chunk()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_block(out: &mut impl Write, data: &[u8]) -> io::Result<()> {
    // Blocks are bounded by the constants above.
    out.write_all(&(data.len() as u32).to_le_bytes())?;
    out.write_all(&crc32fast::hash(data).to_le_bytes())?;
    out.write_all(data)
}

fn trailer(chunks: u64, bytes: u64, mut whole: Hasher) -> [u8; 20] {
    let mut out = [0; 20];
    out[..8].copy_from_slice(&chunks.to_le_bytes());
    out[8..16].copy_from_slice(&bytes.to_le_bytes());
    whole.update(&out[..16]);
    out[16..].copy_from_slice(&whole.finalize().to_le_bytes());
    out
}

/// Reads a snapshot's data, checking it.
pub(crate) struct Reader<R: Read> {
    from: R,
    pub header: Header,
    chunk: Vec<u8>,
    read: usize,
    chunks: u64,
    bytes: u64,
    whole: Hasher,
    ended: bool,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(mut from: R) -> io::Result<Reader<R>> {
        let mut start = [0; 9];
        from.read_exact(&mut start).map_err(|_| damaged("too short"))?;
        let (magic, version) = start.split_at(8);
        if magic != MAGIC {
            return Err(damaged("it is no snapshot"));
        }
        if version != [VERSION] {
            return Err(io::Error::other(UnknownVersion { found: version[0] }));
        }
        let length = read_u32(&mut from)? as usize;
        if length > SNAPSHOT_META_MAX_BYTES {
            return Err(damaged("a header over its limit"));
        }
        let mut bytes = Vec::new();
        let checksum = read_block(&mut from, length, &mut bytes)?;
        let header =
            codec::decode(HEADER_VERSION, &bytes).map_err(|e| damaged(&format!("header: {e}")))?;
        let mut whole = Hasher::new();
        whole.update(&checksum.to_le_bytes());
        Ok(Reader {
            from,
            header,
            chunk: Vec::new(),
            read: 0,
            chunks: 0,
            bytes: 0,
            whole,
            ended: false,
        })
    }

    /// Reads to the end and checks the trailer; the machine need not have asked for everything.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        while !self.ended {
            self.next_chunk()?;
        }
        Ok(())
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let length = read_u32(&mut self.from)? as usize;
        if length == 0 {
            let mut found = [0; 20];
            self.from.read_exact(&mut found).map_err(|_| damaged("cut short"))?;
            if found != trailer(self.chunks, self.bytes, self.whole.clone()) {
                return Err(damaged("the trailer does not match"));
            }
            if self.from.read(&mut [0])? != 0 {
                return Err(damaged("bytes left over"));
            }
            self.ended = true;
            return Ok(());
        }
        if length > SNAPSHOT_CHUNK_BYTES {
            return Err(damaged("a chunk over its limit"));
        }
        let checksum = read_block(&mut self.from, length, &mut self.chunk)?;
        self.whole.update(&checksum.to_le_bytes());
        self.chunks += 1;
        self.bytes += length as u64;
        self.read = 0;
        Ok(())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.read == self.chunk.len() && !self.ended {
            self.chunk.clear();
            self.read = 0;
            self.next_chunk()?;
        }
        let rest = &self.chunk[self.read..];
        let taken = rest.len().min(into.len());
        into[..taken].copy_from_slice(&rest[..taken]);
        self.read += taken;
        Ok(taken)
    }
}

fn read_u32(from: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes).map_err(|_| damaged("cut short"))?;
    Ok(u32::from_le_bytes(bytes))
}

fn read_block(from: &mut impl Read, length: usize, into: &mut Vec<u8>) -> io::Result<u32> {
    let checksum = read_u32(from)?;
    into.resize(length, 0);
    from.read_exact(into).map_err(|_| damaged("cut short"))?;
    if crc32fast::hash(into) != checksum {
        return Err(damaged("the checksum does not match"));
    }
    Ok(checksum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Membership;

    fn file(data: &[u8]) -> Vec<u8> {
        let header = Header {
            cluster: [9; 16],
            last: None,
            membership_at: None,
            membership: (&Membership::default()).into(),
            removed: BTreeSet::from([7]),
            level: 3,
            digest: Digest(5),
        };
        let mut writer = Writer::new(Vec::new(), &header).expect("writes");
        writer.write_all(data).expect("writes");
        writer.finish().expect("writes")
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut reader = Reader::new(bytes)?;
        let mut data = Vec::new();
        reader.read_to_end(&mut data)?;
        reader.finish()?;
        Ok(data)
    }

    #[test]
    fn data_of_any_size_comes_back() {
        for len in [0, 1, SNAPSHOT_CHUNK_BYTES, SNAPSHOT_CHUNK_BYTES + 1, 3 * SNAPSHOT_CHUNK_BYTES]
        {
            let data = (0..len).map(|n| (n / 3) as u8).collect::<Vec<_>>();
            assert_eq!(read(&file(&data)).expect("reads"), data, "{len}");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = file(b"some state");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bad).is_err(), "bit {bit}");
        }
        for cut in 0..good.len() {
            assert!(read(&good[..cut]).is_err(), "cut {cut}");
        }
        assert!(read(&[good.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn the_stored_form_of_a_snapshot_does_not_change() {
        let mut want = b"ARAISNAP\x01".to_vec();
        want.extend([25, 0, 0, 0, 235, 233, 131, 253, 1]);
        want.extend([9; 16]);
        want.extend([0, 0, 0, 0, 1, 7, 3, 5]);
        want.extend([1, 0, 0, 0, 183, 239, 220, 131, b'1']);
        want.extend([0; 4]);
        want.extend([1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 48, 222, 207, 128]);
        assert_eq!(file(b"1"), want);
    }
}
