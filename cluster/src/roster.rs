//! Who belongs to the cluster, as far as this node has applied: the members, and whoever was one;
//! and by which level of rules they decide.
//!
//! An id that has left the membership never comes back: a new node that took it over could speak
//! for what the old one promised. So the ids that left are kept, replicated like the membership
//! itself: each is noted when the entry that leaves it out is applied, and rides in snapshots.
//! Must not know how nodes reach each other.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::level;
use crate::limits::NAMED_LEADERS_MAX;
use crate::types::{Member, StoredMembership};

/// The membership at one log index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// The membership that was applied last.
    pub membership: StoredMembership,
    /// Ids that were members once and are no more.
    pub removed: BTreeSet<u64>,
    /// Which of the machine's rules hold.
    pub level: u32,
}

impl Default for Known {
    fn default() -> Known {
        let (membership, removed) = Default::default();
        Known { membership, removed, level: level::FIRST }
    }
}

impl Known {
    pub(crate) fn member(&self, node: u64) -> Option<&Member> {
        self.membership.membership().get_node(&node)
    }

    pub(crate) fn is_voter(&self, node: u64) -> bool {
        self.membership.membership().voter_ids().any(|voter| voter == node)
    }

    /// Whether only one node has a vote.
    pub(crate) fn votes_alone(&self) -> bool {
        self.membership.membership().voter_ids().count() == 1
    }

    /// Voters and learners.
    pub(crate) fn ids(&self) -> BTreeSet<u64> {
        self.membership.membership().nodes().map(|(id, _)| *id).collect()
    }

    /// Whether no node but `node` has ever been a member.
    pub(crate) fn only_ever(&self, node: u64) -> bool {
        self.removed.is_empty() && self.ids() == BTreeSet::from([node])
    }

    /// After the entry that holds `membership`.
    fn then(&self, membership: StoredMembership) -> Known {
        let mut next = Known { membership, ..self.clone() };
        let ids = next.ids();
        next.removed.extend(self.ids().difference(&ids));
        next
    }
}

/// What is known now, for everyone who asks or waits for it to change.
pub(crate) struct Roster {
    own: u64,
    known: watch::Sender<Arc<Known>>,
    /// Nodes that trusted ones said lead, and that no applied membership has shown as voters yet.
    named: Mutex<BTreeSet<u64>>,
}

impl Roster {
    /// What node `own` knows.
    pub(crate) fn new(own: u64) -> Roster {
        Roster { own, known: watch::Sender::new(Arc::default()), named: Mutex::default() }
    }

    pub(crate) fn known(&self) -> Arc<Known> {
        self.known.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Known>> {
        self.known.subscribe()
    }

    fn named(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One who is trusted says that `node` leads.
    pub(crate) fn name(&self, node: u64) {
        let mut named = self.named();
        if named.len() < NAMED_LEADERS_MAX && !self.known().is_voter(node) {
            named.insert(node);
        }
    }

    pub(crate) fn is_named(&self, node: u64) -> bool {
        self.named().contains(&node)
    }

    fn replace(&self, next: Known) {
        let next = Arc::new(next);
        let before = self.known.send_replace(next.clone());
        // The members themselves say from here on who of the named may lead.
        let mut named = self.named();
        if before.member(self.own).is_none() && next.member(self.own).is_some() {
            named.clear();
        }
        named.retain(|node| !next.is_voter(*node) && !next.removed.contains(node));
    }

    /// The entry that raises the machine to `level` has been applied.
    pub(crate) fn raised(&self, level: u32) {
        self.replace(Known { level, ..(*self.known()).clone() });
    }

    /// An entry that holds `membership` has been applied.
    pub(crate) fn applied(&self, membership: StoredMembership) {
        self.replace(self.known().then(membership));
    }

    /// A snapshot has been restored.
    pub(crate) fn restored(&self, known: Known) {
        self.replace(known);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::types::Membership;

    fn membership(voters: &[&[u64]], nodes: &[u64]) -> StoredMembership {
        let voters = voters.iter().map(|v| v.iter().copied().collect()).collect();
        let nodes = nodes.iter().map(|id| (*id, Member::default())).collect::<BTreeMap<_, _>>();
        StoredMembership::new(None, Membership::new(voters, nodes).expect("valid"))
    }

    #[test]
    fn an_id_that_left_is_remembered_and_one_that_changes_its_role_is_not() {
        let roster = Roster::new(1);
        roster.applied(membership(&[&[1]], &[1]));
        assert!(roster.known().only_ever(1));
        // Learner, then on the way to voter, then voter, then learner again.
        for voters in [&[&[1][..]][..], &[&[1], &[1, 2]], &[&[1, 2]], &[&[1]]] {
            roster.applied(membership(voters, &[1, 2]));
            assert_eq!(roster.known().removed, BTreeSet::new(), "{voters:?}");
        }
        assert!(!roster.known().only_ever(1));
        roster.applied(membership(&[&[1]], &[1]));
        assert_eq!(roster.known().removed, BTreeSet::from([2]));
        assert!(!roster.known().only_ever(1), "node 2 may still hold what it was granted");
        roster.applied(membership(&[&[1]], &[1, 3]));
        assert_eq!(roster.known().removed, BTreeSet::from([2]));
    }

    #[test]
    fn a_named_leader_counts_until_it_has_a_vote_and_a_seed_until_the_node_is_a_member() {
        let roster = Roster::new(3);
        roster.name(1);
        roster.name(2);
        // The log from its beginning: this node is not in it yet.
        roster.applied(membership(&[&[1]], &[1]));
        assert!(!roster.is_named(1), "the members say so themselves");
        assert!(roster.is_named(2));
        roster.applied(membership(&[&[1]], &[1, 3]));
        assert!(!roster.is_named(2), "a seed that is no voter leads nobody");
        // One that leads after changes that this node has not seen.
        roster.name(4);
        for voters in [&[1][..], &[1, 3]] {
            roster.applied(membership(&[voters], &[1, 3, 4]));
            assert!(roster.is_named(4), "nothing says that it has no vote later");
        }
        roster.applied(membership(&[&[1, 4]], &[1, 3, 4]));
        roster.applied(membership(&[&[1]], &[1, 3, 4]));
        assert!(!roster.is_named(4), "it had its vote and lost it");
        for node in 100..=100 + NAMED_LEADERS_MAX as u64 {
            roster.name(node);
        }
        assert!(!roster.is_named(100 + NAMED_LEADERS_MAX as u64), "the names are bounded");
    }
}
