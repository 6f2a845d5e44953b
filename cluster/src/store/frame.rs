//! Rows of many records, each framed with its length and a checksum.
//!
//! ```text
//! row   = version u8, count u32, frame*
//! frame = length u32, checksum u32, payload
//! ```
//!
//! The checksum covers the record's place (a prefix and its number) as well as its payload, so a
//! record that turns up elsewhere is as damaged as one with a flipped bit. Numbers are
//! little-endian. Must not know what the records are.

use crc32fast::Hasher;

const VERSION: u8 = 1;
const ROW_HEADER_BYTES: usize = 5;
const FRAME_HEADER_BYTES: usize = 8;

/// The place of a row: what tells it from rows of other chains, and the number of its first
/// record.
#[derive(Clone)]
pub(crate) struct Place {
    prefix: Hasher,
    first: u64,
}

impl Place {
    pub(crate) fn new(prefix: &[u8], first: u64) -> Place {
        let mut hasher = Hasher::new();
        hasher.update(prefix);
        Place { prefix: hasher, first }
    }

    fn checksum(&self, nth: u64, payload: &[u8]) -> u32 {
        let mut hasher = self.prefix.clone();
        hasher.update(&(self.first.wrapping_add(nth)).to_le_bytes());
        hasher.update(payload);
        hasher.finalize()
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowError {
    Version {
        found: u8,
        supported: u8,
    },
    /// The `nth` record, from 0, is not what was written; `None` if it is the row as a whole.
    Damaged {
        nth: Option<u64>,
        detail: &'static str,
    },
}

/// Builds a row.
pub(crate) struct RowBuilder {
    place: Place,
    bytes: Vec<u8>,
    count: u32,
}

impl RowBuilder {
    pub(crate) fn new(place: Place) -> RowBuilder {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&0u32.to_le_bytes());
        RowBuilder { place, bytes, count: 0 }
    }

    pub(crate) fn push(&mut self, payload: &[u8]) {
        let checksum = self.place.checksum(u64::from(self.count), payload);
        // Payloads come from the codec, which caps them far below 4 GiB.
        self.bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&checksum.to_le_bytes());
        self.bytes.extend_from_slice(payload);
        self.count += 1;
    }

    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes[1..ROW_HEADER_BYTES].copy_from_slice(&self.count.to_le_bytes());
        self.bytes
    }
}

/// How many records `row` says that it holds.
pub(crate) fn count(row: &[u8]) -> Result<u64, RowError> {
    let whole = |detail| RowError::Damaged { nth: None, detail };
    let (&version, rest) = row.split_first().ok_or(whole("an empty row"))?;
    if version != VERSION {
        return Err(RowError::Version { found: version, supported: VERSION });
    }
    let count = rest.first_chunk::<4>().ok_or(whole("a row cut short"))?;
    match u32::from_le_bytes(*count) {
        0 => Err(whole("a row of no records")),
        count => Ok(u64::from(count)),
    }
}

/// The records of `row`, each checked. An error is the last thing that comes.
pub(crate) fn records<'a>(
    place: &'a Place,
    row: &'a [u8],
) -> impl Iterator<Item = Result<&'a [u8], RowError>> + 'a {
    let mut nth = 0;
    let mut rest = row.get(ROW_HEADER_BYTES..).unwrap_or_default();
    let mut count = count(row);
    std::iter::from_fn(move || {
        let result = match count {
            Err(e) => Err(e),
            Ok(count) if nth == count && rest.is_empty() => return None,
            Ok(count) if nth >= count => {
                Err(RowError::Damaged { nth: None, detail: "bytes left over" })
            }
            Ok(_) => take(place, nth, &mut rest),
        };
        nth += 1;
        if result.is_err() {
            // Nothing after the first error can be trusted, not even where it begins.
            count = Ok(nth);
            rest = &[];
        }
        Some(result)
    })
}

fn take<'a>(place: &Place, nth: u64, rest: &mut &'a [u8]) -> Result<&'a [u8], RowError> {
    let cut = RowError::Damaged { nth: Some(nth), detail: "a record cut short" };
    let (length, after) = rest.split_first_chunk::<4>().ok_or(cut)?;
    let (checksum, after) = after.split_first_chunk::<4>().ok_or(cut)?;
    let (payload, after) =
        after.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(cut)?;
    if place.checksum(nth, payload) != u32::from_le_bytes(*checksum) {
        return Err(RowError::Damaged { nth: Some(nth), detail: "the checksum does not match" });
    }
    *rest = after;
    Ok(payload)
}

/// Bytes that a payload takes in a row.
pub(crate) fn framed_len_bytes(payload: usize) -> usize {
    FRAME_HEADER_BYTES + payload
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(place: &Place) -> Vec<u8> {
        let mut row = RowBuilder::new(place.clone());
        row.push(b"one");
        row.push(b"");
        row.push(b"three");
        row.finish()
    }

    #[test]
    fn the_stored_form_does_not_change() {
        let got = row(&Place::new(b"x", 5));
        assert_eq!(
            got,
            [
                1, 3, 0, 0, 0, 3, 0, 0, 0, 196, 194, 233, 173, b'o', b'n', b'e', 0, 0, 0, 0, 228,
                124, 29, 107, 5, 0, 0, 0, 4, 253, 25, 245, b't', b'h', b'r', b'e', b'e'
            ]
        );
    }

    #[test]
    fn every_flipped_bit_every_cut_and_every_other_place_is_noticed() {
        let place = Place::new(b"x", 5);
        let good = row(&place);
        let ok = |place: &Place, row: &[u8]| records(place, row).all(|r| r.is_ok());
        assert_eq!(records(&place, &good).filter(Result::is_ok).count(), 3);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!ok(&place, &bad), "bit {bit}");
        }
        for cut in 0..good.len() {
            assert!(!ok(&place, &good[..cut]), "cut {cut}");
        }
        assert!(!ok(&Place::new(b"y", 5), &good));
        assert!(!ok(&Place::new(b"x", 6), &good));
    }
}
