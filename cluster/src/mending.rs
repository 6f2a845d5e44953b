//! What a running node does about damage that it has found.
//!
//! A damaged block of the journal is fetched from another member, checked record by record against the
//! one before it, and against the one after it, which is still whole; then it takes the damaged file's
//! place in one step. Any other damage means that the store cannot be relied on: the node stops, and is
//! filled again at its next start. A node without other voters can do neither, and says so. Must not know
//! what a record means.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::damage::{Block, Found};
use crate::filling::{NotFilled, not_filled};
use crate::handle::Core;
use crate::limits::JOURNAL_FETCH_ANSWER_MAX;
use crate::peer::link::Target;
use crate::peer::wire::Rpc;
use crate::peer::wire_journal::{AskRecords, Records};
use crate::runtime::spawn_blocking;
use crate::store::postings::first_of;
use crate::store::renewal;
use crate::{Machine, Record};

/// Between two tries to mend something.
const AGAIN: Duration = Duration::from_secs(2);

/// Acts on damage, for as long as the node runs.
pub(crate) async fn mend<M: Machine>(core: Arc<Core<M>>) {
    let mut damage = core.journal.damage.subscribe();
    let mut said = None;
    loop {
        // The sender lives in the journal, which lives in the core.
        let found = match damage.wait_for(Option::is_some).await {
            Ok(found) => found.clone(),
            Err(_) => return,
        };
        let Some(found) = found else { continue };
        if said.as_ref() != Some(&found) {
            let remedy = found.damage(core.has_other_voters());
            tracing::error!(
                damage = remedy.map(|d| d.to_string()),
                "what helps against the damage"
            );
            said = Some(found.clone());
        }
        let Found { fatal, block } = found;
        match block.filter(|_| core.has_other_voters()) {
            Some(block) => match core.fetch_block(&block).await {
                Ok(()) => {
                    core.scrub.mended();
                    core.journal.damage.mended(&block);
                    let chain = block.0.escape_ascii().to_string();
                    tracing::warn!(
                        chain,
                        block = block.1,
                        "a damaged block was fetched and is whole again"
                    );
                    continue;
                }
                Err(error) => tracing::warn!(%error, "a damaged block is not mended yet"),
            },
            None if core.has_other_voters() => {
                let (dir, why) = (core.data_dir.clone(), fatal.clone());
                // A failure is told there.
                let _ = spawn_blocking(move || renewal::note(&dir, &why)).await;
                core.fatal.fail(fatal);
                return;
            }
            None => {}
        }
        sleep(AGAIN).await;
    }
}

/// Looks at the newest snapshot now and then, which nothing reads before a member needs it.
pub(crate) async fn check_snapshots<M: Machine>(core: Arc<Core<M>>, pause: Duration) {
    loop {
        sleep(pause).await;
        let snapshots = core.snapshots.clone();
        if let Ok(Err(fatal)) = spawn_blocking(move || snapshots.check_newest()).await {
            core.journal.damage.found(&fatal, None);
        }
    }
}

impl<M: Machine> Core<M> {
    /// Fetches the records of a block from whoever has them, and puts them in the place of the segment.
    async fn fetch_block(&self, block: &Block) -> Result<(), NotFilled> {
        let mut last = not_filled(&block.0, first_of(block.1), &"no other member answers");
        for peer in self.voters() {
            match self.fetch_block_from(&peer, block).await {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn fetch_block_from(&self, peer: &Target, block: &Block) -> Result<(), NotFilled> {
        let (chain, nth) = (&block.0, block.1);
        let (first, end) = (first_of(nth), first_of(nth + 1));
        let mut previous = self.last_record(chain, first - 1).await?;
        let mut records = Vec::new();
        let mut next = first;
        while next < end {
            let until = Instant::now() + JOURNAL_FETCH_ANSWER_MAX;
            let ask = AskRecords { chain: chain.clone(), from: next };
            let answer: Result<Records, _> = self.ask(peer, Rpc::Records, &ask, until).await;
            let Records { records: page } = answer.map_err(|e| not_filled(chain, next, &e))?;
            if page.is_empty() {
                return Err(not_filled(chain, next, &"the peer has none"));
            }
            for (tags, bytes) in page {
                if next == end {
                    break;
                }
                if !M::follows(previous.as_deref(), &bytes) {
                    return Err(not_filled(chain, next, &"it does not follow the one before it"));
                }
                previous = Some(bytes.clone());
                records.push(Record { chain: chain.clone(), seq: next, tags, bytes });
                next += 1;
            }
        }
        let after = self.last_record(chain, end).await?;
        if !after.is_some_and(|after| M::follows(previous.as_deref(), &after)) {
            return Err(not_filled(chain, end, &"it does not follow what the peer has"));
        }
        let journal = self.journal.clone();
        let (name, nth) = (chain.clone(), nth);
        let replaced = spawn_blocking(move || journal.replace_block(&name, nth, records)).await;
        replaced
            .map_err(|e| not_filled(chain, first, &e))?
            .map_err(|e| not_filled(chain, first, &e))
    }
}
