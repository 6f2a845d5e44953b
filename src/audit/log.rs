//! The audit log of a node, for those who must not block: every read of the disk runs on a thread
//! of its own, and only so many at a time.
//!
//! Exports and checks take one such turn for each piece, so a slow client holds no thread, and a
//! client that leaves ends the work. Must not know HTTP.

use std::sync::Arc;

use super::{
    export::Export,
    offline::Format,
    query::{self, Filter, Page, QueryError},
    record::Entry,
    source::{AuditError, Chain, Reader, Records},
    verify::{Check, Verdict},
};
use crate::{
    domain::{Hash, Head, OrgId, Tenant},
    fair::{Full, Gate, Pass, Supply, Turns},
    limits::{
        AUDIT_CHUNK_MAX_BYTES, AUDIT_CHUNK_MAX_RECORDS, AUDIT_EXPORTS_MAX,
        AUDIT_EXPORTS_PER_ORGANIZATION_MAX, AUDIT_READERS_MAX, AUDIT_SCAN_MAX_RECORDS,
        AUDIT_STREAMS_MAX, AUDIT_STREAMS_PER_ORGANIZATION_MAX, AUDIT_VERIFY_TURN_RECORDS,
        AUDIT_WAITING_MAX, AUDIT_WAITING_PER_ORGANIZATION_MAX,
    },
};

/// The audit log of a node. Clones share it.
#[derive(Clone)]
pub struct AuditLog {
    records: Arc<dyn Records>,
    readers: Turns<OrgId>,
    waiting: Gate<OrgId>,
    exports: Gate<OrgId>,
    streams: Gate<OrgId>,
}

/// What a turn costs in which so many records may be read.
const fn cost(records: u64) -> u64 {
    1 + records / AUDIT_CHUNK_MAX_RECORDS as u64
}

impl AuditLog {
    /// The log that is kept in `records`.
    pub fn new(records: Arc<dyn Records>) -> Self {
        Self {
            records,
            readers: Turns::new(Supply::new(AUDIT_READERS_MAX, AUDIT_READERS_MAX)),
            waiting: gate(AUDIT_WAITING_MAX, AUDIT_WAITING_PER_ORGANIZATION_MAX),
            exports: gate(AUDIT_EXPORTS_MAX, AUDIT_EXPORTS_PER_ORGANIZATION_MAX),
            streams: gate(AUDIT_STREAMS_MAX, AUDIT_STREAMS_PER_ORGANIZATION_MAX),
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
        let _seat = self.waiting.enter(tenant.org).map_err(AuditError::Busy)?;
        let chain = self.chain(tenant);
        let records = match filter.needs_reading() {
            true => AUDIT_SCAN_MAX_RECORDS,
            false => limit as u64,
        };
        self.turn(tenant, cost(records), move || query::page(chain, &filter, offset, limit)).await?
    }

    /// A place for an export or a check, to be held until it ends.
    pub fn export_pass(&self, tenant: Tenant) -> Result<Pass<OrgId>, Full> {
        self.exports.enter(tenant.org)
    }

    /// A place for a stream, to be held until it ends.
    pub fn stream_pass(&self, tenant: Tenant) -> Result<Pass<OrgId>, Full> {
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
        self.turn(tenant, cost(0), move || Export::new(chain, &filter, format)).await?
    }

    /// The next piece of an export that is not empty, and the export, unless it has ended.
    pub async fn piece(
        &self,
        tenant: Tenant,
        mut export: Export,
    ) -> Result<Option<(Vec<u8>, Export)>, AuditError> {
        loop {
            let cost = cost(export.reads_max());
            let turn = self.turn(tenant, cost, move || (export.piece(), export));
            let (piece, rest) = turn.await?;
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
            let records = cost(AUDIT_VERIFY_TURN_RECORDS);
            let (verdict, rest) = self.turn(tenant, records, move || (check.turn(), check)).await?;
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
        let work = move || some_after(&chain, after, records_max, bytes_max);
        self.turn(tenant, cost(records_max as u64), work).await?
    }

    /// Hash of the event at `seq`; zeros for 0.
    pub async fn hash_at(&self, tenant: Tenant, seq: u64) -> Result<Hash, AuditError> {
        if seq == 0 {
            return Ok(Head::START.hash);
        }
        let mut reader = Reader::new(self.chain(tenant));
        self.turn(tenant, cost(0), move || reader.entry(seq).map(|entry| entry.hash)).await?
    }

    /// Runs `work` on a thread that may block, when it is its organisation's turn. The turn lasts
    /// as long as the work, also when nobody waits for it any more.
    async fn turn<T: Send + 'static>(
        &self,
        tenant: Tenant,
        cost: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AuditError> {
        let turn = self.readers.take(tenant.org, cost).await;
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

fn gate(total: usize, of_one: usize) -> Gate<OrgId> {
    Gate::new(Supply::new(total, of_one))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::tests::sample::Memory,
        fair::check::{gate_is_shared, turns_are_shared},
    };

    #[test]
    fn one_organisation_does_not_keep_the_others_from_the_audit_log() {
        let log = AuditLog::new(Arc::new(Memory::sample(1)));
        let [attacker, other] = [1, 2].map(OrgId::from_ulid);
        for gate in [&log.waiting, &log.exports, &log.streams] {
            gate_is_shared(gate, attacker, other);
        }
        turns_are_shared(&log.readers, attacker, other);
    }
}
