//! The audit log of a node, for those who must not block: every read of the disk runs on a thread
//! of its own, and only so many at a time.
//!
//! Exports and checks take one such turn for each piece, so a slow client holds no thread, and a
//! client that leaves ends the work. Must not know HTTP.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{
    export::Export,
    offline::Format,
    query::{self, Filter, Page, QueryError},
    record::Entry,
    source::{AuditError, Chain, Reader, Records},
    verify::{Check, Verdict},
};
use crate::{
    domain::{Hash, Head, Tenant},
    gate::{Full, Gate, Pass},
    limits::{
        AUDIT_CHUNK_MAX_BYTES, AUDIT_CHUNK_MAX_RECORDS, AUDIT_EXPORTS_MAX,
        AUDIT_EXPORTS_PER_ORGANIZATION_MAX, AUDIT_READERS_MAX, AUDIT_STREAMS_MAX,
        AUDIT_STREAMS_PER_ORGANIZATION_MAX, AUDIT_WAITING_MAX,
    },
};

/// The audit log of a node. Clones share it.
#[derive(Clone)]
pub struct AuditLog {
    records: Arc<dyn Records>,
    readers: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    exports: Gate,
    streams: Gate,
}

impl AuditLog {
    /// The log that is kept in `records`.
    pub fn new(records: Arc<dyn Records>) -> Self {
        Self {
            records,
            readers: Arc::new(Semaphore::new(AUDIT_READERS_MAX)),
            waiting: Arc::new(Semaphore::new(AUDIT_WAITING_MAX)),
            exports: Gate::new(AUDIT_EXPORTS_MAX, AUDIT_EXPORTS_PER_ORGANIZATION_MAX),
            streams: Gate::new(AUDIT_STREAMS_MAX, AUDIT_STREAMS_PER_ORGANIZATION_MAX),
        }
    }

    fn chain(&self, tenant: Tenant) -> Chain {
        Chain::new(self.records.clone(), tenant)
    }

    /// One page; as `audit::query` says.
    pub async fn page(
        &self,
        tenant: Tenant,
        filter: Filter,
        offset: u64,
        limit: usize,
    ) -> Result<Page, QueryError> {
        let _seat = self.waiting.try_acquire().map_err(|_| AuditError::Busy)?;
        let chain = self.chain(tenant);
        self.turn(move || query::page(chain, &filter, offset, limit)).await?
    }

    /// A place for an export or a check, to be held until it ends.
    pub fn export_pass(&self, tenant: Tenant) -> Result<Pass, Full> {
        self.exports.enter(tenant.org)
    }

    /// A place for a stream, to be held until it ends.
    pub fn stream_pass(&self, tenant: Tenant) -> Result<Pass, Full> {
        self.streams.enter(tenant.org)
    }

    /// Starts an export.
    pub async fn export(
        &self,
        tenant: Tenant,
        filter: Filter,
        format: Format,
    ) -> Result<Export, AuditError> {
        let chain = self.chain(tenant);
        self.turn(move || Export::new(chain, &filter, format)).await?
    }

    /// The next piece of an export that is not empty, and the export, unless it has ended.
    pub async fn piece(&self, mut export: Export) -> Result<Option<(Vec<u8>, Export)>, AuditError> {
        loop {
            let (piece, rest) = self.turn(move || (export.piece(), export)).await?;
            match piece? {
                None => return Ok(None),
                Some(piece) if piece.is_empty() => export = rest,
                Some(piece) => return Ok(Some((piece, rest))),
            }
        }
    }

    /// Checks the chain of `tenant` up to `head`.
    pub async fn check(&self, tenant: Tenant, head: Head) -> Result<Verdict, AuditError> {
        let mut check = Check::new(self.chain(tenant), head);
        loop {
            let (verdict, rest) = self.turn(move || (check.turn(), check)).await?;
            match verdict? {
                Some(verdict) => return Ok(verdict),
                None => check = rest,
            }
        }
    }

    /// Place of the last event of `tenant`.
    pub fn head(&self, tenant: Tenant) -> u64 {
        self.chain(tenant).head()
    }

    /// The events after place `after`, some of them if there are many.
    pub async fn after(&self, tenant: Tenant, after: u64) -> Result<Vec<Entry>, AuditError> {
        self.few_after(tenant, after, AUDIT_CHUNK_MAX_RECORDS, AUDIT_CHUNK_MAX_BYTES).await
    }

    /// The events after place `after`, so many at most, and not many more bytes than `bytes_max`.
    pub async fn few_after(
        &self,
        tenant: Tenant,
        after: u64,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, AuditError> {
        let chain = self.chain(tenant);
        if chain.head() <= after {
            return Ok(Vec::new());
        }
        self.turn(move || some_after(&chain, after, records_max, bytes_max)).await?
    }

    /// Hash of the event at `seq`; zeros for 0.
    pub async fn hash_at(&self, tenant: Tenant, seq: u64) -> Result<Hash, AuditError> {
        if seq == 0 {
            return Ok(Head::START.hash);
        }
        let mut reader = Reader::new(self.chain(tenant));
        self.turn(move || reader.entry(seq).map(|entry| entry.hash)).await?
    }

    /// Runs `work` on a thread that may block, when it is its turn. The turn lasts as long as the
    /// work, also when nobody waits for it any more.
    async fn turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AuditError> {
        let turn = self.readers.clone().acquire_owned().await.map_err(|_| AuditError::Closed)?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        match done.await {
            Ok(result) => Ok(result),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(AuditError::Closed),
        }
    }
}

fn some_after(
    chain: &Chain,
    after: u64,
    records_max: usize,
    bytes_max: usize,
) -> Result<Vec<Entry>, AuditError> {
    let mut reader = Reader::new(chain.clone());
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for seq in after + 1..=chain.head() {
        if entries.len() >= records_max || bytes >= bytes_max {
            break;
        }
        let entry = reader.entry(seq)?;
        bytes += entry.text.len();
        entries.push(entry);
    }
    Ok(entries)
}
