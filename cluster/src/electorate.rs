//! What the node at the other end is to this one: by the membership, never by what it says.
//!
//! The engine's log can be ahead of what is applied, and what is appended can still be undone. So a
//! node counts as a voter if it has a vote in the newest membership of the log, in the newest
//! committed one, or in the applied one: whoever can be elected under any of them is heard.
//!
//! A node that joins knows no membership, and one that was away may know one of which no voter leads
//! any more. Both would be deaf to the leader for ever, so they ask nodes that they trust who leads:
//! the seeds that an operator named, and the voters that they know. What such a node names is heard
//! until it shows up as a voter; a seed, until the node knows a membership that includes itself. No
//! entry proves its sender's right, for the sender writes the entries. A node that was away while every voter
//! that it knew left must be told by its operator: `join` again, with a member of today as its seed.
//! The certificate of a voter that was removed is therefore of use only against nodes that have not
//! heard of the removal, for as long as they have not.
//!
//! Must not know what a standing allows, or how nodes reach each other.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::limits::TERM_JUMP_MAX;
use crate::peer::rights::Standing;
use crate::roster::{Known, Roster};
use crate::types::{Incarnation, StoredMembership};

/// The newest membership of the engine's log, and the newest that is committed.
type Newest = [Arc<StoredMembership>; 2];
type Engine = Box<dyn Fn() -> Newest + Send + Sync>;

/// What is known of who may lead.
pub(crate) struct Electorate {
    roster: Arc<Roster>,
    /// Once the engine runs.
    engine: OnceLock<Engine>,
    /// Somebody claimed to lead who is not known to.
    claimed: Notify,
}

impl Electorate {
    pub(crate) fn new(roster: Arc<Roster>) -> Electorate {
        Electorate { roster, engine: OnceLock::new(), claimed: Notify::new() }
    }

    /// The engine's memberships are these from now on.
    pub(crate) fn watch(&self, newest: impl Fn() -> Newest + Send + Sync + 'static) {
        // Each node starts one engine.
        let _ = self.engine.set(Box::new(newest));
    }

    fn newest(&self) -> Option<Newest> {
        self.engine.get().map(|newest| newest())
    }

    /// What `node` is, speaking for the data directory `from`.
    pub(crate) fn standing(&self, node: u64, from: Incarnation) -> Standing {
        let known = self.roster.known();
        let named = self.roster.is_named(node);
        standing(&known, self.newest().as_ref(), named, node, from)
    }

    /// Whether `node` has a vote in any membership that may hold.
    pub(crate) fn has_vote(&self, node: u64) -> bool {
        let known = self.roster.known();
        let newest = self.newest();
        configs(&known, newest.as_ref()).any(|voters| voters.contains(&node))
    }

    /// A node that is not known to lead claims to.
    pub(crate) fn claims_to_lead(&self) {
        self.claimed.notify_one();
    }

    /// Resolves once a node has claimed to lead that is not known to.
    pub(crate) async fn claim(&self) {
        self.claimed.notified().await;
    }
}

fn memberships<'a>(
    known: &'a Known,
    newest: Option<&'a Newest>,
) -> impl Iterator<Item = &'a StoredMembership> {
    newest.into_iter().flatten().map(Arc::as_ref).chain([&known.membership])
}

fn configs<'a>(
    known: &'a Known,
    newest: Option<&'a Newest>,
) -> impl Iterator<Item = &'a BTreeSet<u64>> {
    memberships(known, newest).flat_map(|stored| stored.membership().get_joint_config())
}

fn standing(
    known: &Known,
    newest: Option<&Newest>,
    named: bool,
    node: u64,
    from: Incarnation,
) -> Standing {
    if known.removed.contains(&node) {
        return Standing::Removed;
    }
    let mut members = memberships(known, newest)
        .filter_map(|stored| stored.membership().get_node(&node))
        .peekable();
    let is_member = members.peek().is_some();
    if members.any(|member| member.incarnation != from) {
        return Standing::Stranger;
    }
    let votes = |voters: &BTreeSet<u64>| voters.contains(&node);
    if configs(known, newest).any(votes) {
        let settled = configs(known, newest).all(votes);
        return if settled { Standing::Voter } else { Standing::Changing };
    }
    match (named, is_member) {
        (true, _) => Standing::Named,
        (false, true) => Standing::Learner,
        (false, false) => Standing::Stranger,
    }
}

/// Whether a node of this standing may speak of the term `said` to one whose own is `own`.
///
/// A term that is taken in is stored and never taken back, and elections end with the last one. So
/// it is believed only if that many elections can have been missed. A node that joins has missed all
/// of them: it believes the member that was named to it up to half of all terms.
pub(crate) fn plausible(standing: Standing, own: u64, said: u64) -> bool {
    let known = match standing {
        Standing::Named => own.max(u64::MAX / 2 - TERM_JUMP_MAX),
        Standing::Voter
        | Standing::Changing
        | Standing::Learner
        | Standing::Stranger
        | Standing::Removed => own,
    };
    said <= known.saturating_add(TERM_JUMP_MAX).min(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::types::{Member, Membership};

    fn membership(voters: &[&[u64]], nodes: &[u64]) -> Arc<StoredMembership> {
        let voters = voters.iter().map(|ids| ids.iter().copied().collect()).collect();
        let member = |id| Member { incarnation: id * 10, ..Member::default() };
        let nodes = nodes.iter().map(|id| (*id, member(*id))).collect::<BTreeMap<_, _>>();
        Arc::new(StoredMembership::new(None, Membership::new(voters, nodes).expect("valid")))
    }

    #[test]
    fn a_vote_in_any_membership_that_may_hold_counts_and_a_wish_does_not() {
        let nodes = [1, 2, 3, 4];
        let applied = membership(&[&[1, 2]], &nodes);
        let committed = membership(&[&[1, 2], &[1, 3]], &nodes);
        let newest = membership(&[&[1, 3]], &nodes);
        let known = Known {
            membership: applied.as_ref().clone(),
            removed: BTreeSet::from([9]),
            ..Known::default()
        };
        let engine = Some([newest, committed]);
        for (node, from, named, expected) in [
            (1, 10, false, Standing::Voter),
            (2, 20, false, Standing::Changing),
            (3, 30, false, Standing::Changing),
            (4, 40, false, Standing::Learner),
            (4, 40, true, Standing::Named),
            (5, 50, false, Standing::Stranger),
            (5, 50, true, Standing::Named),
            (9, 90, true, Standing::Removed),
            // A directory that was wiped.
            (1, 11, false, Standing::Stranger),
            (4, 41, true, Standing::Stranger),
        ] {
            let got = standing(&known, engine.as_ref(), named, node, from);
            assert_eq!(got, expected, "node {node} from {from}, named: {named}");
        }
        assert_eq!(standing(&known, None, false, 3, 30), Standing::Learner);
    }

    #[test]
    fn a_term_far_ahead_is_not_believed_and_the_last_terms_never() {
        let own = 7;
        for standing in [Standing::Voter, Standing::Changing] {
            assert!(plausible(standing, own, own + TERM_JUMP_MAX));
            assert!(!plausible(standing, own, own + TERM_JUMP_MAX + 1));
            assert!(plausible(standing, own, 0), "an older one is answered");
        }
        assert!(plausible(Standing::Named, 0, own + 2 * TERM_JUMP_MAX));
        for standing in Standing::ALL {
            assert!(!plausible(standing, own, u64::MAX));
            assert!(!plausible(standing, u64::MAX / 2, u64::MAX / 2 + 1));
        }
    }
}
