//! The level of the replicated machine: which of its rules hold in this cluster.
//!
//! Nodes of two builds decide the same entries while one after the other is upgraded; so what a
//! newer build decides in a new way has a level, and holds only once the cluster was raised to it.
//! That is an entry of the log, proposed when asked for and only if every member says that it knows
//! the level; from then on whoever knows less neither starts nor joins. Must not know what changes
//! with a level.

use std::sync::Arc;

use tokio::time::Instant;

use crate::Machine;
use crate::handle::Core;
use crate::lease::{LeaseClock, SystemClock};
use crate::limits::STATUS_ANSWER_MAX;
use crate::peer::link::Target;
use crate::peer::wire::Rpc;
use crate::peer::wire_members::{AskStatus, ChangeAnswer, Refusal, StatusAnswer};
use crate::types::Proposed;

/// The level of every cluster at its beginning.
pub(crate) const FIRST: u32 = 1;

impl<M: Machine> Core<M> {
    /// Raises the cluster to the newest level that every member knows. Only the leader does it.
    pub(crate) async fn raise_level(&self) -> ChangeAnswer {
        let known = self.roster.known();
        let until = Instant::now() + STATUS_ANSWER_MAX;
        let mut level = self.newest_level;
        for (id, member) in known.membership.membership().nodes() {
            if *id == self.identity.node {
                continue;
            }
            let target = Target::member(*id, member);
            let said = self.ask(&target, Rpc::Status, &AskStatus {}, until).await;
            let Ok(StatusAnswer { newest_level, .. }) = said else {
                return ChangeAnswer::Refused(Refusal::LevelUnknown);
            };
            level = level.min(newest_level);
        }
        if level <= known.level {
            return ChangeAnswer::Done;
        }
        match self.raft.client_write(Proposed::Level(level)).await {
            Ok(_) => ChangeAnswer::Done,
            Err(error) => {
                tracing::warn!(%error, level, "the level was not raised");
                ChangeAnswer::Retry
            }
        }
    }
}

/// A cluster that never had a second node has nobody to wait for.
pub(crate) async fn raise_alone<M: Machine>(core: Arc<Core<M>>) {
    // The sender lives in the core, so this cannot fail.
    let _ = core.ready.subscribe().wait_for(|ready| *ready).await;
    let known = core.roster.known();
    if core.newest_level > known.level
        && known.only_ever(core.identity.node)
        && core.leasing.gate().usable(SystemClock.read())
    {
        core.raise_level().await;
    }
}
