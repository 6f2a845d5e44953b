//! The grants that may still be in use, by node and boot, and what their holders reported.
//!
//! Every unexpired grant is kept, not only a holder's newest: a newer lease may be lost on its
//! way or wait for its view while the older one is used (hazard 2). What one boot reports says
//! nothing of another. Must not know reigns, rounds or messages.

use std::collections::BTreeMap;

use super::clock::Reading;
use super::messages::{Boot, NodeId};
use super::params::{BOOTS_PER_NODE_MAX, GRANTS_PER_HOLDER_MAX, Params};
use super::rules::{Rule, Rules};

/// One process that holds leases.
pub type HolderId = (NodeId, Boot);

/// Names a grant within its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GrantId(u64);

/// The holder has as many grants as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug, Clone, Copy)]
struct Granted {
    id: GrantId,
    at: Reading,
    /// `None` until the read-index round is done.
    commit: Option<u64>,
}

#[derive(Debug, Default)]
struct Held {
    reported: u64,
    grants: Vec<Granted>,
}

/// One holder's part of the table, for status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseStatus {
    /// Who holds.
    pub holder: HolderId,
    /// The log index that its published view is known to have reached.
    pub reported: u64,
    /// Unexpired grants.
    pub grants: usize,
    /// How long the newest of them may still be in use, nanoseconds.
    pub left_ns: u64,
}

/// The table of one reign.
#[derive(Debug)]
pub(super) struct Table {
    held: BTreeMap<HolderId, Held>,
    next_id: u64,
    wait_ns: u64,
    rules: Rules,
}

impl Table {
    pub(super) fn new(params: &Params, rules: Rules) -> Table {
        let wait_ns =
            if rules.keep(Rule::DriftCovered) { params.wait_ns() } else { params.length_ns() };
        Table { held: BTreeMap::new(), next_id: 1, wait_ns, rules }
    }

    /// Puts a grant on record from `now` on.
    pub(super) fn record(&mut self, now: Reading, holder: HolderId) -> Result<GrantId, Full> {
        self.prune(now);
        let holder = self.key(holder);
        let boots = self.held.range((holder.0, Boot(0))..=(holder.0, Boot(u64::MAX))).count();
        if boots >= BOOTS_PER_NODE_MAX && !self.held.contains_key(&holder) {
            return Err(Full);
        }
        let held = self.held.entry(holder).or_default();
        if !self.rules.keep(Rule::EveryGrant) {
            held.grants.clear();
        }
        if held.grants.len() >= GRANTS_PER_HOLDER_MAX {
            return Err(Full);
        }
        let id = GrantId(self.next_id);
        self.next_id += 1;
        held.grants.push(Granted { id, at: now, commit: None });
        Ok(id)
    }

    /// The grant's read index is known.
    pub(super) fn settle(&mut self, holder: HolderId, id: GrantId, commit: u64) {
        let holder = self.key(holder);
        let grants = self.held.get_mut(&holder).map(|held| &mut held.grants);
        if let Some(grant) = grants.and_then(|all| all.iter_mut().find(|grant| grant.id == id)) {
            grant.commit = Some(commit);
        }
    }

    /// The grant was never sent, and never will be.
    pub(super) fn withdraw(&mut self, holder: HolderId, id: GrantId) {
        let holder = self.key(holder);
        if let Some(held) = self.held.get_mut(&holder) {
            held.grants.retain(|grant| grant.id != id);
        }
    }

    /// The holder's published view has reached `published`.
    pub(super) fn report(&mut self, holder: HolderId, published: u64) {
        let holder = self.key(holder);
        if let Some(held) = self.held.get_mut(&holder) {
            held.reported = held.reported.max(published);
        }
    }

    /// The holder uses none of its leases any more.
    pub(super) fn release(&mut self, holder: HolderId) {
        let holder = self.key(holder);
        self.held.remove(&holder);
    }

    /// The nodes that may still answer from a view before `index`, and how long to wait for the
    /// last of them, nanoseconds, if none reports.
    pub(super) fn blockers(&self, now: Reading, index: u64) -> (Vec<NodeId>, u64) {
        let mut nodes: Vec<NodeId> = Vec::new();
        let mut longest_ns = 0;
        for (&(node, _), held) in &self.held {
            if held.reported >= index {
                continue;
            }
            let left_ns = held.grants.iter().filter(|grant| self.holds_up(grant, index));
            let left_ns = left_ns.map(|grant| self.left_ns(now, grant.at)).max().unwrap_or(0);
            if left_ns > 0 && nodes.last() != Some(&node) {
                nodes.push(node);
            }
            longest_ns = longest_ns.max(left_ns);
        }
        (nodes, longest_ns)
    }

    /// What is left of the wait that began at `since`, by the granter's measure, nanoseconds.
    pub(super) fn left_ns(&self, now: Reading, since: Reading) -> u64 {
        let elapsed_ns = if self.rules.keep(Rule::GranterTakesShorter) {
            now.shortest_since(since)
        } else {
            now.longest_since(since)
        };
        self.wait_ns.saturating_sub(elapsed_ns)
    }

    /// Every holder with an unexpired grant.
    pub(super) fn status(&self, now: Reading) -> Vec<LeaseStatus> {
        let row = |(&holder, held): (&HolderId, &Held)| {
            let left = held.grants.iter().map(|grant| self.left_ns(now, grant.at));
            let unexpired = left.filter(|left_ns| *left_ns > 0);
            let (grants, left_ns) = unexpired.fold((0, 0), |(n, max), left| (n + 1, left.max(max)));
            LeaseStatus { holder, reported: held.reported, grants, left_ns }
        };
        self.held.iter().map(row).filter(|row| row.grants > 0).collect()
    }

    fn holds_up(&self, grant: &Granted, index: u64) -> bool {
        match grant.commit {
            None => self.rules.keep(Rule::WaitsForUnknown),
            Some(commit) => commit < index && self.rules.keep(Rule::WaitsForBelow),
        }
    }

    fn prune(&mut self, now: Reading) {
        let mut held = std::mem::take(&mut self.held);
        held.retain(|_, held| {
            held.grants.retain(|grant| self.left_ns(now, grant.at) > 0);
            !held.grants.is_empty()
        });
        self.held = held;
    }

    fn key(&self, (node, boot): HolderId) -> HolderId {
        if self.rules.keep(Rule::ByBoot) { (node, boot) } else { (node, Boot(0)) }
    }
}
