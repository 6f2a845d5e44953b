//! Whether the members' machines still agree with the leader's: the leader's half of noticing that
//! one has parted.
//!
//! A request for a lease says how far its node has applied and the digest there. Where the leader
//! has another digest at that index, one of the two machines is wrong, and no lease is granted; a
//! leader that most voters differ from takes none itself. Must not know how leases work.

use std::collections::BTreeSet;

use crate::lease::NodeId;
use crate::store::digest::{Digest, Recent};

/// Who has parted from this leader.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    parted: BTreeSet<NodeId>,
}

impl Agreement {
    /// Whether `node`, which has applied up to `index` and found `digest` there, agrees. Where it
    /// cannot be compared, what is known of the node still holds.
    pub(super) fn holds(&mut self, node: NodeId, index: u64, digest: Digest, own: &Recent) -> bool {
        match own.at(index) {
            Some(own) if own == digest => {
                if self.parted.remove(&node) {
                    tracing::info!(node, index, "a node agrees with the leader again");
                }
                true
            }
            Some(_) => {
                if self.parted.insert(node) {
                    tracing::error!(
                        node,
                        index,
                        "the state of a node has parted from the leader's: it gets no lease and \
                         answers nothing until it is removed and a new node joins in its place"
                    );
                }
                false
            }
            None => !self.parted.contains(&node),
        }
    }

    /// Whether this leader is the one that is wrong: most of the voters, itself included, differ.
    pub(super) fn outnumbered(&self, voters: &[NodeId]) -> bool {
        voters.iter().filter(|voter| self.parted.contains(voter)).count() * 2 > voters.len()
    }

    /// This node does not lead: another one judges.
    pub(super) fn forget(&mut self) {
        self.parted.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_parted_stays_apart_until_it_is_seen_to_agree() {
        let own = Recent::default();
        own.restart(10, Digest(1));
        own.extend(vec![(11, Digest(2))]);
        let mut agreement = Agreement::default();
        for (index, digest, holds) in [
            // Nothing to compare with.
            (9, 7, true),
            (12, 7, true),
            (11, 2, true),
            (11, 3, false),
            (12, 7, false),
            (9, 7, false),
            (10, 1, true),
            (12, 7, true),
        ] {
            let got = agreement.holds(2, index, Digest(digest), &own);
            assert_eq!(got, holds, "{index} {digest}");
        }
    }

    #[test]
    fn a_leader_that_most_voters_differ_from_is_the_one_that_is_wrong() {
        let own = Recent::default();
        own.restart(1, Digest(1));
        let mut agreement = Agreement::default();
        for (node, outnumbered) in [(2, false), (9, false), (3, true)] {
            assert!(!agreement.holds(node, 1, Digest(2), &own));
            assert_eq!(agreement.outnumbered(&[1, 2, 3]), outnumbered, "{node}");
        }
        agreement.forget();
        assert!(!agreement.outnumbered(&[1, 2, 3]));
    }
}
