//! A node that is being filled again, until it may vote.
//!
//! The node has kept its vote, so every leader that it follows is of a term in which it can have
//! promised nothing else, and holds every committed entry that this node ever acknowledged (Raft, leader
//! completeness). What this node has lost is its copies. If it voted now, a candidate without such an
//! entry could win with that vote. So it refuses every vote and stands for no election, until a leader
//! that a quorum has confirmed says where its log ends and this node has applied everything up to there.
//! Must not know how the leader fills it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Machine;
use crate::forward::Read;
use crate::handle::Core;
use crate::limits::RETRY_PAUSE_MAX;
use crate::runtime::spawn_blocking;
use crate::store::renewal;

/// How long a leader may take to confirm a read, and how long this node then waits to get there
/// before it asks again.
const TRY: Duration = Duration::from_secs(10);

/// Lets the node vote once it holds everything that it may have acknowledged.
pub(crate) async fn until_filled<M: Machine>(core: Arc<Core<M>>) {
    if !core.is_renewing() {
        return;
    }
    while !filled(&core).await {
        sleep(RETRY_PAUSE_MAX).await;
    }
    let dir = core.data_dir.clone();
    while let Err(error) = ended(dir.clone()).await {
        tracing::error!(error, "this node is filled, and cannot note it");
        sleep(TRY).await;
    }
    core.renewing.send_replace(false);
    core.raft.runtime_config().elect(true);
    tracing::warn!("this node holds everything again, and votes");
}

async fn filled<M: Machine>(core: &Core<M>) -> bool {
    let until = Instant::now() + TRY;
    if core.leader_elsewhere().is_none() {
        return false;
    }
    let Read::Confirmed { last, .. } = core.read(until).await else { return false };
    let mut published = core.progress.subscribe();
    let reached = published.wait_for(|published| *published >= last);
    tokio::time::timeout(TRY, reached).await.is_ok_and(|reached| reached.is_ok())
}

async fn ended(dir: std::path::PathBuf) -> Result<(), String> {
    let ended = spawn_blocking(move || renewal::end(&dir)).await;
    ended.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}
