//! A node's own side of its membership: asking to be taken in, to get its vote, to be known at its
//! address.
//!
//! It asks again until the applied membership shows what it wants to be, whoever leads meanwhile.
//! Must not know how the leader changes the membership.

use std::sync::Arc;

use tokio::time::{Instant, sleep, timeout};

use crate::Machine;
use crate::error::StartError;
use crate::handle::Core;
use crate::limits::{CHANGE_MAX, CLAIM_PAUSE, JOIN_MAX, JOIN_PAUSE};
use crate::peer::link::Target;
use crate::peer::wire::Rpc;
use crate::peer::wire_members::{Join, JoinAnswer};

/// A member that a node asks to be taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Its id, which its certificate must name.
    pub node: u64,
    /// `host:port` at which peers reach it.
    pub address: String,
}

/// What a node wants to be to its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Where they reach it; empty where it has no peers.
    pub address: String,
    /// Whether it wants to vote.
    pub voter: bool,
}

/// Asks until the cluster has taken the node in.
pub(crate) async fn until_taken_in<M: Machine>(
    core: &Arc<Core<M>>,
    seeds: &[Seed],
) -> Result<(), StartError> {
    let asking = async {
        loop {
            match ask(core, seeds).await {
                Some(JoinAnswer::Learner | JoinAnswer::Voter) => return Ok(()),
                Some(JoinAnswer::Refused(refusal)) => {
                    return Err(StartError::NotTakenIn { detail: refusal.to_string() });
                }
                Some(JoinAnswer::NotLeader(_) | JoinAnswer::Busy) | None => {}
            }
            sleep(JOIN_PAUSE).await;
        }
    };
    let silence = || StartError::NotTakenIn {
        detail:
            "no member that was named let it in: check their addresses and ids, that a leader is \
                 elected, that the certificates are of one cluster and CA, and that this node's id \
                 was not removed before"
                .into(),
    };
    timeout(JOIN_MAX, asking).await.unwrap_or_else(|_| Err(silence()))
}

/// Asks until the members know this node as what it wants to be.
pub(crate) async fn keep_known<M: Machine>(core: Arc<Core<M>>, seeds: Vec<Seed>) {
    if core.links.is_none() {
        return;
    }
    let mut roster = core.roster.subscribe();
    let mut refused = false;
    loop {
        let known = roster.borrow_and_update().clone();
        let member = known.member(core.identity.node);
        let fits = member.is_some_and(|member| member.address == core.wanted.address)
            && known.is_voter(core.identity.node) >= core.wanted.voter;
        if fits {
            return;
        }
        if let Some(JoinAnswer::Refused(refusal)) = ask(&core, &seeds).await
            && !std::mem::replace(&mut refused, true)
        {
            tracing::warn!(%refusal, "the cluster does not know this node as it wants to be");
        }
        // A change is seen at once; an answer that says "not yet" is not.
        let changed = timeout(JOIN_PAUSE, roster.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return;
        }
    }
}

/// Asks who leads whenever a node claims to that is not known to: this one may not know the members
/// of today.
pub(crate) async fn find_leader<M: Machine>(core: Arc<Core<M>>, seeds: Vec<Seed>) {
    loop {
        core.electorate.claim().await;
        if core.links.is_some() && !core.is_leader() {
            // What it is told of who leads is kept; the rest of the answer is for others.
            let _ = ask(&core, &seeds).await;
        }
        sleep(CLAIM_PAUSE).await;
    }
}

/// Asks the leader, or whoever may know it.
async fn ask<M: Machine>(core: &Core<M>, seeds: &[Seed]) -> Option<JoinAnswer> {
    let join = Join {
        node: core.identity.node,
        incarnation: core.identity.incarnation,
        address: core.wanted.address.clone(),
        voter: core.wanted.voter,
        level: core.newest_level,
    };
    if core.is_leader() {
        return Some(core.take_in(&join).await);
    }
    let seed = |seed: &Seed| stranger(seed.node, &seed.address);
    let leader = core.leader_elsewhere().into_iter();
    let mut last = None;
    for target in leader.chain(seeds.iter().map(seed)).chain(core.voters()) {
        last = match ask_one(core, &target, &join).await {
            Some(JoinAnswer::NotLeader(Some((node, address)))) if node != core.identity.node => {
                ask_one(core, &stranger(node, &address), &join).await
            }
            answer => answer,
        };
        if !matches!(last, None | Some(JoinAnswer::NotLeader(_))) {
            break;
        }
    }
    last
}

fn stranger(node: u64, address: &str) -> Target {
    Target { node, address: address.to_owned(), incarnation: None }
}

async fn ask_one<M: Machine>(core: &Core<M>, target: &Target, join: &Join) -> Option<JoinAnswer> {
    // A change takes a while to commit; what comes too late is asked for again.
    let until = Instant::now() + CHANGE_MAX;
    let answer = core.ask(target, Rpc::Join, join, until).await;
    let answer = answer.inspect_err(|error| tracing::debug!(node = target.node, %error, "joining"));
    // Only seeds, voters, and nodes that these named are asked.
    if let Ok(JoinAnswer::NotLeader(Some((leader, _)))) = &answer {
        core.roster.name(*leader);
    }
    answer.ok()
}
