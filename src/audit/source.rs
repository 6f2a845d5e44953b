//! Where records come from: the journal of this node, seen as the audit log needs it.
//!
//! [`Reader`] turns records into checked entries and reads ahead when it is asked for neighbours.
//! Every way of reading the log goes through it, so a damaged record is an error wherever it is
//! met, and never left out. Must not know filters, formats or HTTP.

use std::{collections::VecDeque, sync::Arc};

use authrai_cluster::{Journal, JournalError};

use super::{
    chain::{self, Broken},
    record::Entry,
};
use crate::{
    domain::{Hash, Tenant},
    fair::Full,
    limits::{AUDIT_CHUNK_MAX_BYTES, AUDIT_CHUNK_MAX_RECORDS},
};

/// Chains of records with posting lists, as the journal keeps them. Positions count from 1.
pub trait Records: Send + Sync {
    /// Position of the last record; 0 when there is none.
    fn head(&self, chain: &[u8]) -> u64;
    /// Records from position `from` on: at least one if there is one, and not many more bytes
    /// than `max_bytes`.
    fn read(
        &self,
        chain: &[u8],
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, Unread>;
    /// How many records carry this tag.
    fn count(&self, chain: &[u8], tag: &[u8]) -> Result<u64, Unread>;
    /// Ascending positions after `after` of records with this tag, without the first `skip`.
    fn seqs(
        &self,
        chain: &[u8],
        tag: &[u8],
        after: u64,
        skip: u64,
        limit: usize,
    ) -> Result<Vec<u64>, Unread>;
}

/// Why records could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// The record at this position is damaged or missing; 0 for the posting lists.
    Damaged(u64),
    /// The disk failed, in the system's words.
    Disk(String),
    /// The node is shutting down.
    Closed,
}

impl Records for Journal {
    fn head(&self, chain: &[u8]) -> u64 {
        Journal::head(self, chain)
    }

    fn read(
        &self,
        chain: &[u8],
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, Unread> {
        Ok(Journal::read(self, chain, from, max_records, max_bytes)?)
    }

    fn count(&self, chain: &[u8], tag: &[u8]) -> Result<u64, Unread> {
        Ok(Journal::count(self, chain, tag)?)
    }

    fn seqs(
        &self,
        chain: &[u8],
        tag: &[u8],
        after: u64,
        skip: u64,
        limit: usize,
    ) -> Result<Vec<u64>, Unread> {
        Ok(Journal::seqs(self, chain, tag, after, skip, limit)?)
    }
}

impl From<JournalError> for Unread {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Damaged { seq, .. } => Self::Damaged(seq),
            JournalError::Disk { detail } => Self::Disk(detail),
            JournalError::Closed => Self::Closed,
        }
    }
}

/// Why the audit log could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// An event is damaged or missing; 0 when it is the index that leads to the events.
    #[error("event {seq} of the {} chain of {} is damaged: {what}", chain.environment, chain.org)]
    Damaged {
        /// In which chain.
        chain: Tenant,
        /// Which event.
        seq: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The disk failed.
    #[error("the disk failed while the audit log was read: {0}")]
    Disk(String),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closed,
    /// Too many requests wait for the audit log.
    #[error("too many requests are reading the audit log: {0}")]
    Busy(Full),
}

/// One chain, to be read.
#[derive(Clone)]
pub struct Chain {
    records: Arc<dyn Records>,
    tenant: Tenant,
    key: Vec<u8>,
}

impl Chain {
    /// The chain of `tenant`.
    pub fn new(records: Arc<dyn Records>, tenant: Tenant) -> Self {
        Self { records, tenant, key: tenant.chain_key() }
    }

    /// Position of its last event; 0 when there is none.
    pub fn head(&self) -> u64 {
        self.records.head(&self.key)
    }

    /// See [`Records::count`].
    pub fn count(&self, tag: &[u8]) -> Result<u64, AuditError> {
        self.records.count(&self.key, tag).map_err(|unread| self.unread(unread))
    }

    /// See [`Records::seqs`].
    pub fn seqs(
        &self,
        tag: &[u8],
        after: u64,
        skip: u64,
        limit: usize,
    ) -> Result<Vec<u64>, AuditError> {
        let seqs = self.records.seqs(&self.key, tag, after, skip, limit);
        seqs.map_err(|unread| self.unread(unread))
    }

    fn unread(&self, unread: Unread) -> AuditError {
        match unread {
            Unread::Damaged(0) => self.damaged(0, "the index of the chain cannot be read"),
            Unread::Damaged(seq) => self.damaged(seq, "the journal cannot read it"),
            Unread::Disk(detail) => AuditError::Disk(detail),
            Unread::Closed => AuditError::Closed,
        }
    }

    /// The error for a damaged event.
    pub fn damaged(&self, seq: u64, what: impl Into<String>) -> AuditError {
        AuditError::Damaged { chain: self.tenant, seq, what: what.into() }
    }
}

/// How far ahead an event is still reached by reading what lies between: a jump reads its
/// neighbours too, since the journal keeps many records in a row.
const READ_THROUGH_MAX_RECORDS: u64 = 32;

/// Reads events of one chain, best in ascending order.
pub struct Reader {
    chain: Chain,
    /// Records from `next` on that were read ahead.
    ahead: VecDeque<(u64, Vec<u8>)>,
    next: u64,
    /// Hash of the event before `next`, unless that is to be skipped.
    previous: Hash,
    /// How many records the next read takes: grows while neighbours are asked for.
    window: usize,
    records_read: u64,
}

impl Reader {
    /// Records that a read takes after a jump: the event asked for and the one before.
    const WINDOW_MIN: usize = 2;

    /// At the start of `chain`.
    pub fn new(chain: Chain) -> Self {
        let window = Self::WINDOW_MIN;
        Self { chain, ahead: VecDeque::new(), next: 1, previous: [0; 32], window, records_read: 0 }
    }

    /// The chain that is read.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// How many records were read so far, those that nobody asked for included.
    pub fn records_read(&self) -> u64 {
        self.records_read
    }

    /// The event at `seq`, checked against its predecessor. Missing is damaged: ask for events up
    /// to the head only.
    pub fn entry(&mut self, seq: u64) -> Result<Entry, AuditError> {
        if seq < self.next || seq - self.next > READ_THROUGH_MAX_RECORDS {
            self.jump(seq);
        }
        loop {
            let Some((found, record)) = self.ahead.pop_front() else {
                self.read_ahead()?;
                continue;
            };
            if found != self.next {
                return Err(self.chain.damaged(self.next, "it is missing"));
            }
            let damaged = |broken: Broken| self.chain.damaged(found, broken.to_string());
            if found == seq {
                let entry = Entry::read(seq, self.previous, &record).map_err(damaged)?;
                (self.next, self.previous) = (seq + 1, entry.hash);
                return Ok(entry);
            }
            self.previous = chain::split(&record).map_err(damaged)?.0;
            self.next += 1;
        }
    }

    /// Starts one before `seq`, for the hash that `seq` continues.
    fn jump(&mut self, seq: u64) {
        self.ahead.clear();
        self.next = seq.saturating_sub(1).max(1);
        self.previous = [0; 32];
        self.window = Self::WINDOW_MIN;
    }

    fn read_ahead(&mut self) -> Result<(), AuditError> {
        let Chain { records, key, .. } = &self.chain;
        let read = records.read(key, self.next, self.window, AUDIT_CHUNK_MAX_BYTES);
        self.ahead = read.map_err(|unread| self.chain.unread(unread))?.into();
        self.records_read += self.ahead.len() as u64;
        if self.ahead.is_empty() {
            return Err(self.chain.damaged(self.next, "it is missing"));
        }
        self.window = (self.window * 2).min(AUDIT_CHUNK_MAX_RECORDS);
        Ok(())
    }
}
