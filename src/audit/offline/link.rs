//! The chain itself: each row against its own hash and the row before.
//!
//! Holds one hash, whatever the length of the chain. Knows nothing of formats.

use super::{BadRow, Failure, Intact, Wrong};
use crate::{audit::chain, domain::Hash};

/// The hash that lowercase hex stands for.
pub fn hash_from_hex(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    hex::decode_to_slice(text, &mut hash).ok()?;
    (!text.contains(|character: char| character.is_ascii_uppercase())).then_some(hash)
}

/// One row as its format gave it.
pub struct Row<'a> {
    /// The event's `seq`.
    pub seq: u64,
    /// The JCS text of the event without its hashes.
    pub text: &'a [u8],
    /// Its `prev_hash`, in hex.
    pub prev_hash: &'a str,
    /// Its `hash`, in hex.
    pub hash: &'a str,
}

/// How far the chain has been followed.
pub struct Links {
    length: u64,
    last: Hash,
    head: Option<Hash>,
    vouched: Option<u64>,
}

impl Links {
    /// At the start of a chain that should reach `head`.
    pub fn new(head: Option<Hash>) -> Self {
        let start = [0; 32];
        Self { length: 0, last: start, head, vouched: (head == Some(start)).then_some(0) }
    }

    /// The number of the row that comes next.
    pub fn next_row(&self) -> u64 {
        self.length + 1
    }

    /// The failure of the next row.
    pub fn bad(&self, seq: Option<u64>, wrong: Wrong) -> Failure {
        Failure::Bad(BadRow { row: self.next_row(), line: None, seq, wrong })
    }

    /// The hash of the next row if it is `row`, or what is wrong with that. A row that does not
    /// match its own hash was changed; one that does is in the wrong place or was written by
    /// someone else.
    pub fn judge(&self, row: &Row<'_>) -> Result<Hash, Wrong> {
        let claimed = hash_from_hex(row.hash).ok_or(Wrong::Changed)?;
        let follows_last = chain::event_hash(&self.last, row.text) == claimed;
        let previous = hash_from_hex(row.prev_hash);
        if previous == Some(self.last) {
            if !follows_last {
                return Err(Wrong::Changed);
            }
        } else if follows_last {
            return Err(Wrong::PreviousChanged);
        } else if previous.is_none_or(|hash| chain::event_hash(&hash, row.text) != claimed) {
            return Err(Wrong::Changed);
        }
        let expected = self.next_row();
        match row.seq {
            seq if seq > expected => Err(Wrong::Missing { expected, missing: seq - expected }),
            seq if seq < expected => Err(Wrong::Repeated { expected }),
            _ if !follows_last => Err(Wrong::Unlinked),
            _ => Ok(claimed),
        }
    }

    /// Takes a row in that was found right.
    pub fn accept(&mut self, hash: Hash) {
        self.length += 1;
        self.last = hash;
        if self.head == Some(hash) {
            self.vouched = Some(self.length);
        }
    }

    /// After the last row: whether the head was reached.
    pub fn finish(self) -> Result<Intact, Failure> {
        if self.head.is_some() && self.vouched.is_none() {
            return Err(self.bad(None, Wrong::Absent));
        }
        Ok(Intact { length: self.length, head: self.last, vouched: self.vouched })
    }
}
