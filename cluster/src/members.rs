//! Who belongs to the cluster: taking nodes in, promoting, removing, and handing leadership over.
//!
//! Only the leader changes the membership, one change at a time. A node comes in as a learner, and
//! asks again until it has caught up and may vote; so whoever leads meanwhile can go on with it.
//! Nothing is retried here: an answer says whether to ask again. Must not know how requests
//! arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Instant, ServerState};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::Machine;
use crate::handle::Core;
use crate::lease::{LeaseClock, SystemClock};
use crate::limits::{
    CHANGE_MAX, MEMBER_ADDRESS_MAX_BYTES, MEMBER_ANSWERS_WITHIN, PROMOTE_LAG_MAX_ENTRIES,
    TRANSFER_MAX,
};
use crate::peer::wire_members::{Change, ChangeAnswer, Join, JoinAnswer, Refusal, StatusAnswer};
use crate::store::writer::{Job, WriterHandle};
use crate::types::{Member, TypeConfig};

type Metrics = openraft::RaftMetrics<TypeConfig>;
type Changes = ChangeMembers<u64, Member>;

/// A change did not happen; nothing has changed for good.
struct NotNow;

impl<M: Machine> Core<M> {
    fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow_watched().clone()
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.raft.metrics().borrow_watched().state == ServerState::Leader
    }

    /// Takes a node in, or a step further.
    pub(crate) async fn take_in(&self, join: &Join) -> JoinAnswer {
        let metrics = self.metrics();
        if metrics.state != ServerState::Leader {
            let elsewhere = self.leader_elsewhere();
            return JoinAnswer::NotLeader(elsewhere.map(|leader| (leader.node, leader.address)));
        }
        let Ok(_turn) = self.changes.try_lock() else { return JoinAnswer::Busy };
        if join.address.is_empty() || join.address.len() > MEMBER_ADDRESS_MAX_BYTES {
            return JoinAnswer::Refused(Refusal::Address);
        }
        if self.links.is_none() {
            return JoinAnswer::Refused(Refusal::NoPeers);
        }
        // What is removed or taken is known for sure only once everything committed is applied.
        let known = self.roster.known();
        if known.removed.contains(&join.node) {
            return JoinAnswer::Refused(Refusal::Removed);
        }
        if join.level < known.level {
            return JoinAnswer::Refused(Refusal::TooOld);
        }
        let membership = metrics.membership_config.membership();
        let wanted = Member { address: join.address.clone(), incarnation: join.incarnation };
        let step = match membership.get_node(&join.node) {
            None => self.add(join.node, wanted).await.map(|()| JoinAnswer::Learner),
            Some(member) if member.incarnation != join.incarnation => {
                return JoinAnswer::Refused(Refusal::Taken);
            }
            Some(member) if member.address != join.address => {
                let nodes = BTreeMap::from([(join.node, wanted)]);
                self.commit(ChangeMembers::SetNodes(nodes)).await.map(|()| JoinAnswer::Busy)
            }
            Some(_) if membership.voter_ids().any(|voter| voter == join.node) => {
                Ok(JoinAnswer::Voter)
            }
            Some(_) if join.voter && caught_up(&metrics, join.node) => {
                let ids = BTreeSet::from([join.node]);
                self.commit(ChangeMembers::AddVoterIds(ids)).await.map(|()| JoinAnswer::Voter)
            }
            Some(_) => Ok(JoinAnswer::Learner),
        };
        step.unwrap_or(JoinAnswer::Busy)
    }

    async fn add(&self, node: u64, member: Member) -> Result<(), NotNow> {
        self.commit(ChangeMembers::AddNodes(BTreeMap::from([(node, member)]))).await
    }

    /// Commits one change and waits until it is applied here.
    async fn commit(&self, change: Changes) -> Result<(), NotNow> {
        let said = format!("{change}");
        // Nobody who leaves stays on as a learner: an id that left is gone.
        let changing = timeout(CHANGE_MAX, self.raft.change_membership(change, false)).await;
        match changing {
            Ok(Ok(_)) => {
                tracing::info!(change = said, "the membership has changed");
                Ok(())
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                error @ ChangeMembershipError::InProgress(_),
            )))) => {
                tracing::debug!(%error, change = said, "another change is under way");
                Err(NotNow)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, change = said, "the membership has not changed");
                Err(NotNow)
            }
            Err(_) => {
                tracing::warn!(change = said, "the membership has not changed in time");
                Err(NotNow)
            }
        }
    }

    /// Does what an operator asked for.
    pub(crate) async fn change(&self, change: Change) -> ChangeAnswer {
        let metrics = self.metrics();
        if metrics.state != ServerState::Leader {
            return ChangeAnswer::Retry;
        }
        let Ok(_turn) = self.changes.try_lock() else { return ChangeAnswer::Retry };
        match change {
            Change::Remove(node) => self.remove(&metrics, node).await,
            Change::Transfer(node) => self.transfer(&metrics, node).await,
            Change::RaiseLevel => self.raise_level().await,
        }
    }

    async fn remove(&self, metrics: &Metrics, node: u64) -> ChangeAnswer {
        let membership = metrics.membership_config.membership();
        if membership.get_node(&node).is_none() {
            let known = self.roster.known();
            return if known.removed.contains(&node) {
                ChangeAnswer::Done
            } else {
                ChangeAnswer::Refused(Refusal::NoMember)
            };
        }
        let left: BTreeSet<u64> = membership.voter_ids().filter(|voter| *voter != node).collect();
        if left.is_empty() {
            return ChangeAnswer::Refused(Refusal::LastVoter);
        }
        let answering = left.iter().filter(|voter| answers(metrics, **voter)).count();
        if answering * 2 <= left.len() {
            return ChangeAnswer::Refused(Refusal::QuorumLost);
        }
        if node == self.identity.node {
            // The next leader removes this one.
            let next = left.iter().copied().find(|voter| may_lead(metrics, *voter));
            if let Some(next) = next {
                self.hand_over(next).await;
            }
            return ChangeAnswer::Retry;
        }
        let ids = BTreeSet::from([node]);
        let voter = membership.voter_ids().any(|voter| voter == node);
        let change =
            if voter { ChangeMembers::RemoveVoters(ids) } else { ChangeMembers::RemoveNodes(ids) };
        self.commit(change).await.map_or(ChangeAnswer::Retry, |()| ChangeAnswer::Done)
    }

    async fn transfer(&self, metrics: &Metrics, node: u64) -> ChangeAnswer {
        if node == self.identity.node {
            return ChangeAnswer::Done;
        }
        if metrics.membership_config.membership().get_node(&node).is_none() {
            return ChangeAnswer::Refused(Refusal::NoMember);
        }
        if !may_lead(metrics, node) {
            return ChangeAnswer::Refused(Refusal::CannotLead);
        }
        if self.hand_over(node).await { ChangeAnswer::Done } else { ChangeAnswer::Retry }
    }

    /// Makes `node` the leader. A leader that hands over takes no writes, so one whose successor
    /// does not come forward campaigns anew.
    async fn hand_over(&self, node: u64) -> bool {
        if self.raft.trigger().transfer_leader(node).await.is_err() {
            return false;
        }
        let mut metrics = self.raft.metrics();
        let led = async {
            loop {
                if metrics.borrow_and_update().current_leader == Some(node) {
                    return true;
                }
                if metrics.changed().await.is_err() {
                    return false;
                }
            }
        };
        if timeout(TRANSFER_MAX, led).await.unwrap_or(false) {
            return true;
        }
        tracing::warn!(node, "leadership was not taken over");
        // A failure stops the engine, which is watched.
        let _ = self.raft.trigger().elect(false).await;
        false
    }

    /// Before this node stops: lets another one lead, if one can.
    pub(crate) async fn step_aside(&self) {
        let metrics = self.metrics();
        if metrics.state != ServerState::Leader {
            return;
        }
        let mut voters = metrics.membership_config.membership().voter_ids();
        let next = voters.find(|id| *id != self.identity.node && may_lead(&metrics, *id));
        if let Some(next) = next {
            self.hand_over(next).await;
        }
    }

    /// What this node says about itself.
    pub(crate) fn own_status(&self) -> StatusAnswer {
        let metrics = self.metrics();
        StatusAnswer {
            role: metrics.state.into(),
            term: metrics.current_term,
            last_log_index: self.log.last_index(),
            applied_index: self.progress.published(),
            lease_left_ms: self.leasing.gate().left_ns(SystemClock.read()) / 1_000_000,
            lease_refused: self.leasing.refused(),
            newest_level: self.newest_level,
            unready: self.unready().map_or(0, |reason| reason.tag()),
        }
    }
}

/// Hands leadership over for as long as this node is not fit for it.
pub(crate) async fn lead_only_when_fit<M: Machine>(
    core: Arc<Core<M>>,
    mut unfit: watch::Receiver<bool>,
) {
    while unfit.wait_for(|unfit| *unfit).await.is_ok() {
        tracing::error!("this node is not fit to lead, and hands leadership over");
        core.step_aside().await;
        // Whoever could take over may be down at the moment.
        let _ = timeout(TRANSFER_MAX, unfit.wait_for(|unfit| !*unfit)).await;
    }
}

/// Hands leadership over for as long as this node knows of damage in its store: it takes no write.
pub(crate) async fn lead_only_when_whole<M: Machine>(core: Arc<Core<M>>) {
    let mut damage = core.journal.damage.subscribe();
    while damage.wait_for(Option::is_some).await.is_ok() {
        core.step_aside().await;
        let _ = timeout(TRANSFER_MAX, damage.wait_for(Option::is_none)).await;
    }
}

/// While this node leads: notices members that have lost entries that they had acknowledged.
pub(crate) async fn watch_logs<M: Machine>(core: Arc<Core<M>>) {
    let mut metrics = core.raft.metrics();
    let mut reign = (0, BTreeMap::new());
    loop {
        let now = metrics.borrow_and_update().clone();
        if reign.0 != now.current_term {
            reign = (now.current_term, BTreeMap::new());
            core.set_back.send_replace(BTreeSet::new());
        }
        for (node, matched) in now.replication.into_iter().flatten() {
            let next = matched.map_or(0, |id| id.index() + 1);
            let before = reign.1.insert(node, next).unwrap_or(0);
            if next < before && core.set_back.send_if_modified(|nodes| nodes.insert(node)) {
                tracing::error!(
                    node,
                    acknowledged = before - 1,
                    "a member has lost entries that it had acknowledged; unless it says that it is \
                     being filled again, its data directory is an older copy of itself: remove the \
                     member, and let a new one join with an empty directory"
                );
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps outside the store who else votes: whom a node can be filled from whose store is damaged.
pub(crate) async fn note_others<M: Machine>(core: Arc<Core<M>>, writer: WriterHandle) {
    let mut roster = core.roster.subscribe();
    let mut noted = None;
    loop {
        let known = roster.borrow_and_update().clone();
        // A node that is being filled knows less than it did.
        let whole = !core.is_renewing() && known.is_voter(core.identity.node);
        let others = known.membership.membership().nodes();
        let others = others.filter(|(id, _)| known.is_voter(**id) && **id != core.identity.node);
        let others = others.map(|(id, member)| (*id, member.address.clone())).collect::<Vec<_>>();
        if whole && noted.as_ref() != Some(&others) {
            noted = Some(others.clone());
            writer.send(Job::Others(others));
        }
        if roster.changed().await.is_err() {
            return;
        }
    }
}

/// How many entries of the leader's log `node` is known not to have; all, if nothing is known.
fn lag(metrics: &Metrics, node: u64) -> u64 {
    if node == metrics.id {
        return 0;
    }
    let last = metrics.last_log_index.map_or(0, |last| last + 1);
    let matched = metrics.replication.as_ref().and_then(|all| all.get(&node).copied().flatten());
    last.saturating_sub(matched.map_or(0, |id| id.index() + 1))
}

fn caught_up(metrics: &Metrics, node: u64) -> bool {
    lag(metrics, node) <= PROMOTE_LAG_MAX_ENTRIES && answers(metrics, node)
}

/// Whether `node` has answered the leader lately.
fn answers(metrics: &Metrics, node: u64) -> bool {
    if node == metrics.id {
        return true;
    }
    let heard = metrics.heartbeat.as_ref().and_then(|all| all.get(&node).copied().flatten());
    heard.is_some_and(|heard| heard.elapsed() < MEMBER_ANSWERS_WITHIN)
}

fn may_lead(metrics: &Metrics, node: u64) -> bool {
    let voter = metrics.membership_config.membership().voter_ids().any(|voter| voter == node);
    voter && caught_up(metrics, node)
}
