//! What operators do with a cluster through any of its nodes: look at it, remove a member, hand
//! leadership over.
//!
//! The leader does it, one hop away if need be; tried again until the deadline, for each of these
//! may be asked for twice. Must not know how the membership changes.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::error::{MemberError, Unavailable};
use crate::handle::Handle;
use crate::limits::{RETRY_PAUSE_MAX, STATUS_ANSWER_MAX};
use crate::peer::link::Target;
use crate::peer::wire::Rpc;
use crate::peer::wire_members::{AskStatus, Change, ChangeAnswer, StatusAnswer};
use crate::readiness::{UNREACHABLE, Unready};
use crate::status::MemberStatus;
use crate::{Machine, lease::LeaseStatus};

impl<M: Machine> Handle<M> {
    /// Every member with what it says of itself, by id. One that does not answer within a second
    /// is shown without.
    pub async fn members(&self) -> Vec<MemberStatus> {
        let core = self.core();
        let known = core.roster.known();
        let until = Instant::now() + STATUS_ANSWER_MAX;
        let mut asking = JoinSet::new();
        for (id, member) in known.membership.membership().nodes() {
            let (core, target) = (core.clone(), Target::member(*id, member));
            asking.spawn(async move {
                let own = target.node == core.identity.node;
                let said: Option<StatusAnswer> = if own {
                    Some(core.own_status())
                } else {
                    core.ask(&target, Rpc::Status, &AskStatus {}, until).await.ok()
                };
                (target, said)
            });
        }
        let mut members = Vec::new();
        while let Some(answered) = asking.join_next().await {
            // A task that panicked leaves its member out; the others are still of use.
            let Ok((target, said)) = answered else { continue };
            members.push(MemberStatus {
                id: target.node,
                voter: known.is_voter(target.node),
                address: target.address,
                role: said.map(|said| said.role),
                term: said.map(|said| said.term),
                last_log_index: said.map(|said| said.last_log_index),
                applied_index: said.map(|said| said.applied_index),
                lease_left_ms: said.map(|said| said.lease_left_ms),
                lease_refused: said.and_then(|said| said.lease_refused),
                newest_level: said.map(|said| said.newest_level),
                not_ready: said.map_or(Some(UNREACHABLE), |said| Unready::name_of(said.unready)),
            });
        }
        members.sort_by_key(|member| member.id);
        members
    }

    /// Every holder of an unexpired lease, if this node leads.
    pub async fn leases(&self) -> Vec<LeaseStatus> {
        self.core().leasing.leases().await
    }

    /// Takes `node` out of the cluster for good: its id never comes back. Refused if too few
    /// voters would be left that answer.
    pub async fn remove_member(&self, node: u64, deadline: Duration) -> Result<(), MemberError> {
        self.change(Change::Remove(node), deadline).await
    }

    /// Makes `node` the leader.
    pub async fn transfer_leader(&self, node: u64, deadline: Duration) -> Result<(), MemberError> {
        self.change(Change::Transfer(node), deadline).await
    }

    /// Raises the cluster to the newest level that every member knows, and gives it.
    pub async fn raise_level(&self, deadline: Duration) -> Result<u32, MemberError> {
        self.change(Change::RaiseLevel, deadline).await?;
        // What the leader has applied, this node may still have to.
        let _ = self.read_index(deadline).await;
        Ok(self.core().roster.known().level)
    }

    async fn change(&self, change: Change, deadline: Duration) -> Result<(), MemberError> {
        let core = self.core();
        let until = Instant::now() + deadline;
        loop {
            core.check_running().map_err(|unavailable| match unavailable {
                Unavailable::Fatal(fatal) => MemberError::Fatal(fatal),
                _ => MemberError::ShuttingDown,
            })?;
            let answer = match core.leader_elsewhere() {
                Some(leader) => core.ask(&leader, Rpc::Change, &change, until).await.ok(),
                None => Some(core.change(change).await),
            };
            match answer {
                Some(ChangeAnswer::Done) => return Ok(()),
                Some(ChangeAnswer::Refused(refusal)) => {
                    return Err(MemberError::Refused(refusal));
                }
                Some(ChangeAnswer::Retry) | None => {}
            }
            if self.reached(change) {
                return Ok(());
            }
            if Instant::now() + RETRY_PAUSE_MAX >= until {
                return Err(MemberError::NoQuorum);
            }
            sleep(RETRY_PAUSE_MAX).await;
        }
    }

    /// Whether this node sees what was asked for.
    fn reached(&self, change: Change) -> bool {
        let core = self.core();
        match change {
            Change::Remove(node) => core.roster.known().removed.contains(&node),
            Change::Transfer(node) => {
                core.raft.metrics().borrow_watched().current_leader == Some(node)
            }
            Change::RaiseLevel => false,
        }
    }
}
