//! What nodes compare to notice that their machines have parted: a digest of every record that the
//! machine has written, in their order.
//!
//! Every change writes a record, so machines that once decided differently never have the same
//! digest at the same log index again. It rides in snapshots: whoever is restored from one goes on
//! from its sender's history. Must not know what a record means.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Record;
use crate::limits::DIGESTS_KEPT;

/// All records up to a log index, in eight bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest(pub u64);

impl Digest {
    /// After these records more. None change nothing, so that it does not matter which entries
    /// wrote them.
    pub(crate) fn after(self, records: &[Record]) -> Digest {
        records.iter().fold(self, |before, record| {
            let mut hash = Sha256::new();
            hash.update(before.0.to_le_bytes());
            hash.update(record.seq.to_le_bytes());
            for part in [&record.chain, &record.bytes] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
            let hash: [u8; 32] = hash.finalize().into();
            let [a, b, c, d, e, f, g, h, ..] = hash;
            Digest(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
        })
    }
}

/// The digests at the newest log indexes that this node has applied, one an index.
#[derive(Default)]
pub(crate) struct Recent(Mutex<VecDeque<(u64, Digest)>>);

impl Recent {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, Digest)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries have been applied.
    pub(crate) fn extend(&self, applied: Vec<(u64, Digest)>) {
        let mut recent = self.lock();
        recent.extend(applied);
        let over = recent.len().saturating_sub(DIGESTS_KEPT);
        recent.drain(..over);
    }

    /// The state at `index` was restored; what was before is unknown.
    pub(crate) fn restart(&self, index: u64, digest: Digest) {
        *self.lock() = VecDeque::from([(index, digest)]);
    }

    /// The digest at `index`, if it is among them.
    pub(crate) fn at(&self, index: u64) -> Option<Digest> {
        let recent = self.lock();
        let (first, _) = recent.front()?;
        let place = usize::try_from(index.checked_sub(*first)?).ok()?;
        recent.get(place).filter(|(found, _)| *found == index).map(|(_, digest)| *digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(chain: &[u8], seq: u64, bytes: &[u8]) -> Record {
        Record { chain: chain.into(), seq, tags: Vec::new(), bytes: bytes.into() }
    }

    #[test]
    fn any_difference_in_what_was_written_shows_and_stays() {
        let records = [record(b"a", 1, b"xy"), record(b"b", 1, b"z")];
        let whole = Digest::default().after(&records);
        assert_eq!(Digest::default().after(&records[..1]).after(&records[1..]), whole);
        assert_eq!(whole.after(&[]), whole);
        for other in [
            vec![records[1].clone(), records[0].clone()],
            vec![records[0].clone()],
            vec![record(b"ax", 1, b"y"), records[1].clone()],
            vec![record(b"a", 2, b"xy"), records[1].clone()],
            vec![record(b"a", 1, b"xz"), records[1].clone()],
        ] {
            let parted = Digest::default().after(&other);
            assert_ne!(parted, whole, "{other:?}");
            let more = [record(b"a", 9, b"the same")];
            assert_ne!(parted.after(&more), whole.after(&more), "{other:?}");
        }
    }

    #[test]
    fn the_newest_are_found_by_index_and_what_is_older_is_forgotten() {
        let recent = Recent::default();
        assert_eq!(recent.at(1), None);
        let kept = DIGESTS_KEPT as u64;
        recent.restart(4, Digest(4));
        recent.extend((5..kept + 10).map(|index| (index, Digest(index))).collect());
        for (index, known) in
            [(0, false), (9, false), (10, true), (kept + 9, true), (kept + 10, false)]
        {
            assert_eq!(recent.at(index), known.then_some(Digest(index)), "{index}");
        }
        recent.restart(3, Digest(7));
        assert_eq!((recent.at(3), recent.at(10)), (Some(Digest(7)), None));
    }
}
