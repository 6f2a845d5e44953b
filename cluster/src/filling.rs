//! Filling the journal from a peer, before a snapshot is installed.
//!
//! A snapshot knows how long each chain is, not what is in it. So the node that is sent one first
//! fetches the records that it lacks from whoever sends it, each checked against the one before it
//! by the machine; only then is the snapshot installed, and the state checked against the last
//! record of each chain. A journal therefore has no gaps at any time. What was fetched stays when
//! the sender fails, and the next attempt goes on from there. Must not know what records mean.

use std::sync::Arc;

use tokio::time::Instant;

use crate::handle::Core;
use crate::limits::{JOURNAL_CHAINS_PAGE_MAX, JOURNAL_FETCH_ANSWER_MAX, JOURNAL_FETCH_MAX_BYTES};
use crate::peer::link::Target;
use crate::peer::wire::Rpc;
use crate::peer::wire_journal::{AskChains, AskRecords, Chains, Records};
use crate::runtime::spawn_blocking;
use crate::store::journal::within;
use crate::{Machine, Record};

/// Why the journal was not filled.
#[derive(Debug, thiserror::Error)]
#[error("chain {chain}, record {seq}: {why}")]
pub(crate) struct NotFilled {
    chain: String,
    seq: u64,
    why: String,
}

pub(crate) fn not_filled(chain: &[u8], seq: u64, why: &dyn std::fmt::Display) -> NotFilled {
    NotFilled { chain: chain.escape_ascii().to_string(), seq, why: why.to_string() }
}

impl<M: Machine> Core<M> {
    /// Fetches from `peer` every record that it has and this node lacks.
    pub(crate) async fn fill(&self, peer: &Target) -> Result<(), NotFilled> {
        let mut after = Vec::new();
        loop {
            let until = Instant::now() + JOURNAL_FETCH_ANSWER_MAX;
            let ask = AskChains { after: after.clone() };
            let page: Result<Chains, _> = self.ask(peer, Rpc::Chains, &ask, until).await;
            let Chains { chains } = page.map_err(|e| not_filled(&after, 0, &e))?;
            let Some((last, _)) = chains.last() else { return Ok(()) };
            after.clone_from(last);
            for (chain, head) in chains {
                self.fill_chain(peer, &chain, head).await?;
            }
        }
    }

    async fn fill_chain(&self, peer: &Target, chain: &[u8], head: u64) -> Result<(), NotFilled> {
        let mut last = self.journal.head(chain);
        if last >= head {
            return Ok(());
        }
        let lacking = head - last;
        tracing::info!(chain = %chain.escape_ascii(), lacking, node = peer.node, "fetching records");
        let mut previous = self.last_record(chain, last).await?;
        while last < head {
            let until = Instant::now() + JOURNAL_FETCH_ANSWER_MAX;
            let ask = AskRecords { chain: chain.to_vec(), from: last + 1 };
            let answer: Result<Records, _> = self.ask(peer, Rpc::Records, &ask, until).await;
            let Records { records } = answer.map_err(|e| not_filled(chain, last + 1, &e))?;
            if records.is_empty() {
                return Err(not_filled(chain, last + 1, &"the peer has none"));
            }
            let mut checked = Vec::with_capacity(records.len());
            for (tags, bytes) in records {
                last += 1;
                if !M::follows(previous.as_deref(), &bytes) {
                    return Err(not_filled(chain, last, &"it does not follow the one before it"));
                }
                previous = Some(bytes.clone());
                checked.push(Record { chain: chain.to_vec(), seq: last, tags, bytes });
            }
            let journal = self.journal.clone();
            let appended = spawn_blocking(move || journal.append(checked)).await;
            appended
                .map_err(|e| not_filled(chain, last, &e))?
                .map_err(|e| not_filled(chain, last, &e))?;
        }
        Ok(())
    }

    pub(crate) async fn last_record(
        &self,
        chain: &[u8],
        seq: u64,
    ) -> Result<Option<Vec<u8>>, NotFilled> {
        if seq == 0 {
            return Ok(None);
        }
        let (journal, name) = (self.journal.clone(), chain.to_vec());
        let read = spawn_blocking(move || journal.read_records(&name, seq, 1, usize::MAX)).await;
        let read = read.map_err(|e| not_filled(chain, seq, &e))?;
        let read = read.map_err(|e| not_filled(chain, seq, &e))?;
        Ok(read.into_iter().next().map(|record| record.bytes))
    }

    /// The chains that come after one, for a peer that fills its journal.
    pub(crate) fn chains_after(&self, AskChains { after }: &AskChains) -> Chains {
        Chains { chains: self.journal.heads_after(after, JOURNAL_CHAINS_PAGE_MAX) }
    }

    /// Records for a peer that fills its journal; none if they cannot be read here.
    pub(crate) async fn records_from(&self, AskRecords { chain, from }: AskRecords) -> Records {
        let journal = Arc::clone(&self.journal);
        let read = spawn_blocking(move || {
            journal.read_records(&chain, from.max(1), usize::MAX, JOURNAL_FETCH_MAX_BYTES)
        });
        let read = read.await.ok().and_then(|read| {
            read.inspect_err(|error| tracing::warn!(%error, "a peer asks for records")).ok()
        });
        let records = within(read.unwrap_or_default(), JOURNAL_FETCH_MAX_BYTES);
        Records { records: records.into_iter().map(|r| (r.tags, r.bytes)).collect() }
    }
}
