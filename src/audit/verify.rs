//! The check of a whole chain against the head that the state holds, some events at a time.
//!
//! The state's head stands outside the journal, so a chain that was rewritten from its middle on
//! with new hashes does not pass. Must not know HTTP.

use super::source::{AuditError, Chain, Reader};
use crate::{
    domain::{Hash, Head},
    limits::AUDIT_VERIFY_TURN_RECORDS,
};

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// How many events the chain holds, by the state.
    pub length: u64,
    /// Hash of the last, by the state.
    pub head_hash: Hash,
    /// The first event that is damaged or missing, or that the head does not follow from.
    pub first_bad_seq: Option<u64>,
}

/// A check in progress.
pub struct Check {
    chain: Chain,
    reader: Reader,
    head: Head,
    next: u64,
    last: Hash,
}

impl Check {
    /// The check of everything up to `head`.
    pub fn new(chain: Chain, head: Head) -> Self {
        let last = Head::START.hash;
        Self { reader: Reader::new(chain.clone()), chain, head, next: 1, last }
    }

    /// Checks some more events; the verdict when there is one. What cannot be told, because the
    /// disk fails or the node stops, is an error.
    pub fn turn(&mut self) -> Result<Option<Verdict>, AuditError> {
        let end = self.head.seq.min(self.next + AUDIT_VERIFY_TURN_RECORDS - 1);
        while self.next <= end {
            match self.event() {
                Ok(hash) => (self.next, self.last) = (self.next + 1, hash),
                Err(AuditError::Damaged { seq, .. }) => return Ok(Some(self.verdict(Some(seq)))),
                Err(error) => return Err(error),
            }
        }
        if self.next <= self.head.seq {
            return Ok(None);
        }
        let follows = self.last == self.head.hash;
        Ok(Some(self.verdict((!follows).then_some(self.head.seq.max(1)))))
    }

    fn event(&mut self) -> Result<Hash, AuditError> {
        let entry = self.reader.entry(self.next)?;
        match entry.fields() {
            Ok(_) => Ok(entry.hash),
            Err(what) => Err(self.chain.damaged(entry.seq, what)),
        }
    }

    fn verdict(&self, first_bad_seq: Option<u64>) -> Verdict {
        Verdict { length: self.head.seq, head_hash: self.head.hash, first_bad_seq }
    }
}
